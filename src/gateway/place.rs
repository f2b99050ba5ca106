//! The place: what the tasks of all connections know, and how each is signed on and off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::conduct::Door;
use super::machines::{MachineStatus, Totals};
use super::session::Ended;
use super::settings::{House, Sink};
use super::submit::Moment;

/// The clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    /// Now.
    pub(super) fn now(self) -> Moment {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ms = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { ms, unix: u32::try_from(unix).unwrap_or(u32::MAX) }
    }

    /// The instant that is so many ms after the start.
    pub(super) fn at(self, ms: u64) -> tokio::time::Instant {
        (self.0 + Duration::from_millis(ms)).into()
    }
}

/// What a connection's task and the server share of it.
pub(super) type Slot = Arc<Mutex<MachineStatus>>;

/// Who is there, and what became of those who were.
#[derive(Debug)]
pub(super) struct Register {
    pub(super) door: Door,
    pub(super) machines: BTreeMap<u64, Slot>,
    /// Of connections that have ended, and of the door.
    pub(super) past: Totals,
}

/// The bits of a connection's number that are in its extra nonce.
const NUMBERED: u64 = 0xff_ffff;

impl Register {
    /// The number of the connection after this one: none that is open has the same extra nonce.
    pub(super) fn number_after(&self, number: u64) -> u64 {
        let mut next = number.wrapping_add(1);
        while next > NUMBERED && self.machines.keys().any(|open| (open ^ next) & NUMBERED == 0) {
            next = next.wrapping_add(1);
        }
        next
    }
}

/// What all tasks know.
pub(super) struct Place {
    pub(super) house: Arc<House>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) clock: Clock,
    pub(super) register: Mutex<Register>,
}

impl Place {
    pub(super) fn register(&self) -> MutexGuard<'_, Register> {
        held(&self.register)
    }
}

/// A lock's value, even if a thread has panicked with it: what it counts is still counted.
pub(super) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Signs a connection off, however its task ends.
pub(super) struct Guard {
    pub(super) place: Arc<Place>,
    pub(super) slot: Slot,
    pub(super) ended: Ended,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let now = self.place.clock.now();
        let status = held(&self.slot).clone();
        let address = status.address.ip();
        let mut register = self.place.register();
        register.machines.remove(&status.number);
        register.past.tally.add(&status.tally);
        register.door.leave(address, status.payee.is_some(), status.tally.accepted > 0);
        let mut banned = false;
        if self.ended.strikes() {
            register.past.closed = register.past.closed.saturating_add(1);
            banned = register.door.strike(address, now.ms);
            register.past.bans = register.past.bans.saturating_add(u64::from(banned));
        }
        drop(register);
        if !matches!(self.ended, Ended::ByMachine | Ended::Stopping) {
            self.place.sink.note(status.address, &format!("closed: {}", self.ended.words()));
        }
        if banned {
            self.place.sink.note(status.address, "the address is banned for a while");
        }
    }
}
