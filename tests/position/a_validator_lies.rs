//! Another lock, a receipt under another name, receipts without end.

use std::slice::from_ref;

use bitcoin::Network;
use hashmix::engine::issuing::{Issuing, Told};
use hashmix::error::Error;
use hashmix::flow::position::proof::Stage;
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::word::Event;
use hashmix::id::CertificateDigest;
use hashmix::party::Role;
use hashmix::rehearsal::position as cast;
use hashmix::sign::record::record;
use hashmix::sign::software::SoftwareSigner;
use hashmix::work::receipt::{self, Receipt, Subject};

use crate::town::{HEIGHTS, SHARES, Town, all_well, enrol};

/// The miner has shown his onboarding, and two validators have given a receipt.
fn onboarded() -> (Town, PositionTerms, Vec<Issuing>, CertificateDigest) {
    let town = Town::new();
    let (terms, mut miner, mut validators) = town.asked(1, HEIGHTS);
    let shares = town.mine(from_ref(&terms), Stage::Onboarding, SHARES);
    let certificate = cast::certificate(&terms, Stage::Onboarding, &shares).unwrap();
    let digest = certificate.digest();
    miner.say(Event::Onboarded(certificate)).unwrap();
    all_well(&mut validators[..1]);
    (town, terms, validators, digest)
}

/// Says a receipt of the first validator's that names the block at `height`.
fn receipts(
    one: &mut Issuing,
    stage: Stage,
    digest: CertificateDigest,
    height: u32,
) -> Result<(), Error> {
    let position = stage.position(one.terms()).unwrap();
    let subject = Subject::Certificate { slice: 0, digest };
    let tip = one.facts().unwrap().headers.hash(height).unwrap();
    let message = receipt::message(position, &subject, tip);
    let signature = cast::validator(0, 1).unwrap().sign_digest(*message.as_ref()).unwrap();
    one.say(Event::Receipted(Receipt { validator: 0, position, subject, tip, signature }))
}

#[test]
fn a_lock_that_the_terms_do_not_make_is_refused_whosever_it_is() {
    let (_town, terms, mut validators, _) = onboarded();
    all_well(&mut validators[1..2]);
    let [ours, others] =
        [1, 2].map(|number| Stage::Binding.script(&cast::terms(number, HEIGHTS).unwrap()).unwrap());
    let seal = hashmix::flow::position::coins::issued_seal(&terms).unwrap().script_pubkey;
    for lock in [others, seal, terms.reward.miner.payout_script(), bitcoin::ScriptBuf::new()] {
        let refused = validators[0].say(Event::Granted { lock }).unwrap_err();
        assert_eq!(refused.rule(), "position-lock");
    }
    validators[0].say(Event::Granted { lock: ours }).unwrap();
}

#[test]
fn a_receipt_for_the_other_stage_is_refused() {
    let (town, _, mut validators, digest) = onboarded();
    let tip = town.world.height().unwrap();
    let refused = receipts(&mut validators[0], Stage::Binding, digest, tip - 1).unwrap_err();
    assert_eq!(refused.rule(), "position-certificate");
    receipts(&mut validators[0], Stage::Onboarding, digest, tip - 1).unwrap();
}

#[test]
fn a_validator_gives_at_most_eight_receipts_for_a_certificate() {
    let (town, _, mut validators, digest) = onboarded();
    let tip = town.world.height().unwrap();
    // He has given one already.
    for back in 1..8 {
        receipts(&mut validators[0], Stage::Onboarding, digest, tip - back).unwrap();
    }
    let refused = receipts(&mut validators[0], Stage::Onboarding, digest, tip - 8).unwrap_err();
    assert_eq!(refused.rule(), "position-again");
    // The others take these eight, and give one of their own each.
    all_well(&mut validators);
    all_well(&mut validators);
}

#[test]
fn a_validator_registers_no_second_position_with_the_same_record_of_his() {
    let town = Town::new();
    let terms = cast::terms(1, HEIGHTS).unwrap();
    let mut validators = town.validators(1, &terms);
    enrol(&mut town.miner(1, &terms), 1);
    all_well(&mut validators);
    // Another miner's position around the same federation.
    let mut other = terms.clone();
    let contract = &terms.reward.contract;
    let made = |signer: SoftwareSigner, role| {
        let payout = signer.address().into_unchecked();
        record(&signer, role, Network::Regtest, contract, payout).unwrap()
    };
    other.reward.miner = made(cast::miner(2).unwrap(), Role::Miner);
    other.reward.holder = made(cast::holder(2).unwrap(), Role::Holder);
    other.check().unwrap();
    let dossier = town.dossier(2);
    enrol(&mut town.miner(2, &other), 2);
    for place in 0..3 {
        let file = town.file(&format!("validator {place}"));
        let mut again = town.validator_at(place, 1, &other, &file, &dossier);
        let told = again.step().unwrap();
        let rules: Vec<&str> = told
            .iter()
            .filter_map(|told| match told {
                Told::Refused(_, error) => Some(error.rule()),
                Told::Heard(..) => None,
                told => panic!("{told:?}"),
            })
            .collect();
        assert_eq!(rules, ["position-record"]);
    }
    // With a memory of his own nobody knows of the first one; that is what the one store is for.
    let fresh = town.file("a validator without memory");
    let mut fresh = town.validator_at(0, 1, &other, &fresh, &dossier);
    let said = fresh.step().unwrap();
    assert!(said.iter().any(|told| matches!(told, Told::Said(Event::Registered { .. }))));
}
