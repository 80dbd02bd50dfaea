//! Which trace headers carry: W3C Trace Context, read strictly. Pure.

use std::str::FromStr as _;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Headers by name. Names of traces' headers are the same in any case.
pub trait Carrier {
    /// The value of the first header with this name.
    fn header(&self, name: &str) -> Option<&str>;
}

impl Carrier for [(String, String)] {
    fn header(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Carrier for Vec<(String, String)> {
    fn header(&self, name: &str) -> Option<&str> {
        self.as_slice().header(name)
    }
}

impl Carrier for serde_json::Map<String, serde_json::Value> {
    fn header(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str())
    }
}

/// What every participant must be able to pass on, by the specification; longer ones would fill the queue of spans.
const TRACESTATE_BYTES_MAX: usize = 512;

/// The context in which these headers were sent.
pub fn read(carrier: &(impl Carrier + ?Sized)) -> Option<SpanContext> {
    let (trace, span, flags) = parse(carrier.header("traceparent")?)?;
    let state = carrier.header("tracestate").filter(|text| text.len() <= TRACESTATE_BYTES_MAX);
    // What cannot be read is of no trace vendor: the trace goes on without it.
    let state = state.and_then(|text| TraceState::from_str(text).ok()).unwrap_or_default();
    Some(SpanContext::new(trace, span, flags, true, state))
}

/// The trace's id, for log lines and pages.
pub fn trace_id(carrier: &(impl Carrier + ?Sized)) -> Option<String> {
    trace_id_of(carrier.header("traceparent")?)
}

/// The trace's id in this `traceparent`.
pub fn trace_id_of(traceparent: &str) -> Option<String> {
    parse(traceparent).map(|(trace, ..)| trace.to_string())
}

/// `00-<32 hex>-<16 hex>-<2 hex>`; later versions may have more behind it.
fn parse(text: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_well_formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    if !is_well_formed || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    (trace != TraceId::INVALID && span != SpanId::INVALID).then_some((trace, span, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn of(value: &str) -> Option<SpanContext> {
        read(&vec![("Traceparent".to_owned(), value.to_owned()), ("tracestate".to_owned(), "a=b".to_owned())])
    }

    #[test]
    fn traceparent_is_read_in_any_case_of_its_name() {
        let context = of(&format!("00-{TRACE}-b7ad6b7169203331-01")).expect("it is well formed");
        assert_eq!((context.trace_id().to_string(), context.is_sampled()), (TRACE.to_owned(), true));
        assert_eq!(context.trace_state().header(), "a=b");
        assert!(of(&format!("cc-{TRACE}-b7ad6b7169203331-00-later")).is_some_and(|c| !c.is_sampled()));
    }

    #[test]
    fn garbage_carries_no_trace() {
        let zeros = "0".repeat(32);
        for text in [
            "",
            "00",
            "00-1-1-01",
            &format!("00-{TRACE}-b7ad6b7169203331"),
            &format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            &format!("ff-{TRACE}-b7ad6b7169203331-01"),
            &format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            &format!("00-+{}-b7ad6b7169203331-01", &TRACE[1..]),
            &format!("00-{zeros}-b7ad6b7169203331-01"),
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{TRACE}-b7ad6b716920333é-01"),
        ] {
            assert!(of(text).is_none(), "{text}");
        }
        assert!(read(&Vec::new()).is_none());
    }

    #[test]
    fn long_tracestate_is_left_out_and_the_trace_goes_on() {
        let of = |state: String| {
            let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
            read(&vec![("traceparent".to_owned(), parent), ("tracestate".to_owned(), state)])
                .expect("it is well formed")
        };
        // A value has 256 characters at most.
        let list = |last: usize| format!("a={},c={}", "b".repeat(253), "d".repeat(last));
        assert_eq!(of(list(254)).trace_state().header().len(), 512);
        for state in [list(255), "no list".to_owned()] {
            assert_eq!(of(state).trace_state().header(), "");
        }
    }
}
