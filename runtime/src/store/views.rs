//! What people see: documents that the API answers, pages and commands show. Each is made by one statement, as JSON.

mod documents;
mod going;
mod notices;
pub(super) mod utc;

use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::documents::{
    Audited, Consumer, Deployment, Event, FailureGroup, InboxRecord, Message, Payload, PluginLine, Received,
    Transaction, Waiting,
};
pub use self::going::{Hold, Instance, Lost, Sample, Status, TroubledEndpoint};
pub use self::notices::{Attempt, Delivery, Endpoint};
use super::link::Params;
use super::{Error, Store};

/// Dead messages that are looked at for their groups: a page of them is answered within a fifth of a second.
pub const GROUPED_MAX: i64 = 30_000;

/// Transactions that one answer looks at for those that are decided, or not.
const LOOKED_MAX: i64 = 20_000;

/// One page of what several looks found, and before which the next one goes on. One of them looked no further than to `looked_to`.
fn merged(mut found: Vec<Transaction>, looked_to: Option<Uuid>, rows_max: i64) -> (Vec<Transaction>, Option<Uuid>) {
    found.sort_by_key(|tx| std::cmp::Reverse(tx.id));
    found.retain(|tx| looked_to.is_none_or(|end| tx.id >= end));
    let rows_max = usize::try_from(rows_max).unwrap_or(0);
    let next = if found.len() >= rows_max { found.get(rows_max.saturating_sub(1)).map(|tx| tx.id) } else { looked_to };
    found.truncate(rows_max);
    (found, next)
}

impl Store {
    /// How it goes.
    pub async fn status(&self) -> Result<Status, Error> {
        let mut status = self.documents(include_str!("status.sql"), &[]).await?;
        status.pop().ok_or_else(|| Error::Retry("the status came without a row".into()))
    }

    /// Transactions in one of these states before `before`, newest first, of this checker if one is named; and before which the next answer
    /// goes on, if there may be more: an answer may hold fewer than were asked for, because it looks only so far.
    pub async fn transactions(
        &self,
        states: &[String],
        checker: Option<&str>,
        before: Option<Uuid>,
        rows_max: i64,
    ) -> Result<(Vec<Transaction>, Option<Uuid>), Error> {
        let before = before.unwrap_or(Uuid::max());
        // Each sort has an index of its own.
        let (mut found, mut looked_to) = (Vec::new(), None);
        let wants = |state: &str| states.iter().any(|s| s == state);
        if wants("in_doubt") {
            let params: Params<'_> = &[&checker, &before, &rows_max];
            found.extend(self.documents::<Transaction>(include_str!("views/in_doubt.sql"), params).await?);
        }
        // More undecided ones than one look holds are looked for where the decided ones are.
        let mut is_beyond = false;
        if wants("prepared") {
            let sql = include_str!("views/undecided_beyond.sql");
            is_beyond = self.views.request(sql, &[&checker, &LOOKED_MAX]).await?.first().is_some_and(|row| row.get(0));
            if !is_beyond {
                let params: Params<'_> = &[&checker, &before, &rows_max, &LOOKED_MAX];
                found.extend(self.documents::<Transaction>(include_str!("views/undecided.sql"), params).await?);
            }
        }
        let is_walked = |state: &str| state != "in_doubt" && (state != "prepared" || is_beyond);
        let decided: Vec<_> = states.iter().filter(|s| is_walked(s)).collect();
        if !decided.is_empty() {
            let params: Params<'_> = &[&decided, &checker, &before, &rows_max, &LOOKED_MAX];
            let some: Vec<Transaction> = self.documents(include_str!("views/transactions.sql"), params).await?;
            if i64::try_from(some.len()).unwrap_or(i64::MAX) < rows_max {
                let end = self.views.request(include_str!("views/tx_looked_to.sql"), &[&before, &LOOKED_MAX]).await?;
                looked_to = end.first().map(|row| row.get(0));
            }
            found.extend(some);
        }
        Ok(merged(found, looked_to, rows_max))
    }

    /// One transaction.
    pub async fn transaction(&self, id: Uuid) -> Result<Option<Transaction>, Error> {
        Ok(self.documents(include_str!("views/transaction.sql"), &[&id]).await?.pop())
    }

    /// What happened to a message, its transaction and its consumers' records, oldest first.
    pub async fn timeline(&self, id: Uuid) -> Result<Vec<Event>, Error> {
        self.documents(include_str!("views/timeline.sql"), &[&id]).await
    }

    /// What happened to a transaction, oldest first.
    pub async fn tx_timeline(&self, id: Uuid) -> Result<Vec<Event>, Error> {
        self.documents(include_str!("views/tx_timeline.sql"), &[&id]).await
    }

    /// The beginning of a payload.
    pub async fn payload_shown(&self, id: Uuid, bytes_max: i32) -> Result<Option<Payload>, Error> {
        Ok(self.documents(include_str!("views/payload_shown.sql"), &[&id, &bytes_max]).await?.pop())
    }

    /// The newest [`GROUPED_MAX`] dead messages by what is wrong with them, the largest group first.
    pub async fn failure_groups(&self) -> Result<Vec<FailureGroup>, Error> {
        self.documents(include_str!("views/failure_groups.sql"), &[&GROUPED_MAX]).await
    }

    /// All consumers.
    pub async fn consumers_shown(&self) -> Result<Vec<Consumer>, Error> {
        self.documents(include_str!("views/consumers_shown.sql"), &[]).await
    }

    /// The names of so many consumers.
    pub async fn consumer_names(&self, rows_max: i64) -> Result<Vec<String>, Error> {
        let rows = self.views.request(include_str!("views/consumer_names.sql"), &[&rows_max]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// The records of the first messages that a consumer has not finished.
    pub async fn unfinished_records(&self, consumer: &str, rows_max: i64) -> Result<Vec<InboxRecord>, Error> {
        self.documents(include_str!("views/unfinished_records.sql"), &[&consumer, &rows_max]).await
    }

    /// One record.
    pub async fn inbox_record(&self, consumer: &str, key: &str) -> Result<Option<InboxRecord>, Error> {
        Ok(self.documents(include_str!("views/inbox_record.sql"), &[&consumer, &key]).await?.pop())
    }

    /// Deployments, newest first: of one plugin, or of all.
    pub async fn deployments_shown(&self, name: Option<&str>, rows_max: i64) -> Result<Vec<Deployment>, Error> {
        self.documents(include_str!("views/deployments_shown.sql"), &[&name, &rows_max]).await
    }

    /// Lines of plugins before `before`, newest first.
    pub async fn plugin_lines(
        &self,
        name: Option<&str>,
        before: Option<i64>,
        rows_max: i64,
    ) -> Result<Vec<PluginLine>, Error> {
        let before = before.unwrap_or(i64::MAX);
        self.documents(include_str!("views/plugin_lines.sql"), &[&name, &before, &rows_max]).await
    }

    /// What people did before `before`, newest first.
    pub async fn audited(&self, before: Option<i64>, rows_max: i64) -> Result<Vec<Audited>, Error> {
        let before = before.unwrap_or(i64::MAX);
        self.documents(include_str!("views/audited.sql"), &[&before, &rows_max]).await
    }

    /// What is held, newest first.
    pub async fn holds_shown(&self, rows_max: i64) -> Result<Vec<Hold>, Error> {
        self.documents(include_str!("views/holds_shown.sql"), &[&rows_max]).await
    }

    /// How it went in the last so many minutes, oldest first.
    pub async fn samples(&self, minutes: i32) -> Result<Vec<Sample>, Error> {
        self.documents(include_str!("views/samples.sql"), &[&minutes]).await
    }

    /// What time it is there.
    pub async fn now(&self) -> Result<OffsetDateTime, Error> {
        let rows = self.views.request(include_str!("views/now.sql"), &[]).await?;
        rows.first().map(|row| row.get(0)).ok_or_else(|| Error::Retry("the time came without a row".into()))
    }

    /// Rows of one JSON document each.
    pub(super) async fn documents<T: DeserializeOwned>(
        &self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<T>, Error> {
        let rows = self.views.request(sql, params).await?;
        let read = |row: &tokio_postgres::Row| serde_json::from_str(row.get(0));
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|e| Error::Fatal(format!("a view cannot be read: {e}")))
    }
}
