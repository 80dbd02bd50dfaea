//! The inbox: consumers ask over NATS whether they may act on a message, and say what came of it.
//!
//! One task owns the desk. What many ask goes to where it is recorded together; while one batch is under way the next gathers. An
//! answer says what has been committed; a request that got none may be repeated.

mod confirms;
mod desk;
mod judge;
mod keeper;
mod lane;
pub mod request;
mod spans;
mod tally;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

pub use self::desk::Desk;
pub use self::keeper::Keeper;
use crate::broker::{Request, Service, records};
use crate::idempotency::{Policy, Takeover};
use crate::store::Consumer;

/// `[inbox]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests that wait or are under way; more are refused as `unavailable`.
    pub requests_max: usize,
    /// Requests of one statement.
    pub batch_rows_max: usize,
    /// Size of a result that is kept.
    pub result_bytes_max: usize,
    /// How long a record is kept after its last change, in hours: longer than a message can still be delivered. 0 keeps everything.
    pub keep_hours: u64,
    /// Where it is recorded what consumers who ask did.
    pub store: Store,
    /// The bucket, if it is recorded there.
    pub kv: records::Config,
}

/// Where it is recorded what consumers who ask did.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In `avouch.inbox`: as durable as the database, and by its clock.
    #[default]
    Table,
    /// In a key-value bucket: no row a message, and a weaker promise.
    Kv,
}

/// Longer than a stream keeps a message (a week), and an outbox (three days).
impl Default for Config {
    fn default() -> Self {
        Self {
            requests_max: 4_096,
            batch_rows_max: 256,
            result_bytes_max: 16 << 10,
            keep_hours: 240,
            store: Store::Table,
            kv: records::Config::default(),
        }
    }
}

/// `[consumer.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumerConfig {
    /// How long a token holds, unless it is renewed.
    pub lease_ms: u32,
    /// What follows a lease that ended without a word.
    pub takeover: Takeover,
    /// So many attempts, failed or ended without a word; then the message is rejected.
    pub attempts_max: u32,
    /// The first pause after a failure, unless the consumer names one; it doubles.
    pub retry_first_ms: u32,
    /// The longest such pause.
    pub retry_max_ms: u32,
    /// The plugin that says what makes two messages the same piece of work; without one, the message's id does.
    pub plugin: Option<String>,
    /// What it takes, as in subjects: `orders.created`, `payments.*`, `stock.>`. Without any it has no durable consumer, and nothing
    /// waits for it.
    pub topics: Vec<String>,
    /// The stream of these topics; the default one if absent.
    pub stream: Option<String>,
    /// Messages are consumed once it has finished them; otherwise it is a bystander.
    pub required: bool,
    /// What counts as finished.
    pub receipt: Receipt,
    /// What the broker has settled counts as finished, though nobody saw the acknowledgement.
    pub trust_settled: bool,
    /// How long after it was sent a message may be unfinished before it is missed, if the broker does not hold it for delivery.
    pub deadline_ms: u32,
    /// So often a message that is missed is sent again; then it is dead. What the broker lost is sent again without limit.
    pub generations_max: u32,
    /// Where its durable consumer starts, when it is made for the first time.
    pub start: Start,
    /// How long a delivery may take before the broker repeats it.
    pub ack_wait_ms: u64,
    /// So many deliveries, then it is dead; none: no limit, as consumers need that ask before they act.
    pub max_deliver: Option<u32>,
    /// Pauses before each repeated delivery, the last one for all others; they replace `ack_wait_ms`.
    pub backoff_ms: Vec<u64>,
    /// Deliveries that may be unacknowledged at a time.
    pub max_ack_pending: u32,
}

/// What counts as a consumer's receipt.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Receipt {
    /// Its acknowledgement, as the broker reports it.
    #[default]
    Ack,
    /// Its record in `avouch.inbox`: right for consumers that ask before they act, or say `avouch.inbox_once`.
    Inbox,
}

/// Where a new durable consumer starts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With all that the stream holds.
    #[default]
    All,
    /// With what is sent from now on.
    New,
}

/// With these pauses, sixteen attempts take about an hour; an acknowledgement is known to the database within seconds, a minute is ample.
impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            lease_ms: 30_000,
            takeover: Takeover::Rerun,
            attempts_max: 16,
            retry_first_ms: 1_000,
            retry_max_ms: 300_000,
            plugin: None,
            topics: Vec::new(),
            stream: None,
            required: true,
            receipt: Receipt::default(),
            trust_settled: false,
            deadline_ms: 60_000,
            generations_max: 3,
            start: Start::default(),
            ack_wait_ms: 30_000,
            max_deliver: None,
            backoff_ms: Vec::new(),
            max_ack_pending: 1_000,
        }
    }
}

/// The service's name, by which `nats micro` finds it.
pub const NAME: &str = "avouch-inbox";
/// What it is for, as `nats micro info` shows it.
pub const DESCRIPTION: &str = "may this consumer act on this message? send it to begin, then complete, renew or fail";
/// What was sent before the sign-off arrives within a round trip.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

/// What a consumer may say.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint {
    /// May I act on this message?
    Begin,
    /// It takes longer.
    Renew,
    /// It is done.
    Complete,
    /// It failed.
    Fail,
    /// It is done, without having been asked.
    Confirm,
}

const ENDPOINTS: [(&str, Endpoint); 5] = [
    ("v1.inbox.begin.*", Endpoint::Begin),
    ("v1.inbox.renew.*", Endpoint::Renew),
    ("v1.inbox.complete.*", Endpoint::Complete),
    ("v1.inbox.fail.*", Endpoint::Fail),
    ("v1.message.confirm.*", Endpoint::Confirm),
];

/// The subjects, in the order in which a service must offer them to [`Inbox`]. The last token is the consumer's name, so that
/// permissions can hold it.
pub fn subjects(prefix: &str) -> Vec<String> {
    ENDPOINTS.iter().map(|(rest, _)| format!("{prefix}.{rest}")).collect()
}

/// The consumers of the configuration, as the store keeps them.
pub fn consumers(config: &BTreeMap<String, ConsumerConfig>, default_stream: &str) -> Vec<Consumer> {
    let int = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let consumer = |(name, c): (&String, &ConsumerConfig)| Consumer {
        name: name.clone(),
        lease_ms: int(c.lease_ms),
        takeover: match c.takeover {
            Takeover::Rerun => "rerun",
            Takeover::Park => "park",
        },
        attempts_max: int(c.attempts_max),
        retry_first_ms: int(c.retry_first_ms),
        retry_max_ms: int(c.retry_max_ms),
        stream: (!c.topics.is_empty()).then(|| c.stream.clone().unwrap_or_else(|| default_stream.to_owned())),
        topics: c.topics.clone(),
        is_required: c.required && !c.topics.is_empty(),
        receipt: match c.receipt {
            Receipt::Ack => "ack",
            Receipt::Inbox => "inbox",
        },
        trust_settled: c.trust_settled,
        deadline_ms: int(c.deadline_ms),
        generations_max: int(c.generations_max),
    };
    config.iter().map(consumer).collect()
}

/// The same, as records in a bucket are decided.
pub fn policies(config: &BTreeMap<String, ConsumerConfig>) -> BTreeMap<String, Policy> {
    let policy = |c: &ConsumerConfig| Policy {
        lease_ms: c.lease_ms.into(),
        takeover: c.takeover,
        attempts_max: i32::try_from(c.attempts_max).unwrap_or(i32::MAX),
        retry_first_ms: c.retry_first_ms.into(),
        retry_max_ms: c.retry_max_ms.into(),
    };
    config.iter().map(|(name, c)| (name.clone(), policy(c))).collect()
}

/// The loop.
pub struct Inbox {
    grace: Duration,
    service: Service,
    desk: Desk,
}

impl Inbox {
    /// A loop that answers the requests of `service` with `desk`, and when it is stopped takes at most `grace` for those that came.
    pub fn new(service: Service, desk: Desk, grace: Duration) -> Self {
        Self { grace, service, desk }
    }

    /// Runs until `stop`, then answers what has arrived.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.desk.step() => {}
                Some((place, request)) = self.service.next() => self.take(place, request).await,
            }
            self.desk.start();
        }
        self.service.stop().await;
        while let Ok(Some((place, request))) = tokio::time::timeout(LAST_REQUESTS, self.service.next()).await {
            self.take(place, request).await;
            self.desk.start();
        }
        let drained = tokio::time::timeout(self.grace, async {
            self.desk.start();
            while !self.desk.is_empty() {
                self.desk.step().await;
                self.desk.start();
            }
            self.service.flush().await
        });
        match drained.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::debug!(error = %e, "the last answers may not have arrived"),
            Err(_) => tracing::info!("consumers were left unanswered: they repeat what they asked"),
        }
    }

    async fn take(&mut self, place: usize, request: Request) {
        if let Some((_, endpoint)) = ENDPOINTS.get(place) {
            self.desk.take(*endpoint, request).await;
        }
    }
}
