//! Messages of one durable consumer, read in batches by one of possibly many instances at a time, in the order of their stream.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull::{Config, Stream as Pull};
use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Error;
use super::service::own_headers;
use super::streams::Stream;
use crate::store::full_text;

/// A durable's messages.
pub struct Feed {
    stream: Stream,
    durable: String,
    pull: Option<Pull>,
    /// When what its last reader holds comes again, if it holds anything.
    awaited: Option<Instant>,
}

/// One of them.
pub struct Fed {
    message: Message,
}

/// What a message of ours says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The message's id.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// When it was inserted.
    pub created_at: OffsetDateTime,
}

/// Asked for at a time.
const BATCH: usize = 256;
/// The server looks for what comes again so often.
const AFTER: Duration = Duration::from_secs(1);
/// What arrives together is recorded together.
const GATHER: Duration = Duration::from_millis(5);

impl Feed {
    /// Does not ask the broker yet.
    pub fn new(stream: Stream, durable: &str) -> Self {
        Self { stream, durable: durable.to_owned(), pull: None, awaited: None }
    }

    /// True if it can be read.
    pub fn is_open(&self) -> bool {
        self.pull.is_some()
    }

    /// Begins to read, unless a reader that has ended holds messages which it has not recorded: what stands behind them must not overtake
    /// them, so their time is waited for. Returns whether it has begun.
    pub async fn open(&mut self) -> Result<bool, Error> {
        let stream = self.stream.jetstream.get_stream_no_info(&self.stream.name).await.map_err(|e| self.retry(&e))?;
        let consumer = stream.get_consumer::<Config>(&self.durable).await;
        let consumer = consumer.map_err(|e| self.retry_text(&e.to_string()))?;
        let info = consumer.cached_info();
        let comes_again = Instant::now() + info.config.ack_wait + AFTER;
        if info.num_ack_pending > 0 && *self.awaited.get_or_insert(comes_again) > Instant::now() {
            return Ok(false);
        }
        self.awaited = None;
        let pull = consumer.stream().max_messages_per_batch(BATCH).messages().await.map_err(|e| self.retry(&e))?;
        self.pull = Some(pull);
        Ok(true)
    }

    /// Stops reading: what was delivered and not taken goes back at once.
    pub async fn close(&mut self) {
        let Some(mut pull) = self.pull.take() else { return };
        while let Some(Some(Ok(message))) = pull.next().now_or_never() {
            if let Err(e) = message.ack_with(AckKind::Nak(None)).await {
                tracing::debug!(error = %e, "a message that was not taken comes again when its time is over");
            }
        }
    }

    /// What has arrived within this time, in the order of the stream.
    pub async fn next(&mut self, within: Duration) -> Result<Vec<Fed>, Error> {
        let Some(pull) = &mut self.pull else { return Ok(Vec::new()) };
        let mut fed = Vec::new();
        let mut until = tokio::time::Instant::now() + within;
        while fed.len() < BATCH {
            match tokio::time::timeout_at(until, pull.next()).await {
                Err(_) => break,
                Ok(Some(Ok(message))) => {
                    if fed.is_empty() {
                        until = tokio::time::Instant::now() + GATHER;
                    }
                    fed.push(Fed { message });
                }
                Ok(Some(Err(e))) => {
                    self.pull = None;
                    return Err(self.retry(&e));
                }
                Ok(None) => {
                    self.pull = None;
                    return Err(self.retry_text("the reading ended"));
                }
            }
        }
        fed.sort_by_key(|fed| fed.message.info().map_or(0, |info| info.stream_sequence));
        Ok(fed)
    }

    fn retry(&self, e: &dyn std::error::Error) -> Error {
        self.retry_text(&full_text(e))
    }

    fn retry_text(&self, text: &str) -> Error {
        Error::Retry(format!("consumer {} of stream {}: {text}", self.durable, self.stream.name))
    }
}

impl Fed {
    /// What it says of itself; none: it is not one of ours.
    pub fn told(&self) -> Option<Told> {
        let header = |name: &str| self.message.headers.as_ref()?.get(name).map(|value| value.as_str());
        let key = header("Avouch-Key").map(|key| percent_encoding::percent_decode_str(key).decode_utf8());
        Some(Told {
            id: header("Avouch-Id")?.parse().ok()?,
            topic: header("Avouch-Topic")?.to_owned(),
            key: key.transpose().ok()?.map(|key| key.into_owned()),
            created_at: OffsetDateTime::parse(header("Avouch-Created-At")?, &Rfc3339).ok()?,
        })
    }

    /// Its bytes.
    pub fn payload(&self) -> Bytes {
        self.message.payload.clone()
    }

    /// Its producer's headers.
    pub fn headers(&self) -> impl Iterator<Item = (String, String)> + '_ {
        own_headers(self.message.headers.as_ref())
    }

    /// Where it came.
    pub fn subject(&self) -> &str {
        self.message.subject.as_str()
    }

    /// It is done with.
    pub async fn ack(&self) {
        if let Err(e) = self.message.ack().await {
            tracing::debug!(error = %e, "a message that was recorded comes again");
        }
    }
}
