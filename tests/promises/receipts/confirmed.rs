//! Receipts by message: confirmations over NATS, and what the gate answers about other messages of a key.

use async_nats::jetstream::Message;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ACK, Followed};
use avouch_tests::servers::shared;
use avouch_tests::wait::until;

use crate::relayed::LIMIT;

impl Followed {
    /// With a control plane of its own on the shared server.
    async fn served(consumers: &str) -> (Followed, String) {
        let prefix = format!("ctl-{}", Uuid::now_v7().simple());
        let settings = format!("{consumers}[control]\nsubject_prefix = {prefix:?}\n");
        let followed = Followed::start(&settings).await;
        (followed, prefix)
    }

    async fn ask(&self, subject: String, message: Option<&Message>, body: Value) -> Value {
        let client = async_nats::connect(shared().nats.url()).await.expect("it runs");
        let answer = until("it is answered", LIMIT, async || {
            let asked = match message {
                Some(m) => {
                    let headers = m.headers.clone().unwrap_or_default();
                    client.request_with_headers(subject.clone(), headers, m.payload.clone()).await
                }
                None => client.request(subject.clone(), body.to_string().into()).await,
            };
            asked.ok()
        })
        .await;
        serde_json::from_slice(&answer.payload).expect("an answer is JSON")
    }
}

#[tokio::test]
async fn confirmation_by_message_is_a_receipt() {
    let (followed, prefix) = Followed::served(ACK).await;
    followed.durable("billing").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    let confirm = format!("{prefix}.v1.message.confirm.billing");
    let told = followed.ask(confirm.clone(), None, json!({ "id": id })).await;
    assert_eq!(told, json!({ "id": id, "awaited": true }));
    followed.relayed.in_state(id, "consumed").await;
    let unknown = followed.ask(confirm.clone(), None, json!({ "id": Uuid::now_v7() })).await;
    assert_eq!(unknown["error"]["code"], "not_found", "{unknown}");
    let garbage = followed.ask(confirm, None, json!({ "message": 1 })).await;
    assert_eq!(garbage["error"]["code"], "invalid", "{garbage}");
}

#[tokio::test]
async fn message_shows_how_far_each_of_its_consumers_is() {
    let both = format!("{ACK}[consumer.stock]\ntopics = [\"orders.>\"]\n");
    let (followed, prefix) = Followed::served(&both).await;
    followed.durable("stock").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(id, "sent").await;
    let get = async || followed.ask(format!("{prefix}.v1.message.get"), None, json!({ "id": id })).await;
    let sent = get().await;
    assert_eq!(sent["waits_for"].as_array().map(Vec::len), Some(2), "{sent}");
    assert_eq!(
        (&sent["waits_for"][0]["consumer"], &sent["waits_for"][0]["state"]),
        (&json!("billing"), &json!("sent"))
    );
    followed
        .sql(&format!("select avouch.confirm('stock', '{id}'), avouch.confirm('billing', '{id}', 'no such order')"))
        .await;
    followed.relayed.in_state(id, "dead").await;
    let dead = until("stock is done", LIMIT, async || {
        let told = get().await;
        (told["waits_for"].as_array().map(Vec::len) == Some(1)).then_some(told)
    })
    .await;
    assert_eq!(dead["waits_for"][0]["reason"], "no such order", "{dead}");
    assert_eq!((&dead["state"], &dead["waits_for"][0]["state"]), (&json!("dead"), &json!("dead")));
}

#[tokio::test]
async fn two_messages_of_one_key_are_both_consumed_and_its_effect_is_made_once() {
    let inbox = "[consumer.billing]\ntopics = [\"orders.>\"]\nreceipt = \"inbox\"\nack_wait_ms = 500\n";
    let followed = Followed::start(inbox).await;
    followed.durable("billing").await;
    let first = followed.relayed.insert("orders.created", "1", "{}").await;
    let second = followed.relayed.insert("orders.created", "1", "{}").await;
    let begin = |id: Uuid| {
        format!("select decision, token from avouch.inbox_begin('billing', 'order 42', 'same', null, '{id}')")
    };
    let run = followed.relayed.client.query_one(&begin(first), &[]).await.expect("is valid");
    assert_eq!(run.get::<_, &str>(0), "run");
    let complete = format!("select avouch.inbox_complete('billing', 'order 42', {})", run.get::<_, i64>(1));
    followed.sql(&complete).await;
    let done = followed.relayed.client.query_one(&begin(second), &[]).await.expect("is valid");
    assert_eq!(done.get::<_, &str>(0), "done");
    for id in [first, second] {
        followed.relayed.in_state(id, "consumed").await;
    }
    // The same key for something else is dead, never silently done.
    let third = followed.relayed.insert("orders.created", "1", "{}").await;
    let other = begin(third).replace("'same'", "'other'");
    assert_eq!(followed.relayed.client.query_one(&other, &[]).await.expect("is valid").get::<_, &str>(0), "conflict");
    let reason = followed.relayed.in_state(third, "dead").await.expect("it has one");
    assert!(reason.contains("fingerprint"), "{reason}");
}
