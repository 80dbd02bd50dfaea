//! Notifications that break the rules: what they shape is never sent, and what they read decides nothing.

use std::time::{Duration, Instant};

use avouch_runtime::rules::{
    Answer, Bindings, Delivery, Fault, NotificationResponse, Outcome, Plugin, Rules, limits as rule_limits,
};
use avouch_tests::plugins;
use serde_json::{Value, json};

use super::guest::Guest;
use super::{DEADLINE_MS, SLACK, limits, load, rules, still_works};
use crate::notified::{answered, delivery};

/// So that a body of one byte more is small.
const BYTES_OUT_MAX: usize = 10_000;

fn tight() -> rule_limits::Config {
    rule_limits::Config { bytes_out_max: BYTES_OUT_MAX, ..limits() }
}

async fn every_rule(rules: &Rules) -> Plugin {
    let wasm = std::fs::read(plugins::file("every-rule")).expect("it is built");
    load(rules, wasm).await.expect("it is a plugin")
}

fn told(order: &Value) -> Delivery {
    delivery(&order.to_string())
}

/// There is no answer, it came in time, and says why; otherwise what is wrong with that.
fn faulted<T: std::fmt::Debug>(answer: Answer<T>, began: Instant, class: &str, says: &str) -> Result<(), String> {
    let took = began.elapsed();
    match answer.verdict {
        Err(fault)
            if fault.class() == class && fault.to_string().contains(says) && fault.to_string().len() <= 1_000 =>
        {
            (took < Duration::from_millis(DEADLINE_MS) + SLACK).then_some(()).ok_or_else(|| format!("{took:?}"))
        }
        other => Err(format!("not {class} with {says:?} but {other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_of_a_notification_sends_nothing_and_decides_nothing() {
    let acts = [
        ("trap", "broken", "unreachable"),
        ("loop", "broken", "rules.cpu_ms"),
        ("grow", "broken", "memory"),
        ("be-denied", "broken", "denied: the moon"),
        ("be-transient", "transient", "not now"),
        ("be-permanent", "permanent", "never"),
    ];
    let rules = rules(&limits(), &Bindings::default());
    let plugin = every_rule(&rules).await;
    let mut wrong = Vec::new();
    for (act, class, says) in acts {
        let d = told(&json!({ "act": act }));
        let began = Instant::now();
        let shaped = faulted(rules.shape(&plugin, &d).await, began, class, says);
        let began = Instant::now();
        let read = faulted(rules.read(&plugin, &d, &answered(200, "success")).await, began, class, says);
        wrong.extend([shaped.err(), read.err()].into_iter().flatten().map(|why| format!("{act}: {why}")));
        let fine = rules.read(&plugin, &told(&json!({ "outcome": "delivered" })), &answered(200, "")).await;
        assert!(matches!(fine.verdict, Ok(Outcome::Delivered)), "after {act}: {:?}", fine.verdict);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    still_works(&rules, "bad notifications").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_sent_is_a_fault_that_says_why() {
    let header = |name: &str, value: &str| json!({ "headers": [[name, value]] });
    let many = |n: usize| json!({ "headers": vec![["x-a", "b"]; n] });
    let attacks = [
        (json!({ "body_bytes": BYTES_OUT_MAX + 1 }), "rules.bytes_out_max"),
        (json!({ "body_bytes": 3 * BYTES_OUT_MAX }), "rules.bytes_out_max"),
        // More than the host would copy to look at it.
        (json!({ "body_bytes": 50 * BYTES_OUT_MAX }), "fuel"),
        (header("x-a", &"b".repeat(9_000)), "at most 8192"),
        (many(64), "at most 64"),
        (header("bad name", "x"), "name"),
        (header("", "x"), "name"),
        (header("x-a\r\nhost", "evil.test"), "name"),
        (header("x-a", "b\r\nhost: evil.test"), "control characters"),
        (header("x-a", "b\u{0}"), "control characters"),
        (header("Host", "evil.test"), "denied"),
        (header("CONTENT-LENGTH", "0"), "denied"),
        (header("transfer-encoding", "chunked"), "denied"),
        (header("authorization", "Bearer x"), "denied"),
        (header("X-Forwarded-For", "127.0.0.1"), "denied"),
        (header("Webhook-Signature", "v1,forged"), "denied"),
        (header("webhook-id", "another"), "denied"),
        (json!({ "path": "//../admin" }), "below"),
        (json!({ "path": "/%2e%2E/admin" }), "below"),
        (json!({ "path": "@evil.test/" }), "begins with"),
        (json!({ "path": "https://evil.test/" }), "begins with"),
        (json!({ "path": "" }), "begins with"),
        (json!({ "path": "/a\r\nhost: evil.test" }), "without blanks"),
        (json!({ "path": "/a#b" }), "without blanks"),
        (json!({ "path": format!("/{}", "a".repeat(2_048)) }), "at most 2048"),
    ];
    let rules = rules(&tight(), &Bindings::default());
    let plugin = every_rule(&rules).await;
    let mut wrong = Vec::new();
    for (order, says) in attacks {
        let began = Instant::now();
        let shaped = rules.shape(&plugin, &told(&order)).await;
        let short: String = order.to_string().chars().take(80).collect();
        wrong.extend(faulted(shaped, began, "broken", says).err().map(|why| format!("{short}: {why}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let largest = json!({ "body_bytes": BYTES_OUT_MAX, "path": "/%2e%2e%2fx?/../y" });
    let shaped = rules.shape(&plugin, &told(&largest)).await.verdict.expect("it is within the bounds");
    assert_eq!(shaped.body.len(), BYTES_OUT_MAX);
}

#[tokio::test]
async fn reason_to_give_up_is_cut() {
    let rules = rules(&limits(), &Bindings::default());
    let plugin = every_rule(&rules).await;
    let d = told(&json!({ "outcome": "give-up-at-length" }));
    let read = rules.read(&plugin, &d, &answered(400, "")).await.verdict;
    let Ok(Outcome::GiveUp(why)) = read else { panic!("{read:?}") };
    assert_eq!(why, " ".repeat(1_000), "Postgres's text holds no NUL");
}

#[tokio::test]
async fn plugin_without_the_rule_tells_nobody() {
    let rules = rules(&limits(), &Bindings::default());
    let plugin = load(&rules, Guest::good().wasm()).await.expect("it answers for transactions");
    assert!(plugin.answers_for_transactions() && !plugin.tells_outside_parties());
    let d = told(&json!({}));
    let shaped = rules.shape(&plugin, &d).await;
    let read = rules.read(&plugin, &d, &answered(200, "success")).await;
    let has_none = |why: &Fault| why.class() == "broken" && why.to_string().contains("has no rule notification");
    assert!(shaped.verdict.is_err_and(|why| has_none(&why)) && read.verdict.is_err_and(|why| has_none(&why)));
}

#[tokio::test]
async fn instance_is_used_again_after_a_refused_request_and_not_after_a_trap() {
    let again = rule_limits::Config { reuse_calls_max: 1_000, ..tight() };
    let rules = rules(&again, &Bindings::default());
    let plugin = every_rule(&rules).await;
    for order in [json!({ "body_bytes": BYTES_OUT_MAX + 1 }), json!({ "act": "trap" }), json!({ "act": "loop" })] {
        let shaped = rules.shape(&plugin, &told(&order)).await.verdict;
        assert!(matches!(shaped, Err(Fault::Broken(_))), "{order}: {shaped:?}");
        let fine = rules.shape(&plugin, &told(&json!({ "body_bytes": 3 }))).await.verdict.expect("it is fine");
        assert_eq!(fine.body, b"xxx", "after {order}");
    }
}

#[tokio::test]
async fn answer_without_end_is_shown_as_far_as_the_bounds_go() {
    let rules = rules(&limits(), &Bindings::default());
    let plugin = every_rule(&rules).await;
    let long = NotificationResponse {
        headers: vec![("x-a".into(), "b".repeat(1_000)); 1_000],
        body: vec![0xff; 10 << 20],
        ..answered(200, "")
    };
    let read = rules.read(&plugin, &told(&json!({})), &long).await.verdict;
    let Ok(Outcome::GiveUp(given)) = read else { panic!("{read:?}") };
    // The reason is cut where the first header begins to fill it: status, headers.
    assert!(given.contains(",200,16,[\"x-a\","), "{given}");
    let long = NotificationResponse { headers: Vec::new(), ..long };
    let read = rules.read(&plugin, &told(&json!({})), &long).await.verdict;
    let Ok(Outcome::GiveUp(given)) = read else { panic!("{read:?}") };
    assert!(given.ends_with(",200,0,null,65536,true]"), "{given}");
}
