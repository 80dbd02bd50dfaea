//! Consumers do things once: what they are told when they ask, and effects beside `avouch.inbox_once`.

mod judged;

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::control::Desk;
use crate::ground::{random, rounds};

struct Gate {
    desk: Desk,
    avouch: Avouch,
}

impl Gate {
    async fn new(consumer: &str) -> Gate {
        let desk = Desk::new().await;
        let avouch = desk.runtime(consumer).await;
        until("the inbox to answer", secs(10), async || {
            desk.nats.request("$SRV.PING.avouch-inbox", "".into()).await.ok()
        })
        .await;
        Gate { desk, avouch }
    }

    async fn begin_as(&self, consumer: &str, id: Uuid, payload: &str) -> Value {
        let mut headers = HeaderMap::new();
        headers.insert("Avouch-Id", id.to_string().as_str());
        let subject = format!("avouch.v1.inbox.begin.{consumer}");
        let answer = self.desk.nats.request_with_headers(subject, headers, payload.to_owned().into()).await;
        serde_json::from_slice(&answer.expect("it is answered").payload).expect("an answer is JSON")
    }

    async fn begin(&self, id: Uuid) -> Value {
        self.begin_as("billing", id, "{}").await
    }

    async fn say(&self, word: &str, body: Value) -> Value {
        let subject = format!("avouch.v1.inbox.{word}.billing");
        let answer = self.desk.nats.request(subject, body.to_string().into()).await.expect("it is answered");
        serde_json::from_slice(&answer.payload).expect("an answer is JSON")
    }

    async fn sql(&self, sql: &str) {
        self.desk.ground.client.batch_execute(sql).await.expect("is valid");
    }

    async fn state(&self, id: Uuid) -> String {
        let sql = "select state from avouch.inbox where key = $1";
        self.desk.ground.client.query_one(sql, &[&id.to_string()]).await.expect("it has a record").get(0)
    }
}

const BILLING: &str = "[consumer.billing]\n";

fn is(answer: &Value, decision: &str) -> bool {
    answer["decision"] == decision
}

#[tokio::test]
async fn one_of_many_askers_runs_and_the_others_are_told_the_result() {
    let gate = Gate::new(BILLING).await;
    let _second = gate.desk.ground.runtime(BILLING).await;
    for _ in 0..20 {
        let id = Uuid::now_v7();
        let answers = join_all((0..30).map(|_| gate.begin(id))).await;
        let (run, rest): (Vec<_>, Vec<_>) = answers.iter().partition(|a| is(a, "run"));
        assert_eq!(run.len(), 1, "{answers:?}");
        assert!(
            rest.iter().all(|a| is(a, "busy") && a["retry_after_ms"].as_i64().is_some_and(|ms| ms > 0)),
            "{rest:?}"
        );
        let (key, token) = (&run[0]["key"], &run[0]["token"]);
        assert_eq!((key, &run[0]["attempt"]), (&json!(id.to_string()), &json!(1)));
        // Twice, as if its first answer had been lost.
        for _ in 0..2 {
            let done = json!({ "key": key, "token": token, "result": { "invoice": 7 } });
            assert!(is(&gate.say("complete", done).await, "done"));
        }
        let again = gate.begin(id).await;
        assert_eq!((&again["decision"], &again["result"]), (&json!("done"), &json!({ "invoice": 7 })));
        let late = gate.say("fail", json!({ "key": key, "token": token, "reason": "no" })).await;
        assert!(is(&late, "fenced"), "{late}");
    }
}

#[tokio::test]
async fn paused_holder_is_fenced_once_another_runs() {
    let gate = Gate::new("[consumer.billing]\nlease_ms = 300\n").await;
    let id = Uuid::now_v7();
    let first = gate.begin(id).await;
    assert!(is(&gate.begin(id).await, "busy"));
    // Renewed, it holds for longer than its lease.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let renewed = gate.say("renew", json!({ "key": first["key"], "token": first["token"] })).await;
        assert_eq!(renewed["lease_ms"], 300, "{renewed}");
        assert!(is(&gate.begin(id).await, "busy"));
    }
    let second = until("the lease to end", secs(10), async || {
        let answer = gate.begin(id).await;
        is(&answer, "run").then_some(answer)
    })
    .await;
    assert!(second["token"].as_i64() > first["token"].as_i64(), "tokens grow: {first} {second}");
    assert_eq!(second["attempt"], 2);
    for word in ["complete", "renew"] {
        let late = gate.say(word, json!({ "key": first["key"], "token": first["token"] })).await;
        assert!(is(&late, "fenced"), "{word}: {late}");
    }
    assert!(is(&gate.say("complete", json!({ "key": second["key"], "token": second["token"] })).await, "done"));
    assert!(is(&gate.say("complete", json!({ "key": first["key"], "token": first["token"] })).await, "fenced"));
}

#[tokio::test]
async fn parked_effect_is_not_repeated() {
    let gate = Gate::new("[consumer.billing]\nlease_ms = 100\ntakeover = \"park\"\n").await;
    let id = Uuid::now_v7();
    let first = gate.begin(id).await;
    let parked = until("the lease to end", secs(10), async || {
        let answer = gate.begin(id).await;
        assert!(!is(&answer, "run"), "{answer}");
        is(&answer, "reject").then_some(answer)
    })
    .await;
    assert!(parked["reason"].as_str().is_some_and(|r| r.contains("is not known")), "{parked}");
    assert!(is(&gate.say("complete", json!({ "key": first["key"], "token": first["token"] })).await, "fenced"));
    assert_eq!(gate.state(id).await, "parked");
    let once = "select avouch.inbox_once('billing', $1)";
    let refused = gate.desk.ground.client.query_one(once, &[&id]).await.expect_err("nobody knows whether it was done");
    assert!(refused.as_db_error().is_some_and(|e| e.message().contains("is parked")), "{refused:?}");
    let decide = "select avouch.inbox_decide('billing', $1, 'retry', 'the bank has not seen it')";
    for is_parked in [true, false] {
        let row = gate.desk.ground.client.query_one(decide, &[&id.to_string()]).await.expect("the operator may");
        assert_eq!(row.get::<_, bool>(0), is_parked);
    }
    assert_eq!(gate.begin(id).await["attempt"], 1);
}

#[tokio::test]
async fn another_payload_under_one_id_is_a_conflict() {
    let gate = Gate::new(BILLING).await;
    let id = Uuid::now_v7();
    let first = gate.begin_as("billing", id, "10 EUR").await;
    for _ in 0..2 {
        let other = gate.begin_as("billing", id, "20 EUR").await;
        assert!(
            is(&other, "conflict") && other["reason"].as_str().is_some_and(|r| r.contains("fingerprint")),
            "{other}"
        );
        gate.say("complete", json!({ "key": first["key"], "token": first["token"] })).await;
    }
    assert!(is(&gate.begin_as("billing", id, "10 EUR").await, "done"));
}

#[tokio::test]
async fn failures_are_tried_again_with_pauses_and_then_rejected() {
    let gate = Gate::new("[consumer.billing]\nattempts_max = 3\nretry_first_ms = 50\nretry_max_ms = 100\n").await;
    let id = Uuid::now_v7();
    for attempt in 1..=3 {
        let run = until("the next attempt", secs(10), async || {
            let answer = gate.begin(id).await;
            assert!(is(&answer, "run") || is(&answer, "busy"), "{answer}");
            is(&answer, "run").then_some(answer)
        })
        .await;
        assert_eq!(run["attempt"], attempt);
        let word = json!({ "key": run["key"], "token": run["token"], "reason": "the bank is closed" });
        let failed = gate.say("fail", word).await;
        assert_eq!(failed["decision"], if attempt < 3 { "busy" } else { "reject" }, "{failed}");
    }
    let rejected = gate.begin(id).await;
    assert!(is(&rejected, "reject") && rejected["reason"] == "attempt 3: the bank is closed", "{rejected}");
    let id = Uuid::now_v7();
    let run = gate.begin(id).await;
    let word = json!({ "key": run["key"], "token": run["token"], "reason": "no such account", "permanent": true });
    assert!(is(&gate.say("fail", word).await, "reject"));
    assert_eq!(gate.begin(id).await["reason"], "no such account");
}

#[tokio::test]
async fn garbage_is_refused_by_name_and_nothing_stops() {
    let gate = Gate::new(BILLING).await;
    let code = |answer: &Value| answer["error"]["code"].as_str().unwrap_or("none").to_owned();
    let nobody = gate.begin_as("nobody", Uuid::now_v7(), "{}").await;
    assert_eq!(code(&nobody), "not_found", "{nobody}");
    let bare = gate.desk.nats.request("avouch.v1.inbox.begin.billing", "{}".into()).await.expect("it is answered");
    let bare: Value = serde_json::from_slice(&bare.payload).expect("it is JSON");
    assert!(code(&bare) == "invalid" && bare.to_string().contains("Avouch-Id"), "{bare}");
    let large = json!({ "key": "k", "token": 1, "result": "x".repeat(20_000) });
    for body in [json!({}), json!({ "key": "k" }), json!({ "key": "k\u{0}", "token": 1 }), json!([1]), large] {
        assert_eq!(code(&gate.say("complete", body).await), "invalid");
    }
    let stale = gate.say("complete", json!({ "key": "never begun", "token": i64::MAX })).await;
    assert!(is(&stale, "fenced"), "{stale}");
    let any_bytes = gate.desk.nats.clone();
    let mut headers = HeaderMap::new();
    headers.insert("Avouch-Id", Uuid::now_v7().to_string().as_str());
    let begun =
        any_bytes.request_with_headers("avouch.v1.inbox.begin.billing", headers, vec![0u8, 255, 10].into()).await;
    let begun: Value = serde_json::from_slice(&begun.expect("it is answered").payload).expect("it is JSON");
    assert!(is(&begun, "run"), "{begun}");
}

#[tokio::test]
async fn record_that_somebody_holds_holds_up_nobody_else() {
    let gate = Gate::new(BILLING).await;
    let held = Uuid::now_v7();
    let run = gate.begin(held).await;
    let slow = gate.desk.ground.database.client().await;
    let sql = "select avouch.inbox_complete('billing', $1, $2)";
    slow.batch_execute("begin").await.expect("the server runs");
    let token = run["token"].as_i64().expect("a number");
    slow.query_one(sql, &[&held.to_string(), &token]).await.expect("it holds the token");
    let once = Uuid::now_v7();
    slow.query_one("select avouch.inbox_once('billing', $1)", &[&once]).await.expect("it may");
    let asked =
        join_all([held, once].into_iter().chain((0..50).map(|_| Uuid::now_v7())).map(|id| gate.begin(id))).await;
    assert!(is(&asked[0], "busy") && is(&asked[1], "busy"), "{} {}", asked[0], asked[1]);
    assert!(asked[2..].iter().all(|a| is(a, "run")), "{asked:?}");
    slow.batch_execute("commit").await.expect("the server runs");
    assert!(is(&gate.begin(held).await, "done") && is(&gate.begin(once).await, "done"));
}

#[tokio::test]
async fn killed_runtime_forgets_nothing_that_it_answered() {
    let mut gate = Gate::new(BILLING).await;
    let ids: Vec<Uuid> = (0..50).map(|_| Uuid::now_v7()).collect();
    let mut completed = 0;
    for (i, id) in ids.iter().enumerate() {
        let run = gate.begin(*id).await;
        assert!(is(&run, "run"));
        if i % 2 == 0 {
            completed += 1;
            assert!(is(&gate.say("complete", json!({ "key": run["key"], "token": run["token"] })).await, "done"));
        }
    }
    gate.avouch.kill();
    gate.avouch.start_again().await;
    let mut told = 0;
    for (i, id) in ids.iter().enumerate() {
        let answer = until("the next runtime to answer", secs(20), async || {
            let mut headers = HeaderMap::new();
            headers.insert("Avouch-Id", id.to_string().as_str());
            let subject = "avouch.v1.inbox.begin.billing";
            let answer = gate.desk.nats.request_with_headers(subject, headers, "{}".into()).await.ok()?;
            serde_json::from_slice::<Value>(&answer.payload).ok()
        })
        .await;
        assert_eq!(answer["decision"], if i % 2 == 0 { "done" } else { "busy" }, "{answer}");
        told += u32::from(is(&answer, "done"));
    }
    assert_eq!(told, completed);
}

#[tokio::test]
async fn old_records_are_retired_and_parked_ones_stay() {
    let gate = Gate::new("[consumer.billing]\n[upkeep]\nevery_ms = 100\n").await;
    gate.sql(
        "insert into avouch.inbox (consumer, key, state, changed_at) \
         select c.id, state || n, state, clock_timestamp() - age * interval '1 hour' from avouch.consumer c, generate_series(1, 2000) n, \
         unnest(array['done', 'rejected', 'running', 'waiting', 'parked']) state, unnest(array[241, 239]) age where n % 2 = age % 2 or true \
         on conflict do nothing",
    )
    .await;
    gate.sql("update avouch.inbox set changed_at = clock_timestamp() - interval '241 hours' where right(key, 1) = '1'")
        .await;
    let left = "select count(*) filter (where state = 'parked'), count(*) filter (where state <> 'parked' and changed_at < \
                clock_timestamp() - interval '240 hours'), count(*) from avouch.inbox";
    let counts = until("old records to be retired", secs(30), async || {
        let row = gate.desk.ground.client.query_one(left, &[]).await.expect("is valid");
        let counts: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
        (counts[1] == 0).then_some(counts)
    })
    .await;
    assert_eq!(counts[0], 2000, "parked ones stay");
}

/// A consumer that dies at random between its effect and its ack, and is delivered everything again.
async fn consume(client: &Client, id: Uuid, effects: &str) -> Result<bool, tokio_postgres::Error> {
    client.batch_execute("begin").await?;
    let is_first: bool = client.query_one("select avouch.inbox_once('billing', $1, 'f')", &[&id]).await?.get(0);
    if is_first {
        client.execute(effects, &[&id]).await?;
    }
    match random(5) {
        // It dies before its commit: the effect goes with the record.
        0 => client.batch_execute("rollback").await.map(|()| false),
        _ => client.batch_execute("commit").await.map(|()| random(3) > 0),
    }
}

/// `AVOUCH_TEST_DELIVERIES` distinct messages, each delivered until a consumer lives to acknowledge it, from eight workers at once.
#[tokio::test]
async fn effects_beside_inbox_once_happen_exactly_once() {
    let gate = Gate::new(BILLING).await;
    let messages = rounds("AVOUCH_TEST_DELIVERIES", 400);
    gate.sql("create table effects (id uuid); create role consumes_here login in role avouch_consumer; grant insert on effects to consumes_here").await;
    let ids: Arc<Vec<Uuid>> = Arc::new((0..messages).map(|_| Uuid::now_v7()).collect());
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let (client, ids) = (gate.desk.ground.database.client().await, Arc::clone(&ids));
        workers.spawn(async move {
            client.batch_execute("set role consumes_here").await.expect("it is a superuser's session");
            let mut deliveries = 0u32;
            for at in 0..ids.len() {
                // Every worker is delivered every message, in an order of its own.
                let id = ids[(at * 7 + usize::try_from(random(3)).unwrap_or(0)) % ids.len()];
                loop {
                    deliveries += 1;
                    if consume(&client, id, "insert into effects values ($1)").await.expect("the server runs") {
                        break;
                    }
                }
            }
            deliveries
        });
    }
    let mut deliveries = 0;
    while let Some(ended) = workers.join_next().await {
        deliveries += ended.expect("a worker ends well");
    }
    for id in ids.iter() {
        while !consume(&gate.desk.ground.client, *id, "insert into effects values ($1)").await.expect("the server runs")
        {
        }
    }
    let sql = "select count(*), count(distinct id) from effects";
    let row = gate.desk.ground.client.query_one(sql, &[]).await.expect("is valid");
    assert_eq!([row.get::<_, i64>(0), row.get(1)], [i64::from(messages); 2], "after {deliveries} deliveries");
}

#[tokio::test]
async fn once_is_told_apart_from_something_else_and_from_nobody() {
    let gate = Gate::new(BILLING).await;
    let (client, id) = (&gate.desk.ground.client, Uuid::now_v7());
    let once = |fingerprint: &'static str| async move {
        client.query_one("select avouch.inbox_once('billing', $1, $2)", &[&id, &fingerprint]).await
    };
    assert!(once("a").await.expect("it is the first").get::<_, bool>(0));
    assert!(!once("a").await.expect("it is the second").get::<_, bool>(0));
    let conflict = once("b").await.expect_err("another fingerprint");
    assert!(conflict.as_db_error().is_some_and(|e| e.hint().is_some_and(|h| h.contains("one id"))), "{conflict:?}");
    let nobody = client.query_one("select avouch.inbox_once('nobody', $1)", &[&id]).await.expect_err("no consumer");
    assert!(
        nobody.as_db_error().is_some_and(|e| e.hint().is_some_and(|h| h.contains("[consumer.nobody]"))),
        "{nobody:?}"
    );
    // What was begun by asking is taken over: its holder is fenced.
    let begun = Uuid::now_v7();
    let run = gate.begin(begun).await;
    let row = client.query_one("select avouch.inbox_once('billing', $1)", &[&begun]).await.expect("it may");
    assert!(row.get::<_, bool>(0));
    assert!(is(&gate.say("complete", json!({ "key": run["key"], "token": run["token"] })).await, "fenced"));
    assert!(is(&gate.begin(begun).await, "done"));
}

#[tokio::test]
async fn every_database_knows_the_consumers_and_one_of_them_is_asked() {
    let other = Database::create().await;
    let settings = format!("{BILLING}[source.other]\nurl = {:?}\n[control]\nsource = \"main\"\n", other.url());
    let gate = Gate::new(&settings).await;
    let other = other.client().await;
    let begun = Uuid::now_v7();
    assert!(is(&gate.begin(begun).await, "run"));
    assert_eq!(gate.state(begun).await, "running");
    for client in [&gate.desk.ground.client, &other] {
        let row = client.query_one("select avouch.inbox_once('billing', $1)", &[&Uuid::now_v7()]).await;
        assert!(row.expect("the consumer is known").get::<_, bool>(0));
    }
    let records = "select count(*) from avouch.inbox";
    let count: i64 = other.query_one(records, &[]).await.expect("is valid").get(0);
    assert_eq!(count, 1, "only what was done there");
}
