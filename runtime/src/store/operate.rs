//! What people do: each of these is audited, with who did it and why.

use uuid::Uuid;

use super::{Error, Store};

/// Who does something, and why: for the audit.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// A token's name, or a person.
    pub who: &'a str,
    /// In their words.
    pub why: Option<&'a str>,
}

/// A version of a plugin to be deployed.
#[derive(Clone, Copy, Debug)]
pub struct NewVersion<'a> {
    /// The plugin.
    pub name: &'a str,
    /// The SHA-256 of its file, in hex.
    pub digest: &'a str,
    /// The team's own version.
    pub version: &'a str,
    /// The file.
    pub file: &'a [u8],
    /// What it is granted.
    pub grants: &'a serde_json::Value,
}

/// Which version of a plugin is to answer again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier<'a> {
    /// What answered before the current one was deployed first.
    Before,
    /// The one that its team calls so, or whose digest begins like this; as it was deployed last.
    Version(&'a str),
    /// What answered from this deployment on.
    Deployment(i64),
}

/// Why none answers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBack {
    /// There is no such version.
    Nowhere,
    /// It may be one of several.
    Several,
}

impl Store {
    /// Sends these dead messages again. Returns those that were dead.
    pub async fn resend(&self, by: By<'_>, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let rows = self.views.request(include_str!("operate/resend.sql"), &[&by.who, &by.why, &ids]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// Discards these messages. Returns those that were not sent, or dead.
    pub async fn discard(&self, by: By<'_>, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let rows = self.views.request(include_str!("operate/discard.sql"), &[&by.who, &by.why, &ids]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// Sends these messages once more to one consumer. Returns those that will be sent.
    pub async fn replay(&self, by: By<'_>, consumer: &str, ids: &[Uuid], forget: Forget) -> Result<Vec<Uuid>, Error> {
        let forget = forget == Forget::Record;
        let sql = include_str!("operate/replay.sql");
        let rows = self.views.request(sql, &[&by.who, &by.why, &consumer, &ids, &forget]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// Settles transactions that are undecided or in doubt: `commit` or `rollback`. Returns those that it settled.
    pub async fn decide_tx(&self, by: By<'_>, outcome: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let rows =
            self.views.request(include_str!("operate/decide_tx.sql"), &[&by.who, &by.why, &outcome, &ids]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// Has checkers asked again about transactions in doubt. Returns those that they will be asked about.
    pub async fn recheck(&self, by: By<'_>, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let rows = self.views.request(include_str!("operate/recheck.sql"), &[&by.who, &by.why, &ids]).await?;
        Ok(rows.iter().map(|r| r.get(0)).collect())
    }

    /// Pauses a `topic`, a `key` or a `consumer`.
    pub async fn pause(&self, by: By<'_>, kind: &str, name: &str) -> Result<(), Error> {
        self.views.request(include_str!("operate/pause.sql"), &[&by.who, &by.why, &kind, &name]).await.map(drop)
    }

    /// Lets a paused `topic`, `key` or `consumer` go on. Returns false if it was not paused.
    pub async fn resume(&self, by: By<'_>, kind: &str, name: &str) -> Result<bool, Error> {
        let rows = self.views.request(include_str!("operate/resume.sql"), &[&by.who, &by.why, &kind, &name]).await?;
        Ok(rows.first().is_some_and(|r| r.get(0)))
    }

    /// `retry` or `done`: what becomes of a parked or rejected record. Returns false if it is neither.
    pub async fn decide_record(&self, by: By<'_>, consumer: &str, key: &str, outcome: &str) -> Result<bool, Error> {
        let sql = include_str!("operate/decide_record.sql");
        let rows = self.views.request(sql, &[&by.who, &by.why, &consumer, &key, &outcome]).await?;
        Ok(rows.first().is_some_and(|r| r.get(0)))
    }

    /// Nobody waits for this consumer any more. Returns false if nobody did.
    pub async fn remove_consumer(&self, by: By<'_>, consumer: &str) -> Result<bool, Error> {
        let rows =
            self.views.request(include_str!("operate/remove_consumer.sql"), &[&by.who, &by.why, &consumer]).await?;
        Ok(rows.first().is_some_and(|r| r.get(0)))
    }

    /// This version answers to the plugin's name from now on.
    pub async fn deploy(&self, by: By<'_>, new: NewVersion<'_>) -> Result<(), Error> {
        let sql = include_str!("operate/deploy.sql");
        let NewVersion { name, digest, version, file, grants } = new;
        self.views.request(sql, &[&by.who, &by.why, &name, &digest, &version, &file, &grants]).await.map(drop)
    }

    /// An earlier version of a plugin answers again, with what it was granted then. Returns its digest.
    pub async fn roll_back_plugin(
        &self,
        by: By<'_>,
        name: &str,
        to: Earlier<'_>,
    ) -> Result<Result<String, NotBack>, Error> {
        let (version, deployment) = match to {
            Earlier::Before => (None, None),
            Earlier::Version(version) => (Some(version), None),
            Earlier::Deployment(id) => (None, Some(id)),
        };
        let sql = include_str!("operate/roll_back_plugin.sql");
        let rows = self.views.request(sql, &[&by.who, &by.why, &name, &version, &deployment]).await?;
        let row = rows.first().ok_or_else(|| Error::Retry("a rollback came without its row".into()))?;
        Ok(match row.get::<_, Option<String>>(0) {
            Some(digest) => Ok(digest),
            None if row.get::<_, i64>(1) > 1 => Err(NotBack::Several),
            None => Err(NotBack::Nowhere),
        })
    }

    /// Nobody answers to this name any more. Returns false if it was never deployed.
    pub async fn remove_plugin(&self, by: By<'_>, name: &str) -> Result<bool, Error> {
        let rows = self.views.request(include_str!("operate/remove_plugin.sql"), &[&by.who, &by.why, &name]).await?;
        Ok(!rows.is_empty())
    }
}

/// Whether a consumer that asks the gate is told that it has done this before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// It is told.
    Nothing,
    /// Its record is deleted: it runs again.
    Record,
}
