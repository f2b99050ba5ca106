//! Blocks: mined, refused, replaced.

use std::net::TcpStream;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, TxOut};
use electrum_client::ElectrumApi;

use crate::world::World;

#[test]
fn every_block_pays_the_coinbase_that_was_asked_for() {
    let world = World::new(110);
    let (height, tip) = world.node.tip();
    assert_eq!(height, 110);
    assert_eq!(world.client.block_header(110).unwrap().block_hash(), tip);
    for height in 1..=110 {
        let coinbase = world.coinbase(height);
        assert_eq!(coinbase.output[0].script_pubkey, world.script());
        assert_eq!(coinbase.output[0].value, Amount::from_int_btc(50));
    }
}

#[test]
fn the_subsidy_halves_at_150() {
    let world = World::new(150);
    assert_eq!(world.coinbase(149).output[0].value, Amount::from_int_btc(50));
    assert_eq!(world.coinbase(150).output[0].value, Amount::from_int_btc(25));
}

#[test]
fn time_starts_at_a_fixed_second_and_keeps_the_spacing_that_is_set() {
    let world = World::new(2);
    world.node.set_spacing(7);
    world.mine(1);
    world.node.set_spacing(0);
    world.mine(20);
    let times: Vec<u32> = (1..=23).map(|h| world.client.block_header(h).unwrap().time).collect();
    assert_eq!(times[..3], [1_700_000_000, 1_700_000_600, 1_700_000_607]);
    // Without spacing only consensus moves time on: past the median of the last eleven.
    assert!(times[22] > times[3] && times[22] < times[3] + 20, "{times:?}");
}

#[test]
fn the_same_calls_give_the_same_chain_and_nodes_do_not_meet() {
    let (first, second) = (World::new(20), World::new(20));
    assert_eq!(first.node.tip(), second.node.tip());
    first.mine(1);
    assert_eq!(first.node.tip().0, 21);
    assert_eq!(second.node.tip().0, 20);
    assert_eq!(second.client.block_headers_subscribe().unwrap().height, 20);
    assert_ne!(first.node.electrum_url(), second.node.electrum_url());
}

#[test]
fn nodes_in_several_threads_hear_only_their_own_refusals() {
    let threads: Vec<_> = (0..4u64)
        .map(|i| {
            std::thread::spawn(move || {
                let world = World::new(3);
                for _ in 0..20 {
                    let reason = too_much(&world, i + 1);
                    let actual = 5_000_000_000 + i + 1;
                    assert!(reason.contains(&format!("actual={actual} ")), "{reason}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Core's reason against a block that creates `more` satoshis than it may.
fn too_much(world: &World, more: u64) -> String {
    let mut template = world.node.template().unwrap();
    template.reward += Amount::from_sat(more);
    let before = world.node.tip();
    let refused = world.node.submit(&world.ground(&template, &more.to_le_bytes())).unwrap_err();
    assert_eq!(refused.rule(), "node-block");
    assert_eq!(world.node.tip(), before);
    refused.fault().found.clone()
}

#[test]
fn a_block_that_creates_a_satoshi_too_much_is_refused_with_cores_reason() {
    let world = World::new(1);
    let reason = too_much(&world, 1);
    assert!(reason.starts_with("bad-cb-amount"), "{reason}");
    assert!(reason.contains("actual=5000000001 vs limit=5000000000"), "{reason}");
    // Core itself only remembers that it has refused this block.
    assert_eq!(too_much(&world, 1), reason, "the reason is as good the second time");
    world.mine(1);
    assert_eq!(world.node.tip().0, 2, "the chain goes on");
}

#[test]
fn a_block_without_work_and_one_dated_before_the_median_are_refused() {
    let world = World::new(12);
    let template = world.node.template().unwrap();
    let job = template.job(&[9], &world.payout()(template.reward)).unwrap();
    let mut header = job.header;
    while header.validate_pow(header.target()).is_ok() {
        header.nonce += 1;
    }
    let refused = world.node.submit(&template.block(header, job.coinbase)).unwrap_err();
    assert!(refused.fault().found.starts_with("high-hash"), "{refused}");

    let mut early = template.clone();
    early.time = world.client.block_header(6).unwrap().time;
    let refused = world.node.submit(&world.ground(&early, &[9])).unwrap_err();
    assert!(refused.fault().found.starts_with("time-too-old"), "{refused}");
}

#[test]
fn a_coinbase_that_does_not_pay_out_the_reward_is_refused_before_core_sees_it() {
    let world = World::new(0);
    let short = |reward: Amount| {
        vec![TxOut { value: reward - Amount::ONE_SAT, script_pubkey: world.script() }]
    };
    let refused = world.node.mine(1, &short).unwrap_err();
    assert_eq!(refused.rule(), "template-coinbase-total");
    assert_eq!(world.node.tip().0, 0);
}

#[test]
fn a_block_beside_the_chain_is_kept_and_followed_once_it_has_more_work() {
    let world = World::new(5);
    let template = world.node.template().unwrap();
    let rival = |nonce: u8| world.ground(&template, &[nonce]);
    let (first, second) = (rival(1), rival(2));
    world.node.submit(&first).unwrap();
    world.node.submit(&second).unwrap();
    assert_eq!(world.node.tip(), (6, first.block_hash()), "the first of equals stays");
    assert_eq!(world.node.submit(&second).unwrap(), second.block_hash(), "twice does no harm");

    let mut next = world.node.template().unwrap();
    next.parent = second.block_hash();
    let hash = world.node.submit(&world.ground(&next, &[3])).unwrap();
    assert_eq!(world.node.tip(), (7, hash));
    assert_eq!(world.client.block_header(6).unwrap().block_hash(), second.block_hash());
}

#[test]
fn a_branch_with_a_bad_block_does_not_win_however_long_it_is() {
    let world = World::new(5);
    world.mine(1);
    let good = world.node.tip();
    let parent = world.client.block_header(5).unwrap().block_hash();
    let mut template = world.node.template().unwrap();
    (template.parent, template.height) = (parent, 6);
    template.reward += Amount::ONE_SAT;
    // Beside the chain Core stores it unchecked; on top of it, it looks.
    let bad = world.ground(&template, &[1]);
    world.node.submit(&bad).unwrap();
    assert_eq!(world.node.tip(), good);
    (template.parent, template.height) = (bad.block_hash(), 7);
    template.reward -= Amount::ONE_SAT;
    let refused = world.node.submit(&world.ground(&template, &[1])).unwrap_err();
    assert!(refused.fault().found.starts_with("bad-cb-amount"), "{refused}");
    assert_eq!(world.node.tip(), good);
    world.mine(2);
    assert_eq!(world.node.tip().0, 8);
}

#[test]
fn a_block_on_an_unknown_parent_is_refused() {
    let world = World::new(2);
    let mut template = world.node.template().unwrap();
    template.parent = BlockHash::all_zeros();
    let refused = world.node.submit(&world.ground(&template, &[1])).unwrap_err();
    assert!(refused.fault().found.starts_with("prev-blk-not-found"), "{refused}");
}

#[test]
fn a_reorg_needs_more_blocks_than_it_takes_away_and_blocks_to_take() {
    let world = World::new(3);
    for (depth, blocks) in [(1, 1), (2, 1), (4, 5)] {
        let refused = world.node.reorg(depth, blocks, &world.payout(), true).unwrap_err();
        assert_eq!(refused.rule(), "node-reorg");
    }
    assert_eq!(world.node.tip().0, 3);
}

#[test]
fn a_reorg_replaces_the_blocks_and_leaves_those_below() {
    let world = World::new(10);
    let hashes = |world: &World, up_to: usize| -> Vec<BlockHash> {
        (0..=up_to).map(|h| world.client.block_header(h).unwrap().block_hash()).collect()
    };
    let before = hashes(&world, 10);
    world.node.reorg(4, 5, &world.payout(), true).unwrap();
    let after = hashes(&world, 11);
    assert_eq!(before[..=6], after[..=6]);
    assert!((7..=10).all(|h| before[h] != after[h]));
}

#[test]
fn a_dropped_node_closes_its_port() {
    let World { node, client, .. } = World::new(1);
    let address = node.electrum_url().replace("tcp://", "");
    drop(node);
    assert!(client.ping().is_err());
    assert!(TcpStream::connect(address).is_err());
}
