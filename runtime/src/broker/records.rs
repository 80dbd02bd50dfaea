//! Records in a key-value bucket of JetStream: read, and written where they still are what was read.
//!
//! A record's place is `<consumer>.<key>`, and its revision the place in the bucket's stream: each change has a greater one, over all
//! records, so that the revision of a run is its token. Reads ask the stream's leader; a follower may not have seen the latest change.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::context::{Context, PublishErrorKind};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config as JsConfig, DiscardPolicy, LastRawMessageErrorKind, StorageType, Stream};
use async_nats::jetstream::{ErrorCode, message::StreamMessage};
use async_nats::{HeaderMap, HeaderValue};
use serde::Deserialize;
use time::OffsetDateTime;

use super::Error;
use super::streams::Manage;
use crate::idempotency::{Record, State, Step};

/// `[inbox.kv]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The bucket's name.
    pub bucket: String,
    /// Who makes the bucket.
    pub manage: Manage,
    /// Copies in a cluster, 1 to 5.
    pub replicas: usize,
    /// In memory instead of on disk: lost with the server.
    pub memory: bool,
}

/// As safe as the streams are.
impl Default for Config {
    fn default() -> Self {
        Self { bucket: "avouch_inbox".into(), manage: Manage::default(), replicas: 1, memory: false }
    }
}

/// How long the server's clock is reckoned from one look at it: clocks drift by less than a millisecond meanwhile.
const CLOCK_TRUST: Duration = Duration::from_secs(10);
/// Others were faster so often: who asks asks again.
const TRIES_MAX: usize = 5;
/// Records of runs that are remembered, at most twice as many: a few megabytes.
const REMEMBERED_MAX: usize = 4_096;
/// A stream's `first_seq`: JavaScript counts exactly up to 2^53, which microseconds reach in the year 2255.
const MICROS_PER_S: u64 = 1_000_000;

/// The records of a bucket.
pub struct Records {
    config: Config,
    /// Zero: for good.
    keep: Duration,
    jetstream: Context,
    /// What subjects begin with, before the place.
    prefix: String,
    clock: tokio::sync::Mutex<Option<Clock>>,
    remembered: Mutex<Remembered>,
}

/// The time of the server that leads the bucket's stream.
#[derive(Clone, Copy)]
pub struct Clock {
    ms: i64,
    at: Instant,
}

/// What was found in a place: a deleted record has left its revision.
struct Entry {
    record: Option<Record>,
    revision: i64,
}

/// Of what the server tells about a stream.
#[derive(Deserialize)]
struct Info {
    config: JsConfig,
    #[serde(rename = "ts", with = "time::serde::rfc3339")]
    now: OffsetDateTime,
}

impl Records {
    /// Does not ask the broker yet. Records are kept for so many hours, or for good if that is 0.
    pub(super) fn new(config: &Config, keep_hours: u64, domain: Option<&str>, jetstream: Context) -> Self {
        let api = domain.map(|domain| format!("$JS.{domain}.API.")).unwrap_or_default();
        Self {
            config: config.clone(),
            keep: Duration::from_secs(keep_hours * 3600),
            jetstream,
            prefix: format!("{api}$KV.{}.", config.bucket),
            clock: tokio::sync::Mutex::default(),
            remembered: Mutex::default(),
        }
    }

    /// The server's clock; looks at it, and makes or verifies the bucket, if that was a while ago.
    pub async fn clock(&self) -> Result<Clock, Error> {
        let mut kept = self.clock.lock().await;
        if let Some(clock) = kept.filter(|clock| clock.at.elapsed() < CLOCK_TRUST) {
            return Ok(clock);
        }
        *kept = None;
        let info = self.info_or_create().await?;
        self.verify(&info.config)?;
        Ok(*kept.insert(Clock::new(info.now)))
    }

    /// Does to a record what `decide` says of it. Returns what is told, and the revision if the record was changed; none if
    /// others changed it again and again.
    pub async fn change<T>(
        &self,
        place: (&str, &str),
        clock: Clock,
        decide: impl Fn(Option<&Record>, i64) -> Step<T>,
    ) -> Result<Option<(T, Option<i64>)>, Error> {
        let place = name(place);
        let mut entry = self.guess(&place);
        for tries in 0..TRIES_MAX {
            let step = decide(entry.record.as_ref(), clock.now_ms());
            match step.becomes {
                // A guess tells nothing by itself; what it makes of the record is guarded.
                None if tries > 0 => return Ok(Some((step.told, None))),
                None => {}
                Some(record) => {
                    if let Some(revision) = self.put(&place, &record, entry.revision).await? {
                        self.remember(place, record, revision);
                        return Ok(Some((step.told, Some(revision))));
                    }
                }
            }
            entry = self.read(&place).await?;
        }
        Ok(None)
    }

    async fn read(&self, place: &str) -> Result<Entry, Error> {
        let stream = self.stream().await?;
        // The API takes the subject as it is in the stream, without its domain.
        let subject = format!("$KV.{}.{place}", self.config.bucket);
        match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => self.entry(place, &message),
            Err(e) => match e.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(Entry { record: None, revision: 0 }),
                _ => Err(self.retry(&e)),
            },
        }
    }

    fn entry(&self, place: &str, message: &StreamMessage) -> Result<Entry, Error> {
        let revision = i64::try_from(message.sequence).unwrap_or(i64::MAX);
        if !is_value(&message.headers) {
            return Ok(Entry { record: None, revision });
        }
        let record: Record = serde_json::from_slice(&message.payload).map_err(|e| {
            let bucket = &self.config.bucket;
            Error::Fatal(format!(
                "{place} in bucket {bucket} is no record: {e}; forget it: nats kv del {bucket} {place}"
            ))
        })?;
        let token = record.token.or(Some(revision));
        Ok(Entry { record: Some(Record { revision, token, ..record }), revision })
    }

    /// Its new revision; none if the record is not at `expected` any more.
    async fn put(&self, place: &str, record: &Record, expected: i64) -> Result<Option<i64>, Error> {
        let body = serde_json::to_vec(record).map_err(|e| Error::Fatal(e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(expected));
        let subject = format!("{}{place}", self.prefix);
        let ack = match self.jetstream.publish_with_headers(subject, headers, body.into()).await {
            Ok(sent) => sent.await,
            Err(e) => Err(e),
        };
        match ack {
            Ok(ack) => Ok(Some(i64::try_from(ack.sequence).unwrap_or(i64::MAX))),
            Err(e) if e.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Err(e) => {
                if e.kind() == PublishErrorKind::StreamNotFound {
                    // The next one makes the bucket.
                    self.clock.lock().await.take();
                }
                Err(self.retry(&e))
            }
        }
    }

    async fn stream(&self) -> Result<Stream<()>, Error> {
        self.jetstream.get_stream_no_info(self.stream_name()).await.map_err(|e| self.retry(&e))
    }

    fn stream_name(&self) -> String {
        format!("KV_{}", self.config.bucket)
    }
}

// ── The bucket ─────────────────────────────────────────────────────────────────────────────────────────────────────

impl Records {
    async fn info_or_create(&self) -> Result<Info, Error> {
        match self.info().await? {
            Ok(info) => return Ok(info),
            Err(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND && self.config.manage == Manage::Create => {}
            Err(e) => return Err(self.retry(&e)),
        }
        self.jetstream.create_stream(self.wanted()).await.map_err(|e| self.retry(&e))?;
        tracing::info!(bucket = self.config.bucket, "made the bucket of what consumers did: nothing is recorded in it");
        self.info().await?.map_err(|e| self.retry(&e))
    }

    async fn info(&self) -> Result<Result<Info, async_nats::jetstream::Error>, Error> {
        let subject = format!("STREAM.INFO.{}", self.stream_name());
        match self.jetstream.request(subject, &()).await.map_err(|e| self.retry(&e))? {
            Response::Ok(info) => Ok(Ok(info)),
            Response::Err { error } => Ok(Err(error)),
        }
    }

    fn wanted(&self) -> JsConfig {
        JsConfig {
            name: self.stream_name(),
            description: Some("what consumers did, by consumer and key".into()),
            subjects: vec![format!("$KV.{}.>", self.config.bucket)],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            storage: if self.config.memory { StorageType::Memory } else { StorageType::File },
            num_replicas: self.config.replicas,
            max_age: self.keep,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            // Tokens grow though the bucket was lost and is made again.
            first_sequence: Some(micros()),
            ..JsConfig::default()
        }
    }

    /// Refuses a bucket that would forget what was done too early, or that cannot be written to.
    fn verify(&self, config: &JsConfig) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::Fatal(format!("bucket {}: {what}", self.config.bucket)));
        let is_kept = config.max_age.is_zero() || (!self.keep.is_zero() && config.max_age >= self.keep);
        if !is_kept {
            return wrong(
                "its TTL is shorter than inbox.keep_hours: raise it with nats stream edit, or lower the setting",
            );
        }
        if config.max_messages_per_subject < 1 {
            return wrong("it is a stream and no bucket: name another one in inbox.kv.bucket");
        }
        if config.mirror.is_some() || config.no_ack {
            return wrong("it is a mirror, or acknowledges nothing: name the bucket itself in inbox.kv.bucket");
        }
        if config.discard != DiscardPolicy::New && (config.max_bytes > 0 || config.max_messages > 0) {
            return wrong("it forgets old records when it is full: set discard to new");
        }
        Ok(())
    }

    fn retry(&self, e: &dyn std::error::Error) -> Error {
        Error::Retry(format!("bucket {}: {}", self.config.bucket, crate::store::full_text(e)))
    }
}

fn micros() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() * MICROS_PER_S + u64::from(now.subsec_micros())
}

/// Neither deleted, nor purged, nor expired.
fn is_value(headers: &HeaderMap) -> bool {
    headers.get("KV-Operation").is_none_or(|operation| operation.as_str() == "PUT")
        && headers.get("Nats-Marker-Reason").is_none()
}

/// A place as a key of a bucket: reversible, and ids stand as they are, so that people find them. Other characters than letters,
/// digits, - and _ are written as =, with their bytes in hex: 512 bytes of any sort make a key of at most 1601.
fn name((consumer, key): (&str, &str)) -> String {
    let mut name = String::with_capacity(consumer.len() + 1 + key.len());
    name.push_str(consumer);
    name.push('.');
    for byte in key.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' => name.push(char::from(byte)),
            _ => name.push_str(&format!("={byte:02X}")),
        }
    }
    name
}

impl Clock {
    /// A look at it that arrives now: never ahead of it, and behind by the way back.
    fn new(now: OffsetDateTime) -> Self {
        let ms = i64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        Self { ms, at: Instant::now() }
    }

    fn now_ms(self) -> i64 {
        self.ms.saturating_add(i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

// ── What this process wrote last ───────────────────────────────────────────────────────────────────────────────────

impl Records {
    /// What is probably there.
    fn guess(&self, place: &str) -> Entry {
        let record = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).take(place);
        let revision = record.as_ref().map_or(0, |record| record.revision);
        Entry { record, revision }
    }

    fn remember(&self, place: String, record: Record, revision: i64) {
        if record.state == State::Running {
            let token = record.token.or(Some(revision));
            let record = Record { revision, token, ..record };
            self.remembered.lock().unwrap_or_else(PoisonError::into_inner).keep(place, record);
        }
    }
}

/// Records of runs, so that whoever finishes one need not read it first.
#[derive(Default)]
struct Remembered {
    young: HashMap<String, Record>,
    old: HashMap<String, Record>,
}

impl Remembered {
    fn keep(&mut self, place: String, record: Record) {
        if self.young.len() >= REMEMBERED_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, record);
    }

    fn take(&mut self, place: &str) -> Option<Record> {
        self.young.remove(place).or_else(|| self.old.remove(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_makes_a_name_of_its_own() {
        assert_eq!(name(("c", "0192f7a5-8a3c_Z")), "c.0192f7a5-8a3c_Z");
        assert_eq!(name(("c", "a.b=*>/ ")), "c.a=2Eb=3D=2A=3E=2F=20");
        assert_eq!(name(("c", "ü")), "c.=C3=BC");
        assert_ne!(name(("c", "=20")), name(("c", " ")));
    }

    #[test]
    fn latest_runs_are_remembered_and_the_oldest_are_not() {
        let record: Record = serde_json::from_str(r#"{"state":"running"}"#).expect("the rest is optional");
        let mut remembered = Remembered::default();
        let places = 2 * REMEMBERED_MAX + 1;
        for place in 0..places {
            remembered.keep(place.to_string(), record.clone());
        }
        assert!(remembered.take("0").is_none(), "its memory is bounded");
        for place in places - REMEMBERED_MAX..places {
            assert!(remembered.take(&place.to_string()).is_some(), "{place}");
        }
    }
}
