//! The demo: a shop's order service, `avouch run` and three consumers, all but one killed on the way, and books that must balance.

mod books;
mod facts;

mod consumer;
mod provider;
mod service;
mod shop;

mod invoices;
mod parcels;

mod accident;
mod carrier;
mod deliveries;
mod desk;
mod repeat;
mod settings;

mod view;

mod demo;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// An order service, the relay and three consumers on embedded servers. Ends with a balance; 0 means that it is even.
#[derive(Debug, Parser)]
#[command(name = "avouch-example-orders", version)]
struct Cli {
    /// How long the shop is open; 0 stays up until Ctrl-C
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Where everything is kept; what an earlier demo left there is removed
    #[arg(long, default_value = ".avouch/demo")]
    dir: PathBuf,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The order service, which the demo starts as a process of its own
    #[command(hide = true)]
    OrderService {
        /// As the login role order_service
        #[arg(long)]
        database_url: String,
    },
    /// The invoicing service, likewise
    #[command(hide = true)]
    Invoices {
        /// As the login role invoicing
        #[arg(long)]
        database_url: String,
        /// The private nats-server
        #[arg(long)]
        nats_url: String,
    },
    /// The shipping service, likewise
    #[command(hide = true)]
    Parcels {
        /// As the login role carrier
        #[arg(long)]
        carrier_url: String,
        /// The private nats-server
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
            eprintln!("demo: {e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal()?;
    match cli.part {
        Some(Part::OrderService { database_url }) => {
            service::run(&database_url, stop).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Part::Invoices { database_url, nats_url }) => {
            invoices::run(&database_url, &nats_url, stop).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Part::Parcels { carrier_url, nats_url }) => {
            parcels::run(&carrier_url, &nats_url, stop).await.map(|()| ExitCode::SUCCESS)
        }
        None => {
            let length = (cli.seconds > 0).then(|| Duration::from_secs(cli.seconds));
            let evenness = demo::run(&cli.dir, length, stop).await?;
            Ok(if evenness == books::Evenness::Even { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Cancelled by Ctrl-C, SIGTERM and a closed terminal. The second Ctrl-C leaves at once; the watchdogs end what runs.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let listen = |s: Signal| signal(SignalKind::from_raw(s as i32));
    let (mut int, mut term, mut hup) = (listen(Signal::SIGINT)?, listen(Signal::SIGTERM)?, listen(Signal::SIGHUP)?);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
        cancel.cancel();
        int.recv().await;
        std::process::exit(130);
    });
    Ok(stop)
}
