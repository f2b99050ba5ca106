//! Each rule of a signer, proven both ways: it lets the nearest good thing pass, it refuses a bad
//! one, and the refusal names it.
//!
//! A rule's tests stand beside each other in the file of its area. Each begins with an honest case,
//! which passes every rule, and changes as little as it can; so what refuses it is the rule that is
//! examined and none before it. [`register`] counts them and fails if a rule has fewer than one
//! that accepts and two that refuse; what it counts stands in docs/policy.md.

#[macro_use]
mod examine;
mod case;
mod figures;
mod market;
mod register;

mod desk;
mod desk_hears;
mod desk_reads;
mod issue;
mod leaf;
mod memory;
mod outputs;
mod received;
mod received_form;
mod received_input;
mod received_transaction;
mod registered_by_sale;
mod resale;
mod resale_exchange;
mod ruling;
mod seat;
mod shape;
mod steps;
mod sweep;

#[path = "../mutations/maps.rs"]
mod maps;
#[path = "../flows/world.rs"]
#[expect(dead_code, reason = "the flows' own stories need more of it")]
mod world;
