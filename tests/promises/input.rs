//! Input: what a row may hold, by which named constraint anything else is refused, and that what is accepted arrives
//! unchanged, or dead with a remedy while everything else goes on.

mod any;

use async_nats::jetstream::stream;
use avouch_runtime::dev::nats_server::Options;
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::{OwnNats, shared};
use avouch_tests::stream::{Names, jetstream_at, read_all};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::relayed::{LIMIT, Relayed, config};

/// What Postgres said when it refused.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(result: Result<T, Error>, what: &str) -> DbError {
    let error = result.expect_err(&format!("{what} must be refused"));
    error.as_db_error().unwrap_or_else(|| panic!("{what}: the connection broke: {error:?}")).clone()
}

/// Inserts a message with one column more and checks the name of the constraint that refuses it.
async fn refused_by(constraint: &str, client: &Client, column: &str, values: &[&str]) {
    for value in values {
        let sql = match column {
            "topic" => "insert into avouch.outbox (topic, payload) values ($1, '')",
            "key" => "insert into avouch.outbox (topic, payload, key) values ('t', '', $1)",
            "dedup_key" => "insert into avouch.outbox (topic, payload, dedup_key) values ('t', '', $1)",
            "headers" => "insert into avouch.outbox (topic, payload, headers) values ('t', '', $1::text::jsonb)",
            other => panic!("no statement for column {other}"),
        };
        let error = refusal(client.execute(sql, &[value]).await, &format!("{column} {value:.80?}"));
        assert_eq!(error.constraint(), Some(constraint), "{column} {value:.80?}: {error}");
        assert_eq!((error.code(), error.table()), (&SqlState::CHECK_VIOLATION, Some("outbox")), "{error}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{constraint} says no remedy: {error:?}");
    }
}

#[tokio::test]
async fn topic_that_is_no_subject_is_refused_at_insert_by_a_named_constraint() {
    let database = Database::create().await;
    let client = database.client().await;
    let wildcards = ["*", ">", "a.*", "a.>", "*.a", "a*", "a>b"];
    let empty_tokens = ["", ".", ".a", "a.", "a..b", "..", "a.b."];
    let others = [
        " ",
        "a b",
        " a",
        "a ",
        "a\n",
        "\na",
        "a\nb",
        "a\r\nb",
        "a\tb",
        "a/b",
        "a:b",
        "$JS.API",
        "é",
        "заказ",
        "\u{212a}",
    ];
    for topics in [&wildcards[..], &empty_tokens, &others] {
        refused_by("topic_tokens", &client, "topic", topics).await;
    }
    refused_by("topic_length", &client, "topic", &[&"a".repeat(300), &"a".repeat(201)]).await;
    for topic in ["a", "A-b_9.c.0", &"a".repeat(200)] {
        let sql = "insert into avouch.outbox (topic, payload) values ($1, '')";
        assert_eq!(client.execute(sql, &[&topic]).await.expect("a good topic is accepted"), 1);
    }
}

#[tokio::test]
async fn headers_that_would_forge_or_break_others_are_refused_by_a_named_constraint() {
    let database = Database::create().await;
    let client = database.client().await;
    refused_by("headers_object", &client, "headers", &["[]", "\"x\"", "1", "null", "true", "[{\"a\":\"b\"}]"]).await;
    let reserved = [
        "Nats-Msg-Id",
        "nats-msg-id",
        "NATS-TTL",
        "nats-expected-last-sequence",
        "Nats-Expected-Stream",
        "Nats-Rollup",
        "Avouch-Id",
        "AVOUCH-KEY",
        "avouch-anything",
        "ce-id",
        "CE-Type",
        "Ce-specversion",
    ];
    let broken = ["", " ", "a b", "a:b", ":", "a\r\nb", "a\n", "é", "a\"b", "a(b", "\u{7f}", &"n".repeat(129)];
    for name in reserved.iter().chain(&broken) {
        let headers = serde_json::json!({ "fine": "x", *name: "x" }).to_string();
        refused_by("headers_names", &client, "headers", &[&headers]).await;
    }
    for value in ["\r", "\n", "a\r\nNats-Msg-Id: forged", "\u{1}", "\u{8}", "a\tb", "\u{1b}[2J", "\u{1f}", "\u{7f}"] {
        let headers = serde_json::json!({ "fine": "x", "a": value }).to_string();
        refused_by("headers_values", &client, "headers", &[&headers]).await;
    }
    refused_by("headers_values", &client, "headers", &[r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":{}}"#, r#"{"a":["b"]}"#])
        .await;
    refused_by("headers_size", &client, "headers", &[&serde_json::json!({ "a": "x".repeat(16_385) }).to_string()])
        .await;
}

#[tokio::test]
async fn text_that_is_too_long_or_holds_nul_is_refused() {
    let database = Database::create().await;
    let client = database.client().await;
    // Bytes count, not characters.
    refused_by("key_length", &client, "key", &[&"k".repeat(1025), &"é".repeat(513)]).await;
    refused_by("dedup_key_length", &client, "dedup_key", &["", &"k".repeat(513)]).await;
    for column in ["topic", "key", "payload", "dedup_key"] {
        let sql = match column {
            "topic" => "insert into avouch.outbox (payload, topic) values ('', $1)".to_owned(),
            "payload" => "insert into avouch.outbox (topic, payload) values ('t', $1)".to_owned(),
            _ => format!("insert into avouch.outbox (topic, payload, {column}) values ('t', '', $1)"),
        };
        let error = refusal(client.execute(&sql, &[&"a\0b"]).await, "NUL");
        assert_eq!(error.code(), &SqlState::CHARACTER_NOT_IN_REPERTOIRE, "{column}: {error}");
    }
    let sql = r#"insert into avouch.outbox (topic, payload, headers) values ('t', '', '{"a":"\u0000"}')"#;
    assert_eq!(refusal(client.execute(sql, &[]).await, "NUL").code(), &SqlState::UNTRANSLATABLE_CHARACTER);
}

#[tokio::test]
async fn message_has_exactly_one_payload() {
    let database = Database::create().await;
    let client = database.client().await;
    let both = "insert into avouch.outbox (topic, payload, payload_bytes) values ('t', '', '')";
    let neither = "insert into avouch.outbox (topic) values ('t')";
    for sql in [both, neither] {
        assert_eq!(refusal(client.execute(sql, &[]).await, sql).constraint(), Some("payload_exactly_one"));
    }
}

#[tokio::test]
async fn payload_arrives_byte_identical() {
    let relayed = Relayed::start("").await;
    let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let text = "quotes ' \" \\ $1 {} \r\n\t ключ 🦀 \u{200f}e\u{301} \u{feff}";
    let json = r#"{"b":  1.00, "a":1, "a":2}"#;
    let rows: [(&str, &str, &(dyn ToSql + Sync)); 5] = [
        ("bytes", "payload_bytes", &bytes),
        ("no-bytes", "payload_bytes", &Vec::<u8>::new()),
        ("text", "payload", &text),
        ("no-text", "payload", &""),
        ("json", "payload", &json),
    ];
    for (topic, column, payload) in rows {
        let sql = format!("insert into avouch.outbox (topic, {column}) values ($1, $2)");
        relayed.client.execute(&sql, &[&topic, payload]).await.expect("any payload is accepted");
    }
    let by_assignment = "insert into avouch.outbox (topic, payload) values ('jsonb', jsonb_build_object('id', 42))";
    relayed.client.execute(by_assignment, &[]).await.expect("jsonb is accepted by assignment");
    let expected: [(&str, &[u8]); 6] = [
        ("bytes", &bytes),
        ("no-bytes", b""),
        ("text", text.as_bytes()),
        ("no-text", b""),
        ("json", json.as_bytes()),
        ("jsonb", br#"{"id": 42}"#),
    ];
    let arrived = relayed.arrived(expected.len() as u64).await;
    assert_eq!(arrived.len(), expected.len());
    for (topic, payload) in expected {
        let message = arrived.iter().find(|message| message.header("Avouch-Topic") == Some(topic));
        assert_eq!(message.unwrap_or_else(|| panic!("{topic} arrives")).payload, payload, "{topic}");
    }
}

#[tokio::test]
async fn key_of_any_characters_travels_percent_encoded() {
    let relayed = Relayed::start("").await;
    let long = "ключ-".repeat(113);
    let keys = [
        "",
        " ",
        "42",
        "ключ",
        "a\r\nNats-Msg-Id: forged",
        "100%",
        "%41",
        "🦀",
        "a.*.>",
        "\u{1}\t",
        "a/b+c?d=e",
        &long,
    ];
    let mut ids = Vec::new();
    for key in keys {
        ids.push((relayed.insert("t", key, key).await.to_string(), key));
    }
    let nobodys = "insert into avouch.outbox (topic, payload) values ('t', '') returning id";
    let nobodys: Uuid = relayed.client.query_one(nobodys, &[]).await.expect("a key is optional").get(0);
    let arrived = relayed.arrived(keys.len() as u64 + 1).await;
    for (id, key) in ids {
        let message =
            arrived.iter().find(|message| message.header("Avouch-Id") == Some(&id)).expect("every key arrives");
        let encoded = message.header("Avouch-Key").expect("a key travels, even an empty one");
        assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{encoded}");
        assert_eq!(decoded(encoded), key);
    }
    let nobodys = arrived.iter().find(|message| message.header("Avouch-Id") == Some(&nobodys.to_string()));
    assert_eq!(nobodys.expect("a message without a key arrives").header("Avouch-Key"), None);
}

#[tokio::test]
async fn message_arrives_with_its_identity_and_its_own_headers() {
    let relayed = Relayed::start("").await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let own = serde_json::json!({ "traceparent": traceparent, "X-Tenant!#$%&'*+.^_`|~": "é: ü", "empty": "" });
    let sql = "insert into avouch.outbox (topic, key, payload, headers) \
               values ('orders.created', '42', '{}', $1) returning id";
    let id: Uuid = relayed.client.query_one(sql, &[&own]).await.expect("such headers are accepted").get(0);
    let arrived = relayed.arrived(1).await;
    let [message] = arrived.as_slice() else { panic!("one message arrives, not {arrived:?}") };
    let id = id.to_string();
    assert_eq!(message.subject, format!("{}.orders.created", relayed.names.prefix));
    let expected =
        [("Nats-Msg-Id", &*id), ("Avouch-Id", &id), ("Avouch-Topic", "orders.created"), ("Avouch-Key", "42")];
    for (name, value) in expected.into_iter().chain([("Avouch-Generation", "0")]) {
        assert_eq!(message.header(name), Some(value), "{name}");
    }
    for (name, value) in own.as_object().expect("it is one") {
        assert_eq!(message.header(name), value.as_str(), "{name}");
    }
    let created = message.header("Avouch-Created-At").expect("the time of the insert travels");
    let sql = "select $1::text::timestamptz = created_at from avouch.outbox";
    let is_same: bool =
        relayed.client.query_one(sql, &[&created]).await.expect("it is a time Postgres can read").get(0);
    assert!(is_same, "{created}");
}

#[tokio::test]
async fn message_over_max_payload_is_dead_with_a_remedy_and_holds_only_its_key() {
    const MAX: u32 = 65_536;
    let nats = OwnNats::start_with(Options { max_payload: Some(MAX), ..Options::default() }).await;
    let relayed = Relayed::start_on(Database::create().await, &nats.url(), "[topic.skips]\non_dead = \"skip\"").await;
    let big = "x".repeat(MAX as usize + 1);
    // Headers count too: this one is under the limit by itself.
    let brim = "x".repeat(MAX as usize - 10);
    let dead = [
        relayed.insert("parks", "a", &big).await,
        relayed.insert("parks", "b", &brim).await,
        relayed.insert("skips", "c", &big).await,
    ];
    let parked = [relayed.insert("parks", "a", "after a").await, relayed.insert("parks", "b", "after b").await];
    let skipping = relayed.insert("skips", "c", "after c").await;
    for id in dead {
        let reason = relayed.in_state(id, "dead").await.expect("a dead message has a reason");
        assert!(reason.contains("raise max_payload and resend"), "{reason}");
        assert!(reason.contains("65536"), "{reason}");
    }
    relayed.in_state(skipping, "sent").await;
    relayed.everything_else_went().await;
    for id in parked {
        relayed.in_state(id, "ready").await;
    }
    // The operator corrects one and gives the other up: then their keys go on, the corrected one first.
    let shorter = "update avouch.outbox set payload = 'shorter' where id = $1";
    relayed.client.execute(shorter, &[&dead[0]]).await.expect("an operator may correct a payload");
    relayed
        .client
        .execute("select avouch.resend($1), avouch.discard($2, 'given up')", &[&dead[0], &dead[1]])
        .await
        .expect("both are dead");
    for id in parked {
        relayed.in_state(id, "sent").await;
    }
    relayed.in_state(dead[0], "sent").await;
    let arrived = read_all(&relayed.jetstream, &relayed.names.stream).await;
    let of_key: Vec<_> = arrived.iter().filter(|m| m.header("Avouch-Key") == Some("a")).collect();
    assert_eq!(of_key.iter().map(|m| &*m.payload).collect::<Vec<_>>(), [&b"shorter"[..], b"after a"]);
    assert_eq!(of_key[0].header("Nats-Msg-Id"), Some(&*format!("{}:1", dead[0])));
    assert_eq!(of_key[0].header("Avouch-Id"), Some(&*dead[0].to_string()));
    assert_eq!(of_key[0].header("Avouch-Generation"), Some("1"));
    let log = relayed.avouch.log();
    assert_eq!(log.matches("connected to NATS").count(), 1, "the connection was lost:\n{log}");
    assert!(!log.contains(&"x".repeat(100)), "the log holds a payload");
}

#[tokio::test]
async fn message_over_the_streams_max_msg_size_is_dead_with_a_remedy() {
    let (names, database) = (Names::unique(), Database::create().await);
    let jetstream = jetstream_at(&shared().nats.url()).await;
    let wanted = stream::Config {
        name: names.stream.clone(),
        subjects: vec![names.subjects()],
        max_message_size: 1_000,
        ..stream::Config::default()
    };
    jetstream.create_stream(wanted).await.expect("a stream can be made");
    let avouch = Avouch::run(&config(&database, &shared().nats.url(), &names, "")).await;
    let client = database.client().await;
    let relayed = Relayed { database, names, client, jetstream, avouch };
    let dead = relayed.insert("t", "a", &"x".repeat(2_000)).await;
    let fine = relayed.insert("t", "b", "fine").await;
    let reason = relayed.in_state(dead, "dead").await.expect("a dead message has a reason");
    assert!(reason.contains("max_msg_size") && reason.contains("resend"), "{reason}");
    relayed.in_state(fine, "sent").await;
}

#[tokio::test]
async fn strict_topics_bury_unknown_topics_with_a_remedy() {
    let settings = "strict_topics = true\n[topic.known]\n[topic.fence]\n";
    let mut relayed = Relayed::start(settings).await;
    let (unknown, known) = (relayed.insert("un.known", "a", "1").await, relayed.insert("known", "b", "2").await);
    let reason = relayed.in_state(unknown, "dead").await.expect("a dead message has a reason");
    assert!(reason.contains("add [topic.\"un.known\"], then resend it"), "{reason}");
    relayed.in_state(known, "sent").await;
    // The remedy works.
    relayed.avouch.terminate(LIMIT).await;
    let settings = format!("{settings}[topic.\"un.known\"]\n");
    relayed.avouch = Avouch::run(&config(&relayed.database, &shared().nats.url(), &relayed.names, &settings)).await;
    relayed.client.execute("select avouch.resend($1)", &[&unknown]).await.expect("it is dead");
    relayed.in_state(unknown, "sent").await;
    let arrived = relayed.arrived(2).await;
    let ids: Vec<_> = arrived.iter().filter_map(|message| message.header("Nats-Msg-Id")).collect();
    assert_eq!(ids, [known.to_string(), format!("{unknown}:1")]);
}

/// Undoes percent-encoding.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let hex = std::str::from_utf8(&tail[..2]).expect("two digits follow a percent sign");
            bytes.push(u8::from_str_radix(hex, 16).expect("two digits follow a percent sign"));
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).expect("a key is UTF-8")
}
