//! What the broker was seen to have settled: stretches that its consumer's floor passed while it still held them. What was
//! removed before it was seen settled is lost, for all that is known. Pure.

#[cfg(test)]
mod properties;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Stretches of one consumer.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    stretches: Vec<(u64, u64)>,
    /// What was seen lately.
    lately: VecDeque<Seen>,
}

/// A stretch as it was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    first: u64,
    last: u64,
    /// The last event when its grace was over: evidence comes no later.
    events: Option<u64>,
}

/// Stretches are only apart where the broker removed what was not settled: the oldest are forgotten.
const STRETCHES_MAX: usize = 64;

impl Settled {
    /// All from the first sequence that the stream holds up to the floor is settled now. It counts after `grace`, and once all events
    /// that came until then are applied: `events` are the last one that there is and the last one that is applied. Without any it
    /// does not count.
    pub fn observe(&mut self, first_seq: u64, floor: u64, now: Instant, grace: Duration, events: Option<(u64, u64)>) {
        if floor >= first_seq {
            match self.lately.back() {
                Some(seen) if (seen.first, seen.last) == (first_seq, floor) => {}
                _ => self.lately.push_back(Seen { at: now, first: first_seq, last: floor, events: None }),
            }
        }
        let Some((last_event, applied)) = events else { return };
        for seen in self.lately.iter_mut().filter(|s| now.saturating_duration_since(s.at) >= grace) {
            seen.events.get_or_insert(last_event);
        }
        while let Some(seen) = self.lately.front().copied().filter(|s| s.events.is_some_and(|e| e <= applied)) {
            self.lately.pop_front();
            self.add(seen.first, seen.last);
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

    const ALL: Option<(u64, u64)> = Some((0, 0));

    #[test]
    fn floor_counts_after_the_grace_and_what_was_removed_unseen_does_not() {
        let (mut settled, start, grace) = (Settled::default(), Instant::now(), Duration::from_secs(5));
        settled.observe(1, 10, start, grace, ALL);
        assert!(!settled.has(10));
        settled.observe(1, 20, start + grace, grace, ALL);
        assert!(settled.has(1) && settled.has(10) && !settled.has(11));
        // 21 to 29 were removed before the floor was seen to pass them.
        settled.observe(30, 40, start + grace * 2, grace, ALL);
        settled.observe(30, 40, start + grace * 3, grace, ALL);
        assert!(settled.has(20) && !settled.has(21) && !settled.has(29) && settled.has(30));
        assert_eq!(settled.to(), 40);
    }

    #[test]
    fn floor_does_not_count_before_all_that_was_told_until_then_is_applied() {
        let (mut settled, start, grace) = (Settled::default(), Instant::now(), Duration::from_secs(5));
        settled.observe(1, 10, start, grace, Some((100, 50)));
        settled.observe(1, 10, start + grace, grace, None);
        settled.observe(1, 10, start + grace, grace, Some((120, 119)));
        assert!(!settled.has(10), "event 120 came within the grace and is not applied");
        settled.observe(1, 10, start + grace, grace, Some((500, 120)));
        assert!(settled.has(10), "what came later says nothing about it");
    }

    #[test]
    fn floor_below_what_is_held_says_nothing() {
        let (mut settled, now) = (Settled::default(), Instant::now());
        settled.observe(50, 49, now, Duration::ZERO, ALL);
        settled.observe(50, 49, now, Duration::ZERO, ALL);
        assert!(!settled.has(49) && settled.to() == 0);
    }
}
