//! Does a validator sign the issue of a position? What he asks of the chain and of the words that he has
//! taken, at two positions of one farm.

use std::slice::from_ref;
use std::sync::LazyLock;

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, BlockHash, CompactTarget, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid,
    transaction,
};
use hashmix::error::Result;
use hashmix::facts::{Facts, Seen};
use hashmix::flow::position::coins::{POSTAGE, issued_seal, issuer};
use hashmix::flow::position::dead::{DEAD, Dead, Lost};
use hashmix::flow::position::proof::{CAPACITY, Stage};
use hashmix::flow::position::state::{EARLY, Event, FUNDING, JUDGED, ONCE, State, TOGETHER};
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::txs::{self, Funding};
use hashmix::headers::Headers;
use hashmix::party::Seat;
use hashmix::rehearsal::position as cast;
use hashmix::work::coinbase::subsidy;
use hashmix::work::grind::grind;
use hashmix::work::receipt::{self, Receipt, Subject};
use hashmix::work::share::Share;
use hashmix::work::template::BlockTemplate;

use crate::examine::Bench;

/// First heights of the two slices and of the term.
const HEIGHTS: [u32; 3] = [20, 37, 80];
/// Enough of the farm's two positions for the one-sided test.
const SHARES: usize = 12;
/// Fee rate of an issue, sat/vB.
const RATE: u64 = 3;
/// A block behind everything that was proven, which holds what is paid.
const PAID: u32 = 56;

/// A chain in memory, with the shares of each stage.
struct Mined {
    terms: [PositionTerms; 2],
    headers: Vec<Header>,
    shares: [Vec<Share>; 2],
}

fn template(headers: &[Header]) -> BlockTemplate {
    let height = u32::try_from(headers.len()).unwrap();
    BlockTemplate {
        version: Version::from_consensus(0x2000_0000),
        parent: headers.last().map_or(BlockHash::all_zeros(), Header::block_hash),
        height,
        time: 1_700_000_000 + 600 * height,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        reward: subsidy(Network::Regtest, height),
        transactions: Vec::new(),
    }
}

/// The next block, which proves nothing.
fn other(headers: &[Header]) -> Header {
    let template = template(headers);
    let script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
    let job = template.job(b"other", &[TxOut { value: template.reward, script_pubkey }]).unwrap();
    grind(&job, 0, 1_000, job.header.target()).next().unwrap()
}

static MINED: LazyLock<Mined> = LazyLock::new(|| {
    let terms = [1, 2].map(|number| cast::terms(number, HEIGHTS).unwrap());
    let (mut headers, mut shares) = (Vec::new(), [Vec::new(), Vec::new()]);
    while headers.len() < usize::try_from(HEIGHTS[2] + 4).unwrap() {
        let height = u32::try_from(headers.len()).unwrap();
        let stage = Stage::BOTH
            .into_iter()
            .position(|stage| (stage.first(&terms[0])..=stage.last(&terms[0])).contains(&height));
        let Some(place) = stage else {
            let header = other(&headers);
            headers.push(header);
            continue;
        };
        let template = template(&headers);
        let paid = cast::payouts(&terms, Stage::BOTH[place], template.reward).unwrap();
        let (block, found) = cast::find(&terms[0], &template, &paid, 2, SHARES).unwrap();
        headers.push(block.header);
        shares[place].extend(found);
    }
    Mined { terms, headers, shares }
});

/// Everything that was said about a position but what is paid, with so many shares of each stage.
fn proven(number: u32, counts: [usize; 2]) -> State {
    let (mined, terms) = (&*MINED, terms(number));
    let mut state = State::default();
    state.apply(Seat::Miner, &Event::Asked);
    for (place, stage) in Stage::BOTH.into_iter().enumerate() {
        let some = &mined.shares[place][..counts[place]];
        let certificate = cast::certificate(&terms, stage, some).unwrap();
        let subject = Subject::Certificate { slice: 0, digest: certificate.digest() };
        state.apply(
            Seat::Miner,
            &match stage {
                Stage::Onboarding => Event::Onboarded(certificate),
                Stage::Binding => Event::Bound(certificate),
            },
        );
        let position = stage.position(&terms).unwrap();
        let tip = mined.headers[usize::try_from(stage.judged_from(&terms)).unwrap()].block_hash();
        let message = receipt::message(position, &subject, tip);
        for validator in 0..2 {
            let signer = cast::validator(validator, number).unwrap();
            let signature = signer.sign_digest(*message.as_ref()).unwrap();
            let receipt = Receipt { validator, position, subject, tip, signature };
            state.apply(Seat::Validator(validator), &Event::Receipted(receipt));
        }
    }
    state
}

fn terms(number: u32) -> PositionTerms {
    MINED.terms[usize::try_from(number).unwrap() - 1].clone()
}

const ALL: [usize; 2] = [12 * SHARES; 2];

static PROVEN: LazyLock<[State; 2]> = LazyLock::new(|| [1, 2].map(|number| proven(number, ALL)));

/// A transaction that spends one output.
fn spending(outpoint: OutPoint, output: Vec<TxOut>) -> Transaction {
    let input = vec![TxIn { previous_output: outpoint, ..TxIn::default() }];
    Transaction { version: transaction::Version::TWO, lock_time: LockTime::ZERO, input, output }
}

fn coin(mark: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([mark; 32]), 0)
}

/// Where the money of a payment came from.
fn source() -> ScriptBuf {
    ScriptBuf::from_bytes(vec![0x51])
}

/// A payment for an issue out of a coin, which marks some miners.
fn payment(of: &[PositionTerms], from: u8, marked: &[PositionTerms]) -> (Transaction, Funding) {
    let value = txs::funding(of, RATE).unwrap();
    let mut outputs = vec![TxOut { value, script_pubkey: issuer(&of[0]).unwrap().script_pubkey }];
    for one in marked {
        let script_pubkey = one.reward.miner.payout_script();
        outputs.push(TxOut { value: Amount::from_sat(1_000), script_pubkey });
    }
    let tx = spending(coin(from), outputs);
    let funding = Funding::new(OutPoint::new(tx.compute_txid(), 0), value);
    (tx, funding)
}

/// The first position, what was said at the other one of its batch, and the chain.
#[derive(Clone)]
struct Asked {
    state: State,
    beside: Option<State>,
    seen: Vec<(Transaction, Option<u32>)>,
    tip: u32,
}

impl Asked {
    fn see(&mut self, tx: Transaction, height: Option<u32>) {
        self.seen.push((tx, height));
    }

    /// Another answer of the chain about where a transaction is.
    fn at(&mut self, place: usize, height: Option<u32>) {
        self.seen[place].1 = height;
    }

    /// Says the funding anew, out of another payment, in place of everything that the chain shows.
    fn paid_by(&mut self, tx: Transaction, funding: Funding) {
        self.state = PROVEN[0].clone();
        self.state.apply(Seat::Miner, &Event::Funded { funding, batch: Vec::new() });
        self.seen = vec![(tx, Some(PAID))];
    }

    /// Another reason why the first issue is dead.
    fn because(&mut self, change: impl FnOnce(&mut Dead)) {
        let paid = self.state.paid().to_vec();
        let mut instead = paid[1].instead.clone().unwrap();
        change(&mut instead);
        self.state = PROVEN[0].clone();
        let (first, funding) = (paid[0].funding, paid[1].funding);
        self.state.apply(Seat::Miner, &Event::Funded { funding: first, batch: Vec::new() });
        let again = Event::FundedAgain { instead, funding, batch: Vec::new() };
        self.state.apply(Seat::Miner, &again);
    }
}

impl Bench for Asked {
    fn verdict(&self) -> Result<()> {
        let run = MINED.headers[..=usize::try_from(self.tip).unwrap()].to_vec();
        let headers = Headers::new(Network::Regtest, 0, run).unwrap();
        let seen = self.seen.iter().filter(|(_, height)| height.is_none_or(|h| h <= self.tip));
        let transactions = seen
            .map(|(tx, height)| (tx.compute_txid(), Seen { tx: tx.clone(), height: *height }))
            .collect();
        let facts = Facts { headers, transactions };
        self.state.issue(&terms(1), &facts)?;
        match &self.beside {
            Some(beside) => self.state.check_beside(&terms(1), &terms(2), beside, &facts.headers),
            None => Ok(()),
        }
    }
}

/// A position alone, paid for a block ago.
fn alone() -> Asked {
    let (tx, funding) = payment(from_ref(&terms(1)), 1, from_ref(&terms(1)));
    let mut asked = Asked { state: State::default(), beside: None, seen: Vec::new(), tip: PAID };
    asked.paid_by(tx, funding);
    asked
}

/// Two positions, and both miners have said so.
fn both() -> Asked {
    let batch = [terms(1), terms(2)];
    let (tx, funding) = payment(&batch, 1, &batch[..1]);
    let [mut state, mut beside] = PROVEN.clone();
    let event = Event::Funded { funding, batch: batch.to_vec() };
    state.apply(Seat::Miner, &event);
    beside.apply(Seat::Miner, &event);
    Asked { state, beside: Some(beside), seen: vec![(tx, Some(PAID))], tip: PAID }
}

/// The first payment is lost: what it spent another transaction has spent, three blocks ago; the miner
/// has paid again. What excludes the first issue is the second transaction seen.
fn again() -> Asked {
    let mut asked = alone();
    let (lost, before) = (asked.seen[0].0.clone(), asked.state.funding().unwrap());
    let issue = txs::issue(from_ref(&terms(1)), before).unwrap().txid();
    let (tx, funding) = payment(from_ref(&terms(1)), 2, from_ref(&terms(1)));
    let elsewhere = TxOut { value: Amount::from_sat(5_000), script_pubkey: source() };
    let outpoint = lost.input[0].previous_output;
    let lost = vec![Lost(lost)];
    let instead = Dead { issue, lost, outpoint, script: source() };
    let event = Event::FundedAgain { instead, funding, batch: Vec::new() };
    asked.state.apply(Seat::Miner, &event);
    asked.seen = vec![(tx, Some(PAID)), (spending(outpoint, vec![elsewhere]), Some(PAID - 2))];
    asked
}

/// The issue that a payment makes.
fn issue_of(funding: Funding) -> Transaction {
    txs::issue(from_ref(&terms(1)), funding).unwrap().transaction().clone()
}

examine! {
    capacity: CAPACITY, "refused (miner)", alone {
        accepts {
            what_the_rate_yields_but_once_in_a_thousand_times => |a| {
                let paid = a.state.paid()[0].funding;
                a.state = proven(1, [140, 140]);
                a.state.apply(Seat::Miner, &Event::Funded { funding: paid, batch: Vec::new() });
            },
        }
        refuses {
            a_share_less_in_the_onboarding => |a| {
                let paid = a.state.paid()[0].funding;
                a.state = proven(1, [139, 140]);
                a.state.apply(Seat::Miner, &Event::Funded { funding: paid, batch: Vec::new() });
            },
            a_share_less_in_the_binding => |a| {
                let paid = a.state.paid()[0].funding;
                a.state = proven(1, [140, 139]);
                a.state.apply(Seat::Miner, &Event::Funded { funding: paid, batch: Vec::new() });
            },
        }
    }
    early: EARLY, "refused (miner)", alone {
        accepts {
            a_block_before_the_term => |a| a.tip = HEIGHTS[2] - 1,
        }
        refuses {
            with_the_first_block_of_the_term => |a| a.tip = HEIGHTS[2],
            later => |a| a.tip = HEIGHTS[2] + 3,
        }
    }
    once: ONCE, "refused (miner)", alone {
        accepts {
            a_strangers_payment_to_the_seal => |a| {
                let script_pubkey = issued_seal(&terms(1)).unwrap().script_pubkey;
                a.see(spending(coin(9), vec![TxOut { value: POSTAGE, script_pubkey }]), Some(PAID));
            },
        }
        refuses {
            an_issue_in_a_block => |a| {
                let (tx, funding) = payment(from_ref(&terms(1)), 3, from_ref(&terms(1)));
                a.see(tx, Some(PAID - 1));
                a.see(issue_of(funding), Some(PAID));
            },
            an_issue_that_waits => |a| {
                let (tx, funding) = payment(from_ref(&terms(1)), 3, from_ref(&terms(1)));
                a.see(tx, Some(PAID - 1));
                a.see(issue_of(funding), None);
            },
            itself => |a| {
                let issue = issue_of(a.state.funding().unwrap());
                a.see(issue, Some(PAID));
            },
        }
    }
    dead: DEAD, "refused (miner)", again {
        accepts {
            three_blocks_lie_on_what_took_the_money => |_| {},
            an_input_of_the_issue_itself_is_spent => |a| {
                let before = a.state.paid()[0].funding;
                let script = issuer(&terms(1)).unwrap().script_pubkey;
                let elsewhere = TxOut { value: Amount::from_sat(5_000), script_pubkey: source() };
                a.see(spending(before.outpoint, vec![elsewhere]), Some(PAID - 5));
                a.because(|dead| {
                    (dead.lost, dead.outpoint, dead.script) = (Vec::new(), before.outpoint, script);
                });
            },
        }
        refuses {
            a_block_less by "unavailable" => |a| a.at(1, Some(PAID - 1)),
            in_the_mempool => |a| a.at(1, None),
            nobody_has_spent_it => |a| { a.seen.pop(); },
            the_payment_itself_has_spent_it => |a| {
                let lost = a.state.paid()[1].instead.clone().unwrap().lost[0].0.clone();
                a.seen[1].0 = lost;
            },
            of_another_issue => |a| a.because(|dead| dead.issue = Txid::all_zeros()),
            of_a_payment_that_it_does_not_rest_on => |a| {
                let other = payment(from_ref(&terms(1)), 7, &[]).0;
                a.because(|dead| dead.lost = vec![Lost(other)]);
            },
            of_an_output_that_it_does_not_spend => |a| a.because(|dead| dead.outpoint = coin(8)),
            nine_lost => |a| a.because(|dead| dead.lost = vec![dead.lost[0].clone(); 9]),
        }
    }
    funding: FUNDING, "refused (miner)", alone {
        accepts {
            in_the_last_block => |a| assert_eq!(a.seen[0].1, Some(a.tip)),
            with_other_miners_marks_too => |a| {
                let marked = [terms(2), terms(1)];
                let (tx, funding) = payment(from_ref(&terms(1)), 4, &marked);
                a.paid_by(tx, funding);
            },
        }
        refuses {
            in_the_mempool by "unavailable" => |a| a.at(0, None),
            nowhere by "unavailable" => |a| a.seen.clear(),
            anothers => |a| {
                let (tx, funding) = payment(from_ref(&terms(1)), 4, from_ref(&terms(2)));
                a.paid_by(tx, funding);
            },
            nobodys => |a| {
                let (tx, funding) = payment(from_ref(&terms(1)), 4, &[]);
                a.paid_by(tx, funding);
            },
            of_another_value => |a| {
                let (tx, funding) = payment(from_ref(&terms(1)), 4, from_ref(&terms(1)));
                a.paid_by(tx, Funding { value: funding.value + Amount::ONE_SAT, ..funding });
            },
            spent => |a| {
                let funding = a.state.funding().unwrap().outpoint;
                let elsewhere = TxOut { value: Amount::from_sat(5_000), script_pubkey: source() };
                a.see(spending(funding, vec![elsewhere]), None);
            },
            out_of_an_issue => |a| {
                let (first, before) = payment(from_ref(&terms(2)), 5, from_ref(&terms(2)));
                let (mut tx, _) = payment(from_ref(&terms(1)), 4, from_ref(&terms(1)));
                tx.input[0].previous_output = before.outpoint;
                let outpoint = OutPoint::new(tx.compute_txid(), 0);
                let funding = Funding::new(outpoint, tx.output[0].value);
                a.paid_by(tx, funding);
                a.see(first, Some(PAID - 1));
            },
        }
    }
    judged: JUDGED, "unavailable", both {
        accepts {
            with_the_other_ones_work => |_| {},
        }
        refuses {
            nothing_of_it_was_heard => |a| a.beside = Some(State::default()),
            its_miner_has_only_asked => |a| {
                let mut state = State::default();
                state.apply(Seat::Miner, &Event::Asked);
                state.apply(Seat::Miner, &Event::Funded {
                    funding: a.state.funding().unwrap(),
                    batch: vec![terms(1), terms(2)],
                });
                a.beside = Some(state);
            },
        }
    }
    together: TOGETHER, "unavailable", both {
        accepts {
            both_miners_have_said_the_same => |_| {},
        }
        refuses {
            the_other_has_said_nothing => |a| a.beside = Some(PROVEN[1].clone()),
            the_other_is_alone => |a| {
                let mut state = PROVEN[1].clone();
                let funding = a.state.funding().unwrap();
                state.apply(Seat::Miner, &Event::Funded { funding, batch: Vec::new() });
                a.beside = Some(state);
            },
            the_other_pays_otherwise => |a| {
                let mut state = PROVEN[1].clone();
                let batch = vec![terms(1), terms(2)];
                let funding = payment(&batch, 6, &batch).1;
                state.apply(Seat::Miner, &Event::Funded { funding, batch });
                a.beside = Some(state);
            },
            in_another_order => |a| {
                let mut state = PROVEN[1].clone();
                let funding = a.state.funding().unwrap();
                let batch = vec![terms(2), terms(1)];
                state.apply(Seat::Miner, &Event::Funded { funding, batch });
                a.beside = Some(state);
            },
        }
    }
}
