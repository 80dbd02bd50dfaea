//! The control plane: producers without database access prepare, decide and look over NATS, with the rules of the schema.
//!
//! Each instance answers its share of the requests. What an answer says has been committed; a request that got none may be
//! repeated: every one of them does the same again, or nothing.

pub mod request;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::request::{Look, Prepare, Word};
use crate::answer::{self, Code, Fault};
use crate::broker::{Request, Service};
use crate::store::Store;

/// `[control]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether producers, and consumers that ask, may come over NATS: whoever may publish below the prefix acts as one.
    pub enabled: bool,
    /// Requests that are carried out at a time; more are refused as `unavailable`.
    pub requests_max: usize,
    /// What the subjects begin with, for several databases in one account of NATS.
    pub subject_prefix: String,
    /// The database whose transactions it serves; needed when several are configured.
    pub source: Option<String>,
}

/// One connection carries them out one after the other, in about a millisecond each: the last of 64 waits for as long as a
/// request over the sea.
impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, requests_max: 64, subject_prefix: "avouch".into(), source: None }
    }
}

/// The service's name, by which `nats micro` finds it.
pub const NAME: &str = "avouch";
/// What it is for, as `nats micro info` shows it.
pub const DESCRIPTION: &str = "transactions in doubt and their messages, for producers without database access";
/// What was sent before the sign-off arrives within a round trip.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

/// What can be asked; its subject is the prefix and this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Prepare,
    Commit,
    Rollback,
    Status,
    Message,
}

const ENDPOINTS: [(&str, Endpoint); 5] = [
    ("v1.tx.prepare", Endpoint::Prepare),
    ("v1.tx.commit", Endpoint::Commit),
    ("v1.tx.rollback", Endpoint::Rollback),
    ("v1.tx.status", Endpoint::Status),
    ("v1.message.get", Endpoint::Message),
];

/// The subjects, in the order in which a service must offer them to [`Control`].
pub fn subjects(prefix: &str) -> Vec<String> {
    ENDPOINTS.iter().map(|(rest, _)| format!("{prefix}.{rest}")).collect()
}

/// The loop.
pub struct Control {
    requests_max: usize,
    grace: Duration,
    service: Service,
    desk: Arc<Desk>,
    work: JoinSet<()>,
}

/// What carries a request out.
struct Desk {
    store: Arc<Store>,
}

impl Control {
    /// A loop that answers the requests of `service`, and when it is stopped takes at most `grace` for those in flight.
    pub fn new(config: &Config, service: Service, store: Arc<Store>, grace: Duration) -> Self {
        let desk = Arc::new(Desk { store });
        Self { requests_max: config.requests_max, grace, service, desk, work: JoinSet::new() }
    }

    /// Runs until `stop`, then answers what has arrived.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.work.join_next() => told(ended),
                Some((place, request)) = self.service.next() => self.take(place, request).await,
            }
        }
        self.service.stop().await;
        while let Ok(Some((place, request))) = tokio::time::timeout(LAST_REQUESTS, self.service.next()).await {
            self.take(place, request).await;
        }
        let drained = tokio::time::timeout(self.grace, async {
            while let Some(ended) = self.work.join_next().await {
                told(ended);
            }
            self.service.flush().await
        });
        match drained.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::debug!(error = %e, "the last answers may not have arrived"),
            Err(_) => tracing::info!("requests were left unanswered: their producers repeat them"),
        }
    }

    /// Starts one, or refuses it while too many are under way.
    async fn take(&mut self, place: usize, request: Request) {
        let Some((_, endpoint)) = ENDPOINTS.get(place).copied() else {
            return;
        };
        if self.work.len() >= self.requests_max {
            let many = format!("{} requests are under way here: repeat it soon", self.work.len());
            return answer::refuse(&request, &Fault::new(Code::Unavailable, many)).await;
        }
        let desk = Arc::clone(&self.desk);
        self.work.spawn(async move {
            let answer = desk.carry_out(endpoint, &request.payload()).await;
            answer::send(&request, answer).await;
        });
    }
}

fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(e) = ended {
        tracing::error!(error = %e, "a request broke and was not answered: report it as a fault of avouch");
    }
}

impl Desk {
    async fn carry_out(&self, endpoint: Endpoint, body: &[u8]) -> Result<Value, Fault> {
        match endpoint {
            Endpoint::Prepare => self.prepare(request::parse(body, request::PREPARE_BYTES_MAX)?).await,
            Endpoint::Commit => self.decide("commit", request::parse(body, request::BYTES_MAX)?).await,
            Endpoint::Rollback => self.decide("rollback", request::parse(body, request::BYTES_MAX)?).await,
            Endpoint::Status => self.status(request::parse(body, request::BYTES_MAX)?).await,
            Endpoint::Message => self.message(request::parse(body, request::BYTES_MAX)?).await,
        }
    }

    async fn prepare(&self, prepare: Prepare) -> Result<Value, Fault> {
        let (tx, messages) = prepare.read()?;
        if self.store.prepare_tx(&tx, &messages).await? {
            return Ok(json!({ "id": tx.id, "state": "prepared" }));
        }
        let known = self.store.tx_status(tx.id).await?.ok_or_else(|| no_tx(tx.id))?;
        if known.checker != tx.checker || known.reference != tx.reference {
            return Err(Fault::new(
                Code::Conflict,
                format!(
                    "transaction {} is prepared already with another checker or ref: repeat a prepare as it was, or take another id",
                    tx.id
                ),
            ));
        }
        Ok(json!({ "id": tx.id, "state": known.state }))
    }

    async fn decide(&self, outcome: &'static str, word: Word) -> Result<Value, Fault> {
        let id = word.id;
        let state = self.store.report_tx(id, outcome, word.reason.as_deref()).await?.ok_or_else(|| no_tx(id))?;
        Ok(json!({ "id": id, "state": state }))
    }

    async fn status(&self, look: Look) -> Result<Value, Fault> {
        let id = look.id;
        let tx = self.store.tx_status(id).await?.ok_or_else(|| no_tx(id))?;
        Ok(json!({
            "id": id, "state": tx.state, "checker": tx.checker, "ref": tx.reference, "age_ms": tx.age_ms, "checks": tx.checks,
            "verdict": tx.verdict, "reason": tx.reason, "messages": tx.messages,
        }))
    }

    async fn message(&self, look: Look) -> Result<Value, Fault> {
        let id = look.id;
        let none = || format!("there is no message {id}: it was never inserted, or is retired");
        let message = self.store.message_status(id).await?.ok_or_else(|| Fault::new(Code::NotFound, none()))?;
        let waits_for: Option<Value> = message.waits_for.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Ok(json!({
            "waits_for": waits_for.unwrap_or_else(|| json!([])),
            "id": id, "state": message.state, "topic": message.topic, "key": message.key, "stream": message.stream,
            "sequence": message.sequence, "generation": message.generation,
            "created_at": message.created_at.format(&Rfc3339).ok(), "reason": message.reason,
        }))
    }
}

fn no_tx(id: Uuid) -> Fault {
    Fault::new(
        Code::NotFound,
        format!("there is no transaction {id}: prepare it first, and in the database of this service"),
    )
}
