//! What the broker was seen to have settled: stretches that its consumer's floor passed while it still held them. What was
//! removed before it was seen settled is lost, for all that is known. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Stretches of one consumer.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    stretches: Vec<(u64, u64)>,
    /// What was seen lately, and when.
    lately: VecDeque<(Instant, u64, u64)>,
}

/// Stretches are only apart where the broker removed what was not settled: the oldest are forgotten.
const STRETCHES_MAX: usize = 64;

impl Settled {
    /// All from the first sequence that the stream holds up to the floor is settled now. It counts after `grace`.
    pub fn observe(&mut self, first_seq: u64, floor: u64, now: Instant, grace: Duration) {
        if floor >= first_seq {
            match self.lately.back() {
                Some((_, first, last)) if (*first, *last) == (first_seq, floor) => {}
                _ => self.lately.push_back((now, first_seq, floor)),
            }
        }
        while let Some((at, first, last)) = self.lately.front().copied() {
            if now.saturating_duration_since(at) < grace {
                break;
            }
            self.lately.pop_front();
            self.add(first, last);
        }
    }

    fn add(&mut self, first: u64, last: u64) {
        match self.stretches.last_mut() {
            Some((start, end)) if first <= *end + 1 && last >= *start => {
                *start = first.min(*start);
                *end = last.max(*end);
            }
            _ => self.stretches.push((first, last)),
        }
        if self.stretches.len() > STRETCHES_MAX {
            self.stretches.remove(0);
        }
    }

    /// True if this sequence was seen settled, long enough ago.
    pub fn has(&self, seq: u64) -> bool {
        self.stretches.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }

    /// The last one of them.
    pub fn to(&self) -> u64 {
        self.stretches.last().map_or(0, |(_, last)| *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_counts_after_the_grace_and_what_was_removed_unseen_does_not() {
        let (mut settled, start, grace) = (Settled::default(), Instant::now(), Duration::from_secs(5));
        settled.observe(1, 10, start, grace);
        assert!(!settled.has(10));
        settled.observe(1, 20, start + grace, grace);
        assert!(settled.has(1) && settled.has(10) && !settled.has(11));
        // 21 to 29 were removed before the floor was seen to pass them.
        settled.observe(30, 40, start + grace * 2, grace);
        settled.observe(30, 40, start + grace * 3, grace);
        assert!(settled.has(20) && !settled.has(21) && !settled.has(29) && settled.has(30));
        assert_eq!(settled.to(), 40);
    }

    #[test]
    fn floor_below_what_is_held_says_nothing() {
        let (mut settled, now) = (Settled::default(), Instant::now());
        settled.observe(50, 49, now, Duration::ZERO);
        settled.observe(50, 49, now, Duration::ZERO);
        assert!(!settled.has(49) && settled.to() == 0);
    }
}
