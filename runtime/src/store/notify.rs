//! Outside parties that are told, what they are told, and how far that is.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Error, Store};
use crate::endpoints::Described;

/// An endpoint of the configuration that the database knows otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contested {
    /// Its name.
    pub name: String,
    /// `file` or `api`: who made it.
    pub origin: String,
    /// `removed`, or what it is.
    pub state: String,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its short name.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its label.
    pub tenant: String,
    /// Where it is.
    pub url: String,
    /// What it is told, as in subjects.
    pub topics: Vec<String>,
    /// Header names in lower case, and the values that messages must have there.
    pub filter: BTreeMap<String, String>,
    /// One key's messages one after the other.
    pub is_ordered: bool,
    /// What only the sender reads, as JSON.
    pub settings: String,
    /// It was made over the API: its secrets are in the database.
    pub is_of_api: bool,
    /// It is told; otherwise what it is to be told waits.
    pub is_enabled: bool,
    /// Whoever owns this shard tells it.
    pub shard: u16,
    /// Nothing has succeeded since its last failure.
    pub is_failing: bool,
}

/// What signs for an endpoint of the API, or is sent along.
#[derive(Clone, Debug)]
pub struct EndpointSecret {
    /// The endpoint.
    pub endpoint: i32,
    /// The header's name; none: it signs.
    pub header: Option<String>,
    /// Its value.
    pub value: String,
}

/// A message to be told.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The message.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// Its bytes.
    pub payload: Bytes,
    /// Its producer's headers.
    pub headers: BTreeMap<String, String>,
    /// When it was inserted.
    pub created_at: OffsetDateTime,
}

/// A message that an endpoint may be told of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueDelivery {
    /// The endpoint.
    pub endpoint: i32,
    /// The message.
    pub message: Uuid,
    /// How often it was begun anew, from 1 on.
    pub round: i32,
    /// Tries of this round.
    pub attempts: i32,
    /// The payload's size.
    pub bytes: usize,
    /// Another one of its lane stands before it.
    pub is_behind: bool,
}

/// What came of a try.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which one: its `attempts` are those before this.
    pub of: DueDelivery,
    /// When it began.
    pub at: OffsetDateTime,
    /// How long it took.
    pub took_ms: i32,
    /// `delivered`, `retry`, `given_up`; `disabled`: the endpoint wants nothing any more; `postponed`: that was no try.
    pub outcome: &'static str,
    /// The answer's status, if there was one.
    pub status: Option<i32>,
    /// What was wrong.
    pub reason: Option<String>,
    /// The beginning of the answer's body.
    pub excerpt: Option<String>,
    /// The digest of the plugin that shaped it.
    pub plugin: Option<String>,
    /// Until the next try.
    pub pause_ms: Option<i64>,
}

/// What people are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The endpoint.
    pub endpoint: String,
    /// Its state changed; otherwise it gave messages up.
    pub is_disabled: bool,
    /// How many messages.
    pub count: i64,
    /// One of them.
    pub example: String,
    /// Why.
    pub reason: String,
}

/// What waits for an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingFor {
    /// Its name.
    pub endpoint: String,
    /// How many messages, of those that were looked at.
    pub count: u32,
    /// Since the oldest of them was recorded.
    pub oldest: Duration,
}

impl Store {
    /// Makes the database know these endpoints. Returns those that it knows otherwise, and so were left alone.
    pub async fn sync_endpoints(&self, wanted: &[Described]) -> Result<Vec<Contested>, Error> {
        let names: Vec<&str> = wanted.iter().map(|w| w.name.as_str()).collect();
        let tenants: Vec<&str> = wanted.iter().map(|w| w.tenant.as_str()).collect();
        let urls: Vec<&str> = wanted.iter().map(|w| w.url.as_str()).collect();
        let topics: Vec<String> = wanted.iter().map(|w| serde_json::json!(w.topics).to_string()).collect();
        let filters: Vec<String> = wanted.iter().map(|w| serde_json::json!(w.filter).to_string()).collect();
        let ordered: Vec<bool> = wanted.iter().map(|w| w.is_ordered).collect();
        let settings: Vec<String> = wanted.iter().map(|w| serde_json::json!(w.settings).to_string()).collect();
        let sql = include_str!("notify/sync_endpoints.sql");
        let rows = self.notices.query(sql, &[&names, &tenants, &urls, &topics, &filters, &ordered, &settings]).await?;
        let contested = |r: &Row| Contested { name: r.get(0), origin: r.get(1), state: r.get(2) };
        Ok(rows.iter().map(contested).collect())
    }

    /// Who is told, beside those who were removed.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        let rows = self.notices.query(include_str!("notify/endpoints.sql"), &[]).await?;
        rows.iter().map(endpoint).collect()
    }

    /// What signs, newest first, and is sent along, for endpoints that were made over the API.
    pub async fn endpoint_secrets(&self) -> Result<Vec<EndpointSecret>, Error> {
        let rows = self.notices.query(include_str!("notify/endpoint_secrets.sql"), &[]).await?;
        let secret = |r: &Row| EndpointSecret { endpoint: r.get(0), header: r.get(2), value: r.get(3) };
        Ok(rows.iter().map(secret).collect())
    }

    /// Records messages, and whom they are told: pairs of a place in `notices` and an endpoint. What is recorded already is left alone.
    pub async fn record_notices(&self, notices: &[Notice], pairs: &[(usize, i32)]) -> Result<u64, Error> {
        let ids: Vec<Uuid> = notices.iter().map(|n| n.id).collect();
        let topics: Vec<&str> = notices.iter().map(|n| n.topic.as_str()).collect();
        let keys: Vec<Option<&str>> = notices.iter().map(|n| n.key.as_deref()).collect();
        let payloads: Vec<&[u8]> = notices.iter().map(|n| &n.payload[..]).collect();
        let headers: Vec<Option<String>> =
            notices.iter().map(|n| (!n.headers.is_empty()).then(|| serde_json::json!(n.headers).to_string())).collect();
        let created: Vec<OffsetDateTime> = notices.iter().map(|n| n.created_at).collect();
        let places: Vec<i64> = pairs.iter().map(|(place, _)| i64::try_from(place + 1).unwrap_or(i64::MAX)).collect();
        let endpoints: Vec<i32> = pairs.iter().map(|(_, endpoint)| *endpoint).collect();
        let sql = include_str!("notify/record.sql");
        self.notices.execute(sql, &[&ids, &topics, &keys, &payloads, &headers, &created, &places, &endpoints]).await
    }

    /// What may be told now: for each endpoint at most so many.
    pub async fn due_deliveries(&self, asks: &[(i32, i32)]) -> Result<Vec<DueDelivery>, Error> {
        let (endpoints, rows): (Vec<i32>, Vec<i32>) = asks.iter().copied().unzip();
        let rows = self.deliveries.query(include_str!("notify/due.sql"), &[&endpoints, &rows]).await?;
        Ok(rows.iter().map(due).collect())
    }

    /// These wait for others of their lanes.
    pub async fn stand_behind(&self, which: &[DueDelivery]) -> Result<(), Error> {
        let endpoints: Vec<i32> = which.iter().map(|d| d.endpoint).collect();
        let messages: Vec<Uuid> = which.iter().map(|d| d.message).collect();
        self.deliveries.execute(include_str!("notify/behind.sql"), &[&endpoints, &messages]).await.map(drop)
    }

    /// These messages, in any order.
    pub async fn notices(&self, ids: &[Uuid]) -> Result<Vec<Notice>, Error> {
        let rows = self.deliveries.query(include_str!("notify/notices.sql"), &[&ids]).await?;
        rows.iter().map(notice).collect()
    }

    /// What came of tries. Returns those with which messages were given up: `(endpoint, message)`.
    pub async fn mark_attempts(&self, attempts: &[Attempt]) -> Result<Vec<(i32, Uuid)>, Error> {
        let endpoints: Vec<i32> = attempts.iter().map(|a| a.of.endpoint).collect();
        let messages: Vec<Uuid> = attempts.iter().map(|a| a.of.message).collect();
        let rounds: Vec<i32> = attempts.iter().map(|a| a.of.round).collect();
        let numbers: Vec<i32> = attempts.iter().map(|a| a.of.attempts + 1).collect();
        let at: Vec<OffsetDateTime> = attempts.iter().map(|a| a.at).collect();
        let took: Vec<i32> = attempts.iter().map(|a| a.took_ms).collect();
        let outcomes: Vec<&str> = attempts.iter().map(|a| a.outcome).collect();
        let statuses: Vec<Option<i32>> = attempts.iter().map(|a| a.status).collect();
        let reasons: Vec<Option<&str>> = attempts.iter().map(|a| a.reason.as_deref()).collect();
        let excerpts: Vec<Option<&str>> = attempts.iter().map(|a| a.excerpt.as_deref()).collect();
        let plugins: Vec<Option<&str>> = attempts.iter().map(|a| a.plugin.as_deref()).collect();
        let pauses: Vec<Option<i64>> = attempts.iter().map(|a| a.pause_ms).collect();
        let rows = self
            .deliveries
            .query(
                include_str!("notify/mark_attempts.sql"),
                &[
                    &endpoints, &messages, &rounds, &numbers, &at, &took, &outcomes, &statuses, &reasons, &excerpts,
                    &plugins, &pauses,
                ],
            )
            .await?;
        Ok(rows.iter().map(|r| (r.get(0), r.get(1))).collect())
    }

    /// What waits for each endpoint: of each the first `rows_max` by their next try are looked at.
    pub async fn waiting_deliveries(&self, rows_max: i64) -> Result<Vec<WaitingFor>, Error> {
        let rows = self.notices.query(include_str!("notify/waiting.sql"), &[&rows_max]).await?;
        let waiting = |r: &Row| WaitingFor {
            endpoint: r.get(0),
            count: u32::try_from(r.get::<_, i64>(1)).unwrap_or(u32::MAX),
            oldest: Duration::try_from_secs_f64(r.get(2)).unwrap_or_default(),
        };
        Ok(rows.iter().map(waiting).collect())
    }

    /// What people are to be told, of at most so many messages.
    pub async fn untold_notices(&self, rows_max: i64) -> Result<Vec<Untold>, Error> {
        let rows = self.notices.query(include_str!("notify/untold.sql"), &[&rows_max]).await?;
        let untold = |r: &Row| Untold {
            endpoint: r.get(0),
            is_disabled: r.get::<_, &str>(1) == "disabled",
            count: r.get(2),
            example: r.get(3),
            reason: r.get::<_, Option<String>>(4).unwrap_or_default(),
        };
        Ok(rows.iter().map(untold).collect())
    }

    /// People know of these.
    pub async fn told_notices(&self, told: &[Untold], rows_max: i64) -> Result<(), Error> {
        let names = |is_disabled: bool| -> Vec<&str> {
            told.iter().filter(|u| u.is_disabled == is_disabled).map(|u| u.endpoint.as_str()).collect()
        };
        let sql = include_str!("notify/told.sql");
        self.notices.execute(sql, &[&names(false), &names(true), &rows_max]).await.map(drop)
    }

    /// Gives up what nobody will tell any more. Returns how many.
    pub async fn close_deliveries(&self, keep_hours: i32, rows_max: i64) -> Result<u64, Error> {
        self.notices.execute(include_str!("notify/close.sql"), &[&keep_hours, &rows_max]).await
    }

    /// Deletes what ended long ago. Returns how many.
    pub async fn retire_deliveries(&self, keep_hours: i32, rows_max: i64) -> Result<i64, Error> {
        let rows = self.notices.query(include_str!("notify/retire.sql"), &[&keep_hours, &rows_max]).await?;
        Ok(rows.first().map_or(0, |r| r.get(0)))
    }
}

fn endpoint(row: &Row) -> Result<Endpoint, Error> {
    let shard = row.get::<_, i32>(10);
    Ok(Endpoint {
        id: row.get(0),
        name: row.get(1),
        tenant: row.get(2),
        url: row.get(3),
        topics: row.get(4),
        filter: texts(row.get(5))?,
        is_ordered: row.get(6),
        settings: row.get(7),
        is_of_api: row.get::<_, &str>(8) == "api",
        is_enabled: row.get(9),
        shard: super::u16_of(shard)?,
        is_failing: row.get(11),
    })
}

fn due(row: &Row) -> DueDelivery {
    DueDelivery {
        endpoint: row.get(0),
        message: row.get(1),
        round: row.get(2),
        attempts: row.get(3),
        bytes: usize::try_from(row.get::<_, Option<i32>>(4).unwrap_or(0)).unwrap_or(0),
        is_behind: row.get(5),
    }
}

fn notice(row: &Row) -> Result<Notice, Error> {
    Ok(Notice {
        id: row.get(0),
        topic: row.get(1),
        key: row.get(2),
        payload: Bytes::copy_from_slice(row.get(3)),
        headers: row.get::<_, Option<&str>>(4).map_or(Ok(BTreeMap::new()), texts)?,
        created_at: row.get(5),
    })
}

/// A JSON object of texts, as we have written it.
pub(super) fn texts(json: &str) -> Result<BTreeMap<String, String>, Error> {
    serde_json::from_str(json).map_err(|e| Error::Fatal(format!("an object of texts in the avouch schema: {e}")))
}
