//! Both worlds side by side: what one does, the other does, through reorgs and restarts.

use std::time::Duration;

use bitcoin::absolute::LockTime;
use bitcoin::opcodes::OP_TRUE;
use bitcoin::script::Builder;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
};
use hashmix::chain::electrum::{Electrum, Patience};
use hashmix::rehearsal::daemons::Daemons;
use hashmix::rehearsal::deal::{Trouble, play};
use hashmix::rehearsal::reorg::replace;
use hashmix::rehearsal::world::{World, named};
use hashmix::script::template::Variant;

fn anybody() -> ScriptBuf {
    Builder::new().push_opcode(OP_TRUE).into_script()
}

fn to(script: ScriptBuf) -> impl Fn(Amount) -> Vec<TxOut> {
    move |value| vec![TxOut { value, script_pubkey: script.clone() }]
}

/// A script that nobody else uses.
fn own(number: i64) -> ScriptBuf {
    Builder::new().push_int(number).push_opcode(OP_TRUE).into_script().to_p2wsh()
}

fn client(world: &dyn World) -> Electrum {
    Electrum::connect(&world.electrum_url(), Network::Regtest).unwrap()
}

/// Spends the coinbase of block 1, which anybody can, to a script.
fn spend(world: &dyn World, to: ScriptBuf) -> Transaction {
    let coinbase = world.block(1).unwrap().txdata.remove(0);
    let value = coinbase.output[0].value - Amount::from_sat(1_000);
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(coinbase.compute_txid(), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[anybody().to_bytes()]),
        }],
        output: vec![TxOut { value, script_pubkey: to }],
    }
}

/// Plays the same in each world and compares what it tells.
fn in_both<T: PartialEq + core::fmt::Debug>(play: impl Fn(&dyn World) -> T) {
    let [embedded, core] = ["embedded", "core"].map(|name| play(&*named(name).unwrap()));
    assert_eq!(embedded, core, "the embedded node on the left, Bitcoin Core on the right");
}

#[test]
fn a_world_without_a_name_of_ours_is_refused() {
    let error = named("testnet").err().unwrap();
    assert_eq!((error.rule(), error.exit_code()), ("rehearsal-world", 2));
}

#[test]
fn blocks_are_alike_in_both_worlds() {
    in_both(|world| {
        assert_eq!(world.height().unwrap(), 0);
        world.mine(150, &to(own(1))).unwrap();
        let next = world.template().unwrap();
        let blocks: Vec<_> = (0..=150).map(|height| world.block(height).unwrap()).collect();
        let beyond = world.block(151).unwrap_err();
        assert_eq!(beyond.to_string().lines().count(), 1);
        (blocks, next)
    });
}

#[test]
fn what_is_broadcast_is_in_the_next_reading_and_in_the_next_block() {
    in_both(|world| {
        world.mine(101, &to(anybody().to_p2wsh())).unwrap();
        let (client, tx) = (client(world), spend(world, own(2)));
        let txid = client.broadcast(&tx).unwrap();
        world.settle().unwrap();
        assert_eq!(world.mempool().unwrap(), [txid]);
        assert_eq!(client.history(&own(2)).unwrap(), [(txid, None)]);
        let next = world.template().unwrap();
        assert_eq!(next.transactions, [tx]);
        world.mine(1, &to(own(3))).unwrap();
        assert_eq!(client.history(&own(2)).unwrap(), [(txid, Some(102))]);
        (next.reward, world.mempool().unwrap(), txid)
    });
}

#[test]
fn a_reorg_returns_transactions_and_empties_the_histories_of_lost_coinbases() {
    in_both(|world| {
        world.mine(101, &to(anybody().to_p2wsh())).unwrap();
        let (client, scripts) = (client(world), [own(4), own(5), own(6)]);
        let txid = client.broadcast(&spend(world, own(4))).unwrap();
        world.mine(3, &to(own(5))).unwrap();
        let before = client.facts(&scripts, 0).unwrap();
        assert_eq!(before.transactions[&txid].height, Some(102));
        assert_eq!(client.history(&own(5)).unwrap().len(), 3);

        replace(world, 3, &to(own(6))).unwrap();
        assert_eq!(world.height().unwrap(), 105);
        assert_eq!(world.mempool().unwrap(), [txid]);
        // A server of the protocol gives this script no status at all now.
        assert_eq!(client.history(&own(5)).unwrap(), []);
        let after = client.facts(&scripts, 0).unwrap();
        assert_eq!(after.transactions[&txid].height, None);
        assert_eq!(after.coins(&own(5)).len(), 0);
        assert_eq!(after.coins(&own(6)).len(), 4);

        world.mine(1, &to(own(6))).unwrap();
        let again = client.facts(&scripts, 0).unwrap();
        assert_eq!(again.transactions[&txid].height, Some(106));
        let heights: Vec<Option<u32>> = again.transactions.values().map(|t| t.height).collect();
        heights.len()
    });
}

#[test]
fn a_branch_can_be_rewritten_again_and_again_at_every_depth() {
    in_both(|world| {
        world.mine(8, &to(own(7))).unwrap();
        let client = client(world);
        for depth in 1..=6 {
            let lost = world.block(world.height().unwrap()).unwrap();
            replace(world, depth, &to(own(7))).unwrap();
            let (height, tip) = client.tip().unwrap();
            assert_eq!(height, 8 + depth);
            assert_eq!(tip, world.block(height).unwrap().block_hash());
            assert_ne!(world.block(height - 1).unwrap(), lost);
        }
        for depth in [0, 15] {
            let refused = replace(world, depth, &to(own(7))).unwrap_err();
            assert_eq!(refused.rule(), "rehearsal-depth");
        }
        client.history(&own(7)).unwrap().len()
    });
}

fn impatient(world: &dyn World) -> Electrum {
    let patience =
        Patience { attempts: 2, pause: Duration::from_millis(10), ..Patience::default() };
    Electrum::connect_with(&world.electrum_url(), Network::Regtest, patience).unwrap()
}

/// A chain with one transaction that waits, and a client that has seen it.
fn waiting() -> (Daemons, Electrum, Txid) {
    let world = Daemons::start().unwrap();
    world.mine(101, &to(anybody().to_p2wsh())).unwrap();
    let client = impatient(&world);
    let txid = client.broadcast(&spend(&world, own(8))).unwrap();
    world.settle().unwrap();
    assert_eq!(client.history(&own(8)).unwrap(), [(txid, None)]);
    (world, client, txid)
}

#[test]
fn a_server_that_restarts_loses_nothing_and_the_client_goes_on() {
    let (mut world, client, txid) = waiting();
    world.stop(false).unwrap();
    let error = client.tip().unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("chain-server", 5));
    assert_eq!(error.to_string().lines().count(), 1);
    // The chain grows while nobody shows it.
    let block = next_block(&world);
    world.hand_in(&block).unwrap();
    world.resume().unwrap();
    assert_eq!(client.tip().unwrap(), (102, block.block_hash()));
    assert_eq!(client.history(&own(8)).unwrap(), [(txid, Some(102))]);
}

/// The next block, with whatever waits.
fn next_block(world: &dyn World) -> bitcoin::Block {
    let template = world.template().unwrap();
    let job = template.job(b"while nobody looks", &to(own(9))(template.reward)).unwrap();
    let mut headers = hashmix::work::grind::grind(&job, 0, 1_000, job.header.target());
    template.block(headers.next().unwrap(), job.coinbase)
}

#[test]
fn a_node_that_restarts_keeps_its_chain_and_what_waits() {
    let (mut world, client, txid) = waiting();
    let before = client.tip().unwrap();
    world.stop(true).unwrap();
    let error = world.height().unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("core-node", 5));
    assert_eq!(client.tip().unwrap_err().rule(), "chain-server");
    world.resume().unwrap();
    assert_eq!(client.tip().unwrap(), before);
    assert_eq!(client.history(&own(8)).unwrap(), [(txid, None)]);
    world.mine(1, &to(own(9))).unwrap();
    assert_eq!(client.history(&own(8)).unwrap(), [(txid, Some(102))]);
}

#[test]
fn the_first_deal_makes_the_same_transactions_and_the_same_sheet_in_both_worlds() {
    in_both(|world| {
        let dir = tempfile::tempdir().unwrap();
        let calm = Trouble::default();
        let ending = play(world, Variant::Musig, calm, dir.path(), &mut |_| {}).unwrap();
        assert!(ending.ledger.balances().unwrap());
        let txids: Vec<Txid> = ending.sent.iter().map(|(_, sent)| sent.tx.compute_txid()).collect();
        assert_eq!(txids.len(), 5, "sale, settlement, two rulings, sweep");
        (txids, ending.ledger)
    });
}

#[test]
fn a_node_and_a_server_in_front_of_it_have_the_same_view() {
    let daemons = Daemons::start().unwrap();
    daemons.mine(1, &to(anybody().to_p2wsh())).unwrap();
    daemons.mine(100, &to(own(1))).unwrap();
    let spent = spend(&daemons, own(2));
    let coinbase = spent.input[0].previous_output;
    let paid = OutPoint::new(spent.compute_txid(), 0);
    let other = OutPoint::new(daemons.block(2).unwrap().txdata[0].compute_txid(), 0);
    let scripts = [anybody().to_p2wsh(), own(1), own(2)];
    let server = client(&daemons);
    let node = daemons.bitcoind().core();
    for step in 0..3 {
        match step {
            0 => {}
            1 => _ = node.broadcast(&spent).unwrap(),
            _ => daemons.mine(1, &to(own(1))).unwrap(),
        }
        daemons.settle().unwrap();
        let asked = [coinbase, paid, other];
        let (theirs, ours) =
            (server.view(&scripts, 0, &asked).unwrap(), node.view(&asked).unwrap());
        assert_eq!((&theirs.tip, &theirs.coins), (&ours.tip, &ours.coins), "step {step}");
        let there: Vec<bool> = asked.iter().map(|at| ours.coins[at].is_some()).collect();
        assert_eq!(there, [step == 0, step > 0, true], "step {step}");
    }
}
