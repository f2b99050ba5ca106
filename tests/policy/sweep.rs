//! Was the sweep asked for, by whom, at whose expense, and are these rewards?

use std::sync::LazyLock;

use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, Transaction, TxIn, TxOut};
use hashmix::flow::Task;
use hashmix::flow::reward::coins;
use hashmix::flow::reward::txs::SweepPath;
use hashmix::id::WordId;
use hashmix::party::Seat;
use hashmix::policy::sweep::{ASKED, DISTINCT, FLOOR, PATH, RATE, REQUESTER, REWARDS};

use crate::case::{
    Request, V0, rewards, ruling_for_the_miner, sweep, sweep_for_the_holder, sweep_for_the_miner,
};

/// As many rewards as one sweep may spend, and two more that are mature.
fn many() -> Request {
    static CASE: LazyLock<Request> = LazyLock::new(|| {
        let mut request = sweep(Seat::Holder, SweepPath::HolderRuling, 1, 620);
        let rewards = rewards(&request.play, 500);
        request.ask_sweep(Seat::Holder, |ask| ask.rewards = rewards);
        request
    });
    CASE.clone()
}

/// Asks for one reward more.
fn and(request: &mut Request, reward: OutPoint) {
    request.ask_sweep(Seat::Holder, |ask| ask.rewards.push(reward));
}

/// Somebody pays the reward lock without having mined, and it lies deep.
fn payment(request: &mut Request) -> OutPoint {
    let world = &mut request.play.world;
    let script_pubkey = coins::lock(&world.terms.reward).unwrap().script_pubkey;
    let tx = Transaction {
        version: Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new("22".repeat(32).parse().unwrap(), 0),
            ..TxIn::default()
        }],
        output: vec![TxOut { value: Amount::ONE_BTC, script_pubkey }],
    };
    let outpoint = OutPoint::new(tx.compute_txid(), 0);
    world.send(tx);
    world.mine_to(world.tip() + 100);
    outpoint
}

/// The reward of the block at a height.
fn reward_at(request: &Request, height: u32) -> OutPoint {
    let world = &request.play.world;
    let script = coins::lock(&world.terms.reward).unwrap().script_pubkey;
    let coins = world.facts().coins(&script);
    coins.iter().find(|coin| coin.height == Some(height)).unwrap().outpoint
}

/// The first reward is spent by somebody, in the mempool or in a block.
fn spend_first(request: &mut Request, mined: bool) {
    let outpoint = request.sweep().rewards[0];
    let world = &mut request.play.world;
    world.send(Transaction {
        version: Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn { previous_output: outpoint, ..TxIn::default() }],
        output: vec![TxOut {
            value: Amount::ONE_BTC,
            script_pubkey: world.terms.reward.holder.payout_script(),
        }],
    });
    if mined {
        world.mine_to(world.tip() + 1);
    }
}

examine! {
    asked: ASKED, "refused (sender)", sweep_for_the_holder {
        accepts {
            a_request_by_its_digest => |r| r.task = Task::Sweep(r.sweep().id().unwrap()),
        }
        refuses {
            a_digest_that_nobody_has_sent => |r| r.task = Task::Sweep(WordId([1; 32])),
            the_same_rewards_in_an_order_that_was_not_sent => |r| {
                let mut ask = r.sweep();
                ask.rewards.reverse();
                r.task = Task::Sweep(ask.id().unwrap());
            },
            the_digest_of_a_dispute => |r| {
                *r = ruling_for_the_miner();
                r.task = Task::Sweep(r.opening().id().unwrap());
            },
        }
    }
    path: PATH, "refused (sender)", sweep_for_the_holder {
        accepts {
            the_holders_ruling_leaf => |_| {},
            the_miners_ruling_leaf => |r| *r = sweep_for_the_miner(),
        }
        refuses {
            the_leaf_of_both_parties => |r| {
                r.ask_sweep(Seat::Holder, |ask| ask.path = SweepPath::Agreed);
            },
            the_holders_exit => |r| {
                r.ask_sweep(Seat::Holder, |ask| ask.path = SweepPath::HolderExit);
            },
            the_key_path => |r| r.ask_sweep(Seat::Holder, |ask| ask.path = SweepPath::Key),
        }
    }
    requester: REQUESTER, "refused (sender)", sweep_for_the_holder {
        accepts {
            the_side_that_is_left => |_| {},
            that_side_and_another_one => |r| {
                r.ask_sweep(Seat::Miner, |_| {});
                r.ask_sweep(V0, |_| {});
            },
        }
        refuses {
            the_miner_for_the_holders_leaf => |r| {
                r.ask_sweep(Seat::Miner, |ask| ask.sat_per_vb = 3);
            },
            the_holder_for_the_miners_leaf => |r| {
                r.ask_sweep(Seat::Holder, |ask| ask.path = SweepPath::MinerRuling);
            },
            the_validator_himself => |r| r.ask_sweep(V0, |ask| ask.sat_per_vb = 3),
        }
    }
    rate: RATE, "refused (holder)", sweep_for_the_holder {
        accepts {
            the_floor => |r| r.ask_sweep(Seat::Holder, |ask| ask.sat_per_vb = 2),
            the_cap => |r| r.ask_sweep(Seat::Holder, |ask| ask.sat_per_vb = 50),
        }
        refuses {
            one_below_the_floor => |r| r.ask_sweep(Seat::Holder, |ask| ask.sat_per_vb = 1),
            one_above_the_cap => |r| r.ask_sweep(Seat::Holder, |ask| ask.sat_per_vb = 51),
            the_miner_below_the_floor by "refused (miner)" => |r| {
                *r = sweep_for_the_miner();
                r.ask_sweep(Seat::Miner, |ask| ask.sat_per_vb = 1);
            },
            the_highest_number => |r| {
                r.ask_sweep(Seat::Holder, |ask| ask.sat_per_vb = u64::MAX);
            },
        }
    }
    floor: FLOOR, "refused (miner)", sweep_for_the_miner {
        accepts {
            the_miner_at_the_floor => |r| {
                r.ask_sweep(Seat::Miner, |ask| ask.sat_per_vb = 2);
            },
            the_holder_above_it => |r| {
                *r = sweep_for_the_holder();
                r.ask_sweep(Seat::Holder, |ask| ask.sat_per_vb = 3);
            },
        }
        refuses {
            the_miner_one_above_it => |r| r.ask_sweep(Seat::Miner, |ask| ask.sat_per_vb = 3),
            the_miner_at_the_cap => |r| r.ask_sweep(Seat::Miner, |ask| ask.sat_per_vb = 50),
            the_miner_above_it_with_the_holder_asking_too => |r| {
                r.ask_sweep(Seat::Miner, |ask| ask.sat_per_vb = 3);
                r.ask_sweep(Seat::Holder, |_| {});
            },
        }
    }
    distinct: DISTINCT, "refused (holder)", many {
        accepts {
            five_hundred => |_| {},
            one => |r| r.ask_sweep(Seat::Holder, |ask| ask.rewards.truncate(1)),
        }
        refuses {
            none => |r| r.ask_sweep(Seat::Holder, |ask| ask.rewards.clear()),
            five_hundred_and_one => |r| {
                let last = rewards(&r.play, 501)[500];
                and(r, last);
            },
            five_hundred_of_which_the_last_is_the_first => |r| {
                r.ask_sweep(Seat::Holder, |ask| ask.rewards[499] = ask.rewards[0]);
            },
            one_reward_twice => |r| {
                r.ask_sweep(Seat::Holder, |ask| {
                    ask.rewards.truncate(1);
                    ask.rewards.push(ask.rewards[0]);
                });
            },
        }
    }
    of_coinbases: REWARDS, "refused (holder)", sweep_for_the_holder {
        accepts {
            the_last_of_them_just_mature => |_| {},
            one_more_a_block_later => |r| {
                r.play.world.mine_to(122);
                let next = reward_at(r, 23);
                and(r, next);
            },
        }
        refuses {
            one_that_matures_with_the_next_block by "unavailable" => |r| {
                let next = reward_at(r, 23);
                and(r, next);
            },
            one_that_a_reorg_has_made_immature by "unavailable" => |r| {
                r.play.world.rewind_to(120);
            },
            one_that_nobody_knows by "unavailable" => |r| {
                and(r, OutPoint::new("33".repeat(32).parse().unwrap(), 0));
            },
            the_service_share_beside_a_reward by "unavailable" => |r| {
                let beside = r.sweep().rewards[0].txid;
                and(r, OutPoint::new(beside, 1));
            },
            a_payment_to_the_lock_that_nobody_mined by "unavailable" => |r| {
                let payment = payment(r);
                and(r, payment);
            },
            one_whose_spend_waits_in_the_mempool => |r| spend_first(r, false),
            one_that_is_spent_and_mined => |r| spend_first(r, true),
        }
    }
}
