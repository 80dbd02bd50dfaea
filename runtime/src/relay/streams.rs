//! Streams: opened, looked at, compared with what they were; and what follows when one has lost what it had acknowledged.
//!
//! A loss is written down once, by whoever notices it first. Each owner then makes what was lost of its own shards ready again,
//! before it reads or sends anything else of them, so that new rows never overtake missing ones.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Done, Relay};
use crate::alarm::{Event, Kind};
use crate::broker::{self, Stream};
use crate::incarnation::{Finding, Known, Seen, compare};
use crate::store::{Error, Owned, Store, Succession};

/// How often an open stream is looked at, though nothing fails: it may have been made anew while nobody sent.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A stream that seems to have fallen back is looked at again after this: a leader that was voted out answers for a moment more.
const CONFIRM_AFTER: Duration = Duration::from_secs(2);

/// What is known of losses.
#[derive(Debug, Default)]
pub struct Losses {
    /// The last one that was noticed.
    noticed: i32,
    /// Up to here what was lost of all owned shards is ready again.
    requeued: i32,
    /// That is being done.
    requeuing: bool,
}

impl Losses {
    /// What former owners have done is not known.
    pub fn shards_changed(&mut self) {
        self.requeued = 0;
    }
}

/// A stream that may be sent to.
#[derive(Debug)]
pub struct Opening {
    /// Its number.
    stream: i32,
    created: OffsetDateTime,
    /// The last loss that was noticed, by anybody.
    losses: i32,
    /// How, if it was noticed just now.
    noticed: Option<String>,
    /// Its last message, if the database does not know it.
    unknown: Option<Uuid>,
}

impl Relay {
    /// Asks for the streams whose gates want to be opened.
    pub(super) fn open_gates(&mut self, now: Instant, is_connected: bool) {
        for (stream, gate) in self.gates.iter_mut().enumerate() {
            let window = &self.window;
            gate.abandoned(|seq| window.message(seq).is_none());
            if !is_connected || self.stopping {
                continue;
            }
            let Some(question) = gate.wants_opening(now) else { continue };
            let (handle, store) = (self.parts.streams[stream].clone(), self.parts.store.clone());
            let keeps = self.parts.keeps;
            self.work.push(Box::pin(async move {
                let result = open(&handle, &store, keeps).await.map_err(|e| e.to_string());
                Done::Opened { stream, question, result }
            }));
        }
    }

    pub(super) fn opened(&mut self, stream: usize, question: u64, result: Result<Opening, String>) {
        if !self.gates[stream].waits_for(question) {
            // Something happened meanwhile: it is asked for anew. A loss is told nevertheless.
            if let Ok(Opening { losses, noticed: Some(why), .. }) = result {
                self.tell_loss(stream, losses, &why);
            }
            return;
        }
        let opening = match result {
            Ok(opening) => opening,
            Err(why) => return self.trouble(stream, &why),
        };
        if let Some(id) = opening.unknown {
            let why = format!(
                "its last message {id} is not in the outbox: it was restored to an earlier state, or others publish there"
            );
            self.alarm(Kind::DatabaseBehind, stream, id.to_string(), &why);
        }
        if let Some(why) = opening.noticed {
            self.tell_loss(stream, opening.losses, &why);
        }
        if self.learned_losses(opening.losses) {
            // Before anything is sent, what was lost is made ready.
            return;
        }
        self.gates[stream].opened(opening.stream, opening.created);
        self.window.open_stream(stream);
        self.awake();
    }

    fn tell_loss(&self, stream: usize, loss: i32, why: &str) {
        self.alarm(Kind::BrokerLost, stream, loss.to_string(), why);
    }

    fn alarm(&self, kind: Kind, stream: usize, id: String, why: &str) {
        let subject = &self.parts.streams[stream].name;
        self.parts.alarms.raise(&Event { kind, subject, id, reference: None, trace_id: None, why });
    }

    /// Asks for the stream again: it is not what it was.
    pub(super) fn look_again(&mut self, stream: usize) {
        self.gates[stream].reset(None, Instant::now());
        self.window.close_stream(stream);
    }

    /// Looks whether open streams are still what they were.
    pub(super) fn start_looking_at_streams(&mut self, now: Instant) {
        if now < self.streams_at {
            return;
        }
        self.streams_at = now + LOOK_EVERY;
        for (stream, gate) in self.gates.iter().enumerate() {
            let Some(top) = gate.top() else { continue };
            let handle = self.parts.streams[stream].clone();
            self.work.push(Box::pin(async move { Done::Seen { stream, top, result: handle.seen().await } }));
        }
    }

    pub(super) fn seen(&mut self, stream: usize, top: u64, result: Result<Seen, broker::Error>) {
        let gate = &self.gates[stream];
        // What cannot be asked now fails elsewhere too, and is told there.
        let is_another = gate.top().is_some() && result.is_ok_and(|seen| gate.is_another(seen, top));
        if is_another {
            self.look_again(stream);
        }
    }

    /// Somebody has noticed a loss: what streams are now is asked anew, and what was lost is made ready first.
    /// Returns true if that is news.
    pub(super) fn learned_losses(&mut self, noticed: i32) -> bool {
        if noticed <= self.losses.noticed {
            return false;
        }
        self.losses.noticed = noticed;
        for stream in 0..self.gates.len() {
            self.look_again(stream);
        }
        true
    }

    /// Nothing that is remembered of the database is true any more: all is read anew, and streams are compared with it again.
    pub(super) fn database_went_back(&mut self) {
        tracing::warn!("the database is in an earlier state than it was in before: all of it is read anew");
        self.losses = Losses { requeuing: self.losses.requeuing, ..Losses::default() };
        self.holds_known = false;
        self.holds_at = Instant::now();
        for stream in 0..self.gates.len() {
            self.look_again(stream);
        }
        self.reread();
    }

    /// Forgets what is in memory and reads from the beginning. What flies is sent again, under the same ids.
    fn reread(&mut self) {
        let shards = |of: &[Owned]| of.iter().map(|o| o.shard).collect::<BTreeSet<u16>>();
        let leaving = shards(&self.leaving);
        self.window.own(&BTreeSet::new(), &leaving);
        self.window.own(&shards(&self.owned), &leaving);
        self.awake();
    }

    /// True if something that was lost may not be ready again: until then nothing is read or sent.
    pub(super) fn owes(&self) -> bool {
        self.losses.requeued < self.losses.noticed
    }

    /// Makes what was lost of the owned shards ready again, once no mark of theirs is on its way.
    pub(super) fn start_requeuing(&mut self) {
        if !self.owes() || self.losses.requeuing || self.marking || self.reading || self.owned.is_empty() {
            return;
        }
        self.losses.requeuing = true;
        let (to, owned, store) = (self.losses.noticed, self.owned.clone(), self.parts.store.clone());
        let streams = self.parts.streams.clone();
        self.work.push(Box::pin(async move {
            let result = requeue(&store, &owned, &streams).await;
            Done::Requeued { owned, to, result }
        }));
    }

    pub(super) fn requeued(&mut self, owned: &[Owned], to: i32, result: Result<u64, Error>) {
        self.losses.requeuing = false;
        let Some(count) = self.database(result) else { return };
        if owned != self.owned {
            // Shards that came meanwhile have not been looked at.
            return;
        }
        self.losses.requeued = to;
        if count > 0 {
            tracing::warn!(count, "messages that the broker had lost are sent again");
        }
        // What is in memory stood in another order.
        self.reread();
    }
}

/// Makes the stream, or verifies that it is what it was; writes down what it has lost if it is not.
async fn open(handle: &Stream, store: &Store, keeps: Option<Duration>) -> anyhow::Result<Opening> {
    // In this order: messages come in between.
    let known = store.stream_known(&handle.name).await?;
    let seen = handle.open().await?;
    let (stream, losses, noticed) = match (look(handle, store, known.as_ref(), seen).await?, known) {
        (None, Some(known)) => (known.stream, known.losses, None),
        (lost, known) => {
            let (above, reason) = lost.unwrap_or_default();
            let former = known.map(|k| k.stream);
            let succession = Succession { name: &handle.name, created: seen.created, former, above, reason: &reason };
            let made = store.succeed(&succession).await?;
            let made = made.ok_or_else(|| anyhow::anyhow!("stream {} was looked at by two at once", handle.name))?;
            (made.stream, made.loss.unwrap_or(0), made.loss.map(|_| reason))
        }
    };
    let unknown = if handle.is_shared() { None } else { unknown(handle, store, keeps).await? };
    Ok(Opening { stream, created: seen.created, losses, noticed, unknown })
}

/// Compares a stream with what is known of it. Returns above which sequence something is lost, and how that shows.
async fn look(
    handle: &Stream,
    store: &Store,
    known: Option<&Known>,
    seen: Seen,
) -> anyhow::Result<Option<(u64, String)>> {
    let Some(known) = known else { return Ok(None) };
    match compare(Some(known), seen) {
        Finding::New | Finding::Same(None) => Ok(None),
        Finding::Another => Ok(Some((0, format!("it was made anew at {}", seen.created)))),
        Finding::Same(Some(top)) => {
            if is_at(handle, top.seq, top.id).await? != Some(false) {
                return Ok(None);
            }
            let above = last_intact(handle, store, known).await?;
            Ok(Some((above, format!("it holds another message at {} than it had acknowledged", top.seq))))
        }
        Finding::FellBack => {
            tokio::time::sleep(CONFIRM_AFTER).await;
            let again = handle.seen().await?;
            let top = known.reached.first().map_or(0, |r| r.seq);
            if compare(Some(known), again) != Finding::FellBack || again.last_seq != seen.last_seq {
                anyhow::bail!("stream {} does not say twice what it holds", handle.name);
            }
            Ok(Some((seen.last_seq, format!("it fell back from {top} to {}", seen.last_seq))))
        }
    }
}

/// Whether this message stands at this sequence; none: nothing does.
async fn is_at(handle: &Stream, seq: u64, id: Uuid) -> anyhow::Result<Option<bool>> {
    let id = id.to_string();
    let is_it = |found: Option<String>| found.is_some_and(|msg_id| msg_id.split(':').next() == Some(&id));
    Ok(handle.message_at(seq).await?.map(is_it))
}

/// The highest place of which it is known that the stream has what it had there. Between two that are known, those are looked at
/// where somebody waits for a consumer.
async fn last_intact(handle: &Stream, store: &Store, known: &Known) -> anyhow::Result<u64> {
    let (mut intact, mut end) = (0, u64::MAX);
    for place in &known.reached {
        if is_at(handle, place.seq, place.id).await? == Some(true) {
            intact = place.seq;
            break;
        }
        end = place.seq;
    }
    while intact + 1 < end {
        let middle = intact + (end - intact) / 2;
        match store.awaited_between(known.stream, middle.saturating_sub(1), end).await? {
            Some(place) if is_at(handle, place.seq, place.id).await? == Some(true) => intact = place.seq,
            _ => end = middle,
        }
    }
    Ok(intact)
}

/// The stream's last message, if the database does not know it though it cannot have been retired.
async fn unknown(handle: &Stream, store: &Store, keeps: Option<Duration>) -> anyhow::Result<Option<Uuid>> {
    let Some(id) = handle.last_message().await? else { return Ok(None) };
    let oldest = keeps.and_then(|keeps| SystemTime::now().checked_sub(keeps)).unwrap_or(SystemTime::UNIX_EPOCH);
    let made = id.get_timestamp().map(|at| Duration::new(at.to_unix().0, at.to_unix().1));
    let is_retired = made.is_none_or(|made| SystemTime::UNIX_EPOCH + made < oldest);
    Ok((!is_retired && !store.is_known(id).await?).then_some(id))
}

/// Makes ready again what was lost of these shards, the oldest loss first.
async fn requeue(store: &Arc<Store>, owned: &[Owned], streams: &[Stream]) -> Result<u64, Error> {
    let mut total = 0;
    for loss in store.losses(owned).await? {
        let kept = streams.iter().find(|s| s.name == loss.name).and_then(Stream::keeps);
        total += store.requeue(&loss, owned, kept).await?;
    }
    Ok(total)
}
