//! What the broker tells of acknowledgements: kept in a stream of ours, so that nothing is missed while nobody listens, and read
//! in batches.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull::{Config as ReaderConfig, Stream as Pull};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use futures_util::StreamExt;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Error;
use crate::store::full_text;

/// What became of a delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its consumer has acknowledged it.
    Acked,
    /// Its consumer does not want it any more.
    Terminated,
    /// It was delivered as often as it may be.
    DeliveredTooOften,
}

/// One word of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckEvent {
    /// What happened.
    pub fate: Fate,
    /// In which stream.
    pub stream: String,
    /// The message's place there.
    pub stream_seq: u64,
    /// To which consumer.
    pub consumer: String,
    /// When, by the broker's clock.
    pub at: OffsetDateTime,
    /// What the consumer said, and how often it was delivered.
    pub why: String,
}

/// The stream that keeps them, read by one of possibly many instances at a time.
pub struct Events {
    name: String,
    bytes_max: i64,
    jetstream: Context,
    pull: Option<Pull>,
    /// Of which streams it is told.
    streams: Vec<String>,
    /// The reader's consumer, for what it has applied.
    installation: Uuid,
    /// The last message of each batch that is not acknowledged, with the batch's number.
    batches: VecDeque<(u64, Message)>,
    next_batch: u64,
}

/// Where the broker tells; each is followed by the names of a stream and a consumer.
const ACKS: &str = "$JS.EVENT.METRIC.CONSUMER.ACK";
const TERMINATED: &str = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED";
const DELIVERED_TOO_OFTEN: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES";
/// Evidence of three days is kept while nobody reads it: an outage of a long weekend. Without it, what is settled counts as missed.
const MAX_AGE: Duration = Duration::from_secs(72 * 3600);
/// Read and not yet acknowledged.
const IN_FLIGHT_MAX: i64 = 50_000;
/// The reason of a termination that is the broker's own: a message that was delivered is expired, purged or deleted. No consumer
/// has said anything; it is lost, and found to be. (nats-server calls it so in `ackTermUnackedLimitsReason`.)
const REMOVED: &str = "Unacknowledged message was deleted";
/// What a consumer says when it terminates a message.
const REASON_CHARS_MAX: usize = 1_000;
/// What is not applied after this is read again; what a reader that died has not applied, its successor reads at once.
const ACK_WAIT: Duration = Duration::from_secs(30);

impl Events {
    /// Does not ask the broker yet.
    pub fn new((name, bytes_max): (&str, u64), jetstream: Context) -> Self {
        Self {
            name: name.to_owned(),
            bytes_max: i64::try_from(bytes_max).unwrap_or(i64::MAX),
            jetstream,
            pull: None,
            streams: Vec::new(),
            installation: Uuid::nil(),
            batches: VecDeque::new(),
            next_batch: 0,
        }
    }

    /// Makes the stream, if it is missing, and has it keep what is told of these streams too. Returns once it can be read: by one
    /// instance of each installation at a time.
    pub async fn open(&mut self, installation: Uuid, streams: &[String]) -> Result<(), Error> {
        let wanted = |prefix: &str| streams.iter().map(|s| format!("{prefix}.{s}.>")).collect::<Vec<_>>();
        let wanted: Vec<String> = [ACKS, TERMINATED, DELIVERED_TOO_OFTEN].into_iter().flat_map(wanted).collect();
        let config = Config {
            name: self.name.clone(),
            description: Some("what the broker tells of acknowledgements, for avouch".into()),
            subjects: wanted.clone(),
            discard: DiscardPolicy::Old,
            max_age: MAX_AGE,
            max_bytes: self.bytes_max,
            ..Config::default()
        };
        let stream = self.jetstream.get_or_create_stream(config).await.map_err(|e| self.unmade(&e))?;
        let mut have = stream.cached_info().config.clone();
        let missing: Vec<String> = wanted.iter().filter(|w| !have.subjects.contains(w)).cloned().collect();
        let is_small = (1..self.bytes_max).contains(&have.max_bytes);
        if is_small || !missing.is_empty() {
            have.subjects.extend(missing);
            // Another installation may have made it larger.
            have.max_bytes = if is_small { self.bytes_max } else { have.max_bytes };
            self.jetstream.update_stream(have).await.map_err(|e| self.unmade(&e))?;
        }
        let deliver_policy = self.take_over(&reader_of(installation)).await?;
        let reader = ReaderConfig {
            deliver_policy,
            durable_name: Some(reader_of(installation)),
            filter_subjects: wanted,
            ack_policy: AckPolicy::All,
            ack_wait: ACK_WAIT,
            max_ack_pending: IN_FLIGHT_MAX,
            ..ReaderConfig::default()
        };
        let consumer: Consumer<ReaderConfig> =
            self.jetstream.create_consumer_on_stream(reader, &self.name).await.map_err(|e| self.retry(&e))?;
        let pull = consumer.stream().max_messages_per_batch(2_000).messages().await.map_err(|e| self.retry(&e))?;
        self.pull = Some(pull);
        (self.streams, self.installation) = (streams.to_vec(), installation);
        self.batches.clear();
        Ok(())
    }

    /// True if they can be read.
    pub fn is_open(&self) -> bool {
        self.pull.is_some()
    }

    /// True if they can be read, those of these streams.
    pub fn is_open_for(&self, streams: &[String]) -> bool {
        self.pull.is_some() && self.streams == streams
    }

    /// The last event that there is, and the last one up to which all are applied.
    pub async fn position(&self) -> Result<(u64, u64), Error> {
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        let last = stream.get_info().await.map_err(|e| self.retry(&e))?.state.last_sequence;
        let reader = stream.consumer_info(reader_of(self.installation)).await.map_err(|e| self.retry(&e))?;
        // Looked at later than `last`: nothing of it is left for this reader, though others have events behind it.
        let is_idle = reader.num_pending == 0 && reader.num_ack_pending == 0;
        Ok((last, if is_idle { last } else { reader.ack_floor.stream_sequence }))
    }

    /// Stops reading.
    pub fn close(&mut self) {
        self.pull = None;
        self.batches.clear();
    }

    /// Where to go on: behind what the reader before has acknowledged. It is deleted, because an acknowledgement of the next one
    /// would cover what was delivered to it and never applied; if it still reads, it notices.
    async fn take_over(&self, reader: &str) -> Result<DeliverPolicy, Error> {
        use async_nats::jetstream::context::ConsumerInfoErrorKind as Kind;
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        let floor = match stream.consumer_info(reader).await {
            Ok(info) => info.ack_floor.stream_sequence,
            Err(e) if e.kind() == Kind::NotFound => return Ok(DeliverPolicy::All),
            Err(e) => match e.kind() {
                Kind::JetStream(error) if error.code() == 404 => return Ok(DeliverPolicy::All),
                _ => return Err(self.retry(&e)),
            },
        };
        self.jetstream.delete_consumer_from_stream(reader, &self.name).await.map_err(|e| self.retry(&e))?;
        Ok(DeliverPolicy::ByStartSequence { start_sequence: floor + 1 })
    }

    /// What has arrived within this time, at most so many, and the number of this batch.
    pub async fn next(&mut self, max: usize, within: Duration) -> Result<(u64, Vec<AckEvent>), Error> {
        let Some(pull) = &mut self.pull else { return Ok((0, Vec::new())) };
        let (number, mut events, mut last) = (self.next_batch, Vec::new(), None);
        let until = tokio::time::Instant::now() + within;
        while events.len() < max {
            match tokio::time::timeout_at(until, pull.next()).await {
                Err(_) => break,
                Ok(Some(Ok(message))) => {
                    events.extend(read(&message));
                    last = Some(message);
                }
                Ok(Some(Err(e))) => {
                    let e = Error::Retry(format!("stream {}: {}", self.name, full_text(&e)));
                    self.close();
                    return Err(e);
                }
                Ok(None) => {
                    self.close();
                    return Err(Error::Retry(format!("stream {}: the reading ended", self.name)));
                }
            }
        }
        if let Some(last) = last {
            self.next_batch += 1;
            self.batches.push_back((number, last));
        }
        Ok((number, events))
    }

    /// Batches below this number are done with.
    pub async fn done_below(&mut self, number: u64) {
        let mut last = None;
        while self.batches.front().is_some_and(|(n, _)| *n < number) {
            last = self.batches.pop_front();
        }
        if let Some((_, message)) = last
            && let Err(e) = message.ack().await
        {
            tracing::debug!(error = %e, "what was read of acknowledgements is read again");
        }
    }

    /// A stream that is bounded is set aside: the server may not have so much.
    fn unmade(&self, e: &dyn std::error::Error) -> Error {
        let text = full_text(e);
        let remedy = match text.contains("resources") {
            true => format!(
                "; it sets receipts.events_bytes_max = {} aside: lower that, or give the server a larger jetstream max_file_store",
                self.bytes_max
            ),
            false => String::new(),
        };
        Error::Retry(format!("stream {}: {text}{remedy}", self.name))
    }

    fn retry(&self, e: &dyn std::error::Error) -> Error {
        Error::Retry(format!("stream {}: {}", self.name, full_text(e)))
    }
}

/// The durable by which one installation reads them.
fn reader_of(installation: Uuid) -> String {
    format!("avouch-{}", installation.simple())
}

/// One event; none if it is not one that we know.
fn read(message: &Message) -> Option<AckEvent> {
    #[derive(Deserialize)]
    struct Told {
        stream: String,
        consumer: String,
        stream_seq: u64,
        timestamp: String,
        #[serde(default)]
        deliveries: u64,
        #[serde(default)]
        reason: String,
    }
    let subject = message.subject.as_str();
    let fate = match () {
        () if subject.starts_with(ACKS) => Fate::Acked,
        () if subject.starts_with(TERMINATED) => Fate::Terminated,
        () if subject.starts_with(DELIVERED_TOO_OFTEN) => Fate::DeliveredTooOften,
        () => return None,
    };
    let told: Told = serde_json::from_slice(&message.payload).ok()?;
    if fate == Fate::Terminated && told.reason == REMOVED {
        return None;
    }
    // Postgres's text holds everything but NUL, and people read it.
    let reason: String = told.reason.chars().filter(|c| *c != '\0').take(REASON_CHARS_MAX).collect();
    let why = match (fate, reason.is_empty()) {
        (Fate::Acked, _) => String::new(),
        (Fate::DeliveredTooOften, _) => format!("delivered {} times without an acknowledgement", told.deliveries),
        (Fate::Terminated, true) => "terminated by its consumer".to_owned(),
        (Fate::Terminated, false) => format!("terminated by its consumer: {reason}"),
    };
    Some(AckEvent {
        fate,
        stream: told.stream,
        stream_seq: told.stream_seq,
        consumer: told.consumer,
        at: OffsetDateTime::parse(&told.timestamp, &Rfc3339).ok()?,
        why,
    })
}
