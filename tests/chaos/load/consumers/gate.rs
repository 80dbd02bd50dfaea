//! The consumer that asks. Its effect is elsewhere: a store that keeps the greatest token and refuses who comes with a lower one.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{AckKind, Message};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::topics;
use crate::facts::{Effect, Number, Step};
use crate::ledger::Ledger;

const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Before a message is delivered again, unless the answer says when.
const RETRY_MS: u64 = 200;

/// The consumer, with its store.
pub struct Gate {
    nats: async_nats::Client,
    ledger: Ledger,
    /// Held while an effect is written down: their order is that of the books.
    greatest: Mutex<HashMap<Number, i64>>,
}

impl Gate {
    pub fn new(nats: async_nats::Client, ledger: Ledger) -> Self {
        Self { nats, ledger, greatest: Mutex::default() }
    }

    /// Asks, acts, tells.
    pub async fn handle(&self, message: &Message, number: Number) {
        let headers = message.headers.clone().unwrap_or_default();
        let mut answer = self.ask("begin", &message.payload, headers).await;
        if let (Some("run"), Some(token)) = (answer["decision"].as_str(), answer["token"].as_i64()) {
            answer = self.run(number, &answer["key"], token).await;
        }
        let settled = match answer["decision"].as_str() {
            Some("done" | "skip") => AckKind::Ack,
            _ => AckKind::Nak(Some(Duration::from_millis(answer["retry_after_ms"].as_u64().unwrap_or(RETRY_MS)))),
        };
        // Lost, it is a delivery more.
        drop(message.ack_with(settled).await);
    }

    async fn run(&self, number: Number, key: &Value, token: i64) -> Value {
        if !self.act(number, token).await {
            return Value::Null;
        }
        let word = json!({ "key": key, "token": token }).to_string();
        let answer = self.ask("complete", word.as_bytes(), HeaderMap::new()).await;
        if answer["decision"] == "done" {
            self.did(number, Step::Recorded(token)).await;
        }
        answer
    }

    /// False: a later token was here.
    async fn act(&self, number: Number, token: i64) -> bool {
        let mut greatest = self.greatest.lock().await;
        if greatest.get(&number).is_some_and(|greatest| *greatest > token) {
            return false;
        }
        greatest.insert(number, token);
        self.did(number, Step::Ran(token)).await;
        true
    }

    async fn did(&self, number: Number, step: Step) {
        self.ledger.did(Effect { who: topics::GATE.into(), number, step }).await;
    }

    /// Null: nobody answered, or not so that it helps.
    async fn ask(&self, word: &str, payload: &[u8], headers: HeaderMap) -> Value {
        let subject = format!("avouch.v1.inbox.{word}.{}", topics::GATE);
        let asked =
            timeout(ANSWER_MAX, self.nats.request_with_headers(subject, headers, payload.to_vec().into())).await;
        let reply = asked.ok().and_then(Result::ok);
        reply.and_then(|reply| serde_json::from_slice(&reply.payload).ok()).unwrap_or_default()
    }
}
