//! What a gateway is told in its file: nodes, payees, positions, where to listen.
//!
//! ```json
//! { "format": "hashmix gateway 1",
//!   "listen": "0.0.0.0:3333", "status": "127.0.0.1:3334", "gateway": 0,
//!   "nodes": [{ "url": "http://127.0.0.1:8332", "cookie": "/var/lib/bitcoind/.cookie" }],
//!   "electrum": "tcp://127.0.0.1:50001",
//!   "payees": [
//!     { "name": "alice", "positions": [{ "terms": "alice.json", "record": 3 }] },
//!     { "name": "farm", "coinbase_bytes": 700, "own": { "address": "bc1…", "weight": 40 },
//!       "positions": [{ "terms": "bob.json", "weight": 35 }, { "terms": "carol.json", "weight": 25 }] }
//!   ] }
//! ```
//! A payee is who machines mine for: his name is what stands before the first dot of their user
//! name. The terms are a contract's, or those of a position that is not issued yet: its machines prove
//! themselves first ([`super::agreed`]). Of a position that was sold on they are the newest contract's, and
//! `"before": ["old.json"]` beside them names those before ([`super::before`]), each as a path or, where its parties share a folder of their own, as
//! `{ "terms": "old.json", "relay": "letters" }`; it needs the `"record"` of the miner, who sits there. With
//! `"dossier": "DIR"` certificates and receipts are written into the position's dossier too. Several positions of
//! one payee share one coinbase by weight. Paths are relative to the
//! file's own folder.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use bitcoin::Address;
use bitcoin::address::NetworkUnchecked;
use serde::Deserialize;

use crate::error::{Culprit, Result, Rule};
use crate::work::farm::LONGEST_COINBASE;

/// The file is one we can read.
pub const FORM: Rule = Rule::new(
    "gateway-config-form",
    "a gateway's file is JSON with the fields of `hashmix gateway 1`",
    "compare it with the example in the README",
);
/// Payees can be told apart by the names that machines give.
pub const PAYEES: Rule = Rule::new(
    "gateway-config-payees",
    "each payee has a name of his own (letters, digits, `-`, `_`) and at least one position",
    "correct the payees in the gateway's file",
);
/// There is a node to mine on.
pub const NODES: Rule = Rule::new(
    "gateway-config-nodes",
    "at least one Bitcoin Core is named, each with a cookie, or a user and a password's file",
    "name your node in the gateway's file",
);

/// Contracts before are named where the gateway sits at them.
pub const BEFORE: Rule = Rule::new(
    "gateway-config-before",
    "a position that names contracts before names the miner's record, who keeps his seat in them",
    "add `record` beside `before`, or leave `before` out",
);

/// The first field of the file.
pub const CONFIG_FORMAT: &str = "hashmix gateway 1";
/// Longest file that is read, in bytes.
pub const CONFIG_MAX_BYTES: usize = 1 << 20;

/// A gateway's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`CONFIG_FORMAT`].
    pub format: String,
    /// Where machines connect.
    pub listen: SocketAddr,
    /// Where status and metrics are asked for, over HTTP; nowhere if left out.
    #[serde(default)]
    pub status: Option<SocketAddr>,
    /// Tells the extra nonces of two gateways of one miner apart.
    #[serde(default)]
    pub gateway: u8,
    /// Shares a minute that each machine is to send; 8 if left out.
    #[serde(default = "eight")]
    pub shares_per_minute: u32,
    /// Our nodes, the preferred one first.
    pub nodes: Vec<NodeEntry>,
    /// An Electrum server, for headers and for what the sealing needs.
    pub electrum: String,
    /// For whom machines mine.
    pub payees: Vec<PayeeEntry>,
}

/// A node in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    /// `http://host:port`.
    pub url: String,
    /// The file with its cookie.
    #[serde(default)]
    pub cookie: Option<PathBuf>,
    /// Or a user of its `rpcauth`.
    #[serde(default)]
    pub user: Option<String>,
    /// And the file with his password (mode 0600).
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// A payee in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayeeEntry {
    /// What stands before the first dot of the machines' user names.
    pub name: String,
    /// Longest coinbase that his machines take, in bytes.
    #[serde(default = "any_firmware")]
    pub coinbase_bytes: usize,
    /// The positions that his coinbase pays.
    pub positions: Vec<PositionEntry>,
    /// A part of the coinbase that belongs to no position.
    #[serde(default)]
    pub own: Option<OwnEntry>,
}

/// A position in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionEntry {
    /// The file with its terms: a contract's, or a position's that is not issued yet (`position.json` of
    /// its dossier).
    pub terms: PathBuf,
    /// The contracts before, whose place these terms take: where the gateway seals, the miner keeps his
    /// seat in each as long as there is something to do.
    #[serde(default)]
    pub before: Vec<BeforeEntry>,
    /// Its part of the coinbase, relative to the other weights.
    #[serde(default = "one")]
    pub weight: u64,
    /// The number of the miner's record in the terms: the gateway then seals with the miner's seed.
    #[serde(default)]
    pub record: Option<u32>,
    /// The validators' servers, `http://host:port`, who are asked for receipts.
    #[serde(default)]
    pub validators: Vec<String>,
    /// The folder that miner, holder and validators share, if they do.
    #[serde(default)]
    pub relay: Option<PathBuf>,
    /// The position's dossier: the gateway keeps what it seals there too, with the receipts that it hears
    /// of where it has the miner's seat.
    #[serde(default)]
    pub dossier: Option<PathBuf>,
}

/// A contract before, in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum BeforeEntry {
    /// The file with its terms; its parties share the folder of the newest contract's, if they share one.
    Terms(PathBuf),
    /// The same where they share another one.
    Apart {
        /// The file with its terms.
        terms: PathBuf,
        /// The folder that they share.
        relay: PathBuf,
    },
}

/// The part of a coinbase that belongs to no position.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnEntry {
    /// Where it is paid.
    pub address: Address<NetworkUnchecked>,
    /// Its part, relative to the positions' weights.
    pub weight: u64,
}

fn one() -> u64 {
    1
}

fn eight() -> u32 {
    8
}

fn any_firmware() -> usize {
    LONGEST_COINBASE
}

impl Config {
    /// Reads the file's text; files that it names are not looked at.
    pub fn from_json(text: &str) -> Result<Self> {
        let refuse = |found: &dyn core::fmt::Display| {
            FORM.refuses(Culprit::Sender, "gateway's file", CONFIG_FORMAT, found)
        };
        if text.len() > CONFIG_MAX_BYTES {
            return Err(refuse(&format_args!("{} bytes", text.len())));
        }
        let config: Self = serde_json::from_str(text).map_err(|error| refuse(&error))?;
        if config.format != CONFIG_FORMAT {
            return Err(refuse(&config.format));
        }
        if config.shares_per_minute == 0 {
            return Err(refuse(&"shares_per_minute 0"));
        }
        config.check_nodes()?;
        config.check_payees()?;
        config.check_before()?;
        Ok(config)
    }

    fn check_nodes(&self) -> Result<()> {
        let expected = "a cookie, or a user and a password_file";
        let refuse = |place: &str, expected: &str, found: &str| {
            Err(NODES.refuses(Culprit::Sender, place, expected, found))
        };
        if self.nodes.is_empty() {
            return refuse("nodes", "at least one", "none");
        }
        for node in &self.nodes {
            match (&node.cookie, &node.user, &node.password_file) {
                (Some(_), None, None) | (None, Some(_), Some(_)) => {}
                (None, None, None) => return refuse(&node.url, expected, "neither"),
                _ => return refuse(&node.url, expected, "a part of it, or both"),
            }
        }
        Ok(())
    }

    fn check_payees(&self) -> Result<()> {
        let refuse = |place: String, expected: &str, found: &dyn core::fmt::Display| {
            Err(PAYEES.refuses(Culprit::Sender, place, expected, found))
        };
        let mut names = BTreeSet::new();
        if self.payees.is_empty() {
            return refuse("payees".into(), "at least one", &"none");
        }
        for payee in &self.payees {
            let place = || format!("payee {}", payee.name);
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if payee.name.is_empty() || payee.name.len() > 64 || !payee.name.chars().all(plain) {
                let expected = "1 to 64 letters, digits, - and _";
                return refuse("payees".into(), expected, &payee.name);
            }
            if !names.insert(&payee.name) {
                return refuse(place(), "a name of his own", &"another payee's");
            }
            if payee.positions.is_empty() {
                return refuse(place(), "at least one position", &"none");
            }
            let own = payee.own.iter().map(|own| own.weight);
            let mut weights = payee.positions.iter().map(|position| position.weight).chain(own);
            if weights.any(|weight| weight == 0 || weight > u64::from(u32::MAX)) {
                return refuse(place(), "weights from 1 to 4,294,967,295", &"another one");
            }
        }
        Ok(())
    }

    /// Without a record nothing is said at any contract, and whoever named them would wait for nothing.
    fn check_before(&self) -> Result<()> {
        let mut entries = self.payees.iter().flat_map(|payee| &payee.positions);
        let silent = entries.find(|entry| entry.record.is_none() && !entry.before.is_empty());
        silent.map_or(Ok(()), |entry| {
            let place = entry.terms.display();
            Err(BEFORE.refuses(Culprit::Sender, place, "a record beside `before`", "none"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{ "format": "hashmix gateway 1", "listen": "127.0.0.1:0",
        "nodes": [{ "url": "http://127.0.0.1:8332", "cookie": "c" }],
        "electrum": "tcp://127.0.0.1:50001",
        "payees": [{ "name": "alice", "positions": [{ "terms": "a.json" }] }] }"#;

    #[test]
    fn the_shortest_file_is_read_with_what_is_usual_filled_in() {
        let config = Config::from_json(GOOD).unwrap();
        assert_eq!((config.gateway, config.shares_per_minute, config.status), (0, 8, None));
        assert_eq!(config.payees[0].coinbase_bytes, 250);
        assert_eq!(config.payees[0].positions[0].weight, 1);
    }

    #[test]
    fn contracts_before_stand_beside_the_record_of_whoever_sits_there() {
        for (more, before) in [
            ("\"record\": 0, \"before\": [\"b.json\"]", 1),
            ("\"record\": 0", 0),
            ("\"before\": []", 0),
        ] {
            let text = GOOD.replacen("\"a.json\"", &format!("\"a.json\", {more}"), 1);
            let config = Config::from_json(&text).unwrap();
            assert_eq!(config.payees[0].positions[0].before.len(), before, "{more}");
        }
    }

    #[test]
    fn a_file_that_leaves_something_open_is_refused_by_the_rule_for_it() {
        let long = " ".repeat(CONFIG_MAX_BYTES);
        for (from, to, rule) in [
            ("gateway 1", "gateway 2", "gateway-config-form"),
            ("\"electrum\"", "\"electron\"", "gateway-config-form"),
            ("127.0.0.1:0", "here", "gateway-config-form"),
            ("\"listen\"", "\"shares_per_minute\": 0, \"listen\"", "gateway-config-form"),
            ("{ \"format\"", &format!("{long}{{ \"format\""), "gateway-config-form"),
            (
                "[{ \"url\": \"http://127.0.0.1:8332\", \"cookie\": \"c\" }]",
                "[]",
                "gateway-config-nodes",
            ),
            (", \"cookie\": \"c\"", "", "gateway-config-nodes"),
            (", \"cookie\": \"c\"", ", \"user\": \"u\"", "gateway-config-nodes"),
            ("\"cookie\": \"c\"", "\"cookie\": \"c\", \"user\": \"u\"", "gateway-config-nodes"),
            ("\"alice\"", "\"al.ice\"", "gateway-config-payees"),
            ("\"alice\"", "\"\"", "gateway-config-payees"),
            ("[{ \"terms\": \"a.json\" }]", "[]", "gateway-config-payees"),
            ("\"a.json\"", "\"a.json\", \"weight\": 0", "gateway-config-payees"),
            ("\"a.json\"", "\"a.json\", \"before\": \"b.json\"", "gateway-config-form"),
            ("\"a.json\"", "\"a.json\", \"before\": [{ \"relay\": \"r\" }]", "gateway-config-form"),
            ("\"a.json\"", "\"a.json\", \"weight\": 4294967296", "gateway-config-payees"),
            ("\"a.json\"", "\"a.json\", \"before\": [\"b.json\"]", "gateway-config-before"),
            (
                "\"a.json\"",
                "\"a.json\", \"record\": null, \"before\": [{ \"terms\": \"b\", \"relay\": \"r\" }]",
                "gateway-config-before",
            ),
            (
                "\"payees\": [",
                "\"payees\": [{ \"name\": \"alice\", \"positions\": [{ \"terms\": \"b\" }] },",
                "gateway-config-payees",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            assert_eq!(Config::from_json(&text).unwrap_err().rule(), rule, "{from} -> {to:.40}");
        }
    }
}
