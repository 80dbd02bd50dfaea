//! Finding messages: which index answers a question, how far one answer looks, and where the next one goes on.

use serde::{Deserialize, Serialize};
use time::serde::rfc3339;
use time::{Duration, OffsetDateTime};
use tokio_postgres::Row;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::views::{Message, Transaction};
use super::{Error, Store};

/// Which messages: of all of these.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Of this topic, or of all topics below one: `orders.created`, `orders.>`.
    pub topic: Option<String>,
    /// With this key.
    pub key: Option<String>,
    /// In this state: prepared, ready, delayed (ready, and its time has not come), sent, consumed, cancelled, dead or discarded.
    pub state: Option<String>,
    /// For which this consumer is waited, or for which they are dead; `-` with state dead: never sent.
    pub consumer: Option<String>,
    /// Dead for this reason, as failure groups show it.
    pub failure: Option<String>,
    /// Inserted at this time or later.
    #[serde(with = "rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// Inserted before this time.
    #[serde(with = "rfc3339::option")]
    pub until: Option<OffsetDateTime>,
    /// Where the answer before this one ended.
    pub cursor: Option<String>,
    /// At most so many, 50 if it is not said, 500 at most.
    pub limit: Option<i64>,
}

/// An answer. It may hold fewer messages than were asked for, and still have a cursor: it looked as far as one answer looks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// Newest first; those that wait (ready ones, and those of a consumer) oldest first, delayed ones soonest first.
    pub messages: Vec<Message>,
    /// Where the next answer goes on; none: there are no more.
    pub cursor: Option<String>,
}

/// What cannot be searched for, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

/// How it is looked for: by which index, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// All, by id, newest first.
    Recent { before: Uuid },
    /// Those with a key, newest first.
    Key { before: Uuid },
    /// Dead ones, newest first.
    Dead { before: i64 },
    /// Those that may be sent, oldest first.
    Ready { after: i64 },
    /// Those that wait for their time, soonest first: microseconds since 1970, and the id.
    Delayed { after: (i64, Uuid) },
    /// Those that transactions hold, newest first.
    Prepared { before: (Uuid, i64) },
    /// Those that a consumer has not finished, in the order of its stream.
    Waiting { after: (i32, i64) },
}

/// States that a message can be in.
const STATES: [&str; 8] = ["prepared", "ready", "delayed", "sent", "consumed", "cancelled", "dead", "discarded"];
/// The database's clock says when a transaction was decided, ours that it is not.
const CLOCKS_APART: Duration = Duration::minutes(1);
const LIMIT: i64 = 50;
const LIMIT_MAX: i64 = 500;

impl Search {
    /// Whether it can be searched for.
    pub fn check(&self) -> Result<(), Refused> {
        if let Some(state) = self.state.as_deref().filter(|s| !STATES.contains(s)) {
            return Err(Refused(format!("state {state:?} is unknown: one of {}", STATES.join(", "))));
        }
        if self.failure.is_some() && self.state.as_deref().is_some_and(|s| s != "dead") {
            return Err(Refused("only dead messages have a failure: leave state out, or say dead".into()));
        }
        if self.limit.is_some_and(|l| !(1..=LIMIT_MAX).contains(&l)) {
            return Err(Refused(format!("limit must be from 1 to {LIMIT_MAX}")));
        }
        self.way().map(drop)
    }

    fn way(&self) -> Result<Way, Refused> {
        let state = self.state.as_deref();
        let start = if state == Some("dead") || self.failure.is_some() {
            Way::Dead { before: i64::MAX }
        } else if self.key.is_some() {
            Way::Key { before: Uuid::max() }
        } else if self.consumer.is_some() {
            Way::Waiting { after: (0, 0) }
        } else if state == Some("ready") {
            Way::Ready { after: i64::MIN }
        } else if state == Some("delayed") {
            Way::Delayed { after: (0, Uuid::nil()) }
        } else if state == Some("prepared") {
            Way::Prepared { before: (Uuid::max(), i64::MAX) }
        } else {
            Way::Recent { before: Uuid::max() }
        };
        match &self.cursor {
            None => Ok(start),
            Some(text) => start.at(text).ok_or_else(|| {
                Refused("this cursor belongs to another search: leave it out, or repeat the search that gave it".into())
            }),
        }
    }

    /// The lowest id of those that were inserted at this time or later: a UUIDv7 tells its age.
    fn bounds(&self) -> (Uuid, Uuid) {
        let (since, until) = (self.since.map_or(Uuid::nil(), first_id_of), self.until.map_or(Uuid::max(), first_id_of));
        (since, until)
    }
}

impl Way {
    /// The same way from another place.
    fn at(self, cursor: &str) -> Option<Self> {
        let (first, second) = cursor.split_once('.').unwrap_or((cursor, ""));
        Some(match self {
            Self::Recent { .. } => Self::Recent { before: first.parse().ok()? },
            Self::Key { .. } => Self::Key { before: first.parse().ok()? },
            Self::Dead { .. } => Self::Dead { before: first.parse().ok()? },
            Self::Ready { .. } => Self::Ready { after: first.parse().ok()? },
            Self::Delayed { .. } => Self::Delayed { after: (first.parse().ok()?, second.parse().ok()?) },
            Self::Prepared { .. } => Self::Prepared { before: (first.parse().ok()?, second.parse().ok()?) },
            Self::Waiting { .. } => Self::Waiting { after: (first.parse().ok()?, second.parse().ok()?) },
        })
    }
}

fn first_id_of(at: OffsetDateTime) -> Uuid {
    let ms = u128::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    Uuid::from_u128((ms & 0xffff_ffff_ffff) << 80)
}

impl Store {
    /// Messages that were searched for, and where the next answer goes on. Looks at a bounded number of rows.
    pub async fn search(&self, search: &Search) -> Result<Result<Found, Refused>, Error> {
        let (ids, cursor) = match self.search_ids(search).await? {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let messages = if ids.is_empty() { Vec::new() } else { self.messages(&ids).await? };
        Ok(Ok(Found { messages, cursor }))
    }

    /// The ids alone, for those who do something with them, and where the next answer goes on.
    pub async fn search_ids(&self, search: &Search) -> Result<Result<(Vec<Uuid>, Option<String>), Refused>, Error> {
        if let Err(refused) = search.check() {
            return Ok(Err(refused));
        }
        let way = match search.way() {
            Ok(way) => way,
            Err(refused) => return Ok(Err(refused)),
        };
        let Some(row) = self.find(way, search).await?.into_iter().next() else {
            return Err(Error::Retry("a search came without its row".into()));
        };
        Ok(Ok((row.get(0), row.get(1))))
    }

    async fn find(&self, way: Way, s: &Search) -> Result<Vec<Row>, Error> {
        let (rows, (since, until)) = (s.limit.unwrap_or(LIMIT), s.bounds());
        let (topic, state, consumer) = (&s.topic, &s.state, &s.consumer);
        match way {
            Way::Recent { before } => {
                let sql = include_str!("views/find_recent.sql");
                self.views.request(sql, &[&before.min(until), &since, topic, state, &rows]).await
            }
            Way::Key { before } => {
                let sql = include_str!("views/find_key.sql");
                self.views.request(sql, &[&s.key, &before.min(until), &since, topic, state, consumer, &rows]).await
            }
            Way::Dead { before } => {
                let sql = include_str!("views/find_dead.sql");
                let class = &s.failure;
                self.views.request(sql, &[&before, topic, &s.key, consumer, class, &since, &until, &rows]).await
            }
            Way::Ready { after } => {
                let sql = include_str!("views/find_ready.sql");
                self.views.request(sql, &[&after, topic, &since, &until, &rows]).await
            }
            Way::Delayed { after: (at_us, id) } => {
                let sql = include_str!("views/find_delayed.sql");
                self.views.request(sql, &[&at_us, &id, topic, &since, &until, &rows]).await
            }
            Way::Prepared { before: (tx, seq) } => {
                let sql = include_str!("views/find_prepared.sql");
                self.views.request(sql, &[&tx, &seq, topic, &since, &until, &rows]).await
            }
            Way::Waiting { after: (stream, seq) } => {
                let sql = include_str!("views/find_waiting.sql");
                self.views.request(sql, &[&stream, &seq, consumer, topic, state, &since, &until, &rows]).await
            }
        }
    }

    /// These messages, in this order; those that are gone are left out.
    pub async fn messages(&self, ids: &[Uuid]) -> Result<Vec<Message>, Error> {
        self.documents(include_str!("views/messages.sql"), &[&ids]).await
    }

    /// The first messages of a transaction. Those that were inserted under an id of their producer's own are found while it holds them.
    pub async fn messages_of(&self, tx: &Transaction, rows_max: i64) -> Result<Vec<Message>, Error> {
        let end = tx.decided_at.unwrap_or(OffsetDateTime::now_utc()) + CLOCKS_APART;
        let (from, to) = (first_id_of(tx.created_at), first_id_of(end));
        let rows = self.views.request(include_str!("views/find_of_tx.sql"), &[&tx.id, &from, &to, &rows_max]).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        if ids.is_empty() { Ok(Vec::new()) } else { self.messages(&ids).await }
    }

    /// Which of these dead messages were dead already when they were counted, in their order; and whether the last one that was counted, if
    /// not all of them were, is among or before them.
    pub async fn counted(
        &self,
        ids: &[Uuid],
        as_of: OffsetDateTime,
        last: Option<Uuid>,
    ) -> Result<(Vec<Uuid>, bool), Error> {
        let rows = self.views.request(include_str!("views/counted.sql"), &[&ids, &as_of, &last]).await?;
        let is = |row: &&Row, word: &str| row.get::<_, &str>(1) == word;
        let counted = rows.iter().filter(|row| is(row, "counted")).map(|row| row.get(0)).collect();
        Ok((counted, rows.iter().any(|row| is(&row, "beyond"))))
    }

    /// One message.
    pub async fn message(&self, id: Uuid) -> Result<Option<Message>, Error> {
        Ok(self.messages(&[id]).await?.pop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_searched_for_is_refused_with_the_remedy() {
        let refused = |s: Search| s.check().expect_err("must be refused").to_string();
        assert!(refused(Search { state: Some("lost".into()), ..Search::default() }).contains("consumed"));
        assert!(refused(Search { limit: Some(501), ..Search::default() }).contains("500"));
        let both = Search { state: Some("sent".into()), failure: Some("x".into()), ..Search::default() };
        assert!(refused(both).contains("dead"));
        let other = Search { cursor: Some("17".into()), ..Search::default() };
        assert!(refused(other).contains("another search"));
        let dead = Search { cursor: Some("17".into()), state: Some("dead".into()), ..Search::default() };
        assert_eq!(dead.way(), Ok(Way::Dead { before: 17 }));
        let cursor = Some(format!("17.{}", Uuid::max()));
        let delayed = Search { cursor, state: Some("delayed".into()), ..Search::default() };
        assert_eq!(delayed.way(), Ok(Way::Delayed { after: (17, Uuid::max()) }));
    }
}
