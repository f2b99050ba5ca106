//! What happened at a seat, a line each; and whose turn it is, as far as can be told from there.
//!
//! The rules are pure, so what another seat would do, with the words that are known here, can be asked
//! here. He may have heard more, or less.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Report, Sent, kind};
use crate::error::Result;
use crate::facts::Facts;
use crate::flow::{Contract, Effect};
use crate::party::Seat;

/// Reports in lines. What is waited for is said by [`next`].
pub(super) fn lines(reports: impl IntoIterator<Item = Report>) -> Vec<String> {
    reports.into_iter().filter_map(|report| line(&report)).collect()
}

fn line(report: &Report) -> Option<String> {
    Some(match report {
        Report::Said(event) => format!("said      {}", kind(event)),
        Report::Heard(from, event) => format!("heard     {} of the {from}", kind(event)),
        // A letter's name is its sender's.
        Report::Refused(what, error) => format!("refused   {}: {error}", plain(what)),
        Report::Sent(sent) => sent_line(sent),
        Report::Reorganised(reorg) => format!("reorg     {reorg}"),
        Report::Departed(departure) => format!("departed  {departure}"),
        Report::Waiting { .. } => return None,
    })
}

fn sent_line(sent: &Sent) -> String {
    let (txid, size, fee) = (sent.tx.compute_txid(), sent.tx.vsize(), sent.fee.to_sat());
    format!("sent      {} {txid}: {size} vB, fee {fee} sat", sent.title)
}

/// A text of somebody else's on one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// Whose turn it is, seen from `ours`, and which heights are waited for.
pub(super) fn next(contract: &Contract, facts: &Facts, ours: Seat) -> Result<Vec<String>> {
    let mut turns: BTreeMap<String, Vec<Seat>> = BTreeMap::new();
    let mut waits = BTreeSet::new();
    let (mut mine, mut lines) = (BTreeSet::new(), Vec::new());
    for seat in seats(contract) {
        let effects = match contract.next(facts, seat) {
            Ok(effects) => effects,
            Err(error) if seat == ours => return Err(error),
            // What cannot be said for another is for him to say.
            Err(_) => continue,
        };
        for effect in effects {
            match said(effect) {
                Turn::Does(what) if seat == ours => {
                    mine.insert(what);
                }
                Turn::Does(what) => {
                    let by = turns.entry(what).or_default();
                    if !by.contains(&seat) {
                        by.push(seat);
                    }
                }
                Turn::Waits(until, why) => {
                    waits.insert((until, why));
                }
                Turn::Declines(why) if seat == ours => lines.push(format!("declined  {why}")),
                Turn::Declines(_) => {}
            }
        }
    }
    lines.extend(mine.iter().map(|what| format!("next      you: {what}; hashmix contract step")));
    lines.extend(turns.iter().map(|(what, by)| {
        let by: Vec<String> = by.iter().map(ToString::to_string).collect();
        format!("next      {}: {what}", by.join(", "))
    }));
    let tip = facts.tip();
    lines.extend(waits.iter().map(|(until, why)| match *until > tip {
        true => format!("waits     until height {until} (now {tip}): {why}"),
        false => format!("waits     {why}"),
    }));
    if lines.is_empty() {
        lines.push("next      nothing is to be done now".to_owned());
    }
    Ok(lines)
}

fn seats(contract: &Contract) -> Vec<Seat> {
    let validators = contract.terms().reward.federation.validators.len();
    let validators = (0u8..).take(validators).map(Seat::Validator);
    [Seat::Miner, Seat::Holder].into_iter().chain(validators).collect()
}

/// An effect in words.
enum Turn {
    Does(String),
    Waits(u32, String),
    Declines(String),
}

fn said(effect: Effect) -> Turn {
    Turn::Does(match effect {
        Effect::Sign { draft, .. } => format!("sign a {}", draft.title()),
        Effect::Enter { draft, .. } => format!("enter a {} in the journal", draft.title()),
        Effect::Receipt(_) => "give receipts".to_owned(),
        Effect::Say(event) => format!("say a {}", kind(&event)),
        Effect::Broadcast { title, .. } => format!("send the {}", title.0),
        Effect::Wait { until, why } => return Turn::Waits(until, why),
        Effect::Decline(error) => return Turn::Declines(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Culprit;
    use crate::flow::Event;
    use crate::flow::SPEAKER;
    use crate::flow::reward::state::Event as Reward;

    #[test]
    fn a_refusal_is_one_line_with_its_rule_whatever_the_letter_is_called() {
        let error = SPEAKER.refuses(Culprit::Miner, "state", "the holder", "the miner");
        let told = lines([Report::Refused("1-a\nb\u{1b}[31m.json".to_owned(), error)]);
        let [line] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(line.lines().count(), 1);
        assert!(!line.contains('\u{1b}'));
        assert!(line.starts_with("refused   1-a b [31m.json: refused (miner) [flow-speaker]"));
    }

    #[test]
    fn what_was_said_and_heard_is_told_by_name_and_waiting_is_left_to_what_comes_next() {
        let asked = Event::Reward(Reward::CloseAsked);
        let told = lines([
            Report::Said(asked.clone()),
            Report::Heard(Seat::Miner, asked),
            Report::Waiting { until: 7, why: "a block".to_owned() },
        ]);
        assert_eq!(told, ["said      close-request", "heard     close-request of the miner"]);
    }
}
