//! `avouch consumers …`: who is waited for, for how much, and what a person does about them.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::bulk::{self, Consent};
use super::holds::{self, Kind, What};
use super::inbox;
use super::operator::Operator;
use super::table::{Cell, Fit, Table, Tone, facts, heading};
use super::tell::code;
use super::times::span;
use crate::broker::Broker;
use crate::config::Config;
use crate::store::views::{Consumer, InboxRecord};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List consumers, and how much each has not finished
    List,
    /// Show a consumer, and its records of what it has not finished
    Show {
        /// Its name
        name: String,
    },
    /// Hold it back: it gets nothing until it is resumed
    Pause {
        /// Its name
        name: String,
        /// Why, for `avouch status` and the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a paused consumer go on
    Resume {
        /// Its name
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Wait for a consumer no more, and delete its durable
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        consent: Consent,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Serialize)]
struct Listed {
    consumers: Vec<Consumer>,
}

#[derive(Debug, Serialize)]
struct Shown {
    consumer: Consumer,
    records: Vec<InboxRecord>,
}

#[derive(Debug, Serialize)]
struct Removed<'a> {
    action: &'a str,
    consumer: &'a str,
    done: bool,
    /// deleted, none, or failed.
    durable: &'a str,
}

/// The store counts no further.
const COUNT_MAX: i64 = 10_000;
const RECORDS: i64 = 50;
const COLUMNS: &[(&str, Fit)] = &[
    ("consumer", Fit::Whole),
    ("stream", Fit::Whole),
    ("topics", Fit::Cut),
    ("waited for", Fit::Whole),
    ("unfinished", Fit::Number),
    ("oldest", Fit::Whole),
    ("to send again", Fit::Number),
    ("dead", Fit::Number),
];

pub async fn run(config: &Config, operator: &Operator, command: Command) -> anyhow::Result<ExitCode> {
    let what = |name| What { kind: Kind::Consumer, name };
    match command {
        Command::List => list(operator).await,
        Command::Show { name } => show(operator, &name).await,
        Command::Pause { name, reason } => holds::pause(operator, &what(name), reason.as_deref()).await,
        Command::Resume { name, reason } => holds::resume(operator, &what(name), reason.as_deref()).await,
        Command::Remove { name, consent, reason } => remove(config, operator, &name, consent, reason.as_deref()).await,
    }
}

async fn list(operator: &Operator) -> anyhow::Result<ExitCode> {
    let listed = Listed { consumers: operator.store.consumers_shown().await? };
    operator.tell(&listed, || table(&listed.consumers))?;
    Ok(ExitCode::SUCCESS)
}

fn table(consumers: &[Consumer]) -> String {
    let mut table = Table::new(COLUMNS);
    for c in consumers {
        let dead = Cell::from(counted(c.dead)).toned(if c.dead > 0 { Tone::Bad } else { Tone::Plain });
        table.row([
            c.name.as_str().into(),
            c.stream.as_deref().into(),
            c.topics.join(" ").into(),
            role(c).into(),
            unfinished(c).into(),
            c.oldest_s.map_or_else(|| "-".to_owned(), span).into(),
            counted(c.pending).into(),
            dead,
        ]);
    }
    if consumers.is_empty() { none() } else { table.take() }
}

fn none() -> String {
    "no consumer is known: add [consumer.NAME] to the configuration of avouch run".to_owned()
}

fn role(c: &Consumer) -> String {
    let role = if c.is_required { format!("by {}", c.receipt) } else { "no".to_owned() };
    if c.is_paused { format!("{role}, paused") } else { role }
}

fn unfinished(c: &Consumer) -> String {
    if c.is_least && c.unfinished <= COUNT_MAX { format!("{}+", c.unfinished) } else { counted(c.unfinished) }
}

fn counted(count: i64) -> String {
    if count > COUNT_MAX { format!("{COUNT_MAX}+") } else { count.to_string() }
}

async fn show(operator: &Operator, name: &str) -> anyhow::Result<ExitCode> {
    let Some(consumer) = find(operator, name).await? else { return Err(unknown(name)) };
    let records = operator.store.unfinished_records(name, RECORDS).await?;
    let shown = Shown { consumer, records };
    operator.tell(&shown, || {
        let c = &shown.consumer;
        facts(&[
            ("consumer", c.name.clone()),
            ("stream", c.stream.clone().unwrap_or_default()),
            ("topics", c.topics.join(" ")),
            ("waited for", role(c)),
            ("unfinished", unfinished(c)),
            ("oldest", c.oldest_s.map_or_else(String::new, span)),
            ("send again", counted(c.pending)),
            ("dead", counted(c.dead)),
            ("lease", format!("{} ms", c.lease_ms)),
            ("attempts", format!("at most {}", c.attempts_max)),
        ]) + &heading("Its records of what it has not finished")
            + &inbox::table(&shown.records)
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn find(operator: &Operator, name: &str) -> anyhow::Result<Option<Consumer>> {
    Ok(operator.store.consumers_shown().await?.into_iter().find(|c| c.name == name))
}

fn unknown(name: &str) -> anyhow::Error {
    anyhow::anyhow!("no consumer {name} is known here: avouch consumers list")
}

async fn remove(
    config: &Config,
    operator: &Operator,
    name: &str,
    consent: Consent,
    why: Option<&str>,
) -> anyhow::Result<ExitCode> {
    if config.consumer.get(name).is_some_and(|c| !c.topics.is_empty()) {
        anyhow::bail!(
            "[consumer.{name}] is in the configuration, so a runtime would make it again: take its topics out there first"
        );
    }
    let Some(consumer) = find(operator, name).await? else { return Err(unknown(name)) };
    let lost = format!(
        "{} messages that {name} has not finished count as consumed if nobody else lacks them",
        unfinished(&consumer)
    );
    if !consent.allows_removal(consumer.to_confirm(), &lost)? {
        return bulk::nothing_done();
    }
    let done = operator.store.remove_consumer(operator.by(why), name).await?;
    let (durable, told) = match &consumer.stream {
        Some(stream) if done => delete_durable(config, name, stream).await?,
        _ => ("none", String::new()),
    };
    let removed = Removed { action: "remove consumer", consumer: name, done, durable };
    operator.tell(&removed, || match done {
        true => {
            format!("{name} is not waited for any more: what waited for it alone is consumed within seconds\n{told}")
        }
        false => format!("{name} is not waited for: nothing done"),
    })?;
    Ok(code(done && durable != "failed"))
}

/// What became of it, for programs and for people.
async fn delete_durable(config: &Config, name: &str, stream: &str) -> anyhow::Result<(&'static str, String)> {
    let (broker, _replies) = Broker::connect(&config.nats, "avouch cli").await?;
    let settings = config.stream.get(stream).cloned().unwrap_or_default();
    Ok(match broker.stream(stream, &settings, Vec::new()).delete_durable(name).await {
        Ok(true) => ("deleted", format!("its durable in stream {stream} is deleted")),
        Ok(false) => ("none", format!("it had no durable in stream {stream}")),
        Err(e) => ("failed", format!("its durable could not be deleted ({e}): nats consumer rm {stream} {name}")),
    })
}
