//! The streams that messages go to: made or verified, looked into, and kept from silting up.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config as JsConfig, DiscardPolicy, Info, LastRawMessageError, LastRawMessageErrorKind, RetentionPolicy, StorageType,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Error, Refusal};
use crate::incarnation::Seen;
use crate::lifecycle::Death;
use crate::store::full_text;

/// Who makes a stream.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Manage {
    /// Avouch makes it if it is missing.
    #[default]
    Create,
    /// The operator makes it; Avouch only verifies that it can be used.
    Verify,
}

/// Whether messages that every consumer of the stream has settled may be purged early.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Purge {
    /// When the stream is four fifths full, so that `discard: new` never refuses for long.
    #[default]
    Pressure,
    /// Never: the stream keeps what its limits allow.
    Never,
}

/// `[stream.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What stands before the topic in the subject: `msg` makes `msg.<topic>`.
    pub subject_prefix: String,
    /// What stands before the consumer and the topic in the subject of what is sent again to one consumer: `redo.<consumer>.<topic>`.
    /// Default: `subject_prefix` with `redo` for its last token if that is `msg`, and with `-redo` behind it otherwise.
    pub redo_prefix: Option<String>,
    /// Who makes the stream.
    pub manage: Manage,
    /// Copies in a cluster, 1 to 5.
    pub replicas: usize,
    /// In memory instead of on disk: lost with the server.
    pub memory: bool,
    /// Bytes it may hold; none: the account's limit.
    pub max_bytes: Option<i64>,
    /// Messages it may hold; none: no limit.
    pub max_messages: Option<i64>,
    /// How long it keeps a message, in seconds.
    pub max_age_s: u64,
    /// How long the broker remembers ids, in seconds: at least the longest time a runtime needs to come back.
    pub duplicate_window_s: u64,
    /// Whether settled messages may be purged early.
    pub purge: Purge,
    /// Whether others publish below its prefix as well, another database for example: what this database does not know there is
    /// then no sign of its having been restored.
    pub shared: bool,
}

/// A week of messages, and ids for ten minutes: longer than a restart or a take-over ever takes.
impl Default for Config {
    fn default() -> Self {
        Self {
            subject_prefix: "msg".into(),
            redo_prefix: None,
            manage: Manage::default(),
            replicas: 1,
            memory: false,
            max_bytes: None,
            max_messages: None,
            max_age_s: 7 * 24 * 3600,
            duplicate_window_s: 600,
            purge: Purge::default(),
            shared: false,
        }
    }
}

impl Config {
    /// What stands before the consumer in the subject of what is sent again to it.
    pub fn redo_prefix(&self) -> String {
        if let Some(prefix) = &self.redo_prefix {
            return prefix.clone();
        }
        match self.subject_prefix.strip_suffix("msg") {
            Some(rest) if rest.is_empty() || rest.ends_with('.') => format!("{rest}redo"),
            _ => format!("{}-redo", self.subject_prefix),
        }
    }
}

/// One stream as Avouch uses it.
#[derive(Clone)]
pub struct Stream {
    /// The stream's name.
    pub name: String,
    /// Its consumers of the configuration.
    consumers: Vec<String>,
    config: Config,
    pub(super) jetstream: Context,
}

/// What a stream holds.
#[derive(Clone, Debug)]
pub struct State {
    /// When it was created: its incarnation.
    pub created: OffsetDateTime,
    /// The first sequence that it holds, or would hold.
    pub first_seq: u64,
    /// The last one that it gave.
    pub last_seq: u64,
    /// Sequences between them that it does not hold any more.
    pub deleted: Vec<u64>,
}

impl Stream {
    /// Does not ask the broker yet.
    pub fn new(name: &str, config: &Config, consumers: Vec<String>, jetstream: Context) -> Self {
        Self { name: name.to_owned(), consumers, config: config.clone(), jetstream }
    }

    /// The subject of what is sent again to one consumer.
    pub fn redo_subject(&self, consumer: &str, topic: &str) -> String {
        format!("{}.{consumer}.{topic}", self.config.redo_prefix())
    }

    /// The subject of a topic, or of a pattern of topics.
    pub fn subject(&self, topic: &str) -> String {
        format!("{}.{topic}", self.config.subject_prefix)
    }

    /// What it holds. Gaps are told only if there are some.
    pub async fn state(&self) -> Result<State, Error> {
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        let mut info = stream.get_info().await.map_err(|e| self.retry(&e))?;
        if info.state.deleted_count.unwrap_or(0) > 0 {
            let detailed = stream.info_builder().with_deleted(true).fetch().await.map_err(|e| self.retry(&e))?;
            info = detailed.info;
        }
        Ok(State {
            created: created(&info),
            first_seq: info.state.first_sequence,
            last_seq: info.state.last_sequence,
            deleted: info.state.deleted.unwrap_or_default(),
        })
    }

    /// Publishes one message into this stream, and waits for the PubAck.
    pub async fn publish(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(u64, bool), Refusal> {
        use async_nats::jetstream::context::PublishErrorKind as Kind;
        use async_nats::jetstream::message::PublishMessage;
        let publish = PublishMessage::build().payload(payload).headers(headers).expected_stream(&self.name);
        let refused = |e: async_nats::jetstream::context::PublishError| match e.kind() {
            Kind::MaxPayloadExceeded => Refusal::Permanent(Death::TooLarge, full_text(&e)),
            _ => Refusal::Broker(full_text(&e)),
        };
        let ack = self.jetstream.send_publish(subject, publish).await.map_err(refused)?.await.map_err(refused)?;
        Ok((ack.sequence, ack.duplicate))
    }

    /// Makes or verifies the stream, and makes room in it if it is nearly full. Returns what it holds, without its gaps.
    pub async fn open(&self) -> Result<Seen, Error> {
        let mut info = self.info_or_create().await?;
        let missing = self.redo_subjects().into_iter().filter(|w| !info.config.subjects.iter().any(|s| covers(s, w)));
        let missing: Vec<String> = missing.collect();
        if self.config.manage == Manage::Create && !missing.is_empty() {
            let mut wanted = info.config.clone();
            wanted.subjects.extend(missing);
            info = self.jetstream.update_stream(wanted).await.map_err(|e| self.retry(&e))?;
        }
        self.verify(&info)?;
        self.make_room(&info).await?;
        Ok(seen(&info))
    }

    /// What it holds, without its gaps.
    pub async fn seen(&self) -> Result<Seen, Error> {
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        Ok(seen(&stream.get_info().await.map_err(|e| self.retry(&e))?))
    }

    /// How long it holds a message; none: for good.
    pub fn keeps(&self) -> Option<Duration> {
        (self.config.max_age_s > 0).then(|| Duration::from_secs(self.config.max_age_s))
    }

    /// Whether others publish to its subjects as well.
    pub fn is_shared(&self) -> bool {
        self.config.shared
    }

    async fn info_or_create(&self) -> Result<Info, Error> {
        let stream = match self.config.manage {
            Manage::Create => self.jetstream.get_or_create_stream(self.wanted()).await.map_err(|e| self.retry(&e))?,
            Manage::Verify => self.jetstream.get_stream(&self.name).await.map_err(|e| {
                let hint = "manage = \"verify\": create it, or let avouch: manage = \"create\"";
                Error::Retry(format!("stream {}: {}; {hint}", self.name, full_text(&e)))
            })?,
        };
        Ok(stream.cached_info().clone())
    }

    fn wanted(&self) -> JsConfig {
        JsConfig {
            name: self.name.clone(),
            subjects: [self.subjects()].into_iter().chain(self.redo_subjects()).collect(),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            storage: if self.config.memory { StorageType::Memory } else { StorageType::File },
            num_replicas: self.config.replicas,
            max_bytes: self.config.max_bytes.unwrap_or(-1),
            max_messages: self.config.max_messages.unwrap_or(-1),
            max_age: Duration::from_secs(self.config.max_age_s),
            duplicate_window: Duration::from_secs(self.config.duplicate_window_s),
            allow_direct: true,
            ..JsConfig::default()
        }
    }

    fn subjects(&self) -> String {
        format!("{}.>", self.config.subject_prefix)
    }

    /// A subject space for each consumer.
    fn redo_subjects(&self) -> Vec<String> {
        self.consumers.iter().map(|consumer| format!("{}.{consumer}.>", self.config.redo_prefix())).collect()
    }

    /// Refuses a stream that would lose messages or never takes ours.
    fn verify(&self, info: &Info) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Retry(format!("stream {}: {what}", self.name)));
        let config = &info.config;
        for wanted in [self.subjects()].into_iter().chain(self.redo_subjects()) {
            if !config.subjects.iter().any(|s| covers(s, &wanted)) {
                return wrong(format!("its subjects {:?} do not take {wanted}: add it", config.subjects));
            }
        }
        if config.no_ack {
            return wrong("no_ack is set: nothing would ever be known to be stored; unset it".into());
        }
        if config.retention != RetentionPolicy::Limits {
            return wrong("its retention must be limits: others forget ids, and messages without a consumer".into());
        }
        if config.discard != DiscardPolicy::New && (config.max_bytes > 0 || config.max_messages > 0) {
            return wrong("it discards old messages when full, consumed or not: set discard to new".into());
        }
        Ok(())
    }

    /// Purges what every consumer has settled, if the stream is four fifths full. A stream without consumers keeps all.
    pub async fn relieve(&self) -> Result<(), Error> {
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        let info = stream.get_info().await.map_err(|e| self.retry(&e))?;
        self.make_room(&info).await
    }

    async fn make_room(&self, info: &Info) -> Result<(), Error> {
        let limit = |max: i64| u64::try_from(max).ok().filter(|max| *max > 0);
        let nearly = |used: u64, max: Option<u64>| max.is_some_and(|max| used >= max / 5 * 4);
        let full = nearly(info.state.bytes, limit(info.config.max_bytes))
            || nearly(info.state.messages, limit(info.config.max_messages));
        if !full || self.config.purge == Purge::Never {
            return Ok(());
        }
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        let mut consumers = stream.consumers();
        let mut settled: Option<u64> = None;
        while let Some(consumer) = consumers.next().await {
            let c = consumer.map_err(|e| self.retry(&e))?;
            let floor = if c.num_pending == 0 && c.num_ack_pending == 0 {
                // It has seen all there was when `info` was asked for, wanted or not.
                info.state.last_sequence
            } else {
                c.ack_floor.stream_sequence
            };
            settled = Some(settled.map_or(floor, |s| s.min(floor)));
        }
        match settled {
            None => tracing::warn!(
                stream = self.name,
                "the stream is nearly full and has no consumer: nothing can be purged; create its consumers or raise its limits"
            ),
            Some(floor) if floor >= info.state.first_sequence => {
                let purged = stream.purge().sequence(floor + 1).await.map_err(|e| self.retry(&e))?;
                tracing::info!(
                    stream = self.name,
                    purged = purged.purged,
                    "purged settled messages of a nearly full stream"
                );
            }
            Some(_) => {
                tracing::debug!(stream = self.name, "the stream is nearly full of messages that are not settled")
            }
        }
        Ok(())
    }

    /// Whether this sequence holds the message with this id.
    pub async fn holds(&self, stream_seq: u64, msg_id: &str) -> Result<bool, Error> {
        Ok(self.message_at(stream_seq).await?.is_some_and(|found| found.as_deref() == Some(msg_id)))
    }

    /// The `Nats-Msg-Id` of what this sequence holds, if that has one; none: it holds nothing. Asked of the stream's leader, which
    /// cannot lag.
    pub async fn message_at(&self, stream_seq: u64) -> Result<Option<Option<String>>, Error> {
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        let id = |m: StreamMessage| m.headers.get(async_nats::header::NATS_MESSAGE_ID).map(|id| id.to_string());
        self.found(stream.get_raw_message(stream_seq).await).map(|found| found.map(id))
    }

    /// The last message below its prefix, if it is one of ours: no generation, no other header.
    pub async fn last_message(&self) -> Result<Option<Uuid>, Error> {
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        let found = self.found(stream.get_last_raw_message_by_subject(&self.subjects()).await)?;
        Ok(found.and_then(|m| m.headers.get("Avouch-Id").and_then(|id| id.as_str().parse().ok())))
    }

    fn found(&self, result: Result<StreamMessage, LastRawMessageError>) -> Result<Option<StreamMessage>, Error> {
        match result {
            Ok(message) => Ok(Some(message)),
            Err(e) => match e.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(None),
                LastRawMessageErrorKind::JetStream(error) if error.code() == 404 => Ok(None),
                _ => Err(self.retry(&e)),
            },
        }
    }

    pub(super) fn retry(&self, e: &dyn std::error::Error) -> Error {
        Error::Retry(format!("stream {}: {}", self.name, full_text(e)))
    }
}

/// To the microsecond, as Postgres keeps it.
fn created(info: &Info) -> OffsetDateTime {
    let whole = info.created.microsecond() * 1000;
    info.created.replace_nanosecond(whole).unwrap_or(info.created)
}

fn seen(info: &Info) -> Seen {
    Seen { created: created(info), first_seq: info.state.first_sequence, last_seq: info.state.last_sequence }
}

/// True when every subject that matches `wanted` (which ends in `>`) matches `pattern`.
pub(super) fn covers(pattern: &str, wanted: &str) -> bool {
    let (mut have, mut want) = (pattern.split('.'), wanted.split('.'));
    loop {
        match (have.next(), want.next()) {
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(a), Some(b)) if a == b && a != ">" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, covers};

    #[test]
    fn what_is_sent_again_has_subjects_beside_those_of_the_stream() {
        let redo = |prefix: &str| Config { subject_prefix: prefix.into(), ..Config::default() }.redo_prefix();
        assert_eq!(
            (redo("msg"), redo("shop.msg"), redo("a.b")),
            ("redo".into(), "shop.redo".into(), "a.b-redo".into())
        );
        let given = Config { redo_prefix: Some("again".into()), ..Config::default() };
        assert_eq!(given.redo_prefix(), "again");
    }

    #[test]
    fn subjects_cover_what_every_topic_needs() {
        for pattern in [">", "msg.>", "*.>"] {
            assert!(covers(pattern, "msg.>"), "{pattern}");
        }
        for pattern in ["msg.*", "msg.orders.>", "other.>", "msg", "*"] {
            assert!(!covers(pattern, "msg.>"), "{pattern}");
        }
    }
}
