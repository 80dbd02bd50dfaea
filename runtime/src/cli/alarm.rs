//! `avouch alarm test`: one alarm through each sink, and what became of it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::Subcommand;

use super::inspect::escape;
use crate::alarm::{Alarm, Config, Sink};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send a test alarm through each sink, or the one named, and say what happened
    Test {
        /// The sink's name: what `avouch config check` calls it
        name: Option<String>,
    },
}

/// Fails unless each of them takes it at the first try.
pub async fn test(sinks: &[Config], name: Option<String>, instance: &str) -> anyhow::Result<ExitCode> {
    let names: Vec<&str> = sinks.iter().map(Config::name).collect();
    let chosen = |config: &&Config| name.as_deref().is_none_or(|name| name == config.name());
    if sinks.is_empty() {
        bail!("no sink is configured: add [[alarm]] with a webhook, a command or smtp");
    }
    if !sinks.iter().any(|config| chosen(&config)) {
        bail!("there is no sink {}: there are {}", name.unwrap_or_default(), names.join(", "));
    }
    let mut code = ExitCode::SUCCESS;
    for config in sinks.iter().filter(chosen) {
        let begun = Instant::now();
        let result = match Sink::new(config) {
            Ok(sink) => sink.send(&Alarm::test(instance)).await,
            Err(e) => Err(e),
        };
        let told = match result {
            Ok(()) => format!("took it within {} ms", begun.elapsed().as_millis()),
            Err(e) => {
                code = ExitCode::FAILURE;
                format!("FAILED: {}", escape(&e.to_string()))
            }
        };
        println!("{} ({}) {told}", config.name(), config.sort());
    }
    Ok(code)
}
