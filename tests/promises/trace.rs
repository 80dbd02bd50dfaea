//! Traces of producers go on: publishes, check-backs and the gate are spans of them.

mod collectors;

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use avouch_tests::collector::{Collector, Span};
use avouch_tests::plugins;
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::avouch;
use crate::control::Desk;
use crate::ground::Ground;
use crate::hostile::guest::Guest;
use crate::hostile::running::{committed, deploy};
use crate::schema::File;

/// A trace that its producer has sampled: its id, and the id of the producer's span.
fn fresh_trace() -> (String, String) {
    let id = Uuid::now_v7().simple().to_string();
    // The end of such an id is random.
    let span = id[16..].to_owned();
    (id, span)
}

fn traceparent((trace, span): &(String, String), flags: &str) -> String {
    format!("00-{trace}-{span}-{flags}")
}

/// Headers with this trace.
fn of(trace: &(String, String)) -> Value {
    json!({ "traceparent": traceparent(trace, "01") })
}

/// Inserts a row with these headers, held by this transaction if there is one; returns its id.
async fn insert(ground: &Ground, headers: &Value, tx: Option<Uuid>) -> Uuid {
    let sql = "insert into avouch.outbox (topic, key, payload, headers, tx_id) values ('orders.created', 'k', '{}', $1, $2) \
               returning id";
    ground.client.query_one(sql, &[headers, &tx]).await.expect("the row is valid").get(0)
}

/// Waits for the span of this name in this trace.
async fn span_of(collector: &Collector, name: &str, trace: &str) -> Span {
    until(&format!("{name} of trace {trace}"), secs(30), async || {
        collector.spans(name).into_iter().find(|span| span.trace_id == trace)
    })
    .await
}

/// Fails unless the span says all of this.
fn says(span: &Span, wanted: &[(&str, &str)]) {
    for (key, value) in wanted {
        assert_eq!(span.attributes.get(*key).map(String::as_str), Some(*value), "{key} of {span:?}");
    }
}

// ── Publishes ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test]
async fn publish_is_a_span_of_the_trace_of_its_row() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let secret = "headers = { authorization = \"Bearer s3cret\" }\nservice_name = \"shop-relay\"\n";
    let _avouch = ground.runtime(&collector.config(secret)).await;
    let (plain, not_sampled, trace) = (json!({ "a": "b" }), fresh_trace(), fresh_trace());
    insert(&ground, &plain, None).await;
    insert(&ground, &json!({ "traceparent": traceparent(&not_sampled, "00") }), None).await;
    let carried = traceparent(&trace, "01");
    let id = insert(&ground, &json!({ "traceparent": carried, "tracestate": "shop=7" }), None).await;
    let span = span_of(&collector, "avouch publish", &trace.0).await;
    assert_eq!((&span.parent_id, span.state.as_str()), (&trace.1, "shop=7"));
    assert!(span.span_id != trace.1 && !span.is_failure && span.times.0 <= span.times.1, "{span:?}");
    says(
        &span,
        &[
            ("messaging.system", "nats"),
            ("messaging.operation.type", "send"),
            ("messaging.message.id", &id.to_string()),
            ("messaging.destination.name", &format!("{}.orders.created", ground.names.prefix)),
            ("avouch.topic", "orders.created"),
            ("avouch.stream", &ground.names.stream),
            ("avouch.stream_seq", "3"),
            ("avouch.generation", "0"),
            ("avouch.retries", "0"),
        ],
    );
    assert_eq!(span.resource["service.name"], "shop-relay");
    // The same key: both went before it, and their batches with it.
    assert_eq!(collector.spans("avouch publish").len(), 1, "what has no trace, or none that is sampled, is not told");
    let asked = collector.asked();
    assert_eq!((asked[0].path(), asked[0].header("authorization")), ("/v1/traces", Some("Bearer s3cret")));
    assert_eq!(asked[0].header("content-type"), Some("application/x-protobuf"));
}

#[tokio::test]
async fn headers_of_traces_travel_unchanged() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let _avouch = ground.runtime(&collector.config("root = true\n")).await;
    let trace = fresh_trace();
    let all = [
        json!({ "traceparent": traceparent(&trace, "01"), "tracestate": "a=b=,c= d ,, e=f" }),
        json!({ "Traceparent": traceparent(&trace, "03"), "TRACESTATE": "x".repeat(2_000) }),
        json!({ "traceparent": "no trace at all", "tracestate": "" }),
        json!({}),
    ];
    for headers in &all {
        insert(&ground, headers, None).await;
    }
    ground.drained().await;
    let sent = ground.stream().await;
    assert_eq!(sent.len(), all.len());
    for (message, headers) in sent.iter().zip(&all) {
        let of_traces: BTreeMap<String, String> = message
            .headers
            .iter()
            .map(|(name, values)| (name.to_string(), values.iter().map(|v| v.as_str()).collect::<Vec<_>>().join("\n")))
            .filter(|(name, _)| name.to_ascii_lowercase().starts_with("trace"))
            .collect();
        assert_eq!(json!(of_traces), *headers);
    }
}

#[tokio::test]
async fn what_comes_without_a_trace_starts_one_if_that_is_configured() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let _avouch = ground.runtime(&collector.config("root = true\n")).await;
    let id = insert(&ground, &json!({}), None).await.to_string();
    let is_it = |span: &Span| span.attributes.get("messaging.message.id") == Some(&id);
    let span = until("its span", secs(30), async || collector.spans("avouch publish").into_iter().find(is_it)).await;
    assert_eq!((span.parent_id.as_str(), span.trace_id.len()), ("", 32));
}

#[tokio::test]
async fn dead_message_is_a_span_that_failed() {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let avouch = ground.runtime(&collector.config("")).await;
    let trace = fresh_trace();
    let sql = "insert into avouch.outbox (topic, payload, headers) values ('orders.large', repeat('x', 2 << 20), $1)";
    ground.client.execute(sql, &[&of(&trace)]).await.expect("the outbox takes it");
    let span = span_of(&collector, "avouch publish", &trace.0).await;
    assert!(span.is_failure);
    says(&span, &[("error.type", "too_large")]);
    let line = avouch.wait_for_log("\"alarm\":\"dead\"", secs(30)).await;
    assert!(line.contains(&format!("\"trace_id\":\"{}\"", trace.0)), "{line}");
}

/// Consumers whose events no other test reads.
async fn consumed(settings: &str) -> (Desk, Collector, avouch_tests::process::Avouch) {
    let (desk, collector) = (Desk::new().await, Collector::start().await);
    let more = format!(
        "[consumer.billing]\ntopics = [\"orders.>\"]\n{settings}[receipts]\nevery_ms = 100\ngrace_ms = 200\n\
         [recovery]\nevery_ms = 50\n{}",
        collector.config("")
    );
    let avouch = desk.runtime(&more).await;
    (desk, collector, avouch)
}

async fn durable(desk: &Desk) -> PullConsumer {
    until("the durable is made", secs(30), async || {
        desk.ground.jetstream.get_stream(&desk.ground.names.stream).await.ok()?.get_consumer("billing").await.ok()
    })
    .await
}

#[tokio::test]
async fn what_is_sent_again_is_a_publish_in_the_same_trace() {
    // What was purged is missed once its deadline is over.
    let (desk, collector, _avouch) = consumed("deadline_ms = 500\n").await;
    durable(&desk).await;
    let trace = fresh_trace();
    insert(&desk.ground, &of(&trace), None).await;
    span_of(&collector, "avouch publish", &trace.0).await;
    desk.ground.drained().await;
    let stream = desk.ground.jetstream.get_stream(&desk.ground.names.stream).await;
    stream.expect("it was made").purge().await.expect("is allowed");
    let span = until("the span of its second publish", secs(30), async || {
        let is_it = |s: &Span| s.trace_id == trace.0 && s.attributes["avouch.generation"] != "0";
        collector.spans("avouch publish").into_iter().find(is_it)
    })
    .await;
    assert_eq!(span.parent_id, trace.1);
    says(&span, &[("avouch.generation", "1"), ("avouch.consumer", "billing"), ("avouch.topic", "orders.created")]);
    let sent = desk.ground.stream().await;
    let again = sent.iter().find(|m| m.header("Avouch-Generation") == Some("1")).expect("it was sent again");
    assert_eq!(again.header("traceparent"), Some(traceparent(&trace, "01").as_str()));
}

#[tokio::test]
async fn log_line_about_a_message_that_a_consumer_gave_up_names_its_trace() {
    let (desk, _collector, avouch) = consumed("").await;
    let (durable, trace) = (durable(&desk).await, fresh_trace());
    // Names of headers are the same in any case.
    let id = insert(&desk.ground, &json!({ "TraceParent": traceparent(&trace, "00") }), None).await;
    let mut messages = durable.messages().await.expect("a consumer can be read");
    let message = messages.next().await.expect("it does not end").expect("it can be read");
    message.ack_with(AckKind::Term).await.expect("the server runs");
    let line = avouch.wait_for_log("\"alarm\":\"dead\"", secs(30)).await;
    assert!(line.contains(&format!("\"trace_id\":\"{}\"", trace.0)) && line.contains(&id.to_string()), "{line}");
}

// ── Check-backs ────────────────────────────────────────────────────────────────────────────────────────────────────

/// A transaction that a checker is asked about, with messages of these traces; its check-back's span.
async fn checked(traces: &[&(String, String)]) -> (Ground, Collector, Span) {
    let (ground, collector) = (Ground::new().await, Collector::start().await);
    let settings = format!("{}[checkback]\npoll_max_ms = 50\n", collector.config(""));
    deploy(&File::new("avouch.toml", &ground.config(&settings)), Guest::good().named("good")).await.succeeds();
    let prepared = ground.client.query_one("select avouch.prepare('good', '1 second')", &[]).await;
    let tx: Uuid = prepared.expect("a transaction may be prepared").get(0);
    for trace in traces {
        insert(&ground, &of(trace), Some(tx)).await;
    }
    let _avouch = ground.runtime(&settings).await;
    committed(&ground, tx).await;
    let is_it = |span: &Span| span.attributes.get("avouch.tx.id") == Some(&tx.to_string());
    let found = async || collector.spans("avouch check-back").into_iter().find(is_it);
    let span = until("its span", secs(30), found).await;
    let digest = "select digest from avouch.deployment where name = 'good'";
    let digest: String = ground.client.query_one(digest, &[]).await.expect("it is deployed").get(0);
    says(&span, &[("avouch.plugin", "good"), ("avouch.verdict", "commit"), ("avouch.plugin.digest", &digest)]);
    // What it held goes out in its producer's trace.
    for trace in traces {
        span_of(&collector, "avouch publish", &trace.0).await;
    }
    (ground, collector, span)
}

#[tokio::test]
async fn check_back_is_a_span_of_the_trace_that_started_its_transaction() {
    let trace = fresh_trace();
    let (_ground, _collector, span) = checked(&[&trace, &trace]).await;
    assert_eq!((&span.trace_id, &span.parent_id), (&trace.0, &trace.1));
    assert!(span.links.is_empty(), "{span:?}");
}

#[tokio::test]
async fn check_back_of_several_traces_is_a_trace_of_its_own_linked_with_them() {
    let (one, two) = (fresh_trace(), fresh_trace());
    let (_ground, _collector, span) = checked(&[&one, &two]).await;
    assert_eq!((&span.links, span.parent_id.as_str()), (&vec![one.0.clone(), two.0.clone()], ""));
    assert!(span.trace_id != one.0 && span.trace_id != two.0);
}

// ── The gate ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Asks the gate as this consumer, with the headers of a message.
async fn ask(desk: &Desk, word: &str, headers: &HeaderMap, body: &Value) -> Value {
    let subject = format!("avouch.v1.inbox.{word}.billing");
    let answer = desk.nats.request_with_headers(subject, headers.clone(), body.to_string().into()).await;
    serde_json::from_slice(&answer.expect("it answers").payload).expect("an answer is JSON")
}

fn message(id: &str, trace: &(String, String)) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Avouch-Id", id);
    // As clients in Go write it.
    headers.insert("Traceparent", traceparent(trace, "01").as_str());
    headers
}

#[tokio::test]
async fn gate_is_a_span_of_the_trace_of_the_message() {
    let (desk, collector) = (Desk::new().await, Collector::start().await);
    let _avouch = desk.runtime(&format!("[consumer.billing]\n{}", collector.config(""))).await;
    let (trace, id) = (fresh_trace(), Uuid::now_v7().to_string());
    let headers = message(&id, &trace);
    let begun = ask(&desk, "begin", &headers, &json!({})).await;
    ask(&desk, "complete", &headers, &json!({ "key": begun["key"], "token": 0 })).await;
    ask(&desk, "complete", &headers, &json!({ "key": begun["key"], "token": begun["token"] })).await;
    ask(&desk, "complete", &headers, &json!("nonsense")).await;
    for (name, decision, is_failure) in [
        ("avouch inbox begin", Some("run"), false),
        ("avouch inbox complete", Some("fenced"), false),
        ("avouch inbox complete", Some("done"), false),
        ("avouch inbox complete", None, true),
    ] {
        let span = until(&format!("{name} that is {decision:?}"), secs(30), async || {
            let of_it = collector.spans(name).into_iter().filter(|span| span.trace_id == trace.0);
            of_it.into_iter().find(|span| span.attributes.get("avouch.decision").map(String::as_str) == decision)
        })
        .await;
        assert_eq!((span.parent_id.as_str(), span.is_failure), (trace.1.as_str(), is_failure), "{name}");
        says(&span, &[("avouch.consumer", "billing"), ("messaging.message.id", &id)]);
        assert_eq!(span.attributes.get("error.type").map(String::as_str), is_failure.then_some("invalid"));
    }
}

#[tokio::test]
async fn gate_with_a_plugin_names_it_and_its_lines_name_the_trace() {
    let (desk, collector) = (Desk::new().await, Collector::start().await);
    let settings = format!("[consumer.billing]\nplugin = \"fingerprint\"\n{}", collector.config(""));
    let config = File::new("avouch.toml", &desk.ground.config(""));
    let file = plugins::file("fingerprint");
    let deploy =
        ["plugin", "deploy", file.to_str().expect("a UTF-8 path"), "--set", "id=/order", "--config", config.path()];
    avouch(&deploy, &[]).await.succeeds();
    let avouch = desk.runtime(&settings).await;
    let (trace, id) = (fresh_trace(), Uuid::now_v7().to_string());
    let begun = ask(&desk, "begin", &message(&id, &trace), &json!({ "order": 7 })).await;
    assert_eq!(begun["decision"], "run", "{begun}");
    let span = span_of(&collector, "avouch inbox begin", &trace.0).await;
    says(&span, &[("avouch.plugin", "fingerprint"), ("avouch.decision", "run")]);
    let rejected = fresh_trace();
    ask(&desk, "begin", &message(&id, &rejected), &json!({ "amount": 7 })).await;
    let line = avouch.wait_for_log("a message cannot be judged", secs(30)).await;
    assert!(line.contains(&format!("\"trace_id\":\"{}\"", rejected.0)) && line.contains(&id), "{line}");
}
