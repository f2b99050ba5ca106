//! What the server is told before it starts: where it listens, whom it serves, within what bounds.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use bitcoin::BlockHash;

use super::conduct::Limits;
use super::job::Job;
use super::vardiff::Pace;
use crate::error::{Result, Rule};
use crate::work::extended_job::Find;

/// Payees have names that a user name can begin with.
pub const PAYEE: Rule = Rule::new(
    "gateway-payee",
    "a payee has a name of his own, without dots and control characters, of 1 to 64 characters",
    "rename him; machines log in as NAME.WORKER",
);
/// The server can listen and has its threads.
pub const LISTEN: Rule = Rule::new(
    "gateway-listen",
    "the gateway can listen where it is told to",
    "choose a free port, and an address of this machine",
);

/// What comes out of the machines' work. Called from the server's own threads: hand over and
/// return, what waits here makes machines wait.
pub trait Sink: Send + Sync + 'static {
    /// A block. Called first, before anything else about it is asked; once, unless many others came
    /// in between.
    fn block(&self, job: &Arc<Job>, find: &Find);

    /// A find that meets the share target of at least one claim of its job: once, whatever the
    /// machine was answered. Its job may build on the block before the present one, or on one that
    /// a reorg took.
    fn share(&self, job: &Arc<Job>, find: &Find, hash: BlockHash);

    /// Something that a person may want to read about a machine, for the log.
    fn note(&self, machine: SocketAddr, words: &str) {
        let _ = (machine, words);
    }
}

/// Somebody whom a coinbase pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payee {
    /// The user name before the first dot.
    pub name: String,
}

/// How the server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where machines connect.
    pub listen: SocketAddr,
    /// The first byte of every extra nonce: two gateways for one payee need different ones, so
    /// that they never give the same work.
    pub gateway: u8,
    /// How often machines send shares.
    pub pace: Pace,
    /// Bounds for strangers.
    pub limits: Limits,
    /// How long a find is taken after its job was replaced by another one on the same block, ms;
    /// and how long machines are kept without new work.
    pub oldest_job: u64,
    /// Threads that serve machines; 0 for as many as there are processors.
    pub threads: usize,
}

impl Settings {
    /// The usual bounds, for a server that listens there.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            gateway: 0,
            pace: Pace::default(),
            limits: Limits::default(),
            oldest_job: 300_000,
            threads: 0,
        }
    }
}

/// Settings and payees: what every session knows.
#[derive(Clone, Debug)]
pub struct House {
    /// How the server runs.
    pub settings: Settings,
    /// Whom it serves.
    pub payees: Vec<Payee>,
}

impl House {
    /// Checks the payees' names.
    pub fn new(settings: Settings, payees: Vec<Payee>) -> Result<Self> {
        let mut names = BTreeSet::new();
        for Payee { name } in &payees {
            let fits = (1..=64).contains(&name.chars().count());
            let plain = !name.chars().any(|c| c.is_control() || c == '.');
            if !fits || !plain || !names.insert(name) {
                return Err(PAYEE.misused("payees", "names that differ", format_args!("{name:?}")));
            }
        }
        match payees.is_empty() {
            true => Err(PAYEE.misused("payees", "at least one", "none")),
            false => Ok(Self { settings, payees }),
        }
    }

    /// The payee whom a user name picks.
    pub fn payee(&self, user: &str) -> Option<usize> {
        let name = before_dot(user);
        self.payees.iter().position(|payee| payee.name == name)
    }

    /// Whether a user name picks this payee.
    pub fn picks(&self, user: &str, payee: usize) -> bool {
        self.payees.get(payee).is_some_and(|payee| payee.name == before_dot(user))
    }
}

fn before_dot(user: &str) -> &str {
    user.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(names: &[&str]) -> Result<House> {
        let settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let payees = names.iter().map(|name| Payee { name: (*name).to_owned() });
        House::new(settings, payees.collect())
    }

    #[test]
    fn a_user_name_picks_the_payee_by_what_stands_before_the_first_dot() {
        let house = house(&["farm", "alice"]).unwrap();
        assert_eq!(house.payee("alice.rack-1.7"), Some(1));
        assert_eq!(house.payee("alice"), Some(1));
        assert_eq!(house.payee("farm."), Some(0));
        for user in ["", ".", ".farm", "Alice.1", "alice2.1", "al"] {
            assert_eq!(house.payee(user), None, "{user}");
        }
    }

    #[test]
    fn names_that_no_user_could_give_are_refused() {
        let long = "x".repeat(65);
        for names in [&["a", "a"][..], &["a.b"], &[""], &["a\n"], &[long.as_str()], &[]] {
            assert_eq!(house(names).unwrap_err().rule(), "gateway-payee", "{names:?}");
        }
    }
}
