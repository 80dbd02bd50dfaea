//! A collector of traces: takes OTLP over HTTP, and shows what it was told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message as _;

use crate::web::{Asked, Web, reply};

/// Listens on loopback until it is dropped.
#[derive(Debug)]
pub struct Collector {
    web: Web,
    taken: Arc<Mutex<Vec<Span>>>,
}

/// What it does with a request.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// Takes it.
    Take,
    /// Takes it, but says that it rejected so many of its spans.
    Reject(i64),
    /// Answers with this status.
    Status(u16),
}

/// One span, with ids in hexadecimal.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub trace_id: String,
    /// Its own id.
    pub span_id: String,
    /// Empty for the first of a trace.
    pub parent_id: String,
    /// When it began and ended, in nanoseconds since 1970.
    pub times: (u64, u64),
    /// What it says, as text.
    pub attributes: BTreeMap<String, String>,
    /// What the trace's vendors say.
    pub state: String,
    /// The traces that it is linked with.
    pub links: Vec<String>,
    /// Whether it failed.
    pub is_failure: bool,
    /// What the process says of itself.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    /// Takes everything.
    pub async fn start() -> Collector {
        Collector::answering(|_| Answer::Take).await
    }

    /// Answers the first request, the second, and so on.
    pub async fn answering(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Collector {
        let (taken, number) = (Arc::<Mutex<Vec<Span>>>::default(), AtomicUsize::new(0));
        let keep = Arc::clone(&taken);
        let web = Web::start(move |asked, socket| {
            let mut rejected = ExportTracePartialSuccess::default();
            let status = match answer(number.fetch_add(1, Ordering::Relaxed)) {
                Answer::Status(status) => status,
                Answer::Take => 200,
                Answer::Reject(rejected_spans) => {
                    rejected = ExportTracePartialSuccess { rejected_spans, error_message: "too old".into() };
                    200
                }
            };
            if status == 200 {
                keep.lock().unwrap_or_else(PoisonError::into_inner).extend(spans_of(&asked.body));
            }
            let body = ExportTraceServiceResponse { partial_success: Some(rejected) };
            reply(socket, status, String::new(), body.encode_to_vec())
        });
        Collector { web: web.await, taken }
    }

    /// The settings that make a runtime tell it; `more` are further keys of `[trace]`.
    pub fn config(&self, more: &str) -> String {
        format!("[trace]\nendpoint = \"{}\"\n{more}", self.web.origin())
    }

    /// Where it listens.
    pub fn origin(&self) -> String {
        self.web.origin()
    }

    /// What was asked of it, as it was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.web.asked()
    }

    /// All spans of this name that it has taken so far.
    pub fn spans(&self, name: &str) -> Vec<Span> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter().filter(|span| span.name == name).cloned().collect()
    }
}

fn spans_of(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("a request is OTLP");
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.unwrap_or_default().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            all.push(Span {
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
                attributes: texts(span.attributes),
                state: span.trace_state,
                links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
                // STATUS_CODE_ERROR
                is_failure: span.status.is_some_and(|status| status.code == 2),
                resource: resource.clone(),
            });
        }
    }
    all
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|kv| (kv.key, kv.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(n)) => n.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
