//! A coinbase read from its bytes: one input that names the height, outputs that name who is paid.
//!
//! Rules 2 and 4 of a share. The parser is strict in what Bitcoin Core is strict in, and reads to
//! the last byte: trailing bytes would let one payment be shown under many hashes, a length of 64
//! would let an inner node of a merkle tree pose as a coinbase (or the other way round).

use bitcoin::{Amount, Network, Script};

use crate::amount::{MAX_SATOSHIS, per_million};
use crate::error::{Culprit, Error, Result, Rule};
use crate::work::agreement::Demand;
use crate::work::binary::Reader;
use crate::work::hash;

/// A coinbase is a transaction without witness data.
pub const FORM: Rule = Rule::new(
    "work-coinbase-form",
    "the coinbase is a whole transaction without witness data",
    "show the coinbase as it is hashed into its txid",
);
/// Nothing follows the coinbase.
pub const TRAILING: Rule = Rule::new(
    "work-coinbase-trailing",
    "nothing follows the coinbase's last byte",
    "show the coinbase alone",
);
/// A coinbase cannot be mistaken for an inner node.
pub const LENGTH: Rule = Rule::new(
    "work-coinbase-length",
    "the coinbase is not 64 bytes long, and not longer than 100,000",
    "lengthen or shorten the extra nonce",
);
/// A coinbase has one input that spends nothing.
pub const INPUT: Rule = Rule::new(
    "work-coinbase-input",
    "the coinbase has exactly one input, with a null prevout",
    "show the coinbase itself",
);
/// A coinbase's script has 2 to 100 bytes.
pub const SCRIPT: Rule = Rule::new(
    "work-coinbase-script",
    "the coinbase's script has 2 to 100 bytes",
    "shorten the extra nonce",
);
/// A coinbase states its height (BIP 34).
pub const HEIGHT: Rule = Rule::new(
    "work-coinbase-height",
    "the coinbase's script begins with the height after the parent (BIP 34)",
    "mine on the current template",
);
/// A coinbase could be in the block that it would have made.
pub const FINAL: Rule = Rule::new(
    "work-coinbase-final",
    "the coinbase's lock time does not keep it out of its own block",
    "mine with lock time 0",
);
/// The lock is paid.
pub const PAY_LOCK: Rule = Rule::new(
    "work-pay-lock",
    "the coinbase pays the reward lock",
    "point the coinbase at the lock of this position",
);
/// The lock that is paid is the one of the period.
pub const PAY_HOLDER: Rule = Rule::new(
    "work-pay-holder",
    "the coinbase pays the lock of whoever holds the position in its period",
    "let the gateway take the present terms: it changes the lock at the right height",
);
/// The service share is paid, behind the lock and in proportion.
pub const PAY_SERVICE: Rule = Rule::new(
    "work-pay-service",
    "the output behind the lock's pays the service script its exact share",
    "pay floor((lock + service) x ppm / 1,000,000) directly behind the lock",
);
/// The outputs add up to what the block may pay.
pub const PAY_TOTAL: Rule = Rule::new(
    "work-pay-total",
    "the outputs add up to the subsidy at least and to subsidy and cap at most",
    "pay out the whole reward, and no more than agreed",
);

/// The length at which a transaction looks like an inner node of a merkle tree.
const NODE_LENGTH: usize = 64;
/// Far above what any firmware mines, and what relay accepts as a transaction (virtual bytes).
const LONGEST: usize = 100_000;
/// Blocks of a subsidy era; regtest's are shorter.
const HALVING: u32 = 210_000;
const HALVING_REGTEST: u32 = 150;
/// The first subsidy, in satoshis.
const FIRST_SUBSIDY: u64 = 5_000_000_000;
/// From here on a lock time is in Unix seconds, below in blocks.
const TIME_LOCKS: u32 = 500_000_000;

/// New satoshis in the block at `height`.
pub fn subsidy(network: Network, height: u32) -> Amount {
    let era = if network == Network::Regtest { HALVING_REGTEST } else { HALVING };
    let halvings = height.checked_div(era).unwrap_or(0);
    Amount::from_sat(FIRST_SUBSIDY.checked_shr(halvings).unwrap_or(0))
}

/// What a coinbase pays to whom it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// To the lock and the service script together (satoshis).
    pub paid: Amount,
    /// By all outputs (satoshis).
    pub total: Amount,
}

/// A coinbase, read from the bytes that make its txid.
#[derive(Clone, Copy, Debug)]
pub struct Coinbase<'a> {
    bytes: &'a [u8],
    script: &'a [u8],
    sequence: u32,
    count: u64,
    outputs: Reader<'a>,
    lock_time: u32,
}

impl<'a> Coinbase<'a> {
    /// Reads a coinbase to its last byte.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() == NODE_LENGTH || bytes.len() > LONGEST {
            return Err(refuse(LENGTH, "another length", format_args!("{} bytes", bytes.len())));
        }
        let short = || refuse(FORM, "a transaction", "bytes that end early or count badly");
        let mut reader = Reader(bytes);
        reader.take(4).ok_or_else(short)?;
        let inputs = reader.compact().ok_or_else(short)?;
        if inputs != 1 {
            return Err(refuse(INPUT, "1 input", inputs));
        }
        let prevout = reader.take(36).ok_or_else(short)?;
        let (txid, index) = prevout.split_at_checked(32).ok_or_else(short)?;
        if txid.iter().any(|byte| *byte != 0) || index.iter().any(|byte| *byte != 0xff) {
            return Err(refuse(INPUT, "a null prevout", "the output of another transaction"));
        }
        let length = reader.compact().ok_or_else(short)?;
        if !(2..=100).contains(&length) {
            return Err(refuse(SCRIPT, "2 to 100 bytes", length));
        }
        let script = reader.take_counted(length).ok_or_else(short)?;
        let sequence = reader.u32().ok_or_else(short)?;
        let count = reader.compact().ok_or_else(short)?;
        if count == 0 {
            return Err(refuse(FORM, "at least 1 output", count));
        }
        let outputs = reader;
        for _ in 0..count {
            output(&mut reader).ok_or_else(short)?;
        }
        let lock_time = reader.u32().ok_or_else(short)?;
        if !reader.0.is_empty() {
            let found = format_args!("{} more bytes", reader.0.len()).to_string();
            return Err(refuse(TRAILING, "the end", found));
        }
        Ok(Self { bytes, script, sequence, count, outputs, lock_time })
    }

    /// The hash that stands at leaf 0 of the block.
    pub fn txid(&self) -> [u8; 32] {
        hash::double(self.bytes)
    }

    /// Whether the script begins with `height` exactly as Core demands it (BIP 34).
    pub fn states_height(&self, height: u32) -> bool {
        let Some((push, rest)) = self.script.split_first() else { return false };
        match height {
            0 => *push == 0,
            // OP_1 to OP_16.
            1..=16 => u32::from(*push) == height.saturating_add(0x50),
            _ => {
                // Little-endian, as short as possible with the sign bit free.
                let bits = u32::BITS.saturating_sub(height.leading_zeros());
                let length = usize::try_from(bits / 8).unwrap_or(0).saturating_add(1);
                let bytes = u64::from(height).to_le_bytes();
                usize::from(*push) == length
                    && rest.get(..length).is_some_and(|stated| Some(stated) == bytes.get(..length))
            }
        }
    }

    /// Whether the lock time lets the coinbase into the block at `height` whose parent has this
    /// median-time-past (BIP 113).
    pub fn is_final(&self, height: u32, median: u32) -> bool {
        let limit = if self.lock_time < TIME_LOCKS { height } else { median };
        self.sequence == u32::MAX || self.lock_time < limit
    }

    /// The time below which the median-time-past of the parent keeps the coinbase out of its block
    /// (Unix seconds), if its lock time is one: what of [`Coinbase::is_final`] the height leaves open.
    pub fn locked_until(&self) -> Option<u32> {
        (self.sequence != u32::MAX && self.lock_time >= TIME_LOCKS).then_some(self.lock_time)
    }

    /// Rule 2 in one: the height, and that the coinbase could be in its block.
    pub fn check_place(&self, height: u32, median: u32) -> Result<()> {
        if !self.states_height(height) {
            let start = self.script.get(..self.script.len().min(6)).unwrap_or_default();
            return Err(refuse(
                HEIGHT,
                format_args!("height {height}"),
                format_args!("a script that begins with {:x}", Script::from_bytes(start)),
            ));
        }
        if !self.is_final(height, median) {
            return Err(refuse(
                FINAL,
                format_args!("below height {height} or time {median}"),
                format_args!("lock time {}", self.lock_time),
            ));
        }
        Ok(())
    }

    /// Rule 4: what is paid to the lock and, directly behind, to the service script.
    ///
    /// The first output to the lock counts; further ones count as anybody's. Amounts are exact:
    /// the service share is floor((lock + service) x ppm / 1,000,000).
    pub fn payment(&self, height: u32, demand: &Demand<'_>) -> Result<Payment> {
        let mut outputs = self.outputs;
        let mut total: u64 = 0;
        let mut lock = None;
        let mut behind = None;
        let mut follows = false;
        for _ in 0..self.count {
            let Some((value, script)) = output(&mut outputs) else { break };
            // Both are at most 21e14 here, so the sum cannot overflow.
            total = total.saturating_add(value);
            if value > MAX_SATOSHIS || total > MAX_SATOSHIS {
                return Err(refuse(PAY_TOTAL, "at most 21 million bitcoin", "more"));
            }
            if follows {
                behind = Some((value, script));
                follows = false;
            }
            if lock.is_none() && script == demand.lock.as_bytes() {
                lock = Some(value);
                follows = true;
            }
        }
        let Some(lock) = lock.filter(|value| *value > 0) else {
            if let Some(error) = self.other_holder(demand) {
                return Err(error);
            }
            let found = if lock.is_some() { "an output of 0 sat to it" } else { "no output to it" };
            return Err(refuse(PAY_LOCK, format_args!("a payment to {:x}", demand.lock), found));
        };
        let paid = match demand.service {
            None => lock,
            Some((service, ppm)) => lock.saturating_add(check_service(lock, behind, service, ppm)?),
        };
        let least = subsidy(demand.network, height).to_sat();
        let most = least.saturating_add(demand.cap.to_sat());
        if !(least..=most).contains(&total) {
            return Err(refuse(
                PAY_TOTAL,
                format_args!("{least} to {most} sat at height {height}"),
                format_args!("{total} sat"),
            ));
        }
        Ok(Payment { paid: Amount::from_sat(paid), total: Amount::from_sat(total) })
    }

    /// Why a coinbase counts for nobody that pays a lock of the same contract, but too early or too
    /// late. Heights tell whose time it is; what pays none of the locks is another matter.
    fn other_holder(&self, demand: &Demand<'_>) -> Option<Error> {
        let terms = demand.holders?;
        let locks = terms.locks();
        let place = |lock: &Script| locks.iter().position(|(_, other)| *other == lock);
        let due = place(demand.lock)?;
        let mut outputs = self.outputs;
        let paid = (0..self.count)
            .map_while(|_| output(&mut outputs))
            .filter(|(value, _)| *value > 0)
            .find_map(|(_, script)| place(Script::from_bytes(script)))?;
        let (heights, lock) = locks.get(due)?;
        let (others, other) = locks.get(paid)?;
        // Periods are counted from 1 where people read them.
        let period = |height: &u32| {
            terms.calendar().period_of(*height).map_or(0, |period| period.saturating_add(1))
        };
        let found = if others.is_empty() {
            let ended = others.end();
            format!(
                "{other:x}, the lock of the holder before the first sale, which ended at height {ended}"
            )
        } else if paid < due {
            let ended = period(others.end());
            format!("{other:x}, the lock of a holder before, which ended with period {ended}")
        } else {
            let begins = period(others.start());
            format!("{other:x}, the lock of a later holder, which begins with period {begins}")
        };
        let expected = format!("{lock:x} from height {} to {}", heights.start(), heights.end());
        Some(refuse(PAY_HOLDER, expected, found))
    }
}

/// The value of the service output, if it is what the lock's value demands.
fn check_service(
    lock: u64,
    behind: Option<(u64, &[u8])>,
    service: &Script,
    ppm: u32,
) -> Result<u64> {
    let Some((value, _)) = behind.filter(|(_, script)| *script == service.as_bytes()) else {
        return Err(refuse(
            PAY_SERVICE,
            format_args!("an output to {service:x} directly behind the lock's"),
            "another output or none",
        ));
    };
    let due = per_million(Amount::from_sat(lock.saturating_add(value)), ppm).to_sat();
    if value != due {
        return Err(refuse(
            PAY_SERVICE,
            format_args!("{ppm} ppm of lock and service together, rounded down"),
            format_args!("{value} sat behind {lock} sat"),
        ));
    }
    Ok(value)
}

/// An output's value in satoshis and its script.
#[inline]
fn output<'a>(reader: &mut Reader<'a>) -> Option<(u64, &'a [u8])> {
    let value = reader.u64()?;
    let length = reader.compact()?;
    Some((value, reader.take_counted(length)?))
}

fn refuse(rule: Rule, expected: impl core::fmt::Display, found: impl core::fmt::Display) -> Error {
    rule.refuses(Culprit::Miner, "coinbase", expected, found)
}
