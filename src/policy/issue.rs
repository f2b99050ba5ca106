//! What a validator asks before he signs the issue of a position, and why: of the chain, by every source
//! of his, and of the words that he has taken.
//!
//! It is asked where an issue is built ([`State::issue`](crate::flow::position::state::State::issue)), and
//! for the other positions of a batch beside it; here are the reasons.

use super::{Reasoned, because};
use crate::flow::position::dead::DEAD;
use crate::flow::position::proof::CAPACITY;
use crate::flow::position::state::{EARLY, FUNDING, JUDGED, ONCE, TOGETHER};

/// The rules, in the order in which they are asked.
pub const RULES: [Reasoned; 7] = [
    because(CAPACITY, "more would be sold than the machines can deliver"),
    because(EARLY, "a position would be sold of which a part is over"),
    because(ONCE, "one farm would be sold to two buyers"),
    because(DEAD, "two issues would confirm, and both be sold"),
    because(FUNDING, "one miner's position would be issued with another one's money"),
    because(JUDGED, "unproven work would slip in among proven"),
    because(TOGETHER, "a miner would be issued by the word of another one, and pay for him"),
];
