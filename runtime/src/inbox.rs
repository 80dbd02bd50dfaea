//! The inbox: consumers ask over NATS whether they may act on a message, and say what came of it.
//!
//! One task owns the queues. What many ask goes to the database together, one statement a batch; while one is under way the
//! next gathers. An answer says what has been committed; a request that got none may be repeated.

mod lane;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::lane::Lane;
use crate::answer::{self, Code, Fault};
use crate::broker::{Request, Service};
use crate::store::{Begin, Begun, Consumer, Error, Finish, Finished, Store};

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
}

/// Longer than a stream keeps a message (a week), and an outbox (three days).
impl Default for Config {
    fn default() -> Self {
        Self { requests_max: 4_096, batch_rows_max: 256, result_bytes_max: 16 << 10, keep_hours: 240 }
    }
}

/// What follows a lease that ended without a word.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Takeover {
    /// The next one that asks runs it again: right where an effect may be repeated, or is fenced by the token.
    #[default]
    Rerun,
    /// Nobody does, until a person has looked: right where an effect must not be repeated.
    Park,
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
}

/// With these pauses, sixteen attempts take about an hour.
impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            lease_ms: 30_000,
            takeover: Takeover::Rerun,
            attempts_max: 16,
            retry_first_ms: 1_000,
            retry_max_ms: 300_000,
        }
    }
}

/// The service's name, by which `nats micro` finds it.
pub const NAME: &str = "avouch-inbox";
/// What it is for, as `nats micro info` shows it.
pub const DESCRIPTION: &str = "may this consumer act on this message? send it to begin, then complete, renew or fail";
/// What was sent before the sign-off arrives within a round trip.
const LAST_REQUESTS: Duration = Duration::from_millis(250);
/// When somebody holds the record in an open transaction.
const HELD_RETRY_MS: i64 = 100;

#[derive(Clone, Copy, Debug)]
enum Endpoint {
    Begin,
    Renew,
    Complete,
    Fail,
}

const ENDPOINTS: [(&str, Endpoint); 4] = [
    ("v1.inbox.begin.*", Endpoint::Begin),
    ("v1.inbox.renew.*", Endpoint::Renew),
    ("v1.inbox.complete.*", Endpoint::Complete),
    ("v1.inbox.fail.*", Endpoint::Fail),
];

/// The subjects, in the order in which a service must offer them to [`Inbox`]. The last token is the consumer's name, so that
/// permissions can hold it.
pub fn subjects(prefix: &str) -> Vec<String> {
    ENDPOINTS.iter().map(|(rest, _)| format!("{prefix}.{rest}")).collect()
}

/// The consumers of the configuration, as the store keeps them.
pub fn consumers(config: &BTreeMap<String, ConsumerConfig>) -> Vec<Consumer> {
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
    };
    config.iter().map(consumer).collect()
}

/// The loop.
pub struct Inbox {
    config: Config,
    consumers: BTreeMap<String, ConsumerConfig>,
    grace: Duration,
    service: Service,
    store: Arc<Store>,
    begins: Lane<Request, Begin>,
    finishes: Lane<Request, Finish>,
    work: JoinSet<Ended>,
}

/// Which lane's batch.
enum Ended {
    Begins,
    Finishes,
}

impl Inbox {
    /// A loop that answers the requests of `service`, and when it is stopped takes at most `grace` for those that came.
    pub fn new(
        config: Config,
        consumers: BTreeMap<String, ConsumerConfig>,
        service: Service,
        store: Arc<Store>,
        grace: Duration,
    ) -> Self {
        let (begins, finishes) = (Lane::new(), Lane::new());
        Self { config, consumers, grace, service, store, begins, finishes, work: JoinSet::new() }
    }

    /// Runs until `stop`, then answers what has arrived.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.work.join_next() => self.ended(ended),
                Some((place, request)) = self.service.next() => self.take(place, request).await,
            }
            self.start();
        }
        self.service.stop().await;
        while let Ok(Some((place, request))) = tokio::time::timeout(LAST_REQUESTS, self.service.next()).await {
            self.take(place, request).await;
            self.start();
        }
        let drained = tokio::time::timeout(self.grace, async {
            self.start();
            while let Some(ended) = self.work.join_next().await {
                self.ended(ended);
                self.start();
            }
            self.service.flush().await
        });
        match drained.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::debug!(error = %e, "the last answers may not have arrived"),
            Err(_) => tracing::info!("consumers were left unanswered: they repeat what they asked"),
        }
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Begins) => self.begins.ended(),
            Ok(Ended::Finishes) => self.finishes.ended(),
            Err(e) => {
                tracing::error!(error = %e, "a batch of the inbox broke and was not answered: report it as a fault of avouch");
                // Which one is not told: two batches side by side do no harm.
                self.begins.ended();
                self.finishes.ended();
            }
        }
    }

    /// Reads one and lets it wait, or refuses it.
    async fn take(&mut self, place: usize, request: Request) {
        let Some((_, endpoint)) = ENDPOINTS.get(place).copied() else {
            return;
        };
        let waiting = self.begins.len() + self.finishes.len();
        if waiting >= self.config.requests_max {
            let many = format!("{waiting} requests wait here: repeat it soon");
            return answer::send(&request, Err(Fault::new(Code::Unavailable, many))).await;
        }
        if let Err(fault) = self.read(endpoint, request) {
            answer::send(&fault.0, Err(fault.1)).await;
        }
    }

    fn read(&mut self, endpoint: Endpoint, request: Request) -> Result<(), Box<(Request, Fault)>> {
        let consumer = request.last_token().to_owned();
        if !self.consumers.contains_key(&consumer) {
            let none = format!(
                "there is no consumer {consumer:?}: add [consumer.{consumer}] to the configuration of avouch run"
            );
            return Err(Box::new((request, Fault::new(Code::NotFound, none))));
        }
        let body = request.payload();
        let finish = match endpoint {
            Endpoint::Begin => match request::begin(&consumer, request.header("Avouch-Id"), &body) {
                Ok(begin) => {
                    self.begins.push(request, begin);
                    return Ok(());
                }
                Err(fault) => Err(fault),
            },
            Endpoint::Renew => request::renew(&consumer, &body),
            Endpoint::Complete => request::complete(&consumer, &body, self.config.result_bytes_max),
            Endpoint::Fail => request::fail(&consumer, &body),
        };
        match finish {
            Ok(finish) => self.finishes.push(request, finish),
            Err(fault) => return Err(Box::new((request, fault))),
        }
        Ok(())
    }

    /// Starts the batches that can be started.
    fn start(&mut self) {
        if let Some(batch) = self.begins.next(self.config.batch_rows_max) {
            let store = Arc::clone(&self.store);
            self.work.spawn(async move {
                let (requests, asked): (Vec<Request>, Vec<Begin>) = batch.into_iter().unzip();
                let answers = each(&store, &asked).await;
                for ((request, asked), answer) in requests.iter().zip(&asked).zip(answers) {
                    let held = || json!({ "decision": "busy", "retry_after_ms": HELD_RETRY_MS, "reason": "somebody is changing its record" });
                    let answer = answer.map(|a| a.map_or_else(held, |begun| begun_json(&asked.key, begun)));
                    answer::send(request, answer).await;
                }
                Ended::Begins
            });
        }
        if let Some(batch) = self.finishes.next(self.config.batch_rows_max) {
            let store = Arc::clone(&self.store);
            self.work.spawn(async move {
                let (requests, said): (Vec<Request>, Vec<Finish>) = batch.into_iter().unzip();
                let answers = each(&store, &said).await;
                for (request, answer) in requests.iter().zip(answers) {
                    let held =
                        || Fault::new(Code::Unavailable, "somebody is changing its record: repeat it soon".into());
                    answer::send(request, answer.and_then(|a| a.map(finished_json).ok_or_else(held))).await;
                }
                Ended::Finishes
            });
        }
    }
}

/// What is asked of the store, many at a time.
trait Asked: Sync + Sized {
    type Answer: Send;
    /// One answer each, in order; none if somebody holds one of the records.
    fn ask(store: &Store, batch: &[&Self]) -> impl Future<Output = Result<Option<Vec<Self::Answer>>, Error>> + Send;
}

impl Asked for Begin {
    type Answer = Begun;
    async fn ask(store: &Store, batch: &[&Self]) -> Result<Option<Vec<Begun>>, Error> {
        store.inbox_begin(batch).await
    }
}

impl Asked for Finish {
    type Answer = Finished;
    async fn ask(store: &Store, batch: &[&Self]) -> Result<Option<Vec<Finished>>, Error> {
        store.inbox_finish(batch).await
    }
}

/// One answer each. Those of a batch in which somebody held a record are asked one by one: only its own waits.
async fn each<T: Asked>(store: &Store, batch: &[T]) -> Vec<Result<Option<T::Answer>, Fault>> {
    let all: Vec<&T> = batch.iter().collect();
    let mut answers = Vec::with_capacity(batch.len());
    match T::ask(store, &all).await {
        Ok(Some(found)) if found.len() == batch.len() => answers.extend(found.into_iter().map(|a| Ok(Some(a)))),
        Ok(_) => {
            for one in batch {
                let found = T::ask(store, &[one]).await;
                answers.push(found.map(|f| f.and_then(|mut a| a.pop())).map_err(Fault::from));
            }
        }
        Err(e) => {
            let fault = Fault::from(e);
            answers.extend(batch.iter().map(|_| Err(fault.clone())));
        }
    }
    answers
}

fn begun_json(key: &str, begun: Begun) -> Value {
    let mut answer = Map::new();
    let Begun { decision, token, attempt, lease_ms, retry_after_ms, result, reason } = begun;
    answer.insert("decision".into(), decision.into());
    answer.insert("key".into(), key.into());
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            answer.insert(name.into(), value);
        }
    };
    put("token", token.map(Value::from));
    put("attempt", attempt.map(Value::from));
    put("lease_ms", lease_ms.map(Value::from));
    put("retry_after_ms", retry_after_ms.map(Value::from));
    // What came over NATS is JSON; what was written with SQL may be any text.
    put("result", result.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))));
    put("reason", reason.map(Value::from));
    Value::Object(answer)
}

fn finished_json(finished: Finished) -> Value {
    match finished.state.as_str() {
        "done" => json!({ "decision": "done" }),
        "running" => json!({ "decision": "run", "lease_ms": finished.ms }),
        "waiting" => json!({ "decision": "busy", "retry_after_ms": finished.ms }),
        "rejected" => json!({ "decision": "reject" }),
        _ => {
            json!({ "decision": "fenced", "reason": "the token is stale: another attempt has begun, or the record has ended" })
        }
    }
}
