//! The desk's checks without a chain: who has signed what, and when it is worth nothing.

use std::path::Path;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::schnorr;
use bitcoin::{BlockHash, Network};

use super::answer::{Answer, Refusal};
use super::desk::Desk;
use super::hearing;
use super::query::{Query, Tips};
use super::registration::{FORM, Registration, digest};
use super::request::{self, MOST_KEYS, REQUEST_FORMAT, Request};
use super::sources::Sources;
use crate::error::{Culprit, Result};
use crate::flow::escrow::terms::{EscrowTerms, Tenure};
use crate::flow::word::Word;
use crate::flow::{Event, reward};
use crate::id::{PositionId, TermsId, WordId};
use crate::party::Seat;
use crate::rehearsal::people::{self, Payouts};
use crate::script::template::Variant;
use crate::sign::seed::Seed;
use crate::sign::software::SoftwareSigner;
use crate::store::Store;

const NETWORK: Network = Network::Regtest;

fn signer(seat: Seat) -> SoftwareSigner {
    let seed = people::seed(&people::name(seat)).unwrap();
    SoftwareSigner::new(seed.record(NETWORK, 0).unwrap(), NETWORK).unwrap()
}

fn terms() -> EscrowTerms {
    let at = |seat| signer(seat).address();
    let (miner, holder) = (at(Seat::Miner), at(Seat::Holder));
    let payouts = Payouts { miner, holder, federation: at(Seat::Validator(0)) };
    people::terms(Variant::Musig, 120, &payouts).unwrap()
}

fn agreed(terms: EscrowTerms) -> Registration {
    let id = terms.id().unwrap();
    let mut registration = Registration::new(terms);
    for seat in [Seat::Miner, Seat::Holder] {
        registration.add(seat, signer(seat).sign_digest(digest(id)).unwrap()).unwrap();
    }
    registration
}

fn seed(place: u8) -> Seed {
    people::seed(&people::name(Seat::Validator(place))).unwrap()
}

fn zeros() -> schnorr::Signature {
    schnorr::Signature::from_slice(&[0; 64]).unwrap()
}

#[test]
fn a_registration_survives_its_file_and_both_have_signed_it() {
    let registration = agreed(terms());
    let read = Registration::from_json(&registration.to_json().unwrap()).unwrap();
    assert_eq!(read, registration);
    assert_eq!(read.check().unwrap(), read.terms.id().unwrap());
    for place in 0..3 {
        assert_eq!(read.member(&seed(place)).unwrap(), (place, 0));
    }
    read.check_network(NETWORK).unwrap();
}

#[test]
fn a_registration_without_a_signature_or_with_anothers_is_refused() {
    let whole = agreed(terms());
    let mut cheaper = terms();
    cheaper.fees.cap += 1;
    for (broken, culprit) in [
        (Registration { miner: None, ..whole.clone() }, Culprit::Miner),
        (Registration { holder: None, ..whole.clone() }, Culprit::Holder),
        (Registration { holder: whole.miner, ..whole.clone() }, Culprit::Holder),
        (Registration { miner: Some(zeros()), ..whole.clone() }, Culprit::Miner),
        (Registration { terms: cheaper, ..whole.clone() }, Culprit::Miner),
    ] {
        let error = broken.check().unwrap_err();
        assert_eq!(error.rule(), "policy-registry-signed");
        assert!(matches!(error, crate::error::Error::Refused { by, .. } if by == culprit));
    }
    let mut fresh = Registration::new(terms());
    let signature = signer(Seat::Holder).sign_digest(digest(terms().id().unwrap())).unwrap();
    assert_eq!(fresh.add(Seat::Miner, signature).unwrap_err().rule(), "policy-registry-signed");
    let error = fresh.add(Seat::Validator(0), signature).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("policy-registry-signed", 2));
}

#[test]
fn terms_that_fail_their_own_checks_are_refused_by_those() {
    let mut terms = terms();
    terms.fees.floor = 0;
    assert_eq!(agreed(terms).check().unwrap_err().rule(), "terms-fees");
}

#[test]
fn a_registration_is_of_its_form_and_no_longer_than_it_can_be() {
    let text = agreed(terms()).to_json().unwrap();
    for broken in ["", "[]", "{}", &text.replace("registration 1", "registration 9")] {
        assert_eq!(Registration::from_json(broken).unwrap_err().rule(), FORM.id);
    }
    let longest = super::registration::REGISTRATION_MAX_BYTES;
    let padded = format!("{text}{}", " ".repeat(longest - text.len()));
    Registration::from_json(&padded).unwrap();
    let error = Registration::from_json(&format!("{padded} ")).unwrap_err();
    assert_eq!(error.rule(), "policy-registry-size");
}

#[test]
fn a_record_is_ours_by_every_key_and_not_by_its_path() {
    let registration = agreed(terms());
    let stranger = people::seed("somebody else").unwrap();
    assert_eq!(registration.member(&stranger).unwrap_err().rule(), "policy-registry-member");
    // The same path and fingerprint, one key exchanged: somebody poses as us.
    let other = people::seed("somebody else").unwrap().record(NETWORK, 0).unwrap().public();
    for key in 0..2 {
        let mut posing = agreed(terms());
        let body = &mut posing.terms.reward.federation.validators[1].record;
        match key {
            0 => body.communication = other.communication,
            _ => {
                let ours = body.leaf.to_string();
                let (origin, _) = ours.split_once(']').unwrap();
                let (_, theirs) = other.leaf.split_once(']').unwrap();
                body.leaf = format!("{origin}]{theirs}").parse().unwrap();
            }
        }
        let error = posing.member(&seed(1)).unwrap_err();
        assert_eq!(error.rule(), "policy-registry-member", "key {key}");
    }
    // What is not a key is held by the record's signature.
    let mut changed = agreed(terms());
    changed.terms.reward.federation.validators[1].record.contract = "another deal".into();
    assert_eq!(changed.member(&seed(1)).unwrap_err().rule(), "message-text");
}

#[test]
fn terms_of_another_network_are_refused() {
    let registration = agreed(terms());
    for network in [Network::Bitcoin, Network::Signet, Network::Testnet4] {
        let error = registration.check_network(network).unwrap_err();
        assert_eq!(error.rule(), "policy-registry-network");
    }
}

#[test]
fn a_record_is_bound_to_its_first_terms() {
    let mut store = Store::open_in_memory().unwrap();
    let first = agreed(terms());
    let mut others = terms();
    others.fees.cap += 1;
    let other = agreed(others);
    first.bind(&mut store, 1).unwrap();
    first.bind(&mut store, 1).unwrap();
    for again in [other.check_first(&store, 1), other.bind(&mut store, 1)] {
        assert_eq!(again.unwrap_err().rule(), "policy-registry-first");
    }
    other.bind(&mut store, 2).unwrap();
    assert_eq!(first.check_first(&store, 2).unwrap_err().rule(), "policy-registry-first");
}

#[test]
fn terms_of_a_position_are_signed_by_nobody() {
    let mut bought = terms();
    let position = PositionId([7; 32]);
    bought.tenure = Some(Tenure { position, transfer: 1, first: 1, earlier: Vec::new() });
    bought.check().unwrap();
    let signature = signer(Seat::Miner).sign_digest(digest(bought.id().unwrap())).unwrap();
    let mut registration = Registration::new(bought);
    let error = registration.add(Seat::Miner, signature).unwrap_err();
    assert_eq!((error.rule(), error.exit_code()), ("policy-registry-way", 2));
    assert!(error.fault().rule.advice.contains("`hashmix sale register`"));
    // Whoever writes signatures into the file himself, comes no further.
    for signature in [None, Some(signature)] {
        (registration.miner, registration.holder) = (signature, signature);
        assert_eq!(registration.check().unwrap_err().rule(), "policy-registry-way");
    }
    registration.terms.tenure = None;
    registration
        .add(
            Seat::Miner,
            signer(Seat::Miner).sign_digest(digest(registration.terms.id().unwrap())).unwrap(),
        )
        .unwrap();
}

fn word(from: Seat) -> Word {
    let (id, event) = (terms().id().unwrap(), Event::Reward(reward::state::Event::CloseAsked));
    let message = Word::message(id, from, &event).unwrap();
    Word::new(id, from, event, signer(from).sign_digest(message).unwrap())
}

fn asked(from: Seat, words: Vec<Word>) -> Request {
    let (contract, key) = (terms().id().unwrap(), "a key".to_owned());
    let digest = Request::message(contract, from, &key, &words, None).unwrap();
    let signature = signer(from).sign_digest(digest).unwrap();
    Request { format: REQUEST_FORMAT.into(), contract, from, key, words, psbt: None, signature }
}

#[test]
fn a_request_of_every_other_seat_is_heard_and_survives_its_file() {
    for from in [Seat::Miner, Seat::Holder, Seat::Validator(1), Seat::Validator(2)] {
        let request = asked(from, vec![word(Seat::Miner)]);
        let read = Request::from_json(&request.to_json().unwrap(), 10_000).unwrap();
        assert_eq!(read, request);
        read.check_sender(&terms(), Seat::Validator(0)).unwrap();
        read.check_words(&terms()).unwrap();
    }
}

#[test]
fn a_request_of_ourselves_of_nobody_or_of_another_signer_is_refused() {
    let good = asked(Seat::Miner, vec![]);
    let check = |request: &Request, ours| request.check_sender(&terms(), ours).unwrap_err().rule();
    let ours = asked(Seat::Validator(0), vec![]);
    assert_eq!(check(&ours, Seat::Validator(0)), "policy-request-seat");
    let nobody = Request { from: Seat::Validator(3), ..good.clone() };
    assert_eq!(check(&nobody, Seat::Validator(0)), "policy-request-seat");
    for lie in [
        Request { from: Seat::Holder, ..good.clone() },
        Request { contract: TermsId([1; 32]), ..good.clone() },
        Request { key: "another".into(), ..good.clone() },
        Request { words: vec![word(Seat::Miner)], ..good.clone() },
        Request { psbt: Some(String::new()), ..good.clone() },
        Request { signature: zeros(), ..good },
    ] {
        assert_eq!(check(&lie, Seat::Validator(0)), "policy-request-signature");
    }
}

#[test]
fn words_are_counted_and_each_proves_itself() {
    let check = |words| asked(Seat::Holder, words).check_words(&terms()).map_err(|e| e.rule());
    let good = word(Seat::Miner);
    assert_eq!(check(vec![good.clone(); 64]), Ok(()));
    assert_eq!(check(vec![good.clone(); 65]), Err("policy-request-words"));
    for bad in [
        Word { from: Seat::Holder, ..good.clone() },
        Word { contract: TermsId([1; 32]), ..good.clone() },
        Word { format: "hashmix word 2".into(), ..good.clone() },
        Word { signature: zeros(), ..good.clone() },
    ] {
        assert_eq!(check(vec![good.clone(), bad]), Err("policy-request-word"));
    }
}

#[test]
fn keys_are_bounded() {
    request::check_keys(MOST_KEYS - 1, Culprit::Miner).unwrap();
    for used in [MOST_KEYS, u64::MAX] {
        let error = request::check_keys(used, Culprit::Miner).unwrap_err();
        assert_eq!(error.rule(), "policy-request-keys");
    }
}

fn block(number: u8) -> BlockHash {
    BlockHash::from_byte_array([number; 32])
}

fn query(from: Seat, to: Seat, asked: &str, tip: BlockHash) -> Query {
    let digest = Query::message(terms().id().unwrap(), from, to, asked, tip).unwrap();
    Query { from, tip, signature: signer(from).sign_digest(digest).unwrap() }
}

#[test]
fn a_question_is_good_for_its_asker_its_path_and_a_recent_tip() {
    let to = Seat::Validator(0);
    let mut tips = Tips::default();
    tips.tell(block(1));
    let check = |query: &Query, tips: &Tips| {
        query.check(&terms(), to, "/path", tips).map_err(|error| error.rule())
    };
    for from in [Seat::Miner, Seat::Holder, Seat::Validator(2)] {
        let query = query(from, to, "/path", block(1));
        assert_eq!(Query::from_header(&query.to_header()).unwrap(), query);
        assert_eq!(check(&query, &tips), Ok(()));
    }
    let mine = query(Seat::Miner, to, "/path", block(1));
    for lie in [
        query(Seat::Miner, to, "/other", block(1)),
        query(Seat::Miner, Seat::Validator(1), "/path", block(1)),
        Query { from: Seat::Holder, ..mine.clone() },
        Query { signature: zeros(), ..mine.clone() },
    ] {
        assert_eq!(check(&lie, &tips), Err("policy-query-signature"));
    }
    let ours = query(to, to, "/path", block(1));
    assert_eq!(check(&ours, &tips), Err("policy-request-seat"));
    let early = query(Seat::Miner, to, "/path", block(2));
    assert_eq!(check(&early, &tips), Err("policy-query-tip"));
    for number in 2..=12 {
        tips.tell(block(number));
        tips.tell(block(number));
    }
    assert_eq!(check(&mine, &tips), Ok(()), "eleven tips later");
    tips.tell(block(13));
    assert_eq!(check(&mine, &tips), Err("policy-query-tip"));
}

#[test]
fn a_header_of_another_form_is_refused() {
    let good = query(Seat::Validator(1), Seat::Validator(0), "/", block(1)).to_header();
    Query::from_header(&good).unwrap();
    let short: String = good.chars().take(good.len() - 1).collect();
    for bad in [
        String::new(),
        good.replace(' ', ","),
        good.replace(' ', "  "),
        format!("{good} more"),
        good.replace("validator-1", "validator"),
        good.replace("validator-1", "validator-256"),
        good.replace("validator-1", "nobody"),
        short,
    ] {
        assert_eq!(Query::from_header(&bad).unwrap_err().rule(), "policy-query-form", "{bad}");
    }
}

#[test]
fn a_refusal_shows_whose_it_is_and_of_what() {
    let (contract, from, request) = (terms().id().unwrap(), Seat::Validator(0), WordId([3; 32]));
    let error = request::WORDS.refuses(Culprit::Miner, "request", "64", "65");
    let sign = |digest| signer(from).sign_digest(digest);
    let refusal = Refusal::sign(contract, from, request, &error, sign).unwrap();
    assert_eq!((refusal.rule.as_str(), refusal.culprit.as_str()), (request::WORDS.id, "miner"));
    let answer = Answer {
        format: super::answer::ANSWER_FORMAT.into(),
        contract,
        from,
        request,
        words: vec![],
        refused: vec![refusal],
        waiting: vec![],
    };
    let read = Answer::from_json(&answer.to_json().unwrap()).unwrap();
    assert_eq!(read, answer);
    read.verify(&terms()).unwrap();
    assert!(read.refuses_all());
    for (lie, rule) in [
        (Answer { from: Seat::Validator(1), ..answer.clone() }, "message-digest"),
        (Answer { from: Seat::Validator(9), ..answer.clone() }, "validator-answer"),
        (Answer { request: WordId([4; 32]), ..answer.clone() }, "message-digest"),
        (Answer { contract: TermsId([4; 32]), ..answer.clone() }, "message-digest"),
    ] {
        assert_eq!(lie.verify(&terms()).unwrap_err().rule(), rule);
    }
    for text in ["", "{}", &answer.to_json().unwrap().replace("answer 1", "answer 2")] {
        assert_eq!(Answer::from_json(text).unwrap_err().rule(), "validator-answer");
    }
}

/// A desk of validator 0 whose servers nobody asks.
fn desk(home: &Path, network: Network) -> Result<Desk> {
    let electrum = vec!["tcp://127.0.0.1:1".to_owned(), "tcp://127.0.0.1:2".to_owned()];
    let sources = Sources {
        network,
        electrum,
        #[cfg(feature = "core")]
        core: None,
    };
    Desk::open(home, seed(0), sources)
}

/// A desk at which the contract was registered earlier.
fn seated(home: &Path) -> Desk {
    let folder = home.join("contracts").join(terms().id().unwrap().to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("registration.json"), agreed(terms()).to_json().unwrap()).unwrap();
    desk(home, NETWORK).unwrap()
}

#[test]
fn a_desk_of_another_network_registers_nothing() {
    for network in [Network::Bitcoin, Network::Signet] {
        let home = tempfile::tempdir().unwrap();
        let mut desk = desk(home.path(), network).unwrap();
        let error = desk.register(&agreed(terms()).to_json().unwrap()).unwrap_err();
        assert_eq!(error.rule(), "policy-registry-network");
        assert!(desk.registered().is_empty());
    }
}

#[test]
fn a_desk_hears_no_new_key_of_a_seat_that_has_used_them_up() {
    let home = tempfile::tempdir().unwrap();
    let mut desk = seated(home.path());
    let mine = asked(Seat::Miner, vec![]);
    let begun = hearing::scope("begun", &mine).unwrap();
    let use_keys = |upto: u64| {
        let db = rusqlite::Connection::open(home.path().join("store.sqlite")).unwrap();
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
             INSERT OR IGNORE INTO memory (scope, name, value) SELECT ?1, 'used ' || i, x'00' FROM n",
            rusqlite::params![begun, i64::try_from(upto).unwrap()],
        )
        .unwrap();
    };
    use_keys(MOST_KEYS);
    for request in [mine.clone(), asked(Seat::Miner, vec![word(Seat::Miner)])] {
        let error = desk.answer(&request).unwrap_err();
        assert_eq!(error.rule(), "policy-request-keys");
        assert!(!desk.begun(&request).unwrap());
    }
    // The holder's keys are his own: his request begins, and asks a server that is not there.
    let his = asked(Seat::Holder, vec![]);
    assert_eq!(desk.answer(&his).unwrap_err().exit_code(), 5);
    assert!(desk.begun(&his).unwrap() && desk.answered(&his).unwrap().is_none());
}

#[test]
fn a_contract_that_cannot_be_asked_stays_in_the_list_and_shows_parties_no_server() {
    let home = tempfile::tempdir().unwrap();
    let mut desk = seated(home.path());
    let id = terms().id().unwrap();
    let [ours] = &desk.contracts()[..] else { panic!("one contract") };
    assert!(ours.trouble.as_ref().unwrap().contains("tcp://127.0.0.1:1"), "{ours:?}");
    let trouble = desk.standing(id).unwrap().trouble.unwrap();
    assert!(trouble.contains("(hidden)") && !trouble.contains("tcp://"), "{trouble}");
}

#[cfg(unix)]
#[test]
fn the_desks_folder_is_its_owners_alone_whoever_made_it() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(seated(home.path()));
    assert_eq!(mode(home.path()), 0o700);
    for name in ["desk.json", "desk.lock", "store.sqlite"] {
        let path = home.path().join(name);
        assert_eq!(mode(&path) & 0o077, 0, "{name}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    drop(desk(home.path(), NETWORK).unwrap());
    assert_eq!(mode(&home.path().join("store.sqlite")), 0o600);
}
