//! Records in a bucket: how it is made and refused, and what is different from the table.

use avouch_tests::wait::{secs, until};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{BILLING, Gate, is};

#[tokio::test]
async fn bucket_that_would_forget_too_early_is_refused_by_name() {
    let gate = Gate::on("kv", &format!("{BILLING}[inbox.kv]\nmemory = true\n")).await;
    assert!(is(&gate.begin(Uuid::now_v7()).await, "run"));
    let jetstream = &gate.desk.ground.jetstream;
    let mut made = jetstream.get_stream("KV_avouch_inbox").await.expect("the runtime has made it");
    let mut config = made.info().await.expect("the server runs").config.clone();
    assert_eq!((config.max_messages_per_subject, config.max_age), (1, secs(240 * 3600)));
    config.max_age = secs(3600);
    jetstream.update_stream(config).await.expect("it may be changed");
    let told = until("the bucket to be looked at", secs(30), async || {
        let answer = gate.begin(Uuid::now_v7()).await;
        (answer["error"]["code"] == "unavailable").then_some(answer)
    })
    .await;
    assert!(told["error"]["message"].as_str().is_some_and(|m| m.contains("the runtime's log")), "{told}");
    gate.avouch.wait_for_log("shorter than inbox.keep_hours", secs(10)).await;
}

#[tokio::test]
async fn tokens_grow_though_the_bucket_was_lost() {
    let gate = Gate::on("kv", BILLING).await;
    let id = Uuid::now_v7();
    let first = gate.begin(id).await;
    gate.desk.ground.jetstream.delete_key_value("avouch_inbox").await.expect("the runtime has made it");
    let second = until("the bucket to be made again", secs(20), async || {
        let answer = gate.begin(id).await;
        is(&answer, "run").then_some(answer)
    })
    .await;
    assert!(second["token"].as_i64() > first["token"].as_i64(), "{first} {second}");
    let late = gate.say("complete", json!({ "key": first["key"], "token": first["token"] })).await;
    assert!(is(&late, "fenced"), "{late}");
}

/// No record is remembered by a process that did not write it.
#[tokio::test]
async fn runtime_finishes_in_a_bucket_what_another_has_begun() {
    let mut gate = Gate::on("kv", BILLING).await;
    let id = Uuid::now_v7();
    let run = gate.begin(id).await;
    gate.avouch.kill();
    gate.avouch.start_again().await;
    let word = json!({ "key": run["key"], "token": run["token"], "result": [1] }).to_string();
    let done: Value = until("the next runtime to answer", secs(20), async || {
        let subject = "avouch.v1.inbox.complete.billing";
        let answer = gate.desk.nats.request(subject, word.clone().into()).await.ok()?;
        serde_json::from_slice(&answer.payload).ok()
    })
    .await;
    assert!(is(&done, "done"), "{done}");
    assert_eq!(gate.begin(id).await["result"], json!([1]));
}

#[tokio::test]
async fn what_a_person_wrote_into_the_bucket_holds() {
    let gate = Gate::on("kv", BILLING).await;
    let (done, broken) = (Uuid::now_v7(), Uuid::now_v7());
    let run = gate.begin(done).await;
    gate.record_done(done).await;
    let late = gate.say("complete", json!({ "key": run["key"], "token": run["token"] })).await;
    assert!(is(&late, "fenced"), "{late}");
    assert!(is(&gate.begin(done).await, "done"));
    gate.bucket().await.put(format!("billing.{broken}"), "no JSON".into()).await.expect("the server runs");
    assert_eq!(gate.begin(broken).await["error"]["code"], "unavailable");
    gate.avouch.wait_for_log(&format!("nats kv del avouch_inbox billing.{broken}"), secs(10)).await;
    gate.try_again(broken).await;
    assert!(is(&gate.begin(broken).await, "run"));
}
