//! Whether settings make sense, each and together.

use super::{Config, DEFAULT_STREAM};
use crate::inbox::{ConsumerConfig, Receipt};
use crate::{alarm, consumers, inbox, notify, trace};

/// Written as JSON in JSON it may double, and the rest of the record needs room: NATS's messages have 1 MiB unless configured.
const KV_RESULT_BYTES_MAX: usize = 256 << 10;

/// What cannot be, and what to write instead; nothing if all is fine.
pub fn wrong(config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |fine: bool, text: &str| {
        if !fine {
            wrong.push(text.to_owned());
        }
    };
    check(
        config.stream.len() < 2 || config.default_stream.is_some(),
        "several streams are configured: name the default one, default_stream = \"…\"",
    );
    let known =
        |name: &String| config.stream.contains_key(name) || (config.stream.is_empty() && name == DEFAULT_STREAM);
    check(
        config.default_stream.as_ref().is_none_or(known),
        "default_stream names a stream that is not configured: add [stream.NAME]",
    );
    let mut prefixes = std::collections::BTreeSet::new();
    for (name, stream) in config.streams() {
        check(
            is_subject(&stream.subject_prefix),
            &format!("stream.{name}.subject_prefix: write tokens of letters, digits, - and _ with dots between them"),
        );
        check(
            prefixes.insert(stream.subject_prefix.clone()),
            &format!("stream.{name}.subject_prefix is another stream's too: their subjects must not overlap"),
        );
        check(
            is_subject(&stream.redo_prefix())
                && config.streams().iter().all(|(_, s)| s.subject_prefix != stream.redo_prefix()),
            &format!("stream.{name}.redo_prefix: tokens of letters, digits, - and _, and no stream's subject_prefix"),
        );
        check((1..=5).contains(&stream.replicas), &format!("stream.{name}.replicas: from 1 to 5"));
        let window_fits =
            stream.duplicate_window_s > 0 && (stream.max_age_s == 0 || stream.duplicate_window_s <= stream.max_age_s);
        check(window_fits, &format!("stream.{name}.duplicate_window_s: more than 0 and at most max_age_s"));
    }
    let longest =
        config.streams().iter().map(|(_, s)| s.max_age_s.div_ceil(3600)).chain([config.upkeep.keep_hours]).max();
    let kept = config.inbox.keep_hours;
    check(
        config.consumer.is_empty()
            || kept == 0
            || longest.is_some_and(|hours| hours < kept) && config.streams().iter().all(|(_, s)| s.max_age_s > 0),
        "inbox.keep_hours: longer than every stream.NAME.max_age_s and upkeep.keep_hours, or a message is delivered after what \
         was done with it is forgotten; 0 keeps it for good",
    );
    let metrics = &config.metrics;
    check(
        metrics.listen.is_none_or(|l| l.ip().is_loopback()) || !metrics.allow.is_empty(),
        "metrics.listen is not on loopback: say in metrics.allow who may fetch them, such as [\"10.0.0.0/8\"]",
    );
    let trace = &config.trace;
    check((0.0..=1.0).contains(&trace.sample), "trace.sample: from 0.0 to 1.0");
    check((1..=1_000_000).contains(&trace.queue_max), "trace.queue_max: from 1 to 1000000");
    check(trace.timeout_ms > 0, "trace.timeout_ms: at least 1");
    check(
        trace.endpoint.as_ref().is_none_or(|e| trace::endpoint(e).is_ok()),
        "trace.endpoint: where the collector takes OTLP over HTTP, such as \"http://127.0.0.1:4318\"",
    );
    check(metrics.labels_max <= 10_000, "metrics.labels_max: at most 10000");
    check((1..=10_000).contains(&config.inbox.batch_rows_max), "inbox.batch_rows_max: from 1 to 10000");
    check((1..=1_000_000).contains(&config.inbox.requests_max), "inbox.requests_max: from 1 to 1000000");
    check(config.inbox.result_bytes_max <= 1 << 20, "inbox.result_bytes_max: at most 1048576");
    let kv = &config.inbox.kv;
    check(
        !kv.bucket.is_empty() && !kv.bucket.contains('.') && is_subject(&kv.bucket),
        "inbox.kv.bucket: write letters, digits, - and _",
    );
    check((1..=5).contains(&kv.replicas), "inbox.kv.replicas: from 1 to 5");
    check(
        config.inbox.store == inbox::Store::Table || config.inbox.result_bytes_max <= KV_RESULT_BYTES_MAX,
        "inbox.result_bytes_max: at most 262144 with inbox.store = \"kv\": a record is a message of the broker's",
    );
    for (name, consumer) in &config.consumer {
        let is_token = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        check(
            is_token && (1..=64).contains(&name.len()),
            &format!("consumer.{name:?}: write up to 64 letters, digits, - and _: the name is part of subjects"),
        );
        check(
            (100..=86_400_000).contains(&consumer.lease_ms),
            &format!("consumer.{name}.lease_ms: from 100 to 86400000"),
        );
        check(consumer.attempts_max > 0, &format!("consumer.{name}.attempts_max: at least 1"));
        check(consumer.retry_first_ms > 0, &format!("consumer.{name}.retry_first_ms: at least 1"));
        for fault in durable_faults(config, consumer) {
            check(false, &format!("consumer.{name}.{fault}"));
        }
    }
    check(config.receipts.every_ms > 0, "receipts.every_ms: at least 1");
    check(config.receipts.events_bytes_max >= 1 << 20, "receipts.events_bytes_max: at least 1048576");
    check((1..=10_000).contains(&config.receipts.rows_max), "receipts.rows_max: from 1 to 10000");
    check(config.recovery.every_ms > 0, "recovery.every_ms: at least 1");
    check((1..=10_000).contains(&config.recovery.rows_max), "recovery.rows_max: from 1 to 10000");
    if config.recovery.dead_stream.is_some() {
        let prefix = &config.recovery.dead_prefix;
        check(
            is_subject(prefix) && !prefixes.contains(prefix),
            "recovery.dead_prefix: tokens of letters, digits, - and _, and no stream's subject_prefix",
        );
    }
    check(
        config.recovery.rate_per_s > 0,
        "recovery.rate_per_s: at least 1; to stop one consumer: avouch pause consumer NAME",
    );
    check((1..=10_000).contains(&config.control.requests_max), "control.requests_max: from 1 to 10000");
    check(
        is_subject(&config.control.subject_prefix),
        "control.subject_prefix: write tokens of letters, digits, - and _ with dots between them",
    );
    let served = &config.control.source;
    check(
        served.as_ref().is_none_or(|name| config.source.contains_key(name)),
        "control.source names a database that is not configured: add [source.NAME]",
    );
    check(
        !config.control.enabled || config.source.len() < 2 || served.is_some(),
        "several databases are configured: name the one that producers reach over NATS, control.source = \"…\", or set \
         control.enabled = false",
    );
    for fault in config.admin.faults() {
        check(false, &fault);
    }
    let shown = &config.admin.source;
    check(
        shown.as_ref().is_none_or(|name| config.source.contains_key(name)),
        "admin.source names a database that is not configured: add [source.NAME]",
    );
    check(
        config.admin.listen.is_none() || config.source.len() < 2 || shown.is_some(),
        "several databases are configured: name the one that the API and the console show, admin.source = \"…\"",
    );
    for fault in config.notify.faults(&config.endpoint) {
        check(false, &fault);
    }
    check(
        !config.notify.is_on() || config.source.len() < 2 || config.control.source.is_some(),
        "several sources are configured: control.source names the one that knows what outside parties are told",
    );
    let notifier = config.consumer.get(notify::CONSUMER).filter(|_| config.notify.is_on());
    check(
        notifier.is_none_or(|c| c.receipt == Receipt::Ack && c.plugin.is_none() && !c.topics.is_empty()),
        "consumer.notify: this one brings what outside parties are told: receipt = \"ack\", topics, and no plugin",
    );
    for fault in alarm::Config::faults(&config.alarm) {
        check(false, &fault);
    }
    for (topic, config) in &config.topic {
        check(
            config.rate_per_s != Some(0),
            &format!("topic.\"{topic}\".rate_per_s: at least 1; to stop a topic: avouch pause topic {topic}"),
        );
    }
    let relay = &config.relay;
    check(relay.rows_max >= 64, "relay.rows_max: at least 64");
    check(relay.bytes_max >= 1 << 20, "relay.bytes_max: at least 1048576");
    check(relay.key_rows_max >= 4, "relay.key_rows_max: at least 4");
    check((1..=10_000).contains(&relay.read_rows_max), "relay.read_rows_max: from 1 to 10000");
    check((1..=30_000).contains(&relay.in_flight_max), "relay.in_flight_max: from 1 to 30000");
    check((1..=30_000).contains(&relay.mark_rows_max), "relay.mark_rows_max: from 1 to 30000");
    for (name, ms) in [
        ("relay.ack_timeout_ms", relay.ack_timeout_ms),
        ("relay.retry_first_ms", relay.retry_first_ms),
        ("relay.retry_max_ms", relay.retry_max_ms),
        ("relay.poll_max_ms", relay.poll_max_ms),
        ("relay.safety_poll_ms", relay.safety_poll_ms),
        ("upkeep.every_ms", config.upkeep.every_ms),
        ("rules.deadline_ms", config.rules.deadline_ms),
        ("rules.cpu_ms", config.rules.cpu_ms),
        ("rules.compile_timeout_ms", config.rules.compile_timeout_ms),
        ("checkback.poll_max_ms", config.checkback.poll_max_ms),
        ("checkback.in_progress_ms", config.checkback.in_progress_ms),
        ("checkback.unknown_first_ms", config.checkback.unknown_first_ms),
        ("checkback.broken_first_ms", config.checkback.broken_first_ms),
    ] {
        check(ms > 0, &format!("{name}: at least 1"));
    }
    check(config.shards.lease_ms >= 500, "shards.lease_ms: at least 500");
    check((100..=600_000).contains(&config.doorbell.heartbeat_ms), "doorbell.heartbeat_ms: from 100 to 600000");
    let (rules, checkback) = (&config.rules, &config.checkback);
    check((1..=1_000).contains(&rules.calls_max), "rules.calls_max: from 1 to 1000");
    check((1..=rules.calls_max).contains(&rules.concurrency_max), "rules.concurrency_max: from 1 to rules.calls_max");
    check((1 << 16..=1 << 30).contains(&rules.memory_bytes_max), "rules.memory_bytes_max: from 65536 to 1073741824");
    check(checkback.checker_rows_max > 0 && checkback.rows_max > 0, "checkback.checker_rows_max, rows_max: at least 1");
    check((1..=10_000).contains(&checkback.settle_rows_max), "checkback.settle_rows_max: from 1 to 10000");
    check(checkback.unknowns_max > 0, "checkback.unknowns_max: at least 1");
    check(
        checkback.claim_ms >= rules.deadline_ms.saturating_mul(2),
        "checkback.claim_ms: at least twice rules.deadline_ms, or two instances ask about one transaction",
    );
    wrong
}

/// What is wrong with the durable consumer that this one wants.
fn durable_faults(config: &Config, consumer: &ConsumerConfig) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |fine: bool, text: &str| {
        if !fine {
            faults.push(text.to_owned());
        }
    };
    for (n, topic) in consumer.topics.iter().enumerate() {
        check(
            consumers::is_pattern(topic),
            &format!(
                "topics: {topic:?} is no topic: write tokens of letters, digits, - and _ with dots between them, * for any token, > at the end for any rest"
            ),
        );
        let other = consumer.topics[..n].iter().find(|other| consumers::overlap(other, topic));
        check(
            other.is_none(),
            &format!("topics: {topic:?} and {:?} overlap: leave one of them out", other.unwrap_or(topic)),
        );
    }
    let stream = consumer.stream.clone().unwrap_or_else(|| config.streams()[0].0.clone());
    check(
        consumer.topics.is_empty() || config.streams().iter().any(|(name, _)| *name == stream),
        &format!("stream names {stream:?}, which is not configured: add [stream.{stream}]"),
    );
    for (topic, settings) in &config.topic {
        let goes_to = settings.stream.clone().unwrap_or_else(|| config.streams()[0].0.clone());
        let named = consumer.topics.contains(topic);
        check(
            !named || goes_to == stream,
            &format!(
                "topics: {topic} goes to stream {goes_to}, and this consumer is of {stream}: set its stream, or make a consumer for each"
            ),
        );
    }
    check(
        consumer.receipt == Receipt::Ack || consumer.max_deliver.is_none(),
        "max_deliver: not with receipt = \"inbox\": attempts are counted there, attempts_max",
    );
    check(
        consumer.receipt == Receipt::Ack || config.source.len() < 2,
        "receipt = \"inbox\" needs the inbox and the outbox in one database: with several sources, set receipt = \"ack\"",
    );
    check(
        consumer.receipt == Receipt::Ack || config.inbox.store == inbox::Store::Table || consumer.topics.is_empty(),
        "receipt = \"inbox\" needs inbox.store = \"table\": with \"kv\", set receipt = \"ack\"",
    );
    check(consumer.max_deliver != Some(0), "max_deliver: at least 1, or leave it out");
    check(
        consumer
            .max_deliver
            .is_none_or(|most| consumer.backoff_ms.len() < most as usize || consumer.backoff_ms.is_empty()),
        "backoff_ms: fewer pauses than max_deliver",
    );
    check(consumer.backoff_ms.iter().all(|ms| *ms > 0), "backoff_ms: each at least 1");
    check((100..=86_400_000).contains(&consumer.ack_wait_ms), "ack_wait_ms: from 100 to 86400000");
    check((1..=1_000_000).contains(&consumer.max_ack_pending), "max_ack_pending: from 1 to 1000000");
    check((1..=i32::MAX as u32).contains(&consumer.deadline_ms), "deadline_ms: from 1 to 2147483647");
    faults
}

/// Tokens without wildcards, with dots between them.
fn is_subject(text: &str) -> bool {
    text.split('.').all(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
}
