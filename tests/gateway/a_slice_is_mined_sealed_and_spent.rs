//! Machines mine a slice through the gateway; it is sealed, receipted, and the coinbase is spent.

use std::cell::RefCell;

use bitcoin::Amount;
use hashmix::chain::electrum::Electrum;
use hashmix::flow::reward;
use hashmix::flow::reward::txs::SweepPath;
use hashmix::header_sync::GuardedChain;
use hashmix::party::Seat;
use hashmix::rehearsal::stratum::Habits;
use hashmix::rehearsal::world::World;
use hashmix::store::Store;
use hashmix::work::certificate::Certificate;

use crate::site::{NETWORK, START, Site, machine, mine_to, position, until, works_on};

#[test]
fn machines_mine_a_slice_that_validators_receipt_and_the_holder_takes_the_coinbase() {
    let site = Site::new();
    let validators: Vec<_> = (0..3).map(|n| RefCell::new(site.sits(Seat::Validator(n)))).collect();
    let gateway = site.gateway();
    works_on(&gateway, START);
    let mut bitaxe = machine(&gateway, Habits::BITAXE);
    mine_to(&gateway, &mut bitaxe, START + 5, 2);
    let mut minerd = machine(&gateway, Habits::MINERD);
    mine_to(&gateway, &mut minerd, START + 12, 2);
    assert_eq!(site.height(), START + 12);

    // Every block of the slice pays the lock and, behind it, the miner.
    let lock = reward::coins::lock(&site.terms.reward).unwrap().script_pubkey;
    let block = site.world.block(START).unwrap();
    let [paid, behind] = [0, 1].map(|place| block.txdata[0].output[place].clone());
    assert_eq!(paid.script_pubkey, lock);
    assert_eq!(behind.script_pubkey, site.terms.reward.miner.payout_script());
    assert_eq!(paid.value + behind.value, Amount::from_sat(5_000_000_000));

    // Sealed with everything that was found in it, and receipted by all three.
    let sealed = until("a certificate", || position(&gateway).sealed, |sealed| sealed.is_some());
    assert_eq!((sealed.as_ref().unwrap().slice, sealed.unwrap().shares), (1, 24));
    let receipts = until(
        "three receipts",
        || {
            for validator in &validators {
                validator.borrow_mut().step().unwrap();
            }
            position(&gateway).sealed.map_or(0, |sealed| sealed.receipts)
        },
        |receipts| *receipts == 3,
    );
    assert_eq!(receipts, 3);

    // All of it lies in the position's dossier too.
    let papers = |name: &str| {
        let folder = std::fs::read_dir(site.dir.path().join("dossier").join(name));
        folder.map_or(0, |folder| folder.count())
    };
    let both = || [papers("certificates"), papers("receipts")];
    until("a dossier", both, |papers| *papers == [1, 3]);

    // The file convinces anyone who has the headers.
    let folder = site.home().join("certificates").join(site.terms.position().unwrap().to_string());
    let file = std::fs::read(folder.join("00001.hmxc")).unwrap();
    let certificate = Certificate::read(&file).unwrap();
    let mut store = Store::open_in_memory().unwrap();
    let mut chain =
        GuardedChain::new(Electrum::connect(&site.world.electrum_url(), NETWORK).unwrap());
    chain.sync(&mut store, &mut |_, _| {}).unwrap();
    let headers = chain.headers(0).unwrap();
    let weighed = certificate.check(&site.terms.work().unwrap(), &headers).unwrap();
    assert_eq!(weighed.len(), 24);

    // And what was mined belongs to the holder: he sweeps it with the miner.
    gateway.stop().unwrap();
    site.mine(100);
    let mut miner = site.sits(Seat::Miner);
    let mut holder = site.sits(Seat::Holder);
    holder.ask_sweep(SweepPath::Agreed, 2).unwrap();
    for _ in 0..2 {
        for engine in [&mut miner, &mut holder] {
            engine.step().unwrap();
            site.world.settle().unwrap();
        }
    }
    let waiting = site.world.mempool().unwrap();
    assert_eq!(waiting.len(), 1);
    // Core may offer once more what it had before the sweep came.
    site.mine(2);
    let blocks = [1, 0].map(|above| site.world.block(site.height() - above).unwrap());
    let swept = blocks.iter().flat_map(|block| &block.txdata);
    let swept = swept.into_iter().find(|tx| tx.compute_txid() == waiting[0]).unwrap();
    assert!(
        swept
            .input
            .iter()
            .any(|input| { input.previous_output.txid == block.txdata[0].compute_txid() })
    );
}
