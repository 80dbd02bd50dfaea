//! What is configured of check-back, and of single checkers.

use serde::Deserialize;

/// `[checkback]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The longest pause between two looks for due transactions.
    pub poll_max_ms: u64,
    /// Transactions of one checker in memory.
    pub checker_rows_max: usize,
    /// Transactions in memory.
    pub rows_max: usize,
    /// Transactions settled by one statement.
    pub settle_rows_max: usize,
    /// How long a claim keeps other instances from asking.
    pub claim_ms: u64,
    /// The pause after in-progress, unless the plugin names one.
    pub in_progress_ms: u64,
    /// In progress for longer than this: exhausted.
    pub in_progress_age_max_ms: u64,
    /// The first pause after unknown; it doubles.
    pub unknown_first_ms: u64,
    /// The longest pause after unknown.
    pub unknown_max_ms: u64,
    /// Unknown so many times: exhausted.
    pub unknowns_max: u32,
    /// The first pause after a fault of the plugin; it doubles.
    pub broken_first_ms: u64,
    /// The longest pause after a fault of the plugin.
    pub broken_max_ms: u64,
}

/// With these pauses, fifteen unknowns take about 50 minutes.
impl Default for Config {
    fn default() -> Self {
        Self {
            poll_max_ms: 1_000,
            checker_rows_max: 256,
            rows_max: 1_024,
            settle_rows_max: 256,
            claim_ms: 60_000,
            in_progress_ms: 10_000,
            in_progress_age_max_ms: 86_400_000,
            unknown_first_ms: 1_000,
            unknown_max_ms: 300_000,
            unknowns_max: 15,
            broken_first_ms: 1_000,
            broken_max_ms: 60_000,
        }
    }
}

/// What happens when a checker was asked often enough.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum OnExhausted {
    /// The transaction is in doubt: a person decides, or the producer. The default: nothing is guessed.
    #[default]
    Park,
    /// It counts as committed.
    Commit,
    /// It counts as rolled back.
    Rollback,
}

/// `[checker.NAME]`: what one checker's transactions do differently.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckerConfig {
    /// A rollback verdict on a younger transaction counts as in-progress: its business transaction may be running unseen. 0
    /// where producers call `avouch.commit` inside the business transaction: there it is the fence.
    pub rollback_after_ms: u64,
    /// What happens when it was asked often enough.
    pub on_exhausted: OnExhausted,
}

/// A minute is longer than a business transaction should take.
impl Default for CheckerConfig {
    fn default() -> Self {
        Self { rollback_after_ms: 60_000, on_exhausted: OnExhausted::Park }
    }
}
