//! Those who receive a PSBT. They judge and sign with the code that runs in the engine and in the
//! command; what they answer is carried to the end, so that its effect shows in a transaction.
//!
//! | way | honest PSBT | receiver |
//! |---|---|---|
//! | leaf | `Draft::psbt` | compares it, signs his own draft; the others' signatures come as words |
//! | key path, first round | the miner's, with his nonce | the holder answers, the miner finishes |
//! | key path, second round | the holder's, with his part | the miner finishes |

use bitcoin::secp256k1::schnorr;
use bitcoin::{OutPoint, Psbt, Transaction as Tx};
use hashmix::engine::joint::{self, Rounds};
use hashmix::error::{Culprit, Result};
use hashmix::flow::escrow::state::Ask;
use hashmix::party::Seat;
use hashmix::script::lock::Path;
use hashmix::tx::carrier;
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;

use crate::people::{outcome, sign, signer, signers};
use crate::transactions::Transaction;

/// When a PSBT is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Before a leaf is signed.
    Leaf,
    /// With the miner's nonce in it.
    FirstRound,
    /// With both nonces and the holder's part in it.
    SecondRound,
}

/// A transaction, the honest PSBT of it, and who receives it.
pub(crate) struct Receiver {
    pub(crate) transaction: Transaction,
    pub(crate) way: Way,
    pub(crate) draft: Draft,
    pub(crate) honest: Psbt,
    /// What is signed and broadcast when nobody lies.
    pub(crate) unharmed: Tx,
    others: Vec<(Seat, Vec<schnorr::Signature>)>,
}

impl Receiver {
    /// Whoever receives PSBTs of a transaction: one for a leaf, two for the key path.
    pub(crate) fn of(build: impl Fn() -> Transaction) -> Vec<Self> {
        match build().draft().spends()[0].path {
            Path::Key => {
                vec![Self::new(build(), Way::FirstRound), Self::new(build(), Way::SecondRound)]
            }
            _ => vec![Self::new(build(), Way::Leaf)],
        }
    }

    fn new(transaction: Transaction, way: Way) -> Self {
        let draft = transaction.draft();
        let others = match way {
            Way::Leaf => {
                let others = &signers(draft.spends()[0].path)[1..];
                others.iter().map(|seat| (*seat, sign(&draft, *seat))).collect()
            }
            _ => Vec::new(),
        };
        let honest = match way {
            Way::Leaf => draft.psbt().unwrap(),
            Way::FirstRound => begun(&draft).0,
            Way::SecondRound => answered(&draft, &begun(&draft).0).unwrap(),
        };
        let unharmed = draft.transaction().clone();
        let mut receiver = Self { transaction, way, draft, honest, unharmed, others };
        receiver.unharmed = receiver.receive(&receiver.honest.to_string()).unwrap();
        assert_eq!(receiver.unharmed.compute_txid(), receiver.draft.txid());
        receiver
    }

    /// Receives a PSBT, and goes on to the broadcast if it is not refused.
    pub(crate) fn receive(&self, text: &str) -> Result<Tx> {
        match self.way {
            Way::Leaf => {
                let read = carrier::read(text.as_bytes(), Culprit::Sender)?;
                self.draft.compare(&read, Culprit::Sender)?;
                let mut signed = Signed::new(self.transaction.draft());
                let seat = signers(self.draft.spends()[0].path)[0];
                signed.add(seat, &sign(&self.draft, seat))?;
                for (seat, signatures) in &self.others {
                    signed.add(*seat, signatures)?;
                }
                Ok(signed.finish()?.tx)
            }
            Way::FirstRound => {
                let read = carrier::read(text.as_bytes(), Culprit::Miner)?;
                let answer = answered(&self.draft, &read)?;
                self.finished(&answer.to_string())
            }
            Way::SecondRound => self.finished(text),
        }
    }

    /// The miner's end of both rounds.
    fn finished(&self, text: &str) -> Result<Tx> {
        let (_, miner, mut rounds) = begun(&self.draft);
        let read = carrier::read(text.as_bytes(), Culprit::Holder)?;
        let mut signed = Signed::new(self.transaction.draft());
        let joint = rounds.finish(&miner, &self.draft, &ask(), &read, Culprit::Holder)?;
        for (number, signature) in joint.into_iter().enumerate() {
            signed.add_key_path(number, signature)?;
        }
        Ok(signed.finish()?.tx)
    }
}

fn ask() -> Ask {
    Ask { outpoint: OutPoint::null(), outcome: outcome(0, 0, false), sat_per_vb: 5 }
}

/// The miner has begun the rounds of every input.
fn begun(draft: &Draft) -> (Psbt, hashmix::sign::software::SoftwareSigner, Rounds) {
    let (miner, mut rounds) = (signer(Seat::Miner), Rounds::default());
    let carrier = rounds.begin(&miner, draft, ask()).unwrap();
    (carrier, miner, rounds)
}

/// The holder has answered the rounds of every input.
fn answered(draft: &Draft, received: &Psbt) -> Result<Psbt> {
    joint::answer(&signer(Seat::Holder), draft, received, Culprit::Miner)
}
