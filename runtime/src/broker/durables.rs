//! The durable pull consumers of a stream: made as configured, verified, watched, paused.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, Info};
use time::OffsetDateTime;

use super::Error;
use super::streams::Stream;

/// A durable consumer as it is to be.
#[derive(Clone, Debug)]
pub struct Durable {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub topics: Vec<String>,
    /// How long a delivery may take.
    pub ack_wait: Duration,
    /// So many deliveries; none: no limit.
    pub max_deliver: Option<u32>,
    /// Pauses before each repeated delivery.
    pub backoff: Vec<Duration>,
    /// Deliveries that may be unacknowledged at a time.
    pub max_ack_pending: u32,
    /// The broker tells of each acknowledgement.
    pub reports_acks: bool,
}

/// How far a durable consumer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it began: it delivers nothing before.
    pub start: u64,
    /// The last sequence that was delivered.
    pub delivered: u64,
    /// All up to here is settled.
    pub floor: u64,
    /// Nothing waits to be delivered, or to be acknowledged.
    pub is_idle: bool,
    /// It delivers nothing until somebody resumes it.
    pub is_paused: bool,
}

/// As long as a pause can be: somebody resumes it.
const PAUSE: time::Duration = time::Duration::days(36_500);

impl Stream {
    /// How far a durable consumer is; none if there is none of this name.
    pub async fn progress(&self, name: &str) -> Result<Option<Progress>, Error> {
        Ok(self.durable(name).await?.as_ref().map(progress))
    }

    /// Makes a durable consumer that is not there, beginning at this sequence, or corrects one that is as far as the broker allows.
    /// Returns how far it is.
    pub async fn make_durable(&self, wanted: &Durable, first_seq: u64) -> Result<Progress, Error> {
        let there = self.durable(&wanted.name).await?;
        let config = match &there {
            None => self.config_of(wanted, DeliverPolicy::ByStartSequence { start_sequence: first_seq.max(1) }),
            // Where it started cannot be changed, and does not matter any more.
            Some(info) => self.config_of(wanted, info.config.deliver_policy),
        };
        match &there {
            Some(info) if info.config.ack_policy != AckPolicy::Explicit => Err(Error::Fatal(format!(
                "consumer {} of stream {} does not acknowledge explicitly: delete it, nats consumer rm {} {}, and it is made anew",
                wanted.name, self.name, self.name, wanted.name
            ))),
            Some(info) if same(info, &config) => Ok(progress(info)),
            _ => {
                let made = self.jetstream.create_consumer_on_stream(config, &self.name).await;
                let made = made.map_err(|e| self.of(&wanted.name, &e))?;
                tracing::info!(
                    consumer = wanted.name,
                    stream = self.name,
                    first_seq,
                    was_there = there.is_some(),
                    "durable consumer made"
                );
                Ok(progress(made.cached_info()))
            }
        }
    }

    /// Deletes a durable consumer. Returns false if there was none.
    pub async fn delete_durable(&self, name: &str) -> Result<bool, Error> {
        if self.durable(name).await?.is_none() {
            return Ok(false);
        }
        self.jetstream.delete_consumer_from_stream(name, &self.name).await.map_err(|e| self.of(name, &e))?;
        Ok(true)
    }

    /// Holds a durable consumer back, or lets it go on.
    pub async fn hold_durable(&self, name: &str, is_held: bool) -> Result<(), Error> {
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        let done = match is_held {
            true => stream.pause_consumer(name, OffsetDateTime::now_utc() + PAUSE).await,
            false => stream.resume_consumer(name).await,
        };
        done.map(drop).map_err(|e| self.of(name, &e))
    }

    async fn durable(&self, name: &str) -> Result<Option<Info>, Error> {
        use async_nats::jetstream::context::ConsumerInfoErrorKind as Kind;
        let stream = self.jetstream.get_stream_no_info(&self.name).await.map_err(|e| self.retry(&e))?;
        match stream.consumer_info(name).await {
            Ok(info) => Ok(Some(info)),
            Err(e) => match e.kind() {
                Kind::NotFound => Ok(None),
                Kind::JetStream(error) if error.code() == 404 => Ok(None),
                _ => Err(self.of(name, &e)),
            },
        }
    }

    fn config_of(&self, wanted: &Durable, deliver_policy: DeliverPolicy) -> Config {
        let mut filters: Vec<String> = wanted.topics.iter().map(|topic| self.subject(topic)).collect();
        filters.push(self.redo_subject(&wanted.name, ">"));
        Config {
            durable_name: Some(wanted.name.clone()),
            description: Some("made by avouch from its configuration".into()),
            deliver_policy,
            ack_policy: AckPolicy::Explicit,
            ack_wait: wanted.backoff.first().copied().unwrap_or(wanted.ack_wait),
            max_deliver: wanted.max_deliver.map_or(-1, i64::from),
            filter_subjects: filters,
            sample_frequency: if wanted.reports_acks { 100 } else { 0 },
            max_ack_pending: wanted.max_ack_pending.into(),
            backoff: wanted.backoff.clone(),
            ..Config::default()
        }
    }

    fn of(&self, consumer: &str, e: &dyn std::error::Error) -> Error {
        Error::Retry(format!("consumer {consumer} of stream {}: {}", self.name, crate::store::full_text(e)))
    }
}

fn progress(info: &Info) -> Progress {
    let start = match info.config.deliver_policy {
        DeliverPolicy::ByStartSequence { start_sequence } => start_sequence,
        _ => 0,
    };
    Progress {
        start,
        delivered: info.delivered.stream_sequence,
        floor: info.ack_floor.stream_sequence,
        is_idle: info.num_pending == 0 && info.num_ack_pending == 0,
        is_paused: info.paused,
    }
}

/// True if nothing that we set differs.
fn same(info: &Info, wanted: &Config) -> bool {
    let (have, sorted) = (&info.config, |subjects: &[String]| {
        let mut subjects = subjects.to_vec();
        subjects.sort();
        subjects
    });
    have.ack_wait == wanted.ack_wait
        && have.max_deliver == wanted.max_deliver
        && sorted(&have.filter_subjects) == sorted(&wanted.filter_subjects)
        && have.sample_frequency == wanted.sample_frequency
        && have.max_ack_pending == wanted.max_ack_pending
        && have.backoff == wanted.backoff
}
