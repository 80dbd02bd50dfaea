//! `avouch inbox …`: what consumers that ask before they act have recorded, and what a person decides about it.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::operator::Operator;
use super::table::{Cell, Fit, Table, facts};
use super::tell::code;
use super::times::{maybe, shown};
use crate::store::views::InboxRecord;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show one record
    Show(Record),
    /// List a consumer's records of what it has not finished
    List {
        /// The consumer
        consumer: String,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// Let a parked or rejected record run again; its message is sent again if it is dead
    Retry(Decision),
    /// A parked or rejected record counts as done
    Done(Decision),
}

#[derive(Args, Debug)]
pub struct Record {
    /// The consumer
    consumer: String,
    /// The message's id, or the key that a plugin derived
    key: String,
}

#[derive(Args, Debug)]
pub struct Decision {
    #[command(flatten)]
    record: Record,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listed {
    records: Vec<InboxRecord>,
}

#[derive(Debug, Serialize)]
struct Decided<'a> {
    action: String,
    consumer: &'a str,
    key: &'a str,
    done: bool,
}

const COLUMNS: &[(&str, Fit)] = &[
    ("key", Fit::Whole),
    ("state", Fit::Whole),
    ("attempts", Fit::Number),
    ("changed", Fit::Whole),
    ("until", Fit::Whole),
    ("why", Fit::Cut),
];

pub async fn run(operator: &Operator, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Show(record) => show(operator, &record).await,
        Command::List { consumer, limit } => list(operator, &consumer, limit).await,
        Command::Retry(what) => decide(operator, &what, "retry").await,
        Command::Done(what) => decide(operator, &what, "done").await,
    }
}

async fn show(operator: &Operator, of: &Record) -> anyhow::Result<ExitCode> {
    let Some(record) = operator.store.inbox_record(&of.consumer, &of.key).await? else {
        anyhow::bail!(
            "consumer {} has no record of {:?} in the database: it never asked, it is not known (avouch consumers list), or its \
             records stand in a bucket ([inbox] store = \"kv\")",
            of.consumer,
            of.key
        );
    };
    operator.tell(&record, || {
        let r = &record;
        facts(&[
            ("consumer", r.consumer.clone()),
            ("key", r.key.clone()),
            ("state", r.state.clone()),
            ("why", r.reason.clone().unwrap_or_default()),
            ("attempts", r.attempts.to_string()),
            ("until", maybe(r.until)),
            ("version", r.version.map_or_else(String::new, |v| v.to_string())),
            ("message", r.message_id.map_or_else(String::new, |id| id.to_string())),
            ("begun", shown(r.created_at)),
            ("changed", shown(r.changed_at)),
        ])
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(operator: &Operator, consumer: &str, limit: i64) -> anyhow::Result<ExitCode> {
    let listed = Listed { records: operator.store.unfinished_records(consumer, limit).await? };
    operator.tell(&listed, || table(&listed.records))?;
    Ok(ExitCode::SUCCESS)
}

/// A table of these records.
pub fn table(records: &[InboxRecord]) -> String {
    let mut table = Table::new(COLUMNS);
    for r in records {
        table.row([
            r.key.as_str().into(),
            Cell::state(&r.state),
            i64::from(r.attempts).into(),
            shown(r.changed_at).into(),
            maybe(r.until).into(),
            r.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    if records.is_empty() { "no record: nothing unfinished was begun".to_owned() } else { table.take() }
}

async fn decide(operator: &Operator, what: &Decision, outcome: &str) -> anyhow::Result<ExitCode> {
    let Record { consumer, key } = &what.record;
    let done = operator.store.decide_record(operator.by(what.reason.as_deref()), consumer, key, outcome).await?;
    let decided = Decided { action: format!("inbox {outcome}"), consumer, key, done };
    operator.tell(&decided, || {
        let key = super::tell::escape(key);
        match (done, outcome) {
            (true, "retry") => format!("{consumer} {key}: runs again when it is asked for"),
            (true, _) => format!("{consumer} {key}: counts as done"),
            (false, _) => format!("{consumer} {key}: neither parked nor rejected: nothing done"),
        }
    })?;
    Ok(code(done))
}
