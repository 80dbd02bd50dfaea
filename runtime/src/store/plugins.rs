//! Deployed plugins: which version answers to each name, and its file.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Error, Store};

/// What answers to a plugin's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The name.
    pub name: String,
    /// The version; none if nobody answers any more.
    pub digest: Option<String>,
    /// What the operator grants, as JSON.
    pub grants: String,
    /// Counts deployments: a newer one has a greater number.
    pub number: i64,
}

/// A line of a plugin's log, or why it gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The plugin.
    pub plugin: String,
    /// Which version, if any was there.
    pub digest: Option<Arc<str>>,
    /// The transaction that it was asked about.
    pub tx_id: Option<Uuid>,
    /// `debug` to `error`, or `fault`.
    pub level: &'static str,
    /// What it says.
    pub line: String,
}

/// Calls of one version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginCalls {
    /// The plugin.
    pub name: String,
    /// Which version.
    pub digest: Arc<str>,
    /// How many.
    pub calls: u64,
    /// Of these: it said that it cannot tell.
    pub errors: u64,
    /// Of these: it trapped, ran into a limit, or gave no answer in time.
    pub faults: u64,
    /// How long all of them took.
    pub took: Duration,
    /// The longest.
    pub took_max: Duration,
}

impl Store {
    /// The current deployment of each name.
    pub async fn deployments(&self) -> Result<Vec<Deployment>, Error> {
        let rows = self.control.query(include_str!("deployments.sql"), &[]).await?;
        let deployment = |r: &tokio_postgres::Row| Deployment {
            name: r.get(0),
            digest: r.get(1),
            grants: r.get(2),
            number: r.get(3),
        };
        Ok(rows.iter().map(deployment).collect())
    }

    /// A version's file.
    pub async fn plugin_file(&self, name: &str, digest: &str) -> Result<Vec<u8>, Error> {
        let rows = self.claims.query(include_str!("plugin_file.sql"), &[&name, &digest]).await?;
        let row = rows.first().ok_or_else(|| Error::Fatal(format!("plugin {name} {digest} is not in the database")))?;
        Ok(row.get(0))
    }

    /// Keeps what plugins said, for `avouch plugin logs`.
    pub async fn log_plugins(&self, lines: &[LogLine]) -> Result<(), Error> {
        let plugins: Vec<&str> = lines.iter().map(|l| l.plugin.as_str()).collect();
        let digests: Vec<Option<&str>> = lines.iter().map(|l| l.digest.as_deref()).collect();
        let transactions: Vec<Option<Uuid>> = lines.iter().map(|l| l.tx_id).collect();
        let levels: Vec<&str> = lines.iter().map(|l| l.level).collect();
        let texts: Vec<&str> = lines.iter().map(|l| l.line.as_str()).collect();
        let sql = include_str!("log_plugins.sql");
        self.verdicts.execute(sql, &[&plugins, &digests, &transactions, &levels, &texts]).await.map(drop)
    }

    /// Adds calls of plugins, by version, to those of this hour.
    pub async fn use_plugins(&self, used: &[PluginCalls]) -> Result<(), Error> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let us = |took: Duration| i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let of = |figure: &dyn Fn(&PluginCalls) -> i64| used.iter().map(figure).collect::<Vec<i64>>();
        let names: Vec<&str> = used.iter().map(|u| u.name.as_str()).collect();
        let digests: Vec<&str> = used.iter().map(|u| &*u.digest).collect();
        let counts = [of(&|u| number(u.calls)), of(&|u| number(u.errors)), of(&|u| number(u.faults))];
        let times = [of(&|u| us(u.took)), of(&|u| us(u.took_max))];
        let sql = include_str!("use_plugins.sql");
        let [calls, errors, faults] = &counts;
        self.control.execute(sql, &[&names, &digests, calls, errors, faults, &times[0], &times[1]]).await.map(drop)
    }

    /// Deletes all but the newest lines, at most `rows` of them. Returns how many.
    pub async fn forget_logs(&self, keep: u64, rows: i64) -> Result<u64, Error> {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX);
        self.control.execute(include_str!("forget_logs.sql"), &[&keep, &rows]).await
    }
}
