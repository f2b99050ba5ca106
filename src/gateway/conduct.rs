//! How strangers are to behave: how much, how fast, how long; and what happens to those who do not.
//!
//! | what | bound by | at the bound |
//! |---|---|---|
//! | a line | its length, and the time it takes to arrive | the connection is closed |
//! | silence | time before authorisation, time between lines | closed |
//! | lines a second | a bucket | no more is read for a moment: the machine waits |
//! | lines that make no sense | a score that decays; accepted shares lower it | closed |
//! | closed connections of an address | strikes | the address is turned away for minutes |
//! | connections, in all and of an address; those not logged in | a count | turned away |
//! | what a machine does not read | bytes in the queue | closed |
//!
//! What happens to honest machines (late shares, low ones, duplicates of a hiccup) closes nothing;
//! and an address behind which another machine delivers is never turned away, because a farm has
//! one address.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Bounds for a connection and for addresses. Times in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line, in bytes.
    pub line: usize,
    /// Most bytes that wait to be read by a machine.
    pub unread: usize,
    /// Time from connecting to authorisation.
    pub greeting: u64,
    /// Time for a line to arrive whole.
    pub line_time: u64,
    /// Time without a line while there is work.
    pub idle: u64,
    /// Lines a second.
    pub lines: u32,
    /// Lines that may come at once.
    pub burst: u32,
    /// Score at which a connection is closed.
    pub score: u32,
    /// Time in which the score falls by one.
    pub forgiven: u64,
    /// Connections closed for their conduct, within [`Limits::banned`], that get an address banned.
    pub strikes: u32,
    /// How long an address is turned away.
    pub banned: u64,
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one address at a time.
    pub of_one: usize,
    /// Connections at a time that have not logged in: whoever has, was quick about it.
    pub guests: usize,
    /// Those of one address where no machine delivers.
    pub guests_of_one: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 16 * 1_024,
            unread: 64 * 1_024,
            greeting: 30_000,
            line_time: 30_000,
            idle: 600_000,
            lines: 50,
            burst: 500,
            score: 100,
            forgiven: 1_000,
            strikes: 3,
            banned: 600_000,
            connections: 10_000,
            of_one: 5_000,
            guests: 1_024,
            guests_of_one: 256,
        }
    }
}

/// What one connection may still do.
#[derive(Clone, Debug)]
pub struct Conduct {
    limits: Limits,
    /// When the bucket is full again, in 1/1000 ms.
    full: u64,
    score: u32,
    /// When the score was last lowered by time, ms.
    lowered: u64,
}

impl Conduct {
    /// Nothing was done yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, full: 0, score: 0, lowered: 0 }
    }

    /// Takes a token for a line at `now`. `false` if there is none: see [`Conduct::wait`].
    pub fn line(&mut self, now: u64) -> bool {
        if self.wait(now).is_some() {
            return false;
        }
        self.full = self.full.max(now.saturating_mul(1_000)).saturating_add(self.each());
        true
    }

    /// When the next line may be read, if not at `now`.
    pub fn wait(&self, now: u64) -> Option<u64> {
        let room = self.each().saturating_mul(u64::from(self.limits.burst.max(1)));
        let next = self.full.saturating_add(self.each()).saturating_sub(room).div_ceil(1_000);
        Some(next).filter(|next| *next > now)
    }

    /// Whether the bucket is nearly empty: who sends more now sends too much.
    pub fn hurried(&self, now: u64) -> bool {
        let room = self.each().saturating_mul(u64::from(self.limits.burst.max(1)));
        self.full.saturating_sub(now.saturating_mul(1_000)) > room / 4 * 3
    }

    /// Counts something against the machine; true if it was too much.
    pub fn blame(&mut self, weight: u32, now: u64) -> bool {
        let passed = now.saturating_sub(self.lowered) / self.limits.forgiven.max(1);
        self.score = self.score.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX));
        self.lowered =
            self.lowered.saturating_add(passed.saturating_mul(self.limits.forgiven.max(1)));
        self.score = self.score.saturating_add(weight);
        self.score >= self.limits.score
    }

    /// An accepted share speaks for the machine.
    pub fn praise(&mut self) {
        self.score = self.score.saturating_sub(2);
    }

    /// A line's share of a second, in 1/1000 ms.
    fn each(&self) -> u64 {
        1_000_000 / u64::from(self.limits.lines.max(1))
    }
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// There are too many connections.
    Full,
    /// There are too many from this address.
    Crowded,
    /// The address is banned.
    Banned,
}

impl Turned {
    /// What the machine is told.
    pub fn words(self) -> &'static str {
        match self {
            Self::Full => "Too many connections: the gateway is full",
            Self::Crowded => "Too many connections from this address",
            Self::Banned => "This address is banned for some minutes: it sent what is no Stratum",
        }
    }
}

/// One address's connections.
#[derive(Clone, Copy, Debug, Default)]
struct Household {
    open: usize,
    /// Those that have not logged in.
    guests: usize,
    /// Those that delivered a share.
    good: usize,
}

/// Addresses: who is there, who struck, who is banned.
#[derive(Debug)]
pub struct Door {
    limits: Limits,
    open: usize,
    guests: usize,
    homes: BTreeMap<IpAddr, Household>,
    /// Strikes of an address, and when the last one was.
    strikes: BTreeMap<IpAddr, (u32, u64)>,
    /// Until when, ms.
    banned: BTreeMap<IpAddr, u64>,
}

/// Most addresses whose strikes or bans are remembered.
const MOST_REMEMBERED: usize = 16_384;

impl Door {
    /// Nobody is there.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: 0,
            guests: 0,
            homes: BTreeMap::new(),
            strikes: BTreeMap::new(),
            banned: BTreeMap::new(),
        }
    }

    /// Lets a connection in at `now`, or turns it away.
    pub fn enter(&mut self, address: IpAddr, now: u64) -> Result<(), Turned> {
        let address = home(address);
        let known = self.homes.get(&address).copied().unwrap_or_default();
        let delivers = known.good > 0;
        if !delivers && self.banned.get(&address).is_some_and(|until| *until > now) {
            return Err(Turned::Banned);
        }
        if self.open >= self.limits.connections || !delivers && self.guests >= self.limits.guests {
            return Err(Turned::Full);
        }
        let idle = !delivers && known.guests >= self.limits.guests_of_one;
        if known.open >= self.limits.of_one || idle {
            return Err(Turned::Crowded);
        }
        let household = self.homes.entry(address).or_default();
        household.open = household.open.saturating_add(1);
        household.guests = household.guests.saturating_add(1);
        self.open = self.open.saturating_add(1);
        self.guests = self.guests.saturating_add(1);
        Ok(())
    }

    /// A connection has logged in.
    pub fn greeted(&mut self, address: IpAddr) {
        if let Some(household) = self.homes.get_mut(&home(address)) {
            household.guests = household.guests.saturating_sub(1);
            self.guests = self.guests.saturating_sub(1);
        }
    }

    /// A connection delivered its first share: whatever others behind this address did, machines
    /// are there.
    pub fn delivered(&mut self, address: IpAddr) {
        let address = home(address);
        self.banned.remove(&address);
        let household = self.homes.entry(address).or_default();
        household.good = household.good.saturating_add(1);
    }

    /// A connection has ended.
    pub fn leave(&mut self, address: IpAddr, logged_in: bool, delivered: bool) {
        self.open = self.open.saturating_sub(1);
        if !logged_in {
            self.greeted(address);
        }
        let address = home(address);
        if let Some(household) = self.homes.get_mut(&address) {
            household.open = household.open.saturating_sub(1);
            household.good = household.good.saturating_sub(usize::from(delivered));
            if household.open == 0 {
                self.homes.remove(&address);
            }
        }
    }

    /// A connection that has left was closed for its conduct; true if the address is banned now.
    pub fn strike(&mut self, address: IpAddr, now: u64) -> bool {
        let address = home(address);
        let span = self.limits.banned;
        if self.strikes.len() >= MOST_REMEMBERED || self.banned.len() >= MOST_REMEMBERED {
            self.strikes.retain(|_, (_, last)| now.saturating_sub(*last) < span);
            self.banned.retain(|_, until| *until > now);
        }
        if self.strikes.len() >= MOST_REMEMBERED || self.banned.len() >= MOST_REMEMBERED {
            return false;
        }
        let (count, last) = self.strikes.entry(address).or_insert((0, now));
        if now.saturating_sub(*last) >= span {
            *count = 0;
        }
        (*count, *last) = (count.saturating_add(1), now);
        let delivers = self.homes.get(&address).is_some_and(|household| household.good > 0);
        if *count < self.limits.strikes || delivers {
            return false;
        }
        self.strikes.remove(&address);
        self.banned.insert(address, now.saturating_add(span));
        true
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open
    }
}

/// What counts as one address: of IPv6 the network of 64 bits that a customer is given.
fn home(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let network = u128::from(six) & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_so_many_lines_a_second() {
        let limits = Limits { lines: 10, burst: 5, ..Limits::default() };
        let mut conduct = Conduct::new(limits);
        for _ in 0..5 {
            assert!(conduct.line(1_000));
        }
        assert!(!conduct.line(1_000));
        assert_eq!(conduct.wait(1_000), Some(1_100));
        assert!(conduct.line(1_100));
        assert!(!conduct.line(1_199));
        let passed = (2_000..12_000).filter(|now| conduct.line(*now)).count();
        assert!((100..=105).contains(&passed), "{passed}");
    }

    #[test]
    fn a_score_decays_and_shares_lower_it() {
        let mut conduct = Conduct::new(Limits::default());
        for _ in 0..9 {
            assert!(!conduct.blame(10, 0));
        }
        assert!(conduct.clone().blame(10, 0));
        assert!(!conduct.clone().blame(10, 1_000));
        assert!(!conduct.clone().blame(90, 85_000));
        conduct.praise();
        assert!(!conduct.blame(10, 0));
        assert!(conduct.blame(2, 0));
    }

    #[test]
    fn an_address_is_banned_after_strikes_and_for_a_while() {
        let limits = Limits { strikes: 3, banned: 1_000, ..Limits::default() };
        let mut door = Door::new(limits);
        let bad = ip("192.0.2.1");
        assert!(!door.strike(bad, 0));
        assert!(!door.strike(bad, 10));
        assert!(door.strike(bad, 20));
        assert_eq!(door.enter(bad, 1_019), Err(Turned::Banned));
        assert_eq!(door.enter(ip("192.0.2.2"), 30), Ok(()));
        assert_eq!(door.enter(bad, 1_020), Ok(()));
        // Strikes long ago are forgotten.
        assert!(!door.strike(bad, 5_000));
        assert!(!door.strike(bad, 5_500));
        assert!(!door.strike(bad, 6_500));
    }

    #[test]
    fn an_address_where_another_machine_delivers_is_never_banned() {
        let mut door = Door::new(Limits::default());
        let farm = ip("192.0.2.1");
        door.enter(farm, 0).unwrap();
        door.delivered(farm);
        for now in 0..10 {
            assert!(!door.strike(farm, now));
        }
        door.leave(farm, false, true);
        assert!(door.strike(farm, 10));
        // A ban ends when a machine that was there delivers.
        door.delivered(farm);
        door.enter(farm, 11).unwrap();
    }

    #[test]
    fn connections_are_counted_in_all_and_for_each_address() {
        let mut door = Door::new(Limits { connections: 3, of_one: 2, ..Limits::default() });
        let (one, other) = (ip("192.0.2.1"), ip("::ffff:192.0.2.2"));
        door.enter(one, 0).unwrap();
        door.enter(one, 0).unwrap();
        assert_eq!(door.enter(one, 0), Err(Turned::Crowded));
        door.enter(other, 0).unwrap();
        assert_eq!(door.enter(ip("192.0.2.3"), 0), Err(Turned::Full));
        door.leave(one, false, false);
        door.enter(ip("192.0.2.2"), 0).unwrap();
        assert_eq!(door.open(), 3);
    }

    #[test]
    fn connections_that_do_not_log_in_are_counted_apart() {
        let mut door = Door::new(Limits { guests: 3, guests_of_one: 2, ..Limits::default() });
        let (one, other, third) = (ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3"));
        door.enter(one, 0).unwrap();
        door.enter(one, 0).unwrap();
        assert_eq!(door.enter(one, 0), Err(Turned::Crowded));
        door.greeted(one);
        door.enter(one, 0).unwrap();
        door.enter(other, 0).unwrap();
        assert_eq!(door.enter(third, 0), Err(Turned::Full));
        // Where a machine delivers, others may take their time.
        door.delivered(one);
        door.enter(one, 0).unwrap();
        door.leave(other, false, false);
        assert_eq!(door.enter(third, 0), Err(Turned::Full));
        door.leave(one, false, false);
        door.enter(third, 0).unwrap();
        door.leave(one, true, true);
        assert_eq!((door.open(), door.guests), (3, 3));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        assert_eq!(home(ip("2001:db8:1:2:3:4:5:6")), home(ip("2001:db8:1:2::1")));
        assert_ne!(home(ip("2001:db8:1:2::1")), home(ip("2001:db8:1:3::1")));
    }

    #[test]
    fn what_is_remembered_of_addresses_is_bounded() {
        let mut door = Door::new(Limits { strikes: 2, ..Limits::default() });
        for i in 0..40_000u32 {
            door.strike(IpAddr::V4(i.into()), 0);
        }
        assert_eq!(door.strikes.len(), MOST_REMEMBERED);
        door.strike(ip("192.0.2.1"), 700_000);
        assert_eq!(door.strikes.len(), 1);
    }
}
