//! A private pair of servers with production durability, and the runtime on it.

use std::time::Duration;

use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::{OwnNats, OwnPostgres, Sync};
use avouch_tests::wait::until;
use tokio_postgres::Client;

/// Servers, a database with the schema, and a connection to it.
pub struct Stage {
    /// Default durability.
    _postgres: OwnPostgres,
    /// Default durability.
    pub nats: OwnNats,
    /// With the schema.
    pub database: Database,
    /// A superuser's connection.
    pub client: Client,
}

impl Stage {
    /// Fresh servers.
    pub async fn set() -> Self {
        let postgres = OwnPostgres::start(Sync::On).await;
        let nats = OwnNats::start().await;
        let database = Database::create_on(&postgres).await;
        let client = database.client().await;
        Self { _postgres: postgres, nats, database, client }
    }

    /// `avouch run` on these servers.
    pub async fn runtime(&self) -> Avouch {
        self.runtime_with("").await
    }

    /// The same with more configuration.
    pub async fn runtime_with(&self, more: &str) -> Avouch {
        let (database, nats) = (self.database.url(), self.nats.url());
        let config = format!("[source.main]\nurl = \"{database}\"\n[nats]\nurl = \"{nats}\"\n{more}");
        let avouch = Avouch::run(&config).await;
        avouch.wait_for_log("avouch runs", Duration::from_secs(30)).await;
        avouch
    }

    /// Inserts rows of 200 bytes with 100k keys, as one transaction each 50,000.
    pub async fn load(&self, rows: u32) -> anyhow::Result<()> {
        let mut left = rows;
        while left > 0 {
            let batch = left.min(50_000);
            self.client
                .execute(
                    "insert into avouch.outbox (topic, key, payload) \
                     select 'orders.created', (random() * 100000)::int::text, repeat('x', 200) from generate_series(1, $1)",
                    &[&i32::try_from(batch)?],
                )
                .await?;
            left -= batch;
        }
        Ok(())
    }

    /// How many rows wait.
    pub async fn waiting(&self) -> i64 {
        let sql = "select count(*) from (select from avouch.outbox where state = 'ready' limit 20001) x";
        self.client.query_one(sql, &[]).await.expect("the server runs").get(0)
    }

    /// Waits until nothing waits.
    pub async fn drained(&self) {
        until("the outbox to be drained", Duration::from_secs(300), async || (self.waiting().await == 0).then_some(()))
            .await;
    }

    /// Empties the table, so that the next part starts with a small one.
    pub async fn clear(&self) -> anyhow::Result<()> {
        self.client.batch_execute("truncate avouch.outbox").await?;
        self.client.batch_execute("checkpoint").await?;
        Ok(())
    }

    /// Where the write-ahead log stands, in bytes.
    pub async fn wal(&self) -> anyhow::Result<f64> {
        let row = self.client.query_one("select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8", &[]).await?;
        Ok(row.get(0))
    }
}
