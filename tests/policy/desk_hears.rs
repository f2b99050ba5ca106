//! What a desk asks with a chain and a memory behind it: the embedded node, and a folder of its own
//! for each verdict.

use std::sync::LazyLock;

use bitcoin::absolute::LockTime;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Witness};
use hashmix::chain::electrum::Electrum;
use hashmix::chain::embedded::EmbeddedNode;
use hashmix::error::{Error, Result, Rule};
use hashmix::facts::Facts;
use hashmix::flow::dispute::state::{Event as DisputeEvent, Opening};
use hashmix::flow::dispute::txs::ruling;
use hashmix::flow::escrow::coins::{Progress, funding, progress};
use hashmix::flow::escrow::outcome::outcome;
use hashmix::flow::word::Word;
use hashmix::flow::{Contract, Event};
use hashmix::id::TermsId;
use hashmix::party::Seat;
use hashmix::tx::draft::Draft;
use hashmix::tx::signed::Signed;
use hashmix::validator::answer::Answer;
use hashmix::validator::desk::Desk;
use hashmix::validator::expected::PSBT;
use hashmix::validator::registration::ALIVE;
use hashmix::validator::request::{BACKLOG, CONTRACT, KEY, REQUEST_MAX_BYTES, Request};
use hashmix::validator::sources::Sources;
use hashmix::work::receipt::{self, Receipt, Subject};
use tempfile::TempDir;

use crate::case::{V0, V1, V2};
use crate::desk::{START, early, request, seed, sign, signed, terms};
use crate::examine::Bench;
use crate::world::{self, signer};

const NETWORK: Network = Network::Regtest;
/// The period (0-based) that is ruled on: nothing of it was delivered.
const PERIOD: u32 = 1;
const RATE: u64 = 2;

/// A script that anybody can satisfy.
fn anybody() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

/// A chain, and an Electrum server in front of it.
struct Chain(EmbeddedNode);

impl Chain {
    /// A coin is mature; nobody has paid the escrow.
    fn unfunded() -> Self {
        let chain = Self(EmbeddedNode::start().unwrap());
        chain.mine_to(101);
        chain
    }

    /// The escrow is funded, and the time to answer is over for who asked for a ruling as soon as he
    /// could.
    fn ripe() -> Self {
        let chain = Self::unfunded();
        let coinbase = chain.0.block(1).unwrap().txdata[0].clone();
        let price = funding(&terms()).unwrap();
        let change = coinbase.output[0].value - price.value - Amount::from_sat(1_000);
        chain.send(&Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(coinbase.compute_txid(), 0),
                witness: Witness::from_slice(&[anybody().to_bytes()]),
                ..TxIn::default()
            }],
            output: vec![price, TxOut { value: change, script_pubkey: anybody().to_p2wsh() }],
        });
        chain.mine_to(START - 1);
        chain.mine_to(asked_at() + terms().delays.answer);
        chain
    }

    fn mine_to(&self, height: u32) {
        let pays = |value| vec![TxOut { value, script_pubkey: anybody().to_p2wsh() }];
        self.0.mine(height - self.0.tip().0, &pays).unwrap();
    }

    fn electrum(&self) -> Electrum {
        Electrum::connect(&self.0.electrum_url(), NETWORK).unwrap()
    }

    fn send(&self, tx: &Transaction) {
        self.electrum().broadcast(tx).unwrap();
    }

    fn facts(&self) -> Facts {
        let contract = Contract::new(terms()).unwrap();
        self.electrum().facts(&contract.watched(), contract.headers_from()).unwrap()
    }

    /// The holder's request for a ruling, and the ruling.
    fn ruled(&self) -> (Opening, Draft) {
        let (terms, facts) = (terms(), self.facts());
        let Progress::Open(coin) = progress(&terms, &facts).unwrap() else { panic!("no escrow") };
        let contract = Contract::new(terms.clone()).unwrap();
        let outcome = outcome(&terms, &facts, contract.evidence(), PERIOD).unwrap();
        let requester = Seat::Holder;
        let opening =
            Opening { requester, outpoint: coin.outpoint, period: PERIOD, sat_per_vb: RATE };
        (opening, ruling(&terms, &coin, outcome, requester, RATE).unwrap())
    }

    /// Two validators and the holder sign the ruling, and send it.
    fn end(&self) {
        let mut signed = Signed::new(self.ruled().1);
        for seat in [V0, V1, Seat::Holder] {
            let signatures = world::sign(signed.draft(), seat);
            signed.add(seat, &signatures).unwrap();
        }
        self.send(&signed.finish().unwrap().tx);
    }

    /// A validator's receipt for the opening, who had the tip at `height`.
    fn receipt(&self, of: Seat, opening: &Opening, height: u32) -> Word {
        let Seat::Validator(validator) = of else { panic!("{of} receipts") };
        let subject = Subject::Opening { digest: opening.id().unwrap().0 };
        let position = terms().position().unwrap();
        let tip = self.0.block(height).unwrap().block_hash();
        let message = receipt::message(position, &subject, tip);
        let signature = signer(of).sign_digest(*message.as_ref()).unwrap();
        let receipt = Receipt { validator, position, subject, tip, signature };
        crate::desk::word(of, Event::Dispute(DisputeEvent::Receipted(receipt)))
    }

    /// All that is to be said before the ruling: the opening, and receipts at `height`.
    fn words(&self, height: u32) -> Vec<Word> {
        let (opening, _) = self.ruled();
        let asked =
            crate::desk::word(opening.requester, Event::Dispute(DisputeEvent::Opened(opening)));
        let receipts = [V1, V2].map(|seat| self.receipt(seat, &opening, height));
        [asked].into_iter().chain(receipts).collect()
    }
}

/// The first height at which the ruling can be asked for.
fn asked_at() -> u32 {
    terms().ruling_height(PERIOD).unwrap()
}

/// The chain of all tests that change nothing of it.
static RIPE: LazyLock<Chain> = LazyLock::new(Chain::ripe);

/// A validator's desk in a fresh folder.
fn desk(chain: &Chain) -> (Desk, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let electrum = chain.0.electrum_urls().into();
    let sources = Sources { network: NETWORK, electrum, core: None };
    (Desk::open(home.path(), seed(V0), sources).unwrap(), home)
}

/// A registration before a desk, on a chain of its own.
struct Registers(Chain);

impl Bench for Registers {
    fn verdict(&self) -> Result<()> {
        let (mut desk, _home) = desk(&self.0);
        desk.register(&signed(terms()).to_json().unwrap()).map(|_| ())
    }
}

fn registers() -> Registers {
    Registers(Chain::ripe())
}

/// Requests before a desk at which the contract is registered. The last one is judged.
struct Hears {
    registered: bool,
    before: Vec<Request>,
    last: Request,
}

impl Bench for Hears {
    fn verdict(&self) -> Result<()> {
        let (mut desk, _home) = desk(&RIPE);
        if self.registered {
            desk.register(&signed(terms()).to_json().unwrap()).unwrap();
        }
        let mut hear = |request: &Request| {
            let text = desk.hand_in(&request.to_json().unwrap(), REQUEST_MAX_BYTES)?;
            Answer::from_json(&text)
        };
        for request in &self.before {
            hear(request).unwrap();
        }
        told(&hear(&self.last)?)
    }
}

/// Two rules refuse nothing: the answer tells them beside what waits, by their ids.
fn told(answer: &Answer) -> Result<()> {
    answer.verify(&terms()).unwrap();
    assert!(answer.refused.is_empty(), "{answer:?}");
    let says = |rule: Rule| {
        let why = answer.waiting.iter().map(|waiting| &waiting.why);
        let told = why.into_iter().find(|why| why.ends_with(&format!("({})", rule.id)));
        told.map_or(Ok(()), |why| Err::<(), Error>(rule.unavailable("answer", rule.says, why)))
    };
    says(PSBT)?;
    says(BACKLOG)
}

impl Hears {
    /// The sender signs something else.
    fn signed(&mut self, change: impl FnOnce(&mut Request)) {
        change(&mut self.last);
        sign(&mut self.last);
    }

    /// The miner has brought so many words that wait.
    fn waits(&mut self, words: u8) {
        let all: Vec<Word> = (0..words).map(early).collect();
        let name = |number: usize| format!("waits {number}");
        let batches = all.chunks(64).enumerate();
        self.before =
            batches.map(|(n, words)| request(Seat::Miner, &name(n), words.to_vec())).collect();
    }
}

fn hears() -> Hears {
    Hears { registered: true, before: vec![], last: request(Seat::Miner, "b", vec![]) }
}

/// Something was asked before, under the key "a".
fn hears_again() -> Hears {
    Hears { before: vec![request(Seat::Miner, "a", vec![early(1)])], ..hears() }
}

/// The miner brings one more word that waits.
fn hears_early() -> Hears {
    Hears { last: request(Seat::Miner, "b", vec![early(255)]), ..hears() }
}

/// The holder brings what a ruling rests on, and expects it.
fn expects() -> Hears {
    let mut expects = hears();
    expects.signed(|request| {
        request.from = Seat::Holder;
        request.words = RIPE.words(asked_at());
        request.psbt = Some(RIPE.ruled().1.psbt().unwrap().to_string());
    });
    expects
}

examine! {
    alive: ALIVE, "refused (sender)", registers {
        accepts {
            an_escrow_that_is_open => |r| r.0.mine_to(asked_at() + 12),
            an_escrow_that_nobody_has_paid_yet => |r| r.0 = Chain::unfunded(),
        }
        refuses {
            an_end_that_waits_for_a_block => |r| r.0.end(),
            an_end_in_a_block => |r| {
                r.0.end();
                r.0.mine_to(r.0.0.tip().0 + 1);
            },
        }
    }
    contract: CONTRACT, "refused (sender)", hears {
        accepts {
            the_registered_one_by_another_sender => |h| h.signed(|request| request.from = V2),
        }
        refuses {
            before_it_is_registered => |h| h.registered = false,
            the_same_people_at_another_price => |h| h.signed(|request| {
                let mut other = terms();
                other.price += Amount::from_sat(1);
                request.contract = other.id().unwrap();
            }),
            an_id_of_nothing => |h| h.signed(|request| request.contract = TermsId([0; 32])),
        }
    }
    key: KEY, "refused (miner)", hears_again {
        accepts {
            the_same_request_again => |h| h.last = h.before[0].clone(),
            the_key_of_another_sender => |h| h.last = request(Seat::Holder, "a", vec![]),
        }
        refuses {
            without_its_word => |h| h.last = request(Seat::Miner, "a", vec![]),
            with_another_word => |h| h.last = request(Seat::Miner, "a", vec![early(2)]),
            with_an_expected_transaction => |h| {
                h.last = h.before[0].clone();
                h.signed(|request| {
                    request.psbt = Some(RIPE.ruled().1.psbt().unwrap().to_string());
                });
            },
        }
    }
    backlog: BACKLOG, "unavailable", hears_early {
        accepts {
            behind_sixty_four => |h| h.waits(64),
            of_another_sender_behind_more => |h| {
                h.waits(65);
                h.signed(|request| request.from = Seat::Holder);
            },
        }
        refuses {
            behind_sixty_five => |h| h.waits(65),
            without_a_word_behind_twice_as_many => |h| {
                h.waits(128);
                h.signed(|request| request.words.clear());
            },
        }
    }
    psbt: PSBT, "unavailable", expects {
        accepts {
            the_ruling_that_is_due => |h| h.signed(|request| request.key = "c".to_owned()),
            none => |h| h.signed(|request| request.psbt = None),
        }
        refuses {
            a_ruling_that_nobody_has_asked_for => |h| h.signed(|request| request.words.clear()),
            a_ruling_that_one_validator_has_seen_asked_for => |h| {
                h.signed(|request| request.words.truncate(2));
            },
            a_ruling_a_block_before_it_is_due => |h| {
                h.signed(|request| request.words = RIPE.words(asked_at() + 1));
            },
        }
    }
}
