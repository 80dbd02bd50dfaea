//! Consumers with a plugin: what is the same piece of work is the plugin's word, and a fault of it is nobody's.

use avouch_tests::plugins;
use avouch_tests::wait::{secs, until};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Gate, STORES, is};
use crate::cli::avouch;
use crate::hostile::guest::Guest;
use crate::schema::File;

async fn deploy(gate: &Gate, plugin: &str, settings: &[&str]) {
    let config = File::new("avouch.toml", &gate.desk.ground.config(""));
    let file = plugins::file(plugin);
    let mut args = vec!["plugin", "deploy", file.to_str().expect("a UTF-8 path"), "--config", config.path()];
    args.extend(settings.iter().flat_map(|s| ["--set", s]));
    avouch(&args, &[]).await.succeeds();
    gate.avouch.wait_for_log("a plugin was deployed", secs(30)).await;
}

async fn ask(gate: &Gate, payload: &Value) -> Value {
    gate.begin_as("billing", Uuid::now_v7(), &payload.to_string()).await
}

async fn done(gate: &Gate, run: &Value, result: &Value) {
    assert!(is(run, "run"), "{run}");
    let word = json!({ "key": run["key"], "token": run["token"], "result": result });
    assert!(is(&gate.say("complete", word).await, "done"));
}

#[tokio::test]
async fn messages_with_one_business_key_are_done_once() {
    for store in STORES {
        let gate = Gate::on(store, "[consumer.billing]\nplugin = \"fingerprint\"\n").await;
        let early = ask(&gate, &json!({ "order": 7 })).await;
        assert!(early["error"]["message"].as_str().is_some_and(|m| m.contains("not deployed")), "{early}");
        deploy(&gate, "fingerprint", &["id=/order", "equal=/amount"]).await;
        let order = |id: u32, amount: u32, note: &str| json!({ "order": id, "amount": amount, "note": note });
        let run = ask(&gate, &order(7, 10, "first")).await;
        assert_eq!(run["key"], "[7]");
        assert!(is(&ask(&gate, &order(7, 10, "meanwhile")).await, "busy"));
        done(&gate, &run, &json!("paid")).await;
        // Another message, with an id of its own, about the same order.
        let again = ask(&gate, &order(7, 10, "again")).await;
        assert_eq!((&again["decision"], &again["result"]), (&json!("done"), &json!("paid")));
        let other = ask(&gate, &order(7, 11, "another amount")).await;
        assert!(is(&other, "conflict"), "{other}");
        done(&gate, &ask(&gate, &order(8, 10, "another order")).await, &json!(1)).await;
        let unreadable = ask(&gate, &json!({ "amount": 3 })).await;
        assert!(
            is(&unreadable, "reject") && unreadable["reason"].as_str().is_some_and(|r| r.contains("/order")),
            "{unreadable}"
        );
    }
}

#[tokio::test]
async fn versions_are_done_in_order_each_once() {
    for store in STORES {
        let gate = Gate::on(store, "[consumer.billing]\nplugin = \"version-guard\"\nretry_first_ms = 1\n").await;
        deploy(&gate, "version-guard", &["gap_ms=50"]).await;
        let of = |version: u32| json!({ "id": "a", "version": version });
        let gap = ask(&gate, &of(2)).await;
        assert!(is(&gap, "busy") && gap["retry_after_ms"] == 50, "{gap}");
        done(&gate, &ask(&gate, &of(1)).await, &json!(1)).await;
        let second = ask(&gate, &of(2)).await;
        let word = json!({ "key": second["key"], "token": second["token"], "reason": "not now", "retry_after_ms": 0 });
        assert!(is(&gate.say("fail", word).await, "busy"));
        assert!(is(&ask(&gate, &of(3)).await, "busy"), "the failed one comes first");
        done(&gate, &ask(&gate, &of(2)).await, &json!(2)).await;
        assert!(is(&ask(&gate, &of(1)).await, "skip"));
        assert_eq!(ask(&gate, &of(2)).await["result"], 2);
        done(&gate, &ask(&gate, &of(3)).await, &json!(3)).await;
    }
}

#[tokio::test]
async fn fault_of_a_plugin_means_neither_run_nor_done() {
    for store in STORES {
        let gate = Gate::on(store, "[consumer.billing]\nplugin = \"judge\"\n").await;
        let done_before = Uuid::now_v7();
        gate.record_done(done_before).await;
        // It answers for transactions only.
        let (config, file) = (File::new("avouch.toml", &gate.desk.ground.config("")), File::new("guest.wasm", ""));
        std::fs::write(file.path(), Guest::good().named("judge").wasm()).expect("it can be written");
        avouch(&["plugin", "deploy", file.path(), "--config", config.path()], &[]).await.succeeds();
        gate.avouch.wait_for_log("a plugin was deployed", secs(30)).await;
        for id in [done_before, Uuid::now_v7()] {
            let answer = gate.begin_as("billing", id, "{}").await;
            let names_it = answer["reason"].as_str().is_some_and(|r| r.contains("has no rule idempotency"));
            assert!(is(&answer, "busy") && names_it, "{answer}");
        }
        avouch(&["plugin", "remove", "judge", "--config", config.path()], &[]).await.succeeds();
        until("the plugin to be gone", secs(10), async || {
            let answer = gate.begin_as("billing", done_before, "{}").await;
            (answer["error"]["code"] == "unavailable").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn plugin_that_gives_one_message_two_identities_is_noticed() {
    let gate = Gate::new("[consumer.billing]\nplugin = \"undetermined\"\n").await;
    deploy(&gate, "undetermined", &[]).await;
    until("a sample to be taken", secs(60), async || {
        let answer = ask(&gate, &json!({})).await;
        let is_noticed = answer["reason"].as_str().is_some_and(|r| r.contains("two identities"));
        assert!(is(&answer, "run") || is_noticed, "{answer}");
        (is_noticed && is(&answer, "busy")).then_some(())
    })
    .await;
    gate.avouch.wait_for_log("plugin_undetermined", secs(10)).await;
}
