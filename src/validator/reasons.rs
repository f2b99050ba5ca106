//! Every rule that a desk asks before it judges anything, and which attack it keeps out.

use super::{expected, query, registration, request, sold};
use crate::policy::{Reasoned, because};

/// The rules of registering, of requests and of questions, each in the order in which it is asked.
pub const RULES: [Reasoned; 28] = [
    because(registration::SIZE, "a file without end would take the desk's memory"),
    because(registration::FORM, "two readers of a guessed form would register two contracts"),
    because(registration::NETWORK, "coins of value would be ruled on by a chain of none"),
    because(
        registration::WAY,
        "of a position that was sold, its miner would register another sale",
    ),
    because(registration::SIGNED, "one side would register terms that the other never saw"),
    because(sold::DERIVED, "a holder would write his own terms into the miner's name"),
    because(registration::MEMBER, "somebody else's keys would be taken for ours"),
    because(registration::ISSUED, "strangers would fill the desk with positions of nobody's"),
    because(registration::FIRST, "one record would rule by two terms, whichever suit the asker"),
    because(registration::APART, "a miner would sell the same hash power twice"),
    because(sold::BEFORE, "terms would be taken over that the miner never agreed to"),
    because(sold::CHAIN, "a sale that never came would take the place of the one that does"),
    because(
        sold::SOLD,
        "a contract that nobody has paid, or no miner agreed to, would be ruled on",
    ),
    because(registration::ALIVE, "ended contracts would fill the desk for nothing"),
    because(request::SIZE, "a request without end would take the desk's memory"),
    because(request::FORM, "two readers of a guessed form would sign and hear two requests"),
    because(request::CONTRACT, "words would be heard by terms that nobody has agreed to"),
    because(request::SEAT, "strangers would take the desk's time and the senders' share of it"),
    because(request::SIGNATURE, "somebody would use up another seat's keys and share"),
    because(request::KEY, "one key would get the answer to another request"),
    because(request::KEYS, "one seat would fill the disk with answers"),
    because(request::WORDS, "one request would hold the desk for as long as it likes"),
    because(request::WORD, "a seat would be held to what it never said"),
    because(request::BACKLOG, "words that never make sense would shut the desk for all others"),
    because(expected::PSBT, "a sender would take what nobody compared for what is signed"),
    because(query::FORM, "a question that is guessed at would be answered to a stranger"),
    because(query::TIP, "a question that was overheard once would be answered for ever"),
    because(query::SIGNATURE, "strangers would read what the seats have said"),
];
