//! The gateway: its sessions as values, its server with miners over loopback, and the whole of it in
//! front of Bitcoin Core.

mod a_dossier_is_of_its_position;
mod a_farm_proves_several_positions_at_once;
mod a_later_contract_goes_on_with_what_was_sealed;
mod a_position_is_sold_on_while_machines_mine;
mod a_slice_is_mined_sealed_and_spent;
mod codes;
mod desk;
mod limits;
mod machines_prove_positions_before_their_issue;
#[expect(dead_code, reason = "the market of tests/sale, which does more with it")]
#[path = "../sale/market.rs"]
mod market;
mod mining;
mod nodes_come_and_go;
mod recorded;
mod site;
mod soak_short;
mod strangers;
mod the_command_survives_kill_nine;
mod the_holder_changes_at_a_periods_start;
mod verdicts;
mod world;
