//! The span of what a consumer asks or says: in the trace of the message that it is about, as the request's headers have it.

use std::time::SystemTime;

use super::Endpoint;
use crate::answer::Fault;
use crate::broker::Request;
use crate::trace::{Carrier, Span, SpanKind, Tracer};

/// A request's span; none of those that change nothing of what a consumer may do.
pub fn begin(tracer: &Tracer, endpoint: Endpoint, consumer: &str, request: &Request) -> Option<Span> {
    let name = match endpoint {
        Endpoint::Begin => "avouch inbox begin",
        Endpoint::Complete => "avouch inbox complete",
        Endpoint::Fail => "avouch inbox fail",
        Endpoint::Renew | Endpoint::Confirm => return None,
    };
    let span = tracer.span(name, SpanKind::Server, &Headers(request), SystemTime::now())?;
    let span = span.text("messaging.system", "nats").text("avouch.consumer", consumer.to_owned());
    Some(match request.header("Avouch-Id") {
        Some(id) => span.text("messaging.message.id", id.to_owned()),
        None => span,
    })
}

/// It was answered, with this decision, or could not be.
pub fn end<T>(tracer: &Tracer, span: Option<Span>, decision: &'static str, answer: &Result<T, Fault>) {
    let Some(span) = span else { return };
    let span = span.text("avouch.decision", decision);
    tracer.end(match answer {
        Ok(_) => span,
        Err(fault) => span.failed(fault.code.name(), fault.message()),
    });
}

/// It was refused unread.
pub fn refused(tracer: &Tracer, span: Option<Span>, fault: &Fault) {
    if let Some(span) = span {
        tracer.end(span.failed(fault.code.name(), fault.message()));
    }
}

/// A request's headers as those of a trace.
struct Headers<'a>(&'a Request);

impl Carrier for Headers<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.0.header_in_any_case(name)
    }
}
