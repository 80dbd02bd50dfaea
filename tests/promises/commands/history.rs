//! The history that is shown is the one that happened: in order, with its reasons, and with the people in it.

use std::time::Duration;

use async_nats::jetstream::stream;
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::shared;
use avouch_tests::stream::{Names, jetstream_at};
use avouch_tests::wait::until;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::avouch;
use crate::hostile::guest::Guest;
use crate::relayed::{LIMIT, Relayed, config};
use crate::schema::File;

const CONSUMER: &str = "[consumer.billing]\ntopics = [\"orders.>\"]\nack_wait_ms = 500\ndeadline_ms = 500\n[recovery]\nevery_ms = 50\n\
                        [receipts]\nevery_ms = 100\ngrace_ms = 200\n";

async fn json_of(relayed: &Relayed, args: &[&str]) -> Value {
    let told = avouch(&[args, &["--json", "--database-url", relayed.database.url()]].concat(), &[]).await.succeeds();
    serde_json::from_str(&told.text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{}", told.text))
}

async fn text_of(relayed: &Relayed, args: &[&str]) -> String {
    avouch(&[args, &["--database-url", relayed.database.url()]].concat(), &[]).await.succeeds().text
}

/// What happened, in its order.
async fn history(relayed: &Relayed, args: &[&str]) -> Vec<Value> {
    json_of(relayed, args).await["timeline"].as_array().expect("it is a list").clone()
}

fn words(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["what"].as_str().expect("a word")).collect()
}

/// The texts stand in this order.
#[track_caller]
fn says_in_order(text: &str, wanted: &[&str]) {
    let mut rest = text;
    for word in wanted {
        let at = rest.find(word).unwrap_or_else(|| panic!("no {word:?} where it belongs in:\n{text}"));
        rest = &rest[at + word.len()..];
    }
}

/// A relay to a stream that takes a thousand bytes a message.
async fn small_stream() -> (Relayed, stream::Config) {
    let (names, database) = (Names::unique(), Database::create().await);
    let jetstream = jetstream_at(&shared().nats.url()).await;
    let small = stream::Config {
        name: names.stream.clone(),
        subjects: vec![names.subjects()],
        max_message_size: 1_000,
        ..stream::Config::default()
    };
    jetstream.create_stream(small.clone()).await.expect("a stream can be made");
    let settings =
        format!("{CONSUMER}events_stream = \"EVENTS_{}\"\nevents_bytes_max = 16_000_000\n", Uuid::now_v7().simple());
    let avouch = Avouch::run(&config(&database, &shared().nats.url(), &names, &settings)).await;
    let client = database.client().await;
    (Relayed { database, names, client, jetstream, avouch }, small)
}

/// Acknowledges the next message of billing.
async fn acknowledge(relayed: &Relayed) {
    until("billing gets a message", LIMIT, async || acknowledged(relayed).await).await;
}

async fn acknowledged(relayed: &Relayed) -> Option<()> {
    let stream = relayed.jetstream.get_stream(&relayed.names.stream).await.ok()?;
    let durable: async_nats::jetstream::consumer::PullConsumer = stream.get_consumer("billing").await.ok()?;
    let mut batch = durable.batch().max_messages(1).expires(Duration::from_secs(1)).messages().await.ok()?;
    batch.next().await?.ok()?.ack().await.ok()
}

#[tokio::test]
async fn history_of_a_message_that_was_refused_buried_resent_and_received_is_told_in_order() {
    let (relayed, small) = small_stream().await;
    let id = relayed.insert("orders.created", "1", &"x".repeat(2_000)).await;
    let text = id.to_string();
    relayed.in_state(id, "dead").await;
    let large = stream::Config { max_message_size: -1, ..small };
    relayed.jetstream.update_stream(large).await.expect("it may grow");
    text_of(&relayed, &["messages", "resend", &text, "--reason", "the stream takes it now"]).await;
    relayed.in_state(id, "sent").await;
    until("it is acknowledged wherever it is, and consumed", LIMIT, async || {
        acknowledged(&relayed).await;
        let sql = "select from avouch.outbox where id = $1 and state = 'consumed'";
        relayed.client.query_opt(sql, &[&id]).await.expect("is valid").map(drop)
    })
    .await;
    let events = history(&relayed, &["messages", "show", &text]).await;
    assert_eq!(words(&events), ["inserted", "dead", "resent", "sent", "received"], "{events:#?}");
    let (buried, resent, sent, received) = (&events[1], &events[2], &events[3], &events[4]);
    assert!(buried["detail"]["reason"].as_str().is_some_and(|why| why.contains("max_msg_size")), "{buried:#}");
    assert_eq!((&buried["actor"], &buried["detail"]["from"]), (&Value::Null, &json!("ready")));
    assert!(resent["actor"].as_str().is_some_and(|who| who.starts_with("cli:")), "{resent:#}");
    assert_eq!((&resent["detail"]["generation"], &resent["detail"]["from"]), (&json!(1), &json!("dead")));
    assert_eq!(resent["detail"]["why"], "the stream takes it now");
    assert_eq!((&sent["detail"]["stream"], &sent["detail"]["generation"]), (&json!(relayed.names.stream), &json!(1)));
    assert!(sent["detail"]["sequence"].as_i64().is_some_and(|place| place > 0), "{sent:#}");
    assert_eq!(received["consumer"], "billing");
    let shown = text_of(&relayed, &["messages", "show", &text]).await;
    says_in_order(
        &shown,
        &[
            "What happened",
            "inserted",
            "dead",
            "max_msg_size",
            "resent",
            "cli:",
            "takes it now",
            "sent",
            "received",
            "billing",
        ],
    );
    let audit = json_of(&relayed, &["audit"]).await;
    let entry = &audit["audit"][0];
    assert_eq!((&entry["action"], &entry["subject"]), (&json!("resend"), &json!(text)), "{entry:#}");
    assert_eq!(entry["why"], "the stream takes it now");
}

#[tokio::test]
async fn history_of_a_message_that_a_consumer_gave_up_tells_of_its_recovery() {
    let (relayed, _) = small_stream().await;
    let id = relayed.insert("orders.created", "1", "{}").await;
    let text = id.to_string();
    relayed.in_state(id, "sent").await;
    let refuse = format!("select avouch.confirm('billing', '{id}', 'no such order')");
    relayed.client.batch_execute(&refuse).await.expect("is valid");
    relayed.in_state(id, "dead").await;
    text_of(&relayed, &["resend", &text]).await;
    // Whichever of its two places is acknowledged is the receipt, so it must have come to both.
    until("it is sent again", LIMIT, async || {
        let sql = "select from avouch.recovery where message_id = $1 and state = 'sent'";
        relayed.client.query_opt(sql, &[&id]).await.expect("is valid").map(drop)
    })
    .await;
    acknowledge(&relayed).await;
    relayed.in_state(id, "consumed").await;
    let events = history(&relayed, &["messages", "show", &text]).await;
    let of_billing: Vec<&str> =
        events.iter().filter(|e| e["consumer"] == "billing").filter_map(|e| e["what"].as_str()).collect();
    assert_eq!(of_billing, ["dead", "missed", "sent_again", "received"], "{events:#?}");
    let dead = events.iter().find(|e| e["what"] == "dead" && e["consumer"] == "billing").expect("it was");
    assert_eq!(dead["detail"]["reason"], "no such order");
    let missed = events.iter().find(|e| e["what"] == "missed").expect("it was");
    assert!(missed["actor"].as_str().is_some_and(|who| who.starts_with("cli:")), "{missed:#}");
}

/// Twice in progress, once unknown, then a rollback: by how often it was asked before.
fn hesitant() -> Guest {
    let answer = |which: u32, first: u32, second: u32| {
        let stores = [which, first, second].into_iter().zip([4, 8, 12]);
        stores
            .map(|(value, at)| format!("(i32.store (i32.const {}) (i32.const {value}))", 2048 + at))
            .collect::<String>()
    };
    let check = format!(
        "(i32.store (i32.const 2048) (i32.const 0))
         (if (i32.lt_u (local.get $attempt) (i32.const 2)) (then {} (return (i32.const 2048))))
         (if (i32.eq (local.get $attempt) (i32.const 2)) (then {} (return (i32.const 2048))))
         {} (i32.const 2048)",
        answer(2, 1, 20),
        answer(3, 1, 20),
        answer(1, 512, 17)
    );
    Guest { items: "(data (i32.const 512) \"the card declined\")".into(), ..Guest::checking(&check) }.named("hesitant")
}

#[tokio::test]
async fn history_of_a_transaction_tells_each_answer_and_the_version_that_gave_it() {
    let settings = "[checkback]\npoll_max_ms = 100\n[checker.hesitant]\nrollback_after_ms = 0\n";
    let relayed = Relayed::start(settings).await;
    let (guest, wasm) = (File::new("hesitant.wasm", ""), hesitant().wasm());
    std::fs::write(guest.path(), wasm).expect("it can be written");
    text_of(&relayed, &["plugin", "deploy", guest.path(), "--reason", "the first"]).await;
    let digest = json_of(&relayed, &["plugin", "show", "hesitant"]).await["deployments"][0]["digest"].clone();
    assert_eq!(digest.as_str().map(str::len), Some(64));
    let prepare = "select avouch.prepare('hesitant', '0 s', 'payment-42')";
    let tx: Uuid = relayed.client.query_one(prepare, &[]).await.expect("is valid").get(0);
    until("it is rolled back", LIMIT, async || {
        let sql = "select from avouch.tx where id = $1 and state = 'rolled_back'";
        relayed.client.query_opt(sql, &[&tx]).await.expect("is valid").map(drop)
    })
    .await;
    let events = history(&relayed, &["tx", "show", &tx.to_string()]).await;
    assert_eq!(words(&events), ["prepared", "asked", "asked", "asked", "rolled_back"], "{events:#?}");
    assert_eq!(
        (&events[0]["detail"]["checker"], &events[0]["detail"]["reference"]),
        (&json!("hesitant"), &json!("payment-42"))
    );
    for (n, verdict) in ["in progress", "in progress", "unknown"].into_iter().enumerate() {
        let detail = &events[n + 1]["detail"];
        assert_eq!((&detail["verdict"], &detail["checks"]), (&json!(verdict), &json!(n + 1)), "{detail:#}");
        assert!(detail["next"].is_string(), "when it is asked again: {detail:#}");
    }
    assert!(events[1..].iter().all(|e| e["detail"]["plugin"] == digest), "each answer names its version: {events:#?}");
    assert_eq!(
        (&events[4]["detail"]["reason"], &events[4]["detail"]["by"]),
        (&json!("the card declined"), &json!("checker"))
    );
    let shown = text_of(&relayed, &["tx", "show", &tx.to_string()]).await;
    says_in_order(
        &shown,
        &["tx prepared", "in progress", "in progress", "unknown", "tx rolled_back", "the card declined"],
    );
    // Told every ten seconds.
    let used = until("the calls are written down", LIMIT, async || {
        let deployment = json_of(&relayed, &["plugin", "show", "hesitant"]).await["deployments"][0].clone();
        (deployment["calls"] == 4).then_some(deployment)
    })
    .await;
    assert_eq!((&used["errors"], &used["faults"]), (&json!(0), &json!(0)));
    assert!(used["mean_ms"].as_f64() > Some(0.0) && used["max_ms"].as_f64() >= used["mean_ms"].as_f64(), "{used:#}");
}

#[tokio::test]
async fn message_that_a_removed_consumer_never_finished_says_so() {
    let relayed = Relayed::start(CONSUMER).await;
    let id = insert(&relayed, "orders.new").await;
    relayed.client.execute("select avouch.remove_consumer('billing', 'it is gone')", &[]).await.expect("is valid");
    let told = until("nobody waits for it", LIMIT, async || {
        let events = history(&relayed, &["messages", "show", &id.to_string()]).await;
        events.into_iter().find(|e| e["what"] == "released_from")
    })
    .await;
    assert_eq!((&told["consumer"], &told["detail"]["from"]), (&json!("billing"), &json!("sent")), "{told:#}");
}

#[tokio::test]
async fn message_that_is_sent_again_to_somebody_for_whom_nobody_waits_says_so() {
    let relayed = Relayed::start(&CONSUMER.replace("topics", "required = false\ntopics")).await;
    let id = insert(&relayed, "orders.new").await;
    let replay = "select avouch.replay('billing', array[$1]::uuid[])";
    relayed.client.execute(replay, &[&id]).await.expect("is valid");
    let told = until("it is sent again", LIMIT, async || {
        let events = history(&relayed, &["messages", "show", &id.to_string()]).await;
        events.into_iter().find(|e| e["what"] == "sent_again")
    })
    .await;
    assert_eq!((&told["consumer"], &told["detail"]["reason"]), (&json!("billing"), &json!("replayed")), "{told:#}");
    assert!(told["detail"]["sequence"].as_i64() > Some(0), "{told:#}");
}

#[tokio::test]
async fn what_is_still_there_keeps_its_history_and_what_is_gone_does_not() {
    let relayed = Relayed::start("[upkeep]\nevery_ms = 100\nhistory_hours = 1\n").await;
    let (held, gone) = (insert(&relayed, "orders.new").await, Uuid::now_v7());
    let old = "insert into avouch.event (subject, what, at, detail) \
               select s, 'dead', now() - interval '2 h', '{}' from unnest($1::uuid[]) s, generate_series(1, 3)";
    relayed.client.execute(old, &[&vec![held, gone]]).await.expect("is valid");
    let young = "insert into avouch.event (subject, what, detail) values ($1, 'dead', '{}')";
    relayed.client.execute(young, &[&gone]).await.expect("is valid");
    let counts = async || {
        let sql = "select count(*) filter (where subject = $1), count(*) filter (where subject = $2) from avouch.event";
        let row = relayed.client.query_one(sql, &[&held, &gone]).await.expect("is valid");
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    until("what is gone is forgotten", LIMIT, async || (counts().await.1 == 1).then_some(())).await;
    assert_eq!(counts().await, (3, 1), "the message's own, and what happened just now");
}

/// A message, sent.
async fn insert(relayed: &Relayed, topic: &str) -> Uuid {
    let sql = "insert into avouch.outbox (topic, payload) values ($1, '{}') returning id";
    let id: Uuid = relayed.client.query_one(sql, &[&topic]).await.expect("is valid").get(0);
    let is_sent = "select from avouch.outbox where id = $1 and sent_at is not null";
    until("it is sent", LIMIT, async || relayed.client.query_opt(is_sent, &[&id]).await.expect("is valid").map(drop))
        .await;
    id
}

#[tokio::test]
async fn history_of_a_half_message_tells_what_became_of_its_transaction() {
    let relayed = Relayed::start("").await;
    let sql = "insert into avouch.outbox (tx_id, topic, payload) values (avouch.prepare('nobody', '1 h', 'r'), 't', '') returning id, tx_id";
    let row = relayed.client.query_one(sql, &[]).await.expect("is valid");
    let (id, tx): (Uuid, Uuid) = (row.get(0), row.get(1));
    text_of(&relayed, &["tx", "commit", &tx.to_string(), "--reason", "the bank says so"]).await;
    relayed.in_state(id, "sent").await;
    let events = history(&relayed, &["messages", "show", &id.to_string()]).await;
    let of_both: Vec<(&str, &str)> =
        events.iter().filter_map(|e| Some((e["subject"].as_str()?, e["what"].as_str()?))).collect();
    assert_eq!(
        of_both[2..],
        [("transaction", "committed"), ("message", "released"), ("message", "sent")],
        "{events:#?}"
    );
    assert_eq!(events[2]["detail"]["reason"], "the bank says so");
}
