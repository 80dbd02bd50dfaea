//! `avouch doctor`: looks at the whole installation, and says what each oddity means and what to do. It changes nothing.

mod books;
mod broker;
mod bucket;
mod clock;
mod commits;
mod contract;
mod database;
mod dead;
mod durables;
mod endpoints;
mod finding;
mod gather;
mod holders;
mod overlap;
mod plugins;
mod settings;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::finding::{Area, Report, Severity};
use super::{Common, tell};
use crate::alarm;
use crate::config::Config;

/// How it is asked for.
#[derive(Args, Debug)]
pub struct Options {
    /// Warnings fail too
    #[arg(long)]
    strict: bool,
    /// How long connecting, and each question, may take
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    limit_ms: u64,
}

/// Looks, tells, and says with its exit code whether there is a problem.
pub async fn run(common: &Common, options: &Options) -> ExitCode {
    let report = match common.load() {
        Ok(config) => look(&config, Duration::from_millis(options.limit_ms)).await,
        Err(e) => {
            let remedy = "correct it; docs/operating.md lists every key";
            Report(vec![Area::Configuration.problem("configuration", "configuration", &format!("{e:#}"), remedy)])
        }
    };
    if let Err(e) = common.form().tell(&report.json(), || report.text()) {
        return tell::failed(&e);
    }
    let worst = if options.strict { Severity::Warning } else { Severity::Problem };
    if report.is_healthy(worst) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn look(config: &Config, limit: Duration) -> Report {
    let mut findings = settings::judge(config);
    for broken in
        [config.topics().err().map(|e| e.to_string()), alarm::sinks(&config.alarm, "").err().map(|e| format!("{e:#}"))]
    {
        let remedy = "correct it: avouch run refuses to start";
        findings.extend(broken.map(|why| Area::Configuration.problem("configuration", "configuration", &why, remedy)));
    }
    let mut books = Vec::new();
    for name in config.source.keys() {
        let (of_source, read) = gather::source(config, name, limit).await;
        findings.extend(of_source);
        books.extend(read.map(|read| (name, read)));
    }
    for (name, read) in &books {
        findings.extend(gather::plugins(config, name, read, limit).await);
    }
    findings.extend(gather::bindings(config, limit).await);
    let books: Vec<_> = books.into_iter().map(|(_, read)| read).collect();
    findings.extend(gather::nats(config, &books, limit).await);
    Report(findings).sorted()
}
