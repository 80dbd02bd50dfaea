//! What receivers are told when they ask: only what is theirs, a bounded number of rows at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio_postgres::Row;
use utoipa::ToSchema;
use uuid::Uuid;

use super::notify::texts;
use super::views::utc as rfc3339;
use super::{Error, Store};
use crate::access::Hash;

/// Who asks.
#[derive(Clone)]
pub struct Bearer {
    /// The endpoint's short name.
    pub endpoint: i32,
    /// Its name.
    pub name: String,
    /// It is told; otherwise what it is to be told waits.
    pub is_enabled: bool,
    /// It was made over the API: what signs for it is in the database.
    pub is_of_api: bool,
    /// What signs for it then, newest first.
    pub secrets: Vec<String>,
}

/// A message that an endpoint is told of, without its payload.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Told {
    /// Its id: the `webhook-id` under which it is told. It holds the time of its insert.
    pub id: Uuid,
    /// Its topic.
    pub topic: String,
    /// Its key.
    pub key: Option<String>,
    /// When it was inserted.
    #[serde(with = "rfc3339")]
    pub created_at: OffsetDateTime,
    /// waiting: you will be told; delivered: you have answered that you have it; given_up: you will not be told by itself.
    pub state: String,
    /// How often telling you was tried, since it was begun last.
    pub attempts: i32,
    /// waiting: when you are told next; what is disabled is told nothing.
    #[serde(with = "rfc3339::option")]
    pub next_at: Option<OffsetDateTime>,
    /// The status that you answered last.
    pub status: Option<i32>,
    /// When it was delivered or given up.
    #[serde(with = "rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
}

/// The same with what is told.
#[derive(Clone, Debug)]
pub struct Whole {
    /// All but its payload.
    pub told: Told,
    /// Its producer's headers.
    pub headers: BTreeMap<String, String>,
    /// Its bytes.
    pub payload: Bytes,
}

/// A part of the messages with a topic and a key.
#[derive(Clone, Copy, Debug)]
pub struct OfKey<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key.
    pub key: &'a str,
    /// Only older ones than this.
    pub below: Uuid,
    /// So many of all endpoints' are looked at.
    pub looks_max: i64,
}

/// The ids between these two, without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between {
    /// Below all of them.
    pub above: Uuid,
    /// Above all of them.
    pub below: Uuid,
}

/// Windows that lie one behind another.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// When the first one begins, in ms since 1970.
    pub from_ms: i64,
    /// How long each is.
    pub step_ms: i64,
}

/// What is in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which one, from 0 on.
    pub place: i64,
    /// How many messages.
    pub count: i64,
    /// Of these.
    pub delivered: i64,
    /// Of these.
    pub waiting: i64,
    /// Of these.
    pub given_up: i64,
    /// SHA-256 of their ids, in hexadecimal.
    pub digest: String,
}

impl Store {
    /// Who bears a token with this hash.
    pub async fn endpoint_bearer(&self, hash: &Hash) -> Result<Option<Bearer>, Error> {
        let rows = self.access.query(include_str!("receivers/bearer.sql"), &[&hash.as_slice()]).await?;
        Ok(rows.first().map(|row| Bearer {
            endpoint: row.get(0),
            name: row.get(1),
            is_enabled: row.get(2),
            is_of_api: row.get(3),
            secrets: row.get(4),
        }))
    }

    /// One message; none if this endpoint is not told of it.
    pub async fn told_message(&self, endpoint: i32, id: Uuid) -> Result<Option<Whole>, Error> {
        let rows = self.notices.query(include_str!("receivers/message.sql"), &[&endpoint, &id]).await?;
        rows.first().map(whole).transpose()
    }

    /// What an endpoint is told with a topic and a key, the newest first.
    pub async fn told_of_key(&self, endpoint: i32, of: OfKey<'_>, rows_max: i64) -> Result<Vec<Told>, Error> {
        let OfKey { topic, key, below, looks_max } = of;
        let sql = include_str!("receivers/by_key.sql");
        let rows = self.notices.query(sql, &[&endpoint, &topic, &key, &below, &looks_max, &rows_max]).await?;
        Ok(rows.iter().map(told).collect())
    }

    /// What an endpoint is told, the oldest first.
    pub async fn told_between(&self, endpoint: i32, between: Between, rows_max: i64) -> Result<Vec<Told>, Error> {
        let Between { above, below } = between;
        let sql = include_str!("receivers/by_time.sql");
        let rows = self.notices.query(sql, &[&endpoint, &above, &below, &rows_max]).await?;
        Ok(rows.iter().map(told).collect())
    }

    /// The windows that are not empty, as far as so many messages go: the last one may lack some if there are as many. Beside the other
    /// answers, since it may take longer.
    pub async fn told_windows(
        &self,
        endpoint: i32,
        between: Between,
        cut: Cut,
        rows_max: i64,
    ) -> Result<Vec<Window>, Error> {
        let (Between { above, below }, Cut { from_ms, step_ms }) = (between, cut);
        let sql = include_str!("receivers/windows.sql");
        let rows = self.views.query(sql, &[&endpoint, &above, &below, &from_ms, &step_ms, &rows_max]).await?;
        Ok(rows.iter().map(window).collect())
    }
}

fn told(row: &Row) -> Told {
    let state: String = row.get(4);
    // A message that has ended keeps when it was due.
    let next_at = Some(row.get(6)).filter(|_| state == "waiting");
    Told {
        id: row.get(0),
        topic: row.get(1),
        key: row.get(2),
        created_at: row.get(3),
        state,
        attempts: row.get(5),
        next_at,
        status: row.get(7),
        ended_at: row.get(8),
    }
}

fn whole(row: &Row) -> Result<Whole, Error> {
    let headers = row.get::<_, Option<&str>>(9).map_or(Ok(BTreeMap::new()), texts)?;
    Ok(Whole { told: told(row), headers, payload: Bytes::copy_from_slice(row.get(10)) })
}

fn window(row: &Row) -> Window {
    Window {
        place: row.get(0),
        count: row.get(1),
        delivered: row.get(2),
        waiting: row.get(3),
        given_up: row.get(4),
        digest: row.get(5),
    }
}
