//! Other languages: what the contract promises to any Postgres client and to any NATS client.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use avouch_tests::servers::shared;
use avouch_tests::wait::secs;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

use crate::producers::url_of;
use crate::relayed::Relayed;

const LIMIT: Duration = secs(60);
const KEY: &str = "%D0%BA%D0%BB%D1%8E%D1%87%2042";

/// Runs `tests/foreign/<script>` to its good end and returns the lines that it printed.
async fn python(script: &str, args: &[&str]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".avouch/venv/bin/python");
    assert!(python.exists(), "no {}: run `.ci/setup test`", python.display());
    let script = root.join("tests/foreign").join(script);
    lines(Command::new(python).arg(script).args(args)).await
}

async fn lines(command: &mut Command) -> Vec<String> {
    let ended = timeout(LIMIT, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{command:?} does not end")).expect("it can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it prints UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// The URL of a fresh role that is only in `avouch_producer`.
async fn producer_url(relayed: &Relayed) -> String {
    let role = format!("role_{}", Uuid::now_v7().simple());
    let create = format!("create role {role} login in role avouch_producer");
    relayed.client.batch_execute(&create).await.expect("a role can be made");
    url_of(&relayed.database, &role)
}

/// What each of the Python producers makes: `(topic, payload)` in the order of its one key.
fn story() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("orders.created", br#"{"id":42}"#.to_vec()),
        ("orders.created", (0..=255).collect()),
        ("payments.settled", b"settled".to_vec()),
        ("payments.refused", b"refused".to_vec()),
    ]
}

async fn produces_the_story(script: &str) {
    let relayed = Relayed::start("").await;
    let ids = python(script, &[&producer_url(&relayed).await]).await;
    let arrived = relayed.arrived(4).await;
    relayed.everything_else_went().await;
    let arrived_ids: Vec<_> = arrived.iter().filter_map(|message| message.header("Avouch-Id")).collect();
    assert_eq!(arrived_ids, ids);
    for (message, (topic, payload)) in arrived.iter().zip(story()) {
        assert_eq!(message.header("Avouch-Topic"), Some(topic));
        assert_eq!(message.payload, payload, "{topic}");
        assert_eq!(message.header("Avouch-Key"), Some(KEY));
    }
    assert_eq!(arrived[0].header("traceparent"), Some("00-py"));
    let never = "select count(*) from avouch.outbox where payload = 'never' and state <> 'cancelled'";
    let never: i64 = relayed.client.query_one(never, &[]).await.expect("it can be counted").get(0);
    assert_eq!(never, 0);
}

#[tokio::test]
async fn psycopg_produces_plain_and_half_messages() {
    produces_the_story("psycopg_producer.py").await;
}

#[tokio::test]
async fn asyncpg_produces_plain_and_half_messages() {
    produces_the_story("asyncpg_producer.py").await;
}

#[tokio::test]
async fn psql_produces_plain_and_half_messages() {
    let relayed = Relayed::start("").await;
    let script = "begin;
        insert into avouch.outbox (topic, key, payload) values ('t', 'k', 'one');
        commit;
        select avouch.prepare('payments', '5 minutes', 'payment-42') as tx \\gset
        insert into avouch.outbox (tx_id, topic, key, payload) values (:'tx', 't', 'k', 'two');
        select avouch.commit(:'tx');
        \\copy avouch.outbox (topic, key, payload) from program 'printf \"t\\tk\\tthree\\n\"'";
    let file = crate::schema::File::new("produce.sql", script);
    let url = producer_url(&relayed).await;
    lines(Command::new("psql").args(["-q", "-X", "-v", "ON_ERROR_STOP=1", "-f", file.path(), &url])).await;
    let payloads: Vec<_> = relayed.arrived(3).await.into_iter().map(|message| message.payload).collect();
    assert_eq!(payloads, ["one", "two", "three"]);
}

#[tokio::test]
async fn nats_py_consumes_with_a_durable_and_a_plain_ack() {
    let relayed = Relayed::start("").await;
    let sql = "insert into avouch.outbox (topic, key, payload_bytes, headers) \
               values ('orders.created', 'ключ 42', decode('00ff0d0a', 'hex'), '{\"traceparent\":\"00-1\"}') returning id";
    let id: Uuid = relayed.client.query_one(sql, &[]).await.expect("it is accepted").get(0);
    relayed.insert("payments.settled", "7", "").await;
    relayed.insert("orders.created", "ключ 42", "second").await;
    relayed.arrived(3).await;
    let filter = format!("{}.orders.>", relayed.names.prefix);
    let read = python("nats_consumer.py", &[&shared().nats.url(), &relayed.names.stream, &filter, "2"]).await;
    let read: Vec<Value> = read.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let subject = format!("{}.orders.created", relayed.names.prefix);
    assert!(read.iter().all(|message| message["subject"] == *subject), "{read:?}");
    // Base64.
    assert_eq!(read.iter().map(|message| &message["payload"]).collect::<Vec<_>>(), ["AP8NCg==", "c2Vjb25k"]);
    let id = id.to_string();
    for (name, value) in [
        ("Nats-Msg-Id", &*id),
        ("Avouch-Id", &id),
        ("Avouch-Topic", "orders.created"),
        ("Avouch-Key", KEY),
        ("Avouch-Generation", "0"),
        ("traceparent", "00-1"),
    ] {
        assert_eq!(read[0]["headers"][name], value, "{name}");
    }
    let mut consumer = relayed
        .jetstream
        .get_consumer_from_stream::<async_nats::jetstream::consumer::pull::Config, _, _>(
            "billing",
            &relayed.names.stream,
        )
        .await
        .expect("the durable stays");
    let info = consumer.info().await.expect("it answers");
    assert_eq!((info.num_pending, info.num_ack_pending), (0, 0), "everything is acknowledged");
}
