//! Requests that wait for one statement: a batch at a time, no two of one record in it. Pure.

use std::collections::{BTreeMap, VecDeque};

use super::request::Confirm;
use crate::idempotency::{Begin, Claim, Finish};

/// What concerns one record.
pub trait Keyed {
    /// The consumer and the key.
    fn place(&self) -> (&str, &str);
}

impl Keyed for Begin {
    fn place(&self) -> (&str, &str) {
        (&self.consumer, &self.key)
    }
}

impl Keyed for Claim {
    fn place(&self) -> (&str, &str) {
        self.begin.place()
    }
}

impl Keyed for Finish {
    fn place(&self) -> (&str, &str) {
        (&self.consumer, &self.key)
    }
}

impl Keyed for Confirm {
    fn place(&self) -> (&str, &str) {
        (&self.consumer, &self.id)
    }
}

/// A queue with at most one batch under way.
pub struct Lane<R, T> {
    waiting: VecDeque<(R, T)>,
    is_busy: bool,
}

impl<R, T: Keyed> Lane<R, T> {
    /// An empty one.
    pub fn new() -> Self {
        Self { waiting: VecDeque::new(), is_busy: false }
    }

    /// One more.
    pub fn push(&mut self, request: R, asked: T) {
        self.waiting.push_back((request, asked));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next batch, by consumer and key, if none is under way. Of several that concern one record the first goes, the
    /// others wait.
    pub fn next(&mut self, rows_max: usize) -> Option<Vec<(R, T)>> {
        if self.is_busy || self.waiting.is_empty() {
            return None;
        }
        let mut batch: BTreeMap<(String, String), (R, T)> = BTreeMap::new();
        let mut later = VecDeque::new();
        while let Some((request, asked)) = self.waiting.pop_front() {
            let (consumer, key) = asked.place();
            let place = (consumer.to_owned(), key.to_owned());
            if batch.len() >= rows_max || batch.contains_key(&place) {
                later.push_back((request, asked));
                if batch.len() >= rows_max {
                    break;
                }
            } else {
                batch.insert(place, (request, asked));
            }
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        self.is_busy = true;
        Some(batch.into_values().collect())
    }

    /// The batch has ended.
    pub fn ended(&mut self) {
        self.is_busy = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Of(&'static str);

    impl Keyed for Of {
        fn place(&self) -> (&str, &str) {
            ("c", self.0)
        }
    }

    fn requests(batch: Option<Vec<(u32, Of)>>) -> Vec<u32> {
        batch.into_iter().flatten().map(|(request, _)| request).collect()
    }

    #[test]
    fn batch_is_sorted_has_each_record_once_and_waits_for_the_one_before() {
        let mut lane = Lane::new();
        for (request, key) in [(1, "b"), (2, "a"), (3, "b"), (4, "c")] {
            lane.push(request, Of(key));
        }
        assert_eq!(requests(lane.next(10)), [2, 1, 4]);
        assert_eq!(requests(lane.next(10)), [0; 0]);
        lane.ended();
        assert_eq!(requests(lane.next(10)), [3]);
        lane.ended();
        assert_eq!((requests(lane.next(10)), lane.len()), (vec![], 0));
    }

    #[test]
    fn full_batch_leaves_the_rest_in_order() {
        let mut lane = Lane::new();
        for (request, key) in [(1, "a"), (2, "b"), (3, "c"), (4, "a"), (5, "d")] {
            lane.push(request, Of(key));
        }
        assert_eq!(requests(lane.next(2)), [1, 2]);
        lane.ended();
        assert_eq!(requests(lane.next(2)), [4, 3]);
        lane.ended();
        assert_eq!(requests(lane.next(2)), [5]);
    }
}
