//! How many tries of one endpoint may be under way: few until it answers well, one at a time and seldom while it does not. Pure.
//!
//! So endpoints that hang hold a handful of places and no more, whatever waits for them, and those that work are not delayed.

use std::time::{Duration, Instant};

use crate::lifecycle::Backoff;
use crate::rate::Bucket;

/// The places of one endpoint.
#[derive(Debug)]
pub struct Slots {
    max: usize,
    /// Grows by one with each success, and is halved by each failure.
    window: usize,
    in_flight: usize,
    bucket: Option<Bucket>,
    failures: u32,
    backoff: Backoff,
    open_until: Option<Instant>,
}

/// An endpoint that is not known to work gets so many tries at a time.
const WINDOW_FIRST: usize = 2;
/// After so many failures in a row its breaker is open.
const FAILURES_MAX: u32 = 5;
/// Between two tries of an endpoint whose breaker is open: from here …
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// … to here. A receiver that comes back is noticed within this time, even if thousands wait for it.
const PAUSE_MAX: Duration = Duration::from_secs(15);

impl Slots {
    /// For so many tries at a time, and a second.
    pub fn new(max: usize, rate_per_s: Option<u32>, now: Instant) -> Self {
        let bucket = rate_per_s.map(|rate| Bucket::new(rate, now));
        let backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        Self { max, window: WINDOW_FIRST.min(max), in_flight: 0, bucket, failures: 0, backoff, open_until: None }
    }

    /// How many more tries may begin now.
    pub fn room(&self, now: Instant) -> usize {
        if self.open_until.is_some_and(|until| until > now) {
            return 0;
        }
        let window = if self.is_open() { 1 } else { self.window };
        window.saturating_sub(self.in_flight)
    }

    /// How many are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Its breaker is open.
    pub fn is_open(&self) -> bool {
        self.failures >= FAILURES_MAX
    }

    /// A try begins, or the time is told at which one may.
    pub fn begin(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now)?;
        }
        self.in_flight += 1;
        Ok(())
    }

    /// A try that had begun is not made.
    pub fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Its settings are others now.
    pub fn change(&mut self, max: usize, rate_per_s: Option<u32>, now: Instant) {
        (self.max, self.window) = (max, self.window.min(max));
        self.bucket = rate_per_s.map(|rate| Bucket::new(rate, now));
    }

    /// A try has ended. Returns whether the breaker opened with it.
    pub fn end(&mut self, is_success: bool, now: Instant) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        if is_success {
            (self.failures, self.open_until) = (0, None);
            self.window = (self.window + 1).min(self.max);
            self.backoff.succeeded();
            return false;
        }
        let was_open = self.is_open();
        self.failures = self.failures.saturating_add(1);
        self.window = (self.window / 2).max(1);
        if self.is_open() {
            self.open_until = Some(now + self.backoff.failed());
        }
        self.is_open() && !was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(slots: &mut Slots, now: Instant) -> usize {
        let mut begun = 0;
        while slots.room(now) > 0 && slots.begin(now).is_ok() {
            begun += 1;
        }
        begun
    }

    #[test]
    fn endpoint_that_works_gets_all_its_places_and_one_that_hangs_gets_few() {
        let now = Instant::now();
        let mut slots = Slots::new(8, None, now);
        assert_eq!(fill(&mut slots, now), 2, "nobody knows it yet");
        for _ in 0..20 {
            slots.end(true, now);
            fill(&mut slots, now);
        }
        assert_eq!((slots.in_flight(), slots.room(now)), (8, 0));
        for _ in 0..8 {
            slots.end(false, now);
        }
        assert!(slots.is_open() && slots.room(now) == 0, "its breaker is open");
        let later = now + PAUSE_MAX;
        assert_eq!(fill(&mut slots, later), 1, "one at a time");
        assert!(!slots.end(true, later), "it works again");
        assert!(fill(&mut slots, later) >= 1 && !slots.is_open());
    }

    #[test]
    fn pauses_of_an_open_breaker_grow_to_their_bound() {
        let mut now = Instant::now();
        let mut slots = Slots::new(8, None, now);
        for _ in 0..30 {
            now += PAUSE_MAX;
            assert_eq!(fill(&mut slots, now).min(1), 1, "it is tried again");
            while slots.in_flight() > 0 {
                slots.end(false, now);
            }
        }
        assert_eq!(slots.room(now + PAUSE_MAX - Duration::from_millis(1)), 0);
        assert_eq!(slots.room(now + PAUSE_MAX), 1);
    }

    #[test]
    fn rate_is_kept_whatever_there_is_room_for() {
        let now = Instant::now();
        let mut slots = Slots::new(100, Some(10), now);
        slots.window = 100;
        let begun: usize = (0..1_000).map(|ms| fill(&mut slots, now + Duration::from_millis(ms))).sum();
        assert!((9..=11).contains(&begun), "{begun}");
    }
}
