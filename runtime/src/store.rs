//! Everything Avouch asks of Postgres, one guarded statement a move. The only code that runs Avouch's own SQL.

pub mod access;
mod backlog;
mod checks;
pub mod connect;
pub mod control;
pub mod endpoints;
mod inbox;
mod link;
pub mod notify;
pub mod operate;
mod ownership;
mod plugins;
mod receipts;
pub mod receivers;
mod recoveries;
pub mod refusal;
mod rows;
pub mod search;
mod streams;
pub mod survey;
mod upkeep;
pub mod views;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

pub use self::backlog::{Backlog, State, Transactions};
pub use self::checks::{Claim, Decided, Doubt, Due, Held, Parked, Postponed};
use self::connect::{Target, Tls};
pub use self::inbox::Consumer;
pub use self::link::{FIXED_PLANS, Plans};
use self::link::{Link, Params};
pub use self::ownership::{Owned, Report, Share};
pub use self::plugins::{Deployment, LogLine, PluginCalls};
pub use self::receipts::{Awaited, Dead, GivenUp, Missed, Places, Stretch, Told};
pub use self::recoveries::{DeadLetter, Recovery, SentAgain};
use self::refusal::Refusal;
use self::rows::{AskColumns, columns, payload_of, read_row, u16_of, usize_of};
pub use self::streams::{Loss, Succession, Successor};
use crate::meters::Scope;
use crate::secret::Secret;
use crate::window::{Ask, Holds, Mark, Reading, Snapshot};

/// `[source.NAME]`: a database with an outbox.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `postgres://user:password@host:5432/database`, or `env:NAME`, or `file:/path`. Several hosts: the writable one. The
    /// server itself, not a pooler in transaction mode: those deliver no notifications.
    pub url: Secret,
    /// TLS to this database.
    #[serde(default)]
    pub tls: Tls,
    /// How long making a connection may take.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// How long one statement may take before its connection is given up.
    #[serde(default = "statement_timeout_ms")]
    pub statement_timeout_ms: u64,
}

impl Config {
    /// A source with this URL and every other setting at its default.
    pub fn of(url: Secret) -> Self {
        Self {
            url,
            tls: Tls::default(),
            connect_timeout_ms: connect_timeout_ms(),
            statement_timeout_ms: statement_timeout_ms(),
        }
    }
}

/// A connection inside a data centre takes a few milliseconds; a fail-over's DNS change, some seconds.
fn connect_timeout_ms() -> u64 {
    5_000
}

/// The longest statement is a look at everything behind a held snapshot: seconds at tens of millions of dead rows.
fn statement_timeout_ms() -> u64 {
    30_000
}

/// What went wrong, by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection or the server went away, or somebody was faster: try again later.
    #[error("{0}")]
    Retry(String),
    /// Trying again will not help: a person must act.
    #[error("{0}")]
    Fatal(String),
    /// The request itself is refused: whoever asked must ask for something else.
    #[error(transparent)]
    Refused(Refusal),
}

impl Error {
    /// Of a statement that somebody asked for, with their values in it.
    fn of_request(e: tokio_postgres::Error) -> Self {
        Refusal::of(&e).map_or_else(|| e.into(), Self::Refused)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(e: tokio_postgres::Error) -> Self {
        let Some(db) = e.as_db_error() else {
            return Self::Retry(full_text(&e));
        };
        let text = match db.hint() {
            Some(hint) => format!("{} ({}; {hint})", db.message(), db.code().code()),
            None => format!("{} ({})", db.message(), db.code().code()),
        };
        let fatal = [
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_COLUMN,
            SqlState::UNDEFINED_FUNCTION,
            SqlState::INVALID_SCHEMA_NAME,
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ];
        if fatal.contains(db.code()) { Self::Fatal(text) } else { Self::Retry(text) }
    }
}

/// An error and its causes in one line; the library's own text says only "error connecting to server".
pub fn full_text(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// What a read needs to know beside its asks.
#[derive(Clone, Debug)]
pub struct Feeds {
    /// Each feed's only topic.
    pub only: Vec<Option<String>>,
    /// Topics that the main feed leaves out.
    pub left_out: Vec<String>,
    /// Nothing new is at or below this seq.
    pub low: i64,
    /// The snapshot of the last used read, as Postgres writes it.
    pub previous: String,
}

/// The runtime's connections to one database. Reading, looking back (which takes long behind a held snapshot) and marking go side by side, as
/// do claiming transactions and settling them, the two halves of the inbox, and receipts and what is sent again without one; one is
/// for producers that come over NATS, one for people who look, two for outside parties that are told; one serves the rest. Each is made when it is first used.
pub struct Store {
    reader: Link,
    looker: Link,
    marker: Link,
    control: Link,
    claims: Link,
    verdicts: Link,
    producers: Link,
    begins: Link,
    finishes: Link,
    receipts: Link,
    recoveries: Link,
    notices: Link,
    deliveries: Link,
    views: Link,
    received_total: AtomicI64,
    access: Link,
    target: Target,
    scope: Scope,
}

impl Store {
    /// Reads the settings; connects at the first use.
    pub fn new(config: &Config, scope: Scope, application: &str, plans: Plans) -> Result<Self, Error> {
        let [connect_timeout, timeout] =
            [config.connect_timeout_ms, config.statement_timeout_ms].map(Duration::from_millis);
        let target = Target::new(&config.url, &config.tls, application, connect_timeout)?;
        let link = |of| Link::new(target.clone(), timeout, plans, scope.connections(of));
        Ok(Self {
            reader: link("reader"),
            looker: link("looker"),
            marker: link("marker"),
            control: link("control"),
            claims: link("claims"),
            verdicts: link("verdicts"),
            producers: link("producers"),
            begins: link("begins").impatient(),
            finishes: link("finishes").impatient(),
            receipts: link("receipts"),
            recoveries: link("recoveries"),
            notices: link("notices"),
            deliveries: link("deliveries"),
            views: link("views"),
            access: link("access"),
            received_total: AtomicI64::new(0),
            target: target.clone(),
            scope: scope.clone(),
        })
    }

    /// Where its connections go.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Where what is done with this database is counted.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    // ── The relay's ────────────────────────────────────────────────────────────────────────────────────────────────

    /// The rows asked for, in order within each shard, and the snapshot in which they stood. `only` is each feed's only
    /// topic; the main feed leaves out `left_out`. Nothing new is at or below `low`; `previous` is the last used snapshot.
    /// Payloads over `inline_bytes_max` stay behind: see [`Store::payload`].
    pub async fn read_ready(&self, asks: &[Ask], feeds: &Feeds, inline_bytes_max: i32) -> Result<Reading, Error> {
        let a = AskColumns::new(asks, &feeds.only);
        let rows = self
            .reader
            .query(
                include_str!("store/read_ready.sql"),
                &[
                    &a.feeds,
                    &a.topics,
                    &a.shards,
                    &a.afters,
                    &a.rows,
                    &feeds.left_out,
                    &inline_bytes_max,
                    &feeds.low,
                    &feeds.previous,
                ],
            )
            .await?;
        let (first, rest) =
            rows.split_first().ok_or_else(|| Error::Retry("a read came without its snapshot".into()))?;
        let ahead = u32::try_from(first.get::<_, i32>(4)).unwrap_or(0);
        let snapshot = Snapshot::parse(first.get(6), ahead).map_err(|e| Error::Fatal(e.to_string()))?;
        let due_ms: Option<i32> = first.get(10);
        let next_due = due_ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let session = self.reader.sessions();
        Ok(Reading { session, snapshot, next_due, rows: rest.iter().map(read_row).collect::<Result<_, _>>()? })
    }

    /// One message's payload; none if the row is gone.
    pub async fn payload(&self, id: Uuid) -> Result<Option<Bytes>, Error> {
        let rows = self.reader.query(include_str!("store/payload.sql"), &[&id]).await?;
        Ok(rows.first().map(|row| Bytes::copy_from_slice(payload_of(row, 0).unwrap_or_default())))
    }

    /// Where rows stand that may be sent, at or below the cursors: `(feed, shard, seq)`.
    pub async fn look_back(&self, asks: &[Ask], feeds: &Feeds) -> Result<Vec<(usize, u16, i64)>, Error> {
        let a = AskColumns::new(asks, &feeds.only);
        let rows = self
            .looker
            .query(
                include_str!("store/look_back.sql"),
                &[&a.feeds, &a.topics, &a.shards, &a.afters, &a.rows, &feeds.left_out],
            )
            .await?;
        rows.iter().map(|r| Ok((usize_of(r.get(0))?, u16_of(r.get(1))?, r.get(2)))).collect()
    }

    /// ready → sent. Returns how many rows were: fewer than the marks means the race was lost for the others. `awaiting` says for
    /// each mark whose receipts it waits for, as of the change with this number: none is marked if there was another one.
    pub async fn mark_sent(
        &self,
        owned: &[Owned],
        marks: &[Mark],
        (awaiting, version): (&[Option<Arc<str>>], i32),
    ) -> Result<u64, Error> {
        let (mine, epochs) = columns(owned);
        let shards: Vec<i32> = marks.iter().map(|m| i32::from(m.shard)).collect();
        let seqs: Vec<i64> = marks.iter().map(|m| m.seq).collect();
        let streams: Vec<i32> = marks.iter().map(|m| m.stream).collect();
        let stream_seqs: Vec<i64> = marks.iter().map(|m| m.stream_seq).collect();
        let awaiting: Vec<Option<&str>> = awaiting.iter().map(Option::as_deref).collect();
        let ids: Vec<Uuid> = marks.iter().map(|m| m.id).collect();
        let sql = include_str!("store/mark_sent.sql");
        let place: Params<'_> = &[&mine, &epochs, &shards, &seqs, &streams, &stream_seqs, &awaiting, &ids, &version];
        self.marker.execute(sql, place).await
    }

    /// ready → dead. Returns false if the race was lost.
    pub async fn bury(
        &self,
        owned: Owned,
        (seq, id): (i64, Uuid),
        reason: &str,
        parks_key: bool,
    ) -> Result<bool, Error> {
        let shard = i32::from(owned.shard);
        let rows = self
            .marker
            .query(include_str!("store/bury.sql"), &[&shard, &owned.epoch, &seq, &reason, &parks_key, &id])
            .await?;
        Ok(rows.first().is_some_and(|r| r.get::<_, i64>(0) > 0))
    }

    /// ready → ready with the next generation. Returns false if the race was lost.
    pub async fn next_generation(&self, owned: Owned, (seq, id): (i64, Uuid), sent: u32) -> Result<bool, Error> {
        let shard = i32::from(owned.shard);
        let sent = i32::try_from(sent).map_err(|e| Error::Fatal(format!("generation {sent}: {e}")))?;
        let touched = self
            .marker
            .execute(include_str!("store/next_generation.sql"), &[&shard, &owned.epoch, &seq, &sent, &id])
            .await?;
        Ok(touched > 0)
    }

    /// Lets delayed rows go whose time has come. Returns how many.
    pub async fn release_due(&self, rows_max: i64) -> Result<u64, Error> {
        self.control.execute(include_str!("store/release_due.sql"), &[&rows_max]).await
    }

    /// What is held.
    pub async fn holds(&self) -> Result<Holds, Error> {
        let mut holds = Holds::default();
        for row in self.control.query(include_str!("store/holds.sql"), &[]).await? {
            let (kind, name): (String, String) = (row.get(0), row.get(1));
            match kind.as_str() {
                "topic" => drop(holds.topics.insert(name)),
                _ => drop(holds.keys.insert(name)),
            }
        }
        Ok(holds)
    }
}
