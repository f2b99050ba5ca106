//! The unsigned transaction of a received PSBT says exactly what the rebuilt one says.

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use hashmix::flow::escrow;
use hashmix::tx::carrier::transaction::{
    AMOUNT, INPUT_ORDER, INPUT_TWICE, INPUTS, LOCK_TIME, OUTPOINT, OUTPUT_ORDER, OUTPUTS, SCRIPT,
    SEQUENCE, UNSIGNED, VERSION,
};

use crate::case::shift;
use crate::received::{
    Received, close, holders_exit, ruling, script, sweep, sweep_of, two_and_two,
};
use crate::world::terms;

impl Received {
    fn tx(&mut self) -> &mut Transaction {
        &mut self.psbt.unsigned_tx
    }
}

/// Two inputs, two outputs that differ.
fn pair() -> Received {
    two_and_two([40_000, 41_000])
}

examine! {
    version: VERSION, "refused (holder)", ruling {
        accepts {
            three => |_| {},
            two_of_a_sweep => |r| *r = sweep(),
        }
        refuses {
            two_in_place_of_three => |r| r.tx().version = Version::TWO,
            three_in_place_of_two => |r| {
                *r = sweep();
                r.tx().version = Version(3);
            },
        }
    }
    lock_time: LOCK_TIME, "refused (holder)", ruling {
        accepts {
            the_height_of_its_period => |_| {},
            the_height_of_an_exit => |r| *r = holders_exit(),
        }
        refuses {
            a_block_earlier => |r| {
                let height = r.tx().lock_time.to_consensus_u32();
                r.tx().lock_time = LockTime::from_consensus(height - 1);
            },
            none => |r| r.tx().lock_time = LockTime::ZERO,
            a_time => |r| r.tx().lock_time = LockTime::from_consensus(500_000_000),
        }
    }
    inputs: INPUTS, "refused (holder)", pair {
        accepts {
            two => |_| {},
            three => |r| *r = sweep(),
        }
        refuses {
            one_left_out => |r| drop(r.tx().input.pop()),
            a_strangers_besides => |r| r.tx().input.push(TxIn::default()),
        }
    }
    input_twice: INPUT_TWICE, "refused (holder)", sweep {
        accepts {
            two_outputs_of_one_transaction => |r| {
                *r = sweep_of(|coins| {
                    coins[1].outpoint = OutPoint { vout: 7, ..coins[0].outpoint };
                });
            },
        }
        refuses {
            the_first_in_place_of_the_last => |r| r.tx().input[2] = r.tx().input[0].clone(),
            the_first_once_more => |r| {
                let again = r.tx().input[0].clone();
                r.tx().input.push(again);
            },
        }
    }
    input_order: INPUT_ORDER, "refused (holder)", sweep {
        accepts {
            the_order_of_the_request => |_| {},
            another_order_where_the_request_has_it => |r| *r = sweep_of(|coins| coins.reverse()),
        }
        refuses {
            the_first_two_exchanged => |r| r.tx().input.swap(0, 1),
            all_three_turned_round => |r| r.tx().input.reverse(),
        }
    }
    outpoint: OUTPOINT, "refused (holder)", ruling {
        accepts {
            the_present_output => |_| {},
        }
        refuses {
            another_output_of_the_same_transaction => |r| {
                r.tx().input[0].previous_output.vout += 1;
            },
            an_output_of_no_transaction => |r| {
                r.tx().input[0].previous_output = OutPoint::null();
            },
            the_last_of_three => |r| {
                *r = sweep();
                r.tx().input[2].previous_output.vout += 1;
            },
        }
    }
    sequence: SEQUENCE, "refused (holder)", ruling {
        accepts {
            what_waits_for_nothing => |_| {},
            what_waits_for_an_exit => |r| *r = holders_exit(),
        }
        refuses {
            what_may_not_be_replaced => |r| r.tx().input[0].sequence = Sequence::MAX,
            what_waits_for_a_block => |r| r.tx().input[0].sequence = Sequence::from_height(1),
            an_exit_a_block_too_early => |r| {
                *r = holders_exit();
                r.tx().input[0].sequence = Sequence::from_height(23);
            },
        }
    }
    unsigned: UNSIGNED, "refused (holder)", pair {
        accepts {
            neither_script_nor_witness => |r| r.write(|_| {}),
        }
        refuses {
            a_script_in_the_first_input => |r| r.tx().input[0].script_sig = script(),
            a_witness_in_the_last_input => |r| {
                r.tx().input[1].witness = Witness::from_slice(&[[1]]);
            },
            a_script_in_writing => |r| {
                r.tx().input[0].script_sig = script();
                r.write(|_| {});
            },
        }
    }
    outputs: OUTPUTS, "refused (holder)", ruling {
        accepts {
            three => |_| {},
            two_of_a_close => |r| *r = close(),
            one_of_a_sweep => |r| *r = sweep(),
        }
        refuses {
            the_federation_left_out => |r| drop(r.tx().output.pop()),
            another_one_behind_them => |r| {
                let script_pubkey = ScriptBuf::new_op_return([1]);
                r.tx().output.push(TxOut { value: Amount::ZERO, script_pubkey });
            },
            none => |r| r.tx().output.clear(),
        }
    }
    output_order: OUTPUT_ORDER, "refused (holder)", ruling {
        accepts {
            miner_relock_federation => |_| {},
            two_that_are_alike_exchanged => |r| {
                *r = two_and_two([40_000, 40_000]);
                r.tx().output.swap(0, 1);
            },
        }
        refuses {
            miner_and_relock_exchanged => |r| r.tx().output.swap(0, 1),
            two_amounts_to_one_payee_exchanged => |r| {
                *r = pair();
                r.tx().output.swap(0, 1);
            },
            all_turned_round => |r| r.tx().output.reverse(),
        }
    }
    amount: AMOUNT, "refused (holder)", ruling {
        accepts {
            to_the_satoshi => |_| {},
            exactly_dust => |r| *r = two_and_two([330, 41_000]),
        }
        refuses {
            a_satoshi_more_for_the_miner => |r| shift(&mut r.tx().output[0].value, 1),
            a_satoshi_less_in_the_relock => |r| shift(&mut r.tx().output[1].value, -1),
            a_satoshi_from_one_to_the_other => |r| {
                shift(&mut r.tx().output[0].value, 1);
                shift(&mut r.tx().output[1].value, -1);
            },
        }
    }
    script: SCRIPT, "refused (holder)", ruling {
        accepts {
            those_of_the_terms => |_| {},
            the_holder_of_a_sweep => |r| *r = sweep(),
        }
        refuses {
            the_holder_in_place_of_the_miner => |r| {
                r.tx().output[0].script_pubkey = terms().reward.holder.payout_script();
            },
            the_lock_that_is_spent_in_place_of_the_next => |r| {
                let lock = escrow::coins::lock(&terms(), 1).unwrap();
                r.tx().output[1].script_pubkey = lock.script_pubkey;
            },
            none => |r| r.tx().output[0].script_pubkey = ScriptBuf::new(),
            one_that_only_burns => |r| {
                r.tx().output[2].script_pubkey = ScriptBuf::new_op_return([]);
            },
        }
    }
}
