//! `avouch consumer list|remove`: who is waited for.

use std::process::ExitCode;

use clap::Subcommand;

use super::operate::connect;
use crate::broker::Broker;
use crate::config::Config;
use crate::store::Error;
use crate::store::connect::Target;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List consumers, and how much each has not finished
    List,
    /// Wait for a consumer no more, and delete its durable
    Remove {
        /// Its name
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

pub async fn run(config: &Config, target: &Target, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => list(target).await,
        Command::Remove { name, reason } => remove(config, target, &name, reason).await,
    }
}

async fn list(target: &Target) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    // Bounded, so that it answers at once however many wait.
    let sql = "select c.name, coalesce(c.stream, '-'), array_to_string(c.topics, ' '), c.is_required, c.receipt, \
               (select count(*) from (select from avouch.outbox o where o.awaiting is not null and c.id = any (o.awaiting) limit 10000) w), \
               (select count(*) from avouch.recovery r where r.consumer = c.id and r.state = 'dead'), \
               exists (select from avouch.hold h where h.kind = 'consumer' and h.name = c.name) \
               from avouch.consumer c order by c.name";
    let rows = client.query(sql, &[]).await.map_err(Error::from)?;
    for row in &rows {
        let (name, stream, topics): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let (is_required, receipt): (bool, &str) = (row.get(3), row.get(4));
        let (waiting, dead, is_paused): (i64, i64, bool) = (row.get(5), row.get(6), row.get(7));
        let role = if is_required { format!("required, receipt {receipt}") } else { "not waited for".into() };
        let more = if waiting == 10_000 { "10000 or more".to_owned() } else { waiting.to_string() };
        let paused = if is_paused { ", paused" } else { "" };
        println!("{name}  stream {stream}  topics {topics:?}  {role}{paused}\n  unfinished {more}, dead {dead}");
    }
    if rows.is_empty() {
        println!("no consumer is known: add [consumer.NAME] to the configuration of avouch run");
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(config: &Config, target: &Target, name: &str, reason: Option<String>) -> anyhow::Result<ExitCode> {
    if config.consumer.get(name).is_some_and(|c| !c.topics.is_empty()) {
        anyhow::bail!(
            "[consumer.{name}] is in the configuration, so a runtime would make it again: take its topics out there first"
        );
    }
    let client = connect(target).await?;
    let stream = client.query_opt("select stream from avouch.consumer where name = $1", &[&name]).await;
    let stream: Option<String> = stream.map_err(Error::from)?.and_then(|row| row.get(0));
    let removed = client.query_one("select avouch.remove_consumer($1, $2)", &[&name, &reason]).await;
    if !removed.map_err(Error::from)?.get::<_, bool>(0) {
        println!("{name} is not waited for: nothing done");
        return Ok(ExitCode::FAILURE);
    }
    println!("{name} is not waited for any more: what waited for it alone is consumed within seconds");
    let Some(stream) = stream else { return Ok(ExitCode::SUCCESS) };
    let (broker, _replies) = Broker::connect(&config.nats, "avouch cli").await?;
    let settings = config.stream.get(&stream).cloned().unwrap_or_default();
    match broker.stream(&stream, &settings, Vec::new()).delete_durable(name).await {
        Ok(true) => println!("its durable in stream {stream} is deleted"),
        Ok(false) => println!("it had no durable in stream {stream}"),
        Err(e) => println!("its durable could not be deleted ({e}): nats consumer rm {stream} {name}"),
    }
    Ok(ExitCode::SUCCESS)
}
