//! Consumers do things once: what they are told when they ask.

mod bucket;
mod judged;
mod table;

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::kv;
use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::control::Desk;

/// Where records can be: what is promised of asking holds for both, unless a test says otherwise.
const STORES: [&str; 2] = ["table", "kv"];

struct Gate {
    desk: Desk,
    avouch: Avouch,
    store: &'static str,
}

impl Gate {
    /// With records in the table.
    async fn new(consumer: &str) -> Gate {
        Self::on("table", consumer).await
    }

    async fn on(store: &'static str, consumer: &str) -> Gate {
        let desk = Desk::new().await;
        let avouch = desk.runtime(&on(store, consumer)).await;
        until("the inbox to answer", secs(10), async || {
            desk.nats.request("$SRV.PING.avouch-inbox", "".into()).await.ok()
        })
        .await;
        Gate { desk, avouch, store }
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

    /// The bucket of the records.
    async fn bucket(&self) -> kv::Store {
        let jetstream = &self.desk.ground.jetstream;
        until("the bucket to be made", secs(10), async || jetstream.get_key_value("avouch_inbox").await.ok()).await
    }

    /// A person has looked at what is parked.
    async fn try_again(&self, id: Uuid) {
        if self.store == "kv" {
            return self.bucket().await.delete(format!("billing.{id}")).await.expect("the server runs");
        }
        let once = self.desk.ground.client.query_one("select avouch.inbox_once('billing', $1)", &[&id]).await;
        let refused = once.expect_err("nobody knows whether it was done");
        assert!(refused.as_db_error().is_some_and(|e| e.message().contains("is parked")), "{refused:?}");
        for is_parked in [true, false] {
            let row = self.desk.ground.client.query_one(RETRY, &[&id.to_string()]).await.expect("the operator may");
            assert_eq!(row.get::<_, bool>(0), is_parked);
        }
    }

    /// Somebody has written that it is done.
    async fn record_done(&self, id: Uuid) {
        if self.store == "kv" {
            let done = json!({ "state": "done" }).to_string().into();
            self.bucket().await.put(format!("billing.{id}"), done).await.expect("the server runs");
            return;
        }
        let sql = "insert into avouch.inbox (consumer, key, state) select id, $1, 'done' from avouch.consumer";
        self.desk.ground.client.execute(sql, &[&id.to_string()]).await.expect("the superuser may");
    }

    async fn state(&self, id: Uuid) -> String {
        if self.store == "kv" {
            let record = self.bucket().await.get(format!("billing.{id}")).await.expect("the server runs");
            let record: Value = serde_json::from_slice(&record.expect("it has a record")).expect("a record is JSON");
            return record["state"].as_str().expect("a text").to_owned();
        }
        let sql = "select state from avouch.inbox where key = $1";
        self.desk.ground.client.query_one(sql, &[&id.to_string()]).await.expect("it has a record").get(0)
    }
}

const BILLING: &str = "[consumer.billing]\n";
/// A person's word.
const RETRY: &str = "select avouch.inbox_decide('billing', $1, 'retry', 'the bank has not seen it')";

/// This configuration, with records there.
fn on(store: &str, config: &str) -> String {
    format!("[inbox]\nstore = \"{store}\"\n{config}")
}

fn is(answer: &Value, decision: &str) -> bool {
    answer["decision"] == decision
}

#[tokio::test]
async fn one_of_many_askers_runs_and_the_others_are_told_the_result() {
    for store in STORES {
        let gate = Gate::on(store, BILLING).await;
        let _second = gate.desk.ground.runtime(&on(store, BILLING)).await;
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
}

#[tokio::test]
async fn paused_holder_is_fenced_once_another_runs() {
    for store in STORES {
        let gate = Gate::on(store, "[consumer.billing]\nlease_ms = 300\n").await;
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
}

#[tokio::test]
async fn parked_effect_is_not_repeated() {
    for store in STORES {
        let gate = Gate::on(store, "[consumer.billing]\nlease_ms = 100\ntakeover = \"park\"\n").await;
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
        gate.try_again(id).await;
        assert_eq!(gate.begin(id).await["attempt"], 1);
    }
}

#[tokio::test]
async fn another_payload_under_one_id_is_a_conflict() {
    for store in STORES {
        let gate = Gate::on(store, BILLING).await;
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
}

#[tokio::test]
async fn failures_are_tried_again_with_pauses_and_then_rejected() {
    for store in STORES {
        let gate =
            Gate::on(store, "[consumer.billing]\nattempts_max = 3\nretry_first_ms = 50\nretry_max_ms = 100\n").await;
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
}

#[tokio::test]
async fn garbage_is_refused_by_name_and_nothing_stops() {
    for store in STORES {
        let gate = Gate::on(store, BILLING).await;
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
    for store in STORES {
        let mut gate = Gate::on(store, BILLING).await;
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
}
