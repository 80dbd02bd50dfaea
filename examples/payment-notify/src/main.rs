//! A payment service tells a merchant of each payment. The merchant's server is down, dies and is broken; then its books are ours.

mod clock;
mod merchant;
mod shop;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Payments and a merchant on embedded servers. Ends by itself with a summary; 0 means that the books balance.
#[derive(Debug, Parser)]
#[command(name = "avouch-example-payment-notify", version)]
struct Cli {
    /// Where everything is kept; what an earlier run left there is removed
    #[arg(long, default_value = ".avouch/payment-notify")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
    match runtime.and_then(|runtime| runtime.block_on(story::run(&cli.dir))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("payment-notify: {e:#}");
            ExitCode::FAILURE
        }
    }
}
