//! One consumer's trouble is its own: the evidence of the others is read and applied.

use async_nats::jetstream::consumer::{AckPolicy, pull};
use avouch_tests::wait::until;

use super::{ACK, Followed};
use crate::relayed::LIMIT;

impl Followed {
    /// Inserts so many messages, acknowledges each once, and waits until they are consumed. Returns how often one was sent again.
    async fn consumed_and_sent_again(&self, count: usize) -> u64 {
        let mut ids = Vec::new();
        for n in 0..count {
            ids.push(self.relayed.insert("orders.created", &n.to_string(), "{}").await);
        }
        for _ in 0..count {
            self.next("billing").await.ack().await.expect("it is sent");
        }
        for id in ids {
            self.relayed.in_state(id, "consumed").await;
        }
        let sql = "select coalesce(sum(generation), 0) from avouch.outbox";
        let again: i64 = self.relayed.client.query_one(sql, &[]).await.expect("is valid").get(0);
        again.unsigned_abs()
    }
}

#[tokio::test]
async fn consumer_that_cannot_be_used_keeps_no_evidence_of_others_from_being_read() {
    let mut followed = Followed::start(ACK).await;
    followed.durable("billing").await;
    // Somebody made one by hand that never acknowledges.
    let stream = followed.relayed.jetstream.get_stream(&followed.relayed.names.stream).await.expect("it was made");
    let by_hand =
        pull::Config { durable_name: Some("a-bad-one".into()), ack_policy: AckPolicy::None, ..Default::default() };
    stream.create_consumer(by_hand).await.expect("is allowed");
    followed.settings = format!("[consumer.a-bad-one]\ntopics = [\"stock\"]\n{}", followed.settings);
    followed.relayed.avouch.kill();
    followed.again().await;
    followed.relayed.avouch.wait_for_log("does not acknowledge explicitly", LIMIT).await;
    assert_eq!(followed.consumed_and_sent_again(20).await, 0);
}

#[tokio::test]
async fn hostile_reason_of_a_termination_stops_nothing() {
    let followed = Followed::start(ACK).await;
    followed.durable("billing").await;
    let id = followed.relayed.insert("orders.created", "0", "{}").await;
    let message = followed.next("billing").await;
    let client = async_nats::connect(avouch_tests::servers::shared().nats.url()).await.expect("it runs");
    let reason = format!("+TERM bad\0reason '; drop table avouch.outbox; -- {}", "x".repeat(5_000));
    client.publish(message.reply.clone().expect("it has one"), reason.into()).await.expect("it is sent");
    client.flush().await.expect("it runs");
    let reason = followed.relayed.in_state(id, "dead").await.expect("it has one");
    assert!(reason.contains("badreason") && reason.len() < 1_200, "{reason}");
    assert_eq!(followed.consumed_and_sent_again(20).await, 0);
    until("the queue of events is read to its end", LIMIT, async || {
        let sql = "select count(*) from avouch.outbox where awaiting is not null and state = 'sent'";
        (followed.relayed.client.query_one(sql, &[]).await.expect("is valid").get::<_, i64>(0) == 0).then_some(())
    })
    .await;
}
