//! One connection's task: bytes from the socket to the session, bytes from the session to the
//! socket, and nothing held meanwhile.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::board::Board;
use super::lines::Lines;
use super::place::{Clock, Guard, held};
use super::session::{Ended, Next, Session};

/// Bytes that are read at once.
const CHUNK: usize = 8 * 1_024;
/// Room for answers that is kept between lines.
const ROOM: usize = 4 * 1_024;

/// A connection: its socket, its machine, and what is on the way in and out.
struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    session: Session,
    lines: Lines,
    out: Vec<u8>,
    guard: Guard,
    /// Whether the machine has logged in, and delivered: each told to the door once.
    logged_in: bool,
    delivered: bool,
}

/// What a connection has waited for.
enum Event {
    /// The board has changed.
    Board,
    /// It is time to look around.
    Alarm,
    /// The socket takes bytes again.
    Writable,
    /// So many bytes have arrived; none at the connection's end.
    Arrived(usize),
    /// The connection has failed.
    Failed,
    /// The server has been dropped.
    Dropped,
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
    let (reader, writer) = stream.into_split();
    let lines = Lines::new(limits.line);
    let out = Vec::new();
    let (logged_in, delivered) = (false, false);
    let mut connection =
        Connection { reader, writer, session, lines, out, guard, logged_in, delivered };
    let mut next_tick = clock.now().ms.saturating_add(tick);
    let alarm = tokio::time::sleep_until(clock.at(next_tick));
    tokio::pin!(alarm);
    let ended = loop {
        let waits = connection.session.wait(clock.now().ms).is_some();
        let Connection { reader, writer, lines, out, .. } = &mut connection;
        let event = tokio::select! {
            // New work first, and then the clock, lest one who talks all the time escapes it.
            biased;
            changed = board.changed() => changed.map_or(Event::Dropped, |()| Event::Board),
            () = alarm.as_mut() => Event::Alarm,
            ready = writer.writable(), if !out.is_empty() => {
                ready.map_or(Event::Failed, |()| Event::Writable)
            }
            event = arrival(reader, lines, clock), if !waits => event,
        };
        let next = match event {
            Event::Board => {
                let board = Arc::clone(&board.borrow_and_update());
                let Connection { session, out, .. } = &mut connection;
                session.board(&board, clock.now(), out)
            }
            Event::Alarm => {
                next_tick = clock.now().ms.saturating_add(tick);
                connection.tick(waits)
            }
            Event::Writable => Ok(()),
            Event::Arrived(0) | Event::Failed => Err(Ended::ByMachine),
            Event::Arrived(_) => connection.take(),
            Event::Dropped => Err(Ended::Stopping),
        };
        connection.report();
        let written = connection.write();
        if let Err(ended) = next.and(written) {
            break ended;
        }
        // A machine that must wait goes on when its bucket lets it: at once, if it did meanwhile.
        let now = clock.now().ms;
        let wait = connection.session.wait(now);
        let wait = wait.unwrap_or(if waits { now } else { u64::MAX });
        let wake = clock.at(next_tick.min(wait));
        if alarm.deadline() != wake {
            alarm.as_mut().reset(wake);
        }
    };
    connection.guard.ended = ended;
}

/// Waits for bytes and takes one chunk of them: others want to be served too. The chunk lies on the
/// stack, so that a silent connection costs no buffer.
async fn arrival(reader: &mut OwnedReadHalf, lines: &mut Lines, clock: Clock) -> Event {
    poll_fn(|context| {
        let mut chunk = [0; CHUNK];
        let mut chunk = ReadBuf::new(&mut chunk);
        match Pin::new(&mut *reader).poll_read(context, &mut chunk) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(_)) => Poll::Ready(Event::Failed),
            Poll::Ready(Ok(())) => {
                let bytes = chunk.filled();
                lines.push(bytes, clock.now().ms);
                Poll::Ready(Event::Arrived(bytes.len()))
            }
        }
    })
    .await
}

impl Connection {
    /// Takes the lines that are whole, as long as the machine need not wait.
    fn take(&mut self) -> Next {
        let place = Arc::clone(&self.guard.place);
        let now = place.clock.now();
        loop {
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
        if !self.logged_in && status.payee.is_some() {
            self.logged_in = true;
            self.guard.place.register().door.greeted(status.address.ip());
        }
        if !self.delivered && status.tally.accepted > 0 {
            self.delivered = true;
            self.guard.place.register().door.delivered(status.address.ip());
        }
    }

    /// Writes as much as the socket takes.
    fn write(&mut self) -> Next {
        let mut written = 0;
        while let Some(rest) = self.out.get(written..).filter(|rest| !rest.is_empty()) {
            match self.writer.try_write(rest) {
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
