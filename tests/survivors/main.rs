//! One survivor is enough: who can reach which coin, when, and who cannot.
//!
//! The table of descriptors/README.md, row by row: every set of survivors tries every way into an
//! escrow output and into a coinbase output, in both variants, and Bitcoin Core's own validation
//! decides. `costs` holds what the product promises about sizes.

mod attempts;
mod costs;
mod escrow;
mod reward;
mod world;
