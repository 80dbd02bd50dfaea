//! The loop that sends again what a consumer missed: to that consumer alone, on a subject of its own, as the next generation.
//!
//! What is to be sent stands in `avouch.recovery`; whoever put it there has decided. Killed between the PubAck and the mark, it sends
//! the same generation again, which the broker suppresses or the consumer's idempotency does.

mod recheck;
mod spans;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::recheck::{Word, recheck};
use crate::alarm::Alarms;
use crate::broker::{Refusal, Stream};
use crate::killpoint::{self, Point};
use crate::lifecycle::Death;
use crate::message::Payload;
use crate::rules::Rules;
use crate::shards::Ownership;
use crate::store::{Error, GivenUp, Recovery as Due, SentAgain, Store};
use crate::trace::{Tracer, trace_id, trace_id_of};

/// `[recovery]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often to look what is to be sent again.
    pub every_ms: u64,
    /// Messages read at a time, payloads included.
    pub rows_max: u32,
    /// At most so many messages a second are sent again.
    pub rate_per_s: u32,
    /// A stream that gets a copy of each dead message, on `<dead_prefix>.<consumer>.<topic>`, for programs; none unless it is named.
    pub dead_stream: Option<String>,
    /// What its subjects begin with.
    pub dead_prefix: String,
}

/// A tenth of what a relay can do: what is new goes first, and consumers that come back are not flooded.
impl Default for Config {
    fn default() -> Self {
        Self { every_ms: 500, rows_max: 256, rate_per_s: 1_000, dead_stream: None, dead_prefix: "dead".into() }
    }
}

/// Publishes that wait for their PubAck.
const IN_FLIGHT: usize = 64;
/// Checkers that are asked at a time: a few of those that a process may ask.
const RECHECKS: usize = 8;

/// The loop.
pub struct Recovery {
    config: Config,
    store: Arc<Store>,
    streams: Vec<Stream>,
    /// Gets dead letters.
    dead: Option<Stream>,
    /// Who is asked before messages of these topics are sent again.
    checkers: (Arc<Rules>, BTreeSet<String>),
    ownership: watch::Receiver<Ownership>,
    alarms: Alarms,
    tracer: Tracer,
    failing: bool,
}

/// What became of one of them.
enum Sent {
    Stored(SentAgain),
    /// It can never be sent.
    Refused(GivenUp),
    /// It stays to be sent, behind the others.
    Failed(String, (Uuid, i32)),
}

impl Recovery {
    /// A loop over these streams, and one for dead letters, that works while this instance owns shard 0.
    pub fn new(
        config: Config,
        store: Arc<Store>,
        (streams, dead): (Vec<Stream>, Option<Stream>),
        checkers: (Arc<Rules>, BTreeSet<String>),
        ownership: watch::Receiver<Ownership>,
        (alarms, tracer): (Alarms, Tracer),
    ) -> Self {
        Self { config, store, streams, dead, checkers, ownership, alarms, tracer, failing: false }
    }

    /// Sends until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let every = Duration::from_millis(self.config.every_ms);
        let mut wait = every;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            if !self.may_work() {
                wait = every;
                continue;
            }
            let began = Instant::now();
            let result = self.pass().await;
            let result = match self.tell_dead().await {
                Err(e) => result.and(Err(e)),
                Ok(()) => result,
            };
            wait = match &result {
                // More waits: as fast as the rate allows.
                Ok(sent) if *sent > 0 => {
                    let paced =
                        Duration::from_secs(1) * u32::try_from(*sent).unwrap_or(u32::MAX) / self.config.rate_per_s;
                    paced.saturating_sub(began.elapsed())
                }
                _ => every,
            };
            match &result {
                Ok(_) if self.failing => tracing::info!("messages are sent again to their consumers"),
                Ok(_) => {}
                Err(e) if self.failing => tracing::debug!(error = %e, "messages cannot be sent again"),
                Err(e) => tracing::warn!(error = %e, "messages cannot be sent again to their consumers; trying again"),
            }
            self.failing = result.is_err();
        }
    }

    fn may_work(&self) -> bool {
        self.ownership.borrow().leads()
    }

    /// Sends one batch. Returns how many were stored.
    pub async fn pass(&mut self) -> anyhow::Result<usize> {
        let due = self.store.claim_recoveries(self.config.rows_max.min(self.config.rate_per_s).into()).await?;
        let due = self.recheck(due).await?;
        if due.is_empty() {
            return Ok(0);
        }
        let streams = self.open(&due).await;
        let sends: Vec<_> = due.iter().map(|due| send(&streams, due, &self.tracer).boxed()).collect();
        let sent: Vec<Sent> = futures_util::stream::iter(sends).buffer_unordered(IN_FLIGHT).collect().await;
        let (mut stored, mut refused, mut later, mut failure) = (Vec::new(), Vec::new(), Vec::new(), None);
        for outcome in sent {
            match outcome {
                Sent::Stored(sent) => stored.push(sent),
                Sent::Refused(given_up) => refused.push(given_up),
                Sent::Failed(why, which) => {
                    later.push(which);
                    failure = Some(why);
                }
            }
        }
        if !later.is_empty() {
            self.store.later(&later).await?;
        }
        if !stored.is_empty() {
            self.store.sent_again(&stored).await?;
            killpoint::reached_by(Point::ResendMarked, stored.len());
            self.count(&due, &stored);
        }
        self.give_up_on(&refused).await?;
        match failure {
            Some(why) => anyhow::bail!(why),
            None => Ok(stored.len()),
        }
    }

    fn count(&self, due: &[Due], stored: &[SentAgain]) {
        let mut by_consumer: BTreeMap<&str, u64> = BTreeMap::new();
        let names: BTreeMap<i32, &str> = due.iter().map(|d| (d.consumer, &*d.name)).collect();
        for name in stored.iter().filter_map(|s| names.get(&s.consumer)) {
            *by_consumer.entry(name).or_default() += 1;
        }
        for (consumer, count) in by_consumer {
            self.store.scope().counter("avouch_resent_total", &[("consumer", consumer)]).increment(count);
        }
    }

    /// Those of them that are to be sent: without what never happened, and what nobody knows about now.
    async fn recheck(&self, due: Vec<Due>) -> anyhow::Result<Vec<Due>> {
        let (rules, topics) = &self.checkers;
        let (asked, mut sent): (Vec<Due>, Vec<Due>) =
            due.into_iter().partition(|d| d.tx_id.is_some() && topics.contains(&*d.message.topic));
        let mut later = Vec::new();
        let asks = asked.into_iter().map(|due| async {
            let word = recheck(rules, &self.store, &due, &self.tracer).await;
            (due, word)
        });
        let asks: Vec<_> = asks.map(|ask| ask.boxed()).collect();
        let words: Vec<(Due, Word)> = futures_util::stream::iter(asks).buffer_unordered(RECHECKS).collect().await;
        for (due, word) in words {
            let (id, trace_id) = (due.message.id, trace_id(&due.message.own_headers()));
            match word {
                Word::Send => sent.push(due),
                Word::Discard(reason) => {
                    if self.store.discard_sent(id, &reason).await? {
                        tracing::warn!(%id, trace_id, reason, "a message is discarded instead of being sent again");
                    }
                }
                Word::Later(why) => {
                    tracing::info!(%id, trace_id, why, "a message is not sent again now");
                    later.push((id, due.consumer));
                }
            }
        }
        if !later.is_empty() {
            self.store.later(&later).await?;
        }
        Ok(sent)
    }

    /// Copies dead messages to the stream for dead letters. Told twice after a crash, under one id.
    async fn tell_dead(&self) -> anyhow::Result<()> {
        let Some(stream) = &self.dead else { return Ok(()) };
        let untold = self.store.untold_dead(self.config.rows_max.into()).await?;
        if untold.is_empty() {
            return Ok(());
        }
        stream.open().await?;
        let mut told = Vec::new();
        for letter in &untold {
            // A token that no consumer can have, for what was never sent.
            let name = letter.name.as_deref().unwrap_or("-");
            let Payload::Here(payload) = letter.message.payload.clone() else { continue };
            let headers = letter.message.dead_headers(name, &letter.reason)?;
            let subject = stream.subject(&format!("{name}.{}", letter.message.topic));
            match stream.publish(subject, headers, payload).await {
                Ok(_) => {}
                Err(Refusal::Permanent(_, why)) => {
                    let trace_id = trace_id(&letter.message.own_headers());
                    tracing::warn!(id = %letter.message.id, trace_id, why, "a dead message cannot be copied to the stream for dead letters");
                }
                Err(Refusal::Broker(why)) => {
                    self.store.told_dead(&told).await?;
                    anyhow::bail!(why);
                }
            }
            told.push((letter.message.id, letter.consumer));
        }
        Ok(self.store.told_dead(&told).await?)
    }

    /// The streams that these go to, with the numbers of their incarnations, or why they cannot be used.
    async fn open(&self, due: &[Due]) -> Vec<(Stream, Result<i32, String>)> {
        let mut open = Vec::new();
        for stream in self.streams.iter().filter(|s| due.iter().any(|d| d.stream == s.name)) {
            let number = async {
                let created = stream.open().await.map_err(|e| e.to_string())?.created;
                let number = self.store.stream_now(&stream.name, created).await.map_err(|e| e.to_string())?;
                number.ok_or_else(|| format!("stream {} is new: no relay has looked at it yet", stream.name))
            };
            open.push((stream.clone(), number.await));
        }
        open
    }

    async fn give_up_on(&self, refused: &[GivenUp]) -> Result<(), Error> {
        if refused.is_empty() {
            return Ok(());
        }
        for dead in self.store.give_up_on(refused, "pending").await? {
            self.store.scope().dead(&dead.topic, dead.class.name());
            let trace_id = dead.traceparent.as_deref().and_then(trace_id_of);
            let why = format!("consumer {}: {}", dead.consumer, dead.reason);
            self.alarms.dead(&dead.topic, dead.id, trace_id, &why);
        }
        Ok(())
    }
}

async fn send(streams: &[(Stream, Result<i32, String>)], due: &Due, tracer: &Tracer) -> Sent {
    let failed = |why: String| Sent::Failed(why, (due.message.id, due.consumer));
    let Some((stream, number)) = streams.iter().find(|(s, _)| s.name == due.stream) else {
        return failed(format!(
            "stream {} of consumer {} is not configured: add [stream.{}]",
            due.stream, due.name, due.stream
        ));
    };
    let number = match number {
        Ok(number) => *number,
        Err(why) => return failed(why.clone()),
    };
    let message = &due.message;
    let refused =
        |class: Death, reason: String| Sent::Refused(GivenUp { id: message.id, consumer: due.consumer, class, reason });
    let Payload::Here(payload) = message.payload.clone() else {
        return failed(format!("message {} came without its payload", message.id));
    };
    let headers = match message.wire_headers() {
        Ok(headers) => headers,
        Err(e) => return refused(Death::Malformed, e.to_string()),
    };
    let subject = stream.redo_subject(&due.name, &message.topic);
    let began = SystemTime::now();
    let published = stream.publish(subject.clone(), headers, payload).await;
    killpoint::reached_by(Point::ResendSent, usize::from(published.is_ok()));
    match published {
        Ok((seq, _)) => match i64::try_from(seq) {
            Ok(stream_seq) => {
                spans::sent_again(tracer, due, subject, began, Ok(stream_seq));
                let (id, consumer, generation) = (message.id, due.consumer, message.generation);
                Sent::Stored(SentAgain { id, consumer, generation, stream: number, stream_seq })
            }
            Err(e) => failed(e.to_string()),
        },
        Err(Refusal::Permanent(class, why)) => {
            spans::sent_again(tracer, due, subject, began, Err(class));
            refused(class, why)
        }
        Err(Refusal::Broker(why)) => failed(why),
    }
}
