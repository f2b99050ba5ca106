//! Trouble on the way to the server, for people in the middle of a contract, in the world that
//! HASHMIX_WORLD names. A proxy stands between an engine and the world's Electrum server.

mod broken_at_every_line;
mod play;
mod proxy;
mod the_server_says_what_it_likes;
mod words_get_lost;
#[allow(dead_code, reason = "the stories of tests/regtest use the rest of it")]
#[path = "../regtest/world.rs"]
mod world;
