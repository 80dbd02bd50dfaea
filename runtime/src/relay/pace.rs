//! How often an awake relay reads, and when it may fall asleep: by how fast rows came lately. Pure.

use std::time::{Duration, Instant};

/// The pace of reading.
#[derive(Debug)]
pub struct Pace {
    poll_max: Duration,
    /// Smoothed time between two rows.
    gap: Duration,
    last_rows: Instant,
    empty_reads: u32,
    next: Instant,
}

/// Reading more often than this costs more than it brings.
const POLL_MIN: Duration = Duration::from_millis(1);
/// Under load, rows are gathered this long: a full batch costs a tenth of single rows.
const GATHER_MAX: Duration = Duration::from_millis(10);
/// How many rows are gathered when they come faster than one in half a millisecond.
const GATHER_ROWS: u32 = 64;
/// From this many rows a read on, there is more to be had at once.
const BATCH_ROWS: usize = 256;
/// Rows that come more seldom than this each ring the bell: that costs less than staying awake for them.
const STEADY_GAP: Duration = Duration::from_micros(1500);

impl Pace {
    /// A pace for a relay that may wait at most `poll_max` between two reads while it is awake.
    pub fn new(poll_max: Duration, now: Instant) -> Self {
        Self { poll_max, gap: Duration::from_secs(1), last_rows: now, empty_reads: 0, next: now }
    }

    /// When to read next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Read at once.
    pub fn now(&mut self, now: Instant) {
        self.next = now;
        self.empty_reads = 0;
    }

    /// A read brought rows.
    pub fn rows(&mut self, count: usize, now: Instant) {
        let sample = now.duration_since(self.last_rows) / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        self.gap = if sample > self.gap * 16 { sample } else { (self.gap * 3 + sample) / 4 };
        self.last_rows = now;
        self.empty_reads = 0;
        let wait = if count >= BATCH_ROWS { Duration::ZERO } else { self.gather() };
        self.next = now + wait;
    }

    /// A read brought nothing.
    pub fn nothing(&mut self, now: Instant) {
        self.empty_reads = self.empty_reads.saturating_add(1);
        let wait = POLL_MIN * 2u32.saturating_pow(self.empty_reads.saturating_sub(8).min(16));
        self.next = now + wait.max(self.gather()).min(self.poll_max);
    }

    /// Nothing can be read now.
    pub fn wait(&mut self, now: Instant) {
        self.next = now + self.poll_max;
    }

    /// True when rows come so often that each one's ring would cost more than looking for them.
    pub fn is_steady(&self) -> bool {
        self.gap <= STEADY_GAP
    }

    /// True when it is cheaper to be woken than to look: nothing came for a few gaps.
    pub fn may_sleep(&self, now: Instant) -> bool {
        // With K held there is one more look, so seldom rows need no empty read before it.
        !self.is_steady()
            || (self.empty_reads > 0 && now.duration_since(self.last_rows) >= (self.gap * 8).max(POLL_MIN * 4))
    }

    /// The faster rows come, the longer they are gathered.
    fn gather(&self) -> Duration {
        let is_fast = self.gap < Duration::from_micros(500);
        if is_fast { (self.gap * GATHER_ROWS).clamp(POLL_MIN, GATHER_MAX) } else { POLL_MIN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_rows_let_it_sleep_at_once_and_a_steady_stream_keeps_it_awake() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(100), start);
        let second = start + Duration::from_secs(1);
        pace.rows(1, second);
        pace.nothing(second);
        assert!(pace.may_sleep(second));
        let mut at = second;
        for _ in 0..64 {
            at += Duration::from_millis(1);
            pace.rows(1, at);
        }
        pace.nothing(at + Duration::from_millis(1));
        assert!(!pace.may_sleep(at + Duration::from_millis(1)));
        assert!(pace.may_sleep(at + Duration::from_millis(40)));
    }

    #[test]
    fn full_batches_are_read_without_a_pause_and_silence_polls_ever_more_seldom() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_millis(100), start);
        pace.rows(4096, start);
        assert_eq!(pace.next(), start);
        for _ in 0..64 {
            pace.nothing(start);
        }
        assert_eq!(pace.next(), start + Duration::from_millis(100));
    }
}
