//! What a reorg took away: what blocks held when we looked last, beside what they hold now.
//!
//! This is for people, and against servers that hide. Nothing is decided by it: decisions follow
//! from the facts of now alone.

use core::fmt;
use std::collections::BTreeMap;

use bitcoin::{BlockHash, Transaction, Txid};

use super::Facts;
use crate::error::{Culprit, Result, Rule};

/// A transaction stays in its block.
pub const OMITTED: Rule = Rule::new(
    "chain-omitted",
    "a transaction that a block held is in it as long as that block is in the chain",
    "ask another server; this one hides transactions",
);

/// A transaction and the block that held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mined {
    /// The whole transaction.
    pub tx: Transaction,
    /// Height of the block.
    pub height: u32,
    /// Hash of the block.
    pub block: BlockHash,
}

/// A transaction that was in a block when we looked last, and is in none now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The transaction.
    pub txid: Txid,
    /// Height of the block that held it.
    pub height: u32,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a transaction whose block left the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits for another block.
    Waits,
    /// It was the coinbase of that block: no other block can ever hold it.
    Void,
    /// It spends, directly or through others, this coinbase, which is void; so it is void too.
    Hangs(Txid),
    /// It is in no block and waits nowhere: replaced, conflicting, or not passed on. It may return.
    Missing,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { txid, height, fate } = self;
        match fate {
            Fate::Waits => {
                write!(f, "transaction {txid} left its block at height {height} and waits again")
            }
            Fate::Void => write!(
                f,
                "coinbase {txid} of height {height} left the chain: what it paid is gone for ever"
            ),
            Fate::Hangs(coinbase) => write!(
                f,
                "transaction {txid} of height {height} is void: it spent coinbase {coinbase}, \
                 which left the chain"
            ),
            Fate::Missing => write!(
                f,
                "transaction {txid} left its block at height {height}, and our server knows of no \
                 other place"
            ),
        }
    }
}

/// Refuses facts that lack a transaction of `before` although its block is still in the chain: then
/// the server hides it. `active` tells the hash of the chain's block at a height.
pub fn refuse_omission(
    before: &BTreeMap<Txid, Mined>,
    now: &Facts,
    active: impl Fn(u32) -> Option<BlockHash>,
) -> Result<()> {
    for (txid, mined) in before {
        let found = now.transactions.get(txid).and_then(|seen| seen.height);
        if found == Some(mined.height) || active(mined.height) != Some(mined.block) {
            continue;
        }
        return Err(OMITTED.refuses(
            Culprit::Server,
            format_args!("transaction {txid}"),
            format_args!("block {} at height {}", mined.block, mined.height),
            found.map_or_else(|| "no block".to_owned(), |height| format!("height {height}")),
        ));
    }
    Ok(())
}

/// Those of the transactions `before` that no block holds `now`: lowest block first, and within a
/// block by txid.
pub fn departures(before: &BTreeMap<Txid, Mined>, now: &Facts) -> Vec<Departure> {
    let fate = |txid: &Txid, seen: &Mined| match now.transactions.get(txid) {
        Some(found) if found.height.is_some() => None,
        Some(_) => Some(Fate::Waits),
        None if seen.tx.is_coinbase() => Some(Fate::Void),
        None => Some(Fate::Missing),
    };
    let mut gone: Vec<Departure> = before
        .iter()
        .filter_map(|(txid, seen)| {
            let (txid, height) = (*txid, seen.height);
            Some(Departure { txid, height, fate: fate(&txid, seen)? })
        })
        .collect();
    gone.sort_by_key(|departure| (departure.height, departure.txid));
    let mut void: BTreeMap<Txid, Txid> = gone
        .iter()
        .filter(|departure| departure.fate == Fate::Void)
        .map(|departure| (departure.txid, departure.txid))
        .collect();
    // A spender may lie in the same block as what it spends, whatever their txids: look again until
    // nothing more is found.
    let mut found = !void.is_empty();
    while found {
        found = false;
        for departure in gone.iter_mut().filter(|departure| departure.fate == Fate::Missing) {
            let inputs = before.get(&departure.txid).map(|seen| &seen.tx.input);
            let root = inputs
                .into_iter()
                .flatten()
                .find_map(|input| void.get(&input.previous_output.txid).copied());
            if let Some(coinbase) = root {
                departure.fate = Fate::Hangs(coinbase);
                void.insert(departure.txid, coinbase);
                found = true;
            }
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::constants::genesis_block;
    use bitcoin::hashes::Hash;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxOut};

    use super::*;
    use crate::facts::Seen;
    use crate::headers::Headers;

    fn spend(outpoint: OutPoint, mark: u64) -> Transaction {
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn { previous_output: outpoint, ..TxIn::default() }],
            output: vec![TxOut { value: Amount::from_sat(mark), script_pubkey: ScriptBuf::new() }],
        }
    }

    fn seen(txs: &[(&Transaction, Option<u32>)]) -> BTreeMap<Txid, Seen> {
        txs.iter()
            .map(|(tx, height)| {
                (tx.compute_txid(), Seen { tx: Transaction::clone(tx), height: *height })
            })
            .collect()
    }

    fn block(height: u32) -> BlockHash {
        BlockHash::hash(&height.to_le_bytes())
    }

    fn mined(txs: &[(&Transaction, u32)]) -> BTreeMap<Txid, Mined> {
        let mined =
            |tx: &Transaction, height| Mined { tx: tx.clone(), height, block: block(height) };
        txs.iter().map(|(tx, height)| (tx.compute_txid(), mined(tx, *height))).collect()
    }

    fn facts(txs: &[(&Transaction, Option<u32>)]) -> Facts {
        let genesis = genesis_block(Network::Regtest).header;
        let headers = Headers::new(Network::Regtest, 0, vec![genesis]).unwrap();
        Facts { headers, transactions: seen(txs) }
    }

    #[test]
    fn a_coinbase_that_left_is_void_with_all_that_hung_on_it() {
        let coinbase = spend(OutPoint::null(), 1);
        let child = spend(OutPoint::new(coinbase.compute_txid(), 0), 2);
        let grandchild = spend(OutPoint::new(child.compute_txid(), 0), 3);
        let other =
            spend(OutPoint::new(genesis_block(Network::Regtest).txdata[0].compute_txid(), 0), 4);
        let before = mined(&[(&coinbase, 10), (&child, 110), (&grandchild, 110), (&other, 111)]);
        let root = coinbase.compute_txid();
        let fates: BTreeMap<Txid, Fate> = departures(&before, &facts(&[]))
            .into_iter()
            .map(|departure| (departure.txid, departure.fate))
            .collect();
        assert_eq!(fates[&root], Fate::Void);
        assert_eq!(fates[&child.compute_txid()], Fate::Hangs(root));
        assert_eq!(fates[&grandchild.compute_txid()], Fate::Hangs(root));
        assert_eq!(fates[&other.compute_txid()], Fate::Missing, "it hangs on nothing void");
    }

    #[test]
    fn what_waits_again_has_left_and_what_moved_to_another_block_has_not() {
        let (waits, moved) = (spend(OutPoint::null(), 1), spend(OutPoint::null(), 2));
        let mut waits = waits;
        waits.input[0].previous_output.vout = 7;
        let before = mined(&[(&waits, 5), (&moved, 6)]);
        let now = facts(&[(&waits, None), (&moved, Some(9))]);
        let txid = waits.compute_txid();
        assert_eq!(departures(&before, &now), [Departure { txid, height: 5, fate: Fate::Waits }]);
        assert!(departures(&before, &facts(&[(&waits, Some(5)), (&moved, Some(6))])).is_empty());
    }

    #[test]
    fn departures_come_in_the_order_of_their_blocks() {
        let txs: Vec<Transaction> = (0..20).map(|mark| spend(OutPoint::null(), mark)).collect();
        let all: Vec<_> = txs.iter().zip((1..=20).rev()).collect();
        let heights: Vec<u32> = departures(&mined(&all), &facts(&[]))
            .iter()
            .map(|departure| departure.height)
            .collect();
        assert_eq!(heights, (1..=20).collect::<Vec<u32>>());
    }

    #[test]
    fn what_its_block_still_holds_cannot_be_missing() {
        let (one, other) = (spend(OutPoint::null(), 1), spend(OutPoint::null(), 2));
        let before = mined(&[(&one, 5), (&other, 6)]);
        let active = |height| Some(block(height));
        let told = |facts: &Facts| refuse_omission(&before, facts, active);
        told(&facts(&[(&one, Some(5)), (&other, Some(6))])).unwrap();
        // Hidden, said to wait again, or put elsewhere: its block stands, so it is a lie.
        let lies = [vec![], vec![(&one, None)], vec![(&one, Some(7))]];
        for lie in lies {
            let all: Vec<_> = lie.into_iter().chain([(&other, Some(6))]).collect();
            let error = told(&facts(&all)).unwrap_err();
            assert_eq!((error.rule(), error.exit_code()), ("chain-omitted", 3));
            assert!(error.to_string().contains(&one.compute_txid().to_string()), "{error}");
        }
        // After a reorg it is no lie; and beyond what we know nothing is claimed.
        let elsewhere = |_| Some(block(77));
        refuse_omission(&before, &facts(&[]), elsewhere).unwrap();
        refuse_omission(&before, &facts(&[]), |_| None).unwrap();
    }

    #[test]
    fn each_fate_is_one_line_that_names_transaction_and_height() {
        let txid = spend(OutPoint::null(), 1).compute_txid();
        for fate in [Fate::Waits, Fate::Void, Fate::Hangs(txid), Fate::Missing] {
            let line = Departure { txid, height: 151, fate }.to_string();
            assert!(line.contains(&txid.to_string()) && line.contains("151"), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
    }
}
