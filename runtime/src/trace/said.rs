//! What spans say that more than one loop tells: a publish, and a call of a checker.

use std::time::SystemTime;

use uuid::Uuid;

use super::{Carrier, Span, SpanKind, Tracer};

/// A message on its way.
pub struct Publish<'a> {
    /// Its id.
    pub id: Uuid,
    /// Its topic.
    pub topic: &'a str,
    /// Where it is sent to.
    pub subject: String,
    /// The stream that is to hold it.
    pub stream: &'a str,
    /// As which generation.
    pub generation: u32,
}

impl Tracer {
    /// The span of a publish, in the trace of the row's headers.
    pub fn publish(&self, publish: Publish<'_>, headers: &impl Carrier, began: SystemTime) -> Option<Span> {
        let span = self.span("avouch publish", SpanKind::Producer, headers, began)?;
        Some(
            span.text("messaging.system", "nats")
                .text("messaging.operation.name", "publish")
                .text("messaging.operation.type", "send")
                .text("messaging.destination.name", publish.subject)
                .text("messaging.message.id", publish.id.to_string())
                .text("avouch.topic", publish.topic.to_owned())
                .text("avouch.stream", publish.stream.to_owned())
                .number("avouch.generation", publish.generation),
        )
    }
}

impl Span {
    /// A checker was asked about this transaction: which version of it, what it said in one word, and why that is no verdict.
    pub fn judged(
        self,
        (tx, checker): (Uuid, &str),
        digest: Option<&str>,
        said: &'static str,
        fault: Option<(&'static str, String)>,
    ) -> Self {
        let span = self.text("avouch.tx.id", tx.to_string()).text("avouch.plugin", checker.to_owned());
        let span =
            span.text("avouch.plugin.digest", digest.unwrap_or_default().to_owned()).text("avouch.verdict", said);
        match fault {
            None => span,
            Some((class, why)) => span.failed(class, &why),
        }
    }
}
