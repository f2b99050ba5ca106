//! A position from the miner's enrolment to its issue, in the world that HASHMIX_WORLD names.

mod an_issue_is_inscribed;
mod town;

mod a_batch_is_issued_at_once;
mod a_miner_lies;
mod a_reorg_takes_work_back;
mod a_share_proves_one_position;
mod a_validator_forgets;
mod a_validator_lies;
mod an_issue_loses_its_money;
mod by_hand;
mod the_whole_way_to_the_issue;
mod what_is_signed_is_pinned;
mod what_terms_and_an_issue_say;
