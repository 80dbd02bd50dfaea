//! `avouch dead`: dead messages, one by one or as groups of one failure.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::messages::{Extent, Filter, Layout, listed};
use super::operator::Operator;
use super::redo::{self, Which};
use super::table::{Cell, Fit, Table};
use super::times::shown;
use crate::store::views::{FailureGroup, GROUPED_MAX, Message};

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Dead {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
    /// Count them by consumer, topic and reason
    #[arg(long)]
    groups: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them, the newest first, a line for each consumer that they are dead for
    List(List),
    /// Count them by consumer, topic and reason
    Groups(Filter),
    /// Send them again, as their next generation
    Resend(Which),
    /// Give them up
    Discard(Which),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    extent: Extent,
}

/// What programs are told.
#[derive(Debug, Serialize)]
struct Groups {
    groups: Vec<FailureGroup>,
}

const COLUMNS: &[(&str, Fit)] = &[
    ("id", Fit::Whole),
    ("inserted", Fit::Whole),
    ("topic", Fit::Cut),
    ("key", Fit::Cut),
    ("consumer", Fit::Whole),
    ("failure", Fit::Cut),
];
const GROUPS: &[(&str, Fit)] = &[
    ("messages", Fit::Number),
    ("consumer", Fit::Whole),
    ("topic", Fit::Cut),
    ("since", Fit::Whole),
    ("failure", Fit::Cut),
];

pub async fn run(operator: &Operator, dead: Dead) -> anyhow::Result<ExitCode> {
    match dead.command {
        None if dead.groups => groups(operator, dead.list.filter).await,
        None => list(operator, dead.list).await,
        Some(Command::List(which)) => list(operator, which).await,
        Some(Command::Groups(filter)) => groups(operator, filter).await,
        Some(Command::Resend(which)) => redo::resend(operator, which).await,
        Some(Command::Discard(which)) => redo::discard(operator, which).await,
    }
}

async fn list(operator: &Operator, which: List) -> anyhow::Result<ExitCode> {
    let consumer = which.filter.consumer.clone();
    let rows_of = |m: &Message| rows(m, consumer.as_deref());
    let none = if which.filter.is_any() { "no dead message is like that" } else { "no message is dead" };
    let layout = Layout { columns: COLUMNS, none };
    listed(operator, which.filter.search(Some("dead".into())), which.extent, layout, rows_of).await
}

/// One for each consumer that it is dead for; one for a message that was never sent.
fn rows(message: &Message, of_consumer: Option<&str>) -> Vec<[Cell; 6]> {
    let row = |consumer: &str, failure: Option<&str>| {
        [
            message.id.to_string().into(),
            shown(message.created_at).into(),
            message.topic.as_str().into(),
            message.key.as_deref().into(),
            consumer.into(),
            failure.unwrap_or("no reason given").into(),
        ]
    };
    let dead_for = message.waits_for.iter().filter(|w| w.state == "dead");
    let asked = dead_for.filter(|w| of_consumer.is_none_or(|name| name == w.consumer));
    let rows: Vec<_> = asked.map(|w| row(&w.consumer, w.reason.as_deref())).collect();
    if rows.is_empty() { vec![row("-", message.reason.as_deref())] } else { rows }
}

async fn groups(operator: &Operator, filter: Filter) -> anyhow::Result<ExitCode> {
    if filter.key.is_some() || filter.since.is_some() || filter.until.is_some() {
        return super::tell::usage("groups are of all dead messages: ask by --consumer, --topic, --failure");
    }
    let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
    let mut groups = operator.store.failure_groups().await?;
    groups.retain(|g| {
        is(&filter.consumer, &g.consumer) && is(&filter.topic, &g.topic) && is(&filter.failure, &g.failure)
    });
    let groups = Groups { groups };
    operator.tell(&groups, || group_table(&groups.groups))?;
    Ok(ExitCode::SUCCESS)
}

fn group_table(groups: &[FailureGroup]) -> String {
    let mut table = Table::new(GROUPS);
    for g in groups {
        table.row([
            g.messages.into(),
            g.consumer.as_str().into(),
            g.topic.as_str().into(),
            shown(g.since).into(),
            g.failure.as_str().into(),
        ]);
    }
    if groups.is_empty() {
        return "no message is dead".to_owned();
    }
    let grouped: i64 = groups.iter().map(|group| group.messages).sum();
    let newest = format!("(the newest {GROUPED_MAX} dead messages; a group may have more)\n");
    table.take() + if grouped >= GROUPED_MAX { &newest } else { "" }
}
