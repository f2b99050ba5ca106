//! A miner with machines proves two positions of his farm: on his registered addresses, then on the
//! reward locks. What the gateway writes is what validators take.

use std::process::Command;

use hashmix::chain::electrum::Electrum;
use hashmix::flow::position::proof::{self, Stage};
use hashmix::flow::position::terms::PositionTerms;
use hashmix::gateway::foreman::Gateway;
use hashmix::gateway::plan::{Payee, Plan};
use hashmix::gateway::status::PositionStatus;
use hashmix::header_sync::GuardedChain;
use hashmix::headers::Headers;
use hashmix::rehearsal::position as cast;
use hashmix::rehearsal::stratum::{Habits, StratumMiner};
use hashmix::rehearsal::world::World;
use hashmix::store::Store;
use hashmix::work::agreement::share_target;
use hashmix::work::certificate::Certificate;
use hashmix::work::coinbase::subsidy;
use serde_json::json;

use crate::site::{NETWORK, Site, mine_to, until, works_on};

/// Of the two slices and of the term.
const HEIGHTS: [u32; 3] = [122, 140, 165];
/// Blocks of a slice.
const SLICE: u32 = 12;
/// Blocks behind a slice in which its certificate is written.
const DEEP: u32 = 6;

/// One hash in 400 is a share, as of all positions here; few are asked for in the seconds that this
/// takes.
fn terms(number: u32, heights: [u32; 3]) -> PositionTerms {
    let mut terms = cast::terms(number, heights).unwrap();
    let delivery = &mut terms.delivery;
    (delivery.rate, delivery.expected) = (100, 1_800);
    delivery.target = share_target(delivery.rate, delivery.expected, delivery.slice);
    terms.check().unwrap();
    terms
}

fn status(gateway: &Gateway, terms: &PositionTerms, stage: Stage) -> PositionStatus {
    let id = stage.position(terms).unwrap();
    gateway.status().positions.into_iter().find(|position| position.position == id).unwrap()
}

fn headers(site: &Site) -> Headers {
    let electrum = Electrum::connect(&site.world.electrum_url(), NETWORK).unwrap();
    let (mut chain, mut store) = (GuardedChain::new(electrum), Store::open_in_memory().unwrap());
    chain.sync(&mut store, &mut |_, _| {}).unwrap();
    chain.headers(0).unwrap()
}

/// What the coinbase at a height pays, in satoshis, but for the witness commitment.
fn paid(site: &Site, height: u32) -> Vec<(u64, bitcoin::ScriptBuf)> {
    let coinbase = site.world.block(height).unwrap().txdata.remove(0);
    let outputs = coinbase.output.into_iter().map(|out| (out.value.to_sat(), out.script_pubkey));
    outputs.filter(|(sat, _)| *sat > 0).collect()
}

#[test]
fn two_positions_of_a_farm_are_onboarded_and_bound_by_machines() {
    let site = Site::new();
    let both = [1, 2].map(|number| terms(number, HEIGHTS));
    let farm =
        Payee { name: "farm".into(), positions: vec![(0, 1), (1, 1)], own: None, longest: 400 };
    let plan = Plan::new(NETWORK, both.to_vec(), vec![farm.clone()]).unwrap();
    assert_eq!(plan.places(), [0..2, 2..4]);
    // Blocks before are of today too, as the machines' own.
    site.mine(HEIGHTS[0] - 1 - site.height());
    let gateway = site.gateway_of(vec![site.node()], plan, vec![None; 4]);

    for (stage, first) in Stage::BOTH.into_iter().zip(HEIGHTS) {
        works_on(&gateway, first);
        let mut rig = StratumMiner::start(gateway.address(), "farm.rig7", Habits::BITAXE).unwrap();
        mine_to(&gateway, &mut rig, first + 4, 2);
        for terms in &both {
            let shares = |status: &PositionStatus| status.shares == 10;
            let now = until("ten shares", || status(&gateway, terms, stage), shares);
            let told = now.stage.unwrap();
            assert_eq!((told.terms, told.stage), (terms.id().unwrap(), stage));
            assert_eq!(told.heights, (first, first + SLICE - 1));
            assert_eq!(told.least, proof::foreseen(terms).unwrap().shares);
            assert_eq!(now.blocks, (5, SLICE));
        }
        mine_to(&gateway, &mut rig, first + SLICE - 1, 2);

        for height in [first, first + SLICE - 1] {
            let half = subsidy(NETWORK, height).to_sat() / 2;
            let mut expected = Vec::new();
            for terms in &both {
                let script = stage.script(terms).unwrap();
                match stage {
                    Stage::Onboarding => expected.push((half, script)),
                    Stage::Binding => expected.extend([
                        (half * 7 / 10, script),
                        (half * 3 / 10, terms.reward.miner.payout_script()),
                    ]),
                }
            }
            assert_eq!(paid(&site, height), expected, "height {height}");
        }

        site.mine(DEEP);
        let headers = headers(&site);
        for terms in &both {
            let sealed = |status: &PositionStatus| status.sealed.is_some();
            let now = until("a certificate", || status(&gateway, terms, stage), sealed);
            let words = gateway.status().in_words().join("\n");
            let sealed = now.sealed.unwrap();
            assert_eq!((sealed.slice, sealed.shares), (1, 24));
            let next = sealed.next.unwrap();
            let id = stage.position(terms).unwrap();
            let file = site.home().join("certificates").join(id.to_string()).join("00001.hmxc");
            let command = format!("hashmix position prove --{stage} {} DOSSIER", file.display());
            assert!(next.ends_with(&command) && words.contains(&next), "{next}\n{words}");
            let certificate = Certificate::read(&std::fs::read(&file).unwrap()).unwrap();
            proof::check(terms, stage, &certificate, &headers).unwrap();
            // It proves that stage of that position.
            let renamed = |terms, stage: Stage| Certificate {
                position: stage.position(terms).unwrap(),
                ..certificate.clone()
            };
            let other = Stage::BOTH[usize::from(stage == Stage::Onboarding)];
            let refused = proof::check(terms, other, &renamed(terms, other), &headers).unwrap_err();
            assert_eq!(refused.rule(), "work-share-slice");
            let none = Certificate::new(id, 0, []).unwrap();
            let refused = proof::check(terms, stage, &none, &headers).unwrap_err();
            assert_eq!(
                (refused.rule(), refused.fault().found.as_str()),
                ("position-capacity", "0 shares")
            );
        }
        site.mine(HEIGHTS[1].saturating_sub(1 + site.height()));
    }
    gateway.stop().unwrap();

    // Whoever starts it again finds the same, and is told again what to do.
    let plan = Plan::new(NETWORK, both.to_vec(), vec![farm]).unwrap();
    let again = site.gateway_of(vec![site.node()], plan, vec![None; 4]);
    until(
        "its first words",
        || again.notice(std::time::Duration::from_secs(1)),
        |line| line.as_ref().is_some_and(|line| line.contains("hashmix position prove --binding")),
    );
    again.stop().unwrap();
}

#[test]
fn after_a_reorg_the_next_certificate_of_a_stage_stands_alone() {
    let site = Site::new();
    let (terms, stage, first) = (terms(1, HEIGHTS), Stage::Onboarding, HEIGHTS[0]);
    let alone = Payee { name: "alice".into(), positions: vec![(0, 1)], own: None, longest: 250 };
    let plan = Plan::new(NETWORK, vec![terms.clone()], vec![alone]).unwrap();
    site.mine(first - 1 - site.height());
    let gateway = site.gateway_of(vec![site.node()], plan, vec![None; 2]);
    works_on(&gateway, first);
    let machine = || StratumMiner::start(gateway.address(), "alice.rig7", Habits::BITAXE).unwrap();
    let mut rig = machine();
    // One share a block: each is a block of its own, and none waits beside another.
    mine_to(&gateway, &mut rig, first + SLICE - 1, 1);
    site.mine(DEEP);
    let sealed = |shares: u64| {
        let so = |status: &PositionStatus| {
            status.sealed.as_ref().is_some_and(|sealed| sealed.shares == shares)
        };
        until("a certificate", || status(&gateway, &terms, stage), so).sealed.unwrap()
    };
    assert!(sealed(12).next.unwrap().contains("00001.hmxc"));

    // The slice's last two blocks lose, and are found again by the same machine.
    let core = site.world.bitcoind().core();
    let loser = site.world.block(first + SLICE - 2).unwrap().block_hash();
    core.call("invalidateblock", &[json!(loser)]).unwrap();
    until("the height before", || site.height(), |height| *height == first + SLICE - 3);
    works_on(&gateway, first + SLICE - 2);
    let mut rig = machine();
    mine_to(&gateway, &mut rig, first + SLICE - 1, 1);
    // Now the branch has more work.
    site.mine(DEEP + 1);
    // One share stood on the loser; two are new.
    let next = sealed(12 - 1 + 2).next.unwrap();
    assert!(next.contains("hashmix position prove --onboarding") && next.contains("00001-2.hmxc"));
    let headers = headers(&site);
    let folder = site.home().join("certificates").join(stage.position(&terms).unwrap().to_string());
    let read = |name: &str| Certificate::read(&std::fs::read(folder.join(name)).unwrap()).unwrap();
    proof::check(&terms, stage, &read("00001-2.hmxc"), &headers).unwrap();
    let refused = proof::check(&terms, stage, &read("00001.hmxc"), &headers).unwrap_err();
    assert_eq!(refused.rule(), "work-share-parent");
    // It still stands for what counts of it.
    proof::stands(&terms, stage, &read("00001.hmxc"), &headers).unwrap();
    gateway.stop().unwrap();
}

fn check(site: &Site, terms: &PositionTerms, more: &str, network: &str) -> (Option<i32>, String) {
    let (folder, url) = (site.dir.path(), site.world.electrum_url());
    std::fs::write(folder.join("position.json"), terms.to_json().unwrap()).unwrap();
    let mut entry = json!({ "terms": "position.json" });
    if !more.is_empty() {
        entry[more] = match more {
            "relay" => json!("letters"),
            "validators" => json!(["http://127.0.0.1:1"]),
            _ => json!(1),
        };
    }
    let config = json!({
        "format": "hashmix gateway 1",
        "listen": "127.0.0.1:0",
        "nodes": [{ "url": site.node().url, "cookie": "cookie" }],
        "electrum": url,
        "payees": [{ "name": "alice", "positions": [entry] }],
    });
    std::fs::write(folder.join("gateway.json"), config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hashmix"));
    command.args(["gateway", "check", "--network", network, "--home"]).arg(site.home());
    let output = command.arg("--config").arg(folder.join("gateway.json")).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn an_operator_is_told_of_stages_and_of_positions_that_cannot_be_proven() {
    let site = Site::new();
    let good = terms(1, HEIGHTS);
    let (code, said) = check(&site, &good, "", "regtest");
    assert_eq!(code, Some(0), "{said}");
    let id = good.id().unwrap();
    let least = proof::foreseen(&good).unwrap().shares;
    for part in [
        format!("onboarding of terms {id}"),
        format!("binding of terms {id}"),
        format!("at least {least} of 1800 shares if the slice takes 7200 s"),
        "heights 122 to 133".to_owned(),
        "heights 140 to 151".to_owned(),
        "paid on at heights 152 to 164".to_owned(),
        "tip at height 109".to_owned(),
    ] {
        assert!(said.contains(&part), "{part} in {said}");
    }
    for (terms, more, network, rule) in [
        // Both slices are past, and the last one ends at the tip.
        (terms(1, [50, 70, 300]), "", "regtest", "gateway-position-past"),
        (terms(1, [50, 98, 300]), "", "regtest", "gateway-position-past"),
        (good.clone(), "", "signet", "gateway-position-network"),
        (good.clone(), "record", "regtest", "gateway-position-record"),
        (good.clone(), "relay", "regtest", "gateway-position-record"),
        (good.clone(), "validators", "regtest", "gateway-position-record"),
    ] {
        let (code, said) = check(&site, &terms, more, network);
        assert!(code != Some(0) && said.contains(&format!("[{rule}]")), "{rule}: {said}");
    }
    // The last block of the binding is still to be found.
    let (code, said) = check(&site, &terms(1, [50, 99, 300]), "", "regtest");
    assert_eq!(code, Some(0), "{said}");
}
