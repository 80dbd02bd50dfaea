//! Looking at what a consumer has not finished, and what follows.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::decide::{Broker, Outcome, decide};
use super::evidence::Evidence;
use super::settled::Settled;
use super::{Place, Receipts};
use crate::alarm::{Event, Kind};
use crate::broker::Progress;
use crate::consumers::{Consumer, Receipt};
use crate::killpoint::{self, Point};
use crate::store::{Awaited, GivenUp, Missed, Places, Stretch};

/// How far one consumer was followed.
#[derive(Debug, Default)]
pub struct Follow {
    /// Its durable was made or verified by this process.
    pub is_verified: bool,
    settled: Settled,
    /// All below was looked at, in the incarnation with this number.
    cursor: (i32, i64),
    /// All below was looked at again, lately; 0: from the beginning.
    swept: i64,
    /// Where its durable began: it delivers nothing before.
    start: u64,
    /// Something in a former incarnation is not missed yet.
    waits_behind: bool,
    /// When former incarnations are looked for again.
    behind_at: Option<Instant>,
}

/// Messages so far behind the last look may still be on their way to be marked.
pub const MARKS_LATE: i64 = 20_000;
/// Sequences of one statement: how many messages wait among them for somebody else is not known.
const SPAN: i64 = 100_000;
/// All that waits is looked at again and again, a part in each round that takes no longer than about this.
const SWEEP_TIME: Duration = Duration::from_millis(50);
/// Former incarnations are looked for so often.
const BEHIND_EVERY: Duration = Duration::from_secs(30);

/// What came of a look.
#[derive(Debug, Default)]
struct Found {
    received: Vec<(Uuid, i32)>,
    dead: Vec<GivenUp>,
    missed: Vec<Missed>,
    /// The first sequence that is left waiting.
    lowest: Option<i64>,
}

impl Receipts {
    /// Sees to one consumer.
    pub(super) async fn follow(&mut self, consumer: &Consumer) -> anyhow::Result<()> {
        if consumer.is_changing {
            self.release(consumer).await?;
        }
        let Some(place) = consumer.stream.as_ref().and_then(|name| self.places.get(name)).cloned() else {
            return Ok(());
        };
        let progress = self.durable(consumer, &place).await?;
        if !consumer.is_required {
            return Ok(());
        }
        self.observe(consumer, &place, progress);
        let cursor = self.follows.entry(consumer.id).or_default().cursor.1;
        let to = self.look_to(consumer, &place, progress)?;
        let at = |after: i64, to: i64| Stretch { stream: place.id, after, to };
        // What is new; then what was left waiting, a part of it in each round: that is all, when the following begins.
        let new = (cursor - MARKS_LATE).max(to - SPAN).max(0);
        self.look_at_places(consumer, Some(&place), at(new, to), Places::First).await?;
        self.look_at_places(consumer, Some(&place), at(0, i64::MAX), Places::Again).await?;
        // What the broker gave a place to, and has forgotten.
        let end = i64::try_from(place.state.last_seq)?;
        self.look_at_places(consumer, Some(&place), at(end, i64::MAX), Places::First).await?;
        self.sweep(consumer, &place, to).await?;
        self.look_behind(consumer).await?;
        self.follows.entry(consumer.id).or_default().cursor.1 = to;
        Ok(())
    }

    /// What the broker has settled, as it stands now.
    fn observe(&mut self, consumer: &Consumer, place: &Place, progress: Progress) {
        let grace = Duration::from_millis(self.config.grace_ms);
        // Records in the inbox are read with the look itself.
        let events = match consumer.receipt {
            Receipt::Inbox => Some((0, 0)),
            Receipt::Ack => self.events,
        };
        let follow = self.follows.entry(consumer.id).or_default();
        if follow.cursor.0 != place.id {
            // Another incarnation: nothing that was seen of the former one holds.
            *follow = Follow { is_verified: follow.is_verified, cursor: (place.id, 0), ..Follow::default() };
        }
        follow.start = progress.start;
        let settled = if progress.is_idle { progress.delivered.max(progress.floor) } else { progress.floor };
        let first = place.state.first_seq.max(progress.start);
        follow.settled.observe(first, settled, Instant::now(), grace, events);
    }

    /// Looks at the next part of all that is left waiting, from the first message that waits for anybody.
    async fn sweep(&mut self, consumer: &Consumer, place: &Place, to: i64) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut after = self.follows.get(&consumer.id).map_or(0, |f| f.swept);
        while began.elapsed() < SWEEP_TIME {
            if after == 0 {
                after = self.parts.store.first_awaited(place.id).await?.unwrap_or(to) - 1;
            }
            if after >= to {
                after = 0;
                break;
            }
            let part = Stretch { stream: place.id, after, to: to.min(after + SPAN) };
            self.look_at_places(consumer, Some(place), part, Places::First).await?;
            after = part.to;
        }
        self.follows.entry(consumer.id).or_default().swept = after;
        Ok(())
    }

    async fn look_behind(&mut self, consumer: &Consumer) -> anyhow::Result<()> {
        let now = Instant::now();
        let is_due = |f: &Follow| f.waits_behind || f.behind_at.is_none_or(|at| at <= now);
        if !self.follows.get(&consumer.id).is_none_or(is_due) {
            return Ok(());
        }
        let waits_behind = self.look_at_lost(consumer).await?;
        let follow = self.follows.entry(consumer.id).or_default();
        follow.waits_behind = waits_behind;
        follow.behind_at = Some(now + BEHIND_EVERY);
        Ok(())
    }

    /// The last place where there can be anything to see.
    fn look_to(&self, consumer: &Consumer, place: &Place, progress: Progress) -> anyhow::Result<i64> {
        let settled = self.follows.get(&consumer.id).map_or(0, |f| f.settled.to());
        let seen = match consumer.receipt {
            // Its record is there before its acknowledgement.
            Receipt::Inbox => progress.delivered,
            Receipt::Ack => settled,
        };
        let gap = place.state.deleted.last().copied().unwrap_or(0);
        Ok(i64::try_from(seen.max(place.state.first_seq.saturating_sub(1)).max(gap))?)
    }

    /// What stands in former incarnations of its stream is lost. Returns whether some of it is left waiting for its deadline.
    async fn look_at_lost(&self, consumer: &Consumer) -> anyhow::Result<bool> {
        let name = consumer.stream.as_deref().unwrap_or_default();
        let Some(place) = self.places.get(name) else { return Ok(false) };
        let mut lowest = None;
        for stream in self.parts.store.former_streams(name, place.id).await? {
            let all = Stretch { stream, after: 0, to: i64::MAX };
            for places in [Places::First, Places::Again] {
                lowest = lowest.or(self.look_at_places(consumer, None, all, places).await?);
            }
        }
        Ok(lowest.is_some())
    }

    async fn look_at_places(
        &self,
        consumer: &Consumer,
        place: Option<&Place>,
        mut at: Stretch,
        places: Places,
    ) -> anyhow::Result<Option<i64>> {
        let mut lowest = None;
        let end = at.to;
        while at.after < end {
            // A bounded part: what waits for others is passed as well. The end is open where nothing can be.
            at.to = if end == i64::MAX { end } else { end.min(at.after + SPAN) };
            let rows = self.parts.store.look_awaited(consumer.id, at, self.config.rows_max.into(), places).await?;
            let Some(last) = rows.last().map(|r| r.stream_seq) else {
                at.after = at.to;
                continue;
            };
            let is_all = rows.len() < usize::try_from(self.config.rows_max)?;
            let found = self.judge(consumer, place, &rows);
            lowest = lowest.or(found.lowest);
            self.apply(consumer, &found).await?;
            at.after = if is_all { at.to } else { last };
        }
        Ok(lowest)
    }

    fn judge(&self, consumer: &Consumer, place: Option<&Place>, rows: &[Awaited]) -> Found {
        let mut found = Found::default();
        for row in rows {
            match decide(consumer, row, self.broker(consumer, place, row.stream_seq)) {
                // What is followed elsewhere is looked at with everything, from time to time.
                Outcome::Wait if row.recovery.is_some() => {}
                Outcome::Wait => found.lowest = found.lowest.or(Some(row.stream_seq)),
                Outcome::Received => found.received.push((row.id, consumer.id)),
                Outcome::Dead(class, reason) => {
                    found.dead.push(GivenUp { id: row.id, consumer: consumer.id, class, reason });
                }
                Outcome::Again { reason, counts } => found.missed.push(Missed {
                    id: row.id,
                    consumer: consumer.id,
                    reason,
                    counts,
                    stream_seq: row.stream_seq,
                }),
            }
        }
        found
    }

    /// Where the broker stands with this place; without one the stream is another by now.
    fn broker(&self, consumer: &Consumer, place: Option<&Place>, seq: i64) -> Broker {
        let (Some(place), Ok(seq)) = (place, u64::try_from(seq)) else { return Broker::Lost };
        let is_settled = self.follows.get(&consumer.id).is_some_and(|f| f.settled.has(seq));
        if is_settled {
            return Broker::Settled;
        }
        let start = self.follows.get(&consumer.id).map_or(0, |f| f.start);
        let is_gone = seq < place.state.first_seq.max(start)
            || seq > place.state.last_seq
            || place.state.deleted.binary_search(&seq).is_ok();
        if is_gone { Broker::Lost } else { Broker::Holds }
    }

    async fn apply(&self, consumer: &Consumer, found: &Found) -> anyhow::Result<()> {
        if !found.received.is_empty() {
            let evidence = match consumer.receipt {
                Receipt::Inbox => Evidence::Record,
                Receipt::Ack => Evidence::Settled,
            };
            self.receive(&found.received, evidence).await?;
        }
        self.give_up_on(&found.dead).await?;
        if let Some(first) = found.missed.first() {
            let (count, reason) = (found.missed.len(), &first.reason);
            tracing::warn!(count, reason, id = %first.id, "messages without a receipt: sending them again to this consumer");
            killpoint::reached_by(Point::ResendDecided, count);
            let (lost, unreceipted) = self.parts.store.send_again(&found.missed).await?;
            self.count_resends(consumer, lost, unreceipted);
            killpoint::reached_by(Point::ResendRecorded, count);
        }
        if let Some(first) = found.missed.iter().find(|m| !m.counts) {
            let count = found.missed.iter().filter(|m| !m.counts).count();
            let why = format!("{count} messages that consumer {} had not finished: {}", consumer.name, first.reason);
            let (kind, id) = (Kind::BrokerLost, first.id.to_string());
            let subject = consumer.stream.as_deref().unwrap_or_default();
            self.parts.alarms.raise(&Event { kind, subject, id, reference: None, trace_id: None, why: &why });
        }
        Ok(())
    }

    fn count_resends(&self, consumer: &Consumer, lost: u64, unreceipted: u64) {
        for (cause, count) in [("lost", lost), ("unreceipted", unreceipted)] {
            let labels: &[(&'static str, &str)] = &[("consumer", &consumer.name), ("cause", cause)];
            self.parts.store.scope().counter("avouch_resends_total", labels).increment(count);
        }
    }

    /// Nobody waits for a consumer that is not required, nor for what stands before its start.
    async fn release(&mut self, consumer: &Consumer) -> anyhow::Result<()> {
        let below = match (consumer.is_required, consumer.start_seq) {
            (true, Some(start)) => start - 1,
            (true, None) => return Ok(()),
            (false, _) => i64::MAX,
        };
        let rows_max = i64::from(self.config.rows_max);
        let streams = match &consumer.stream {
            Some(name) if consumer.is_required => self.places.get(name).map(|p| p.id).into_iter().collect(),
            _ => self.parts.store.awaited_streams().await?,
        };
        for stream in streams {
            let mut after = 0;
            while after < below {
                let at = Stretch { stream, after, to: below };
                let (released, to) = self.parts.store.release_from(consumer.id, at, rows_max).await?;
                if released > 0 {
                    tracing::info!(
                        consumer = consumer.name,
                        released,
                        "messages do not wait for this consumer any more"
                    );
                }
                after = if released < rows_max { below } else { to };
            }
        }
        Ok(self.parts.store.released(consumer.id).await?)
    }
}
