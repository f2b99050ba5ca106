//! Shares and certificates in files.

use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::{Address, BlockHash, CompactTarget, Network, ScriptBuf};
use hashmix::flow::escrow::terms::EscrowTerms;
use hashmix::flow::reward;
use hashmix::id::PositionId;
use hashmix::work::certificate::Certificate;
use hashmix::work::coinbase::subsidy;
use hashmix::work::grind::grind;
use hashmix::work::share::Share;
use hashmix::work::template::BlockTemplate;

use crate::desk::{Desk, address, ok, refused};

const BLOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/mainnet/block_702861.json");
const PAID: &str = "00143156afc4249915008020f932783319f3e610b97d";

/// A certificate of a few shares of the first slice, on a parent that exists nowhere.
pub fn certificate(terms: &EscrowTerms, height: u32) -> Certificate {
    let reward = subsidy(Network::Regtest, height);
    let template = BlockTemplate {
        version: Version::from_consensus(0x2000_0000),
        parent: BlockHash::from_byte_array([9; 32]),
        height,
        time: 1_700_072_000,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        reward,
        transactions: Vec::new(),
    };
    let payouts = reward::coins::payouts(&terms.reward, reward).unwrap();
    let job = template.job(b"a few", &payouts).unwrap();
    let found = grind(&job, 0, u64::from(u32::MAX), terms.delivery.target).take(5);
    let shares: Vec<Share> = found.map(|header| Share::of(&job, header)).collect();
    Certificate::new(terms.position().unwrap(), 0, shares).unwrap()
}

#[test]
fn a_real_block_proves_what_it_paid_and_to_no_other_script() {
    let out = ok(&["work", "verify", BLOCK, "--script", PAID]);
    assert!(out.contains("rules 2-5") && out.contains("rule 1"), "{out}");
    let script = ScriptBuf::from_hex(PAID).unwrap();
    let on = |network| Address::from_script(&script, network).unwrap().to_string();
    ok(&["work", "verify", BLOCK, "--address", &on(Network::Bitcoin)]);
    refused(&["work", "verify", BLOCK, "--script", "51"], "work-pay-lock", 3);
    let line = refused(
        &["work", "verify", BLOCK, "--address", &on(Network::Regtest)],
        "work-address-network",
        2,
    );
    assert!(line.contains("regtest"), "{line}");
    refused(
        &["work", "verify", BLOCK, "--address", &address(Network::Bitcoin)],
        "work-pay-lock",
        3,
    );
    refused(&["work", "verify", BLOCK, "--script", PAID, "--target", "1"], "work-target", 3);
    refused(&["work", "verify", BLOCK, "--script", PAID, "--cap", "1"], "work-pay-total", 3);
    refused(&["work", "verify", BLOCK], "cli-arguments", 2);
    refused(&["work", "verify", "no such file", "--script", PAID], "cli-file", 2);
}

#[test]
fn a_certificate_is_checked_as_far_as_it_goes_without_headers() {
    let desk = Desk::new();
    let (terms_file, terms) = desk.terms();
    let certificate = certificate(&terms, 125);
    let file = desk.put("certificate.json", certificate.to_json());
    let out = ok(&["work", "verify", &file, "--terms", &terms_file]);
    assert!(out.contains(&certificate.digest().to_string()), "{out}");
    assert!(out.contains("5 of 180 expected"), "{out}");
    assert!(out.contains("needs headers") && out.contains("receipts of 2 validators"), "{out}");
}

#[test]
fn a_certificate_of_another_position_slice_or_payment_is_refused() {
    let desk = Desk::new();
    let (terms_file, terms) = desk.terms();
    let honest = certificate(&terms, 125);
    let refused = |certificate: &Certificate, rule| {
        let file = desk.put("certificate.json", certificate.to_json());
        refused(&["work", "verify", &file, "--terms", &terms_file], rule, 3);
    };
    refused(
        &Certificate { position: PositionId([1; 32]), ..honest.clone() },
        "work-certificate-position",
    );
    refused(&Certificate { slice: 1, ..honest.clone() }, "work-share-slice");
    refused(&Certificate { slice: 6, ..honest.clone() }, "work-share-slice");
    let mut greedy = terms.clone();
    greedy.reward.service_ppm = 400_000;
    let paid = certificate(&greedy, 125);
    let paid = Certificate { position: honest.position, ..paid };
    refused(&paid, "work-pay-service");
    let mut backwards = honest.clone();
    backwards.shares.reverse();
    refused(&backwards, "work-certificate-order");
    let mut twice = honest;
    twice.shares[1] = twice.shares[0].clone();
    refused(&twice, "work-share-twice");
}
