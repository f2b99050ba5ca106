//! False dossiers, named by their fault, each refused by its rule.
//!
//! `fixtures/dossier/good` is a true one: a position sold, settled, sold again and handed on, with the
//! transactions that the chain holds of it. Beside it lies a folder for each fault, with those files
//! alone that differ, and `verdict.json`: the rule, the federation that a buyer pinned, and which files
//! are missing. All are made here, and the pinned ones are held to it: HASHMIX_FIXTURES=write writes
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bitcoin::consensus::encode::{deserialize_hex, serialize_hex};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, Txid};
use hashmix::error::Result;
use hashmix::flow::position::coins::{POSTAGE, retirement};
use hashmix::flow::position::dossier::{Dossier, Issue, Transfer};
use hashmix::flow::position::terms::PositionTerms;
use hashmix::flow::position::title::{Issued, Title};
use hashmix::id::RecordId;
use hashmix::work::agreement::Earlier;
use serde_json::{Value, json};

use crate::made::{Story, anybody, coin, follow, holder_record, miner_record, terms};

/// A dossier as files, and what a buyer says to it.
struct Case {
    name: &'static str,
    files: BTreeMap<String, String>,
    federation: RecordId,
    rule: &'static str,
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

/// The files of a story.
fn files(story: &Story) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        ("position.json".to_owned(), story.terms.to_json().unwrap()),
        ("issue.json".to_owned(), story.issue.to_json().unwrap()),
    ]);
    for transfer in &story.transfers {
        files.insert(name(transfer.number), transfer.to_json().unwrap());
    }
    let chain: Vec<Value> = story
        .txs
        .iter()
        .map(|(tx, height)| json!({ "height": height, "tx": serialize_hex(tx) }))
        .collect();
    files.insert("chain.json".to_owned(), pretty(&Value::Array(chain)));
    files
}

fn name(number: u32) -> String {
    format!("transfers/{number:04}.json")
}

/// What a buyer makes of the files.
fn read(files: &BTreeMap<String, String>, federation: RecordId) -> Result<Title> {
    let terms = PositionTerms::from_json(&files["position.json"])?;
    let issue = Issue::from_json(&files["issue.json"])?;
    let transfers = files.iter().filter(|(name, _)| name.starts_with("transfers/"));
    let transfers =
        transfers.map(|(_, text)| Transfer::from_json(text)).collect::<Result<Vec<_>>>()?;
    Issued::check_federation(&terms, federation)?;
    let dossier = Dossier::new(terms, issue, transfers)?;
    let chain: Vec<Value> = serde_json::from_str(&files["chain.json"]).unwrap();
    let txs: Vec<(Transaction, Option<u32>)> = chain
        .iter()
        .map(|one| {
            let height = one["height"].as_u64().map(|height| u32::try_from(height).unwrap());
            (deserialize_hex(one["tx"].as_str().unwrap()).unwrap(), height)
        })
        .collect();
    let title = follow(&dossier, &txs)?;
    title.check()?;
    Ok(title)
}

/// Issued, sold, settled, sold again, handed on. Many signatures: it is made once.
static GOOD: LazyLock<Story> = LazyLock::new(|| {
    let mut story = Story::in_memory("rehearsal");
    story.sell(1, 60_000_000, 0);
    story.settle(10_000_000);
    story.resell(2, story.resale(40_000_000, 2, 3));
    story.hand_to(3);
    story
});

fn good() -> Story {
    GOOD.clone()
}

/// The first sale alone.
fn sold() -> Story {
    let mut story = Story::in_memory("rehearsal");
    story.sell(1, 60_000_000, 0);
    story
}

fn federation() -> RecordId {
    terms("rehearsal").issuer.id().unwrap()
}

/// A fault in the documents of a true dossier.
fn told(name: &'static str, rule: &'static str, change: impl Fn(&mut Story)) -> Case {
    let mut story = good();
    change(&mut story);
    Case { name, files: files(&story), federation: federation(), rule }
}

/// A fault in a file's text.
fn written(
    name: &'static str,
    rule: &'static str,
    file: &str,
    change: impl Fn(&mut Value),
) -> Case {
    let mut case = told(name, rule, |_| ());
    let mut value: Value = serde_json::from_str(&case.files[file]).unwrap();
    change(&mut value);
    case.files.insert(file.to_owned(), pretty(&value));
    case
}

/// A fault in what was done.
fn done(name: &'static str, rule: &'static str, story: &Story) -> Case {
    Case { name, files: files(story), federation: federation(), rule }
}

/// The issue as a server hands it out, with another witness: its txid is the same.
fn witness(name: &'static str, change: impl Fn(&mut Vec<Vec<u8>>)) -> Case {
    told(name, "title-signed", |story| {
        let input = &mut story.txs[1].0.input[0];
        let mut items = input.witness.to_vec();
        change(&mut items);
        input.witness = items.into();
    })
}

fn documents() -> Vec<Case> {
    let first = |story: &mut Story, change: &dyn Fn(&mut Transfer)| change(&mut story.transfers[0]);
    vec![
        told("refuse_swapped_record", "title-opens", |story| {
            first(story, &|transfer| transfer.record = holder_record(9));
        }),
        told("refuse_other_price", "title-opens", |story| {
            first(story, &|t| t.sale.as_mut().unwrap().price = Amount::from_sat(50_000_000));
        }),
        told("refuse_other_first_period", "title-opens", |story| {
            first(story, &|transfer| transfer.sale.as_mut().unwrap().first = 1);
        }),
        told("refuse_other_lock_before", "title-opens", |story| {
            let sale = story.transfers[1].sale.as_mut().unwrap();
            sale.earlier[0].until = 4;
        }),
        told("refuse_left_out_sale", "title-opens", |story| {
            first(story, &|transfer| transfer.sale = None);
        }),
        told("refuse_transfer_number", "title-opens", |story| story.transfers[2].number = 4),
        told("refuse_transfer_that_never_was", "title-opens", |story| {
            let transfer = Transfer::new(story.position(), 4, holder_record(9), None);
            story.transfers.push(transfer);
        }),
        told("refuse_hidden_transfer", "title-unopened", |story| {
            story.transfers.pop();
        }),
        told("refuse_hidden_transfer_between", "title-unopened", |story| {
            story.transfers.remove(1);
        }),
        two_holders(),
        told("refuse_transfer_of_another_position", "title-position", |story| {
            first(story, &|transfer| transfer.position.0[0] ^= 1);
        }),
        told("refuse_transfer_without_position", "title-position", |story| {
            story.transfers[2].position.0 = [0; 32];
        }),
        told("refuse_transfer_number_zero", "title-numbers", |story| story.transfers[0].number = 0),
        told("refuse_record_used_twice", "record-distinct", |story| {
            story.transfers[2].record = holder_record(1);
        }),
        told("refuse_changed_record", "message-text", |story| {
            let other = holder_record(9).record.payout;
            first(story, &|transfer| transfer.record.record.payout = other.clone());
        }),
        told("refuse_record_of_another_seat", "record-role", |story| {
            let miner = story.terms.reward.miner.clone();
            first(story, &|transfer| transfer.record = miner.clone());
        }),
        told("refuse_other_terms", "title-issued", |story| story.terms.efficiency = 1_700),
        told("refuse_other_funding_value", "title-signed", |story| {
            story.issue.value = Amount::from_sat(story.issue.value.to_sat() + 1);
        }),
        told("refuse_other_funding", "title-issued", |story| story.issue.funding.vout = 1),
        told("refuse_issue_that_never_was", "title-issued", |story| {
            story.issue.txid = Txid::from_byte_array([3; 32]);
            for transfer in &mut story.transfers {
                transfer.position = story.issue.position();
            }
        }),
        written("refuse_unknown_field", "title-form", "issue.json", |issue| {
            issue["blessed"] = json!(true);
        }),
        written("refuse_other_format", "title-form", &name(1), |transfer| {
            transfer["format"] = json!("hashmix transfer 2");
        }),
        told("refuse_unconfirmed_issue", "title-confirmed", |story| {
            story.txs.truncate(2);
            story.txs[1].1 = None;
            story.transfers.clear();
        }),
        told("refuse_unconfirmed_issue_with_transfers", "title-confirmed", |story| {
            story.txs.iter_mut().for_each(|(_, height)| *height = None);
        }),
        witness("refuse_unsigned_issue", |items| items[0].clear()),
        witness("refuse_forged_signature", |items| items[0][10] ^= 1),
        witness("refuse_moved_signature", |items| items.swap(0, 1)),
        witness("refuse_issue_without_leaf", |items| items.truncate(1)),
        witness("refuse_issue_of_another_leaf", |items| {
            let place = items.len() - 2;
            items[place] = vec![0x51];
        }),
    ]
}

/// Two transfers for one move: only one of them can be true, and the dossier holds both.
fn two_holders() -> Case {
    let mut case = told("refuse_two_holders", "title-numbers", |_| ());
    let story = good();
    let other = Transfer { record: holder_record(9), ..story.transfers[2].clone() };
    case.files.insert("transfers/0003_other.json".to_owned(), other.to_json().unwrap());
    case
}

/// Moves the seal of a position that was sold once, and claims that the move was to somebody.
fn strayed(
    name: &'static str,
    rule: &'static str,
    before: bool,
    outputs: impl Fn(ScriptBuf) -> Vec<bitcoin::TxOut>,
    claimed: bool,
) -> Case {
    let mut story = sold();
    let transfer = story.transfer(4, None);
    let script = transfer.seal(&story.terms).unwrap();
    let inputs = match before {
        true => [story.spare(), story.seal()],
        false => [story.seal(), story.spare()],
    };
    story.moves(&inputs, outputs(script), None);
    if claimed {
        story.transfers.push(transfer);
    }
    done(name, rule, &story)
}

fn deeds() -> Vec<Case> {
    let end = retirement(&terms("rehearsal")).unwrap().script_pubkey;
    let rest = || coin(99_000_000, anybody());
    let mut stolen = sold();
    let somebody =
        ScriptBuf::new_p2tr_tweaked(bitcoin::key::TweakedPublicKey::dangerous_assume_tweaked(
            stolen.terms.reward.miner.record.communication,
        ));
    let mut sale = stolen.resale(60_000_000, 0, 3);
    sale.earlier = vec![Earlier { until: 3, lock: somebody }];
    stolen.resell(2, sale);
    let mut too_early = Story::in_memory("rehearsal");
    too_early.sell(1, 60_000_000, 2);
    too_early.resell(2, too_early.resale(60_000_000, 1, 3));
    let foreign = Story::in_memory("another");
    vec![
        done("refuse_foreign_federation", "title-federation", &foreign),
        done("refuse_lock_of_a_stranger", "title-locks", &stolen),
        done("refuse_contract_before_the_last", "title-locks", &too_early),
        strayed(
            "refuse_moved_inside",
            "title-lost",
            true,
            |_| vec![coin(100_005_000, anybody())],
            false,
        ),
        strayed(
            "refuse_opened_inside",
            "title-opens",
            true,
            |seal| vec![coin(100_005_000, seal)],
            true,
        ),
        strayed("refuse_fee", "title-lost", true, |_| vec![coin(99_000_000, anybody())], false),
        strayed(
            "refuse_op_return",
            "title-lost",
            false,
            |_| vec![coin(10_000, ScriptBuf::new_op_return([7; 8])), rest()],
            false,
        ),
        strayed(
            "refuse_second_output",
            "title-opens",
            false,
            |seal| vec![coin(10_000, anybody()), coin(10_000, seal), rest()],
            true,
        ),
        strayed(
            "refuse_retired",
            "title-retired",
            false,
            |_| vec![coin(POSTAGE.to_sat(), end.clone()), rest()],
            false,
        ),
        strayed(
            "refuse_retired_inside",
            "title-retired",
            true,
            |_| vec![coin(100_005_000, end.clone())],
            false,
        ),
        strayed(
            "refuse_transfer_after_the_end",
            "title-opens",
            false,
            |_| vec![coin(POSTAGE.to_sat(), end.clone()), rest()],
            true,
        ),
    ]
}

fn batches() -> Vec<Case> {
    let story = || {
        let mut other = terms("rehearsal");
        other.reward.miner = miner_record(1);
        other.reward.holder = holder_record(21);
        let batch = vec![terms("rehearsal"), other];
        let source = OutPoint::new(Txid::from_byte_array([7; 32]), 0);
        Story::batch("rehearsal", source, Amount::from_sat(5_000_000_000), batch, 0)
    };
    let hash = sha256::Hash::from_byte_array([9; 32]);
    let case = |name, rule, change: &dyn Fn(&mut Story)| {
        let mut story = story();
        change(&mut story);
        done(name, rule, &story)
    };
    vec![
        case("refuse_batch_hash", "title-issued", &|story| story.issue.batch[1] = hash),
        case("refuse_batch_place", "title-batch", &|story| story.issue.place = 1),
        case("refuse_batch_of_others", "title-batch", &|story| story.issue.batch[0] = hash),
        case("refuse_batch_cut_short", "title-batch", &|story| story.issue.batch.truncate(1)),
        case("refuse_batch_in_another_order", "title-batch", &|story| story.issue.batch.reverse()),
    ]
}

static ALL: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut all = documents();
    all.extend(deeds());
    all.extend(batches());
    all
});

#[test]
fn every_false_dossier_is_refused_by_the_rule_that_it_breaks() {
    assert!(ALL.len() >= 15);
    for case in &*ALL {
        match read(&case.files, case.federation) {
            Ok(title) => panic!("{}: held by transfer {}", case.name, title.transfer),
            Err(error) => assert_eq!(error.rule(), case.rule, "{}: {error}", case.name),
        }
    }
}

#[test]
fn the_true_dossier_beside_them_verifies() {
    let title = read(&files(&good()), federation()).unwrap();
    assert_eq!((title.transfer, title.holder), (3, holder_record(3)));
    let sold: Vec<u32> = title.sold.iter().map(|sold| sold.number).collect();
    assert_eq!((sold, title.void.len()), (vec![1, 2], 0));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dossier")
}

/// Every file below a folder, by its path there.
fn below(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let inner = below(&path);
            found.extend(inner.into_iter().map(|(file, text)| (format!("{name}/{file}"), text)));
        } else {
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// What of a case lies in its folder: the files that differ from the good ones, and the verdict.
fn pinned(case: &Case, good: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let differs = |(name, text): &(&String, &String)| good.get(*name) != Some(*text);
    let changed = case.files.iter().filter(differs);
    let mut pinned: BTreeMap<String, String> =
        changed.map(|(name, text)| (name.clone(), text.clone())).collect();
    let missing: Vec<&String> =
        good.keys().filter(|name| !case.files.contains_key(*name)).collect();
    let verdict = json!({ "rule": case.rule, "federation": case.federation, "without": missing });
    pinned.insert("verdict.json".to_owned(), pretty(&verdict));
    pinned
}

fn write(folder: &Path, files: &BTreeMap<String, String>) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn pinned_dossiers_are_those_that_are_made_and_are_judged_alike_for_ever() {
    let good = files(&good());
    if std::env::var_os("HASHMIX_FIXTURES").is_some_and(|how| how == "write") {
        std::fs::remove_dir_all(folder()).unwrap();
        write(&folder().join("good"), &good);
        for case in &*ALL {
            write(&folder().join(case.name), &pinned(case, &good));
        }
    }
    let kept = below(&folder().join("good"));
    assert!(kept == good, "fixtures/dossier/good is not what is made");
    read(&kept, federation()).unwrap();
    let mut known = vec!["good".to_owned()];
    for case in &*ALL {
        let path = folder().join(case.name);
        let found = below(&path);
        assert!(found == pinned(case, &good), "{} is not what is made", case.name);
        // Judged by what lies there, and by nothing else.
        let verdict: Value = serde_json::from_str(&found["verdict.json"]).unwrap();
        let mut whole = kept.clone();
        whole.extend(found);
        for missing in verdict["without"].as_array().unwrap() {
            whole.remove(missing.as_str().unwrap());
        }
        let federation = serde_json::from_value(verdict["federation"].clone()).unwrap();
        let refused = read(&whole, federation).unwrap_err();
        assert_eq!(refused.rule(), verdict["rule"].as_str().unwrap(), "{}", case.name);
        known.push(case.name.to_owned());
    }
    let mut there: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    known.sort();
    assert_eq!(there, known);
}
