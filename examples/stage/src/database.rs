//! Connections to the private Postgres.

use anyhow::Context as _;
use tokio_postgres::{Client, NoTls};

/// A connection that is served until its client is dropped.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("connecting to the private Postgres")?;
    tokio::spawn(async move {
        // The client sees the end of its connection too, as an error of its next statement.
        connection.await.ok();
    });
    Ok(client)
}

/// Whether this server has none but the roles that Postgres itself made. Below /root, Postgres keeps its data elsewhere, so
/// that removing a story's directory was not enough to forget the last one.
pub async fn is_fresh(url: &str) -> anyhow::Result<bool> {
    let sql = "select not exists (select from pg_roles where oid >= 16384)";
    Ok(connect(url).await?.query_one(sql, &[]).await?.get(0))
}
