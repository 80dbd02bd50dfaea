//! A rate limit, of a topic or an endpoint: a token bucket that holds a tenth of a second. Pure.

use std::time::{Duration, Instant};

/// The tokens.
#[derive(Debug)]
pub struct Bucket {
    per_s: f64,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A bucket for so many a second.
    pub fn new(per_s: u32, now: Instant) -> Self {
        let per_s = f64::from(per_s.max(1));
        let burst = (per_s / 10.0).max(1.0);
        Self { per_s, burst, tokens: burst, filled_at: now }
    }

    /// Takes a token, or tells when there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let filled = now.duration_since(self.filled_at).as_secs_f64() * self.per_s;
        self.tokens = (self.tokens + filled).min(self.burst);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(now + Duration::from_secs_f64((1.0 - self.tokens) / self.per_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_the_rate_and_a_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(100, start);
        let mut taken = 0;
        for ms in 0..1000 {
            while bucket.take(start + Duration::from_millis(ms)).is_ok() {
                taken += 1;
            }
        }
        assert!((100..=110).contains(&taken), "{taken}");
    }

    #[test]
    fn empty_bucket_tells_when_the_next_token_comes() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1, start);
        assert!(bucket.take(start).is_ok());
        let next = bucket.take(start).expect_err("is empty");
        assert!(bucket.take(next + Duration::from_millis(1)).is_ok());
    }
}
