//! Messages of one durable consumer, read in batches by one of possibly many instances at a time, in the order of their stream.

use std::collections::BTreeSet;
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
    /// Received, and not given out yet.
    kept: Vec<Fed>,
    /// What readers before this one had, and have not acknowledged.
    missing: Option<Missing>,
}

/// Messages that come a second time, in any order: nothing is given out before all of them are here.
struct Missing {
    /// None of them stands behind this place.
    up_to: u64,
    /// So many.
    count: u64,
    /// What has not come by then was acknowledged after all.
    until: Instant,
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
        Self { stream, durable: durable.to_owned(), pull: None, kept: Vec::new(), missing: None }
    }

    /// True if it can be read.
    pub fn is_open(&self) -> bool {
        self.pull.is_some()
    }

    /// Begins to read.
    pub async fn open(&mut self) -> Result<(), Error> {
        let stream = self.stream.jetstream.get_stream_no_info(&self.stream.name).await.map_err(|e| self.retry(&e))?;
        let consumer = stream.get_consumer::<Config>(&self.durable).await;
        let consumer = consumer.map_err(|e| self.retry_text(&e.to_string()))?;
        let info = consumer.cached_info();
        let (up_to, count) = (info.delivered.stream_sequence, u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX));
        let until = Instant::now() + info.config.ack_wait + AFTER;
        self.missing = (count > 0).then_some(Missing { up_to, count, until });
        let pull = consumer.stream().max_messages_per_batch(BATCH).messages().await.map_err(|e| self.retry(&e))?;
        self.pull = Some(pull);
        Ok(())
    }

    /// Stops reading: what was delivered and is not done with goes back at once, these too.
    pub async fn close(&mut self, mut held: Vec<Fed>) {
        held.append(&mut self.kept);
        if let Some(mut pull) = self.pull.take() {
            while let Some(Some(Ok(message))) = pull.next().now_or_never() {
                held.push(Fed { message });
            }
        }
        for fed in held {
            if let Err(e) = fed.message.ack_with(AckKind::Nak(None)).await {
                tracing::debug!(error = %e, "a message that is not done with comes again when its time is over");
            }
        }
    }

    /// What has arrived within this time, in the order of the stream.
    pub async fn next(&mut self, within: Duration) -> Result<Vec<Fed>, Error> {
        let Some(pull) = &mut self.pull else { return Ok(Vec::new()) };
        let mut until = tokio::time::Instant::now() + within;
        let is_complete = self.missing.is_none();
        while self.kept.len() < BATCH || !is_complete {
            match tokio::time::timeout_at(until, pull.next()).await {
                Err(_) => break,
                Ok(Some(Ok(message))) => {
                    if is_complete && self.kept.is_empty() {
                        until = tokio::time::Instant::now() + GATHER;
                    }
                    self.kept.push(Fed { message });
                    if self.missing.as_ref().is_some_and(|missing| missing.are_here(&self.kept)) {
                        break;
                    }
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
        if self.missing.as_ref().is_some_and(|m| !m.are_here(&self.kept) && m.until > Instant::now()) {
            return Ok(Vec::new());
        }
        self.missing = None;
        let mut fed = std::mem::take(&mut self.kept);
        fed.sort_by_key(Fed::place);
        Ok(fed)
    }

    fn retry(&self, e: &dyn std::error::Error) -> Error {
        self.retry_text(&full_text(e))
    }

    fn retry_text(&self, text: &str) -> Error {
        Error::Retry(format!("consumer {} of stream {}: {text}", self.durable, self.stream.name))
    }
}

impl Missing {
    fn are_here(&self, kept: &[Fed]) -> bool {
        let places: BTreeSet<u64> = kept.iter().map(Fed::place).filter(|place| *place <= self.up_to).collect();
        places.len() as u64 >= self.count
    }
}

impl Fed {
    fn place(&self) -> u64 {
        self.message.info().map_or(0, |info| info.stream_sequence)
    }

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
