//! Carries the bytes of one connection both ways, as its rules let it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::frames::{Frame, Meaning, take};
use super::{Protocol, Rules, Trap, Valves};
use crate::schedule::{Lose, Side, Way};

/// A reader waits when so much is unread.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// PubAcks of one connection that are held at a time.
const HELD_MAX: usize = 256;

/// Until either side ends it, or it is cut.
pub async fn carry(client: TcpStream, server: TcpStream, rules: &Rules) {
    let mut valves = rules.valves.subscribe();
    let cuts = valves.borrow_and_update().cuts;
    let is_listener = AtomicBool::new(false);
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let up = Lane { rules, way: Way::ToServer, valves: rules.valves.subscribe(), is_listener: &is_listener };
    let down = Lane { rules, way: Way::FromServer, valves: rules.valves.subscribe(), is_listener: &is_listener };
    tokio::select! {
        // Either end is an end of both: the sockets are dropped.
        ended = up.requests(from_client, to_server) => drop(ended),
        ended = down.answers(from_server, to_client) => drop(ended),
        ended = valves.wait_for(|v| v.cuts != cuts) => drop(ended.map(|_| ())),
    }
}

struct Lane<'a> {
    rules: &'a Rules,
    way: Way,
    valves: watch::Receiver<Valves>,
    is_listener: &'a AtomicBool,
}

impl Lane<'_> {
    async fn requests(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES_MAX);
        while from.read_buf(&mut chunk).await? > 0 {
            // It is sent in one small packet, on a connection that is used for nothing before.
            if self.rules.protocol == Protocol::Postgres && chunk.windows(7).any(|w| w.eq_ignore_ascii_case(b"listen "))
            {
                self.is_listener.store(true, Ordering::Relaxed);
            }
            self.may_pass().await;
            to.write_all(&chunk.split()).await?;
        }
        Ok(())
    }

    async fn answers(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES_MAX);
        let (hold, mut held) = mpsc::channel::<Bytes>(HELD_MAX);
        loop {
            let mut ready = BytesMut::new();
            while let Some(frame) = take(self.rules.protocol, &mut buffer) {
                match self.judge(&frame) {
                    Verdict::Pass => ready.extend_from_slice(&frame.bytes),
                    Verdict::Drop => {}
                    Verdict::HoldMs(ms) => hold_back(frame.bytes, ms, hold.clone()),
                    Verdict::Cut(side) => {
                        if side == Side::After {
                            ready.extend_from_slice(&frame.bytes);
                        }
                        self.may_pass().await;
                        return to.write_all(&ready).await;
                    }
                }
            }
            if !ready.is_empty() {
                self.may_pass().await;
                to.write_all(&ready).await?;
            }
            tokio::select! {
                read = from.read_buf(&mut buffer) => if read? == 0 { return Ok(()) },
                Some(late) = held.recv() => to.write_all(&late).await?,
            }
        }
    }

    /// Returns once bytes of this way may go on.
    async fn may_pass(&mut self) {
        let (way, is_listener) = (self.way, self.is_listener);
        let blocks = |rule: Option<Way>| rule.is_some_and(|rule| rule == Way::Both || rule == way);
        let is_open = |v: &Valves| !(blocks(v.all) || is_listener.load(Ordering::Relaxed) && blocks(v.listeners));
        // The sender lives in the rules, which we borrow.
        let delay_ms = self.valves.wait_for(is_open).await.map(|v| v.delay_ms).unwrap_or_default();
        if delay_ms > 0 {
            sleep(Duration::from_millis(delay_ms)).await;
        }
    }

    /// Counts down the first trap that the frame concerns, and springs it.
    fn judge(&self, frame: &Frame) -> Verdict {
        if frame.meaning == Meaning::Other {
            return Verdict::Pass;
        }
        let mut traps = self.rules.traps();
        let concerned = |trap: &Trap| match trap {
            Trap::Commit { .. } => frame.meaning == Meaning::Commit,
            Trap::Statement { .. } => matches!(frame.meaning, Meaning::Commit | Meaning::Statement),
            Trap::PubAck { .. } => frame.meaning == Meaning::PubAck,
        };
        let Some(at) = traps.iter().position(concerned) else { return Verdict::Pass };
        let (verdict, is_over) = step(&mut traps[at]);
        if verdict != Verdict::Pass {
            self.rules.spring();
        }
        if is_over {
            traps.remove(at);
        }
        verdict
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Pass,
    Drop,
    HoldMs(u64),
    Cut(Side),
}

/// What becomes of this frame, and whether the trap has done its work.
fn step(trap: &mut Trap) -> (Verdict, bool) {
    match trap {
        Trap::Commit { nth, .. } | Trap::Statement { nth, .. } | Trap::PubAck { nth, .. } if *nth > 1 => {
            *nth -= 1;
            (Verdict::Pass, false)
        }
        Trap::Commit { side, .. } | Trap::Statement { side, .. } => (Verdict::Cut(*side), true),
        Trap::PubAck { count, lose, .. } => {
            *count -= 1;
            let verdict = match lose {
                Lose::Drop => Verdict::Drop,
                Lose::HoldMs(ms) => Verdict::HoldMs(*ms),
            };
            (verdict, *count == 0)
        }
    }
}

/// It comes late, after others that were sent after it, unless its connection has ended.
fn hold_back(bytes: Bytes, ms: u64, to: mpsc::Sender<Bytes>) {
    tokio::spawn(async move {
        sleep(Duration::from_millis(ms)).await;
        drop(to.send(bytes).await);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traps_spring_at_their_event_and_once() {
        let mut trap = Trap::Commit { nth: 3, side: Side::Before };
        assert_eq!([step(&mut trap), step(&mut trap)], [(Verdict::Pass, false); 2]);
        assert_eq!(step(&mut trap), (Verdict::Cut(Side::Before), true));
        let mut trap = Trap::PubAck { nth: 1, count: 2, lose: Lose::Drop };
        assert_eq!([step(&mut trap), step(&mut trap)], [(Verdict::Drop, false), (Verdict::Drop, true)]);
    }
}
