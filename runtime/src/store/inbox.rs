//! What consumers did: may they act, and what came of it. The rules are in `avouch.inbox_begin` and its kin.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::link::Params;
use super::{Error, Store};

/// A consumer as the configuration has it.
#[derive(Clone, Debug, Serialize)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// How long a token holds.
    pub lease_ms: i32,
    /// `rerun` or `park`.
    pub takeover: &'static str,
    /// Most attempts.
    pub attempts_max: i32,
    /// The first pause after a failure; it doubles.
    pub retry_first_ms: i32,
    /// The longest pause.
    pub retry_max_ms: i32,
    /// The stream of its durable; none: it has none.
    pub stream: Option<String>,
    /// What it takes, as in subjects.
    pub topics: Vec<String>,
    /// Messages wait for its receipt.
    pub is_required: bool,
    /// `inbox` or `ack`.
    pub receipt: &'static str,
    /// What the broker has settled counts as one.
    pub trust_settled: bool,
    /// How long a receipt may take.
    pub deadline_ms: i32,
    /// How often a message is sent again without one.
    pub generations_max: i32,
}

/// May this consumer act on this key?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Who asks.
    pub consumer: String,
    /// What makes two messages the same.
    pub key: String,
    /// Of what is to be done.
    pub fingerprint: Option<String>,
    /// Of the thing that the message is about.
    pub version: Option<i64>,
    /// The message that it asks about.
    pub message: Uuid,
    /// A plugin compares with what is recorded: the decision may be `ask`.
    pub is_judged: bool,
}

/// What is recorded under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `running` (its lease has ended), `waiting` (its pause has ended), `done` or `rejected`.
    pub state: String,
    /// Counts changes.
    pub revision: i32,
    /// How often it was begun.
    pub attempts: i32,
    /// The message that it was begun with.
    pub message: Option<Uuid>,
    /// Of that message.
    pub fingerprint: Option<String>,
    /// Of that message.
    pub version: Option<i64>,
    /// When it changed last, in milliseconds since 1970.
    pub changed_at_ms: i64,
}

/// Runs what a plugin has judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is to be run.
    pub begin: Begin,
    /// What was seen; none: nothing was recorded.
    pub expected: Option<i32>,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// `run`, `done`, `skip`, `busy`, `reject` or `conflict`; `ask` where a plugin judges; of a claim, `run` or `miss`.
    pub decision: String,
    /// With `run`: what it must show.
    pub token: Option<i64>,
    /// With `run`: which attempt this is.
    pub attempt: Option<i32>,
    /// With `run`: how long the token holds.
    pub lease_ms: Option<i64>,
    /// With `busy`: when to ask again.
    pub retry_after_ms: Option<i64>,
    /// With `done`: what came of it.
    pub result: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// With `ask`: what is recorded, if anything is.
    pub seen: Option<Record>,
}

/// What the holder of a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// `complete`, `renew` or `fail`.
    pub word: &'static str,
    /// Who says it.
    pub consumer: String,
    /// Of which key.
    pub key: String,
    /// Its token.
    pub token: i64,
    /// Its result, or why it failed.
    pub text: Option<String>,
    /// It failed for good.
    pub permanent: bool,
    /// When to try again.
    pub pause_ms: Option<i64>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// `done`, `running`, `waiting`, `rejected` or `fenced`.
    pub state: String,
    /// The lease or the pause that begins now.
    pub ms: Option<i64>,
}

impl Store {
    /// Makes these consumers known.
    pub async fn consumers(&self, consumers: &[Consumer]) -> Result<(), Error> {
        let given = serde_json::to_string(consumers).map_err(|e| Error::Fatal(e.to_string()))?;
        self.control.execute(include_str!("consumers.sql"), &[&given]).await.map(drop)
    }

    /// One answer each, in order. None if somebody holds one of the records in an open transaction. Questions come by
    /// consumer and key, no two the same.
    pub async fn inbox_begin(&self, asked: &[&Begin]) -> Result<Option<Vec<Begun>>, Error> {
        let consumers: Vec<&str> = asked.iter().map(|b| b.consumer.as_str()).collect();
        let keys: Vec<&str> = asked.iter().map(|b| b.key.as_str()).collect();
        let fingerprints: Vec<Option<&str>> = asked.iter().map(|b| b.fingerprint.as_deref()).collect();
        let versions: Vec<Option<i64>> = asked.iter().map(|b| b.version).collect();
        let messages: Vec<Uuid> = asked.iter().map(|b| b.message).collect();
        let judged: Vec<bool> = asked.iter().map(|b| b.is_judged).collect();
        let params: Params<'_> = &[&consumers, &keys, &fingerprints, &versions, &messages, &judged];
        let rows = unless_held(&self.begins, include_str!("inbox_begin.sql"), params).await?;
        let begun = |r: &Row| Begun {
            decision: r.get(0),
            token: r.get(1),
            attempt: r.get(2),
            lease_ms: r.get(3),
            retry_after_ms: r.get(4),
            result: r.get(5),
            reason: r.get(6),
            seen: r.get::<_, Option<String>>(7).map(|state| Record {
                state,
                revision: r.get(8),
                attempts: r.get(9),
                message: r.get(10),
                fingerprint: r.get(11),
                version: r.get(12),
                changed_at_ms: r.get(13),
            }),
        };
        Ok(rows.map(|rows| rows.iter().map(begun).collect()))
    }

    /// One answer each, in order: `run`, or `miss` if the record is not what was expected. None if somebody holds one of the
    /// records in an open transaction. Claims come by consumer and key, no two of one record.
    pub async fn inbox_claim(&self, claims: &[&Claim]) -> Result<Option<Vec<Begun>>, Error> {
        let consumers: Vec<&str> = claims.iter().map(|c| c.begin.consumer.as_str()).collect();
        let keys: Vec<&str> = claims.iter().map(|c| c.begin.key.as_str()).collect();
        let expected: Vec<Option<i32>> = claims.iter().map(|c| c.expected).collect();
        let fingerprints: Vec<Option<&str>> = claims.iter().map(|c| c.begin.fingerprint.as_deref()).collect();
        let versions: Vec<Option<i64>> = claims.iter().map(|c| c.begin.version).collect();
        let messages: Vec<Uuid> = claims.iter().map(|c| c.begin.message).collect();
        let params: Params<'_> = &[&consumers, &keys, &expected, &fingerprints, &versions, &messages];
        let rows = unless_held(&self.begins, include_str!("inbox_claim.sql"), params).await?;
        let begun = |r: &Row| Begun {
            decision: r.get(0),
            token: r.get(1),
            attempt: r.get(2),
            lease_ms: r.get(3),
            retry_after_ms: None,
            result: None,
            reason: None,
            seen: None,
        };
        Ok(rows.map(|rows| rows.iter().map(begun).collect()))
    }

    /// One answer each, in order. None if somebody holds one of the records in an open transaction. Words come by consumer and
    /// key, no two of one record.
    pub async fn inbox_finish(&self, said: &[&Finish]) -> Result<Option<Vec<Finished>>, Error> {
        let words: Vec<&str> = said.iter().map(|f| f.word).collect();
        let consumers: Vec<&str> = said.iter().map(|f| f.consumer.as_str()).collect();
        let keys: Vec<&str> = said.iter().map(|f| f.key.as_str()).collect();
        let tokens: Vec<i64> = said.iter().map(|f| f.token).collect();
        let texts: Vec<Option<&str>> = said.iter().map(|f| f.text.as_deref()).collect();
        let permanent: Vec<bool> = said.iter().map(|f| f.permanent).collect();
        let pauses: Vec<Option<i64>> = said.iter().map(|f| f.pause_ms).collect();
        let sql = include_str!("inbox_finish.sql");
        let params: Params<'_> = &[&words, &consumers, &keys, &tokens, &texts, &permanent, &pauses];
        let rows = unless_held(&self.finishes, sql, params).await?;
        Ok(rows.map(|rows| rows.iter().map(|r| Finished { state: r.get(0), ms: r.get(1) }).collect()))
    }

    /// Deletes old records from these pages of the inbox. Returns how many, and how many pages there are.
    pub async fn retire_inbox(&self, from: i64, to: i64, keep_hours: i64) -> Result<(i64, i64), Error> {
        let rows = self.control.query(include_str!("retire_inbox.sql"), &[&from, &to, &keep_hours]).await?;
        Ok(rows.first().map_or((0, 0), |r| (r.get(0), r.get(1))))
    }
}

/// The rows, or none if the session's `lock_timeout` ended the wait for a record.
async fn unless_held(link: &super::Link, sql: &'static str, params: Params<'_>) -> Result<Option<Vec<Row>>, Error> {
    match link.ask(sql, params).await? {
        Ok(rows) => Ok(Some(rows)),
        Err(e) if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
