//! Validators at their desks: contracts registered, requests answered, by files and over HTTP, on
//! the chain of the world that HASHMIX_WORLD names.

mod by_files;
mod disputes;
mod gateways;
mod http;
mod interface;
mod peers;
#[path = "../regtest/trouble/proxy.rs"]
#[expect(dead_code, reason = "other stories use the rest of it")]
mod proxy;
mod registrations;
mod requests;
mod sources;
mod town;
#[path = "../regtest/world.rs"]
#[expect(dead_code, reason = "other stories use the rest of it")]
mod world;
