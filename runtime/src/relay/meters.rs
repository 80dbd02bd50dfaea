//! What the relay counts. A message costs no look-up: its topic's counter is looked up where the topic is another than before.

use std::collections::HashMap;
use std::time::Instant;

use metrics::{Counter, Histogram};
use time::OffsetDateTime;

use crate::doorbell::Sleep;
use crate::lifecycle::Death;
use crate::meters::Scope;
use crate::window::Flight;

/// Why a message that was on its way is sent again, under the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No PubAck came in time.
    Timeout,
    /// The connection was lost.
    Disconnected,
    /// The broker, or its client, cannot take it now.
    Unavailable,
    /// Another stream took it.
    OtherStream,
    /// The same id was being stored.
    InProcess,
    /// The stream gave a sequence that it had given before.
    Repeated,
    /// Whether the broker holds it could not be looked at.
    Unverified,
}

impl Retry {
    const ALL: [Self; 7] = [
        Self::Timeout,
        Self::Disconnected,
        Self::Unavailable,
        Self::OtherStream,
        Self::InProcess,
        Self::Repeated,
        Self::Unverified,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Unavailable => "unavailable",
            Self::OtherStream => "other_stream",
            Self::InProcess => "in_process",
            Self::Repeated => "repeated",
            Self::Unverified => "unverified",
        }
    }
}

/// The handles.
pub struct Meters {
    scope: Scope,
    streams: Vec<StreamMeters>,
    /// Messages of one topic, one after another, that are not counted yet: the stream and how many.
    run: (usize, String, u64),
    /// When the answers came that are being taken.
    now: (Instant, OffsetDateTime),
    pub read_rows: Histogram,
    pub read_seconds: Histogram,
    pub mark_rows: Histogram,
    pub mark_seconds: Histogram,
    pub safety_polls: Counter,
    granted: Counter,
    refused: Counter,
    deaf: Counter,
}

/// What is counted of each stream.
struct StreamMeters {
    name: String,
    published: HashMap<String, Counter>,
    other: Option<Counter>,
    publish_seconds: Histogram,
    insert_to_ack_seconds: Histogram,
    retries: [Counter; Retry::ALL.len()],
}

impl Meters {
    /// Of these streams.
    pub fn new(scope: &Scope, streams: impl Iterator<Item = String>) -> Self {
        let slept = |answer: &str| scope.counter("avouch_sleep_answers_total", &[("answer", answer)]);
        Self {
            streams: streams.map(|name| StreamMeters::new(scope, name)).collect(),
            run: (0, String::new(), 0),
            now: (Instant::now(), OffsetDateTime::now_utc()),
            read_rows: scope.histogram("avouch_read_rows", &[]),
            read_seconds: scope.histogram("avouch_read_seconds", &[]),
            mark_rows: scope.histogram("avouch_mark_rows", &[]),
            mark_seconds: scope.histogram("avouch_mark_seconds", &[]),
            safety_polls: scope.counter("avouch_safety_polls_total", &[]),
            granted: slept("granted"),
            refused: slept("refused"),
            deaf: slept("deaf"),
            scope: scope.clone(),
        }
    }

    /// Answers have come, just now.
    pub fn answers_came(&mut self) {
        self.now = (Instant::now(), OffsetDateTime::now_utc());
    }

    /// The broker holds this message.
    pub fn acked(&mut self, stream: usize, flight: &Flight<'_>) {
        let (message, sent_at) = (flight.message, flight.sent_at);
        if self.run.0 != stream || *self.run.1 != *message.topic {
            self.count_run();
            self.run = (stream, message.topic.to_string(), 0);
        }
        self.run.2 += 1;
        let Some(meters) = self.streams.get(stream) else { return };
        if let Some(at) = sent_at {
            meters.publish_seconds.record(self.now.0.saturating_duration_since(at));
        }
        // What was sent again by a person's wish has not been on its way since its insert.
        if message.generation == 0 {
            meters.insert_to_ack_seconds.record((self.now.1 - message.created_at).as_seconds_f64().max(0.0));
        }
    }

    /// All answers that have come are taken.
    pub fn answers_taken(&mut self) {
        self.count_run();
    }

    fn count_run(&mut self) {
        let (stream, topic, count) = (self.run.0, &self.run.1, std::mem::take(&mut self.run.2));
        if count > 0
            && let Some(meters) = self.streams.get_mut(stream)
        {
            meters.published(&self.scope, topic).increment(count);
        }
    }

    /// A message for this stream is sent again.
    pub fn retried(&self, stream: usize, why: Retry) {
        if let (Some(meters), Some(place)) = (self.streams.get(stream), Retry::ALL.iter().position(|w| *w == why)) {
            meters.retries[place].increment(1);
        }
    }

    /// A message is dead.
    pub fn dead(&self, topic: &str, class: Death) {
        self.scope.dead(topic, class.name());
    }

    /// The answer to a wish to sleep.
    pub fn slept(&self, answer: Sleep) {
        match answer {
            Sleep::Granted => self.granted.increment(1),
            Sleep::Refused => self.refused.increment(1),
            Sleep::Deaf => self.deaf.increment(1),
        }
    }
}

impl StreamMeters {
    fn new(scope: &Scope, name: String) -> Self {
        let of = &[("stream", name.as_str())];
        let retries =
            |why: Retry| scope.counter("avouch_publish_retries_total", &[("stream", &name), ("why", why.name())]);
        Self {
            published: HashMap::new(),
            other: None,
            publish_seconds: scope.histogram("avouch_publish_seconds", of),
            insert_to_ack_seconds: scope.histogram("avouch_insert_to_ack_seconds", of),
            retries: Retry::ALL.map(retries),
            name,
        }
    }

    /// The counter of a topic, or of all that are not told by name.
    fn published(&mut self, scope: &Scope, topic: &str) -> &Counter {
        if !self.published.contains_key(topic) {
            let label = scope.topic(topic);
            let counter = || scope.counter("avouch_published_total", &[("stream", &self.name), ("topic", &label)]);
            if label != topic {
                return self.other.get_or_insert_with(counter);
            }
            let counter = counter();
            self.published.insert(label, counter);
        }
        &self.published[topic]
    }
}
