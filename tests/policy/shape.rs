//! Is it a settlement, a close or a sweep, and nothing else? The transaction is altered behind the
//! builder's back, and judged by the step's own function: `judge` itself rebuilds it.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut};
use hashmix::error::Result;
use hashmix::flow::escrow;
use hashmix::party::Seat;
use hashmix::policy::shape::{
    self, CONSERVES, DUST, FEE, INPUTS, LOCKTIME, MINER, PAYEES, REFUND, RELOCK, RULING, SEQUENCE,
    VERSION,
};
use hashmix::tx::draft::Spend;

use crate::case::{
    Request, close_at_the_end, close_for_the_holder, ruling_for_the_miner, ruling_on_a_state,
    shift, sweep_for_the_holder, sweep_for_the_miner,
};
use crate::examine::Bench;
use crate::world::INSTALLMENT;

/// A request that was granted, and the transaction that was built.
struct Built {
    request: Request,
    tx: Transaction,
    spends: Vec<Spend>,
}

impl Bench for Built {
    fn verdict(&self) -> Result<()> {
        let (task, tx, spends) = (&self.request.task, &self.tx, &self.spends);
        self.request.with(|case| shape::check(case, task, tx, spends))
    }
}

impl Built {
    fn of(request: Request) -> Self {
        let warrant = request.judged().unwrap();
        let (tx, spends) =
            (warrant.draft().transaction().clone(), warrant.draft().spends().to_vec());
        Self { request, tx, spends }
    }

    /// Takes satoshis from one output and gives them to another.
    fn shift(&mut self, from: usize, to: usize, satoshis: i64) {
        shift(&mut self.tx.output[from].value, -satoshis);
        shift(&mut self.tx.output[to].value, satoshis);
    }

    fn script(&mut self, output: usize) -> &mut ScriptBuf {
        &mut self.tx.output[output].script_pubkey
    }

    fn lock_at(&mut self, height: u32) {
        self.tx.lock_time = LockTime::from_height(height).unwrap();
    }

    fn ripe(&self) -> u32 {
        self.request.play.world.terms.ruling_height(1).unwrap()
    }
}

/// Outputs: miner, re-lock, federation.
fn ruling() -> Built {
    Built::of(ruling_for_the_miner())
}

/// Outputs: holder, federation. Nothing is due.
fn close() -> Built {
    Built::of(close_for_the_holder())
}

/// Outputs: miner, holder, federation; the miner asks.
fn end_for_the_miner() -> Built {
    Built::of(close_at_the_end(Seat::Miner))
}

/// Outputs: miner, holder, federation; the holder asks, above the fee floor.
fn end_for_the_holder() -> Built {
    let mut request = close_at_the_end(Seat::Holder);
    request.ask(|opening| opening.sat_per_vb = 7);
    Built::of(request)
}

/// One output, to the holder.
fn sweep() -> Built {
    Built::of(sweep_for_the_holder())
}

/// All but `left` is due, and the miner asks.
fn almost_all_is_due(left: u64) -> Built {
    Built::of(ruling_on_a_state(6 * INSTALLMENT - left))
}

examine! {
    inputs: INPUTS, "broken (ours)", ruling {
        accepts {
            the_one_escrow_output => |_| {},
            three_rewards_as_they_were_asked_for => |b| *b = sweep(),
            three_rewards_in_the_order_of_another_request => |b| {
                let mut request = sweep_for_the_holder();
                request.ask_sweep(Seat::Holder, |ask| ask.rewards.reverse());
                *b = Built::of(request);
            },
        }
        refuses {
            none => |b| b.tx.input.clear(),
            another_output_of_the_same_transaction => |b| {
                b.tx.input[0].previous_output.vout += 1;
            },
            another_output_in_transaction_and_spends => |b| {
                b.tx.input[0].previous_output.vout += 1;
                b.spends[0].outpoint.vout += 1;
            },
            a_strangers_input_beside_it => |b| b.tx.input.push(TxIn::default()),
            the_same_input_twice => |b| b.tx.input.push(b.tx.input[0].clone()),
            another_output_than_what_is_known_to_be_spent => |b| {
                b.spends[0].outpoint = OutPoint::null();
            },
            two_rewards_shuffled => |b| {
                *b = sweep();
                b.tx.input.swap(0, 1);
                b.spends.swap(0, 1);
            },
            a_reward_left_out => |b| {
                *b = sweep();
                b.tx.input.pop();
                b.spends.pop();
            },
        }
    }
    version: VERSION, "broken (ours)", ruling {
        accepts {
            three_for_a_ruling => |b| b.tx.version = Version(3),
            two_for_a_sweep => |b| {
                *b = sweep();
                b.tx.version = Version::TWO;
            },
        }
        refuses {
            two_for_a_ruling => |b| b.tx.version = Version::TWO,
            three_for_a_sweep => |b| {
                *b = sweep();
                b.tx.version = Version(3);
            },
            four => |b| b.tx.version = Version(4),
        }
    }
    locktime: LOCKTIME, "broken (ours)", ruling {
        accepts {
            the_height_of_its_period => |b| b.lock_at(b.ripe()),
            none_for_a_sweep => |b| {
                *b = sweep();
                b.tx.lock_time = LockTime::ZERO;
            },
        }
        refuses {
            a_block_earlier => |b| b.lock_at(b.ripe() - 1),
            a_block_later => |b| b.lock_at(b.ripe() + 1),
            none_for_a_ruling => |b| b.tx.lock_time = LockTime::ZERO,
            a_time_instead_of_a_height => |b| {
                b.tx.lock_time = LockTime::from_consensus(500_000_000);
            },
            one_for_a_sweep => |b| {
                *b = sweep();
                b.lock_at(1);
            },
        }
    }
    sequence: SEQUENCE, "broken (ours)", ruling {
        accepts {
            what_waits_for_nothing_and_may_be_replaced => |b| {
                b.tx.input[0].sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;
            },
        }
        refuses {
            what_may_not_be_replaced => |b| b.tx.input[0].sequence = Sequence::MAX,
            what_switches_only_the_lock_time_on => |b| {
                b.tx.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
            },
            what_waits_for_one_block => |b| {
                b.tx.input[0].sequence = Sequence::from_height(1);
            },
            the_last_input_of_a_sweep_alone => |b| {
                *b = sweep();
                b.tx.input[2].sequence = Sequence::ZERO;
            },
        }
    }
    payees: PAYEES, "broken (ours)", ruling {
        accepts {
            miner_relock_federation => |_| {},
            holder_federation => |b| *b = close(),
            miner_holder_federation => |b| *b = end_for_the_miner(),
            the_holder_of_a_sweep => |b| *b = sweep(),
        }
        refuses {
            the_holder_in_place_of_the_miner => |b| {
                *b.script(0) = b.request.play.world.terms.reward.holder.payout_script();
            },
            a_stranger_in_place_of_the_relock => |b| {
                *b.script(1) = ScriptBuf::from_bytes([&[0x51, 0x20][..], &[2; 32]].concat());
            },
            the_lock_of_the_index_after_the_next => |b| {
                let terms = &b.request.play.world.terms;
                *b.script(1) = escrow::coins::lock(terms, 2).unwrap().script_pubkey;
            },
            the_lock_that_is_spent => |b| *b.script(1) = b.spends[0].prevout.script_pubkey.clone(),
            the_federation_before_the_relock => |b| b.tx.output.swap(1, 2),
            the_relock_before_the_miner => |b| b.tx.output.swap(0, 1),
            the_federation_twice => |b| {
                b.tx.output.push(b.tx.output[2].clone());
                shift(&mut b.tx.output[1].value, -20_000);
            },
            a_message_behind_them => |b| {
                let script_pubkey = ScriptBuf::new_op_return([7; 32]);
                b.tx.output.push(TxOut { value: Amount::ZERO, script_pubkey });
            },
            no_miner_beside_a_relock => |b| drop(b.tx.output.remove(0)),
            the_miner_in_a_sweep => |b| {
                *b = sweep();
                *b.script(0) = b.request.play.world.terms.reward.miner.payout_script();
            },
            two_outputs_to_the_holder_in_a_sweep => |b| {
                *b = sweep();
                b.tx.output.push(b.tx.output[0].clone());
                b.tx.output[1].value = Amount::from_sat(1_000);
                shift(&mut b.tx.output[0].value, -1_000);
            },
            nobody_in_a_sweep => |b| {
                *b = sweep();
                b.tx.output.clear();
            },
        }
    }
    miner: MINER, "broken (ours)", end_for_the_miner {
        accepts {
            what_is_due_less_fee_and_ruling => |_| {},
            what_is_due_less_the_fee_at_the_floor_where_the_holder_asks => |b| {
                *b = end_for_the_holder();
            },
            nothing_where_nothing_is_due => |b| *b = close(),
        }
        refuses {
            a_satoshi_less => |b| b.shift(0, 1, 1),
            more_than_is_due => |b| b.shift(1, 0, 40_000),
            a_satoshi_less_where_the_holder_asks => |b| {
                *b = end_for_the_holder();
                b.shift(0, 1, 1);
            },
            the_ruling_where_the_holder_asks => |b| {
                *b = end_for_the_holder();
                b.shift(0, 1, 20_000);
            },
            nothing_where_much_is_due => |b| {
                let miner = b.tx.output.remove(0);
                b.tx.output[0].value += miner.value;
            },
        }
    }
    relock: RELOCK, "broken (ours)", ruling {
        accepts {
            what_the_escrow_held_less_what_is_due => |_| {},
            the_very_last_that_can_be_locked => |b| *b = almost_all_is_due(330),
        }
        refuses {
            a_satoshi_less => |b| b.shift(1, 0, 1),
            a_satoshi_more => |b| b.shift(0, 1, 1),
            the_fee_besides => |b| b.shift(1, 0, 20_000),
            a_relock_where_the_contract_ends => |b| b.request.outcome().closes = true,
            the_holder_where_the_contract_goes_on => |b| {
                let holder = b.request.play.world.terms.reward.holder.payout_script();
                b.tx.output[1].script_pubkey = holder;
            },
        }
    }
    refund: REFUND, "broken (ours)", end_for_the_miner {
        accepts {
            the_whole_rest_where_the_miner_asks => |_| {},
            the_rest_less_the_ruling_where_the_holder_asks => |b| *b = end_for_the_holder(),
            everything_less_the_costs_where_nothing_is_due => |b| *b = close(),
            nothing_where_the_rest_is_dust => |b| *b = almost_all_is_due(329),
        }
        refuses {
            a_satoshi_less_where_the_miner_asks => |b| b.shift(1, 0, 1),
            the_ruling_where_the_miner_asks => |b| b.shift(1, 0, 20_000),
            a_satoshi_less_where_the_holder_asks => |b| {
                *b = end_for_the_holder();
                b.shift(1, 0, 1);
            },
            nothing_where_the_rest_is_more_than_dust => |b| drop(b.tx.output.remove(1)),
        }
    }
    federation: RULING, "broken (ours)", ruling {
        accepts {
            the_fee_in_the_terms => |b| b.tx.output[2].value = Amount::from_sat(20_000),
        }
        refuses {
            a_satoshi_more => |b| b.shift(0, 2, 1),
            a_satoshi_less => |b| b.shift(2, 0, 1),
            nothing => |b| drop(b.tx.output.pop()),
            a_satoshi_more_at_the_holders_expense => |b| {
                *b = close();
                b.shift(0, 1, 1);
            },
        }
    }
    fee: FEE, "broken (ours)", ruling {
        accepts {
            its_size_at_the_rate => |_| {},
            what_is_dust_on_top_where_the_holder_is_left_out => |b| *b = almost_all_is_due(329),
            the_highest_rate_for_a_sweep => |b| {
                let mut request = sweep_for_the_holder();
                request.ask_sweep(Seat::Holder, |ask| ask.sat_per_vb = 50);
                *b = Built::of(request);
            },
        }
        refuses {
            a_satoshi_more_at_the_miners_expense => |b| shift(&mut b.tx.output[0].value, -1),
            a_satoshi_less => |b| shift(&mut b.tx.output[0].value, 1),
            another_rate_than_was_asked_for => |b| b.request.ask(|opening| opening.sat_per_vb = 3),
            a_satoshi_more_in_a_sweep => |b| {
                *b = sweep();
                shift(&mut b.tx.output[0].value, -1);
            },
            a_satoshi_less_in_a_sweep => |b| {
                *b = Built::of(sweep_for_the_miner());
                shift(&mut b.tx.output[0].value, 1);
            },
            a_satoshi_more_at_the_holders_expense => |b| {
                *b = close();
                shift(&mut b.tx.output[0].value, -1);
            },
        }
    }
    conserves: CONSERVES, "broken (ours)", sweep {
        accepts {
            outputs_below_the_inputs => |_| {},
        }
        refuses {
            a_satoshi_more_than_the_inputs => |b| {
                let whole: Amount = b.spends.iter().map(|spend| spend.prevout.value).sum();
                b.tx.output[0].value = whole + Amount::from_sat(1);
            },
            inputs_above_all_bitcoin_there_is => |b| {
                b.spends[0].prevout.value = Amount::MAX_MONEY;
            },
            outputs_that_wrap_around => |b| {
                let mut more = b.tx.output[0].clone();
                more.value = Amount::MAX;
                b.tx.output.push(more);
            },
            a_relock_above_what_the_escrow_holds => |b| {
                *b = ruling();
                b.tx.output[1].value = b.spends[0].prevout.value;
            },
        }
    }
    dust: DUST, "broken (ours)", lowest_relock {
        accepts {
            a_relock_of_exactly_dust => |_| {},
        }
        refuses {
            a_relock_one_below_dust => |b| b.shift(1, 0, 1),
            a_federation_one_below_dust => |b| {
                let least = b.script(2).minimal_non_dust();
                b.tx.output[2].value = least - Amount::from_sat(1);
            },
            a_sweep_of_nothing => |b| {
                *b = sweep();
                b.tx.output[0].value = Amount::ZERO;
            },
        }
    }
}

/// The re-lock holds what just is no dust.
fn lowest_relock() -> Built {
    almost_all_is_due(330)
}
