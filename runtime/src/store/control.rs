//! What producers without database access ask: the statements that they would run themselves, with the same refusals.

use time::OffsetDateTime;
use tokio_postgres::error::{DbError, SqlState};
use uuid::Uuid;

use super::{Error, Store};

/// A transaction to be made.
#[derive(Clone, Debug)]
pub struct NewTx {
    /// Its id.
    pub id: Uuid,
    /// Who is asked about it.
    pub checker: String,
    /// When the checker is asked.
    pub check_after_ms: i64,
    /// The business reference.
    pub reference: Option<String>,
}

/// A message that it holds back. What it must be is said by the outbox.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// Its payload as text, or
    pub payload: Option<String>,
    /// as bytes.
    pub payload_bytes: Option<Vec<u8>>,
    /// Its headers, as JSON.
    pub headers: Option<String>,
    /// Not sent before.
    pub not_before: Option<OffsetDateTime>,
    /// For which outcome it is meant.
    pub release_on: Option<String>,
    /// Unique per topic.
    pub dedup_key: Option<String>,
}

/// Where a transaction stands.
#[derive(Clone, Debug)]
pub struct TxStatus {
    /// `prepared`, `committed`, `rolled_back` or `in_doubt`.
    pub state: String,
    /// Who is asked about it.
    pub checker: String,
    /// The business reference.
    pub reference: Option<String>,
    /// Since it was prepared.
    pub age_ms: i64,
    /// How often the checker was asked.
    pub checks: i32,
    /// The last answer that did not decide.
    pub verdict: Option<String>,
    /// Why it is what it is.
    pub reason: Option<String>,
    /// How many messages it holds or held.
    pub messages: i32,
}

/// Where a message stands.
#[derive(Clone, Debug)]
pub struct MessageStatus {
    /// Its state.
    pub state: String,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// The stream that has it.
    pub stream: Option<String>,
    /// Its place there.
    pub sequence: Option<i64>,
    /// How often it was deliberately sent again.
    pub generation: i32,
    /// When it was inserted.
    pub created_at: OffsetDateTime,
    /// Why it is dead, discarded or cancelled.
    pub reason: Option<String>,
    /// The required consumers that have not finished it, and how far each is, as a JSON array.
    pub waits_for: Option<String>,
}

/// Why a request was not carried out, by what the producer does next.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A rule of the schema is broken: correct the request.
    #[error("{why}")]
    Rule {
        /// The constraint.
        rule: String,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// It is taken already.
    #[error("{0}")]
    Conflict(String),
    /// A value that Postgres cannot take.
    #[error("{0}")]
    Invalid(String),
    /// No word of the database on the request itself.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(e: tokio_postgres::Error) -> Self {
        let Some(db) = e.as_db_error() else {
            return Self::Store(e.into());
        };
        let constraint = db.constraint().unwrap_or_default();
        match db.code() {
            &SqlState::CHECK_VIOLATION => Self::Rule { rule: constraint.to_owned(), why: with_remedy(db, constraint) },
            &SqlState::UNIQUE_VIOLATION => Self::Conflict(format!(
                "{constraint}: {}; it was prepared before, or take another dedup_key",
                db.detail().unwrap_or(db.message())
            )),
            // Data exceptions, and values too complex to be read.
            code if code.code().starts_with("22") || code.code().starts_with("54") => {
                Self::Invalid(with_remedy(db, constraint))
            }
            _ => Self::Store(e.into()),
        }
    }
}

fn with_remedy(db: &DbError, constraint: &str) -> String {
    let remedy = match constraint {
        "tx_checker_name" => Some("a checker has 1 to 100 characters of [A-Za-z0-9_.-]"),
        "tx_ref_length" => Some("a ref has at most 1024 bytes"),
        _ => db.hint(),
    };
    remedy.map_or_else(|| db.message().to_owned(), |remedy| format!("{}: {remedy}", db.message()))
}

impl Store {
    /// Makes a transaction and its messages. Returns false if there was one of this id: then nothing was done.
    pub async fn prepare_tx(&self, tx: &NewTx, messages: &[NewMessage]) -> Result<bool, Refusal> {
        let topics: Vec<&str> = messages.iter().map(|m| m.topic.as_str()).collect();
        let keys: Vec<_> = messages.iter().map(|m| m.key.as_deref()).collect();
        let payloads: Vec<_> = messages.iter().map(|m| m.payload.as_deref()).collect();
        let bytes: Vec<_> = messages.iter().map(|m| m.payload_bytes.as_deref()).collect();
        let headers: Vec<_> = messages.iter().map(|m| m.headers.as_deref()).collect();
        let times: Vec<_> = messages.iter().map(|m| m.not_before).collect();
        let release_on: Vec<_> = messages.iter().map(|m| m.release_on.as_deref()).collect();
        let dedup_keys: Vec<_> = messages.iter().map(|m| m.dedup_key.as_deref()).collect();
        let rows = self
            .producers
            .ask(
                include_str!("tx_prepare.sql"),
                &[
                    &tx.id,
                    &tx.checker,
                    &tx.check_after_ms,
                    &tx.reference,
                    &topics,
                    &keys,
                    &payloads,
                    &bytes,
                    &headers,
                    &times,
                    &release_on,
                    &dedup_keys,
                ],
            )
            .await??;
        Ok(rows.first().is_some_and(|r| r.get(0)))
    }

    /// The producer's word, `commit` or `rollback`. Returns where the transaction is now; none if there is none.
    pub async fn report_tx(&self, id: Uuid, outcome: &str, reason: Option<&str>) -> Result<Option<String>, Refusal> {
        let rows = self.producers.ask(include_str!("tx_report.sql"), &[&id, &outcome, &reason]).await??;
        Ok(rows.first().and_then(|r| r.get(0)))
    }

    /// One transaction.
    pub async fn tx_status(&self, id: Uuid) -> Result<Option<TxStatus>, Refusal> {
        let rows = self.producers.ask(include_str!("tx_status.sql"), &[&id]).await??;
        Ok(rows.first().map(|r| TxStatus {
            state: r.get(0),
            checker: r.get(1),
            reference: r.get(2),
            age_ms: r.get(3),
            checks: r.get(4),
            verdict: r.get(5),
            reason: r.get(6),
            messages: r.get(7),
        }))
    }

    /// One message, without its payload.
    pub async fn message_status(&self, id: Uuid) -> Result<Option<MessageStatus>, Refusal> {
        let rows = self.producers.ask(include_str!("message_status.sql"), &[&id]).await??;
        Ok(rows.first().map(|r| MessageStatus {
            state: r.get(0),
            topic: r.get(1),
            key: r.get(2),
            stream: r.get(3),
            sequence: r.get(4),
            generation: r.get(5),
            created_at: r.get(6),
            reason: r.get(7),
            waits_for: r.get(8),
        }))
    }
}
