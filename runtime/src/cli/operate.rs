//! `avouch pause|resume|dead|resend|discard`: what operators do, through the audited functions of the schema.

use std::process::ExitCode;

use clap::Args;
use tokio_postgres::Client;
use uuid::Uuid;

use super::inspect::escape;
use crate::store::Error;
use crate::store::connect::Target;

/// A topic or a key.
#[derive(Args, Debug)]
pub struct What {
    /// topic or key
    #[arg(value_parser = ["topic", "key"])]
    kind: String,
    /// Its name
    name: String,
}

/// A plain connection for a command.
pub async fn connect(target: &Target) -> Result<Client, Error> {
    let (client, connection) = target.connect().await?;
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "the command's connection ended");
        }
    });
    Ok(client)
}

pub async fn pause(target: &Target, what: &What, reason: Option<String>) -> anyhow::Result<()> {
    let client = connect(target).await?;
    client.execute("select avouch.pause($1, $2, $3)", &[&what.kind, &what.name, &reason]).await.map_err(Error::from)?;
    println!("{} {} is paused: its messages wait", what.kind, what.name);
    Ok(())
}

pub async fn resume(target: &Target, what: &What) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    let row = client.query_one("select avouch.resume($1, $2)", &[&what.kind, &what.name]).await.map_err(Error::from)?;
    if row.get(0) {
        println!("{} {} goes on", what.kind, what.name);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} {} was not paused; a key parked behind a dead message goes on after resend or discard of it",
        what.kind, what.name
    );
    Ok(ExitCode::FAILURE)
}

pub async fn dead(target: &Target, limit: i64) -> anyhow::Result<()> {
    let client = connect(target).await?;
    let rows = client
        .query(
            "select id, topic, coalesce(key, ''), to_char(created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), reason \
             from avouch.outbox where state = 'dead' order by seq limit $1",
            &[&limit],
        )
        .await
        .map_err(Error::from)?;
    for row in &rows {
        let (id, topic, key): (Uuid, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let (created, reason): (&str, Option<&str>) = (row.get(3), row.get(4));
        println!("{id}  {created}  {topic}  key {:?}\n  {}", escape(key), escape(reason.unwrap_or("no reason given")));
    }
    if rows.is_empty() {
        println!("no message is dead");
    }
    Ok(())
}

pub async fn resend(target: &Target, ids: &[Uuid]) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    let mut all = true;
    for id in ids {
        let done: bool = client.query_one("select avouch.resend($1)", &[id]).await.map_err(Error::from)?.get(0);
        println!("{id}: {}", if done { "is sent again" } else { "is not dead: nothing done" });
        all &= done;
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub async fn discard(target: &Target, ids: &[Uuid], reason: Option<String>) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    let mut all = true;
    for id in ids {
        let done: bool =
            client.query_one("select avouch.discard($1, $2)", &[id, &reason]).await.map_err(Error::from)?.get(0);
        println!("{id}: {}", if done { "is discarded" } else { "was sent already, or never was: nothing done" });
        all &= done;
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
