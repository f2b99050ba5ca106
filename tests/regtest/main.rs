//! Engines with real stores, folders and connections, in the world that
//! HASHMIX_WORLD names: the embedded node, or Bitcoin Core and electrs. Each module is a story.

mod a_position_lives;
mod buyer_vanishes_after_second_installment;
mod everybody_restarts_at_every_step;
mod letters_that_break_rules;
mod miner_crashes_between_rounds;
mod payments_are_sent_in_time;
mod reorgs_take_back;
mod somebody_blocks_the_folder;
mod trouble;
mod validators_lag_or_are_silent;
mod world;
mod yesterdays_disk_stays_shut;
