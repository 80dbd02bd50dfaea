//! `avouch tx …`: transactions in doubt, and what a person decides about them.

use std::process::ExitCode;

use clap::Subcommand;
use uuid::Uuid;

use super::inspect::escape;
use super::operate::connect;
use crate::store::Error;
use crate::store::connect::Target;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List undecided transactions: those in doubt first, then the oldest
    List {
        /// Only those of this checker
        #[arg(long)]
        checker: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
    /// The business action happened: their messages are released
    Commit(Which),
    /// It did not: their messages are cancelled, their compensations released
    Rollback(Which),
    /// Ask the checker again about transactions in doubt
    Recheck(Which),
}

#[derive(clap::Args, Debug)]
pub struct Which {
    /// Transaction ids
    #[arg(required_unless_present = "checker", conflicts_with = "checker")]
    ids: Vec<Uuid>,
    /// All transactions of this checker that are in doubt
    #[arg(long)]
    checker: Option<String>,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
}

/// So many are decided by one statement.
const BATCH: usize = 500;

pub async fn run(target: &Target, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { checker, limit } => list(target, checker, limit).await,
        Command::Commit(which) => {
            decide(target, which, "select avouch.settle($1, 'commit', 'operator', $2)", "committed").await
        }
        Command::Rollback(which) => {
            decide(target, which, "select avouch.settle($1, 'rollback', 'operator', $2)", "rolled back").await
        }
        Command::Recheck(which) => {
            decide(target, which, "select avouch.recheck($1) where $2::text[] is not null", "asked about again").await
        }
    }
}

async fn list(target: &Target, checker: Option<String>, limit: i64) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    let rows = client
        .query(
            "select id, checker, coalesce(ref, ''), state, extract(epoch from clock_timestamp() - created_at)::bigint, checks, \
             coalesce(reason, verdict, '') from avouch.tx where state in ('prepared', 'in_doubt') and ($1::text is null or checker = $1) \
             order by state, created_at limit $2",
            &[&checker, &limit],
        )
        .await
        .map_err(Error::from)?;
    for row in &rows {
        let (id, checker, reference, state): (Uuid, &str, &str, &str) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let (age_s, checks, said): (i64, i32, &str) = (row.get(4), row.get(5), row.get(6));
        println!("{id}  {state}  {checker}  ref {:?}  {age_s} s old, asked {checks} times", escape(reference));
        if !said.is_empty() {
            println!("  {}", escape(said));
        }
    }
    if rows.is_empty() {
        println!("no transaction is undecided");
    }
    Ok(ExitCode::SUCCESS)
}

async fn decide(target: &Target, which: Which, sql: &str, done: &str) -> anyhow::Result<ExitCode> {
    let client = connect(target).await?;
    let ids = match &which.checker {
        None => which.ids,
        Some(checker) => {
            let sql = "select id from avouch.tx where state = 'in_doubt' and checker = $1 order by created_at";
            client.query(sql, &[checker]).await.map_err(Error::from)?.iter().map(|r| r.get(0)).collect()
        }
    };
    let mut moved = 0;
    for batch in ids.chunks(BATCH) {
        let reasons = vec![which.reason.as_deref(); batch.len()];
        moved += client.query(sql, &[&batch, &reasons]).await.map_err(Error::from)?.len();
    }
    println!("{moved} of {} transactions are {done}", ids.len());
    if moved < ids.len() {
        println!("the others were decided before, or are being decided now: avouch tx list");
    }
    Ok(if moved == ids.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
