//! Who may register what at a validator's desk, as far as no chain is asked; and the deal that all
//! tests of the desk are about.

use std::sync::LazyLock;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::schnorr;
use bitcoin::{Network, ScriptBuf};
use hashmix::engine::issuing::record;
use hashmix::error::Result;
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::word::Word;
use hashmix::flow::{Event, reward};
use hashmix::id::{TermsId, WordId};
use hashmix::party::Seat;
use hashmix::rehearsal::people;
use hashmix::sign::seed::Seed;
use hashmix::store::Store;
use hashmix::validator::registration::{
    APART, Counted, FIRST, FORM, ISSUED, MEMBER, NETWORK, REGISTRATION_MAX_BYTES, Registration,
    SIGNED, SIZE, WAY, digest,
};
use hashmix::validator::request::{REQUEST_FORMAT, Request};

use crate::examine::Bench;
use crate::registered_by_sale::sold;
use crate::world::{self, signer};

/// First height of the term: on a true chain the coin that funds the escrow is mature before.
pub(crate) const START: u32 = 110;

static TERMS: LazyLock<EscrowTerms> = LazyLock::new(|| {
    let mut terms = world::terms();
    terms.delivery.start = START;
    terms.check().unwrap();
    terms
});

/// The terms of the deal.
pub(crate) fn terms() -> EscrowTerms {
    TERMS.clone()
}

/// Their id.
pub(crate) fn id() -> TermsId {
    TERMS.id().unwrap()
}

/// Other terms of the same people.
fn others() -> EscrowTerms {
    let mut terms = terms();
    terms.fees.cap += 1;
    terms
}

/// A registration that both parties have signed.
pub(crate) fn signed(terms: EscrowTerms) -> Registration {
    let id = terms.id().unwrap();
    let mut registration = Registration::new(terms);
    for seat in [Seat::Miner, Seat::Holder] {
        registration.add(seat, signer(seat).sign_digest(digest(id)).unwrap()).unwrap();
    }
    registration
}

/// The seed of a seat.
pub(crate) fn seed(seat: Seat) -> Seed {
    people::seed(&people::name(seat)).unwrap()
}

/// A signature of nothing.
pub(crate) fn zeros() -> schnorr::Signature {
    schnorr::Signature::from_slice(&[0; 64]).unwrap()
}

/// A word of a seat, rightly signed.
pub(crate) fn word(from: Seat, event: Event) -> Word {
    let message = Word::message(id(), from, &event).unwrap();
    Word::new(id(), from, event, signer(from).sign_digest(message).unwrap())
}

/// A word of the miner that makes no sense yet: it answers what nobody has asked.
pub(crate) fn early(number: u8) -> Word {
    let ask = WordId([number; 32]);
    let event = reward::state::Event::SweepSigned { ask, signatures: vec![] };
    word(Seat::Miner, Event::Reward(event))
}

/// Signs a request as the seat that it names.
pub(crate) fn sign(request: &mut Request) {
    let digest = request.digest().unwrap();
    request.signature = signer(request.from).sign_digest(digest).unwrap();
}

/// A request for the deal, signed by `from`.
pub(crate) fn request(from: Seat, key: &str, words: Vec<Word>) -> Request {
    let mut request = Request {
        format: REQUEST_FORMAT.to_owned(),
        contract: id(),
        from,
        key: key.to_owned(),
        words,
        psbt: None,
        signature: zeros(),
    };
    sign(&mut request);
    request
}

/// A registration before a desk's own seed, network and memory.
struct Brought {
    registration: Registration,
    /// What becomes of its file on the way.
    way: fn(String) -> String,
    seed: Seed,
    network: Network,
    memory: Store,
    /// What counts for the contracts that are at the desk already.
    others: Vec<(TermsId, Counted)>,
}

impl Bench for Brought {
    fn verdict(&self) -> Result<()> {
        let text = (self.way)(self.registration.to_json().unwrap());
        let read = Registration::from_json(&text)?;
        read.check_network(self.network)?;
        read.check()?;
        let (place, _) = read.member(&self.seed)?;
        read.check_first(&self.memory, place)?;
        read.check_apart(self.others.iter().map(|(id, counted)| (id, counted)))
    }
}

impl Brought {
    /// A party's signature of other terms than those that are registered.
    fn of_others(&self, seat: Seat) -> Option<schnorr::Signature> {
        Some(signer(seat).sign_digest(digest(others().id().unwrap())).unwrap())
    }

    /// The record at `place` has served these terms before.
    fn served(&mut self, terms: EscrowTerms, place: u8) {
        signed(terms).bind(&mut self.memory, place).unwrap();
    }

    /// The record at `place` serves the position that was sold.
    fn attested(&mut self, place: u8) {
        let sale = sold().registration.sale.unwrap();
        record::bind(&mut self.memory, &sale.offer.offer.terms, place).unwrap();
    }

    /// Another contract stands at the desk, whose scripts are ours but for a change.
    fn beside(&mut self, change: impl FnOnce(&mut Counted)) {
        let mut counted = self.registration.counted().unwrap();
        change(&mut counted);
        self.others.push((others().id().unwrap(), counted));
    }
}

fn brought() -> Brought {
    Brought {
        registration: signed(terms()),
        way: |text| text,
        seed: seed(Seat::Validator(1)),
        network: Network::Regtest,
        memory: Store::open_in_memory().unwrap(),
        others: Vec::new(),
    }
}

/// A contract of an issued position comes with its sale; its miner is registered here.
fn bought() -> Brought {
    let mut bought = Brought { registration: sold().registration, ..brought() };
    bought.attested(1);
    bought
}

/// A script of people who are not here.
fn nobodys(number: u8) -> ScriptBuf {
    ScriptBuf::from_bytes([vec![0x51, 0x20], vec![number; 32]].concat())
}

/// Blanks behind a file, up to `length` bytes.
fn padded(text: &str, length: usize) -> String {
    text.to_owned() + &" ".repeat(length - text.len())
}

examine! {
    size: SIZE, "refused (sender)", brought {
        accepts {
            the_longest => |b| b.way = |text| padded(&text, REGISTRATION_MAX_BYTES),
        }
        refuses {
            one_blank_more => |b| b.way = |text| padded(&text, REGISTRATION_MAX_BYTES + 1),
            one_that_is_no_json_either => |b| b.way = |_| "[".repeat(REGISTRATION_MAX_BYTES + 1),
        }
    }
    form: FORM, "refused (sender)", brought {
        accepts {
            blanks_around_it => |b| b.way = |text| format!("\n {text} \n"),
        }
        refuses {
            nothing => |b| b.way = |_| String::new(),
            no_fields => |b| b.way = |_| "{}".to_owned(),
            a_later_form => |b| b.registration.format = "hashmix registration 2".to_owned(),
            a_field_of_another_name => |b| b.way = |text| text.replace("\"miner\": \"", "\"mine\": \""),
            something_behind_the_end => |b| b.way = |text| text + "{}",
        }
    }
    network: NETWORK, "refused (sender)", brought {
        accepts {
            the_desks_own => |b| b.network = b.registration.terms.reward.network,
        }
        refuses {
            at_a_desk_of_mainnet => |b| b.network = Network::Bitcoin,
            at_a_desk_of_signet => |b| b.network = Network::Signet,
            at_a_desk_of_testnet => |b| b.network = Network::Testnet4,
        }
    }
    way: WAY, "refused (sender)", bought {
        accepts {
            a_sale_and_no_signature => |_| {},
            two_signatures_and_no_sale => |b| *b = brought(),
        }
        refuses {
            signatures_in_place_of_the_sale => |b| {
                b.registration.sale = None;
                (b.registration.miner, b.registration.holder) = (Some(zeros()), Some(zeros()));
            },
            neither => |b| b.registration.sale = None,
            a_signature_beside_the_sale => |b| b.registration.miner = Some(zeros()),
            a_sale_of_terms_that_were_signed => |b| {
                let sale = b.registration.sale.take();
                *b = brought();
                b.registration.sale = sale;
            },
        }
    }
    signed_by_both: SIGNED, "refused (miner)", brought {
        accepts {
            other_terms_that_both_have_signed => |b| b.registration = signed(others()),
        }
        refuses {
            not_by_the_miner => |b| b.registration.miner = None,
            not_by_the_holder by "refused (holder)" => |b| b.registration.holder = None,
            by_the_miner_twice by "refused (holder)" => |b| {
                b.registration.holder = b.registration.miner;
            },
            zeros_for_the_miner => |b| b.registration.miner = Some(zeros()),
            other_terms_by_the_holder by "refused (holder)" => |b| {
                b.registration.holder = b.of_others(Seat::Holder);
            },
            terms_that_were_changed_afterwards => |b| b.registration.terms = others(),
        }
    }
    member: MEMBER, "refused (sender)", brought {
        accepts {
            the_first_of_the_federation => |b| b.seed = seed(Seat::Validator(0)),
            the_last_of_the_federation => |b| b.seed = seed(Seat::Validator(2)),
        }
        refuses {
            a_stranger => |b| b.seed = people::seed("somebody else").unwrap(),
            a_party => |b| b.seed = seed(Seat::Miner),
            his_own_words_with_another_passphrase => |b| {
                let name = people::name(Seat::Validator(1));
                let entropy = sha256::Hash::hash(name.as_bytes());
                b.seed = Seed::from_entropy(entropy.as_byte_array(), "other").unwrap();
            },
        }
    }
    issued: ISSUED, "refused (sender)", bought {
        accepts {
            a_position_whose_miner_is_registered_here => |_| {},
            at_another_seat => |b| {
                b.seed = seed(Seat::Validator(2));
                b.attested(2);
            },
        }
        refuses {
            a_position_that_this_desk_has_never_seen => |b| {
                b.memory = Store::open_in_memory().unwrap();
            },
            a_position_that_is_known_to_another_record => |b| b.seed = seed(Seat::Validator(0)),
            a_record_that_serves_another_position => |b| {
                let mut other = b.registration.sale.as_ref().unwrap().offer.offer.terms.clone();
                other.efficiency += 1;
                b.memory = Store::open_in_memory().unwrap();
                record::bind(&mut b.memory, &other, 1).unwrap();
            },
            a_record_that_serves_a_contract => |b| {
                b.memory = Store::open_in_memory().unwrap();
                b.served(terms(), 1);
            },
        }
    }
    first: FIRST, "refused (sender)", brought {
        accepts {
            the_same_terms_again => |b| b.served(terms(), 1),
            other_terms_of_another_record => |b| b.served(others(), 2),
        }
        refuses {
            after_other_terms => |b| b.served(others(), 1),
            after_a_position => |b| b.attested(1),
            other_terms_after_these => |b| {
                b.served(terms(), 1);
                b.registration = signed(others());
            },
        }
    }
    apart: APART, "refused (sender)", brought {
        accepts {
            another_lock_with_the_same_service_script => |b| b.beside(|c| c.lock = nobodys(1)),
            a_later_contract_of_the_position_that_counts_its_lock_before => |b| {
                *b = bought();
                b.beside(|c| c.earlier = vec![std::mem::replace(&mut c.lock, nobodys(1))]);
            },
            what_was_sold_where_somebody_came_first_with_its_lock_as_his_address => |b| {
                *b = bought();
                b.beside(|c| {
                    (c.lock, c.service, c.position) = (nobodys(1), c.lock.clone(), None);
                    c.earlier.clear();
                });
            },
            what_was_sold_where_somebody_came_first_with_its_service_script_as_his_lock => |b| {
                *b = bought();
                b.beside(|c| {
                    (c.lock, c.service, c.position) = (c.service.clone(), nobodys(2), None);
                    c.earlier.clear();
                });
            },
            what_was_sold_where_somebody_came_first_with_a_lock_before_it => |b| {
                *b = bought();
                b.beside(|c| {
                    (c.lock, c.service, c.position) = (nobodys(1), c.earlier.remove(0), None);
                });
            },
            what_was_sold_where_somebody_came_first_with_its_scripts_as_locks_before => |b| {
                *b = bought();
                b.beside(|c| {
                    c.earlier = vec![c.lock.clone(), c.service.clone()];
                    (c.lock, c.service) = (nobodys(1), nobodys(2));
                    c.position = Some(TermsId([1; 32]));
                });
            },
            a_lock_before_that_is_known_here_and_named_elsewhere => |b| {
                *b = bought();
                b.beside(|c| c.lock = c.earlier.remove(0));
                b.beside(|c| {
                    (c.lock, c.service) = (nobodys(1), nobodys(2));
                    c.position = Some(TermsId([1; 32]));
                });
            },
            a_contract_of_strangers => |b| b.beside(|c| {
                (c.lock, c.service) = (nobodys(1), nobodys(2));
            }),
        }
        refuses {
            a_lock_before_that_is_of_another_position => |b| {
                *b = bought();
                b.beside(|c| {
                    c.lock = c.earlier.remove(0);
                    c.position = Some(TermsId([1; 32]));
                });
            },
            a_lock_before_that_another_position_has_before_too => |b| {
                *b = bought();
                b.beside(|c| (c.lock, c.position) = (nobodys(1), Some(TermsId([1; 32]))));
            },
            a_lock_before_that_is_anothers_service_script => |b| {
                *b = bought();
                b.beside(|c| {
                    (c.lock, c.service) = (nobodys(1), c.earlier.remove(0));
                    c.position = Some(TermsId([1; 32]));
                });
            },
            a_lock_that_no_contract_of_a_position_counts_as_one_before => |b| b.beside(|c| {
                c.earlier = vec![std::mem::replace(&mut c.lock, nobodys(1))];
            }),
            a_service_script_that_is_a_lock_before_of_another => |b| b.beside(|c| {
                c.earlier = vec![std::mem::replace(&mut c.service, nobodys(2))];
                c.lock = nobodys(1);
            }),
            the_same_lock => |b| b.beside(|c| c.service = nobodys(2)),
            a_lock_that_is_anothers_service_script => |b| b.beside(|c| {
                (c.lock, c.service) = (nobodys(1), c.lock.clone());
            }),
            a_service_script_that_is_anothers_lock => |b| b.beside(|c| {
                (c.lock, c.service) = (c.service.clone(), nobodys(2));
            }),
        }
    }
}
