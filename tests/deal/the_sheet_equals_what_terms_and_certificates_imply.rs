//! The deal is played once for each variant. Then somebody who was not there takes the files that
//! the people exchanged and the blocks, recomputes from them what everybody must hold, and compares
//! it with the wallets, to the satoshi.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::OnceLock;

use bitcoin::{Amount, Network, Txid};
use hashmix::chain::electrum::Electrum;
use hashmix::engine::Sent;
use hashmix::facts::Facts;
use hashmix::flow::escrow::outcome::yardstick;
use hashmix::flow::word::Word;
use hashmix::flow::{Contract, Event, reward};
use hashmix::party::Seat;
use hashmix::rehearsal::deal::{Ending, LAST_BLOCK, RATE, Trouble, play};
use hashmix::rehearsal::ledger::Side;
use hashmix::rehearsal::world::chosen;
use hashmix::script::lock::Path;
use hashmix::script::template::Variant;
use hashmix::work::evidence::{Evidence, SealedCertificate};
use hashmix::work::receipt::Subject;
use hashmix::work::verdict::{Measure, verdict};

struct Played {
    ending: Ending,
    words: Vec<Word>,
    facts: Facts,
}

/// Plays the deal; the node and the people are gone afterwards, files and facts stay.
fn played(variant: Variant) -> Played {
    let node = chosen().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ending = play(&*node, variant, Trouble::default(), dir.path(), &mut |_| {})
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(node.height().unwrap(), LAST_BLOCK);
    let words = dossier(dir.path(), &["holder", "validator-0"]);
    let contract = Contract::new(ending.terms.clone()).unwrap();
    let chain = Electrum::connect(&node.electrum_url(), Network::Regtest).unwrap();
    let facts = chain.facts(contract.scripts(), contract.headers_from()).unwrap();
    Played { ending, words, facts }
}

fn musig() -> &'static Played {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    PLAYED.get_or_init(|| played(Variant::Musig))
}

/// The words that lie in the dossiers of these people.
fn dossier(dir: &FilePath, people: &[&str]) -> Vec<Word> {
    let mut words = Vec::new();
    for person in people {
        let folder = dir.join("messages").join(person).join("dossier");
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            if let Ok(word) = Word::from_json(&text)
                && !words.contains(&word)
            {
                words.push(word);
            }
        }
    }
    words
}

/// Certificates and receipts out of the files, each word verified.
fn evidence(played: &Played) -> Evidence {
    let terms = &played.ending.terms;
    let mut certificates = Vec::new();
    let mut receipts = Vec::new();
    for word in &played.words {
        word.verify(terms).unwrap();
        match &word.event {
            Event::Reward(reward::state::Event::Certified(certificate)) => {
                certificates.push(certificate.clone());
            }
            Event::Reward(reward::state::Event::Receipted(receipt)) => {
                receipts.push(receipt.clone())
            }
            _ => {}
        }
    }
    let sealed = certificates.into_iter().map(|certificate| {
        let subject =
            Subject::Certificate { slice: certificate.slice, digest: certificate.digest() };
        let of_it = receipts.iter().filter(|receipt| receipt.subject == subject);
        SealedCertificate { receipts: of_it.cloned().collect(), certificate }
    });
    Evidence::new(terms.position().unwrap()).with(sealed.collect())
}

fn earned_through(played: &Played, period: u32) -> Amount {
    let terms = &played.ending.terms;
    let yardstick = yardstick(terms).unwrap();
    let measure = Measure {
        yardstick: &yardstick,
        price: terms.price,
        k: 2,
        headers: &played.facts.headers,
        proofs: &BTreeMap::new(),
    };
    verdict(&measure, period, &evidence(played)).unwrap().earned()
}

fn sent<'a>(played: &'a Played, title: &str) -> &'a Sent {
    let mut found = played.ending.sent.iter().filter(|(_, sent)| sent.title == title);
    let (_, sent) = found.next().unwrap_or_else(|| panic!("no {title}"));
    assert!(found.next().is_none(), "two transactions called {title}");
    sent
}

fn fee(sent: &Sent) -> Amount {
    Amount::from_sat(sent.tx.vsize() as u64 * RATE)
}

fn left(played: &Played, who: &str) -> Amount {
    played.ending.ledger.accounts.iter().find(|account| account.who == who).unwrap().left
}

#[test]
fn three_full_periods_earn_three_installments_and_a_half_one_less_than_a_whole() {
    let installment = Amount::from_sat(10_000_000);
    assert_eq!(earned_through(musig(), 2), installment * 3);
    let fourth = earned_through(musig(), 3).checked_sub(installment * 3).unwrap();
    assert!(fourth > installment / 4 && fourth < installment, "{fourth}");
    assert_eq!(earned_through(musig(), 5), earned_through(musig(), 3));
}

#[test]
fn the_miner_holds_what_terms_and_certificates_imply() {
    let played = musig();
    let service: Amount = played
        .facts
        .transactions
        .values()
        .filter(|seen| seen.tx.is_coinbase())
        .map(|seen| {
            let total: Amount = seen.tx.output.iter().map(|out| out.value).sum();
            Amount::from_sat((u128::from(total.to_sat()) * 300_000 / 1_000_000) as u64)
        })
        .sum();
    let earned = earned_through(played, 5);
    let costs = fee(sent(played, "settlement")) + fee(sent(played, "ruling"));
    let ruling_fee = Amount::from_sat(20_000);
    assert_eq!(left(played, "miner"), service + earned - costs - ruling_fee);
}

#[test]
fn the_holder_holds_his_first_coins_less_what_was_earned_and_the_rewards() {
    let played = musig();
    let lock = reward::coins::lock(&played.ending.terms.reward).unwrap().script_pubkey;
    let rewards: Amount = played.facts.coins(&lock).iter().map(|coin| coin.txout.value).sum();
    let earned = earned_through(played, 5);
    // The wallet signs the sale, so its fee is what the library's own estimate made of 2 sat/vB.
    let sale = sent(played, "sale").fee;
    let costs = sale + fee(sent(played, "closing ruling")) + fee(sent(played, "sweep"));
    let first = Amount::from_int_btc(50);
    let ruling_fee = Amount::from_sat(20_000);
    assert_eq!(left(played, "holder"), first + rewards - earned - costs - ruling_fee);
}

#[test]
fn the_federation_holds_two_ruling_fees_and_nothing_else() {
    assert_eq!(left(musig(), "federation"), Amount::from_sat(40_000));
}

#[test]
fn every_account_balances_and_all_accounts_together_hold_what_was_minted() {
    let ledger = &musig().ending.ledger;
    assert!(ledger.balances().unwrap());
    for account in &ledger.accounts {
        assert!(account.total(Side::In).unwrap() >= account.left, "{}", account.who);
    }
}

#[test]
fn one_settlement_pays_three_periods_through_the_key_path() {
    let settlement = sent(musig(), "settlement");
    assert_eq!(settlement.path, Path::Key);
    assert_eq!(settlement.signers, [Seat::Miner, Seat::Holder]);
    // 57.5 vB for the input, 43 for each output, 10.5 for the rest.
    assert_eq!(settlement.tx.weight().to_wu(), 230 + 2 * 172 + 42);
    assert_eq!(settlement.tx.lock_time.to_consensus_u32(), 155 + 5);
}

#[test]
fn two_validators_of_three_rule_with_the_side_that_asked() {
    for (title, path, side) in [
        ("ruling", Path::MinerRuling, Seat::Miner),
        ("closing ruling", Path::HolderRuling, Seat::Holder),
        ("sweep", Path::HolderRuling, Seat::Holder),
    ] {
        let sent = sent(musig(), title);
        assert_eq!(sent.path, path);
        let validators =
            sent.signers.iter().filter(|seat| matches!(seat, Seat::Validator(_))).count();
        assert_eq!(validators, 2, "{title}: {:?}", sent.signers);
        assert!(sent.signers.contains(&side), "{title}: {:?}", sent.signers);
    }
}

#[test]
fn everything_that_was_sent_is_in_the_chain_and_nothing_is_left_in_a_lock() {
    let played = musig();
    let contract = Contract::new(played.ending.terms.clone()).unwrap();
    for (_, sent) in &played.ending.sent {
        let seen = played.facts.transactions.get(&sent.tx.compute_txid()).unwrap();
        assert!(seen.height.is_some(), "{}", sent.title);
    }
    for script in contract.scripts() {
        let unspent = played.facts.coins(script).into_iter().filter(|coin| coin.spender.is_none());
        assert_eq!(unspent.count(), 0);
    }
}

#[test]
fn a_second_run_makes_the_same_transactions() {
    let txids = |played: &Played| -> Vec<Txid> {
        played.ending.sent.iter().map(|(_, sent)| sent.tx.compute_txid()).collect()
    };
    assert_eq!(txids(&played(Variant::Musig)), txids(musig()));
}

#[test]
fn without_a_key_path_the_same_deal_ends_in_a_sheet_that_balances() {
    let played = played(Variant::Nums);
    assert!(played.ending.ledger.balances().unwrap());
    assert_eq!(sent(&played, "settlement").path, Path::Agreed);
    let earned = earned_through(&played, 5);
    let costs = fee(sent(&played, "settlement")) + fee(sent(&played, "ruling"));
    let account = &played.ending.ledger.accounts[0];
    let service = account.entries[0].amount;
    assert_eq!(account.left, service + earned - costs - Amount::from_sat(20_000));
}
