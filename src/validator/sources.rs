//! Whom a validator asks about the chain: at least two, who do not know each other.
//!
//! One server can hide a spend, or show a chain of yesterday; the engine's guard catches the second
//! and cannot catch the first. So every step of a validator's engine begins with the same question to
//! everybody, and so does every signature: see [`crate::policy::outputs`].

use std::net::IpAddr;

use bitcoin::Network;

use crate::chain::electrum::Electrum;
use crate::chain::view::Source;
use crate::error::Result;
use crate::policy::outputs::VIEWS;

/// Whom a validator asks about the chain.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The network that all of them are on.
    pub network: Network,
    /// Electrum servers, `tcp://host:port`; the first gives histories, the others confirm it.
    pub electrum: Vec<String>,
    /// Our own node.
    #[cfg(feature = "core")]
    pub core: Option<crate::chain::core::Node>,
}

impl Sources {
    /// Refuses what leaves nothing to compare. Two ports of one host are one server, except on this
    /// machine, where they may be the ends of two tunnels. Names are compared as they are given: two
    /// names of one machine are not found out.
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
        if let Some(crate::chain::core::Node { url, auth }) = &self.core {
            let node = crate::chain::core::Core::connect(url, auth.clone(), self.network)?;
            sources.push(Source::Node(node));
        }
        Ok(sources)
    }
}

/// Whom an address names, as far as that can be compared: the host, and on this machine the port too.
fn host(url: &str) -> String {
    let address = url.split_once("://").map_or(url, |(_, rest)| rest);
    let address = address.trim_end_matches('/').to_lowercase();
    let name = address.rsplit_once(':').map_or(address.as_str(), |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let here = bare == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if here { address } else { bare.to_owned() }
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
    fn two_servers_of_different_hosts_pass_and_two_tunnels_on_this_machine() {
        sources(&["tcp://one:50001", "tcp://two:50001"]).check().unwrap();
        for here in ["localhost", "127.0.0.1", "127.8.7.6", "[::1]"] {
            let url = |port| format!("tcp://{here}:{port}");
            sources(&[&url(50_001), &url(50_002)]).check().unwrap();
        }
        sources(&["tcp://one:1", "ssl://two:1", "tcp://three:1"]).check().unwrap();
    }

    #[test]
    fn one_server_or_the_same_twice_is_refused() {
        for urls in [
            &[][..],
            &["tcp://one:50001"],
            &["tcp://one:50001", "tcp://one:50001"],
            &["tcp://one:50001", "ssl://ONE:50001/"],
            &["tcp://one:50001", "tcp://one:50002"],
            &["tcp://one:50001", "tcp://one.:50002"],
            &["tcp://192.0.2.1:50001", "tcp://192.0.2.1:50002"],
            &["tcp://[2001:db8::1]:50001", "ssl://[2001:db8::1]:50002"],
            &["tcp://localhost:50001", "tcp://localhost:50001"],
            &["tcp://one:1", "tcp://two:1", "tcp://one:1"],
        ] {
            let error = sources(urls).check().unwrap_err();
            assert_eq!((error.rule(), error.exit_code()), ("policy-chain-views", 2), "{urls:?}");
        }
    }

    #[cfg(feature = "core")]
    #[test]
    fn a_bitcoin_core_stands_beside_a_server_and_not_alone() {
        let auth = crate::chain::core::Auth::Cookie("x".into());
        let core = Some(crate::chain::core::Node { url: "http://one:1".into(), auth });
        let with = |electrum: &[&str]| Sources { core: core.clone(), ..sources(electrum) };
        with(&["tcp://one:50001"]).check().unwrap();
        with(&["tcp://one:50001", "tcp://two:50001"]).check().unwrap();
        for urls in [&[][..], &["tcp://one:50001", "tcp://one:50001"]] {
            assert_eq!(with(urls).check().unwrap_err().rule(), "policy-chain-views");
        }
    }
}
