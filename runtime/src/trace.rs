//! Traces: whose a span is, and which are told. A full queue drops them; nobody ever waits for a collector.

mod context;
mod export;
mod otlp;
mod said;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use metrics::Counter;
pub use opentelemetry::trace::SpanKind;
use opentelemetry::trace::{Link, SpanContext, SpanId, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use serde::Deserialize;
use tokio::sync::mpsc;

pub use self::context::{Carrier, trace_id, trace_id_of};
pub use self::export::Exporter;
pub use self::otlp::{Error, endpoint};
pub use self::said::Publish;
use crate::secret::Secret;

/// `[trace]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where a collector takes OTLP over HTTP, such as `http://127.0.0.1:4318`; none: no traces.
    pub endpoint: Option<String>,
    /// This part of the traces is told, chosen by their ids: the same ones in every process.
    pub sample: f64,
    /// What comes without a trace starts one of its own.
    pub root: bool,
    /// What this is called in traces.
    pub service_name: String,
    /// Sent with each request to the collector.
    pub headers: BTreeMap<String, Secret>,
    /// Spans that wait to be sent; more are dropped, and counted.
    pub queue_max: usize,
    /// How long a request to the collector may take.
    pub timeout_ms: u64,
}

/// All that producers have sampled. What waits is about 1.5 KiB a span, and at most 8: a relay that works flat out fills the queue in a
/// second, a usual one not before its collector has restarted.
impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: 1.0,
            root: false,
            service_name: "avouch".into(),
            headers: BTreeMap::new(),
            queue_max: 8_192,
            timeout_ms: 5_000,
        }
    }
}

/// Contexts of one span beside its parent: a transaction may hold thousands of messages.
const LINKS_MAX: usize = 16;
/// Text of one attribute, or of why something failed: plugins and consumers write some of it.
const TEXT_BYTES_MAX: usize = 512;

/// As many as a publish has.
const ATTRIBUTES_USUAL: usize = 10;

/// Where spans are told. Cheap to clone; without a collector it does nothing.
#[derive(Clone)]
pub struct Tracer(Option<Arc<Port>>);

struct Port {
    spans: mpsc::Sender<Box<SpanData>>,
    /// Trace ids whose last 63 bits are below this are told.
    below: u64,
    root: bool,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
    dropped: Counter,
}

/// A span that has begun, and is told only if it is ended.
#[must_use = "a span is told when it is ended"]
pub struct Span(Box<SpanData>);

/// What starts a trace, or goes on with one. None if nothing is to be told of it.
pub fn start(config: &Config) -> Result<(Tracer, Option<Exporter>), Error> {
    let Some(text) = &config.endpoint else {
        return Ok((Tracer::off(), None));
    };
    let (spans, queue) = mpsc::channel(config.queue_max.max(1));
    let exporter = Exporter::new(otlp::Collector::new(config, endpoint(text)?)?, queue);
    let port = Port {
        spans,
        below: share_of_ids(config.sample),
        root: config.root,
        ids: RandomIdGenerator::default(),
        scope: InstrumentationScope::builder("avouch").with_version(env!("CARGO_PKG_VERSION")).build(),
        dropped: export::dropped("queue_full"),
    };
    Ok((Tracer(Some(Arc::new(port))), Some(exporter)))
}

/// As OpenTelemetry's own sampler by trace id has it, so that all that sample the same part sample the same traces.
fn share_of_ids(sample: f64) -> u64 {
    (sample.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64
}

impl Tracer {
    /// One that tells nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether there is anybody to tell: without, nothing need be read.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span in the trace that these headers carry; none if its producer has not sampled that, or there is no trace and none is to
    /// be started.
    pub fn span(
        &self,
        name: &'static str,
        kind: SpanKind,
        carrier: &(impl Carrier + ?Sized),
        began: SystemTime,
    ) -> Option<Span> {
        let port = self.0.as_ref()?;
        let Some(parent) = context::read(carrier) else { return port.root_span(name, kind, began) };
        port.tells(&parent).then(|| port.begin(name, kind, port.child(&parent), Some(&parent), began))
    }

    /// A span of what is done once for all who sent these headers: in the trace that they have in common, linked with the others of
    /// it; else in a trace of its own that is linked with theirs. None if none of them is told.
    pub fn span_of_all<'a, C: Carrier + 'a>(
        &self,
        name: &'static str,
        carriers: impl Iterator<Item = &'a C>,
        began: SystemTime,
    ) -> Option<Span> {
        let port = self.0.as_ref()?;
        let (mut contexts, mut any) = (Vec::new(), false);
        for context in carriers.filter_map(context::read) {
            any = true;
            if contexts.len() <= LINKS_MAX && port.tells(&context) && !contexts.contains(&context) {
                contexts.push(context);
            }
        }
        let Some(first) = contexts.first().cloned() else {
            return if any { None } else { port.root_span(name, SpanKind::Internal, began) };
        };
        let mut span = if contexts.iter().all(|context| context.trace_id() == first.trace_id()) {
            contexts.remove(0);
            port.begin(name, SpanKind::Internal, port.child(&first), Some(&first), began)
        } else {
            port.begin(name, SpanKind::Internal, port.fresh(), None, began)
        };
        let links = contexts.into_iter().take(LINKS_MAX);
        span.0.links.links = links.map(|context| Link::new(context, Vec::new(), 0)).collect();
        Some(span)
    }

    /// The span ends now.
    pub fn end(&self, mut span: Span) {
        let Some(port) = &self.0 else { return };
        span.0.end_time = SystemTime::now().max(span.0.start_time);
        if port.spans.try_send(span.0).is_err() {
            port.dropped.increment(1);
        }
    }
}

impl Port {
    fn child(&self, parent: &SpanContext) -> SpanContext {
        let (trace, state) = (parent.trace_id(), parent.trace_state().clone());
        SpanContext::new(trace, self.ids.new_span_id(), TraceFlags::SAMPLED, false, state)
    }

    fn fresh(&self) -> SpanContext {
        let (trace, span) = (self.ids.new_trace_id(), self.ids.new_span_id());
        SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default())
    }

    /// The first span of a trace.
    fn root_span(&self, name: &'static str, kind: SpanKind, began: SystemTime) -> Option<Span> {
        let context = self.root.then(|| self.fresh()).filter(|context| self.tells(context))?;
        Some(self.begin(name, kind, context, None, began))
    }

    /// Whether its producer has sampled it, and it is of the part that is told.
    fn tells(&self, context: &SpanContext) -> bool {
        let [.., a, b, c, d, e, f, g, h] = context.trace_id().to_bytes();
        context.is_sampled() && u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.below
    }

    fn begin(
        &self,
        name: &'static str,
        span_kind: SpanKind,
        span_context: SpanContext,
        parent: Option<&SpanContext>,
        start_time: SystemTime,
    ) -> Span {
        Span(Box::new(SpanData {
            span_context,
            parent_span_id: parent.map_or(SpanId::INVALID, SpanContext::span_id),
            parent_span_is_remote: parent.is_some(),
            span_kind,
            name: Cow::Borrowed(name),
            start_time,
            end_time: start_time,
            attributes: Vec::with_capacity(ATTRIBUTES_USUAL),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }))
    }
}

impl Span {
    /// With this number.
    pub fn number(mut self, key: &'static str, value: impl Into<i64>) -> Self {
        self.0.attributes.push(KeyValue::new(key, value.into()));
        self
    }

    /// With this text, or its beginning.
    pub fn text(mut self, key: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.0.attributes.push(KeyValue::new(key, cut(value.into())));
        self
    }

    /// What it stands for has failed; `class` is one word of few, `why` is for people.
    pub fn failed(self, class: &'static str, why: &str) -> Self {
        let mut span = self.text("error.type", class);
        span.0.status = Status::error(why[..why.floor_char_boundary(TEXT_BYTES_MAX)].to_owned());
        span
    }
}

fn cut(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned().into()
}

/// When this was, by the clock that other machines have too.
pub fn wall(at: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(at.elapsed()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracer(sample: f64, root: bool, queue_max: usize) -> (Tracer, mpsc::Receiver<Box<SpanData>>) {
        let (spans, queue) = mpsc::channel(queue_max);
        let (below, ids) = (share_of_ids(sample), RandomIdGenerator::default());
        let (scope, dropped) = (InstrumentationScope::builder("test").build(), Counter::noop());
        (Tracer(Some(Arc::new(Port { spans, below, root, ids, scope, dropped }))), queue)
    }

    fn headers(flags: &str) -> Vec<(String, String)> {
        vec![("traceparent".into(), format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"))]
    }

    fn begun(tracer: &Tracer, headers: &[(String, String)]) -> Option<Span> {
        tracer.span("a", SpanKind::Producer, headers, SystemTime::now())
    }

    #[test]
    fn span_goes_on_with_the_trace_that_its_producer_has_sampled() {
        let (tracer, mut queue) = tracer(1.0, false, 8);
        tracer.end(begun(&tracer, &headers("01")).expect("it is sampled"));
        let told = queue.try_recv().expect("it is told");
        assert_eq!(told.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(told.parent_span_id.to_string(), "b7ad6b7169203331");
        assert!(told.parent_span_is_remote && told.span_context.span_id() != told.parent_span_id);
        assert!(begun(&tracer, &headers("00")).is_none(), "the producer's decision holds");
        assert!(begun(&tracer, &[]).is_none(), "no trace is started");
    }

    #[test]
    fn what_has_no_trace_starts_one_if_that_is_configured() {
        let (tracer, _queue) = tracer(1.0, true, 8);
        let span = begun(&tracer, &[]).expect("it starts one");
        assert_eq!(span.0.parent_span_id, SpanId::INVALID);
        assert!(begun(&tracer, &headers("00")).is_none(), "one that is not sampled is not replaced");
    }

    #[test]
    fn part_of_the_traces_is_the_same_for_all() {
        let (none, half) = (tracer(0.0, true, 8).0, tracer(0.5, true, 8).0);
        assert!((0..100).all(|_| begun(&none, &[]).is_none() && begun(&none, &headers("01")).is_none()));
        let told = (0..1000).filter(|_| begun(&half, &[]).is_some()).count();
        assert!((300..700).contains(&told), "{told} of 1000");
        // 8448eb211c80319c is above the middle.
        assert!((0..10).all(|_| begun(&half, &headers("01")).is_none()));
    }

    #[test]
    fn full_queue_drops_and_does_not_wait() {
        let (tracer, mut queue) = tracer(1.0, true, 1);
        for _ in 0..3 {
            tracer.end(begun(&tracer, &[]).expect("it starts one"));
        }
        assert!(queue.try_recv().is_ok() && queue.try_recv().is_err());
    }

    fn of_trace(trace: char, span: char) -> Vec<(String, String)> {
        let id = |c: char, digits| String::from(c).repeat(digits);
        vec![("traceparent".into(), format!("00-{}-{}-01", id(trace, 32), id(span, 16)))]
    }

    #[test]
    fn work_for_many_is_in_the_trace_that_they_have_in_common() {
        let (tracer, _queue) = tracer(1.0, false, 8);
        // A producer's request inserts three rows, one in a span of its own, and what is not sampled says nothing.
        let all = [of_trace('a', '1'), of_trace('a', '1'), of_trace('a', '2'), headers("00"), Vec::new()];
        let span = tracer.span_of_all("a", all.iter(), SystemTime::now()).expect("it is sampled");
        assert_eq!(span.0.span_context.trace_id().to_string(), "a".repeat(32));
        assert_eq!(span.0.parent_span_id.to_string(), "1".repeat(16));
        let links: Vec<_> = span.0.links.links.iter().map(|l| l.span_context.span_id().to_string()).collect();
        assert_eq!(links, ["2".repeat(16)]);
    }

    #[test]
    fn work_for_many_traces_is_in_a_trace_of_its_own_linked_with_theirs() {
        let (tracer, _queue) = tracer(1.0, false, 8);
        let all = [of_trace('a', '1'), of_trace('b', '1'), headers("00"), Vec::new()];
        let span = tracer.span_of_all("a", all.iter(), SystemTime::now()).expect("two are sampled");
        assert_eq!(span.0.parent_span_id, SpanId::INVALID);
        let links: Vec<_> = span.0.links.links.iter().map(|l| l.span_context.trace_id().to_string()).collect();
        assert_eq!(links, ["a".repeat(32), "b".repeat(32)]);
        assert!(!links.contains(&span.0.span_context.trace_id().to_string()));
        assert!(tracer.span_of_all("a", all[2..].iter(), SystemTime::now()).is_none());
    }

    #[test]
    fn work_starts_a_trace_only_for_those_who_have_none() {
        let (tracer, _queue) = tracer(1.0, true, 8);
        let none = [Vec::new()];
        assert!(tracer.span_of_all("a", none.iter(), SystemTime::now()).is_some());
        assert!(
            tracer.span_of_all("a", [headers("00")].iter(), SystemTime::now()).is_none(),
            "not sampled is a decision"
        );
    }

    #[test]
    fn span_says_a_bounded_amount() {
        let (tracer, _queue) = tracer(1.0, false, 8);
        let all: Vec<_> =
            (0..100).map(|n| vec![("traceparent".into(), format!("00-{:032x}-{:016x}-01", n + 1, 7))]).collect();
        let span = tracer.span_of_all("a", all.iter(), SystemTime::now()).expect("they are sampled");
        assert_eq!(span.0.links.links.len(), LINKS_MAX);
        let long = "é".repeat(TEXT_BYTES_MAX);
        let span = span.text("key", long.clone()).failed("class", &long);
        let said = span.0.attributes[0].value.as_str().into_owned();
        assert!(long.starts_with(&said) && said.len() == TEXT_BYTES_MAX);
        assert!(matches!(&span.0.status, Status::Error { description } if description.len() == TEXT_BYTES_MAX));
    }
}
