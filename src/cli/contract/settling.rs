//! `hashmix contract settle`: both sign one settlement together, while both are there.
//!
//! ```text
//!  miner: settle -- nonce --> holder: settle, or step -- nonce, part --> miner: his part; sent
//! ```
//! A secret nonce lives in the memory of one process and nowhere else. So the miner's process waits for
//! the answer; one that ended takes its round with it, and a fresh one is begun.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::cli::contract::{Sitting, telling};
use crate::engine::Report;
use crate::error::Result;
use crate::flow::Event;
use crate::flow::escrow::state::Event as Escrow;
use crate::party::Seat;

/// Time between two looks into the inbox.
const LOOK: Duration = Duration::from_millis(300);

/// Settles together; waits for the other side for `wait` seconds.
pub(super) fn settle(sitting: &mut Sitting, rate: u64, wait: u64) -> Result<Vec<String>> {
    let miner = sitting.engine.seat() == Seat::Miner;
    // Certificates and receipts that wait are read before anybody computes what is due.
    let mut lines = match miner {
        true => sitting.step()?,
        false => Vec::new(),
    };
    if miner {
        sitting.engine.begin_joint_settlement(rate)?;
        lines.push(format!("asked     the holder to sign with you, at {rate} sat/vB"));
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(wait) {
        if !sitting.rounds()?.is_empty() {
            if !miner {
                lines.extend(sitting.step()?);
                return Ok(lines);
            }
            let reports = sitting.engine.step()?;
            let joined = |report: &Report| {
                matches!(report, Report::Said(Event::Escrow(Escrow::Joined { .. })))
            };
            let done = reports.iter().any(joined);
            lines.extend(telling::lines(reports));
            if done {
                return Ok(lines);
            }
        }
        sleep(LOOK);
    }
    lines.push(match miner {
        true => {
            format!("over      no answer within {wait} seconds: this round is void, begin again")
        }
        false => format!("over      the miner has not begun within {wait} seconds"),
    });
    Ok(lines)
}
