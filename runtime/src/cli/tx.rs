//! `avouch tx …`: transactions in doubt, what happened to them, and what a person decides about them.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::bulk::{self, Care, EXAMPLES, Plan};
use super::history::{self, ShownTransaction};
use super::operator::Operator;
use super::table::{Cell, Fit, Table};
use super::tell::code;
use super::times::span;
use crate::store::views::Transaction;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List transactions: without --state the undecided ones, those in doubt first
    List(List),
    /// Show a transaction: each answer of its checker, by which version of the plugin, and who decided it
    Show {
        /// Its id
        id: Uuid,
    },
    /// The business action happened: their messages are released
    Commit(Which),
    /// It did not: their messages are cancelled, their compensations released
    Rollback(Which),
    /// Ask the checker again about transactions in doubt
    Recheck(Which),
}

#[derive(Args, Debug)]
pub struct List {
    /// Only those of this checker
    #[arg(long)]
    checker: Option<String>,
    /// Only those in this state; decided ones of lately
    #[arg(long)]
    state: Vec<State>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum State {
    Prepared,
    InDoubt,
    Committed,
    RolledBack,
}

#[derive(Args, Debug)]
pub struct Which {
    /// Transaction ids
    #[arg(required_unless_present = "checker", conflicts_with = "checker")]
    ids: Vec<Uuid>,
    /// All transactions of this checker that are in doubt
    #[arg(long)]
    checker: Option<String>,
    #[command(flatten)]
    care: Care,
}

/// What programs are told.
#[derive(Debug, Serialize)]
struct Listed {
    transactions: Vec<Transaction>,
}

#[derive(Clone, Copy)]
enum Act {
    Commit,
    Rollback,
    Recheck,
}

const ANSWER_ROWS: i64 = 500;
const COLUMNS: &[(&str, Fit)] = &[
    ("id", Fit::Whole),
    ("state", Fit::Whole),
    ("checker", Fit::Cut),
    ("reference", Fit::Cut),
    ("age", Fit::Whole),
    ("messages", Fit::Number),
    ("asked", Fit::Number),
    ("last answer", Fit::Cut),
];

pub async fn run(operator: &Operator, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(which) => list(operator, which).await,
        Command::Show { id } => show(operator, id).await,
        Command::Commit(which) => decide(operator, which, Act::Commit).await,
        Command::Rollback(which) => decide(operator, which, Act::Rollback).await,
        Command::Recheck(which) => decide(operator, which, Act::Recheck).await,
    }
}

async fn list(operator: &Operator, which: List) -> anyhow::Result<ExitCode> {
    let names = |states: &[State]| -> Vec<String> {
        states.iter().filter_map(|s| s.to_possible_value()).map(|v| v.get_name().to_owned()).collect()
    };
    // One after the other: each has an index of its own.
    let asked = if which.state.is_empty() {
        vec![names(&[State::InDoubt]), names(&[State::Prepared])]
    } else {
        vec![names(&which.state)]
    };
    let mut transactions = Vec::new();
    for states in asked {
        let left = which.limit - i64::try_from(transactions.len()).unwrap_or(which.limit);
        transactions.extend(operator.store.transactions(&states, which.checker.as_deref(), None, left).await?.0);
    }
    let listed = Listed { transactions };
    operator.tell(&listed, || table(&listed.transactions))?;
    Ok(ExitCode::SUCCESS)
}

fn table(transactions: &[Transaction]) -> String {
    let mut table = Table::new(COLUMNS);
    for tx in transactions {
        let said = tx.reason.as_deref().or(tx.verdict.as_deref()).unwrap_or_default();
        table.row([
            tx.id.to_string().into(),
            Cell::state(&tx.state),
            tx.checker.as_str().into(),
            tx.reference.as_deref().into(),
            span((OffsetDateTime::now_utc() - tx.created_at).as_seconds_f64()).into(),
            i64::from(tx.messages).into(),
            i64::from(tx.checks).into(),
            said.into(),
        ]);
    }
    if transactions.is_empty() { "no transaction is like that".to_owned() } else { table.take() }
}

async fn show(operator: &Operator, id: Uuid) -> anyhow::Result<ExitCode> {
    let (transaction, timeline) = (operator.store.transaction(id).await?, operator.store.tx_timeline(id).await?);
    if transaction.is_none() && timeline.is_empty() {
        anyhow::bail!("transaction {id} is not known here: it was retired, or stands in another database (--source)");
    }
    let shown = ShownTransaction { transaction, timeline };
    operator.tell(&shown, || history::of_transaction(&shown))?;
    Ok(ExitCode::SUCCESS)
}

impl Act {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Commit => ("commit", "committed"),
            Self::Rollback => ("rollback", "rolled back"),
            Self::Recheck => ("recheck", "asked about again"),
        }
    }
}

async fn decide(operator: &Operator, which: Which, act: Act) -> anyhow::Result<ExitCode> {
    let (action, done) = act.names();
    let ids = match &which.checker {
        None => which.ids,
        Some(checker) => in_doubt(operator, checker).await?,
    };
    if which.care.dry_run {
        return plan(operator, action, done, &ids).await;
    }
    if !which.care.allows(ids.len(), &format!("transactions to {action}"))? {
        return bulk::nothing_done();
    }
    let by = operator.by(which.care.why());
    let decide = async |ids: &[Uuid]| match act {
        Act::Commit | Act::Rollback => operator.store.decide_tx(by, action, ids).await,
        Act::Recheck => operator.store.recheck(by, ids).await,
    };
    let outcome = bulk::each(action, &ids, decide).await?;
    operator.tell(&outcome, || {
        let others = if outcome.not_done.is_empty() {
            ""
        } else {
            "the others were decided before, or are being decided now: avouch tx show ID\n"
        };
        format!("{} of {} transactions are {done}\n{others}", outcome.done, outcome.count)
    })?;
    Ok(code(outcome.not_done.is_empty()))
}

/// All that a person must decide, oldest first.
async fn in_doubt(operator: &Operator, checker: &str) -> anyhow::Result<Vec<Uuid>> {
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let (some, _) = operator.store.transactions(&["in_doubt".into()], Some(checker), before, ANSWER_ROWS).await?;
        ids.extend(some.iter().map(|tx| tx.id));
        match some.last() {
            Some(last) => before = Some(last.id),
            None => {
                ids.reverse();
                return Ok(ids);
            }
        }
    }
}

async fn plan(operator: &Operator, action: &str, done: &str, ids: &[Uuid]) -> anyhow::Result<ExitCode> {
    let mut examples = Vec::new();
    for id in ids.iter().take(EXAMPLES) {
        examples.extend(operator.store.transaction(*id).await?);
    }
    let plan = Plan { action, dry_run: true, count: ids.len(), examples };
    operator.tell(&plan, || {
        let examples = table(&plan.examples);
        format!("dry run, nothing is changed; {} transactions: each is {done}\n{examples}", plan.count)
    })?;
    Ok(ExitCode::SUCCESS)
}
