//! What a plugin's call may use: time, memory, imports, bytes.

use std::time::{Duration, Instant};

use serde::Deserialize;
use wasmtime::{StoreLimits, StoreLimitsBuilder};

/// `[rules]`: limits of every plugin call, and how many run at a time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Calls of one plugin at a time.
    pub concurrency_max: usize,
    /// Calls of all plugins at a time.
    pub calls_max: usize,
    /// How long a call may take, waiting included.
    pub deadline_ms: u64,
    /// How long a call may compute.
    pub cpu_ms: u64,
    /// Linear memory of a call.
    pub memory_bytes_max: usize,
    /// Calls of capabilities by one call.
    pub imports_max: u32,
    /// Bytes that capabilities give to one call.
    pub bytes_in_max: usize,
    /// Bytes that one call gives to capabilities, or has sent to an outside party.
    pub bytes_out_max: usize,
    /// Rows of one SQL query.
    pub sql_rows_max: usize,
    /// Log bytes of one call.
    pub log_bytes_max: usize,
    /// Messages of a transaction that its checker sees.
    pub messages_max: usize,
    /// A larger payload is not shown to a checker.
    pub payload_bytes_max: usize,
    /// How often an instance is used again before a fresh one is made: 0 is a fresh one for each call.
    pub reuse_calls_max: u32,
    /// Size of a plugin's file.
    pub file_bytes_max: usize,
    /// How long compiling a plugin may take.
    pub compile_timeout_ms: u64,
    /// Where compiled plugins are kept between starts; default: the user's cache directory.
    pub cache_dir: Option<std::path::PathBuf>,
}

/// A check is one query and a comparison: a thousandth of these limits in the usual case.
impl Default for Config {
    fn default() -> Self {
        Self {
            concurrency_max: 16,
            calls_max: 64,
            deadline_ms: 5_000,
            cpu_ms: 200,
            memory_bytes_max: 32 << 20,
            imports_max: 64,
            bytes_in_max: 1 << 20,
            bytes_out_max: 1 << 20,
            sql_rows_max: 1_000,
            log_bytes_max: 16 << 10,
            messages_max: 16,
            payload_bytes_max: 256 << 10,
            reuse_calls_max: 0,
            file_bytes_max: 32 << 20,
            compile_timeout_ms: 60_000,
            cache_dir: None,
        }
    }
}

/// Entries of all tables: a table of functions of a large plugin has some thousands.
const TABLE_ENTRIES_MAX: usize = 20_000;
/// A componentised core module has the module, two shims and adapters.
const INSTANCES_MAX: usize = 20;
const MEMORIES_MAX: usize = 2;
const TABLES_MAX: usize = 10;

/// How often the engine's clock ticks while a call runs.
pub const TICK: Duration = Duration::from_millis(1);

/// What one call has used of its limits.
#[derive(Debug)]
pub struct Meter {
    /// When a capability must have answered: a tenth of the call's time is left for the guest to make something of it.
    imports_until: Instant,
    ticks: u64,
    ticks_max: u64,
    imports: u32,
    bytes_in: usize,
    bytes_out: usize,
}

/// A limit that was reached; its text says which and how to raise it.
#[derive(Debug, thiserror::Error)]
#[error("{what}: rules.{setting} = {limit}")]
pub struct Exceeded {
    what: &'static str,
    setting: &'static str,
    limit: u64,
}

impl Meter {
    /// A call that begins now.
    pub fn new(config: &Config, now: Instant) -> Self {
        Self {
            imports_until: now + Duration::from_millis(config.deadline_ms) * 9 / 10,
            ticks: 0,
            ticks_max: config.cpu_ms.div_ceil(u64::try_from(TICK.as_millis()).unwrap_or(1)).max(1),
            imports: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// One tick of computing.
    pub fn tick(&mut self, config: &Config) -> Result<(), Exceeded> {
        self.ticks += 1;
        match self.ticks > self.ticks_max {
            true => Err(Exceeded { what: "it computed too long", setting: "cpu_ms", limit: config.cpu_ms }),
            false => Ok(()),
        }
    }

    /// One call of a capability that is given `bytes`.
    pub fn import(&mut self, config: &Config, bytes: usize) -> Result<(), Exceeded> {
        self.imports += 1;
        self.bytes_out = self.bytes_out.saturating_add(bytes);
        if self.imports > config.imports_max {
            let limit = u64::from(config.imports_max);
            return Err(Exceeded { what: "it called capabilities too often", setting: "imports_max", limit });
        }
        if self.bytes_out > config.bytes_out_max {
            let limit = as_u64(config.bytes_out_max);
            return Err(Exceeded { what: "it gave too many bytes to capabilities", setting: "bytes_out_max", limit });
        }
        Ok(())
    }

    /// A capability answers with `bytes`.
    pub fn answer(&mut self, config: &Config, bytes: usize) -> Result<(), Exceeded> {
        self.bytes_in = self.bytes_in.saturating_add(bytes);
        if self.bytes_in > config.bytes_in_max {
            let limit = as_u64(config.bytes_in_max);
            return Err(Exceeded { what: "it was given too many bytes", setting: "bytes_in_max", limit });
        }
        Ok(())
    }

    /// How long a capability may take now.
    pub fn left(&self, now: Instant) -> Duration {
        self.imports_until.saturating_duration_since(now)
    }
}

/// wasmtime's own limits of a store.
pub fn store_limits(config: &Config) -> StoreLimits {
    StoreLimitsBuilder::new()
        .memory_size(config.memory_bytes_max)
        .memories(MEMORIES_MAX)
        .tables(TABLES_MAX)
        .table_elements(TABLE_ENTRIES_MAX)
        .instances(INSTANCES_MAX)
        .trap_on_grow_failure(true)
        .build()
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_named_when_it_is_reached() {
        let config = Config { cpu_ms: 2, imports_max: 2, bytes_out_max: 10, bytes_in_max: 10, ..Config::default() };
        let mut meter = Meter::new(&config, Instant::now());
        assert!(meter.tick(&config).is_ok() && meter.tick(&config).is_ok());
        assert!(meter.tick(&config).expect_err("the third").to_string().contains("rules.cpu_ms = 2"));
        assert!(meter.import(&config, 11).expect_err("too many").to_string().contains("bytes_out_max"));
        assert!(meter.answer(&config, 11).expect_err("too many").to_string().contains("bytes_in_max"));
        assert!(meter.import(&config, 0).is_err());
        assert!(meter.import(&config, 0).expect_err("the third").to_string().contains("imports_max"));
    }
}
