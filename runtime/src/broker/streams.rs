//! The streams that messages go to: made or verified, looked into, and kept from silting up.

use std::time::Duration;

use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::{Config as JsConfig, DiscardPolicy, Info, RetentionPolicy, StorageType};
use futures_util::StreamExt;
use serde::Deserialize;
use time::OffsetDateTime;

use super::Error;

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
}

/// A week of messages, and ids for ten minutes: longer than a restart or a take-over ever takes.
impl Default for Config {
    fn default() -> Self {
        Self {
            subject_prefix: "msg".into(),
            manage: Manage::default(),
            replicas: 1,
            memory: false,
            max_bytes: None,
            max_messages: None,
            max_age_s: 7 * 24 * 3600,
            duplicate_window_s: 600,
            purge: Purge::default(),
        }
    }
}

/// One stream as Avouch uses it.
#[derive(Clone)]
pub struct Stream {
    /// The stream's name.
    pub name: String,
    config: Config,
    jetstream: Context,
}

impl Stream {
    /// Does not ask the broker yet.
    pub fn new(name: &str, config: &Config, jetstream: Context) -> Self {
        Self { name: name.to_owned(), config: config.clone(), jetstream }
    }

    /// Makes or verifies the stream, and makes room in it if it is nearly full. Returns when it was created: its
    /// incarnation.
    pub async fn open(&self) -> Result<OffsetDateTime, Error> {
        let info = self.info_or_create().await?;
        self.verify(&info)?;
        self.make_room(&info).await?;
        Ok(info.created)
    }

    async fn info_or_create(&self) -> Result<Info, Error> {
        let stream = match self.config.manage {
            Manage::Create => self.jetstream.get_or_create_stream(self.wanted()).await.map_err(|e| self.retry(&e))?,
            Manage::Verify => self.jetstream.get_stream(&self.name).await.map_err(|e| {
                let hint = "manage = \"verify\": create it, or let avouch: manage = \"create\"";
                Error::Retry(format!("stream {}: {}; {hint}", self.name, crate::store::full_text(&e)))
            })?,
        };
        Ok(stream.cached_info().clone())
    }

    fn wanted(&self) -> JsConfig {
        JsConfig {
            name: self.name.clone(),
            subjects: vec![self.subjects()],
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

    /// Refuses a stream that would lose messages or never takes ours.
    fn verify(&self, info: &Info) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Retry(format!("stream {}: {what}", self.name)));
        let (config, wanted) = (&info.config, self.subjects());
        if !config.subjects.iter().any(|s| covers(s, &wanted)) {
            return wrong(format!("its subjects {:?} do not take {wanted}: add it", config.subjects));
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

    /// Whether this sequence holds the message with this id; asked of the stream's leader, which cannot lag.
    pub async fn holds(&self, stream_seq: u64, msg_id: &str) -> Result<bool, Error> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind as Kind;
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        match stream.get_raw_message(stream_seq).await {
            Ok(message) => Ok(message.headers.get("Nats-Msg-Id").is_some_and(|id| id.as_str() == msg_id)),
            Err(e) => match e.kind() {
                Kind::NoMessageFound => Ok(false),
                Kind::JetStream(error) if error.code() == 404 => Ok(false),
                _ => Err(self.retry(&e)),
            },
        }
    }

    fn retry(&self, e: &dyn std::error::Error) -> Error {
        Error::Retry(format!("stream {}: {}", self.name, crate::store::full_text(e)))
    }
}

/// True when every subject that matches `wanted` (which ends in `>`) matches `pattern`.
fn covers(pattern: &str, wanted: &str) -> bool {
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
    use super::covers;

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
