//! A broken checker is asked seldom, and one transaction at a time, until it answers again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::lifecycle::Backoff;
use crate::rules::{Fault, Verdict};

/// Those of all checkers.
pub struct Breakers {
    pauses: (Duration, Duration),
    of: HashMap<String, Breaker>,
}

impl Breakers {
    /// All closed. Pauses go from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { pauses: (first, max), of: HashMap::new() }
    }

    /// How many transactions of each may be claimed now; of others, as many as there are.
    pub fn rooms(&self, now: Instant) -> HashMap<String, usize> {
        self.of.iter().map(|(checker, breaker)| (checker.clone(), breaker.room(now))).collect()
    }

    /// Cancelled when this checker's breaker opens: what waits for its turn until then is not asked.
    pub fn off(&mut self, checker: &str) -> CancellationToken {
        self.breaker(checker).off.clone()
    }

    /// Counts an answer. Returns the pause if its checker's breaker opens with it.
    pub fn answered(&mut self, checker: &str, verdict: &Result<Verdict, Fault>, now: Instant) -> Option<Duration> {
        let breaker = self.breaker(checker);
        match verdict {
            Err(Fault::Missing | Fault::Broken(_)) => breaker.failed(now),
            Ok(_) | Err(Fault::Transient(_) | Fault::Permanent(_)) => {
                if breaker.succeeded() {
                    tracing::info!(checker, "a checker answers again");
                }
                None
            }
        }
    }

    /// Each checker, and whether its breaker is open.
    pub fn each(&self) -> impl Iterator<Item = (&str, bool)> {
        self.of.iter().map(|(checker, breaker)| (checker.as_str(), breaker.open_until.is_some()))
    }

    fn breaker(&mut self, checker: &str) -> &mut Breaker {
        let (first, max) = self.pauses;
        self.of.entry(checker.to_owned()).or_insert_with(|| Breaker::new(first, max))
    }
}

/// One checker's breaker. Pure.
#[derive(Debug)]
struct Breaker {
    backoff: Backoff,
    failures: u32,
    open_until: Option<Instant>,
    /// Ends the waiting of calls that were claimed while it was closed.
    off: CancellationToken,
}

/// One poisoned transaction among good ones is no broken checker.
const FAILURES_MAX: u32 = 5;

impl Breaker {
    /// Closed. Its pauses go from `first` to `max`.
    fn new(first: Duration, max: Duration) -> Self {
        Self { backoff: Backoff::new(first, max), failures: 0, open_until: None, off: CancellationToken::new() }
    }

    /// How many transactions may be claimed now.
    fn room(&self, now: Instant) -> usize {
        match self.open_until {
            None => usize::MAX,
            Some(until) if now >= until => 1,
            Some(_) => 0,
        }
    }

    /// A fault. Returns the pause if the breaker opens with this one.
    fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.failures += 1;
        if self.failures < FAILURES_MAX || self.open_until.is_some_and(|until| now < until) {
            return None;
        }
        let wait = self.backoff.failed();
        std::mem::take(&mut self.off).cancel();
        let was_closed = self.open_until.replace(now + wait).is_none();
        was_closed.then_some(wait)
    }

    /// An answer. Returns true if the breaker was open.
    fn succeeded(&mut self) -> bool {
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
        let waiting = breaker.off.clone();
        assert!(!waiting.is_cancelled());
        assert_eq!(breaker.failed(now), Some(second));
        assert!(waiting.is_cancelled() && !breaker.off.is_cancelled(), "the next try is not cut off");
        assert_eq!([breaker.room(now), breaker.room(now + second)], [0, 1]);
        assert_eq!(breaker.failed(now), None, "of the same run");
        assert_eq!(breaker.failed(now + second), None, "it was open before: alarmed once");
        assert_eq!([breaker.room(now + second * 2), breaker.room(now + second * 3)], [0, 1]);
        assert!(breaker.succeeded() && !breaker.succeeded());
        assert_eq!(breaker.room(now), usize::MAX);
    }
}
