//! Headers on the disk: appended in runs, read back into a guard.
//!
//! A run is a row: 48 bytes for each header and some 120 for the row. Mainnet's headers take about
//! 45 MB when they are read from a server in chunks, and a new block adds about 170 bytes. Nothing is
//! ever written again, and headers that lost a reorg stay, for receipts name them.

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Network};
use rusqlite::params;

use super::sqlite::{Store, fault};
use crate::error::{Result, Rule};
use crate::guard::Guard;

/// A stored run of headers is what it was.
pub const HEADER_RUN: Rule = Rule::new(
    "store-header-run",
    "each stored run of headers follows from one before it, has its work, and ends with the hash \
     that closes it",
    "restore the store from a backup, or synchronise the headers into a new store",
);

/// Bytes of a header without its parent's hash.
const SHORT: usize = 48;
/// Bytes of a header before and up to its parent's hash.
const VERSION: usize = 4;
const PARENT: usize = 36;

impl Store {
    /// Adds `headers` of `network` in this order, in one transaction: all of them lie on the disk
    /// when this returns, or none does. They are those that a guard has let in; only it judges.
    pub fn append_headers(&mut self, network: Network, headers: &[Header]) -> Result<()> {
        let rows = runs(headers);
        if rows.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            let mut insert = tx.prepare_cached(
                "INSERT INTO header_runs (network, parent, run, tip) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for row in &rows {
                let (parent, tip) = (row.parent.to_byte_array(), row.tip.to_byte_array());
                insert.execute(params![network.to_string(), parent, row.run, tip])?;
            }
            Ok(())
        })
    }

    /// A guard for `network` with every header stored.
    pub fn guard(&self, network: Network) -> Result<Guard> {
        self.fill(Guard::new(network))
    }

    /// The guard with every header stored of its network.
    ///
    /// Each run is hashed through, which shows any change; difficulty and times were judged when
    /// the headers were let in. A guard above an anchor passes over what does not lead to it.
    pub fn fill(&self, mut guard: Guard) -> Result<Guard> {
        let read = |guard: &mut Guard| -> rusqlite::Result<Result<()>> {
            let mut select = self.db.prepare_cached(
                "SELECT seq, parent, run, tip FROM header_runs WHERE network = ?1 ORDER BY seq",
            )?;
            let mut rows = select.query(params![guard.network().to_string()])?;
            while let Some(row) = rows.next()? {
                let place = format!("{}, header run {}", self.name, row.get::<_, i64>(0)?);
                let [parent, tip] = [row.get(1)?, row.get(3)?].map(BlockHash::from_byte_array);
                let short: Vec<u8> = row.get(2)?;
                let run = Row { parent, run: short, tip };
                if let Err(error) = run.admit(guard, &place) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        };
        read(&mut guard).map_err(|e| fault(&self.name, &e))??;
        Ok(guard)
    }
}

/// A run as the table holds it.
struct Row {
    parent: BlockHash,
    run: Vec<u8>,
    tip: BlockHash,
}

impl Row {
    fn admit(&self, guard: &mut Guard, place: &str) -> Result<()> {
        let mut parent = self.parent;
        for short in self.run.chunks(SHORT) {
            let header = long(parent, short).ok_or_else(|| {
                HEADER_RUN.unstored(place, "headers of 48 bytes", format_args!("{}", short.len()))
            })?;
            parent = header.block_hash();
            let below = guard.first() > 0 && guard.height_of(header.prev_blockhash).is_none();
            if below {
                continue;
            }
            guard.readmit(&header).map_err(|error| {
                let fault = error.fault();
                HEADER_RUN.unstored(place, &fault.expected, &fault.found)
            })?;
        }
        if parent != self.tip {
            return Err(HEADER_RUN.unstored(place, self.tip, parent));
        }
        Ok(())
    }
}

/// `headers` cut where one does not follow the one before it.
fn runs(headers: &[Header]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for header in headers {
        let bytes = serialize(header);
        let (version, rest) = (bytes.get(..VERSION), bytes.get(PARENT..));
        let short = [version.unwrap_or_default(), rest.unwrap_or_default()].concat();
        match rows.last_mut().filter(|row| row.tip == header.prev_blockhash) {
            Some(row) => {
                row.run.extend(short);
                row.tip = header.block_hash();
            }
            None => rows.push(Row {
                parent: header.prev_blockhash,
                run: short,
                tip: header.block_hash(),
            }),
        }
    }
    rows
}

fn long(parent: BlockHash, short: &[u8]) -> Option<Header> {
    let (version, rest) = short.split_at_checked(VERSION)?;
    deserialize(&[version, parent.as_byte_array(), rest].concat()).ok()
}
