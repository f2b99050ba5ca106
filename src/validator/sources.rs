//! Whom a validator asks about the chain: at least two, who do not know each other.
//!
//! One server can hide a spend, or show a chain of yesterday; the engine's guard catches the second
//! and cannot catch the first. So every step begins with the same question to everybody: where is
//! the tip, and what is left of the coins of this contract? Only one answer lets the step begin.

use bitcoin::{BlockHash, Network, OutPoint, ScriptBuf};

use crate::chain::electrum::Electrum;
use crate::chain::view::Source;
use crate::error::{Result, Rule};
use crate::facts::{Coin, CoinView, Facts, View};

/// There are two to compare.
pub const VIEWS: Rule = Rule::new(
    "policy-desk-sources",
    "a validator asks two Electrum servers or more, of different host and port, or a Bitcoin Core \
     beside one",
    "name a second Electrum server that somebody else runs, or your own Bitcoin Core",
);
/// They say the same.
pub const AGREE: Rule = Rule::new(
    "policy-desk-agree",
    "all sources name the same tip and the same unspent coins of the contract",
    "wait until they have caught up with each other; if it lasts, one of them lies or is broken",
);

/// The validator's own Bitcoin Core.
#[cfg(feature = "core")]
#[derive(Clone, Debug)]
pub struct Node {
    /// `http://host:port`.
    pub url: String,
    /// How we show that we may ask.
    pub auth: crate::chain::core::Auth,
}

/// Whom a validator asks about the chain.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The network that all of them are on.
    pub network: Network,
    /// Electrum servers, `tcp://host:port`; the first gives histories, the others confirm it.
    pub electrum: Vec<String>,
    /// Our own node.
    #[cfg(feature = "core")]
    pub core: Option<Node>,
}

impl Sources {
    /// Refuses what leaves nothing to compare. Names are compared as they are given: two names of
    /// one machine are not found out.
    pub fn check(&self) -> Result<()> {
        let hosts: std::collections::BTreeSet<String> =
            self.electrum.iter().map(|url| host(url)).collect();
        #[cfg(feature = "core")]
        let node = usize::from(self.core.is_some());
        #[cfg(not(feature = "core"))]
        let node = 0;
        let found = format_args!("{} different and {node} Bitcoin Core", hosts.len()).to_string();
        if hosts.is_empty() || hosts.len() < self.electrum.len() || hosts.len() + node < 2 {
            let expected = "two Electrum servers, or one and a Bitcoin Core";
            return Err(VIEWS.misused("sources", expected, found));
        }
        Ok(())
    }

    /// The server that gives histories, over a connection of its own.
    pub fn first(&self) -> Result<Electrum> {
        let url = self.electrum.first().map_or("", String::as_str);
        Electrum::connect(url, self.network)
    }

    /// Connects to all that confirm what the first one says.
    pub fn others(&self) -> Result<Vec<Source>> {
        self.check()?;
        let mut sources = Vec::new();
        for url in self.electrum.iter().skip(1) {
            sources.push(Source::Server(Electrum::connect(url, self.network)?));
        }
        #[cfg(feature = "core")]
        if let Some(Node { url, auth }) = &self.core {
            let node = crate::chain::core::Core::connect(url, auth.clone(), self.network)?;
            sources.push(Source::Node(node));
        }
        Ok(sources)
    }
}

/// Host and port of an address, as far as they can be compared.
fn host(url: &str) -> String {
    let address = url.split_once("://").map_or(url, |(_, rest)| rest);
    address.trim_end_matches('/').to_lowercase()
}

/// The coins of `scripts` that `facts` show unspent.
pub fn unspent(facts: &Facts, scripts: &[ScriptBuf]) -> Vec<Coin> {
    let coins = scripts.iter().flat_map(|script| facts.coins(script));
    coins.filter(|coin| coin.spender.is_none()).collect()
}

/// Refuses facts that a view contradicts: another tip, or another opinion of one of `coins`.
pub fn compare(facts: &Facts, coins: &[Coin], view: &View) -> Result<()> {
    let differs = |place: String, ours: String, theirs: String| {
        let place = format!("{}, {place}", view.place);
        Err(AGREE.unavailable(place, ours, theirs))
    };
    let ours = (facts.tip(), facts.headers.hash(facts.tip()));
    if ours != (view.tip.0, Some(view.tip.1)) {
        let name = |(height, hash): (u32, Option<BlockHash>)| {
            let hash = hash.map_or_else(|| "no block".to_owned(), |hash| hash.to_string());
            format!("height {height}, {hash}")
        };
        return differs("tip".into(), name(ours), name((view.tip.0, Some(view.tip.1))));
    }
    for coin in coins {
        let known = CoinView {
            value: coin.txout.value,
            script: coin.txout.script_pubkey.clone(),
            height: coin.height,
            coinbase: coin.coinbase,
        };
        let said = view.coins.get(&coin.outpoint).cloned().flatten();
        if said.as_ref() != Some(&known) {
            let name = |coin: Option<&CoinView>| match coin {
                Some(coin) => {
                    let height = coin.height.map_or("the mempool".into(), |h| format!("block {h}"));
                    format!("{} in {height}", coin.value)
                }
                None => "spent or unknown".to_owned(),
            };
            let place = format!("output {}", coin.outpoint);
            return differs(place, name(Some(&known)), name(said.as_ref()));
        }
    }
    Ok(())
}

/// The outpoints of `coins`.
pub fn outpoints(coins: &[Coin]) -> Vec<OutPoint> {
    coins.iter().map(|coin| coin.outpoint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(electrum: &[&str]) -> Sources {
        Sources {
            network: Network::Regtest,
            electrum: electrum.iter().map(|url| (*url).to_owned()).collect(),
            #[cfg(feature = "core")]
            core: None,
        }
    }

    #[test]
    fn two_servers_of_different_host_or_port_pass() {
        sources(&["tcp://one:50001", "tcp://two:50001"]).check().unwrap();
        sources(&["tcp://one:50001", "tcp://one:50002"]).check().unwrap();
        sources(&["tcp://one:1", "ssl://two:1", "tcp://three:1"]).check().unwrap();
    }

    #[test]
    fn one_server_or_the_same_twice_is_refused() {
        for urls in [
            &[][..],
            &["tcp://one:50001"],
            &["tcp://one:50001", "tcp://one:50001"],
            &["tcp://one:50001", "ssl://ONE:50001/"],
            &["tcp://one:1", "tcp://two:1", "tcp://one:1"],
        ] {
            let error = sources(urls).check().unwrap_err();
            assert_eq!((error.rule(), error.exit_code()), ("policy-desk-sources", 2), "{urls:?}");
        }
    }

    #[cfg(feature = "core")]
    #[test]
    fn a_bitcoin_core_stands_beside_a_server_and_not_alone() {
        let auth = crate::chain::core::Auth::Cookie("x".into());
        let core = Some(Node { url: "http://one:1".into(), auth });
        let with = |electrum: &[&str]| Sources { core: core.clone(), ..sources(electrum) };
        with(&["tcp://one:50001"]).check().unwrap();
        with(&["tcp://one:50001", "tcp://two:50001"]).check().unwrap();
        for urls in [&[][..], &["tcp://one:50001", "tcp://one:50001"]] {
            assert_eq!(with(urls).check().unwrap_err().rule(), "policy-desk-sources");
        }
    }
}
