//! When the next try is made, and what an answer means. Pure.

use std::time::{Duration, SystemTime};

/// The pauses between tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// After the first try, after the second, ….
    pub pauses_s: Vec<u32>,
    /// Each pause is longer by at most so many hundredths of it, so that what failed together is not repeated together.
    pub jitter_percent: u8,
    /// A receiver may ask for no longer pause than this.
    pub retry_after_max: Duration,
}

/// What a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It has it not, or did not say so: after this pause at the earliest, if it names one.
    Retry(String, Option<Duration>),
    /// It will never take this one.
    GivenUp(String),
    /// It wants nothing any more.
    Gone(String),
    /// It was not asked, or its answer could not be read: that is no try.
    Postponed(String),
}

impl Schedule {
    /// How long after the try with this number, from 1 on, the next one is made; none: that was the last. `chance` is from 0 to 1.
    pub fn pause(&self, number: u32, wanted: Option<Duration>, chance: f64) -> Option<Duration> {
        let pause_s = *self.pauses_s.get(usize::try_from(number.checked_sub(1)?).ok()?)?;
        let jitter = f64::from(self.jitter_percent) / 100.0 * chance.clamp(0.0, 1.0);
        let pause = Duration::from_secs_f64(f64::from(pause_s) * (1.0 + jitter));
        // Never sooner than scheduled: a receiver that always says "in a second" would use up its tries in seconds.
        Some(pause.max(wanted.unwrap_or_default().min(self.retry_after_max)))
    }
}

/// What this status means.
pub fn meaning(status: u16, retry_after: Option<&str>, now: SystemTime) -> Outcome {
    match status {
        200..=299 => Outcome::Delivered,
        410 => Outcome::Gone("it answers 410: it wants nothing any more".to_owned()),
        300..=399 => Outcome::Retry(format!("it answers {status}: redirects are not followed, correct its url"), None),
        _ => Outcome::Retry(format!("it answers {status}"), retry_after.and_then(|text| seconds_or_date(text, now))),
    }
}

/// The value of `Retry-After`: seconds, or a date.
fn seconds_or_date(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn schedule() -> Schedule {
        Schedule { pauses_s: vec![60, 300], jitter_percent: 10, retry_after_max: Duration::from_secs(3600) }
    }

    #[test]
    fn pauses_are_those_of_the_schedule_and_then_it_ends() {
        let pause = |number, chance| schedule().pause(number, None, chance).map(|p| p.as_secs());
        assert_eq!([pause(1, 0.0), pause(2, 0.0), pause(3, 0.0)], [Some(60), Some(300), None]);
        assert_eq!([pause(1, 1.0), pause(1, 9.0), pause(0, 0.0)], [Some(66), Some(66), None]);
        assert_eq!(Schedule { pauses_s: Vec::new(), ..schedule() }.pause(1, None, 0.0), None);
    }

    #[test]
    fn receiver_may_ask_for_a_longer_pause_within_bounds_and_for_no_shorter_one() {
        let pause = |s| schedule().pause(1, Some(Duration::from_secs(s)), 0.0).map(|p| p.as_secs());
        assert_eq!([pause(1), pause(120), pause(1 << 40)], [Some(60), Some(120), Some(3600)]);
        assert_eq!(schedule().pause(3, Some(Duration::from_secs(9)), 0.0), None, "it adds no try");
    }

    #[test]
    fn status_tells_whether_it_was_delivered() {
        for status in [200, 202, 204, 299] {
            assert_eq!(meaning(status, None, NOW), Outcome::Delivered);
        }
        for status in [199, 301, 307, 400, 404, 409, 429, 500, 503, 599] {
            assert!(matches!(meaning(status, None, NOW), Outcome::Retry(_, None)), "{status}");
        }
        assert!(matches!(meaning(410, Some("5"), NOW), Outcome::Gone(_)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |text| match meaning(503, Some(text), NOW) {
            Outcome::Retry(_, after) => after.map(|a| a.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after(" Thu, 01 Jan 1970 00:02:00 GMT "), Some(120));
        for text in ["", "-1", "soon", "1e9", "99999999999999999999999"] {
            assert_eq!(after(text), None, "{text}");
        }
    }
}
