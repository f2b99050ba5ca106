//! A whole contract, played by people who may reach the server through proxies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::Txid;
use hashmix::chain::electrum::Patience;
use hashmix::engine::{Engine, Report, kind};
use hashmix::error::{Error, Result};
use hashmix::flow::escrow::coins::{Progress, progress};
use hashmix::flow::word::Word;
use hashmix::party::Seat;
use hashmix::store::Entry;
use hashmix::wallet::Balance;

use super::proxy::{At, Proxy, Snap};
use crate::world::{FULL, RATE, SEATS, Table};

/// Whoever is not answered waits as long as people do, and then asks again at once.
pub(crate) const BRISK: Patience =
    Patience { timeout: Duration::from_secs(20), attempts: 3, pause: Duration::from_millis(1) };
/// The same, with as little waiting as a server at rest allows: for who is in trouble.
pub(crate) const SHORT: Patience = Patience { timeout: Duration::from_millis(500), ..BRISK };
/// Whoever is not answered tells us at once.
pub(crate) const NONE: Patience =
    Patience { timeout: Duration::from_secs(20), attempts: 1, pause: Duration::ZERO };

/// How a contract went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Story {
    /// Every transaction that was reported as sent, by title, in order.
    pub(crate) sent: Vec<(&'static str, Txid)>,
    /// What each said, by kind: who is answered first is a matter of luck.
    said: Vec<Vec<&'static str>>,
    /// What the miner's wallet holds in the end.
    balance: Balance,
}

/// The people at their table, and the proxies of some.
pub(crate) struct Play {
    pub(crate) table: Table,
    proxies: BTreeMap<Seat, Proxy>,
    /// How the connection breaks at every line, if it does.
    snap: Option<Snap>,
    /// Times that it broke.
    pub(crate) snapped: u32,
    /// What there was to read when a seat last stepped in peace.
    read: BTreeMap<Seat, News>,
}

/// Tip, mempool and inbox: whoever finds them as they were has nothing to do.
type News = (u32, BTreeSet<Txid>, Vec<String>);

/// An error in trouble: one line that names the server, of a kind that stops nobody.
#[track_caller]
pub(crate) fn check(error: &Error, url: &str) {
    let line = error.to_string();
    assert_eq!(line.lines().count(), 1, "{line:?}");
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    assert!(line.contains(url), "{line} does not name {url}");
    assert!(line.contains(&format!("[{}]", error.rule())), "{line}");
    assert!([3, 5].contains(&error.exit_code()), "{line}");
}

/// A step and a reading of the wallet, both in trouble with the server at `url`: the rules by which
/// they end. Nothing is lost.
pub(crate) fn rules(play: &mut Play, seat: Seat, url: &str) -> [&'static str; 2] {
    let before = play.events(seat);
    let engine = play.table.engine(seat);
    let step = engine.step().unwrap_err();
    let balance = engine.balance().unwrap_err();
    check(&step, url);
    check(&balance, url);
    assert_eq!(play.events(seat), before);
    [step.rule(), balance.rule()]
}

impl Play {
    /// A funded escrow, and nobody in trouble.
    pub(crate) fn calm() -> Self {
        Self::at(Table::funded())
    }

    /// The same at this table.
    pub(crate) fn at(table: Table) -> Self {
        Self { table, proxies: BTreeMap::new(), snap: None, snapped: 0, read: BTreeMap::new() }
    }

    /// The same, with proxies between the server and these.
    pub(crate) fn through_proxies(seats: &[Seat], patience: Patience) -> Self {
        let mut play = Self::calm();
        play.put_proxies(seats, patience);
        play
    }

    /// Puts proxies between the server and these.
    pub(crate) fn put_proxies(&mut self, seats: &[Seat], patience: Patience) {
        for seat in seats {
            let proxy = Proxy::to(&self.table.node.electrum_url());
            let url = proxy.url();
            self.proxies.insert(*seat, proxy);
            self.send(*seat, &url, patience);
        }
    }

    /// From now on a seat, freshly taken, asks there and so patiently.
    pub(crate) fn send(&mut self, seat: Seat, url: &str, patience: Patience) {
        self.table.ways.insert(seat, (url.to_owned(), patience));
        self.table.restart(seat);
    }

    /// From now on connections break at every line, one after the other, in this way.
    pub(crate) fn break_everywhere(&mut self, snap: Snap) {
        self.snap = Some(snap);
    }

    pub(crate) fn proxy(&self, seat: Seat) -> &Proxy {
        &self.proxies[&seat]
    }

    /// What a seat's store holds of the contract.
    pub(crate) fn events(&mut self, seat: Seat) -> Vec<Entry> {
        let id = self.table.terms.id().unwrap();
        self.table.engine(seat).store().entries(&id.0).unwrap()
    }

    /// Somebody acts. If connections break everywhere, this one does so before, in or after the
    /// first line of it, then the second, and so on until he has acted in peace; a decision is
    /// taken once, however often it takes. What he has reported.
    fn act(
        &mut self,
        seat: Seat,
        decision: bool,
        act: &mut dyn FnMut(&mut Engine) -> Result<Vec<Report>>,
    ) -> Vec<Report> {
        let mut all = Vec::new();
        let mut lines = 0;
        loop {
            let before = self.events(seat);
            let trap = self.snap.filter(|_| self.proxies.contains_key(&seat));
            if let Some(snap) = trap {
                self.proxy(seat).lay_trap(At::Line(lines), snap);
            }
            let outcome = act(self.table.engine(seat));
            let snapped = trap.is_some() && self.proxy(seat).lift_trap();
            self.snapped += u32::from(snapped);
            // What was sent is there for whoever reads next.
            if self.proxies.get(&seat).is_none_or(|proxy| proxy.broadcasts() > 0) {
                self.table.node.settle().unwrap();
            }
            let after = self.events(seat);
            assert!(after.starts_with(&before), "{seat} lost something");
            let told = outcome.is_ok();
            match outcome {
                Ok(reports) => {
                    for report in reports {
                        match report {
                            Report::Waiting { .. } => {}
                            Report::Refused(what, error) => {
                                assert!(trap.is_some(), "{seat}, {what}: {error}");
                                check(&error, &self.proxy(seat).url());
                                assert_eq!(error.rule(), "chain-server", "{error}");
                            }
                            news => all.push(news),
                        }
                    }
                }
                Err(error) => {
                    assert!(snapped, "{seat}: {error}");
                    check(&error, &self.proxy(seat).url());
                    assert_eq!(error.rule(), "chain-server", "{error}");
                }
            }
            let grown = after.len() > before.len();
            if !snapped || (decision && (told || grown)) {
                self.table.note(&all);
                return all;
            }
            // What is done already is not asked for again: the lines before it count anew.
            lines = if grown { 0 } else { lines + 1 };
        }
    }

    /// A step. One that finds all as the last one left it is not worth being broken again.
    pub(crate) fn step(&mut self, seat: Seat) -> Vec<Report> {
        let snap = self.snap;
        if self.read.get(&seat) == Some(&self.news(seat)) {
            self.snap = None;
        }
        let reports = self.act(seat, false, &mut |engine| engine.step());
        self.snap = snap;
        let news = self.news(seat);
        self.read.insert(seat, news);
        reports
    }

    fn news(&self, seat: Seat) -> News {
        let node = &self.table.node;
        let mempool = node.mempool().unwrap().into_iter().collect();
        (node.height().unwrap(), mempool, self.table.names(seat, "inbox"))
    }

    pub(crate) fn decide(
        &mut self,
        seat: Seat,
        mut decision: impl FnMut(&mut Engine) -> Result<()>,
    ) {
        self.act(seat, true, &mut |engine| decision(engine).map(|()| Vec::new()));
    }

    /// Everybody who is there steps until nobody has news.
    pub(crate) fn everybody(&mut self) {
        loop {
            let mut quiet = true;
            for seat in SEATS {
                if self.table.sits(seat) {
                    quiet &= self.step(seat).is_empty();
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// The miner mines and certifies a slice.
    pub(crate) fn deliver(&mut self, slice: u32, count: usize) {
        let certificate = self.table.seal(slice, count);
        self.decide(Seat::Miner, |engine| engine.certify(certificate.clone()));
    }

    /// Two full periods, until a state for both is due and nobody has acted on it.
    pub(crate) fn until_a_state_is_due(&mut self) {
        for slice in [0, 1] {
            self.deliver(slice, FULL);
            self.everybody();
        }
        let prove = |engine: &mut Engine| Ok(vec![engine.prove_slice(1, RATE)?]);
        self.act(Seat::Miner, true, &mut { prove });
        self.everybody();
        self.table.ripen(1);
    }

    /// The state is signed and published.
    pub(crate) fn until_a_state_is_published(&mut self) {
        self.everybody();
        let publish = |engine: &mut Engine| engine.publish_state();
        self.act(Seat::Miner, true, &mut { publish });
        self.everybody();
    }

    /// A short period and a ruling for the miner, who then leaves; a close for the holder.
    pub(crate) fn until_the_end(&mut self) -> Story {
        self.deliver(2, FULL / 2);
        self.everybody();
        self.table.leave(Seat::Holder);
        self.table.ripen(2);
        self.step(Seat::Miner);
        self.decide(Seat::Miner, |engine| engine.open_dispute(2, RATE));
        self.everybody();
        self.table.elsewhere(self.table.terms.delays.answer);
        self.everybody();
        self.table.ripen(5);
        self.table.sit(Seat::Holder);
        self.everybody();
        self.decide(Seat::Holder, |engine| engine.open_dispute(5, RATE));
        self.everybody();
        self.table.elsewhere(self.table.terms.delays.answer);
        self.everybody();
        self.table.elsewhere(1);
        self.everybody();
        let facts = self.table.engine(Seat::Holder).facts().unwrap();
        let ended = progress(&self.table.terms, &facts).unwrap();
        assert!(matches!(ended, Progress::Ended { height: Some(_), .. }), "{ended:?}");
        assert!(self.table.node.mempool().unwrap().is_empty());
        let mut said = SEATS.map(|seat| self.said(seat)).to_vec();
        said.iter_mut().for_each(|words| words.sort_unstable());
        let balance = self.table.engine(Seat::Miner).balance().unwrap();
        Story { sent: self.table.story(), said, balance }
    }

    /// What a seat has said, by his own store.
    fn said(&mut self, seat: Seat) -> Vec<&'static str> {
        let events = self.events(seat);
        let words = events.iter().filter(|entry| entry.kind == "word");
        let words = words.map(|entry| Word::from_json(&String::from_utf8_lossy(&entry.body)));
        let words = words.map(Result::unwrap).filter(|word| word.from == seat);
        words.map(|word| kind(&word.event)).collect()
    }

    /// The whole contract.
    pub(crate) fn whole(&mut self) -> Story {
        self.until_a_state_is_due();
        self.until_a_state_is_published();
        self.until_the_end()
    }
}
