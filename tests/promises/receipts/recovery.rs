//! What has no receipt is waited for, sent again to that consumer alone, or dead: as the table says, and never silently.

use async_nats::jetstream::AckKind;
use avouch_tests::wait::until;
use uuid::Uuid;

use super::{ACK, Followed};
use crate::relayed::LIMIT;

impl Followed {
    /// Loses all evidence that the broker told so far, and whatever it tells until this returns.
    async fn lose_events(&self) {
        let name =
            self.settings.split("events_stream = \"").nth(1).and_then(|t| t.split('"').next()).expect("it is set");
        self.relayed.jetstream.get_stream(name).await.expect("it was made").purge().await.expect("is allowed");
    }

    async fn recovery(&self, id: Uuid) -> Option<(String, i32)> {
        let sql = "select state, tries from avouch.recovery where message_id = $1";
        self.relayed.client.query_opt(sql, &[&id]).await.expect("is valid").map(|r| (r.get(0), r.get(1)))
    }
}

#[tokio::test]
async fn message_that_is_settled_without_evidence_is_sent_again_so_often_and_then_dead() {
    let twice = format!("{ACK}generations_max = 2\n");
    let mut followed = Followed::start(&twice).await;
    let durable = followed.durable("billing").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(id, "sent").await;
    for n in 0..3 {
        // Nobody listens while it is acknowledged, and what was kept of it is lost.
        followed.relayed.avouch.kill();
        followed.next("billing").await.double_ack().await.expect("the broker has it");
        followed.lose_events().await;
        followed.again().await;
        if n < 2 {
            until("it is sent again", LIMIT, async || {
                (followed.recovery(id).await == Some(("sent".into(), n + 1))).then_some(())
            })
            .await;
        }
    }
    let reason = followed.relayed.in_state(id, "dead").await.expect("it has one");
    assert_eq!(reason, "billing: settled without a receipt, 3 times");
    drop(durable);
}

#[tokio::test]
async fn settled_message_counts_as_consumed_where_that_is_trusted() {
    let trusting = format!("{ACK}trust_settled = true\n");
    let mut followed = Followed::start(&trusting).await;
    followed.durable("billing").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(id, "sent").await;
    followed.relayed.avouch.kill();
    followed.next("billing").await.double_ack().await.expect("the broker has it");
    followed.lose_events().await;
    followed.again().await;
    followed.relayed.in_state(id, "consumed").await;
    assert_eq!(followed.recovery(id).await, None);
}

#[tokio::test]
async fn purged_stream_is_sent_again_to_the_consumers_that_lack_it_and_kills_nothing() {
    let both = format!("{ACK}[consumer.stock]\ntopics = [\"orders.>\"]\ndeadline_ms = 500\n");
    let followed = Followed::start(&both).await;
    followed.durable("stock").await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(followed.relayed.insert("orders.created", &n.to_string(), "{}").await);
    }
    for id in &ids {
        followed.relayed.in_state(*id, "sent").await;
        followed.next("stock").await.ack().await.expect("it is sent");
    }
    until("stock's receipts are in", LIMIT, async || {
        let sql = "select count(*) from avouch.outbox where cardinality(awaiting) = 2";
        let left: i64 = followed.relayed.client.query_one(sql, &[]).await.expect("is valid").get(0);
        (left == 0).then_some(())
    })
    .await;
    let stream = followed.relayed.jetstream.get_stream(&followed.relayed.names.stream).await.expect("it was made");
    stream.purge().await.expect("is allowed");
    for _ in &ids {
        let message = followed.next("billing").await;
        assert!(message.subject.contains(".billing.orders.created"), "{}", message.subject);
        message.ack().await.expect("it is sent");
    }
    for id in &ids {
        followed.relayed.in_state(*id, "consumed").await;
    }
    assert_eq!(followed.durable("stock").await.cached_info().num_pending, 0);
    let tries = "select count(*) from avouch.recovery where tries > 0";
    assert_eq!(followed.relayed.client.query_one(tries, &[]).await.expect("is valid").get::<_, i64>(0), 0);
}

#[tokio::test]
async fn deleted_durable_is_made_again_at_the_first_message_that_waits_for_it() {
    let followed = Followed::start(ACK).await;
    followed.durable("billing").await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(followed.relayed.insert("orders.created", &n.to_string(), "{}").await);
        followed.relayed.in_state(ids[n], "sent").await;
    }
    for _ in 0..4 {
        followed.next("billing").await.ack().await.expect("it is sent");
    }
    followed.relayed.in_state(ids[3], "consumed").await;
    let stream = followed.relayed.jetstream.get_stream(&followed.relayed.names.stream).await.expect("it was made");
    stream.delete_consumer("billing").await.expect("it was made");
    let first = followed.next("billing").await;
    assert_eq!(first.info().expect("it has one").stream_sequence, 5, "what is done is not delivered again");
    first.ack().await.expect("it is sent");
    for _ in 5..10 {
        followed.next("billing").await.ack().await.expect("it is sent");
    }
    for id in &ids {
        followed.relayed.in_state(*id, "consumed").await;
    }
}

#[tokio::test]
async fn deleted_stream_is_made_again_and_nothing_that_waits_is_lost() {
    let followed = Followed::start(ACK).await;
    followed.durable("billing").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(id, "sent").await;
    followed.relayed.jetstream.delete_stream(&followed.relayed.names.stream).await.expect("it was made");
    // The relay finds it missing with the next message, and makes it.
    let next = followed.relayed.insert("orders.created", "2", "{}").await;
    for _ in 0..2 {
        followed.next("billing").await.ack().await.expect("it is sent");
    }
    for id in [id, next] {
        followed.relayed.in_state(id, "consumed").await;
    }
}

#[tokio::test]
async fn message_that_was_delivered_too_often_is_dead_and_its_late_receipt_lifts_it() {
    let twice = format!("{ACK}max_deliver = 2\n");
    let followed = Followed::start(&twice).await;
    followed.durable("billing").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    for _ in 0..2 {
        followed.next("billing").await.ack_with(AckKind::Nak(None)).await.expect("it is sent");
    }
    // The broker says so when it would deliver it once more.
    let durable = followed.durable("billing").await;
    let reason = until("it is dead", LIMIT, async || {
        let mut batch =
            durable.batch().max_messages(1).expires(std::time::Duration::from_millis(200)).messages().await.ok()?;
        futures_util::StreamExt::next(&mut batch).await;
        let sql = "select reason from avouch.outbox where id = $1 and state = 'dead'";
        followed.relayed.client.query_opt(sql, &[&id]).await.expect("is valid").map(|r| r.get::<_, String>(0))
    })
    .await;
    assert!(reason.contains("delivered 2 times"), "{reason}");
    followed.sql(&format!("select avouch.confirm('billing', '{id}')")).await;
    followed.relayed.in_state(id, "consumed").await;
}
