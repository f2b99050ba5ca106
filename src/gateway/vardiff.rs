//! How hard a machine's shares are: so that it sends a few each minute, whatever its rate.
//!
//! What the machine delivers is counted as work in a window of time, and a difficulty is worth
//! changing when it is off by more than a factor of two. The first change may come as soon as a
//! dozen shares are there, later ones not within 30 s of each other. A change goes out with a new
//! job, and earlier jobs keep the difficulty that they were sent with: no share is lost by it.

use super::difficulty::Difficulty;

/// Shares that settle the first difficulty before half a minute has passed.
const FIRST_SHARES: u32 = 12;
/// Shares, found or expected, that later ones are judged by.
const LATER_SHARES: u64 = 8;
/// Least time between two changes, ms.
const BETWEEN: u64 = 30_000;
/// A window without a change ends, ms: what happened before says little about now.
const WINDOW: u64 = 300_000;
/// Least time that a rate is measured over, ms.
const LEAST: u64 = 250;
/// Time between two looks, ms: a look takes as long as a share's hashes.
const LOOK: u64 = 1_000;

/// How often machines are to send shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Shares a minute.
    pub per_minute: u32,
    /// The difficulty that a machine starts with, unless it suggests one.
    pub start: Difficulty,
    /// The easiest difficulty.
    pub least: Difficulty,
    /// The hardest.
    pub most: Difficulty,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            per_minute: 8,
            start: Difficulty::whole(1_000),
            least: Difficulty::of_hashes(1 << 16, 1, 1),
            most: Difficulty::whole(u64::MAX),
        }
    }
}

/// One machine's difficulty.
#[derive(Clone, Debug)]
pub struct Vardiff {
    pace: Pace,
    difficulty: Difficulty,
    /// When the window began, ms; none before the first job.
    since: Option<u64>,
    /// Shares of the window.
    shares: u32,
    /// Hashes that they stand for.
    work: u128,
    /// Whether it was ever judged by what the machine delivered.
    settled: bool,
    /// When it was last looked at, ms.
    looked: u64,
}

impl Vardiff {
    /// Starts as the pace says.
    pub fn new(pace: Pace) -> Self {
        let difficulty = pace.start.clamp(pace.least, pace.most.max(pace.least));
        Self { pace, difficulty, since: None, shares: 0, work: 0, settled: false, looked: 0 }
    }

    /// What the machine's next job is sent with, if nothing else bounds it.
    pub fn difficulty(&self) -> Difficulty {
        self.difficulty
    }

    /// The machine says what it would like; true if that changes anything.
    pub fn suggest(&mut self, wish: Difficulty, now: u64) -> bool {
        let wish = wish.clamp(self.pace.least, self.pace.most.max(self.pace.least));
        let changes = wish != self.difficulty;
        if changes {
            self.set(wish, now);
        }
        changes
    }

    /// A job went out at `now`: time counts from the first one.
    pub fn began(&mut self, now: u64) {
        self.since.get_or_insert(now);
    }

    /// A share that stands for `work` hashes was accepted.
    pub fn accepted(&mut self, work: u128) {
        self.shares = self.shares.saturating_add(1);
        self.work = self.work.saturating_add(work);
    }

    /// The difficulty to go on with, if it is to change at `now`.
    pub fn next(&mut self, now: u64) -> Option<Difficulty> {
        let passed = now.saturating_sub(self.since?);
        let early = !self.settled && self.shares >= FIRST_SHARES;
        let lately = now.saturating_sub(self.looked) < LOOK;
        if (passed < BETWEEN || lately) && !early {
            return None;
        }
        self.looked = now;
        let passed = passed.max(LEAST);
        let per_minute = u64::from(self.pace.per_minute.max(1));
        let expected = passed.saturating_mul(per_minute) / 60_000;
        if !early && u64::from(self.shares).max(expected) < LATER_SHARES / 2 {
            return None;
        }
        // Nothing at all says only that the rate is far below: go down in steps.
        let step = if self.settled { 4 } else { 16 };
        let ideal = match self.shares {
            0 => self.difficulty.scaled(1, step),
            // Work a minute, divided by shares a minute. The next share may be about to come: as
            // if it had, so that few shares are no reason to fall far.
            _ => {
                let next = self.work / u128::from(self.shares);
                let work = self.work.saturating_add(next);
                Difficulty::of_hashes(work, 60_000, per_minute.saturating_mul(passed))
            }
        };
        let ideal = ideal.clamp(self.pace.least, self.pace.most.max(self.pace.least));
        let enough = u64::from(self.shares).max(expected) >= LATER_SHARES;
        let far = ideal > self.difficulty.scaled(2, 1) || ideal < self.difficulty.scaled(1, 2);
        if far && (enough || !self.settled) {
            self.set(ideal, now);
            self.settled = true;
            return Some(ideal);
        }
        // What a dozen shares said is said; the next look is in its time.
        self.settled |= early;
        if passed >= WINDOW {
            self.set(self.difficulty, now);
        }
        None
    }

    fn set(&mut self, difficulty: Difficulty, now: u64) {
        self.difficulty = difficulty;
        self.shares = 0;
        self.work = 0;
        self.looked = now;
        if self.since.is_some() {
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::credit::share_work;

    /// Plays a machine of `rate` hashes a second for so many seconds, its shares evenly spread.
    /// Answers with the changes: when (s), and to what.
    fn play(vardiff: &mut Vardiff, rate: u128, seconds: u64) -> Vec<(u64, Difficulty)> {
        let mut changes = Vec::new();
        let mut done = 0u128;
        vardiff.began(0);
        for tenth in 1..=seconds * 10 {
            done += rate / 10;
            let each = share_work(vardiff.difficulty().target());
            // No machine sends more than 20 in a tenth of a second.
            for _ in 0..(done / each).min(20) {
                vardiff.accepted(each);
            }
            done %= each;
            if let Some(next) = vardiff.next(tenth * 100) {
                changes.push((tenth / 10, next));
            }
        }
        changes
    }

    /// Shares a minute at the difficulty.
    fn pace_of(vardiff: &Vardiff, rate: u128) -> u128 {
        rate * 60 / share_work(vardiff.difficulty().target())
    }

    #[test]
    fn machines_of_every_size_find_their_pace_within_minutes() {
        for rate in [200_000u128, 80_000_000, 1_200_000_000_000, 234_000_000_000_000] {
            let mut vardiff = Vardiff::new(Pace::default());
            let changes = play(&mut vardiff, rate, 900);
            let pace = pace_of(&vardiff, rate);
            // Eight, give or take what is not worth a change.
            assert!((3..=16).contains(&pace), "{rate} H/s: {pace} a minute, {changes:?}");
            assert!(changes.len() <= 12, "{rate} H/s: {changes:?}");
            for pair in changes.windows(2) {
                assert!(pair[1].0 - pair[0].0 >= 29, "{rate} H/s: {changes:?}");
            }
        }
    }

    #[test]
    fn a_big_machine_is_settled_within_a_second() {
        let mut vardiff = Vardiff::new(Pace::default());
        let changes = play(&mut vardiff, 234_000_000_000_000, 2);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert!((4..=16).contains(&pace_of(&vardiff, 234_000_000_000_000)));
    }

    #[test]
    fn a_steady_machine_is_left_alone_and_one_that_changes_is_followed() {
        let mut vardiff = Vardiff::new(Pace::default());
        let rate = 1_000_000_000_000;
        play(&mut vardiff, rate, 600);
        let settled = vardiff.difficulty();
        vardiff.set(settled, 0);
        assert_eq!(play(&mut vardiff, rate, 3_600), []);
        vardiff.set(settled, 0);
        assert_eq!(play(&mut vardiff, rate / 5, 600).len(), 1);
        vardiff.set(vardiff.difficulty(), 0);
        assert_eq!(play(&mut vardiff, rate, 600).len(), 1);
    }

    #[test]
    fn nothing_changes_before_the_first_job() {
        let mut vardiff = Vardiff::new(Pace::default());
        assert_eq!(vardiff.next(10_000_000), None);
        vardiff.began(10_000_000);
        assert_eq!(vardiff.next(10_000_001), None);
        assert!(vardiff.next(10_030_000).is_some());
    }

    #[test]
    fn a_wish_is_granted_within_the_bounds() {
        let pace = Pace {
            least: Difficulty::whole(10),
            most: Difficulty::whole(5_000),
            ..Pace::default()
        };
        let mut vardiff = Vardiff::new(pace);
        assert!(vardiff.suggest(Difficulty::whole(2_000), 5));
        assert_eq!(vardiff.difficulty(), Difficulty::whole(2_000));
        assert!(!vardiff.suggest(Difficulty::whole(2_000), 6));
        assert!(vardiff.suggest(Difficulty::whole(1), 7));
        assert_eq!(vardiff.difficulty(), pace.least);
        assert!(vardiff.suggest(Difficulty::whole(1 << 40), 8));
        assert_eq!(vardiff.difficulty(), pace.most);
        let silly = Pace { most: Difficulty::whole(1), ..pace };
        assert_eq!(Vardiff::new(silly).difficulty(), pace.least);
    }
}
