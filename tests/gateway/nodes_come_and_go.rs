//! What becomes of the work when a node goes away, is on another network, or changes its mind.

use std::collections::BTreeSet;

use bitcoin::Network;
use hashmix::chain::core::{Auth, Node};
use hashmix::gateway::status::Work;
use hashmix::rehearsal::daemons::Bitcoind;
use hashmix::rehearsal::stratum::{Answer, Habits};
use hashmix::rehearsal::world::World;
use hashmix::work::certificate::Certificate;
use serde_json::json;

use crate::site::{START, Site, block_with_shares, machine, mine_to, position, until, works_on};

fn node(bitcoind: &Bitcoind) -> Node {
    Node { url: bitcoind.url().to_owned(), auth: Auth::Cookie(bitcoind.cookie()) }
}

#[test]
fn work_stops_when_the_node_is_away_and_goes_on_when_it_is_back_and_nothing_found_is_lost() {
    let mut site = Site::new();
    let gateway = site.gateway();
    works_on(&gateway, START);
    let mut miner = machine(&gateway, Habits::ANTMINER);
    block_with_shares(&mut miner, 3);
    works_on(&gateway, START + 1);
    site.world.stop(true).unwrap();
    until("a pause", || gateway.status().work, |work| matches!(work, Work::Paused { .. }));
    let Work::Paused { why } = gateway.status().work else { unreachable!() };
    assert!(why.contains("core-node"), "{why}");
    assert!(gateway.status().nodes[0].away.is_some());
    // The machine still has its job, and what it finds is kept; the block is brought later.
    let find = miner.search(1_000_000).unwrap();
    assert_eq!(miner.submit(&find).unwrap(), Answer::Yes);
    until("four shares", || position(&gateway), |_| gateway.status().accepted == 4);
    site.world.resume().unwrap();
    works_on(&gateway, START + 2);
    assert_eq!(site.height(), START + 1);
    until("four shares", || position(&gateway).shares, |shares| *shares == 4);
    gateway.stop().unwrap();
}

#[test]
fn a_block_that_no_node_has_taken_is_brought_again_after_a_restart() {
    let mut site = Site::new();
    let gateway = site.gateway();
    works_on(&gateway, START);
    let mut miner = machine(&gateway, Habits::MINERD);
    site.world.stop(true).unwrap();
    let find = miner.search(1_000_000).unwrap();
    assert_eq!(miner.submit(&find).unwrap(), Answer::Yes);
    let home = site.home();
    let files = |folder: &str| {
        let entries = std::fs::read_dir(home.join(folder)).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_file()).count()
    };
    until("the block on the disk", || files("blocks"), |files| *files == 1);
    gateway.stop().unwrap();
    site.world.resume().unwrap();
    assert_eq!(site.height(), START - 1);
    let gateway = site.gateway();
    until("the block in the chain", || site.height(), |height| *height == START);
    until("the block put aside", || files("blocks/taken"), |files| *files == 1);
    works_on(&gateway, START + 1);
    assert_eq!(position(&gateway).sealed, None);
    gateway.stop().unwrap();
}

#[test]
fn a_node_of_another_network_gives_no_work_and_the_reason_is_shown() {
    let site = Site::new();
    let signet = Bitcoind::start(Network::Signet).unwrap();
    let gateway = site.gateway_with(vec![node(&signet)]);
    let away = |status: &hashmix::gateway::status::Status| status.nodes[0].away.is_some();
    let status = until("a refusal", || gateway.status(), away);
    let Work::Paused { why } = status.work else { panic!("{:?}", status.work) };
    assert!(why.contains("core-network") && why.contains("signet"), "{why}");
    gateway.stop().unwrap();
}

#[test]
fn a_second_node_takes_over_and_every_node_gets_the_block() {
    let mut site = Site::new();
    let second = Bitcoind::start(Network::Regtest).unwrap();
    for height in 1..START {
        second.core().submit(&site.world.block(height).unwrap()).unwrap();
    }
    let gateway = site.gateway_with(vec![site.node(), node(&second)]);
    works_on(&gateway, START);
    let mut miner = machine(&gateway, Habits::BITAXE);
    mine_to(&gateway, &mut miner, START, 1);
    until("the block at both", || second.core().tip().unwrap().0, |tip| *tip == START);
    assert_eq!(second.core().tip().unwrap().1, site.world.bitcoind().core().tip().unwrap().1);
    let judged = until(
        "two judgements",
        || gateway.status().blocks[0].judged.clone(),
        |judged| judged.len() == 2,
    );
    assert!(judged.iter().all(|said| said.starts_with("taken by ")), "{judged:?}");
    site.world.stop(true).unwrap();
    let other = |status: &hashmix::gateway::status::Status| matches!(&status.work, Work::On { node, .. } if node == second.url());
    until("the second node's work", || gateway.status(), other);
    mine_to(&gateway, &mut miner, START + 1, 1);
    until("the block", || second.core().tip().unwrap().0, |tip| *tip == START + 1);
    gateway.stop().unwrap();
}

#[test]
fn a_block_of_somebody_else_makes_new_work_at_once() {
    let site = Site::new();
    let gateway = site.gateway();
    works_on(&gateway, START);
    let mut miner = machine(&gateway, Habits::MINERD);
    let stale = miner.search(1_000_000).unwrap();
    site.mine(1);
    works_on(&gateway, START + 1);
    miner.await_job(|job| job.clean).unwrap();
    match miner.submit(&stale).unwrap() {
        Answer::No(21, words) => assert!(words.contains("tale"), "{words}"),
        other => panic!("{other:?}"),
    }
    // Stale for the machine, and a share all the same: its parent is in the active chain (rule 1).
    until("the late share", || position(&gateway).shares, |shares| *shares == 1);
    gateway.stop().unwrap();
}

#[test]
fn a_reorg_takes_exactly_its_own_shares_out_of_the_certificate() {
    let site = Site::new();
    let gateway = site.gateway();
    works_on(&gateway, START);
    let mut miner = machine(&gateway, Habits::BITAXE);
    // One share a block: each is a block of its own, and none waits beside another.
    mine_to(&gateway, &mut miner, START + 3, 1);
    // The two last blocks lose: shares on the first of them have no parent any more.
    let core = site.world.bitcoind().core();
    let losers: BTreeSet<_> =
        [START + 2, START + 3].map(|h| site.world.block(h).unwrap().block_hash()).into();
    let first = site.world.block(START + 2).unwrap().block_hash();
    core.call("invalidateblock", &[json!(first)]).unwrap();
    until("the height before", || site.height(), |height| *height == START + 1);
    works_on(&gateway, START + 2);
    // Blocks of somebody else, so that the branch has more work.
    site.mine(3);
    works_on(&gateway, START + 5);
    let (_, tip) = core.tip().unwrap();
    miner.await_job(|job| job.parent() == tip).unwrap();
    mine_to(&gateway, &mut miner, START + 12, 2);
    let sealed = until("a certificate", || position(&gateway).sealed, |sealed| sealed.is_some());
    // Blocks 110 to 113, of which the shares of 113 stood on a loser; 115 to 121 afterwards.
    assert_eq!(sealed.unwrap().shares, 3 + 2 * 7);
    gateway.stop().unwrap();
    let folder = site.home().join("certificates").join(site.terms.position().unwrap().to_string());
    let file = std::fs::read(folder.join("00001.hmxc")).unwrap();
    let certificate = Certificate::read(&file).unwrap();
    let parents: BTreeSet<_> =
        certificate.shares.iter().map(|share| share.header.prev_blockhash).collect();
    assert!(parents.is_disjoint(&losers));
}
