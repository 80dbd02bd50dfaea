//! Evidence as it comes: what the broker tells of acknowledgements, and receipts by message.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use uuid::Uuid;

use super::look::MARKS_LATE;
use super::{READS_IN_A_ROUND, Receipts};
use crate::broker::{AckEvent, Fate};
use crate::consumers::Receipt;
use crate::killpoint::{self, Point};
use crate::lifecycle::Death;
use crate::store::GivenUp;

/// What a receipt was seen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The broker's report of an acknowledgement.
    Ack,
    /// A receipt by message.
    Told,
    /// The consumer's record in the inbox.
    Record,
    /// The broker has settled it, which counts for this consumer.
    Settled,
}

impl Evidence {
    fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Told => "told",
            Self::Record => "record",
            Self::Settled => "settled",
        }
    }
}

/// An event whose message is not found yet: its mark may be on its way.
#[derive(Debug)]
pub struct Late {
    batch: u64,
    /// How often it was looked up in vain.
    looks: u32,
    /// Where it was acknowledged, and when. What that stream is now may not be known for a while.
    stream: String,
    at: OffsetDateTime,
    seq: i64,
    consumer: i32,
    /// None: acknowledged. Otherwise why it is dead.
    dead: Option<(Death, String)>,
    /// Not looked up before.
    not_before: Instant,
}

/// An event whose message is not found so often is of no message that waits for its consumer: ten seconds, with the default rounds.
const LOOKS_MAX: u32 = 40;
/// Events in memory; the rest waits in its stream.
const LATE_EVENTS_MAX: usize = 40_000;
/// Of these, such of streams that cannot be looked at. More are dropped, so that they do not stop the reading of others.
const UNPLACED_MAX: usize = LATE_EVENTS_MAX / 2;

impl Receipts {
    /// Reads what the broker tells for a part of a round, and applies it.
    pub(super) async fn read_events(&mut self) -> anyhow::Result<()> {
        let within = Duration::from_millis(self.config.every_ms) / READS_IN_A_ROUND;
        if self.late.len() >= LATE_EVENTS_MAX {
            tokio::time::sleep(within).await;
        } else {
            let (batch, events) = self.parts.events.next(self.config.rows_max as usize, within).await?;
            let now = Instant::now();
            let late: Vec<Late> = events.into_iter().filter_map(|event| self.late(batch, event, now)).collect();
            killpoint::reached_by(Point::ReceiptSeen, late.len());
            self.late.extend(late);
        }
        self.apply_events().await
    }

    /// What of an event matters here: that of a consumer whose receipts are waited for, in the stream as it is now.
    fn late(&self, batch: u64, event: AckEvent, now: Instant) -> Option<Late> {
        let consumer = self.tracked.consumers.iter().find(|c| c.name == event.consumer && c.is_required)?;
        let class = match event.fate {
            Fate::Acked | Fate::Terminated => Death::Terminated,
            Fate::DeliveredTooOften => Death::DeliveredTooOften,
        };
        let (dead, wait) = match (event.fate, consumer.receipt) {
            (Fate::Acked, Receipt::Ack) => (None, Duration::ZERO),
            (Fate::Acked, Receipt::Inbox) => return None,
            // Its record in the inbox, which knows more, is looked at first.
            (_, Receipt::Inbox) => (Some((class, event.why)), Duration::from_millis(self.config.every_ms) * 2),
            (_, Receipt::Ack) => (Some((class, event.why)), Duration::ZERO),
        };
        let seq = i64::try_from(event.stream_seq).ok()?;
        let (stream, at, consumer, not_before) = (event.stream, event.at, consumer.id, now + wait);
        Some(Late { batch, looks: 0, stream, at, seq, consumer, dead, not_before })
    }

    /// The place of an event, if it is known what its stream is now.
    fn place_of(&self, late: &Late) -> Option<(i32, i64, i32)> {
        self.places.get(&late.stream).map(|place| (place.id, late.seq, late.consumer))
    }

    /// Forgets what was acknowledged in what a stream was before, and too much of what has no place.
    fn forget_unplaced(&mut self) {
        let Self { late, places, .. } = self;
        let mut unplaced = 0;
        late.retain(|late| match places.get(&late.stream) {
            Some(place) => late.at >= place.state.created,
            None => {
                unplaced += 1;
                unplaced <= UNPLACED_MAX
            }
        });
    }

    async fn apply_events(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        self.forget_unplaced();
        let (ripe, places): (Vec<usize>, Vec<(i32, i64, i32)>) = (0..self.late.len())
            .filter(|n| self.late[*n].not_before <= now)
            .filter_map(|n| Some((n, self.place_of(&self.late[n])?)))
            .take(self.config.rows_max as usize)
            .unzip();
        let mut found = vec![false; self.late.len()];
        if !ripe.is_empty() {
            let (mut received, mut dead) = (Vec::new(), Vec::new());
            for (n, id) in self.parts.store.places(&places).await? {
                let Some(n) = ripe.get(n).copied() else { continue };
                found[n] = true;
                let consumer = self.late[n].consumer;
                match &self.late[n].dead {
                    None => received.push((id, consumer)),
                    Some((class, reason)) => {
                        dead.push(GivenUp { id, consumer, class: *class, reason: reason.clone() });
                    }
                }
            }
            self.receive(&received, Evidence::Ack).await?;
            self.give_up_on(&dead).await?;
            let marked = self.marked_below().await?;
            for (n, (stream, seq, _)) in ripe.iter().zip(&places) {
                // So far behind everything that waits, it is of a message that nobody waits for.
                found[*n] |= marked.get(stream).is_some_and(|below| seq < below);
            }
        }
        let mut n = 0;
        let retry_at = now + Duration::from_millis(self.config.every_ms) / READS_IN_A_ROUND;
        for place in ripe {
            self.late[place].not_before = retry_at;
            self.late[place].looks += 1;
        }
        self.late.retain(|late| {
            n += 1;
            !found[n - 1] && late.looks < LOOKS_MAX
        });
        let waiting = self.late.iter().map(|late| late.batch).min();
        self.parts.events.done_below(waiting.unwrap_or(u64::MAX)).await;
        Ok(())
    }

    /// Below these sequences of the streams no mark is on its way, and nothing waits.
    async fn marked_below(&self) -> anyhow::Result<HashMap<i32, i64>> {
        let mut below = HashMap::new();
        for place in self.places.values() {
            let first = self.parts.store.first_awaited(place.id).await?;
            let end = i64::try_from(place.state.last_seq)?;
            below.insert(place.id, first.unwrap_or(end).min(end) - MARKS_LATE);
        }
        Ok(below)
    }

    pub(super) async fn receive(&self, received: &[(Uuid, i32)], evidence: Evidence) -> anyhow::Result<()> {
        if received.is_empty() {
            return Ok(());
        }
        for (consumer, count) in self.parts.store.receive(received).await? {
            if let Some(consumer) = self.tracked.consumers.iter().find(|c| c.id == consumer) {
                let labels: &[(&'static str, &str)] = &[("consumer", &consumer.name), ("evidence", evidence.name())];
                self.parts.store.scope().counter("avouch_receipts_total", labels).increment(count);
            }
        }
        Ok(())
    }

    /// Receipts by message, from the gate and from those who confirm.
    pub(super) async fn apply_told(&mut self) -> anyhow::Result<()> {
        loop {
            let told = self.parts.store.told_receipts(self.config.rows_max.into(), self.told).await?;
            let is_all = told.len() < self.config.rows_max as usize;
            let (mut received, mut dead, mut over) = (Vec::new(), Vec::new(), Vec::new());
            for receipt in &told {
                if receipt.is_known || receipt.is_old {
                    over.push(receipt.number);
                }
                match (&receipt.dead, receipt.is_known) {
                    (_, false) => {}
                    (None, true) => received.push((receipt.id, receipt.consumer)),
                    (Some(why), true) => {
                        let (id, consumer, class) = (receipt.id, receipt.consumer, Death::Rejected);
                        dead.push(GivenUp { id, consumer, class, reason: why.clone() });
                    }
                }
            }
            self.receive(&received, Evidence::Told).await?;
            self.give_up_on(&dead).await?;
            if !over.is_empty() {
                self.parts.store.forget_receipts(&over).await?;
            }
            // What could not be applied is looked at again in the next round.
            self.told = if is_all { 0 } else { told.last().map_or(0, |t| t.number) };
            if is_all {
                return Ok(());
            }
        }
    }
}
