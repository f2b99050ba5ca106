//! The report: a status, put together from everything that the threads of a gateway share.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::flow::position::proof::{Stage, foreseen};
use crate::gateway::agreed::Position;
use crate::gateway::collector::OpenSlice;
use crate::gateway::crew::{Crew, lower};
use crate::gateway::ended::Ended;
use crate::gateway::floor::{Floor, Standing, locked};
use crate::gateway::reject::Reject;
use crate::gateway::server::{MachineStatus, Server};
use crate::gateway::status::{Machine, PositionStatus, STATUS_FORMAT, StageStatus, Status, Work};

/// Everything worth knowing, now.
pub(super) fn status(floor: &Floor, server: &Server) -> Status {
    let (totals, machines) = (server.totals(), server.machines());
    // Locked one after the other: whoever brings new work waits for no disk.
    let open = locked(&floor.collector).open_slices();
    let standing = locked(&floor.standing);
    let now = floor.begun.elapsed().as_secs();
    let rejected =
        Reject::ALL.iter().map(|why| (why.name().to_owned(), totals.tally.rejected(*why)));
    Status {
        format: STATUS_FORMAT.to_owned(),
        up: now,
        work: work(&standing),
        nodes: standing.nodes.clone(),
        rates: standing.crew.all.all(now, totals.tally.work),
        best: machines.iter().fold(standing.crew.best, |best, one| lower(best, one.best)),
        accepted: totals.tally.accepted,
        rejected: rejected.collect(),
        banned: totals.bans,
        blocks: standing.blocks.iter().cloned().collect(),
        machines: machines.iter().map(|machine| seen(machine, &standing.crew, now)).collect(),
        positions: positions(floor, &standing, &open),
    }
}

fn work(standing: &Standing) -> Work {
    match &standing.work {
        Some(work) => Work::On {
            height: work.offer.template.height,
            age: work.since.elapsed().as_secs(),
            node: standing.nodes.get(work.node).map(|node| node.url.clone()).unwrap_or_default(),
        },
        None => Work::Paused { why: standing.why.clone() },
    }
}

fn seen(machine: &MachineStatus, crew: &Crew, now: u64) -> Machine {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Machine {
        user: machine.user.to_string(),
        firmware: machine.firmware.to_string(),
        address: machine.address.to_string(),
        rate: crew.rate_of(machine, now),
        last: machine.last.map(|last| unix.saturating_sub(u64::from(last))),
        accepted: machine.tally.accepted,
        rejected: machine.tally.rejects.iter().sum(),
        trouble: machine.warning.as_ref().map(ToString::to_string),
    }
}

fn positions(floor: &Floor, standing: &Standing, open: &[OpenSlice]) -> Vec<PositionStatus> {
    let height = standing.work.as_ref().map(|work| work.offer.template.height);
    let mut positions = Vec::new();
    for (payee, refused) in floor.plan.payees().iter().zip(&standing.refused) {
        for (place, _) in &payee.positions {
            let Some(position) = floor.plan.positions().get(*place) else { continue };
            let calendar = position.work.calendar();
            let slice = height.and_then(|height| calendar.slice_of(height));
            let done = slice.and_then(|slice| {
                Some(height?.saturating_sub(*calendar.slice_blocks(slice)?.start()))
            });
            let locks = position.work.locks();
            let mut changes = locks.iter().skip(1).map(|(heights, _)| *heights.start());
            let change = height.and_then(|height| changes.find(|change| *change > height));
            let (sealed, trouble) = standing.sealed.get(*place).cloned().unwrap_or_default();
            let ended = standing.ended.get(*place).and_then(Option::as_ref);
            positions.push(PositionStatus {
                position: position.id,
                payee: payee.name.clone(),
                stage: stage(position),
                slice: slice.map(|slice| slice.saturating_add(1)),
                slices: calendar.slices(),
                shares: open
                    .iter()
                    .find(|open| open.position == *place && Some(open.slice) == slice)
                    .map_or(0, |open| u64::try_from(open.shares).unwrap_or(u64::MAX)),
                expected: position.work.expected,
                blocks: (done.unwrap_or(0), calendar.slice),
                lock_changes: change,
                sold_on: ended.and_then(Ended::sold).cloned(),
                closed: ended.and_then(Ended::closed),
                sealed,
                trouble: refused.clone().or(trouble),
            });
        }
    }
    positions
}

/// What a position proves before it is issued; nothing of a contract.
fn stage(position: &Position) -> Option<StageStatus> {
    let (terms, stage) = position.proof()?;
    let last = stage.last(terms);
    Some(StageStatus {
        // Terms that could not be hashed or computed with were refused when the plan was made.
        terms: terms.id().ok()?,
        stage,
        heights: (stage.first(terms), last),
        least: foreseen(terms).ok()?.shares,
        paid_until: match stage {
            Stage::Onboarding => last,
            Stage::Binding => terms.delivery.start.saturating_sub(1),
        },
    })
}
