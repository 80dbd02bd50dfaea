//! What a host would ask about: messages, transactions, what is recorded under a key; and what it would answer.

use std::ops::Deref;

use serde::Serialize;
use serde_json::Value;

use super::NOW_MS;
use crate::{Identity, Message, Response, Seen, SeenRecord, Status, Transaction};

const MESSAGE_ID: &str = "01980000-0000-7000-8000-000000000001";
const TRANSACTION_ID: &str = "01980000-0000-7000-8000-0000000000ff";

/// A message under construction; usable wherever `&Message` is.
#[derive(Clone, Debug)]
pub struct MessageBuilder {
    pub(super) message: Message,
}

/// A message of `topic` whose payload is `payload` as JSON text.
///
/// ```
/// use avouch_sdk::mock;
/// use serde_json::json;
///
/// let m = mock::message("orders.created", json!({"id": 7})).with_key("order-7").with_header("trace", "a");
/// assert_eq!(m.text().as_deref(), Ok(r#"{"id":7}"#));
/// assert_eq!(m.header("trace"), Some("a"));
/// ```
pub fn message(topic: &str, payload: Value) -> MessageBuilder {
    let message = Message {
        id: MESSAGE_ID.to_owned(),
        topic: topic.to_owned(),
        key: None,
        payload: Vec::new(),
        payload_bytes: 0,
        headers: Vec::new(),
        created_at_ms: NOW_MS,
        generation: 0,
    };
    MessageBuilder { message }.with_payload(payload.to_string())
}

impl MessageBuilder {
    /// With this id.
    pub fn with_id(mut self, id: &str) -> Self {
        self.message.id = id.to_owned();
        self
    }

    /// With an ordering key.
    pub fn with_key(mut self, key: &str) -> Self {
        self.message.key = Some(key.to_owned());
        self
    }

    /// With a header more.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.message.headers.push((name.to_owned(), value.to_owned()));
        self.message.headers.sort();
        self
    }

    /// With these bytes as payload.
    pub fn with_payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.message.payload = payload.into();
        self.message.payload_bytes = self.message.payload.len() as u64;
        self
    }

    /// With a payload of so many bytes that the plugin is not given it.
    pub fn with_payload_too_large(mut self, payload_bytes: u64) -> Self {
        self.message.payload.clear();
        self.message.payload_bytes = payload_bytes;
        self
    }

    /// Deliberately sent again so many times.
    pub fn with_generation(mut self, generation: u32) -> Self {
        self.message.generation = generation;
        self
    }
}

impl Deref for MessageBuilder {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

/// A transaction under construction; usable wherever `&Transaction` is.
#[derive(Clone, Debug)]
pub struct TransactionBuilder {
    transaction: Transaction,
}

/// A transaction with this business reference, just prepared, without messages.
///
/// ```
/// use avouch_sdk::mock;
/// use serde_json::json;
///
/// let tx = mock::transaction("order-7").message("orders.created", json!({"id": 7})).with_attempt(2);
/// assert_eq!(tx.reference(), Ok("order-7"));
/// assert_eq!(tx.messages.len(), 1);
/// ```
pub fn transaction(reference: &str) -> TransactionBuilder {
    let mut builder = transaction_without_reference();
    builder.transaction.reference = Some(reference.to_owned());
    builder
}

/// A transaction whose producer gave no reference.
pub fn transaction_without_reference() -> TransactionBuilder {
    TransactionBuilder {
        transaction: Transaction {
            id: TRANSACTION_ID.to_owned(),
            checker: "plugin-under-test".to_owned(),
            reference: None,
            age_ms: 0,
            attempt: 0,
            message_count: 0,
            messages: Vec::new(),
        },
    }
}

impl TransactionBuilder {
    /// With a message more, of `topic` and with `payload` as JSON text.
    pub fn message(self, topic: &str, payload: Value) -> Self {
        self.with(message(topic, payload))
    }

    /// With this message more.
    pub fn with(mut self, message: MessageBuilder) -> Self {
        self.transaction.messages.push(message.message);
        self.transaction.message_count += 1;
        self
    }

    /// Prepared so many milliseconds ago.
    pub fn with_age_ms(mut self, age_ms: u64) -> Self {
        self.transaction.age_ms = age_ms;
        self
    }

    /// Asked about so many times before.
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.transaction.attempt = attempt;
        self
    }
}

impl Deref for TransactionBuilder {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

/// A key that is new.
pub fn seen(identity: Identity) -> Seen {
    Seen { identity, record: None }
}

/// A key that was begun once before, by a message whose identity was `known`.
pub fn seen_before(identity: Identity, status: Status, known: Identity) -> Seen {
    let record = SeenRecord {
        status,
        message_id: MESSAGE_ID.to_owned(),
        fingerprint: known.fingerprint,
        version: known.version,
        changed_at_ms: NOW_MS,
        attempts: 1,
    };
    Seen { identity, record: Some(record) }
}

/// A response with `body` as JSON.
///
/// # Panics
/// If `body` cannot be written as JSON.
pub fn response(status: u16, body: impl Serialize) -> Response {
    let body = serde_json::to_vec(&body).expect("a test's body can be written as JSON");
    Response { status, headers: vec![("content-type".to_owned(), "application/json".to_owned())], body }
}
