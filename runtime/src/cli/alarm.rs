//! `avouch alarm test`: one alarm through each sink, and what became of it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;
use clap::Subcommand;
use serde::Serialize;

use super::operator::Form;
use super::tell::{code, escape};
use crate::alarm::{Alarm, Config, Sink};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send a test alarm through each sink, or the one named, and say what happened
    Test {
        /// The sink's name: what `avouch config check` calls it
        name: Option<String>,
    },
}

/// What became of it at a sink.
#[derive(Debug, Serialize)]
struct Tried {
    sink: String,
    sort: &'static str,
    took_ms: u64,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Sinks {
    sinks: Vec<Tried>,
}

/// Fails unless each of them takes it at the first try.
pub async fn test(form: Form, sinks: &[Config], name: Option<String>, instance: &str) -> anyhow::Result<ExitCode> {
    let names: Vec<&str> = sinks.iter().map(Config::name).collect();
    let chosen = |config: &&Config| name.as_deref().is_none_or(|name| name == config.name());
    if sinks.is_empty() {
        bail!("no sink is configured: add [[alarm]] with a webhook, a command or smtp");
    }
    if !sinks.iter().any(|config| chosen(&config)) {
        bail!("there is no sink {}: there are {}", name.unwrap_or_default(), names.join(", "));
    }
    let mut tried = Sinks { sinks: Vec::new() };
    for config in sinks.iter().filter(chosen) {
        let begun = Instant::now();
        let result = match Sink::new(config) {
            Ok(sink) => sink.send(&Alarm::test(instance)).await,
            Err(e) => Err(e),
        };
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = result.err().map(|e| e.to_string());
        tried.sinks.push(Tried { sink: config.name().to_owned(), sort: config.sort(), took_ms, error });
    }
    form.tell(&tried, || tried.sinks.iter().map(readable).collect())?;
    Ok(code(tried.sinks.iter().all(|sink| sink.error.is_none())))
}

fn readable(tried: &Tried) -> String {
    let told = match &tried.error {
        None => format!("took it within {} ms", tried.took_ms),
        Some(e) => format!("FAILED: {}", escape(e)),
    };
    format!("{} ({}) {told}\n", tried.sink, tried.sort)
}
