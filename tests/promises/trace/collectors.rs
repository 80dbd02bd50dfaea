//! Collectors that are away, slow or unwilling cost spans and nothing else; what is not configured tells nothing.

use avouch_tests::collector::{Answer, Collector};
use avouch_tests::metrics::{self, Exported};
use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use serde_json::json;
use tokio::net::TcpListener;

use super::{fresh_trace, insert, of, span_of};
use crate::ground::Ground;

/// Rows with a trace each.
async fn insert_traced(ground: &Ground, rows: i32) {
    let sql = "insert into avouch.outbox (topic, key, payload, headers) \
               select 'orders', (n % 100)::text, n % 100 || ':' || n, \
                 jsonb_build_object('traceparent', '00-' || md5(n::text) || '-b7ad6b7169203331-01') \
               from generate_series(1, $1) n";
    ground.client.execute(sql, &[&rows]).await.expect("rows are valid");
}

/// Fetches until this is true.
async fn counted(what: &str, port: u16, is_true: impl Fn(&Exported) -> bool) -> Exported {
    until(what, secs(60), async || metrics::fetch(port).await.filter(|m| is_true(m))).await
}

fn dropped(m: &Exported, why: &str) -> f64 {
    m.sum("avouch_spans_dropped_total", &[("why", why)])
}

/// Many traced rows go out while nobody takes their spans; what does not fit is dropped, and it ends in time.
async fn held_up_by_nothing(endpoint: &str) -> Avouch {
    const ROWS: i32 = 5_000;
    let (ground, port) = (Ground::new().await, metrics::free_port());
    let trace = format!("[trace]\nendpoint = \"{endpoint}\"\nqueue_max = 100\ntimeout_ms = 600000\n");
    let mut avouch = ground.runtime(&format!("{trace}{}", metrics::config(port))).await;
    insert_traced(&ground, ROWS).await;
    ground.drained().await;
    assert_eq!(ground.balance().await, usize::try_from(ROWS).expect("fits"));
    // In the queue, and in the request that is tried.
    let kept = 100.0 + 512.0;
    let lost = |m: &Exported| m.sum("avouch_spans_dropped_total", &[]) >= f64::from(ROWS) - kept;
    let told = counted("spans to be dropped", port, lost).await;
    assert!(dropped(&told, "queue_full") > 0.0);
    assert!(avouch.terminate(secs(30)).await.success());
    avouch
}

#[tokio::test]
async fn collector_that_cannot_be_reached_holds_up_nothing_and_costs_one_line() {
    let avouch = held_up_by_nothing(&format!("http://127.0.0.1:{}", metrics::free_port())).await;
    assert_eq!(avouch.log().matches("spans cannot be delivered").count(), 1);
}

#[tokio::test]
async fn collector_that_never_answers_holds_up_nothing() {
    // It takes connections, into its backlog.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = silent.local_addr().expect("a bound listener has an address");
    held_up_by_nothing(&format!("http://{address}")).await;
}

#[tokio::test]
async fn spans_wait_for_a_collector_that_is_back_soon() {
    const ROWS: i32 = 2_000;
    let collector = Collector::answering(|n| if n < 3 { Answer::Status(503) } else { Answer::Take }).await;
    let (ground, port) = (Ground::new().await, metrics::free_port());
    let avouch = ground.runtime(&format!("{}{}", collector.config(""), metrics::config(port))).await;
    insert_traced(&ground, ROWS).await;
    let all = |m: &Exported| m.sum("avouch_spans_sent_total", &[]) == f64::from(ROWS);
    let told = counted("all are delivered", port, all).await;
    assert_eq!(told.sum("avouch_spans_dropped_total", &[]), 0.0);
    assert_eq!(collector.spans("avouch publish").len(), usize::try_from(ROWS).expect("fits"));
    for text in ["spans cannot be delivered", "the collector takes spans again"] {
        assert_eq!(avouch.log().matches(text).count(), 1, "{text}");
    }
}

#[tokio::test]
async fn spans_that_a_collector_will_never_take_are_dropped_and_counted() {
    let answers = |n: usize| [Answer::Status(401), Answer::Reject(1)].get(n).copied().unwrap_or(Answer::Take);
    let collector = Collector::answering(answers).await;
    let (ground, port) = (Ground::new().await, metrics::free_port());
    let settings = format!("headers = {{ authorization = \"Bearer s3cret\" }}\n{}", metrics::config(port));
    let avouch = ground.runtime(&collector.config(&settings)).await;
    // Each waits for what became of the one before, so that each is a request of its own.
    for (rejected, sent) in [(1.0, 0.0), (2.0, 0.0), (2.0, 1.0)] {
        insert_traced(&ground, 1).await;
        counted(&format!("{rejected} are rejected, {sent} taken"), port, |m| {
            dropped(m, "rejected") == rejected && m.sum("avouch_spans_sent_total", &[]) == sent
        })
        .await;
    }
    let log = avouch.log();
    assert!(log.contains("the collector answers 401") && !log.contains("s3cret"), "{log}");
    assert_eq!(log.matches("spans cannot be delivered").count(), 1);
}

#[tokio::test]
async fn spans_that_wait_when_the_runtime_stops_are_sent() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let mut avouch = ground.runtime(&collector.config("")).await;
    insert_traced(&ground, 500).await;
    ground.drained().await;
    assert!(avouch.terminate(secs(30)).await.success());
    assert_eq!(collector.spans("avouch publish").len(), 500);
}

#[tokio::test]
async fn part_of_the_traces_is_told_and_nothing_is_logged_of_them() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let log = "[log]\nfilter = \"debug\"\n";
    let mut avouch = ground.runtime(&format!("{}{log}", collector.config("sample = 0.25\n"))).await;
    insert_traced(&ground, 2_000).await;
    // The last eight bytes of the trace's id decide, as a number: those below a quarter of all.
    let sql = "select count(*) from generate_series(1, 2000) n where substr(md5(n::text), 17, 2) < '40'";
    let wanted: i64 = ground.client.query_one(sql, &[]).await.expect("the server runs").get(0);
    assert!((400..600).contains(&wanted), "{wanted}");
    let told = || i64::try_from(collector.spans("avouch publish").len()).expect("fits");
    until("the part is told", secs(60), async || (told() >= wanted).then_some(())).await;
    ground.drained().await;
    assert!(avouch.terminate(secs(30)).await.success());
    assert_eq!(told(), wanted);
    for text in ["avouch publish", "b7ad6b7169203331"] {
        assert!(!avouch.log().contains(text), "{text} is logged: {}", avouch.log());
    }
}

#[tokio::test]
async fn variables_of_opentelemetry_change_nothing() {
    let (other, collector) = (Collector::start().await, Collector::start().await);
    let (endpoint, traces) = (other.origin(), format!("{}/v1/traces", other.origin()));
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", traces.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=other,x-more=more"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=another"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_SERVICE_NAME", "other"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment=other"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SDK_DISABLED", "true"),
        ("HTTP_PROXY", endpoint.as_str()),
        ("http_proxy", endpoint.as_str()),
    ];
    let ground = Ground::new().await;
    let trace = fresh_trace();

    // Nothing is configured: nothing is told.
    let mut avouch = Avouch::run_with(&ground.config(""), &env).await;
    insert(&ground, &of(&trace), None).await;
    ground.drained().await;
    assert!(avouch.terminate(secs(30)).await.success());

    let settings = ground.config(&collector.config("headers = { authorization = \"ours\" }\n"));
    let _avouch = Avouch::run_with(&settings, &env).await;
    let trace = fresh_trace();
    insert(&ground, &json!({ "traceparent": format!("00-{}-{}-01", trace.0, trace.1) }), None).await;
    let span = span_of(&collector, "avouch publish", &trace.0).await;
    assert_eq!(span.resource.keys().collect::<Vec<_>>(), ["service.name", "service.version"]);
    assert_eq!(span.resource["service.name"], "avouch");
    let asked = &collector.asked()[0];
    assert_eq!((asked.header("authorization"), asked.header("x-more")), (Some("ours"), None));
    assert_eq!(asked.header("content-encoding"), None);
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}
