//! Try, confirm, cancel: transfers between two banks, whose coordinator is killed at each step, and books that must balance.

mod bank;
mod coordinator;

mod books;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::coordinator::{Step, Transfer};

/// Transfers between two banks on embedded servers. Ends by itself with a summary; 0 means that the books balance.
#[derive(Debug, Parser)]
#[command(name = "avouch-example-tcc", version)]
struct Cli {
    /// Only the transfers whose coordinator dies there; otherwise all
    #[arg(long)]
    die_at: Option<Step>,
    /// Where everything is kept; what an earlier run left there is removed
    #[arg(long, default_value = ".avouch/tcc")]
    dir: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the story starts as processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// Carries out one transfer
    #[command(hide = true)]
    Coordinator {
        #[arg(long)]
        database_url: String,
        #[arg(long)]
        nats_url: String,
        #[command(flatten)]
        transfer: Transfer,
    },
    /// One of the two banks
    #[command(hide = true)]
    Bank {
        #[arg(long)]
        name: String,
        #[arg(long)]
        database_url: String,
        #[arg(long)]
        nats_url: String,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|rt| rt.block_on(run(cli)));
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("tcc: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.part {
        Some(Part::Coordinator { database_url, nats_url, transfer }) => {
            coordinator::run(&database_url, &nats_url, transfer).await?;
        }
        Some(Part::Bank { name, database_url, nats_url }) => bank::run(&name, &database_url, &nats_url).await?,
        None => return Ok(if story::run(&cli.dir, cli.die_at).await? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    }
    Ok(ExitCode::SUCCESS)
}
