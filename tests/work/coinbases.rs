//! Rules 2 to 5: the coinbase could be that block's, the branch ties it to the header as leaf 0, it pays
//! whom it should, and the hash is low enough for it.

use bitcoin::hashes::Hash;
use bitcoin::locktime::absolute::LockTime;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Target, TxIn, TxMerkleNode, Txid};
use hashmix::amount::MAX_SATOSHIS;
use hashmix::work::agreement::{Earlier, Profile};
use hashmix::work::coinbase::{
    FINAL, FORM, HEIGHT as STATED, INPUT, LENGTH, PAY_HOLDER, PAY_LOCK, PAY_SERVICE, PAY_TOTAL,
    SCRIPT, TRAILING,
};
use hashmix::work::hash;
use hashmix::work::share::{DEPTH, ROOT, TARGET, TWIN, hash_target};
use hashmix::work::template::fold_branch;

use crate::made::{HEIGHT, Made, made};
use crate::world::{REWARD, out, pay, script, terms};

/// The coinbase's script is this one.
fn states(made: &mut Made, bytes: &[u8]) {
    made.tx.input[0].script_sig = ScriptBuf::from_bytes(bytes.to_vec());
}

/// The script has so many bytes.
fn long(made: &mut Made, length: usize) {
    let mut bytes = vec![1, 20];
    bytes.resize(length, 0);
    states(made, &bytes);
}

/// The root above a coinbase that stands at leaf 1.
fn right(leaf: Txid, branch: &[TxMerkleNode]) -> TxMerkleNode {
    let (first, rest) = branch.split_first().unwrap();
    let node = fold_branch(Txid::from_byte_array(first.to_byte_array()), &[leaf.into()]);
    fold_branch(Txid::from_byte_array(node.to_byte_array()), rest)
}

/// The root above a coinbase that stands at leaf 2.
fn third(leaf: Txid, branch: &[TxMerkleNode]) -> TxMerkleNode {
    let (first, rest) = branch.split_first().unwrap();
    let node = fold_branch(leaf, &[*first]);
    let above = Txid::from_byte_array(rest[0].to_byte_array());
    fold_branch(Txid::from_byte_array(fold_branch(above, &[node]).to_byte_array()), &rest[1..])
}

/// A branch of so many levels.
fn levels(made: &mut Made, levels: u8) {
    made.branch = (0..levels).map(|i| TxMerkleNode::from_byte_array([i; 32])).collect();
}

/// The node at some level has itself as its sibling.
fn twin(made: &mut Made, level: usize) {
    made.branch.truncate(level);
    let leaf = hash::double(&made.coinbase());
    let node = hash::fold(leaf, &made.branch).unwrap();
    made.branch.push(TxMerkleNode::from_byte_array(node));
}

/// Waits for this height or time.
fn waits(made: &mut Made, until: u32) {
    made.tx.lock_time = LockTime::from_consensus(until);
    made.tx.input[0].sequence = Sequence::ZERO;
}

/// Pays out so much to the contract, and as much in all.
fn total(made: &mut Made, sat: u64) {
    made.tx.output = pay(sat, sat);
}

/// The position changes its holder: each lock is paid until its period, and then the last one.
fn holders(made: &mut Made, before: &[(u32, u8)], present: u8) {
    let earlier = |(until, lock): &(u32, u8)| Earlier { until: *until, lock: script(*lock) };
    made.terms.earlier = before.iter().map(earlier).collect();
    made.terms.lock = script(present);
    made.terms = made.terms.clone().check(Profile::Regtest).unwrap();
}

/// The target of a share that pays a third.
fn a_third() -> Target {
    hash_target(terms().target, Amount::from_sat(REWARD / 3), Amount::from_sat(REWARD))
}

/// The service output gets so many satoshis more (less), and somebody the others.
fn service(made: &mut Made, more: i64) {
    let mut outputs = pay(REWARD, REWARD);
    let sat = outputs[1].value.to_sat().checked_add_signed(more).unwrap();
    outputs[1].value = Amount::from_sat(sat);
    if more < 0 {
        outputs.push(out(more.unsigned_abs(), script(9)));
    }
    made.tx.output = outputs;
}

examine! {
    form: FORM, "refused (miner)", made {
        accepts {
            bytes_of_the_very_transaction => |m| m.rewrite(|_| ()),
        }
        refuses {
            cut_off => |m| m.rewrite(|b| b.truncate(b.len() - 1)),
            nothing => |m| m.rewrite(Vec::clear),
            a_count_in_three_bytes => |m| m.rewrite(|b| drop(b.splice(4..5, [0xfd, 1, 0]))),
            no_output => |m| m.tx.output.clear(),
        }
    }
    trailing: TRAILING, "refused (miner)", made {
        accepts {
            the_last_byte_is_the_lock_times => |m| m.rewrite(|_| ()),
        }
        refuses {
            a_byte_behind => |m| m.rewrite(|b| b.push(0)),
            another_lock_time => |m| m.rewrite(|b| b.extend([0; 4])),
            a_whole_coinbase_behind => |m| m.rewrite(|b| b.extend(b.clone())),
        }
    }
    length: LENGTH, "refused (miner)", made {
        accepts {
            some_other_length => |m| long(m, 60),
        }
        refuses {
            an_inner_node => |m| m.bytes = Some([[1; 32], [2; 32]].concat()),
            a_coinbase_cut_to_a_node => |m| m.rewrite(|b| b.truncate(64)),
            a_transaction_that_nobody_relays => |m| {
                m.tx.output.push(out(0, ScriptBuf::from_bytes(vec![0; 100_000])));
            },
        }
    }
    input: INPUT, "refused (miner)", made {
        accepts {
            another_sequence => |m| m.tx.input[0].sequence = Sequence::ZERO,
        }
        refuses {
            a_coin_is_spent => |m| {
                m.tx.input[0].previous_output.txid = Txid::from_byte_array([1; 32]);
            },
            another_index => |m| m.tx.input[0].previous_output.vout = 0,
            two_inputs => |m| {
                m.tx.input.push(TxIn { previous_output: OutPoint::null(), ..TxIn::default() });
            },
            with_its_witness => |m| m.bytes = Some(bitcoin::consensus::serialize(&m.tx)),
        }
    }
    script: SCRIPT, "refused (miner)", made {
        accepts {
            two_bytes => |m| long(m, 2),
            a_hundred_bytes => |m| long(m, 100),
        }
        refuses {
            one_byte => |m| states(m, &[1]),
            a_hundred_and_one_bytes => |m| long(m, 101),
        }
    }
    height: STATED, "refused (miner)", made {
        accepts {
            the_height_and_something_behind => |m| states(m, &[1, HEIGHT as u8, 9, 9]),
        }
        refuses {
            a_height_too_low => |m| states(m, &[1, 19, 0]),
            a_height_too_high => |m| states(m, &[1, 21, 0]),
            a_height_that_is_not_minimal => |m| states(m, &[2, 20, 0]),
            a_height_behind_something => |m| states(m, &[0, 1, 20]),
        }
    }
    waits: FINAL, "refused (miner)", made {
        accepts {
            for_the_height_before => |m| waits(m, HEIGHT - 1),
        }
        refuses {
            for_its_own_height => |m| waits(m, HEIGHT),
            for_the_end_of_time => |m| waits(m, u32::MAX),
        }
    }
    root: ROOT, "refused (miner)", made {
        accepts {
            alone_in_its_block => |m| m.branch.clear(),
            the_deepest_block => |m| levels(m, 14),
        }
        refuses {
            at_leaf_1 => |m| m.root = right,
            at_leaf_2 => |m| m.root = third,
            a_branch_of_another_block => |m| {
                m.root = |leaf, _| fold_branch(leaf, &[TxMerkleNode::from_byte_array([1; 32])]);
            },
            no_root => |m| m.root = |_, _| TxMerkleNode::all_zeros(),
        }
    }
    depth: DEPTH, "refused (miner)", made {
        accepts {
            fourteen_levels => |m| levels(m, 14),
        }
        refuses {
            fifteen_levels => |m| levels(m, 15),
            two_hundred_levels => |m| levels(m, 200),
        }
    }
    twin: TWIN, "refused (miner)", made {
        accepts {
            the_same_sibling_at_two_levels => |m| {
                m.branch = vec![TxMerkleNode::from_byte_array([3; 32]); 2];
            },
        }
        refuses {
            of_the_coinbase => |m| twin(m, 0),
            of_a_node_above => |m| twin(m, 1),
        }
    }
    pays_the_lock: PAY_LOCK, "refused (miner)", made {
        accepts {
            behind_others => |m| m.tx.output.insert(0, out(0, script(9))),
        }
        refuses {
            somebody_else => |m| m.tx.output[0].script_pubkey = script(3),
            nothing => |m| m.tx.output = pay(0, REWARD),
            not_at_all => |m| drop(m.tx.output.remove(0)),
        }
    }
    pays_the_holder: PAY_HOLDER, "refused (miner)", made {
        accepts {
            of_the_last_period_before_a_change => |m| holders(m, &[(2, 1), (3, 8)], 7),
            who_never_was_another => |m| m.terms = m.terms.clone().sold_by(script(8)),
            of_the_first_period_after_one => |m| holders(m, &[(1, 7)], 1),
            beside_the_one_before => |m| {
                holders(m, &[(1, 7)], 1);
                m.tx.output.insert(0, out(1, script(7)));
            },
        }
        refuses {
            who_has_sold => |m| holders(m, &[(1, 1)], 7),
            who_has_sold_before_the_last_sale => |m| holders(m, &[(1, 1), (2, 8)], 7),
            who_kept_it_until_its_first_sale => |m| {
                m.terms.lock = script(7);
                m.terms = m.terms.clone().sold_by(script(1));
            },
            who_kept_it_until_its_first_sale_of_two => |m| {
                holders(m, &[(3, 8)], 7);
                m.terms = m.terms.clone().sold_by(script(1));
            },
            who_has_bought_and_has_to_wait => |m| holders(m, &[(2, 7)], 1),
            who_has_bought_what_another_has_to_wait_for => |m| holders(m, &[(2, 7), (3, 1)], 8),
        }
    }
    pays_the_service: PAY_SERVICE, "refused (miner)", made {
        accepts {
            the_exact_share => |m| service(m, 0),
        }
        refuses {
            one_satoshi_more => |m| service(m, 1),
            two_satoshis_less => |m| service(m, -2),
            everything => |m| { let all = m.tx.output[0].value.to_sat() - 1; service(m, all as i64) },
            before_the_lock => |m| m.tx.output.swap(0, 1),
            not_directly_behind => |m| m.tx.output.insert(1, out(0, script(9))),
            nobody => |m| m.tx.output.truncate(1),
        }
    }
    total: PAY_TOTAL, "refused (miner)", made {
        accepts {
            the_subsidy_alone => |m| total(m, REWARD),
            up_to_the_cap => |m| total(m, REWARD + 10_000),
        }
        refuses {
            above_the_cap => |m| total(m, REWARD + 10_001),
            below_the_subsidy => |m| total(m, REWARD - 1),
            above_the_cap_to_somebody_else => |m| m.tx.output.push(out(10_001, script(9))),
            a_sum_that_wraps_around_to_the_subsidy => |m| {
                m.tx.output.push(out(u64::MAX - REWARD + 1, script(9)));
                m.tx.output.push(out(REWARD, script(9)));
            },
            all_the_money_there_can_be_and_more => |m| m.tx.output.push(out(MAX_SATOSHIS, script(9))),
            one_output_of_more_than_all => |m| m.tx.output.push(out(u64::MAX, script(9))),
        }
    }
    target: TARGET, "refused (miner)", made {
        accepts {
            the_whole_reward_at_the_target => |m| m.at_most = terms().target,
            a_third_of_it_at_a_third_of_the_target => |m| {
                m.tx.output = pay(REWARD / 3, REWARD);
                m.at_most = a_third();
            },
        }
        refuses {
            above_the_target => |m| {
                m.above = m.at_most;
                m.at_most = Target::from_be_bytes([0xff; 32]);
            },
            a_third_of_the_reward_at_the_whole_target => |m| {
                m.tx.output = pay(REWARD / 3, REWARD);
                m.above = a_third();
            },
            a_second_output_to_the_lock_adds_nothing => |m| {
                m.tx.output = [pay(REWARD / 3, REWARD / 3), pay(REWARD - REWARD / 3, REWARD - REWARD / 3)].concat();
                m.above = a_third();
            },
        }
    }
}
