//! `make bench`: what Avouch costs and gains, each figure beside a plain alternative measured in the same run.
//!
//! `BENCH_ONLY=producer,drain,e2e,latency,memory,rules,checkback,gate,track` chooses, `BENCH_SECONDS=n` sets how long each timed part runs, and
//! `BENCH_PAIRS=n` how many pairs. Figures go to the terminal and to `target/bench.json`.

mod bare;
mod drain;
mod gate;
mod latency;
mod load;
mod plain;
mod report;
mod rules;
mod stage;
mod track;

use std::time::Duration;

use anyhow::Context as _;

use crate::report::Report;

/// What the environment asks for.
struct Settings {
    only: Option<Vec<String>>,
    seconds: Option<u64>,
    pairs: Option<usize>,
}

impl Settings {
    fn read() -> anyhow::Result<Self> {
        let number = |name: &str| match std::env::var(name) {
            Ok(text) => text.parse::<u64>().map(Some).with_context(|| format!("{name}={text} is no number")),
            Err(_) => Ok(None),
        };
        let only = std::env::var("BENCH_ONLY").ok().map(|t| t.split(',').map(str::to_owned).collect());
        let pairs = number("BENCH_PAIRS")?.map(usize::try_from).transpose()?;
        Ok(Self { only, seconds: number("BENCH_SECONDS")?, pairs })
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|o| o == name))
    }

    fn time(&self, default_s: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(default_s).max(1))
    }

    fn pairs(&self, default: usize) -> usize {
        self.pairs.unwrap_or(default).max(1)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::read()?;
    let mut report = Report::default();
    if settings.wants("producer") {
        load::producer_cost(&mut report, settings.time(5), settings.pairs(7)).await?;
    }
    if settings.wants("drain") {
        drain::drain(&mut report, 500_000, settings.pairs(3)).await?;
    }
    if settings.wants("e2e") {
        load::end_to_end(&mut report, settings.time(10), settings.pairs(3)).await?;
    }
    if settings.wants("latency") {
        latency::latency(&mut report, settings.time(8), settings.pairs(3)).await?;
    }
    if settings.wants("memory") {
        drain::memory(&mut report, 1_000_000).await?;
    }
    if settings.wants("rules") {
        rules::calls(&mut report, settings.time(4), settings.pairs(5)).await?;
    }
    if settings.wants("checkback") {
        rules::checkback(&mut report, 100_000).await?;
    }
    if settings.wants("gate") {
        gate::gate(&mut report, settings.time(5), settings.pairs(3)).await?;
    }
    if settings.wants("track") {
        track::track(&mut report, settings.time(15), settings.pairs(3)).await?;
    }
    report.finish()
}
