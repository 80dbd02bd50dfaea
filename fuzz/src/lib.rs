//! What must hold for any bytes that come from outside: bodies of fuzz targets, and plain functions that the test suite runs too.

use avouch_runtime::config::Config;
use avouch_runtime::consumers::{is_pattern, matches, overlap};
use avouch_runtime::control::request as control;
use avouch_runtime::inbox::request as inbox;
use avouch_runtime::lifecycle::{Answer, read_answer};
use avouch_runtime::message::{Message, Payload};
use avouch_runtime::window::Snapshot;
use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

/// A target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, that of its file in fuzz_targets too.
    pub name: &'static str,
    /// Panics if something does not hold.
    pub run: fn(&[u8]),
    /// Where mutating begins.
    pub seeds: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "config", run: config, seeds: CONFIGS },
    Target { name: "control_request", run: control_request, seeds: CONTROL_REQUESTS },
    Target { name: "inbox_request", run: inbox_request, seeds: INBOX_REQUESTS },
    Target { name: "broker_answer", run: broker_answer, seeds: ANSWERS },
    Target { name: "message_headers", run: message_headers, seeds: HEADERS },
    Target { name: "pattern", run: pattern, seeds: PATTERNS },
    Target { name: "snapshot", run: snapshot, seeds: SNAPSHOTS },
];

const CONFIGS: &[&[u8]] = &[
    b"[source.main]\nurl = \"postgres://localhost/x\"\n[nats]\nurl = \"nats://localhost\"\n[stream.A]\nsubject_prefix = \"msg\"\n",
    b"strict_topics = true\n[topic.\"orders.created\"]\nrate_per_s = 5\non_dead = \"skip\"\n[relay]\nrows_max = 8192\n",
    b"[consumer.billing]\ntopics = [\"orders.>\"]\nbackoff_ms = [1, 2]\n[[alarm]]\ncommand = [\"page\"]\nkinds = [\"in_doubt\"]\n",
    b"[binding.http.a]\norigin = \"https://example.com\"\n[checker.payments]\non_exhausted = \"park\"\n",
];
const CONTROL_REQUESTS: &[&[u8]] = &[
    br#"{"id":"0198c5a0-0000-7000-8000-000000000000","checker":"payments","check_after_ms":1,"ref":"r","messages":[{"topic":"t","payload":{"a":1}}]}"#,
    br#"{"checker":"c","check_after_ms":0,"messages":[{"topic":"t","key":"k","payload_base64":"AP8=","headers":{"a":"b"},"release_on":"commit","not_before":"2026-01-31T12:00:00Z","dedup_key":"d"}]}"#,
    br#"{"id":"0198c5a0-0000-7000-8000-000000000000","reason":"declined"}"#,
];
const INBOX_REQUESTS: &[&[u8]] = &[
    br#"{"key":"k","token":7,"result":{"a":1}}"#,
    br#"{"key":"k","token":7,"reason":"no","permanent":true,"retry_after_ms":5}"#,
    br#"{"id":"0198c5a0-0000-7000-8000-000000000000"}"#,
];
const ANSWERS: &[&[u8]] = &[
    br#"{"stream":"A","seq":7,"duplicate":true,"domain":"hub"}"#,
    br#"{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"},"stream":"A","seq":0}"#,
];
const HEADERS: &[&[u8]] =
    &[br#"{"traceparent":"00-1","X-Tenant!#$%&'*+.^_`|~":"\u00e9"}"#, br#"{"Nats-Msg-Id":"x","a":1}"#];
const PATTERNS: &[&[u8]] = &[b"orders.*.>\norders.created.x", b">\na", b"*.b\na.*"];
const SNAPSHOTS: &[&[u8]] = &[b"10:20:11,15", b"1:1:", b"18446744073709551615:18446744073709551615:"];

/// Any text is a configuration, or a fault that is told.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Config::parse(&text) {
        Ok(config) => {
            assert!(!config.streams().is_empty(), "there is a default stream");
            config.topics().expect("a valid configuration names only streams that it has");
            config.durables();
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a fault says what it is"),
    }
}

/// Any body is a request of a producer, or is refused with a reason.
pub fn control_request(data: &[u8]) {
    let read = |body| control::parse::<control::Prepare>(body, control::PREPARE_BYTES_MAX)?.read();
    if let Ok((_, messages)) = read(data) {
        assert!(messages.len() <= control::MESSAGES_MAX, "a request is bounded");
        assert!(messages.iter().all(|m| m.payload.is_some() != m.payload_bytes.is_some()), "exactly one payload");
    }
    drop(control::parse::<control::Word>(data, control::BYTES_MAX));
    drop(control::parse::<control::Look>(data, control::BYTES_MAX));
}

/// Any message and any body is a request of a consumer, or is refused with a reason.
pub fn inbox_request(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for id in [None, Some(text.as_ref())] {
        if let Ok(begin) = inbox::begin("billing", id, data) {
            assert_eq!(Ok(begin.message), begin.key.parse::<Uuid>(), "the key of a message is its id");
        }
        drop(inbox::confirm("billing", id, data));
    }
    let said = [inbox::complete("billing", data, 1 << 10), inbox::renew("billing", data), inbox::fail("billing", data)];
    for finish in said.into_iter().flatten() {
        assert!(!finish.key.is_empty() && !finish.key.contains('\0'), "Postgres takes the key");
        assert!(finish.text.is_none_or(|text| text.len() <= 4 << 10), "what is kept is bounded");
    }
}

/// Any answer of a broker is read, and only a PubAck is possession.
pub fn broker_answer(data: &[u8]) {
    if let Answer::Stored { stream, stream_seq, .. } = read_answer(false, data) {
        assert!(!stream.is_empty() && stream_seq > 0, "possession has a place");
        if let Ok(ack) = serde_json::from_slice::<serde_json::Value>(data) {
            assert!(ack.get("error").is_none_or(serde_json::Value::is_null), "an error is no possession");
        }
    }
    assert!(matches!(read_answer(true, data), Answer::Unavailable(_)), "nobody answers");
}

/// Any text as headers is sent or refused, and replaces none of ours.
pub fn message_headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let message = Message {
        shard: 0,
        seq: 1,
        id: Uuid::from_u128(7),
        generation: 1,
        created_at: OffsetDateTime::UNIX_EPOCH,
        topic: "t".into(),
        key: Some(text.as_ref().into()),
        payload: Payload::Here(Bytes::new()),
        headers: Some(text.as_ref().into()),
    };
    if let Ok(map) = message.wire_headers() {
        let id = map.get("Nats-Msg-Id").expect("every message has one");
        assert_eq!(id.as_str(), message.msg_id(), "no header of a row replaces it");
        let is_one_line = |v: &async_nats::HeaderValue| !v.as_str().contains(['\r', '\n']);
        assert!(map.iter().all(|(_, values)| values.iter().all(is_one_line)), "no value forges another header");
    }
}

/// Two patterns overlap if a topic is of both.
pub fn pattern(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let (a, b) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if is_pattern(a) && is_pattern(b) {
        assert_eq!(overlap(a, b), overlap(b, a), "{a} {b}");
        assert!(!matches(a, b) || overlap(a, b), "{a} {b}");
    }
}

/// Any text is a snapshot or an error.
pub fn snapshot(data: &[u8]) {
    drop(Snapshot::parse(&String::from_utf8_lossy(data), u32::MAX));
}
