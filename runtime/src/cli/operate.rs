//! `avouch pause|resume`: through the audited functions of the schema.

use std::process::ExitCode;

use clap::Args;
use tokio_postgres::Client;

use crate::store::Error;
use crate::store::connect::Target;

/// A topic, a key or a consumer.
#[derive(Args, Debug)]
pub struct What {
    /// topic, key or consumer
    #[arg(value_parser = ["topic", "key", "consumer"])]
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
