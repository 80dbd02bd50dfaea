//! What the environment asks for: how long, with which seed, at which rate, and whether the broker forgets.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::schedule::Forgetting;

const SECONDS: u64 = 60;
/// Messages a second that two cores bear while everything is started again all the time.
const RATE_PER_S: u64 = 150;

/// Of one run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub run: Duration,
    pub seed: u64,
    pub rate_per_s: u64,
    pub forgetting: Forgetting,
    /// The only trouble there is to be; empty: all.
    pub only: String,
}

impl Settings {
    /// `CHAOS_SECONDS`, `CHAOS_SEED`, `CHAOS_RATE`, `CHAOS_FORGET`, `CHAOS_ONLY`.
    pub fn read() -> anyhow::Result<Self> {
        let seconds = number("CHAOS_SECONDS")?.unwrap_or(SECONDS);
        ensure!(seconds > 0, "CHAOS_SECONDS=0 runs nothing");
        Ok(Self {
            run: Duration::from_secs(seconds),
            seed: number("CHAOS_SEED")?.unwrap_or_else(|| RandomState::new().hash_one(seconds) % 1_000_000_000),
            rate_per_s: number("CHAOS_RATE")?.unwrap_or(RATE_PER_S),
            forgetting: if number("CHAOS_FORGET")?.unwrap_or(0) > 0 { Forgetting::On } else { Forgetting::Off },
            only: std::env::var("CHAOS_ONLY").unwrap_or_default(),
        })
    }
}

fn number(name: &str) -> anyhow::Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => text.parse().map(Some).with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(None),
    }
}
