//! How often one endpoint may ask, and how much at a time: none takes what the others need. Its memory is bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::rate::Bucket;

/// Answers to one endpoint that are under way.
const AT_A_TIME: usize = 8;
/// Endpoints that are remembered: more are forgotten if nothing is under way to them.
const ENDPOINTS_MAX: usize = 10_000;
/// After what time it may be tried again, when too much is under way.
const BUSY: Duration = Duration::from_secs(1);

/// Questions of late.
#[derive(Debug)]
pub struct Turns {
    per_s: u32,
    of: HashMap<i32, Turn>,
}

#[derive(Debug)]
struct Turn {
    bucket: Bucket,
    room: Arc<Semaphore>,
}

impl Turns {
    /// So many a second of each.
    pub fn new(per_s: u32) -> Self {
        Self { per_s, of: HashMap::new() }
    }

    /// Room for an answer to this endpoint, or in how long there may be some.
    pub fn take(&mut self, endpoint: i32, now: Instant) -> Result<OwnedSemaphorePermit, Duration> {
        if self.of.len() >= ENDPOINTS_MAX && !self.of.contains_key(&endpoint) {
            self.of.retain(|_, turn| turn.room.available_permits() < AT_A_TIME);
        }
        let fresh = || Turn { bucket: Bucket::new(self.per_s, now), room: Arc::new(Semaphore::new(AT_A_TIME)) };
        let turn = self.of.entry(endpoint).or_insert_with(fresh);
        let room = Arc::clone(&turn.room).try_acquire_owned().map_err(|_| BUSY)?;
        turn.bucket.take(now).map_err(|at| at.saturating_duration_since(now))?;
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_has_so_many_answers_under_way_and_the_others_theirs() {
        let (mut turns, now) = (Turns::new(1_000), Instant::now());
        let mut under_way: Vec<_> = (0..AT_A_TIME).map(|_| turns.take(1, now).expect("there is room")).collect();
        assert_eq!(turns.take(1, now).expect_err("there is none"), BUSY);
        drop(turns.take(2, now).expect("another one has its own"));
        under_way.pop();
        drop(turns.take(1, now).expect("one has ended"));
    }

    #[test]
    fn one_endpoint_asks_so_often_and_the_others_as_often() {
        let (mut turns, now) = (Turns::new(10), Instant::now());
        drop(turns.take(1, now).expect("the first"));
        let wait = turns.take(1, now).expect_err("the second at once");
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        drop(turns.take(2, now).expect("another one"));
        drop(turns.take(1, now + wait + Duration::from_millis(1)).expect("a tenth of a second later"));
    }

    #[test]
    fn many_endpoints_are_not_all_remembered() {
        let (mut turns, now) = (Turns::new(1), Instant::now());
        let held = turns.take(-1, now).expect("the first");
        let endpoints = i32::try_from(ENDPOINTS_MAX).expect("it is small") * 3;
        for endpoint in 0..endpoints {
            drop(turns.take(endpoint, now).expect("each has its own"));
            assert!(turns.of.len() <= ENDPOINTS_MAX, "{}", turns.of.len());
        }
        assert!(turns.of.contains_key(&-1), "an answer to it is under way");
        drop(held);
    }
}
