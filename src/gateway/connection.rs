//! One connection's task: bytes from the socket to the session, bytes from the session to the
//! socket, and nothing held meanwhile.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::board::Board;
use super::lines::Lines;
use super::server::{Guard, held};
use super::session::{Ended, Next, Session};

/// Bytes that are read at once.
const CHUNK: usize = 8 * 1_024;
/// Room for answers that is kept between lines.
const ROOM: usize = 4 * 1_024;

/// A connection: its socket, its machine, and what is on the way in and out.
struct Connection {
    stream: TcpStream,
    session: Session,
    lines: Lines,
    out: Vec<u8>,
    guard: Guard,
    /// Whether the machine has delivered: told to the door once.
    delivered: bool,
}

/// Serves a machine until one of both hangs up.
pub(super) async fn serve(
    stream: TcpStream,
    session: Session,
    guard: Guard,
    mut board: watch::Receiver<Arc<Board>>,
) {
    let limits = guard.place.house.settings.limits;
    let clock = guard.place.clock;
    // Often enough to notice the shortest of the bounds.
    let shortest = limits.greeting.min(limits.line_time).min(limits.idle);
    let tick = (shortest / 4).clamp(10, 1_000);
    let lines = Lines::new(limits.line);
    let mut connection =
        Connection { stream, session, lines, out: Vec::new(), guard, delivered: false };
    let mut next_tick = clock.now().ms.saturating_add(tick);
    let alarm = tokio::time::sleep_until(clock.at(next_tick));
    tokio::pin!(alarm);
    let ended = loop {
        let wait = connection.session.wait(clock.now().ms);
        let next = tokio::select! {
            biased;
            changed = board.changed() => match changed {
                Ok(()) => {
                    let board = Arc::clone(&board.borrow_and_update());
                    let Connection { session, out, .. } = &mut connection;
                    session.board(&board, clock.now(), out)
                }
                Err(_) => Err(Ended::Stopping),
            },
            () = alarm.as_mut() => {
                let now = clock.now();
                next_tick = now.ms.saturating_add(tick);
                connection.tick(wait.is_some())
            }
            ready = connection.stream.writable(), if !connection.out.is_empty() => {
                ready.map_err(|_| Ended::ByMachine)
            }
            ready = connection.stream.readable(), if wait.is_none() => match ready {
                Ok(()) => connection.read(),
                Err(_) => Err(Ended::ByMachine),
            },
        };
        connection.report();
        let written = connection.write();
        if let Err(ended) = next.and(written) {
            break ended;
        }
        // A machine that must wait goes on when its bucket lets it.
        let wait = connection.session.wait(clock.now().ms).unwrap_or(u64::MAX);
        let wake = clock.at(next_tick.min(wait));
        if alarm.deadline() != wake {
            alarm.as_mut().reset(wake);
        }
    };
    connection.guard.ended = ended;
}

impl Connection {
    /// Reads what is there, one chunk: others want to be served too.
    fn read(&mut self) -> Next {
        let mut chunk = [0; CHUNK];
        let length = match self.stream.try_read(&mut chunk) {
            Ok(0) => return Err(Ended::ByMachine),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Ended::ByMachine),
        };
        let now = self.guard.place.clock.now().ms;
        self.lines.push(chunk.get(..length).unwrap_or_default(), now);
        self.take()
    }

    /// Takes the lines that are whole, as long as the machine need not wait.
    fn take(&mut self) -> Next {
        let place = Arc::clone(&self.guard.place);
        loop {
            let now = place.clock.now();
            if self.session.wait(now.ms).is_some() {
                return Ok(());
            }
            let line = match self.lines.next(now.ms) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(()),
                Err(_) => {
                    super::stratum::refuse_with(
                        &mut self.out,
                        "null",
                        "null",
                        20,
                        Ended::LongLine.words(),
                    );
                    return Err(Ended::LongLine);
                }
            };
            self.session.line(line, now, place.sink.as_ref(), &mut self.out)?;
        }
    }

    /// Time has passed. Lines that had to wait are taken now, and are not late for it.
    fn tick(&mut self, waits: bool) -> Next {
        self.take()?;
        let unfinished = self.lines.since().filter(|_| !waits);
        self.session.tick(unfinished, self.guard.place.clock.now(), &mut self.out)
    }

    /// Shows the server what is known of the machine.
    fn report(&mut self) {
        let status = self.session.status();
        held(&self.guard.slot).clone_from(status);
        if !self.delivered && status.tally.accepted > 0 {
            self.delivered = true;
            self.guard.place.register().door.delivered(status.address.ip());
        }
    }

    /// Writes as much as the socket takes.
    fn write(&mut self) -> Next {
        let mut written = 0;
        while let Some(rest) = self.out.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(0) => return Err(Ended::ByMachine),
                Ok(length) => written = written.saturating_add(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Ended::ByMachine),
            }
        }
        self.out.drain(..written);
        if self.out.is_empty() {
            self.out.shrink_to(ROOM);
        }
        match self.out.len() > self.guard.place.house.settings.limits.unread {
            true => Err(Ended::Unread),
            false => Ok(()),
        }
    }
}
