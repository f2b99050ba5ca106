//! Engines with real stores, folders and connections, on the embedded node. Each module is a story.

mod buyer_vanishes_after_second_installment;
mod everybody_restarts_at_every_step;
mod letters_that_break_rules;
mod miner_crashes_between_rounds;
mod validators_lag_or_are_silent;
mod world;
