//! Whether a stream may be sent to. After trouble it is opened again, and tried with one message first. Pure.

use std::time::Instant;

use time::OffsetDateTime;

use crate::incarnation::Seen;
use crate::lifecycle::Backoff;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nothing is sent until then.
    Closed {
        until: Instant,
    },
    /// The broker is being asked for the stream.
    Opening,
    /// One message is sent, to see.
    Trial {
        seq: Option<i64>,
    },
    Open,
}

/// One stream's gate.
#[derive(Debug)]
pub struct Gate {
    state: State,
    /// How often the broker was asked for the stream.
    asked: u64,
    backoff: Backoff,
    stream: Option<i32>,
    /// What it was seen to be, and up to where it has stored since.
    created: Option<OffsetDateTime>,
    top: u64,
    trouble: Option<String>,
}

impl Gate {
    /// A gate that wants to be opened now.
    pub fn new(backoff: Backoff, now: Instant) -> Self {
        Self {
            state: State::Closed { until: now },
            asked: 0,
            backoff,
            stream: None,
            created: None,
            top: 0,
            trouble: None,
        }
    }

    /// The stream incarnation's number, once it was opened.
    pub fn stream(&self) -> Option<i32> {
        self.stream
    }

    /// Why it is not open.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The number of the question, if the stream should be asked for now; it then counts as being asked.
    pub fn wants_opening(&mut self, now: Instant) -> Option<u64> {
        if !matches!(self.state, State::Closed { until } if until <= now) {
            return None;
        }
        self.state = State::Opening;
        self.asked += 1;
        Some(self.asked)
    }

    /// True if this question is still open: what was answered to an earlier one says nothing any more.
    pub fn waits_for(&self, question: u64) -> bool {
        self.state == State::Opening && self.asked == question
    }

    /// When it wants to be opened next.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Closed { until } => Some(until),
            _ => None,
        }
    }

    /// The stream is there, and was created then.
    pub fn opened(&mut self, stream: i32, created: OffsetDateTime) {
        self.stream = Some(stream);
        self.created = Some(created);
        self.top = 0;
        self.state = State::Trial { seq: None };
    }

    /// It has stored a message that it did not have. Returns false if it had stored that far before: it is not what it was.
    pub fn stored(&mut self, stream_seq: u64) -> bool {
        let is_further = stream_seq > self.top;
        self.top = self.top.max(stream_seq);
        is_further
    }

    /// Up to where it has stored since it was opened, if it is open: what a look at the stream is compared with.
    pub fn top(&self) -> Option<u64> {
        matches!(self.state, State::Open | State::Trial { .. }).then_some(self.top)
    }

    /// True if the stream, as it was seen after `top` was stored, cannot be what was opened.
    pub fn is_another(&self, seen: Seen, top: u64) -> bool {
        self.created.is_some_and(|created| created != seen.created) || seen.last_seq < top
    }

    /// True if this message may be sent now.
    pub fn admits(&self) -> bool {
        matches!(self.state, State::Open | State::Trial { seq: None })
    }

    /// A message was sent.
    pub fn sent(&mut self, seq: i64) {
        if self.state == (State::Trial { seq: None }) {
            self.state = State::Trial { seq: Some(seq) };
        }
    }

    /// A message was answered by other than trouble. Returns true if that ended trouble.
    pub fn succeeded(&mut self) -> bool {
        let ended = matches!(self.state, State::Trial { .. });
        if ended {
            self.state = State::Open;
            self.backoff.succeeded();
        }
        self.trouble.take().is_some() && ended
    }

    /// The message on trial left the window without an answer: another may be tried.
    pub fn abandoned(&mut self, gone: impl Fn(i64) -> bool) {
        if let State::Trial { seq: Some(seq) } = self.state
            && gone(seq)
        {
            self.state = State::Trial { seq: None };
        }
    }

    /// Something keeps messages from the stream. Returns true if that is news.
    pub fn failed(&mut self, why: &str, now: Instant) -> bool {
        if matches!(self.state, State::Closed { .. }) {
            return false;
        }
        let wait = self.backoff.failed();
        self.state = State::Closed { until: now + wait };
        let is_news = self.trouble.as_deref() != Some(why);
        self.trouble = Some(why.to_owned());
        is_news
    }

    /// The connection is gone or back: whatever was the case, the stream must be asked for again.
    pub fn reset(&mut self, why: Option<&str>, now: Instant) {
        self.state = State::Closed { until: now };
        self.trouble = why.map(str::to_owned);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn gate(now: Instant) -> Gate {
        Gate::new(Backoff::new(Duration::from_millis(100), Duration::from_secs(1)), now)
    }

    #[test]
    fn after_trouble_one_message_is_tried_first() {
        let now = Instant::now();
        let mut gate = gate(now);
        assert!(!gate.admits());
        assert!(gate.wants_opening(now).is_some() && gate.wants_opening(now).is_none());
        gate.opened(7, OffsetDateTime::UNIX_EPOCH);
        assert!(gate.admits());
        gate.sent(1);
        assert!(!gate.admits());
        gate.succeeded();
        assert!(gate.admits());
        gate.sent(2);
        assert!(gate.admits());
    }

    #[test]
    fn answer_to_an_earlier_question_says_nothing() {
        let now = Instant::now();
        let mut gate = gate(now);
        let first = gate.wants_opening(now).expect("it is closed");
        assert!(gate.waits_for(first));
        gate.reset(None, now);
        assert!(!gate.waits_for(first), "nobody asks now");
        let second = gate.wants_opening(now).expect("it is closed again");
        assert!(!gate.waits_for(first) && gate.waits_for(second));
    }

    #[test]
    fn trouble_is_news_once_and_waits_longer_each_time() {
        let now = Instant::now();
        let mut gate = gate(now);
        let open = |gate: &mut Gate, at| {
            assert!(gate.wants_opening(at).is_some());
            gate.opened(7, OffsetDateTime::UNIX_EPOCH);
        };
        open(&mut gate, now);
        assert!(gate.failed("full", now));
        assert_eq!(gate.due(), Some(now + Duration::from_millis(100)));
        assert!(!gate.failed("full", now), "a second answer of the same burst");
        let later = now + Duration::from_secs(1);
        open(&mut gate, later);
        assert!(!gate.failed("full", later), "the same trouble is no news");
        assert_eq!(gate.due(), Some(later + Duration::from_millis(200)));
        open(&mut gate, later + Duration::from_secs(1));
        assert!(gate.succeeded(), "trouble ended");
        assert_eq!(gate.trouble(), None);
    }
}
