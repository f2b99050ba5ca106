//! Positions change hands on the chain that HASHMIX_WORLD names: embedded, or Core and electrs.

mod a_position_is_sold_and_sold_again;
#[cfg(unix)]
mod by_command;
mod ended_before_sending;
mod life;
mod market;
mod other_wallets;
mod resales_that_are_refused;
mod sales_that_are_refused;
mod without_a_chain;
