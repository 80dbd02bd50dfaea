//! What comes back from the database and the broker, and what follows from it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::meters::Retry;
use super::streams::Opening;
use super::{Attention, Relay};
use crate::broker;
use crate::consumers::Tracked;
use crate::doorbell::Sleep;
use crate::incarnation::Seen;
use crate::killpoint::{self, Point};
use crate::lifecycle::Death;
use crate::store::{Error, Owned};
use crate::trace::trace_id;
use crate::window::{Admitted, Ask, Holds, Mark, Reading};

/// A finished piece of work.
pub enum Done {
    Read { asks: Vec<Ask>, took: Duration, result: Result<Reading, Error> },
    LookedBack { took: Duration, result: Result<Vec<(usize, u16, i64)>, Error> },
    Fetched { seq: i64, id: Uuid, result: Result<Option<Bytes>, Error> },
    Marked { marks: Vec<Mark>, version: i32, took: Duration, result: Result<u64, Error> },
    Buried { seq: i64, id: Uuid, class: Death, parked: Option<String>, result: Result<bool, Error> },
    Held { seq: i64, id: Uuid, stream: usize, stream_seq: u64, result: Result<bool, broker::Error> },
    Regenerated { seq: i64, id: Uuid, result: Result<bool, Error> },
    Opened { stream: usize, question: u64, result: Result<Opening, String> },
    Seen { stream: usize, top: u64, result: Result<Seen, broker::Error> },
    Requeued { owned: Vec<Owned>, to: i32, result: Result<u64, Error> },
    Released { result: Result<u64, Error> },
    Holds { burials: u64, result: Result<(Holds, Tracked), Error> },
    Slept { wish: u64, sleep: Sleep },
}

/// A look from the beginning that took long is repeated no sooner than this many times its length.
const SWEEP_PAUSE_FACTOR: u32 = 20;

/// With more rows than these in memory a relay that was rung stays awake.
const SELDOM_ROWS: usize = 64;

impl Relay {
    /// Takes one finished piece of work.
    pub(super) fn take(&mut self, done: Done) {
        match done {
            // After a failover another message may have its seq: the answer is about one that has left.
            Done::Fetched { seq, id, .. } if !self.window.has(seq, id) => self.fetching -= 1,
            Done::Held { seq, id, .. } | Done::Regenerated { seq, id, .. } if !self.window.has(seq, id) => {}
            Done::Read { asks, took, result } => self.read(&asks, took, result),
            Done::LookedBack { took, result } => self.looked_back(took, result),
            Done::Fetched { seq, id, result } => self.fetched(seq, id, result),
            Done::Marked { marks, version, took, result } => {
                self.meters.mark_seconds.record(took);
                self.marked(marks, version, result);
            }
            Done::Buried { seq, id, class, parked, result } => self.buried((seq, id), class, parked, result),
            Done::Held { seq, stream, stream_seq, result, .. } => self.held(seq, stream, stream_seq, result),
            Done::Regenerated { seq, id, result } => self.regenerated(seq, id, result),
            Done::Opened { stream, question, result } => self.opened(stream, question, result),
            Done::Seen { stream, top, result } => self.seen(stream, top, result),
            Done::Requeued { owned, to, result } => self.requeued(&owned, to, result),
            Done::Released { result } => {
                self.due_asked = false;
                self.due_at = None;
                // What was released is to be read, and the read tells what is due next.
                if self.database(result).is_some() {
                    self.awake();
                }
            }
            Done::Holds { burials, result } => self.learned_holds(burials, result),
            Done::Slept { wish, sleep } => self.slept(wish, sleep),
        }
    }

    fn read(&mut self, asks: &[Ask], took: Duration, result: Result<Reading, Error>) {
        self.reading = false;
        let Some(reading) = self.database(result) else {
            self.window.read_ended();
            if self.attention == Attention::LastLook {
                self.awake();
            }
            return;
        };
        let now = Instant::now();
        self.meters.read_seconds.record(took);
        self.meters.read_rows.record(u32::try_from(reading.rows.len()).unwrap_or(u32::MAX));
        self.due_at = reading.next_due.map(|wait| now + wait);
        match self.window.admit(asks, reading, now) {
            // Read again at once; with K held nothing is lost by keeping it.
            Admitted::Unusable if self.attention == Attention::LastLook => {}
            Admitted::Unusable => self.awake(),
            Admitted::WentBack => self.database_went_back(),
            Admitted::News(news) => {
                killpoint::reached_by(Point::Claimed, news);
                match news {
                    0 => self.pace.nothing(now),
                    _ => self.pace.rows(news, now),
                }
                if self.attention == Attention::LastLook {
                    self.looked(news);
                }
            }
        }
    }

    /// A look with K held brought `news` rows. K was held before, so whatever it did not see rings: nothing is to be read
    /// until then.
    fn looked(&mut self, news: usize) {
        if news > 0 && (self.pace.is_steady() || self.window.len() > SELDOM_ROWS) {
            self.awake();
        } else if !self.look_again {
            self.attention = Attention::Asleep;
        }
    }

    fn looked_back(&mut self, took: Duration, result: Result<Vec<(usize, u16, i64)>, Error>) {
        self.looking_back = false;
        self.sweep_at = self.sweep_at.max(Instant::now() + took * SWEEP_PAUSE_FACTOR);
        if let Some(found) = self.database(result)
            && self.window.looked_back(&found)
        {
            self.awake();
        }
    }

    fn fetched(&mut self, seq: i64, id: Uuid, result: Result<Option<Bytes>, Error>) {
        self.fetching -= 1;
        match self.database(result) {
            Some(Some(payload)) => self.window.fill(seq, payload),
            Some(None) => self.window.settled([(seq, id)]),
            None => self.window.unsettled(seq),
        }
    }

    fn marked(&mut self, marks: Vec<Mark>, version: i32, result: Result<u64, Error>) {
        self.marking = false;
        let Some(touched) = self.database(result) else {
            self.window.return_marks(marks);
            self.mark_at = Some(Instant::now());
            return;
        };
        killpoint::reached_by(Point::Marked, usize::try_from(touched).unwrap_or(usize::MAX));
        if touched == 0 && !marks.is_empty() && self.verified.take() != Some(version) {
            // Nothing at all: who must have messages may have changed. That is read again first.
            self.window.return_marks(marks);
            self.mark_at = Some(Instant::now());
            self.is_outdated = true;
            // What is being read may be from before the change.
            self.reads_too_early = self.holds_asked;
            self.holds_at = Instant::now();
            return;
        }
        let lost = u64::try_from(marks.len()).unwrap_or(u64::MAX).saturating_sub(touched);
        if lost > 0 {
            tracing::info!(
                lost,
                of = marks.len(),
                "marks that came too late: another owner, an operator, or an earlier try was first"
            );
            // Or they stand in what a stream is not any more.
            (0..self.gates.len()).for_each(|stream| self.look_again(stream));
        }
        self.window.settled(marks.into_iter().map(|m| (m.seq, m.id)));
        if std::mem::take(&mut self.full) {
            self.pace.now(Instant::now());
        }
        self.report();
    }

    fn buried(&mut self, (seq, id): (i64, Uuid), class: Death, parked: Option<String>, result: Result<bool, Error>) {
        let Some(is_dead) = self.database(result) else {
            if self.window.has(seq, id) {
                self.window.unsettled(seq);
            }
            return;
        };
        killpoint::reached_by(Point::Buried, usize::from(is_dead));
        if let Some(flight) = self.window.flight(seq).filter(|_| is_dead) {
            self.meters.dead(&flight.message.topic, class);
            self.tell_dead(&flight, class);
        }
        if let Some(key) = parked.filter(|_| is_dead) {
            self.burials += 1;
            let mut holds = self.window.holds().clone();
            holds.keys.insert(key);
            self.window.hold(holds);
        }
        self.window.settled([(seq, id)]);
    }

    fn held(&mut self, seq: i64, stream: usize, stream_seq: u64, result: Result<bool, broker::Error>) {
        match result {
            Ok(true) => {
                self.meters.answers_came();
                self.mark(seq, stream, stream_seq);
                self.meters.answers_taken();
            }
            Ok(false) => self.next_generation(seq),
            Err(e) => {
                self.retry(seq, stream, Retry::Unverified);
                self.trouble(stream, &e.to_string());
            }
        }
    }

    fn next_generation(&mut self, seq: i64) {
        let Some((message, _)) = self.window.message(seq) else { return };
        let (generation, shard, id) = (message.generation, message.shard, message.id);
        let trace_id = trace_id(&message.own_headers());
        let Some(owned) = self.owned_of(shard) else { return };
        if !self.window.settling(seq) {
            return;
        }
        tracing::warn!(%id, trace_id, generation, "the broker remembers this id and holds no message: sending the next generation");
        let store = self.parts.store.clone();
        self.work.push(Box::pin(async move {
            let result = store.next_generation(owned, (seq, id), generation).await;
            Done::Regenerated { seq, id, result }
        }));
    }

    fn regenerated(&mut self, seq: i64, id: Uuid, result: Result<bool, Error>) {
        match self.database(result) {
            Some(true) => self.window.regenerated(seq),
            Some(false) => self.window.settled([(seq, id)]),
            None => self.window.unsettled(seq),
        }
    }

    fn learned_holds(&mut self, burials: u64, result: Result<(Holds, Tracked), Error>) {
        self.holds_asked = false;
        if std::mem::take(&mut self.reads_too_early) {
            return;
        }
        let Some((holds, tracked)) = self.database(result) else {
            self.holds_at = self.later();
            return;
        };
        if std::mem::take(&mut self.is_outdated) {
            self.verified = Some(tracked.version);
        }
        let _is_news = self.learned_losses(tracked.losses);
        if tracked.version != self.tracked.version || tracked.consumers.len() != self.tracked.consumers.len() {
            self.tracked = tracked;
        }
        if burials != self.burials {
            return;
        }
        let news = holds != *self.window.holds();
        self.window.hold(holds);
        if news || !self.holds_known {
            self.awake();
        }
        self.holds_known = true;
        self.holds_at = self.later();
    }

    fn slept(&mut self, wish: u64, sleep: Sleep) {
        self.meters.slept(sleep);
        if self.attention != Attention::FallingAsleep || wish != self.sleeps {
            // Something woke it in between; only the answer to the latest wish counts. The wish may have gone out behind that
            // wake-up: an awake relay that kept K would make every insert notify.
            if sleep == Sleep::Granted && self.attention == Attention::Awake {
                self.parts.doorbell.wake_up();
            }
            return;
        }
        match sleep {
            Sleep::Granted => {
                self.attention = Attention::LastLook;
                self.refusals = 0;
            }
            Sleep::Refused | Sleep::Deaf => {
                let wait = Duration::from_millis(1) * 2u32.saturating_pow(self.refusals.min(10));
                self.refusals = self.refusals.saturating_add(1);
                self.attention = Attention::Awake;
                self.sleep_at = Instant::now() + wait.min(Duration::from_millis(self.config.poll_max_ms));
            }
        }
    }

    /// A result of the database; trouble with it pauses all of its work for a while, and is logged when it begins and ends.
    pub(super) fn database<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                self.store_backoff.succeeded();
                if self.store_trouble.take().is_some() {
                    tracing::info!("the database answers again");
                    // It may be another one, or in another state.
                    (0..self.gates.len()).for_each(|stream| self.look_again(stream));
                    self.report();
                }
                Some(value)
            }
            Err(e) => {
                let text = e.to_string();
                if self.store_trouble.as_deref() != Some(&text) {
                    match e {
                        Error::Retry(_) => tracing::warn!(error = text, "trouble with the database; trying again"),
                        Error::Fatal(_) | Error::Refused(_) => tracing::error!(
                            error = text,
                            "the database refuses; `avouch schema check` says what to mend"
                        ),
                    }
                }
                if self.store_silent_until.is_none() {
                    self.store_silent_until = Some(Instant::now() + self.store_backoff.failed());
                }
                self.store_trouble = Some(text);
                self.report();
                None
            }
        }
    }

    fn later(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.config.safety_poll_ms)
    }
}
