//! Random ways of a seal through transactions of its holders and of strangers, against satoshis that
//! are counted one by one.

use std::sync::LazyLock;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use hashmix::flow::position::coins::retirement;
use hashmix::flow::position::dossier::Dossier;
use hashmix::flow::position::title::Standing;
use hashmix::tx::satoshi::Moved;
use proptest::prelude::*;

use crate::made::{Story, coin, follow, holder_record, transaction};

static ISSUED: LazyLock<Story> = LazyLock::new(|| Story::in_memory("rehearsal"));
/// Making a record takes a while.
static RECORDS: LazyLock<Vec<hashmix::party::Record>> =
    LazyLock::new(|| (30..38).map(holder_record).collect());

/// What the output is that gets the satoshi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Opened,
    Foreign,
    Retired,
    OpReturn,
}

/// One transaction: coins of others before and behind, what it pays out, what kind of output gets it.
#[derive(Clone, Debug)]
struct Step {
    before: Vec<u64>,
    behind: Vec<u64>,
    outputs: Vec<u64>,
    kind: Kind,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        8 => Just(Kind::Opened),
        5 => Just(Kind::Foreign),
        1 => Just(Kind::Retired),
        1 => Just(Kind::OpReturn),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let few = |range| prop::collection::vec(600u64..9_000, range);
    // More is paid out than there is often enough: then the outputs are cut.
    (few(0..3), few(0..3), prop::collection::vec(0u64..12_000, 1..5), kind())
        .prop_map(|(before, behind, outputs, kind)| Step { before, behind, outputs, kind })
}

/// A script that no other output has.
fn foreign(seed: u64) -> ScriptBuf {
    let hash = sha256::Hash::hash(&seed.to_be_bytes());
    ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::from_byte_array(hash.to_byte_array()))
}

/// Where the satoshi is by counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naive {
    Output(usize, u64),
    Fee,
}

/// Lays all satoshis in a row, marks ours, and fills the outputs one by one.
fn count(values: &[u64], input: usize, offset: u64, outputs: &[u64]) -> Naive {
    let mut row: Vec<bool> = Vec::new();
    for (place, value) in values.iter().enumerate() {
        row.extend((0..*value).map(|at| place == input && at == offset));
    }
    let mut row = row.into_iter();
    for (vout, value) in outputs.iter().enumerate() {
        for at in 0..*value {
            if row.next().expect("outputs within inputs") {
                return Naive::Output(vout, at);
            }
        }
    }
    assert!(row.any(|ours| ours), "the satoshi is somewhere");
    Naive::Fee
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_seal_is_where_counting_puts_it_and_held_by_the_last_one_named(
        steps in prop::collection::vec(step(), 1..8)
    ) {
        let story = &*ISSUED;
        let end = retirement(&story.terms).unwrap().script_pubkey;
        let mut txs: Vec<(Transaction, Option<u32>)> = story.txs.clone();
        let mut transfers = Vec::new();
        let (mut at, mut held, mut offset) = (story.issue.seal(), story.seal().1, 0u64);
        let mut seed = 0u64;
        let mut expected: Vec<Standing> = Vec::new();
        let mut named = 0u32;
        for step in &steps {
            let number = u32::try_from(expected.len()).unwrap() + 1;
            // Coins of strangers, which nobody has asked about before.
            let mut strangers = |values: &[u64], txs: &mut Vec<(Transaction, Option<u32>)>| {
                values.iter().map(|value| {
                    seed += 1;
                    let origin = OutPoint::new(Txid::from_byte_array(foreign(seed).as_bytes()[2..34].try_into().unwrap()), 0);
                    let made = transaction(&[(origin, coin(*value, foreign(seed)))], vec![coin(*value, foreign(seed + 1_000_000))]);
                    let coin = (OutPoint::new(made.compute_txid(), 0), made.output[0].clone());
                    txs.push((made, Some(100)));
                    coin
                }).collect::<Vec<(OutPoint, TxOut)>>()
            };
            let mut inputs = strangers(&step.before, &mut txs);
            let input = inputs.len();
            inputs.push((at, held.clone()));
            inputs.extend(strangers(&step.behind, &mut txs));
            let values: Vec<u64> = inputs.iter().map(|(_, out)| out.value.to_sat()).collect();
            let mut left: u64 = values.iter().sum();
            let outputs: Vec<u64> = step.outputs.iter().map(|value| {
                let value = (*value).min(left);
                left -= value;
                value
            }).collect();
            let place = count(&values, input, offset, &outputs);
            let transfer = story_transfer(story, number);
            let mut paid: Vec<TxOut> = outputs.iter().map(|value| {
                seed += 1;
                coin(*value, foreign(seed + 2_000_000))
            }).collect();
            let standing = match place {
                Naive::Fee => Standing::Fee,
                Naive::Output(vout, inside) => {
                    paid[vout].script_pubkey = match step.kind {
                        Kind::Opened => transfer.seal(&story.terms).unwrap(),
                        Kind::Foreign => paid[vout].script_pubkey.clone(),
                        Kind::Retired => end.clone(),
                        Kind::OpReturn => ScriptBuf::new_op_return([7; 4]),
                    };
                    match (step.kind, inside) {
                        (Kind::Retired, _) => Standing::Retired,
                        (Kind::OpReturn, _) => Standing::OpReturn,
                        (_, 1..) => Standing::InsideAnOutput,
                        (Kind::Opened, 0) => Standing::Held,
                        (Kind::Foreign, 0) => Standing::Unopened,
                    }
                }
            };
            let tx = transaction(&inputs, paid);
            if standing == Standing::Held {
                named = number;
                transfers.push(transfer);
            }
            expected.push(standing);
            txs.push((tx.clone(), Some(110 + number)));
            match place {
                Naive::Output(vout, inside) if !matches!(standing, Standing::Retired | Standing::OpReturn) => {
                    at = OutPoint::new(tx.compute_txid(), u32::try_from(vout).unwrap());
                    (held, offset) = (tx.output[vout].clone(), inside);
                }
                _ => break,
            }
        }
        let dossier = Dossier::new(story.terms.clone(), story.issue.clone(), transfers).unwrap();
        let title = follow(&dossier, &txs).unwrap();
        let found: Vec<Standing> = title.hops.iter().map(|hop| hop.standing).collect();
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(title.transfer, named);
        let record = match named {
            0 => &story.terms.reward.holder,
            number => &RECORDS[number as usize],
        };
        prop_assert_eq!(&title.holder, record);
        if let Some(Moved::To(place)) = title.hops.last().map(|hop| hop.moved)
            && !matches!(title.standing, Standing::Retired | Standing::OpReturn)
        {
            prop_assert_eq!((place.outpoint, place.offset.to_sat()), (at, offset));
        }
        let fit = expected.iter().all(|standing| *standing == Standing::Held);
        prop_assert_eq!(title.check().is_ok(), fit);
    }
}

fn story_transfer(story: &Story, number: u32) -> hashmix::flow::position::dossier::Transfer {
    let record = RECORDS[number as usize].clone();
    hashmix::flow::position::dossier::Transfer::new(story.position(), number, record, None)
}
