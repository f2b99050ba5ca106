//! Transactions that wait: admitted, refused with Core's reason, confirmed, returned by a reorg.

use bitcoin::absolute::LockTime;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::script::PushBytesBuf;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxOut, Txid};
use electrum_client::ElectrumApi;

use crate::world::{FEE, World};

#[test]
fn a_mature_coinbase_is_spent_by_key_path_and_proven_in_its_block() {
    let world = World::new(110);
    let tx = world.spend(&world.coinbase(1));
    assert_eq!(world.send(&tx), tx.compute_txid());
    assert_eq!(world.node.mempool(), [tx.compute_txid()]);

    let history = world.client.script_get_history(&world.script()).unwrap();
    let waiting = history.last().unwrap();
    assert_eq!((waiting.tx_hash, waiting.height), (tx.compute_txid(), 0));
    assert_eq!(waiting.fee, Some(FEE.to_sat()));

    world.mine(1);
    assert!(world.node.mempool().is_empty());
    assert_eq!(world.coinbase(111).output[0].value, Amount::from_int_btc(50) + FEE);
    let proof = world.client.transaction_get_merkle(&tx.compute_txid(), 111).unwrap();
    assert_eq!((proof.block_height, proof.pos), (111, 1));
    // The branch comes in display order.
    let root = proof.merkle.iter().enumerate().fold(
        tx.compute_txid().to_raw_hash(),
        |node, (level, sibling)| {
            let mut sibling = *sibling;
            sibling.reverse();
            let pair = if proof.pos >> level & 1 == 1 {
                [sibling, node.to_byte_array()]
            } else {
                [node.to_byte_array(), sibling]
            };
            sha256d::Hash::hash(&pair.concat())
        },
    );
    let header = world.client.block_header(111).unwrap();
    assert_eq!(root, header.merkle_root.to_raw_hash());
    assert_eq!(world.client.transaction_get(&tx.compute_txid()).unwrap(), tx);
}

#[test]
fn a_bad_signature_is_refused_by_core() {
    let world = World::new(101);
    let parent = world.coinbase(1);
    let mut tx = world.spend(&parent);
    tx.output[0].value -= Amount::from_sat(100);
    let reason = world.refused(&tx);
    assert!(reason.contains("Invalid Schnorr signature"), "{reason}");
    // Core has refused this very transaction before, and still says why.
    assert_eq!(world.refused(&tx).split(',').next(), reason.split(',').next());
    assert!(world.refused(&world.draft(&parent)).contains("Witness program was passed an empty"));
    world.send(&world.spend(&parent));
}

#[test]
fn a_coinbase_is_spendable_in_the_hundredth_block_after_it_and_no_sooner() {
    let world = World::new(99);
    let tx = world.spend(&world.coinbase(1));
    let reason = world.refused(&tx);
    assert!(reason.starts_with("bad-txns-premature-spend-of-coinbase"), "{reason}");
    world.mine(1);
    world.send(&tx);
    world.mine(1);
    assert!(world.client.transaction_get_merkle(&tx.compute_txid(), 101).is_ok());
}

#[test]
fn the_first_spend_seen_wins_and_the_second_is_told_who_was_first() {
    let world = World::new(101);
    let parent = world.coinbase(1);
    let first = world.spend(&parent);
    world.send(&first);
    let mut second = world.draft(&parent);
    second.output[0].value -= Amount::from_sat(10_000);
    let reason = world.refused(&world.sign(second, &parent));
    assert!(reason.starts_with("txn-mempool-conflict"), "{reason}");
    assert!(reason.contains(&first.compute_txid().to_string()), "{reason}");
}

#[test]
fn what_is_sent_twice_waits_once_and_what_is_confirmed_is_known() {
    let world = World::new(101);
    let tx = world.spend(&world.coinbase(1));
    world.send(&tx);
    assert_eq!(world.send(&tx), tx.compute_txid());
    assert_eq!(world.node.mempool().len(), 1);
    world.mine(1);
    assert_eq!(world.refused(&tx), "Transaction outputs already in utxo set");
    world.send(&world.spend(&tx));
    world.mine(1);
    let reason = world.refused(&tx);
    assert!(reason.starts_with("bad-txns-inputs-missingorspent"), "{reason}");
}

#[test]
fn a_lock_time_is_final_one_block_after_its_height_and_past_its_median_time() {
    let world = World::new(105);
    let by_height = |height: u32| {
        let mut tx = world.draft(&world.coinbase(1));
        tx.lock_time = LockTime::from_height(height).unwrap();
        world.sign(tx, &world.coinbase(1))
    };
    // The next block is 106; a lock of 105 is final in it.
    let reason = world.refused(&by_height(106));
    assert!(reason.contains("non-final transaction"), "{reason}");
    world.send(&by_height(105));

    // The median of blocks 95 to 105 is the time of block 100.
    let median = world.client.block_header(100).unwrap().time;
    let by_time = |time: u32| {
        let mut tx = world.draft(&world.coinbase(2));
        tx.lock_time = LockTime::from_time(time).unwrap();
        world.sign(tx, &world.coinbase(2))
    };
    assert!(world.refused(&by_time(median)).contains("non-final transaction"));
    world.send(&by_time(median - 1));
    world.mine(1);
    assert!(world.node.mempool().is_empty());
}

#[test]
fn a_relative_lock_opens_at_its_depth_and_not_before() {
    let world = World::new(101);
    let parent = world.spend(&world.coinbase(1));
    world.send(&parent);
    let mut tx = world.draft(&parent);
    tx.input[0].sequence = Sequence::from_height(3);
    let tx = world.sign(tx, &parent);
    assert!(world.refused(&tx).contains("non-BIP68-final"));
    world.mine(2);
    let reason = world.refused(&tx);
    assert!(reason.contains("non-BIP68-final"), "{reason}");
    world.mine(1);
    world.send(&tx);
}

#[test]
fn what_spends_coins_that_are_not_there_or_more_than_there_are_is_refused() {
    let world = World::new(101);
    let parent = world.coinbase(1);
    let mut unknown = world.draft(&parent);
    unknown.input[0].previous_output = OutPoint::new(Txid::all_zeros(), 3);
    let reason = world.refused(&world.sign(unknown, &parent));
    assert!(reason.starts_with("bad-txns-inputs-missingorspent"), "{reason}");

    let mut greedy = world.draft(&parent);
    greedy.output[0].value = parent.output[0].value + Amount::ONE_SAT;
    let reason = world.refused(&world.sign(greedy, &parent));
    assert!(reason.starts_with("bad-txns-in-belowout"), "{reason}");

    let coinbase = world.coinbase(1);
    assert_eq!(world.refused(&coinbase), "Transaction outputs already in utxo set");
}

#[test]
fn a_fee_below_one_satoshi_per_virtual_byte_is_refused() {
    let world = World::new(101);
    let parent = world.coinbase(1);
    let paying = |fee: u64| {
        let mut tx = world.draft(&parent);
        tx.output[0].value = parent.output[0].value - Amount::from_sat(fee);
        world.sign(tx, &parent)
    };
    let size = paying(0).vsize() as u64;
    assert_eq!(world.refused(&paying(size - 1)), format!("min relay fee not met, 110 < {size}"));
    world.send(&paying(size));
}

/// A spend of coinbase 1 with one thing changed before it is signed.
fn with(world: &World, change: impl FnOnce(&mut Transaction)) -> Transaction {
    let parent = world.coinbase(1);
    let mut tx = world.draft(&parent);
    change(&mut tx);
    world.sign(tx, &parent)
}

#[test]
fn what_core_would_not_relay_is_refused_in_its_words() {
    let world = World::new(101);
    let small = |value: u64| {
        let script_pubkey = world.script();
        move |tx: &mut Transaction| {
            tx.output[0].value -= Amount::from_sat(value);
            tx.output.push(TxOut { value: Amount::from_sat(value), script_pubkey });
        }
    };
    assert_eq!(world.refused(&with(&world, small(329))), "dust, an output of 329 < 330");
    let data =
        |bytes: usize| ScriptBuf::new_op_return(PushBytesBuf::try_from(vec![1; bytes]).unwrap());
    let pay = |script: ScriptBuf| move |tx: &mut Transaction| tx.output[0].script_pubkey = script;
    let ones = |bytes: usize| ScriptBuf::from_bytes(vec![0x51; bytes]);
    assert_eq!(world.refused(&with(&world, pay(ones(4)))), "tx-size-small");
    assert_eq!(world.refused(&with(&world, pay(ones(5)))), "scriptpubkey");
    assert_eq!(world.refused(&with(&world, pay(data(99_996)))), "tx-size");
    let twice = |tx: &mut Transaction| {
        tx.output[0].value = Amount::ZERO;
        tx.output.push(tx.output[0].clone());
        for out in &mut tx.output {
            out.script_pubkey = data(49_999);
        }
    };
    assert_eq!(world.refused(&with(&world, twice)), "tx-size");
    assert_eq!(world.refused(&with(&world, |tx| tx.version = Version(4))), "version");
    world.send(&with(&world, small(330)));
}

#[test]
fn a_truc_transaction_has_one_small_child_of_its_own_kind() {
    let world = World::new(102);
    let version = |version: i32, parent: &Transaction| {
        let mut tx = world.draft(parent);
        tx.version = Version(version);
        world.sign(tx, parent)
    };
    let parent = with(&world, |tx| {
        tx.version = Version(3);
        tx.output[0].value -= Amount::from_sat(20_000);
        let script_pubkey = world.script();
        tx.output.push(TxOut { value: Amount::from_sat(20_000), script_pubkey });
    });
    world.send(&parent);
    assert!(world.refused(&version(2, &parent)).starts_with("TRUC-violation"));
    let large = {
        let mut tx = world.draft(&parent);
        tx.version = Version(3);
        tx.output = vec![tx.output[0].clone(); 25];
        for out in &mut tx.output {
            out.value = Amount::from_sat(1_000);
        }
        world.sign(tx, &parent)
    };
    assert!(world.refused(&large).contains("is too big"));
    let child = version(3, &parent);
    world.send(&child);
    assert!(world.refused(&version(3, &child)).contains("too many ancestors"));
    let sibling = {
        let mut tx = world.draft(&parent);
        tx.version = Version(3);
        tx.input[0].previous_output.vout = 1;
        tx.output[0].value = Amount::from_sat(19_000);
        let mut output = parent.clone();
        output.output.swap(0, 1);
        world.sign(tx, &output)
    };
    assert!(world.refused(&sibling).contains("descendant count limit"));

    let old = world.spend(&world.coinbase(2));
    world.send(&old);
    assert!(world.refused(&version(3, &old)).starts_with("TRUC-violation"));
    world.mine(1);
    // Confirmed parents restrict nobody.
    world.send(&version(2, &child));
    world.send(&version(3, &old));
}

#[test]
fn what_does_not_fit_into_one_block_waits_for_the_next_children_behind_parents() {
    let world = World::new(112);
    let data = ScriptBuf::new_op_return(PushBytesBuf::try_from(vec![1; 97_000]).unwrap());
    let heavy = |parent: &Transaction| {
        let mut tx = world.draft(parent);
        tx.output[0].value -= Amount::from_sat(100_000);
        tx.output.push(TxOut { value: Amount::ZERO, script_pubkey: data.clone() });
        world.sign(tx, parent)
    };
    let large: Vec<Transaction> = (1..=12).map(|h| heavy(&world.coinbase(h))).collect();
    for tx in &large {
        world.send(tx);
    }
    let child = world.spend(&large[11]);
    world.send(&child);
    world.mine(1);
    let late: Vec<Txid> =
        [&large[10], &large[11], &child].iter().map(|tx| tx.compute_txid()).collect();
    assert_eq!(world.node.mempool(), late);
    world.mine(1);
    assert!(world.node.mempool().is_empty());
}

#[test]
fn a_chain_of_waiting_transactions_enters_one_block_parents_first() {
    let world = World::new(101);
    let mut chain = vec![world.spend(&world.coinbase(1))];
    for _ in 0..9 {
        chain.push(world.spend(chain.last().unwrap()));
    }
    assert!(world.refused(&chain[1]).starts_with("bad-txns-inputs-missingorspent"));
    for tx in &chain {
        world.send(tx);
    }
    let heights: Vec<i32> = world
        .client
        .script_get_history(&world.script())
        .unwrap()
        .iter()
        .skip(101)
        .map(|line| line.height)
        .collect();
    assert_eq!(heights[0], 0);
    assert!(heights[1..].iter().all(|height| *height == -1), "{heights:?}");
    let template = world.node.template().unwrap();
    assert_eq!(template.transactions, chain);
    assert_eq!(template.reward, Amount::from_int_btc(50) + FEE * 10);
    world.mine(1);
    for (place, tx) in (1..).zip(&chain) {
        assert_eq!(world.client.txid_from_pos(102, place).unwrap(), tx.compute_txid());
    }
}

#[test]
fn many_broadcasts_between_two_blocks_are_judged_each_alike() {
    let world = World::new(140);
    for height in 1..=40 {
        let mut bad = world.spend(&world.coinbase(height));
        bad.output[0].value -= Amount::ONE_SAT;
        assert!(world.refused(&bad).contains("Invalid Schnorr signature"));
        world.send(&world.spend(&world.coinbase(height)));
    }
    world.mine(1);
    assert!(world.node.mempool().is_empty());
    assert_eq!(world.coinbase(141).output[0].value, Amount::from_int_btc(50) + FEE * 40);
}

#[test]
fn a_reorg_of_any_depth_to_six_returns_the_transactions_of_the_lost_blocks() {
    for depth in 1..=6 {
        let world = World::new(110);
        let mut sent: Vec<Transaction> = vec![world.spend(&world.coinbase(1))];
        world.send(&sent[0]);
        for height in 2..=depth {
            world.mine(1);
            // A child of the block before, and a stranger, in each block.
            sent.push(world.spend(sent.last().unwrap()));
            world.send(sent.last().unwrap());
            let stranger = world.spend(&world.coinbase(height as usize));
            sent.insert(sent.len() - 1, stranger.clone());
            world.send(&stranger);
        }
        world.mine(1);
        assert!(world.node.mempool().is_empty());

        world.node.reorg(depth, depth + 1, &world.payout(), true).unwrap();
        assert_eq!(world.node.tip().0, 110 + depth + 1);
        let mut waiting = world.node.mempool();
        waiting.sort_unstable();
        let mut expected: Vec<Txid> = sent.iter().map(Transaction::compute_txid).collect();
        expected.sort_unstable();
        assert_eq!(waiting, expected, "depth {depth}");
        world.mine(1);
        assert!(world.node.mempool().is_empty(), "they confirm again");
        let history = world.client.script_get_history(&world.script()).unwrap();
        let again = |tx: &Transaction| {
            history
                .iter()
                .any(|line| line.tx_hash == tx.compute_txid() && line.height as u32 == 112 + depth)
        };
        assert!(sent.iter().all(again), "depth {depth}");
    }
}

#[test]
fn a_reorg_may_also_lose_the_transactions() {
    let world = World::new(101);
    let tx = world.spend(&world.coinbase(1));
    world.send(&tx);
    world.mine(1);
    let child = world.spend(&tx);
    world.send(&child);
    world.node.reorg(1, 2, &world.payout(), false).unwrap();
    assert!(world.node.mempool().is_empty());
    assert!(world.client.transaction_get(&tx.compute_txid()).is_err());
    world.send(&tx);
}

#[test]
fn what_descends_from_a_lost_coinbase_vanishes_with_it() {
    let world = World::new(10);
    // Coinbase 11 will be lost; a hundred blocks later it is spent, and spent again.
    world.mine(100);
    let lost = world.coinbase(11);
    let parent = world.spend(&lost);
    world.send(&parent);
    world.mine(1);
    let child = world.spend(&parent);
    world.send(&child);
    let survivor = world.spend(&world.coinbase(1));
    world.send(&survivor);

    world.node.reorg(101, 112, &world.payout(), true).unwrap();
    assert_eq!(world.node.mempool(), [survivor.compute_txid()]);
    for gone in [&lost, &parent, &child] {
        assert!(world.client.transaction_get(&gone.compute_txid()).is_err());
    }
    let unspent = world.client.script_list_unspent(&world.script()).unwrap();
    assert!(unspent.iter().all(|coin| coin.tx_hash != lost.compute_txid()));
    assert!(world.refused(&parent).starts_with("bad-txns-inputs-missingorspent"));
}

#[test]
fn a_block_that_confirms_a_rival_drops_what_waits_and_its_children() {
    let world = World::new(101);
    let parent = world.coinbase(1);
    let mut rival = world.draft(&parent);
    rival.output[0].value -= Amount::from_sat(7);
    let rival = world.sign(rival, &parent);
    let waiting = world.spend(&parent);
    world.send(&waiting);
    world.send(&world.spend(&waiting));

    let mut template = world.node.template().unwrap();
    template.transactions = vec![rival.clone()];
    template.reward = Amount::from_int_btc(50) + FEE + Amount::from_sat(7);
    world.node.submit(&world.ground(&template, &[1])).unwrap();
    assert!(world.node.mempool().is_empty());
    assert_eq!(world.client.transaction_get(&rival.compute_txid()).unwrap(), rival);
}
