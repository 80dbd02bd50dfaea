//! The spans of what is sent again: its checker's answer, and the publish of another generation, for one consumer.

use std::time::SystemTime;

use uuid::Uuid;

use crate::lifecycle::Death;
use crate::rules::Answer;
use crate::store::Recovery as Due;
use crate::trace::{Publish, SpanKind, Tracer};

/// It was sent, and the broker holds it at this place, or never will.
pub fn sent_again(tracer: &Tracer, due: &Due, subject: String, began: SystemTime, outcome: Result<i64, Death>) {
    if !tracer.is_on() {
        return;
    }
    let message = &due.message;
    let (id, generation) = (message.id, message.generation);
    let publish = Publish { id, topic: &message.topic, subject, stream: &due.stream, generation };
    let Some(span) = tracer.publish(publish, &message.own_headers(), began) else { return };
    let span = span.text("avouch.consumer", due.name.clone());
    tracer.end(match outcome {
        Ok(stream_seq) => span.number("avouch.stream_seq", stream_seq),
        Err(class) => span.failed(class.name(), "the message is dead for this consumer"),
    });
}

/// Its checker was asked whether it happened.
pub fn rechecked(tracer: &Tracer, due: &Due, tx: (Uuid, &str), began: SystemTime, answer: &Answer) {
    if !tracer.is_on() {
        return;
    }
    let span = tracer.span("avouch check-back", SpanKind::Internal, &due.message.own_headers(), began);
    if let Some(span) = span {
        let fault = answer.verdict.as_ref().err().map(|fault| (fault.class(), fault.to_string()));
        tracer.end(span.judged(tx, answer.digest.as_deref(), answer.said(), fault));
    }
}
