//! Positions change hands on the chain that HASHMIX_WORLD names: embedded, or Core and electrs.

mod a_position_is_sold_and_sold_again;
#[cfg(unix)]
mod by_command;
mod ended_before_sending;
#[cfg(all(unix, feature = "validator"))]
mod endless;
mod given_back;
#[cfg(unix)]
mod held_by_command;
mod life;
mod market;
mod other_wallets;
#[path = "../regtest/trouble/proxy.rs"]
#[expect(dead_code, reason = "other stories use the rest of it")]
mod proxy;
mod registered_by_its_sale;
mod resales_that_are_refused;
mod sales_that_are_refused;
#[cfg(all(unix, feature = "validator"))]
mod serving;
#[cfg(unix)]
mod signed_and_overdue;
#[cfg(unix)]
mod silent_by_command;
mod the_miner_is_silent;
mod without_a_chain;
