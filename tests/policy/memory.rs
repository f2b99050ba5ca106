//! Does it contradict what he is bound to, is it entered, do others hold it?

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr;
use bitcoin::{BlockHash, OutPoint, Txid};
use hashmix::error::Result;
use hashmix::flow::dispute::memory::{CLOSES, FALLS, LATER};
use hashmix::flow::escrow::txs::Outcome;
use hashmix::flow::journal::{
    self, BEHIND, Bond, CHAINED, ENTERED, Entry, Event as JournalEvent, FORKED, HELD, ONCE, SIGNED,
    WITNESS,
};
use hashmix::flow::{Event, Task};
use hashmix::id::{TermsId, WordId};
use hashmix::party::Seat;
use hashmix::policy::Stage;

use crate::case::{
    Request, V0, V1, V2, close_at_the_end, close_for_the_holder, ruling_for_the_miner,
    sweep_for_the_holder,
};
use crate::examine::Bench;
use crate::world::{INSTALLMENT, outcome, signer};

/// No entry before.
const NOTHING: WordId = WordId([0; 32]);

/// An entry of a validator, with his signature.
fn entry(contract: TermsId, place: u8, number: u32, previous: WordId, bond: Bond) -> Entry {
    let digest = journal::digest(contract, place, number, previous, &bond).unwrap();
    let signature = signer(Seat::Validator(place)).sign_digest(digest.0).unwrap();
    Entry { number, previous, bond, signature }
}

/// A bond to a ruling of some other request.
fn bond(outcome: Outcome) -> Bond {
    let outpoint = OutPoint::null();
    let txid = Txid::hash(&outcome.earned.to_sat().to_le_bytes());
    Bond::Ruling { opening: WordId([9; 32]), outpoint, outcome, txid }
}

fn digest(contract: TermsId, place: u8, entry: &Entry) -> WordId {
    entry.digest(contract, place).unwrap()
}

/// He enters an entry and asks who holds it.
fn entered(entry: Entry) -> Event {
    Event::Journal(JournalEvent::Entered { entry, tip: BlockHash::all_zeros() })
}

/// Somebody shows what he holds of a validator's journal.
fn witnessed(contract: TermsId, validator: u8, entries: Vec<Entry>) -> Event {
    let claim = entries.first().map_or(NOTHING, |entry| digest(contract, validator, entry));
    let tip = BlockHash::all_zeros();
    Event::Journal(JournalEvent::Witnessed { validator, claim, tip, entries })
}

impl Request {
    /// What this request binds him to.
    fn bond(&self) -> Bond {
        *self.judged().unwrap().bond()
    }

    /// His next entry.
    fn next_entry(&self, bond: Bond) -> Entry {
        let (number, previous) = self.play.contract.journals().head(self.place);
        entry(self.contract, self.place, number, previous, bond)
    }

    /// He has entered a bond.
    fn enter(&mut self, bond: Bond) -> Entry {
        let entry = self.next_entry(bond);
        self.believe(Seat::Validator(self.place), &entered(entry.clone()));
        entry
    }

    /// Another one shows entries of his.
    fn show(&mut self, by: Seat, entries: &[Entry]) {
        self.believe(by, &witnessed(self.contract, self.place, entries.to_vec()));
    }

    /// He has ruled this before, and another one holds it.
    fn ruled(&mut self, outcome: Outcome) {
        let entry = self.enter(bond(outcome));
        self.show(V1, &[entry]);
    }
}

/// Entered, held by one other validator, and to be signed.
fn about_to_sign() -> Request {
    let mut request = ruling_for_the_miner();
    let entry = request.enter(request.bond());
    request.show(V1, &[entry]);
    request.stage = Stage::Sign;
    request
}

/// A word about journals, before anybody admits it.
struct Said {
    request: Request,
    from: Seat,
    event: JournalEvent,
}

impl Bench for Said {
    fn verdict(&self) -> Result<()> {
        let event = Event::Journal(self.event.clone());
        let facts = self.request.play.world.facts();
        self.request.play.contract.admit(&facts, self.from, &event)
    }
}

impl Said {
    fn new(request: Request, from: Seat, event: Event) -> Self {
        let Event::Journal(event) = event else { panic!("about no journal") };
        Self { request, from, event }
    }

    fn entry(&mut self) -> &mut Entry {
        &mut self.entries()[0]
    }

    fn entries(&mut self) -> &mut [Entry] {
        match &mut self.event {
            JournalEvent::Entered { entry, .. } => std::slice::from_mut(entry),
            JournalEvent::Witnessed { entries, .. } | JournalEvent::Restored { entries, .. } => {
                entries
            }
        }
    }

    /// Says something else.
    fn say(&mut self, from: Seat, event: Event) {
        let Event::Journal(event) = event else { panic!("about no journal") };
        (self.from, self.event) = (from, event);
    }

    /// An entry of validator 0 with this number over this digest.
    fn made(&self, number: u32, previous: WordId) -> Entry {
        let bond = bond(outcome(1, INSTALLMENT, false));
        entry(self.request.contract, 0, number, previous, bond)
    }
}

/// Validator 0 has one entry and makes a second.
fn second_entry() -> Said {
    let mut request = ruling_for_the_miner();
    let first = request.bond();
    request.enter(first);
    let next = request.next_entry(bond(outcome(1, INSTALLMENT * 2, false)));
    Said::new(request, V0, entered(next))
}

/// Validator 1 shows the two entries that he holds of validator 0.
fn witness() -> Said {
    let mut request = ruling_for_the_miner();
    let first = request.bond();
    let first = request.enter(first);
    let second = request.enter(bond(outcome(1, INSTALLMENT * 2, false)));
    let event = witnessed(request.contract, 0, vec![first, second]);
    Said::new(request, V1, event)
}

/// Yesterday's disk: validator 0 was bound to another outcome, validator 1 holds it, and the store
/// that was put back knows nothing of it. He has taken it over, and is asked for what agrees.
fn restored() -> Request {
    let mut request = yesterdays_disk(INSTALLMENT);
    let entries = request.play.contract.journals().restorable(0).unwrap();
    let event = Event::Journal(JournalEvent::Restored { entries, dropped: Vec::new() });
    request.play.contract.admit(&request.play.world.facts(), V0, &event).unwrap();
    request.believe(V0, &event);
    request
}

/// The store was put back to before the ruling of so much; validator 1 shows what he holds.
fn yesterdays_disk(earned: u64) -> Request {
    let mut request = ruling_for_the_miner();
    let lost = request.next_entry(bond(outcome(1, earned, false)));
    request.show(V1, &[lost]);
    request
}

/// Two stores have signed: one entry is held by validator 1, another one by validator 2.
fn held_twice(request: &mut Request) {
    let other = request.next_entry(bond(outcome(1, INSTALLMENT, false)));
    let mine = request.enter(bond(outcome(1, INSTALLMENT / 2, false)));
    request.show(V1, &[mine]);
    request.show(V2, &[other]);
}

examine! {
    signed: SIGNED, "refused (validator 0)", second_entry {
        accepts {
            by_the_validator_for_this_contract => |_| {},
            shown_by_somebody_else => |s| {
                let entry = s.entry().clone();
                let event = witnessed(s.request.contract, 0, vec![entry]);
                s.say(V2, event);
            },
        }
        refuses {
            by_another_validator => |s| {
                let digest = digest(s.request.contract, 0, s.entry());
                s.entry().signature = signer(V1).sign_digest(digest.0).unwrap();
            },
            before_its_outcome_was_raised_by_a_satoshi => |s| {
                s.entry().bond = bond(outcome(1, INSTALLMENT * 2 + 1, false));
            },
            for_another_contract => |s| {
                let (number, previous, bond) = {
                    let entry = s.entry();
                    (entry.number, entry.previous, entry.bond)
                };
                *s.entry() = entry(TermsId([7; 32]), 0, number, previous, bond);
            },
            in_another_validators_journal by "refused (validator 1)" => |s| s.from = V1,
            with_zeros => |s| {
                s.entry().signature = schnorr::Signature::from_slice(&[0; 64]).unwrap();
            },
            by_nobody_but_the_witness_who_shows_it by "refused (validator 2)" => |s| {
                let mut made_up = s.entry().clone();
                let digest = digest(s.request.contract, 0, &made_up);
                made_up.signature = signer(V2).sign_digest(digest.0).unwrap();
                let event = witnessed(s.request.contract, 0, vec![made_up]);
                s.say(V2, event);
            },
        }
    }
    chained: CHAINED, "refused (validator 0)", second_entry {
        accepts {
            the_next_over_the_last => |_| {},
            the_same_again => |s| {
                let known = s.request.play.contract.journals().entries(0)[0].clone();
                s.say(V0, entered(known));
            },
            two_that_follow_each_other => |s| *s = witness(),
        }
        refuses {
            a_number_left_out by "unavailable" => |s| {
                let previous = s.entry().previous;
                *s.entry() = s.made(2, previous);
            },
            over_nothing => |s| *s.entry() = s.made(1, NOTHING),
            over_an_entry_that_does_not_stand => |s| *s.entry() = s.made(1, WordId([1; 32])),
            shown_in_the_wrong_order by "refused (validator 1)" => |s| {
                *s = witness();
                s.entries().swap(0, 1);
            },
            shown_with_one_left_out by "refused (validator 1)" => |s| {
                *s = witness();
                let second = digest(s.request.contract, 0, &s.entries()[1].clone());
                s.entries()[1] = s.made(2, second);
            },
            none_shown by "refused (validator 1)" => |s| {
                let event = witnessed(s.request.contract, 0, Vec::new());
                s.say(V1, event);
            },
            taken_over_with_one_left_out by "unavailable" => |s| {
                let entries = vec![s.made(2, WordId([1; 32]))];
                s.say(V0, Event::Journal(JournalEvent::Restored { entries, dropped: Vec::new() }));
            },
            taken_over_over_another_one => |s| {
                let entries = vec![s.made(1, WordId([1; 32]))];
                s.say(V0, Event::Journal(JournalEvent::Restored { entries, dropped: Vec::new() }));
            },
        }
    }
    witness_of: WITNESS, "refused (validator 0)", witness {
        accepts {
            the_next_validator => |s| s.from = V1,
            the_last_validator => |s| s.from = V2,
        }
        refuses {
            himself => |s| s.from = V0,
            the_last_of_his_own_journal by "refused (validator 2)" => |s| {
                s.from = V2;
                let JournalEvent::Witnessed { validator, .. } = &mut s.event else { return };
                *validator = 2;
            },
            of_a_validator_that_the_federation_has_not by "refused (validator 1)" => |s| {
                let JournalEvent::Witnessed { validator, .. } = &mut s.event else { return };
                *validator = 3;
            },
        }
    }
    in_the_journal: ENTERED, "unavailable", about_to_sign {
        accepts {
            the_very_bond => |_| {},
            the_same_behind_an_earlier_one => |r| {
                let sweep = r.enter(Bond::Sweep { ask: WordId([5; 32]), txid: Txid::all_zeros() });
                r.show(V2, &[sweep]);
            },
        }
        refuses {
            nothing => |r| {
                *r = ruling_for_the_miner();
                r.stage = Stage::Sign;
            },
            another_request_with_the_same_outcome => |r| {
                *r = ruling_for_the_miner();
                let entry = r.enter(bond(outcome(1, INSTALLMENT * 3 / 2, false)));
                r.show(V1, &[entry]);
                r.stage = Stage::Sign;
            },
            in_another_validators_journal => |r| r.before(2),
            a_sweep_beside_a_ruling => |r| {
                *r = sweep_for_the_holder();
                r.ruled(outcome(1, 0, false));
                r.stage = Stage::Sign;
            },
        }
    }
    held: HELD, "unavailable", about_to_sign {
        accepts {
            by_one_other_of_two_who_decide => |_| {},
            by_both_others => |r| {
                let entry = r.play.contract.journals().entries(0)[0].clone();
                r.show(V2, &[entry]);
            },
        }
        refuses {
            by_nobody => |r| {
                *r = ruling_for_the_miner();
                r.enter(r.bond());
                r.stage = Stage::Sign;
            },
            of_it_only_the_entry_before => |r| {
                *r = ruling_for_the_miner();
                let asked = r.bond();
                r.ruled(outcome(1, INSTALLMENT, false));
                r.enter(asked);
                r.stage = Stage::Sign;
            },
            by_another_validator_of_another_journal => |r| {
                *r = ruling_for_the_miner();
                let asked = r.bond();
                r.before(1);
                let entry = r.enter(asked);
                r.show(V2, &[entry]);
                r.before(0);
                r.enter(asked);
                r.stage = Stage::Sign;
            },
        }
    }
    behind: BEHIND, "refused (validator 0)", restored {
        accepts {
            what_was_lost_is_taken_over => |_| {},
            what_others_hold_is_our_own => |r| *r = about_to_sign(),
            another_validators_disk_is_old => |r| {
                *r = yesterdays_disk(INSTALLMENT);
                r.before(2);
            },
        }
        refuses {
            yesterdays_disk_asked_for_the_same => |r| *r = yesterdays_disk(INSTALLMENT * 3 / 2),
            yesterdays_disk_asked_for_less => |r| *r = yesterdays_disk(INSTALLMENT * 2),
            yesterdays_disk_about_to_sign => |r| {
                let lost = r.next_entry(bond(outcome(1, INSTALLMENT * 2, false)));
                r.show(V2, &[lost]);
                r.stage = Stage::Sign;
            },
            yesterdays_disk_with_an_entry_that_nobody_holds => |r| {
                *r = yesterdays_disk(INSTALLMENT);
                let asked = bond(outcome(1, INSTALLMENT / 2, false));
                let rival = entry(r.contract, 0, 0, NOTHING, asked);
                r.believe(V0, &entered(rival));
            },
        }
    }
    forked: FORKED, "refused (validator 0)", restored {
        accepts {
            another_entry_that_nobody_held_was_dropped => |r| {
                *r = ruling_for_the_miner();
                let lost = r.next_entry(bond(outcome(1, INSTALLMENT, false)));
                r.enter(bond(outcome(1, INSTALLMENT / 2, false)));
                r.show(V1, &[lost]);
                let entries = r.play.contract.journals().restorable(0).unwrap();
                let event = Event::Journal(JournalEvent::Restored { entries, dropped: Vec::new() });
                r.play.contract.admit(&r.play.world.facts(), V0, &event).unwrap();
                r.believe(V0, &event);
            },
        }
        refuses {
            two_entries_of_one_number_held_by_two_others => |r| {
                *r = ruling_for_the_miner();
                held_twice(r);
            },
            two_entries_of_one_number_held_by_one_other => |r| {
                *r = ruling_for_the_miner();
                let other = r.next_entry(bond(outcome(1, INSTALLMENT, false)));
                let mine = r.enter(bond(outcome(1, INSTALLMENT / 2, false)));
                r.show(V1, &[mine]);
                r.show(V1, &[other]);
            },
            for_ever_though_he_takes_one_of_them_over => |r| {
                *r = ruling_for_the_miner();
                held_twice(r);
                let known = r.play.contract.journals();
                let entries = vec![entry(r.contract, 0, 0, NOTHING, bond(outcome(1, INSTALLMENT, false)))];
                assert_eq!(known.restorable(0).unwrap_err().rule(), FORKED.id);
                let event = Event::Journal(JournalEvent::Restored { entries, dropped: Vec::new() });
                let refused = r.play.contract.admit(&r.play.world.facts(), V0, &event);
                assert_eq!(refused.unwrap_err().rule(), FORKED.id);
                r.believe(V0, &event);
            },
        }
    }
    once: ONCE, "refused (sender)", ruling_for_the_miner {
        accepts {
            the_same_transaction_again => |r| {
                r.enter(r.bond());
            },
            another_outcome_of_the_same_request => |r| {
                let Bond::Ruling { opening, outpoint, txid, .. } = r.bond() else { panic!("another bond") };
                let outcome = outcome(1, INSTALLMENT, false);
                let txid = Txid::hash(txid.as_byte_array());
                r.enter(Bond::Ruling { opening, outpoint, outcome, txid });
            },
        }
        refuses {
            another_transaction_for_the_same_ruling => |r| {
                let Bond::Ruling { opening, outpoint, outcome, .. } = r.bond() else { panic!("another bond") };
                r.enter(Bond::Ruling { opening, outpoint, outcome, txid: Txid::all_zeros() });
            },
            another_transaction_of_another_output => |r| {
                let Bond::Ruling { opening, outcome, .. } = r.bond() else { panic!("another bond") };
                let (outpoint, txid) = (OutPoint::null(), Txid::all_zeros());
                r.enter(Bond::Ruling { opening, outpoint, outcome, txid });
            },
            another_transaction_for_the_same_sweep => |r| {
                *r = sweep_for_the_holder();
                let Task::Sweep(ask) = r.task else { panic!("another task") };
                r.enter(Bond::Sweep { ask, txid: Txid::all_zeros() });
            },
        }
    }
    falls: FALLS, "refused (sender)", ruling_for_the_miner {
        accepts {
            the_very_same => |r| r.ruled(outcome(1, INSTALLMENT * 3 / 2, false)),
            a_satoshi_more_than_before => |r| r.ruled(outcome(1, INSTALLMENT * 3 / 2 - 1, false)),
            no_more_than_a_sweep_before => |r| {
                let sweep = Bond::Sweep { ask: WordId([3; 32]), txid: Txid::all_zeros() };
                let entry = r.enter(sweep);
                r.show(V1, &[entry]);
            },
        }
        refuses {
            a_satoshi_less_than_before => |r| r.ruled(outcome(1, INSTALLMENT * 3 / 2 + 1, false)),
            less_than_the_highest_before => |r| {
                r.ruled(outcome(1, INSTALLMENT * 2, false));
                r.ruled(outcome(1, INSTALLMENT, false));
            },
            what_was_entered_before_more_was => |r| {
                *r = about_to_sign();
                let more = r.enter(bond(outcome(1, INSTALLMENT * 2, false)));
                r.show(V1, &[more]);
            },
            less_than_what_was_taken_over => |r| {
                *r = yesterdays_disk(INSTALLMENT * 2);
                let entries = r.play.contract.journals().restorable(0).unwrap();
                r.believe(V0, &Event::Journal(JournalEvent::Restored { entries, dropped: Vec::new() }));
            },
            less_than_before_in_a_close => |r| {
                *r = close_for_the_holder();
                r.ruled(outcome(1, 1, true));
            },
        }
    }
    later: LATER, "refused (sender)", ruling_for_the_miner {
        accepts {
            as_much_as_of_the_period_before => |r| {
                r.ruled(outcome(0, INSTALLMENT * 3 / 2, false));
            },
            less_than_of_a_later_period => |r| r.ruled(outcome(2, INSTALLMENT * 2, false)),
        }
        refuses {
            a_satoshi_less_than_of_the_period_before => |r| {
                r.ruled(outcome(0, INSTALLMENT * 3 / 2 + 1, false));
            },
            a_close_at_the_end_below_an_earlier_period => |r| {
                *r = close_at_the_end(Seat::Miner);
                r.ruled(outcome(1, INSTALLMENT * 2, false));
            },
            less_than_of_the_period_before_though_it_closed => |r| {
                r.ruled(outcome(0, INSTALLMENT * 2, true));
            },
        }
    }
    lets_go_on: CLOSES, "refused (sender)", close_for_the_holder {
        accepts {
            a_close_again => |r| r.ruled(outcome(1, 0, true)),
            a_close_after_an_earlier_period_that_goes_on => |r| r.ruled(outcome(0, 0, false)),
            what_goes_on_by_new_evidence_after_a_close => |r| {
                *r = ruling_for_the_miner();
                r.ruled(outcome(1, INSTALLMENT, true));
            },
        }
        refuses {
            a_close_of_what_was_let_go_on => |r| r.ruled(outcome(1, 0, false)),
            a_close_of_what_was_let_go_on_after_a_close => |r| {
                r.ruled(outcome(1, 0, true));
                r.ruled(outcome(1, 0, false));
            },
            a_close_at_the_end_that_was_let_go_on => |r| {
                *r = close_at_the_end(Seat::Holder);
                r.ruled(outcome(5, INSTALLMENT, false));
            },
        }
    }
}
