//! The shipping service: what a user would write whose effect is elsewhere, at a carrier. It asks before the effect, and gives the
//! carrier its token.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_nats::HeaderMap;
use async_nats::jetstream::{AckKind, Message};
use avouch_example_stage::connect;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::accident::{Accident, Fate};
use crate::deliveries::{self, Deliveries, identity};

/// `[consumer.parcels]`.
pub const NAME: &str = "parcels";
/// Workers side by side: the same message may be with two of them.
const WORKERS: u32 = 4;
/// Before a request is repeated that nobody answered: the runtime is away for a while, as it may be.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Before a message is delivered again, unless the answer says when.
const RETRY_MS: u64 = 200;

/// Books parcels until `stop`.
pub async fn run(carrier_url: &str, nats_url: &str, stop: CancellationToken) -> anyhow::Result<()> {
    let (nats, fate) = (deliveries::connect(nats_url).await?, Arc::new(Fate::default()));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (carrier, deliveries) = (connect(carrier_url).await?, Deliveries::of(&nats, NAME).await?);
        workers.spawn(Worker { carrier, nats: nats.clone(), fate: Arc::clone(&fate) }.run(deliveries, stop.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker broke")??;
    }
    Ok(nats.flush().await?)
}

struct Worker {
    carrier: Client,
    nats: async_nats::Client,
    fate: Arc<Fate>,
}

impl Worker {
    async fn run(self, mut deliveries: Deliveries, stop: CancellationToken) -> anyhow::Result<()> {
        while let Some(message) = deliveries.next(&stop).await {
            self.handle(&message).await?;
        }
        Ok(())
    }

    async fn handle(&self, message: &Message) -> anyhow::Result<()> {
        let (_, order) = identity(message)?;
        let accident = self.fate.of(message);
        let headers = message.headers.clone().unwrap_or_default();
        let mut answer = self.ask("begin", &message.payload, &headers).await?;
        if answer["decision"] == "run" {
            answer = self.book(&order, &answer, accident).await?;
        }
        let settled = match answer["decision"].as_str() {
            Some("done" | "skip") => AckKind::Ack,
            Some("reject" | "conflict") => AckKind::Term,
            // Busy, or fenced: another worker has begun.
            _ => AckKind::Nak(Some(Duration::from_millis(answer["retry_after_ms"].as_u64().unwrap_or(RETRY_MS)))),
        };
        accident.settle(message, settled).await;
        Ok(())
    }

    /// The effect, with the token; then the word that it happened. A carrier that knows a later token books nothing, and the
    /// word is answered `fenced`.
    async fn book(&self, order: &str, lease: &Value, accident: Accident) -> anyhow::Result<Value> {
        let token = lease["token"].as_i64().context("a lease has a token")?;
        self.fate.before(accident).await;
        self.carrier.execute("select book($1, $2)", &[&order, &token]).await?;
        accident.after_effect();
        let done = json!({ "key": lease["key"], "token": token }).to_string();
        self.ask("complete", done.as_bytes(), &HeaderMap::new()).await
    }

    /// Every request may be repeated.
    async fn ask(&self, word: &str, payload: &[u8], headers: &HeaderMap) -> anyhow::Result<Value> {
        let subject = format!("avouch.v1.inbox.{word}.{NAME}");
        loop {
            let request = self.nats.request_with_headers(subject.clone(), headers.clone(), payload.to_vec().into());
            match request.await {
                Ok(reply) => match serde_json::from_slice::<Value>(&reply.payload)? {
                    answer if answer["decision"].is_string() => return Ok(answer),
                    error => eprintln!("the gate refuses: {error}"),
                },
                Err(e) => eprintln!("the gate does not answer: {e}"),
            }
            sleep(ASK_AGAIN).await;
        }
    }
}
