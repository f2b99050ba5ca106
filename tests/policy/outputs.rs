//! Do all ways to the chain agree that the outputs are there, and what they hold?

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};
use hashmix::facts::CoinView;
use hashmix::flow::escrow;
use hashmix::flow::reward;
use hashmix::policy::outputs::{
    AGREE, COINBASE, CONFIRMED, HEIGHT, HISTORY, LAG, MATURE, SCRIPT, UNSPENT, VALUE, VIEWS,
};

use crate::case::{
    Request, ruling_for_the_miner, ruling_on_the_relock, shift, sweep_for_the_holder,
    sweep_for_the_miner,
};

/// What a source says of an output that is to be spent.
fn coin(request: &mut Request, source: usize, number: usize) -> &mut CoinView {
    request.sources()[source].coins.values_mut().nth(number).unwrap().as_mut().unwrap()
}

/// The transactions that a server shows of the contract, with their heights.
fn history(request: &mut Request, source: usize) -> &mut BTreeMap<Txid, u32> {
    request.sources()[source].history.as_mut().unwrap()
}

/// A source has our chain up to this many blocks below our tip.
fn lag(request: &mut Request, source: usize, blocks: u32) {
    let facts = request.play.world.facts();
    let height = facts.tip() - blocks;
    request.sources()[source].tip = (height, facts.headers.hash(height).unwrap());
}

/// A source has so many blocks more than we have seen.
fn lead(request: &mut Request, source: usize, blocks: u32) {
    let height = request.play.world.tip() + blocks;
    request.sources()[source].tip = (height, stray());
}

/// The hash of no block of ours.
fn stray() -> BlockHash {
    BlockHash::hash(b"another branch")
}

/// The request for a sweep, a block after the last reward has matured.
fn a_block_after_maturity() -> Request {
    let mut request = sweep_for_the_holder();
    request.play.world.mine_to(122);
    request
}

examine! {
    views: VIEWS, "unavailable", ruling_for_the_miner {
        accepts {
            two_servers_that_differ => |r| assert_eq!(r.sources().len(), 2),
            a_node_alone => |r| {
                r.sources().pop();
                r.sources()[0].node = true;
            },
        }
        refuses {
            one_server => |r| drop(r.sources().pop()),
            one_server_asked_twice => |r| r.sources()[1].place = "server one".to_owned(),
            nobody => |r| r.sources().clear(),
        }
    }
    lag: LAG, "unavailable", ruling_for_the_miner {
        accepts {
            two_blocks_behind => |r| lag(r, 1, 2),
            two_blocks_ahead => |r| lead(r, 0, 2),
        }
        refuses {
            three_blocks_behind => |r| lag(r, 1, 3),
            three_blocks_ahead => |r| lead(r, 0, 3),
            at_the_first_block => |r| {
                let tip = r.play.world.tip();
                lag(r, 0, tip);
            },
            the_highest_number => |r| r.sources()[1].tip.0 = u32::MAX,
        }
    }
    agree: AGREE, "unavailable", ruling_for_the_miner {
        accepts {
            our_own_block_at_its_height => |r| lag(r, 0, 1),
            a_block_that_we_have_not_seen_yet => |r| lead(r, 1, 1),
        }
        refuses {
            another_block_at_our_tip => |r| r.sources()[0].tip.1 = stray(),
            another_block_below_our_tip => |r| {
                lag(r, 1, 2);
                r.sources()[1].tip.1 = stray();
            },
            our_block_of_another_height => |r| {
                lag(r, 1, 1);
                r.sources()[1].tip.0 += 1;
            },
        }
    }
    history: HISTORY, "unavailable", ruling_for_the_miner {
        accepts {
            the_same_in_both => |_| {},
            none_of_a_node_which_validates => |r| {
                r.sources()[0].history = None;
                r.sources()[0].node = true;
            },
            one_that_was_mined_above_the_tip_of_a_source_that_lags => |r| {
                let tip = r.play.world.tip();
                lag(r, 1, 1);
                history(r, 1).retain(|_, height| *height < tip);
            },
        }
        refuses {
            one_hidden => |r| {
                history(r, 1).pop_first();
            },
            one_invented => |r| {
                history(r, 0).insert(Txid::all_zeros(), 20);
            },
            one_a_block_higher => |r| {
                let height = history(r, 1).values_mut().next().unwrap();
                *height += 1;
            },
            all_hidden => |r| history(r, 0).clear(),
        }
    }
    unspent: UNSPENT, "unavailable", ruling_for_the_miner {
        accepts {
            in_both => |_| {},
            the_relock_in_both => |r| *r = ruling_on_the_relock(None),
        }
        refuses {
            spent_in_the_second => |r| {
                r.sources()[1].coins.values_mut().for_each(|coin| *coin = None);
            },
            not_answered_by_the_first => |r| r.sources()[0].coins.clear(),
            the_last_of_three_spent_in_one => |r| {
                *r = sweep_for_the_miner();
                let last = r.sweep().rewards[2];
                r.sources()[1].coins.insert(last, None);
            },
        }
    }
    confirmed: CONFIRMED, "unavailable", ruling_for_the_miner {
        accepts {
            a_relock_under_a_few_blocks => |r| *r = ruling_on_the_relock(None),
        }
        refuses {
            in_the_mempool_of_the_second => |r| coin(r, 1, 0).height = None,
            in_the_mempool_of_both => |r| {
                coin(r, 0, 0).height = None;
                coin(r, 1, 0).height = None;
            },
            one_of_three_rewards => |r| {
                *r = sweep_for_the_holder();
                coin(r, 0, 2).height = None;
            },
        }
    }
    height: HEIGHT, "unavailable", ruling_for_the_miner {
        accepts {
            our_own_in_both => |r| {
                coin(r, 0, 0).height = Some(crate::world::FUNDED);
                coin(r, 1, 0).height = Some(crate::world::FUNDED);
            },
        }
        refuses {
            a_block_lower => |r| coin(r, 0, 0).height = Some(crate::world::FUNDED - 1),
            a_block_higher => |r| coin(r, 1, 0).height = Some(crate::world::FUNDED + 1),
            the_same_wrong_one_in_both => |r| {
                coin(r, 0, 0).height = Some(1);
                coin(r, 1, 0).height = Some(1);
            },
        }
    }
    value: VALUE, "refused (server)", ruling_for_the_miner {
        accepts {
            the_price_to_the_satoshi => |r| {
                let price = r.play.world.terms.price;
                coin(r, 1, 0).value = price;
            },
        }
        refuses {
            a_satoshi_less => |r| shift(&mut coin(r, 1, 0).value, -1),
            a_satoshi_more => |r| shift(&mut coin(r, 0, 0).value, 1),
            the_second_of_three_rewards => |r| {
                *r = sweep_for_the_miner();
                shift(&mut coin(r, 0, 1).value, 1);
            },
        }
    }
    script: SCRIPT, "refused (server)", ruling_for_the_miner {
        accepts {
            the_lock_that_the_terms_rebuild => |r| {
                let lock = escrow::coins::lock(&r.play.world.terms, 0).unwrap();
                coin(r, 0, 0).script = lock.script_pubkey;
            },
        }
        refuses {
            the_lock_of_the_next_index => |r| {
                let lock = escrow::coins::lock(&r.play.world.terms, 1).unwrap();
                coin(r, 0, 0).script = lock.script_pubkey;
            },
            the_reward_lock => |r| {
                let lock = reward::coins::lock(&r.play.world.terms.reward).unwrap();
                coin(r, 1, 0).script = lock.script_pubkey;
            },
            no_script => |r| coin(r, 1, 0).script = bitcoin::ScriptBuf::new(),
        }
    }
    coinbase: COINBASE, "unavailable", ruling_for_the_miner {
        accepts {
            an_escrow_of_none => |r| coin(r, 0, 0).coinbase = false,
            rewards_of_coinbases => |r| {
                *r = sweep_for_the_holder();
                coin(r, 1, 2).coinbase = true;
            },
        }
        refuses {
            an_escrow_of_a_coinbase => |r| coin(r, 0, 0).coinbase = true,
            a_reward_of_none => |r| {
                *r = sweep_for_the_holder();
                coin(r, 1, 0).coinbase = false;
            },
            the_last_of_three_rewards_of_none => |r| {
                *r = sweep_for_the_miner();
                coin(r, 0, 2).coinbase = false;
            },
        }
    }
    mature: MATURE, "unavailable", sweep_for_the_holder {
        accepts {
            at_the_very_block => |_| {},
            at_the_very_block_of_a_source_that_lags => |r| {
                *r = a_block_after_maturity();
                lag(r, 1, 1);
            },
        }
        refuses {
            a_block_early_in_a_source_that_lags => |r| lag(r, 1, 1),
            two_blocks_early_in_a_source_that_lags => |r| lag(r, 0, 2),
            a_block_early_for_the_miner_too => |r| {
                *r = sweep_for_the_miner();
                lag(r, 1, 1);
            },
        }
    }
}
