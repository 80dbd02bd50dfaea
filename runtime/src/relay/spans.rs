//! The span of a publish: in the trace of its row, from the first time that it was handed over to its PubAck, or its death.

use std::time::SystemTime;

use super::Relay;
use crate::lifecycle::Death;
use crate::trace::{Publish, Span, wall};
use crate::window::Flight;

impl Relay {
    /// The broker holds it.
    pub(super) fn tell_published(&self, flight: &Flight<'_>, stream_seq: i64) {
        if let Some(span) = self.span(flight) {
            self.parts.tracer.end(span.number("avouch.stream_seq", stream_seq));
        }
    }

    /// It can never be sent.
    pub(super) fn tell_dead(&self, flight: &Flight<'_>, class: Death) {
        if let Some(span) = self.span(flight) {
            self.parts.tracer.end(span.failed(class.name(), "the message is dead"));
        }
    }

    fn span(&self, flight: &Flight<'_>) -> Option<Span> {
        let (tracer, topics, message) = (&self.parts.tracer, &self.parts.topics, flight.message);
        if !tracer.is_on() {
            return None;
        }
        let began = flight.first_sent_at.map_or_else(SystemTime::now, wall);
        let publish = Publish {
            id: message.id,
            topic: &message.topic,
            subject: topics.subject(flight.feed, &message.topic),
            stream: topics.stream(flight.feed),
            generation: message.generation,
        };
        let span = tracer.publish(publish, &message.own_headers(), began)?;
        Some(span.number("avouch.retries", flight.tries.saturating_sub(1)))
    }
}
