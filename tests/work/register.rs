//! Every rule of work and every attack that is known has its tests.

use std::collections::{BTreeMap, BTreeSet};

use hashmix::cli::rules;

use crate::examine::Examined;
use crate::{certificates, coinbases, farms, headers, receipts};

const AREAS: &[&[Examined]] = &[
    headers::EXAMINED,
    coinbases::EXAMINED,
    certificates::EXAMINED,
    receipts::EXAMINED,
    farms::EXAMINED,
];

/// Fewest tests in which a rule lets something pass, and in which it refuses.
const FEWEST: (usize, usize) = (1, 2);

/// The rules that keep each attack out. Some more are held by [`crate::credits`]: a part of a list
/// never has more credit than the list, the weights of a share never exceed 1, sums do not wrap.
const RULES: &[(&str, &str)] = &[
    ("work-share-parent", "a share on a block that lost a reorg, or of another chain"),
    ("work-share-slice", "a share on an old parent, or shown for another slice"),
    ("work-share-bits", "a share that states a difficulty of its own"),
    ("work-share-time", "a share with a bent clock"),
    ("work-share-version", "a version without its top bits"),
    ("work-share-network", "a share of another network"),
    ("work-coinbase-form", "a coinbase that two readers read differently"),
    ("work-coinbase-trailing", "trailing bytes: one payment under many hashes"),
    ("work-coinbase-length", "the 64-byte trick: an inner node that poses as a coinbase"),
    ("work-coinbase-input", "a transaction that is no coinbase"),
    ("work-coinbase-script", "a coinbase that no block could hold"),
    ("work-coinbase-height", "a coinbase of another height"),
    ("work-coinbase-final", "a coinbase that its own block could not hold"),
    ("work-branch-root", "a second \"coinbase\" at another leaf"),
    ("work-branch-depth", "a branch deeper than any block"),
    ("work-branch-twin", "a tree with a transaction twice"),
    ("work-pay-lock", "work that pays somebody else"),
    ("work-pay-holder", "work that pays whoever held the position before, or holds it later"),
    ("work-pay-service", "a service share out of proportion"),
    ("work-pay-total", "a total above the cap, or sums that would wrap"),
    ("work-target", "a hash that is too high for what it pays"),
    ("work-share-twice", "a share counted twice"),
    ("work-certificate-order", "an unsorted certificate"),
    ("work-certificate-count", "a certificate without end"),
    ("work-certificate-unite", "shares united with those of another slice or position"),
    ("work-certificate-format", "a truncated certificate"),
    ("work-columns-form", "a truncated certificate in columns"),
    ("work-columns-canonical", "one list of shares under many files"),
    ("work-columns-size", "a small file that fills the reader's memory"),
    ("work-columns-same", "the shares of one position in the name of another"),
    ("work-receipt-signature", "a receipt in another's name, or dated back"),
    ("work-receipt-validator", "a receipt of a stranger"),
    ("test-sealed-in-time", "a receipt that came too late"),
    ("work-farm-lock", "two positions in one coinbase with one lock"),
    ("work-farm-apart", "an output that counts for two positions"),
    ("work-farm-stakes", "a farm that pays nobody"),
    ("work-farm-script", "a payment that nobody can spend"),
    ("work-farm-part", "a position that gets nothing"),
    ("work-farm-length", "a coinbase that firmware cuts off"),
];

/// What the rules of shares, certificates, receipts and farms begin with.
const AREAS_OF_RULES: &[&str] = &[
    "work-share-",
    "work-coinbase-",
    "work-branch-",
    "work-pay-",
    "work-target",
    "work-certificate-",
    "work-columns-",
    "work-receipt-",
    "work-farm-",
];

/// Rules among them that are about a file or a command beside: they are tested beside their code.
const ELSEWHERE: &[&str] =
    &["work-receipt-format", "work-certificate-position", "work-certificate-receipt"];

fn examined() -> BTreeMap<&'static str, &'static Examined> {
    AREAS.iter().flat_map(|area| area.iter()).map(|one| (one.rule.id, one)).collect()
}

#[test]
fn every_attack_has_one_test_that_accepts_and_two_that_refuse() {
    let examined = examined();
    for (rule, attack) in RULES {
        let one = examined.get(rule).unwrap_or_else(|| panic!("{rule}: nobody tries {attack}"));
        assert!(one.accepts.len() >= FEWEST.0 && one.refuses.len() >= FEWEST.1, "{rule}: {attack}");
    }
}

#[test]
fn what_is_examined_is_listed_and_no_test_stands_for_two() {
    let listed: BTreeSet<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(listed.len(), RULES.len());
    assert_eq!(listed, examined().into_keys().collect());
    for one in examined().values() {
        let names: BTreeSet<&str> = one.accepts.iter().chain(one.refuses).copied().collect();
        assert_eq!(names.len(), one.accepts.len() + one.refuses.len(), "{}", one.rule.id);
    }
}

#[test]
fn every_rule_of_work_is_examined_here_or_beside_its_code() {
    let examined = examined();
    let missing: Vec<&str> = rules::all()
        .into_iter()
        .map(|rule| rule.id)
        .filter(|id| AREAS_OF_RULES.iter().any(|start| id.starts_with(start)))
        .filter(|id| !examined.contains_key(id) && !ELSEWHERE.contains(id))
        .collect();
    assert!(missing.is_empty(), "examine them, or say where they are: {missing:?}");
}
