//! Is it the exchange that was asked for, and nothing else? It is altered behind the builder's back, and
//! judged by the step's own function: `judge` itself rebuilds it.

use bitcoin::absolute::LockTime;
use bitcoin::{Amount, ScriptBuf, Sequence, Transaction};
use hashmix::error::Result;
use hashmix::policy::exchange::{self, CARRIED, DUE, PRICE, SEAL};
use hashmix::tx::exchange::{Part, Way};
use hashmix::tx::rebuilt::Rebuilt;

use crate::case::{Request, shift};
use crate::examine::Bench;
use crate::market::{nothing_is_due, resale};

/// A resale that was granted, and the exchange that was built.
struct Built {
    request: Request,
    tx: Transaction,
    parts: Vec<Part>,
}

impl Bench for Built {
    fn verdict(&self) -> Result<()> {
        let (task, tx, parts) = (&self.request.task, &self.tx, &self.parts);
        self.request.with(|case| exchange::check(case, task, tx, parts))
    }
}

impl Built {
    fn of(request: Request) -> Self {
        let warrant = request.judged().unwrap();
        let Rebuilt::Exchange { exchange, .. } = warrant.draft() else { panic!("no exchange") };
        let (tx, parts) = (exchange.transaction().clone(), exchange.parts().to_vec());
        Self { request, tx, parts }
    }

    /// Takes satoshis from one output and gives them to another.
    fn shift(&mut self, from: usize, to: usize, satoshis: i64) {
        shift(&mut self.tx.output[from].value, -satoshis);
        shift(&mut self.tx.output[to].value, satoshis);
    }

    fn script(&mut self, output: usize) -> &mut ScriptBuf {
        &mut self.tx.output[output].script_pubkey
    }
}

/// Outputs: seal, new escrow, miner, seller, change.
fn built() -> Built {
    Built::of(resale())
}

examine! {
    seal: SEAL, "broken (ours)", built {
        accepts {
            the_buyers => |_| {},
        }
        refuses {
            a_satoshi_less => |b| b.shift(0, 4, 1),
            back_to_the_seller => |b| {
                let old = b.parts[0].prevout.script_pubkey.clone();
                *b.script(0) = old;
            },
            behind_the_escrow => |b| b.tx.output.swap(0, 1),
            a_coin_in_its_place => |b| b.parts[0].way = Way::Coin,
        }
    }
    carried: CARRIED, "broken (ours)", built {
        accepts {
            what_is_left => |_| {},
            all_of_it_where_nothing_is_due => |b| *b = Built::of(nothing_is_due()),
        }
        refuses {
            a_satoshi_for_the_miner => |b| b.shift(1, 2, 1),
            a_satoshi_for_the_seller => |b| b.shift(1, 3, 1),
            a_satoshi_more_from_the_change => |b| b.shift(4, 1, 1),
            into_the_old_lock => |b| {
                let old = b.parts[1].prevout.script_pubkey.clone();
                *b.script(1) = old;
            },
        }
    }
    due: DUE, "broken (ours)", built {
        accepts {
            one_installment => |b| assert_eq!(b.tx.output[2].value.to_sat(), 10_000_000),
            nothing => |b| {
                *b = Built::of(nothing_is_due());
                assert_eq!(b.tx.output.len(), 4);
            },
        }
        refuses {
            a_satoshi_for_the_change => |b| b.shift(2, 4, 1),
            a_satoshi_from_the_seller => |b| b.shift(3, 2, 1),
            to_the_seller => |b| *b.script(2) = b.tx.output[3].script_pubkey.clone(),
            left_out => |b| drop(b.tx.output.remove(2)),
        }
    }
    price: PRICE, "broken (ours)", built {
        accepts {
            what_the_offer_says => |b| assert_eq!(b.tx.output[3].value.to_sat(), 30_000_000),
        }
        refuses {
            a_satoshi_less => |b| b.shift(3, 4, 1),
            to_the_buyer => |b| *b.script(3) = b.tx.output[4].script_pubkey.clone(),
            left_out => |b| b.tx.output.truncate(3),
        }
    }
}

/// An honest exchange after a change, by the rule that refuses it.
fn refused(change: impl FnOnce(&mut Built)) -> &'static str {
    let mut built = built();
    built.verdict().unwrap();
    change(&mut built);
    built.verdict().unwrap_err().rule()
}

#[test]
fn an_exchange_has_the_shape_that_everything_signed_has() {
    assert_eq!(refused(|b| drop(b.tx.input.pop())), "policy-shape-inputs");
    assert_eq!(refused(|b| b.tx.input.swap(0, 1)), "policy-shape-inputs");
    assert_eq!(refused(|b| drop(b.parts.pop())), "policy-shape-inputs");
    let never = Sequence::MAX;
    assert_eq!(refused(|b| b.tx.input[2].sequence = never), "policy-shape-sequence");
    assert_eq!(refused(|b| b.tx.output[4].value = Amount::ONE_SAT), "policy-shape-dust");
    assert_eq!(refused(|b| b.tx.version.0 = 3), "policy-shape-version");
    assert_eq!(refused(|b| b.tx.lock_time = LockTime::ZERO), "policy-shape-locktime");
    assert_eq!(refused(|b| shift(&mut b.tx.output[4].value, 1)), "policy-shape-fee");
    assert_eq!(refused(|b| shift(&mut b.tx.output[4].value, -1)), "policy-shape-fee");
    assert_eq!(refused(|b| drop(b.tx.output.pop())), "policy-shape-fee");
    assert_eq!(
        refused(|b| *b.script(4) = b.tx.output[3].script_pubkey.clone()),
        "policy-shape-payees"
    );
    let split = |b: &mut Built| {
        b.tx.output.push(b.tx.output[4].clone());
        b.tx.output[5].value = Amount::from_sat(1_000);
        shift(&mut b.tx.output[4].value, -1_000);
    };
    assert_eq!(refused(split), "policy-shape-payees");
    assert_eq!(refused(|b| b.parts[2].prevout.value = Amount::ONE_SAT), "policy-shape-conserves");
}
