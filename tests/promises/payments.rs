//! The reference plugin `payment-http-check` at work: what the payment service tells becomes what happens to the messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use avouch_tests::plugins;
use avouch_tests::wait::{secs, until};
use avouch_tests::web::Web;

use crate::cli::avouch;
use crate::ground::Ground;
use crate::schema::File;

/// What the payment service says of each payment.
#[derive(Clone, Default)]
struct Payments(Arc<Mutex<HashMap<String, (u16, String)>>>);

impl Payments {
    fn say(&self, payment: &str, status: u16, body: &str) {
        let mut payments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        payments.insert(format!("/api/payments/{payment}"), (status, body.to_owned()));
    }

    async fn serve(&self) -> Web {
        let payments = self.0.clone();
        Web::answering(move |path| {
            let payments = payments.lock().unwrap_or_else(PoisonError::into_inner);
            payments.get(path).cloned().unwrap_or((404, "{}".into()))
        })
        .await
    }
}

/// Prepared and left alone by their producer, each with a message for either outcome.
async fn prepare(ground: &Ground, payments: &[&str]) {
    for payment in payments {
        let sql = format!(
            "do $$ declare t uuid := avouch.prepare('payment-http-check', '0 s', '{payment}'); begin
               insert into avouch.outbox (tx_id, topic, key, payload) values (t, 'payments.settled', '{payment}', '{payment}');
               insert into avouch.outbox (tx_id, topic, key, payload, release_on)
               values (t, 'payments.failed', '{payment}', '{payment}', 'rollback'); end $$"
        );
        ground.client.batch_execute(&sql).await.expect("is valid");
    }
}

/// Waits until this is true of the payment's transaction.
async fn until_it(ground: &Ground, payment: &str, is: &str) {
    let sql = format!("select from avouch.tx where ref = $1 and {is}");
    until(&format!("{payment}: {is}"), secs(30), async || {
        ground.client.query_opt(&sql, &[&payment]).await.expect("the server runs").map(drop)
    })
    .await;
}

#[tokio::test]
async fn what_the_payment_service_tells_settles_the_transaction() {
    let payments = Payments::default();
    payments.say("p-settled", 200, r#"{"status": "settled"}"#);
    payments.say("p-declined", 200, r#"{"status": "declined"}"#);
    payments.say("p-pending", 200, r#"{"status": "pending"}"#);
    payments.say("p-down", 500, "out of order");
    payments.say("p-odd", 200, r#"{"status": "frozen"}"#);
    payments.say("p-forbidden", 403, "{}");
    payments.say("..%2F..%2Fadmin", 200, r#"{"status": "settled"}"#);
    let web = payments.serve().await;

    let ground = Ground::new().await;
    let more = format!(
        "[binding.http.payments]\norigin = \"{}/api\"\nheaders = {{ authorization = \"Bearer s3cret\" }}\n\
         [checker.payment-http-check]\nrollback_after_ms = 0\n\
         [checkback]\npoll_max_ms = 50\nin_progress_ms = 50\nunknown_first_ms = 20\nunknown_max_ms = 50\nunknowns_max = 1000000\n",
        web.origin()
    );
    let config = File::new("avouch.toml", &ground.config(&more));
    let wasm = plugins::file("payment-http-check");
    let wasm = wasm.to_str().expect("a UTF-8 path");
    let deploy = ["plugin", "deploy", wasm, "--config", config.path()];
    avouch(&deploy, &[]).await.fails_with(1).says("--grant http:payments");
    avouch(&[&deploy[..], &["--grant", "http:payments"]].concat(), &[]).await.succeeds();
    let _avouch = ground.runtime(&more).await;

    prepare(&ground, &["p-settled", "p-declined", "p-pending", "p-unknown", "p-down", "p-odd", "p-forbidden"]).await;
    prepare(&ground, &["../../admin"]).await;
    until_it(&ground, "p-settled", "state = 'committed' and decided_by = 'checker'").await;
    until_it(&ground, "p-declined", "state = 'rolled_back' and reason = 'the payment was declined'").await;
    until_it(&ground, "p-unknown", "state = 'rolled_back' and reason = 'no such payment'").await;
    until_it(&ground, "p-odd", "state = 'in_doubt' and reason like '%cannot be read%'").await;
    until_it(&ground, "p-forbidden", "state = 'in_doubt' and reason like '%403%'").await;
    until_it(&ground, "../../admin", "state = 'committed'").await;
    until_it(&ground, "p-pending", "state = 'prepared' and checks >= 3 and unknowns = 0").await;
    until_it(&ground, "p-down", "state = 'prepared' and unknowns >= 2 and verdict like '%500%'").await;

    payments.say("p-pending", 200, r#"{"status": "settled"}"#);
    payments.say("p-down", 200, r#"{"status": "declined"}"#);
    until_it(&ground, "p-pending", "state = 'committed'").await;
    until_it(&ground, "p-down", "state = 'rolled_back'").await;
    ground.drained().await;
    let mut sent: Vec<String> = ground.stream().await.iter().map(|m| m.subject.clone()).collect();
    sent.sort();
    let topic = |topic: &str, n: usize| vec![format!("{}.payments.{topic}", ground.names.prefix); n];
    assert_eq!(sent, [topic("failed", 3), topic("settled", 3)].concat());
    let asked = web.asked();
    assert!(asked.iter().all(|a| a.header("authorization") == Some("Bearer s3cret")), "{asked:?}");
    assert!(asked.iter().all(|a| a.line.starts_with("GET /api/payments/")), "{asked:?}");
}
