//! A broken checker is asked seldom, and one transaction at a time, until it answers again. Pure.

use std::time::{Duration, Instant};

use crate::lifecycle::Backoff;

/// One checker's breaker.
#[derive(Debug)]
pub struct Breaker {
    backoff: Backoff,
    failures: u32,
    open_until: Option<Instant>,
}

/// One poisoned transaction among good ones is no broken checker.
const FAILURES_MAX: u32 = 5;

impl Breaker {
    /// Closed. Its pauses go from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { backoff: Backoff::new(first, max), failures: 0, open_until: None }
    }

    /// How many transactions may be claimed now.
    pub fn room(&self, now: Instant) -> usize {
        match self.open_until {
            None => usize::MAX,
            Some(until) if now >= until => 1,
            Some(_) => 0,
        }
    }

    /// A fault. Returns the pause if the breaker opens with this one.
    pub fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.failures += 1;
        if self.failures < FAILURES_MAX || self.open_until.is_some_and(|until| now < until) {
            return None;
        }
        let wait = self.backoff.failed();
        let was_closed = self.open_until.replace(now + wait).is_none();
        was_closed.then_some(wait)
    }

    /// An answer. Returns true if the breaker was open.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.backoff.succeeded();
        self.open_until.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_a_run_of_faults_lets_one_try_and_closes_with_an_answer() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut breaker = Breaker::new(second, second * 60);
        for _ in 1..FAILURES_MAX {
            assert_eq!(breaker.failed(now), None);
            assert_eq!(breaker.room(now), usize::MAX);
        }
        assert_eq!(breaker.failed(now), Some(second));
        assert_eq!([breaker.room(now), breaker.room(now + second)], [0, 1]);
        assert_eq!(breaker.failed(now), None, "of the same run");
        assert_eq!(breaker.failed(now + second), None, "it was open before: alarmed once");
        assert_eq!([breaker.room(now + second * 2), breaker.room(now + second * 3)], [0, 1]);
        assert!(breaker.succeeded() && !breaker.succeeded());
        assert_eq!(breaker.room(now), usize::MAX);
    }
}
