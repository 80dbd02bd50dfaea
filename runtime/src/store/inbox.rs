//! What consumers did: may they act, and what came of it. The rules are in `avouch.inbox_begin` and its kin, and for records that
//! are kept elsewhere in `idempotency`.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::link::Params;
use super::{Error, Store};
use crate::idempotency::{Begin, Begun, Claim, Decision, Finish, Finished, Record, State};

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
        rows.map(|rows| rows.iter().map(begun).collect()).transpose()
    }

    /// One answer each, in order: `run`, or `miss` if the record is not what was expected. None if somebody holds one of the
    /// records in an open transaction. Claims come by consumer and key, no two of one record.
    pub async fn inbox_claim(&self, claims: &[&Claim]) -> Result<Option<Vec<Begun>>, Error> {
        let consumers: Vec<&str> = claims.iter().map(|c| c.begin.consumer.as_str()).collect();
        let keys: Vec<&str> = claims.iter().map(|c| c.begin.key.as_str()).collect();
        // A revision that does not fit is none of the table's.
        let revision = |expected: i64| i32::try_from(expected).unwrap_or(-1);
        let expected: Vec<Option<i32>> = claims.iter().map(|c| c.expected.map(revision)).collect();
        let fingerprints: Vec<Option<&str>> = claims.iter().map(|c| c.begin.fingerprint.as_deref()).collect();
        let versions: Vec<Option<i64>> = claims.iter().map(|c| c.begin.version).collect();
        let messages: Vec<Uuid> = claims.iter().map(|c| c.begin.message).collect();
        let params: Params<'_> = &[&consumers, &keys, &expected, &fingerprints, &versions, &messages];
        let rows = unless_held(&self.begins, include_str!("inbox_claim.sql"), params).await?;
        rows.map(|rows| rows.iter().map(claimed).collect()).transpose()
    }

    /// One answer each, in order. None if somebody holds one of the records in an open transaction. Words come by consumer and
    /// key, no two of one record.
    pub async fn inbox_finish(&self, said: &[&Finish]) -> Result<Option<Vec<Finished>>, Error> {
        let words: Vec<&str> = said.iter().map(|f| f.word.name()).collect();
        let consumers: Vec<&str> = said.iter().map(|f| f.consumer.as_str()).collect();
        let keys: Vec<&str> = said.iter().map(|f| f.key.as_str()).collect();
        let tokens: Vec<i64> = said.iter().map(|f| f.token).collect();
        let texts: Vec<Option<&str>> = said.iter().map(|f| f.text.as_deref()).collect();
        let permanent: Vec<bool> = said.iter().map(|f| f.permanent).collect();
        let pauses: Vec<Option<i64>> = said.iter().map(|f| f.pause_ms).collect();
        let sql = include_str!("inbox_finish.sql");
        let params: Params<'_> = &[&words, &consumers, &keys, &tokens, &texts, &permanent, &pauses];
        let rows = unless_held(&self.finishes, sql, params).await?;
        rows.map(|rows| rows.iter().map(finished).collect()).transpose()
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

fn begun(row: &Row) -> Result<Begun, Error> {
    let seen = row.get::<_, Option<&str>>(7).map(|state| seen(row, state)).transpose()?;
    Ok(Begun { retry_after_ms: row.get(4), result: row.get(5), reason: row.get(6), seen, ..claimed(row)? })
}

fn claimed(row: &Row) -> Result<Begun, Error> {
    let decision = row.get(0);
    let decision = Decision::named(decision).ok_or_else(|| strange("inbox_begin", decision))?;
    Ok(Begun { token: row.get(1), attempt: row.get(2), lease_ms: row.get(3), ..Begun::of(decision) })
}

/// What plugins are shown of a record.
fn seen(row: &Row, state: &str) -> Result<Record, Error> {
    Ok(Record {
        state: State::named(state).ok_or_else(|| strange("inbox", state))?,
        revision: i64::from(row.get::<_, i32>(8)),
        attempts: row.get(9),
        token: None,
        until_ms: None,
        message: row.get(10),
        fingerprint: row.get(11),
        version: row.get(12),
        result: None,
        reason: None,
        changed_at_ms: row.get(13),
    })
}

fn finished(row: &Row) -> Result<Finished, Error> {
    let ms = row.get::<_, Option<i64>>(1).unwrap_or(0);
    match row.get(0) {
        "done" => Ok(Finished::Done),
        "running" => Ok(Finished::Running { lease_ms: ms }),
        "waiting" => Ok(Finished::Waiting { retry_after_ms: ms }),
        "rejected" => Ok(Finished::Rejected),
        "fenced" => Ok(Finished::Fenced),
        other => Err(strange("inbox_fail", other)),
    }
}

fn strange(name: &str, word: &str) -> Error {
    Error::Fatal(format!("avouch.{name} says {word:?}, which this version does not know: `avouch schema install`"))
}
