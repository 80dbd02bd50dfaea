//! A saga: an order service and a stock service, killed at every point, and the compensation when there is no stock.

mod inbox;
mod shop;
mod stock;

mod accident;
mod books;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::accident::Accident;

/// Orders and stock on embedded servers. Ends by itself with a summary; 0 means that the books balance.
#[derive(Debug, Parser)]
#[command(name = "avouch-example-saga", version)]
struct Cli {
    /// Where everything is kept; what an earlier run left there is removed
    #[arg(long, default_value = ".avouch/saga")]
    dir: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the story starts as processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// The order service
    #[command(hide = true)]
    Shop {
        #[command(flatten)]
        servers: Servers,
        /// Ends the process there, as kill -9 would
        #[arg(long)]
        die_at: Option<shop::Step>,
    },
    /// The stock service
    #[command(hide = true)]
    Stock {
        #[command(flatten)]
        servers: Servers,
        /// Ends the process there, as kill -9 would
        #[arg(long)]
        die_at: Option<stock::Step>,
    },
}

#[derive(Args, Debug)]
struct Servers {
    #[arg(long)]
    database_url: String,
    #[arg(long)]
    nats_url: String,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|rt| rt.block_on(run(cli)));
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("saga: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.part {
        Some(Part::Shop { servers: Servers { database_url, nats_url }, die_at }) => {
            shop::run(&database_url, &nats_url, Accident(die_at)).await?;
        }
        Some(Part::Stock { servers: Servers { database_url, nats_url }, die_at }) => {
            stock::run(&database_url, &nats_url, Accident(die_at)).await?;
        }
        None => return Ok(if story::run(&cli.dir).await? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    }
    Ok(ExitCode::SUCCESS)
}
