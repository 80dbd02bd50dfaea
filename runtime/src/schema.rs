//! Installs the schema, and says what of it is missing or different.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Client;

use crate::secret::Secret;
use crate::store::Error;
use crate::store::connect::{Connected, Target, Tls};

/// The file itself.
pub const SCHEMA: &str = include_str!("../../schema.sql");
/// What a fresh install looks like; `schema_check_knows_every_object` keeps it true.
const EXPECTED: &str = include_str!("store/expected.txt");
/// Prints the state of an install in the lines of `EXPECTED`.
pub const DESCRIBE: &str = include_str!("store/describe.sql");
/// The versions that this runtime serves: the one it installs, and the one before, for rolling restarts.
pub const SERVED: std::ops::RangeInclusive<i32> = 1..=1;

/// What differs from a fresh install.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Objects that are not there, or not as they should be.
    pub missing: Vec<String>,
    /// Objects that Avouch does not know, or the differing form of missing ones.
    pub unexpected: Vec<String>,
}

impl Difference {
    /// True when nothing differs.
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }

    /// The objects without which the runtime cannot keep its promises.
    pub fn fatal(&self) -> Vec<&str> {
        let vital = ["column ", "constraint ", "function ", "trigger ", "grant avouch_runtime "];
        let is_vital = |line: &&String| vital.iter().any(|v| line.starts_with(v));
        self.missing.iter().filter(is_vital).map(String::as_str).collect()
    }
}

/// Installs or upgrades the schema; the first install fixes the number of shards. Repeating it changes nothing.
pub async fn install(url: &str, shards: u16) -> anyhow::Result<()> {
    let target = Target::new(&Secret::new(url), &Tls::default(), "avouch schema", Duration::from_secs(10))?;
    install_at(&target, Some(shards)).await?;
    Ok(())
}

/// Installs or upgrades the schema of this database. Returns the number of shards that it has.
pub async fn install_at(target: &Target, shards: Option<u16>) -> Result<u16, Error> {
    let client = client_of(target.connect().await?);
    if let Some(shards) = shards {
        client.batch_execute(&format!("set avouch.shards = '{shards}'")).await?;
    }
    client.batch_execute("set client_min_messages = warning").await?;
    client.batch_execute(SCHEMA).await?;
    let shards: i32 = client.query_one("select shards from avouch.meta", &[]).await?.get(0);
    u16::try_from(shards).map_err(|e| Error::Fatal(format!("avouch.meta says {shards} shards: {e}")))
}

/// Compares what is installed with a fresh install. An error says what to do when it cannot be served at all.
pub async fn check(target: &Target) -> Result<Difference, Error> {
    compare(&client_of(target.connect().await?)).await
}

/// The same on a server where the runtime would not work, such as a replica.
pub async fn check_anywhere(target: &Target) -> Result<Difference, Error> {
    compare(&client_of(target.connect_to_any().await?)).await
}

async fn compare(client: &Client) -> Result<Difference, Error> {
    let row = client.query_one("select to_regclass('avouch.meta') is not null, current_database()::text", &[]).await?;
    let (installed, database): (bool, String) = (row.get(0), row.get(1));
    if !installed {
        return Err(Error::Fatal(format!("database {database} has no avouch schema: run `avouch schema install`")));
    }
    let version: i32 = client.query_one("select version from avouch.meta", &[]).await?.get(0);
    if version > *SERVED.end() {
        return Err(Error::Fatal(format!(
            "the avouch schema of database {database} is version {version}, this runtime serves up to {}: use the newer runtime",
            SERVED.end()
        )));
    }
    if version < *SERVED.start() {
        return Err(Error::Fatal(format!(
            "the avouch schema of database {database} is version {version}, this runtime serves from {}: run `avouch schema install`",
            SERVED.start()
        )));
    }
    if version < *SERVED.end() {
        return Ok(Difference::default());
    }
    let rows = client.query(DESCRIBE, &[]).await?;
    let found: BTreeSet<String> = rows.iter().map(|r| r.get(0)).collect();
    let expected: BTreeSet<String> = EXPECTED.lines().map(str::to_owned).collect();
    Ok(Difference {
        missing: expected.difference(&found).cloned().collect(),
        unexpected: found.difference(&expected).cloned().collect(),
    })
}

fn client_of((client, connection): Connected) -> Client {
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "the schema's connection ended");
        }
    });
    client
}
