//! One coinbase pays two positions and the miner; one list of shares proves the work of both.

use hashmix::chain::electrum::Electrum;
use hashmix::gateway::plan::{Payee, Plan};
use hashmix::header_sync::GuardedChain;
use hashmix::rehearsal::people;
use hashmix::rehearsal::stratum::{Habits, StratumMiner};
use hashmix::rehearsal::world::World;
use hashmix::script::template::Variant;
use hashmix::store::Store;
use hashmix::work::certificate::Certificate;

use crate::site::{NETWORK, START, Site, mine_to, until, works_on};

#[test]
fn one_list_of_shares_proves_the_work_of_each_position_of_a_farm() {
    let site = Site::new();
    // The same people and another lock.
    let mut second = site.terms.clone();
    second.reward.variant = Variant::Nums;
    let all = [site.terms.clone(), second];
    let own = people::network_script().unwrap();
    let farm = Payee {
        name: "farm".into(),
        positions: vec![(0, 30), (1, 30)],
        own: Some((own.clone(), 40)),
        longest: 400,
    };
    let plan = Plan::new(NETWORK, all.to_vec(), vec![farm]).unwrap();
    let gateway = site.gateway_of(vec![site.node()], plan, vec![None, None]);
    works_on(&gateway, START);
    let mut rig = StratumMiner::start(gateway.address(), "farm.rig7", Habits::BITAXE).unwrap();
    mine_to(&gateway, &mut rig, START + 12, 1);

    let coinbase = site.world.block(START).unwrap().txdata.remove(0);
    let paid: Vec<u64> = coinbase.output.iter().map(|out| out.value.to_sat()).collect();
    assert_eq!(paid[..5], [1_050_000_000, 450_000_000, 1_050_000_000, 450_000_000, 2_000_000_000]);
    assert_eq!(coinbase.output[4].script_pubkey, own);

    let sealed = |position: usize| gateway.status().positions[position].sealed.clone();
    let mut store = Store::open_in_memory().unwrap();
    let electrum = Electrum::connect(&site.world.electrum_url(), NETWORK).unwrap();
    let mut chain = GuardedChain::new(electrum);
    let mut certificates = Vec::new();
    for (place, terms) in all.iter().enumerate() {
        let sealed = until("a certificate", || sealed(place), |sealed| sealed.is_some()).unwrap();
        assert_eq!((sealed.slice, sealed.shares), (1, 12));
        let id = terms.position().unwrap();
        let file = site.home().join("certificates").join(id.to_string()).join("00001.hmxc");
        let file = until("its file", || std::fs::read(&file).ok(), |file| file.is_some()).unwrap();
        let certificate = Certificate::read(&file).unwrap();
        chain.sync(&mut store, &mut |_, _| {}).unwrap();
        certificate.check(&terms.work().unwrap(), &chain.headers(0).unwrap()).unwrap();
        certificates.push(certificate);
    }
    gateway.stop().unwrap();
    certificates.sort_by_key(|certificate| certificate.position);
    assert_eq!(certificates[0].shares, certificates[1].shares);
    // So one file holds both, hardly longer than one of them.
    let both = Certificate::several_to_bytes(&certificates).unwrap();
    assert_eq!(both.len(), certificates[0].to_bytes().len() + 36);
    assert_eq!(Certificate::several_from_bytes(&both).unwrap(), certificates);
}
