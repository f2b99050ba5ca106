//! The flows, proven without a node: a chain of headers mined here, certificates from it, people
//! with keys, and facts made by hand. Each module is a story.

mod a_draft_names_what_differs;
mod a_later_contract_takes_over;
mod amounts_always_add_up;
mod dispute_is_heard_then_ruled;
mod escrow_pays_what_is_due;
mod every_state_meets_every_word;
mod history_stays_without_effect;
mod journals_are_held_by_others;
mod records_guard_their_keys;
mod replay_equals_the_live_run;
mod sweeps_are_asked_for_once;
mod terms_are_named_by_content;
mod words_prove_themselves;
mod world;
