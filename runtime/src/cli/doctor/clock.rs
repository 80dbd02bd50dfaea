//! How far a server's clock may be from this machine's.

use std::time::{SystemTime, UNIX_EPOCH};

use super::finding::{Area, Finding};

/// A server's clock as it was seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// By so much it is ahead; negative: behind.
    pub ahead_ms: i64,
    /// The answer took twice as long: nearer it cannot be told.
    pub within_ms: i64,
}

/// Expiry, windows of duplicates and log lines of several machines are compared by eye and by the second.
const AHEAD_WARNING_MS: i64 = 2_000;
/// What is kept for minutes is kept for none, or twice.
const AHEAD_PROBLEM_MS: i64 = 60_000;

impl Clock {
    /// What the server's clock showed between two looks at ours.
    pub fn seen(before_ms: i64, server_ms: i64, after_ms: i64) -> Self {
        let within_ms = (after_ms - before_ms).max(0) / 2;
        Self { ahead_ms: server_ms - before_ms - within_ms, within_ms }
    }
}

/// This machine's clock, in ms since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What follows from a server's clock.
pub fn judge(area: Area, clock: Clock) -> Finding {
    let apart = clock.ahead_ms.abs().saturating_sub(clock.within_ms);
    let (side, ms) = (if clock.ahead_ms < 0 { "behind" } else { "ahead of" }, clock.ahead_ms.abs());
    let meaning = format!(
        "it is {ms} ms {side} this machine's: retention, windows of duplicates and delays follow different clocks"
    );
    let remedy = "let chrony or another NTP client set the clock of both machines";
    match apart {
        apart if apart > AHEAD_PROBLEM_MS => area.problem("clock", "clock", &meaning, remedy),
        apart if apart > AHEAD_WARNING_MS => area.warning("clock", "clock", &meaning, remedy),
        _ => area.fine("clock", "clock", &format!("within {} ms of this machine's", ms.max(clock.within_ms))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Severity;

    #[test]
    fn clock_that_is_far_off_is_told_and_a_slow_answer_is_no_skew() {
        let severity = |server_ms, after_ms| judge(Area::Nats, Clock::seen(100_000, server_ms, after_ms)).severity;
        assert_eq!(severity(100_005, 100_010), Severity::Ok);
        assert_eq!(severity(103_000, 106_000), Severity::Ok, "it took six seconds");
        assert_eq!(severity(105_000, 106_000 + 200_000), Severity::Ok);
        assert_eq!(severity(103_000, 100_010), Severity::Warning);
        assert_eq!(severity(97_000, 100_010), Severity::Warning);
        assert_eq!(severity(20_000, 100_010), Severity::Problem);
        let told = judge(Area::Postgres, Clock::seen(0, -90_000, 0));
        assert!(told.meaning.contains("90000 ms behind"), "{told:?}");
    }
}
