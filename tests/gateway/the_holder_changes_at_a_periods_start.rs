//! A position changes its holder while machines mine for it: without a restart, coinbases pay the old
//! lock to the end of a period and the new one from the next on, and both prove work.

use hashmix::chain::electrum::Electrum;
use hashmix::flow::escrow::terms::Tenure;
use hashmix::flow::reward;
use hashmix::gateway::plan::{Payee, Plan};
use hashmix::header_sync::GuardedChain;
use hashmix::id::PositionId;
use hashmix::rehearsal::stratum::{Answer, Habits};
use hashmix::rehearsal::world::World;
use hashmix::script::template::Variant;
use hashmix::store::Store;
use hashmix::work::agreement::Earlier;
use hashmix::work::certificate::Certificate;

use crate::site::{NETWORK, START, Site, machine, mine_to, position, until, works_on};

/// First height that pays the new holder.
const CHANGE: u32 = START + 12;

#[test]
fn coinbases_pay_the_old_lock_to_the_end_of_a_period_and_the_new_one_after_it() {
    let site = Site::new();
    let mut terms = site.terms.clone();
    terms.reward.variant = Variant::Nums;
    let old = reward::coins::lock(&site.terms.reward).unwrap().script_pubkey;
    let new = reward::coins::lock(&terms.reward).unwrap().script_pubkey;
    let id = PositionId([6; 32]);
    let earlier = vec![Earlier { until: 1, lock: old.clone() }];
    terms.tenure = Some(Tenure { position: id, transfer: 2, first: 0, earlier });
    let work = terms.work().unwrap();
    let alice = Payee { name: "alice".into(), positions: vec![(0, 1)], own: None, longest: 250 };
    let plan = Plan::new(NETWORK, vec![terms], vec![alice]).unwrap();
    plan.rehearse().unwrap();
    let gateway = site.gateway_of(vec![site.node()], plan, vec![None]);
    works_on(&gateway, START);
    assert_eq!(position(&gateway).lock_changes, Some(CHANGE));
    let told = gateway.status().in_words().join("\n");
    assert!(told.contains(&format!("the next holder's from height {CHANGE} on")), "{told}");

    let mut rig = machine(&gateway, Habits::BITAXE);
    mine_to(&gateway, &mut rig, CHANGE - 2, 2);
    // A machine that does not hear of the change works on for the holder before, in vain.
    let late = rig.search(1_000_000).unwrap();
    mine_to(&gateway, &mut rig, CHANGE - 1, 2);
    assert!(matches!(rig.submit(&late).unwrap(), Answer::No(21, _)));
    assert_eq!(position(&gateway).lock_changes, None);
    // Each slice is sealed while receipts count for it.
    for (height, slice) in [(CHANGE, 1), (CHANGE + 12, 2)] {
        mine_to(&gateway, &mut rig, height, 2);
        let sealed = || position(&gateway).sealed.map(|sealed| sealed.slice);
        until("a certificate", sealed, |sealed| *sealed == Some(slice));
    }

    for (height, lock) in [(START, &old), (CHANGE - 1, &old), (CHANGE, &new), (CHANGE + 12, &new)] {
        let coinbase = site.world.block(height).unwrap().txdata.remove(0);
        assert_eq!(coinbase.output[0].script_pubkey, *lock, "height {height}");
    }

    // Both certificates convince anyone who has terms and headers.
    let folder = site.home().join("certificates").join(id.to_string());
    let mut chain =
        GuardedChain::new(Electrum::connect(&site.world.electrum_url(), NETWORK).unwrap());
    let mut store = Store::open_in_memory().unwrap();
    for (name, slice) in [("00001.hmxc", 0), ("00002.hmxc", 1)] {
        let path = folder.join(name);
        let file = until(name, || std::fs::read(&path).ok(), |file| file.is_some()).unwrap();
        let certificate = Certificate::read(&file).unwrap();
        assert_eq!((certificate.position, certificate.slice), (id, slice));
        chain.sync(&mut store, &mut |_, _| {}).unwrap();
        let weighed = certificate.check(&work, &chain.headers(0).unwrap()).unwrap();
        assert!(weighed.len() >= 24, "{}", weighed.len());
    }
    gateway.stop().unwrap();
}
