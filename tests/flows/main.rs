//! The flows, proven without a node: a chain of headers mined here, certificates from it, people
//! with keys, and facts made by hand. Each module is a story.

mod amounts_always_add_up;
mod dispute_is_heard_then_ruled;
mod escrow_pays_what_is_due;
mod world;
