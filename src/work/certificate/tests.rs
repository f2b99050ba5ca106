//! Certificates: their list, their name, their file.

use proptest::prelude::*;

use super::*;
use crate::work::samples::{POSITION, certificate, chain, shares, terms};

const GOLDEN: &str = include_str!("../../../fixtures/work/certificate.json");
/// Computed from the file by a second implementation (see `fixtures/README.md`).
const GOLDEN_DIGEST: &str = "9d289b5dbea06324e1ee6ef64a0d60121e2fd6d9d0f37458af2f90c854e70bca";

#[test]
fn a_certificate_of_valid_shares_is_accepted_share_by_share() {
    let (terms, headers) = (terms(), chain(45));
    let weighed = certificate(&terms, &headers, 3, 5).check(&terms, &headers).unwrap();
    assert_eq!(weighed.len(), 5);
    assert!(weighed.iter().all(|w| w.slice == 3 && w.height == 21));
}

#[test]
fn shares_given_in_any_order_make_the_same_certificate() {
    let (terms, headers) = (terms(), chain(45));
    let sorted = certificate(&terms, &headers, 0, 6);
    let mut shares = sorted.shares.clone();
    shares.reverse();
    shares.push(sorted.shares[2].clone());
    let again = Certificate::new(POSITION, 0, shares).unwrap();
    assert_eq!(again, sorted);
    assert_eq!(again.digest(), sorted.digest());
}

#[test]
fn a_certificate_out_of_order_is_refused() {
    let (terms, headers) = (terms(), chain(45));
    let mut wrong = certificate(&terms, &headers, 0, 4);
    wrong.shares.swap(1, 2);
    assert_eq!(wrong.check(&terms, &headers).unwrap_err().rule(), "work-certificate-order");
    assert_eq!(
        Certificate::from_json(&wrong.to_json()).unwrap_err().rule(),
        "work-certificate-order"
    );
}

#[test]
fn a_share_listed_twice_is_refused() {
    let (terms, headers) = (terms(), chain(45));
    let mut wrong = certificate(&terms, &headers, 0, 4);
    wrong.shares.insert(1, wrong.shares[1].clone());
    assert_eq!(wrong.check(&terms, &headers).unwrap_err().rule(), "work-share-twice");
    assert_eq!(Certificate::from_json(&wrong.to_json()).unwrap_err().rule(), "work-share-twice");
}

#[test]
fn two_shares_with_one_header_are_refused_for_one_of_them_lies() {
    let (terms, headers) = (terms(), chain(45));
    let true_share = certificate(&terms, &headers, 0, 1).shares.remove(0);
    let mut lie = true_share.clone();
    lie.coinbase.push(0);
    let refused = Certificate::new(POSITION, 0, [true_share, lie]).unwrap_err();
    assert_eq!(refused.rule(), "work-share-twice");
}

#[test]
fn a_certificate_lists_at_most_four_times_the_expected_shares() {
    let (terms, headers) = (terms(), chain(45));
    let most = usize::try_from(terms.most_shares()).unwrap();
    assert_eq!(most, 64);
    certificate(&terms, &headers, 0, most).check(&terms, &headers).unwrap();
    let refused = certificate(&terms, &headers, 0, most + 1).check(&terms, &headers).unwrap_err();
    assert_eq!(refused.rule(), "work-certificate-count");
}

#[test]
fn a_share_of_another_slice_is_refused() {
    let (terms, headers) = (terms(), chain(45));
    let mut wrong = certificate(&terms, &headers, 0, 3);
    wrong.slice = 1;
    assert_eq!(wrong.check(&terms, &headers).unwrap_err().rule(), "work-share-slice");
    wrong.slice = 12;
    assert_eq!(wrong.check(&terms, &headers).unwrap_err().rule(), "work-share-slice");
}

#[test]
fn one_bad_share_refuses_the_certificate_and_is_named() {
    let (terms, headers) = (terms(), chain(45));
    let mut wrong = certificate(&terms, &headers, 0, 4);
    wrong.shares[2].coinbase.push(0);
    let refused = wrong.check(&terms, &headers).unwrap_err();
    assert_eq!(refused.rule(), "work-coinbase-trailing");
    assert!(refused.to_string().contains("share 2 of slice 0"), "{refused}");
}

#[test]
fn the_digest_names_position_slice_and_every_byte_of_every_share() {
    let (terms, headers) = (terms(), chain(45));
    let base = certificate(&terms, &headers, 0, 3);
    let changed = |change: &dyn Fn(&mut Certificate)| {
        let mut other = base.clone();
        change(&mut other);
        other.digest()
    };
    let all = [
        base.digest(),
        changed(&|c| c.position.0[0] ^= 1),
        changed(&|c| c.slice = 1),
        changed(&|c| c.shares.truncate(2)),
        changed(&|c| c.shares[0].header.nonce ^= 1),
        changed(&|c| c.shares[1].coinbase[9] ^= 1),
        changed(&|c| c.shares[2].branch.push(base.shares[2].header.merkle_root)),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn the_digest_does_not_depend_on_the_file() {
    let (terms, headers) = (terms(), chain(45));
    let base = certificate(&terms, &headers, 0, 3);
    let text = base.to_json();
    let compact = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [text, compact] {
        assert_eq!(Certificate::from_json(&text).unwrap().digest(), base.digest());
    }
}

#[test]
fn a_file_that_is_not_a_certificate_is_refused() {
    let text = certificate(&terms(), &chain(45), 0, 2).to_json();
    for bad in [
        String::new(),
        "[]".into(),
        text.replace("certificate 1", "certificate 2"),
        text.replace("\"slice\": 0", "\"slice\": -1"),
        text.replace("\"slice\": 0", "\"slice\": 0, \"more\": 1"),
        text.replace("\"branch\"", "\"height\": 1, \"branch\""),
        text[..text.len() / 2].to_owned(),
    ] {
        assert_eq!(Certificate::from_json(&bad).unwrap_err().rule(), "work-certificate-format");
    }
    let huge = " ".repeat(LONGEST_FILE + 1);
    assert_eq!(Certificate::from_json(&huge).unwrap_err().rule(), "work-certificate-format");
}

#[test]
fn certificates_of_one_slice_unite_and_others_do_not() {
    let (terms, headers) = (terms(), chain(45));
    let all = shares(&terms, &headers, 15, 6);
    let part = |range: std::ops::Range<usize>| {
        Certificate::new(POSITION, 0, all[range].iter().cloned()).unwrap()
    };
    let united = Certificate::unite(&[part(0..4), part(2..6)]).unwrap();
    assert_eq!(united, part(0..6));
    let elsewhere = Certificate { slice: 1, ..part(0..1) };
    let foreign = Certificate { position: PositionId([8; 32]), ..part(0..1) };
    for several in [vec![], vec![part(0..1), elsewhere], vec![part(0..1), foreign]] {
        let refused = Certificate::unite(&several).unwrap_err();
        assert_eq!(refused.rule(), "work-certificate-unite");
    }
}

#[test]
fn the_pinned_certificate_keeps_its_digest_for_ever() {
    let certificate = Certificate::from_json(GOLDEN).unwrap();
    assert_eq!(certificate.digest().to_string(), GOLDEN_DIGEST);
    assert_eq!(certificate.to_json(), GOLDEN);
    assert_eq!(certificate.check(&terms(), &chain(45)).unwrap().len(), 3);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,300}") {
        prop_assert!(Certificate::from_json(&text).is_err());
    }

    #[test]
    fn no_damage_to_a_file_makes_the_parser_panic(at in 0usize..10_000, byte in 0u8..128) {
        let mut bytes = GOLDEN.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(read) = Certificate::from_json(std::str::from_utf8(&bytes).unwrap()) {
            let _ = read.check(&terms(), &chain(30));
        }
    }
}
