//! What is done: to one, to many with care, by whom and why; and what it ends with.

use serde_json::json;
use uuid::Uuid;

use super::Desk;
use crate::relayed::Relayed;

#[tokio::test]
async fn dry_run_of_a_group_changes_nothing_and_tells_how_many_and_some() {
    let desk = Desk::new().await;
    desk.dead(120, "no answer after 30 s").await;
    let before = desk.everything().await;
    let group = ["--failure", "no answer after ? s", "--dry-run"];
    for action in ["resend", "discard"] {
        let told = desk.at(&[&[action], &group[..]].concat()).await.succeeds();
        told.says("nothing is changed; 120 messages").says("no answer after 30 s");
        let plan = desk.json(&[&["messages", action], &group[..]].concat()).await;
        assert_eq!((&plan["action"], &plan["dry_run"], &plan["count"]), (&json!(action), &json!(true), &json!(120)));
        assert_eq!(plan["examples"].as_array().map(Vec::len), Some(5), "{plan:#}");
    }
    let plan = desk.json(&["replay", "billing", "--topic", "orders.>", "--dry-run"]).await;
    assert_eq!(plan["count"], 2, "the consumed one and the one that waits: {plan:#}");
    let plan = desk.json(&["tx", "rollback", "--checker", "check", "--dry-run"]).await;
    assert_eq!((&plan["count"], &plan["examples"][0]["id"]), (&json!(1), &json!(desk.tx)));
    assert_eq!(desk.everything().await, before);
}

#[tokio::test]
async fn more_than_a_hundred_need_a_yes() {
    let desk = Desk::new().await;
    desk.dead(101, "no answer").await;
    let before = desk.everything().await;
    let group = ["resend", "--failure", "no answer"];
    desk.at(&group).await.fails_with(2).says("101 messages to resend").says("--yes").says("--dry-run");
    desk.in_terminal(100, "n\n", &group).await.fails_with(1).says("Go on? [y/N]").says("nothing done");
    desk.in_terminal(100, "\n", &group).await.fails_with(1).says("nothing done");
    assert_eq!(desk.everything().await, before);
    desk.in_terminal(100, "y\n", &group).await.succeeds().says("101 messages: each is sent again");
    assert_eq!(desk.count("avouch.outbox where topic = 'bulk' and state = 'ready' and generation = 1").await, 101);
    desk.dead(100, "another answer").await;
    desk.at(&["resend", "--failure", "another answer"]).await.succeeds().says("100 messages: each is sent again");
}

#[tokio::test]
async fn what_was_not_named_one_by_one_is_not_discarded_without_a_yes() {
    let desk = Desk::new().await;
    desk.dead(1, "no answer").await;
    let before = desk.everything().await;
    let group = ["discard", "--failure", "no answer"];
    desk.at(&group).await.fails_with(2).says("1 messages to discard").says("--yes").says("--dry-run");
    let other = desk.dead.to_string();
    let named = [&group[..], &[&other]].concat();
    desk.at(&named).await.fails_with(2).says("2 messages to discard");
    desk.in_terminal(100, "n\n", &group).await.fails_with(1).says("Go on? [y/N]").says("nothing done");
    assert_eq!(desk.everything().await, before);
    desk.at(&["discard", "--failure", "of nobody"]).await.succeeds().says("0 messages");
    desk.in_terminal(100, "y\n", &group).await.succeeds().says("1 messages: each is discarded");
    desk.dead(2, "another answer").await;
    let group = ["messages", "discard", "--failure", "another answer", "--yes"];
    desk.at(&group).await.succeeds().says("2 messages: each is discarded");
}

#[tokio::test]
async fn consumer_that_is_waited_for_is_not_removed_without_a_yes() {
    let desk = Desk::new().await;
    let before = desk.everything().await;
    let remove = ["consumers", "remove", "billing", "--reason", "moved away"];
    desk.at(&remove).await.fails_with(2).says("2 messages that billing has not finished").says("--yes");
    desk.in_terminal(100, "\n", &remove).await.fails_with(1).says("Go on? [y/N]").says("nothing done");
    assert_eq!(desk.everything().await, before);
    let audited = "avouch.audit where action = 'remove consumer' and subject = 'billing'";
    assert_eq!(desk.count(audited).await, 0);
    // There is no broker here whose durable could be deleted.
    desk.client.batch_execute("update avouch.consumer set stream = null").await.expect("is valid");
    desk.at(&[&remove[..], &["--yes"]].concat()).await.succeeds().says("is not waited for any more");
    assert_eq!(desk.count(audited).await, 1);
}

#[tokio::test]
async fn group_of_many_batches_is_done_whole_oldest_first_with_who_and_why() {
    let desk = Desk::new().await;
    desk.dead(1203, "no answer").await;
    let outcome = desk.json(&["dead", "resend", "--failure", "no answer", "--yes", "--reason", "it is back"]).await;
    assert_eq!(outcome, json!({"action": "resend", "dry_run": false, "count": 1203, "done": 1203, "not_done": []}));
    let audited = "avouch.audit where action = 'resend' and actor like 'cli:%@%' and why = 'it is back'";
    assert_eq!(desk.count(audited).await, 1203);
    let events = "avouch.event where what = 'resent' and actor like 'cli:%@%' and detail ->> 'why' = 'it is back'";
    assert_eq!(desk.count(events).await, 1203);
    // Of one key the older must be ready before the younger is: the first batch holds the oldest.
    let ordered = "with done as (select o.seq, row_number() over (order by a.id) as place from avouch.audit a \
                   join avouch.outbox o on o.id::text = a.subject where o.topic = 'bulk') \
                   select (select max(seq) from done where place <= 500) < (select min(seq) from done where place > 500)";
    assert!(desk.client.query_one(ordered, &[]).await.expect("is valid").get::<_, bool>(0));
}

#[tokio::test]
async fn what_is_done_by_ids_says_of_each_whether_it_was() {
    let desk = Desk::new().await;
    let (dead, unknown) = (desk.dead.to_string(), Uuid::now_v7().to_string());
    let told = desk.at(&["messages", "resend", &dead, &unknown]).await.fails_with(1);
    told.says(&format!("{dead}: is sent again")).says(&format!("{unknown}: is not dead: nothing done"));
    let outcome = desk.at(&["messages", "discard", &dead, &unknown, &dead, "--json"]).await.fails_with(1);
    let outcome: serde_json::Value = serde_json::from_str(&outcome.text).expect("is one document");
    assert_eq!((&outcome["done"], &outcome["not_done"]), (&json!(1), &json!([unknown])), "{outcome:#}");
    desk.at(&["resend"]).await.fails_with(2).says("which messages?");
    desk.at(&["replay", "billing"]).await.fails_with(2).says("which messages?");
    desk.at(&["replay", "nobody", &dead])
        .await
        .fails_with(1)
        .says("there is no consumer nobody")
        .says("[consumer.nobody]");
    desk.at(&["run", "--json"]).await.fails_with(2).says("--json");
    let sql = "select id from avouch.outbox where topic = 'orders.consumed'";
    let consumed: Uuid = desk.client.query_one(sql, &[]).await.expect("it is there").get(0);
    let partly = ["replay", "billing", &consumed.to_string(), &dead, &unknown];
    let told = desk.at(&partly).await.fails_with(1).says("1 of 3 messages are sent to billing once more");
    told.says(&format!("{dead}: was not sent yet")).says(&format!("{unknown}: was not sent yet"));
    let outcome = desk.at(&[&partly[..], &["--json"]].concat()).await.fails_with(1);
    let outcome: serde_json::Value = serde_json::from_str(&outcome.text).expect("is one document");
    assert_eq!((&outcome["done"], &outcome["not_done"]), (&json!(1), &json!([dead, unknown])), "{outcome:#}");
    let replayed =
        desk.json(&["messages", "replay", "billing", "--topic", "orders.consumed", "--reason", "lost"]).await;
    assert_eq!((&replayed["done"], &replayed["not_done"]), (&json!(1), &json!([])), "{replayed:#}");
    assert_eq!(desk.count("avouch.recovery where state = 'pending' and reason = 'replayed'").await, 1);
    assert_eq!(desk.count("avouch.audit where action = 'replay' and actor like 'cli:%' and why = 'lost'").await, 1);
}

#[tokio::test]
async fn transactions_consumers_records_and_plugins_are_decided_with_who_and_why() {
    let desk = Desk::new().await;
    let (tx, waiting) = (desk.tx.to_string(), desk.waiting.to_string());
    desk.at(&["tx", "recheck", &tx, "--reason", "mended"])
        .await
        .succeeds()
        .says("1 of 1 transactions are asked about again");
    desk.at(&["tx", "recheck", &tx]).await.fails_with(1).says("0 of 1");
    let decided = desk.json(&["tx", "commit", &tx, "--reason", "the bank says so"]).await;
    assert_eq!((&decided["action"], &decided["done"]), (&json!("commit"), &json!(1)));
    desk.at(&["tx", "show", &tx]).await.succeeds().says("tx committed").says("the bank says so").says("cli:");
    for (command, word) in [("pause", "is paused"), ("resume", "goes on")] {
        desk.at(&["consumers", command, "billing", "--reason", "it moves"]).await.succeeds().says(word);
    }
    desk.at(&["consumers", "resume", "billing"]).await.fails_with(1).says("was not paused");
    assert_eq!(desk.json(&["pause", "consumer", "billing"]).await["done"], true);
    desk.at(&["inbox", "retry", "billing", &waiting, "--reason", "looked at"]).await.succeeds().says("runs again");
    desk.at(&["inbox", "done", "billing", &waiting]).await.fails_with(1).says("neither parked nor rejected");
    let rolled = desk.json(&["plugin", "rollback", "check", "--reason", "too strict"]).await;
    assert_eq!((&rolled["plugin"], &rolled["digest"]), (&json!("check"), &json!("a".repeat(64))));
    assert_eq!(desk.json(&["plugin", "remove", "check"]).await["digest"], json!(null));
    desk.at(&["plugin", "remove", "nobody"]).await.fails_with(1).says("was ever deployed");
    let audit = desk.json(&["audit"]).await;
    let by = |action: &str, why: &str| {
        let entries = audit["audit"].as_array().expect("a list");
        let is = |e: &&serde_json::Value| {
            e["action"] == action && e["why"] == why && e["actor"].as_str().is_some_and(|a| a.starts_with("cli:"))
        };
        assert!(entries.iter().any(|e| is(&e)), "no {action} because of {why} in {audit:#}");
    };
    by("recheck transaction", "mended");
    by("commit transaction", "the bank says so");
    by("pause", "it moves");
    by("resume", "it moves");
    by("inbox retry", "looked at");
    by("roll back plugin", "too strict");
}

#[tokio::test]
async fn drain_waits_until_nothing_is_ready_and_says_what_keeps_it() {
    let desk = Desk::new().await;
    let told = desk.at(&["drain", "--timeout", "1s"]).await.fails_with(1);
    told.says("1 ready").says("8 shards are without an owner");
    let left = desk.at(&["drain", "--timeout", "0s", "--json"]).await.fails_with(1).text;
    let left: serde_json::Value = serde_json::from_str(&left).expect("is one document");
    assert_eq!((&left["drained"], &left["ready"]), (&json!(false), &json!(1)));
    desk.at(&["drain", "--timeout", "soon"]).await.fails_with(2).says("15m");
    // Nothing of the one is done: its bar is empty.
    desk.in_terminal(150, "", &["drain", "--timeout", "1s"])
        .await
        .fails_with(1)
        .says(&"░".repeat(30))
        .says("1 ready, the oldest");
    let relayed = Relayed::start("").await;
    relayed
        .client
        .batch_execute(
            "insert into avouch.outbox (topic, key, payload) select 't', n::text, '' from generate_series(1, 3000) n",
        )
        .await
        .expect("is valid");
    let args = ["drain", "--timeout", "60s", "--database-url", relayed.database.url()];
    crate::cli::avouch(&args, &[]).await.succeeds().says("nothing is ready");
    let ready = "select count(*) from avouch.outbox where state = 'ready'";
    assert_eq!(relayed.client.query_one(ready, &[]).await.expect("is valid").get::<_, i64>(0), 0);
    assert!(!relayed.avouch.has_ended(), "it runs on");
}
