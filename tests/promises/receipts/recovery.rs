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
async fn message_that_is_removed_while_its_consumer_has_it_is_sent_again_and_not_dead() {
    let followed = Followed::start(ACK).await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    let delivered = followed.next("billing").await;
    let stream = followed.relayed.jetstream.get_stream(&followed.relayed.names.stream).await.expect("it was made");
    let place = delivered.info().expect("it has one").stream_sequence;
    // The broker reports that as a termination, by nobody.
    stream.delete_message(place).await.expect("is allowed");
    let again = followed.next("billing").await;
    let generation = again.headers.as_ref().and_then(|h| h.get("Avouch-Generation")).map(ToString::to_string);
    assert_eq!(generation, Some("1".into()));
    again.ack().await.expect("it is sent");
    followed.relayed.in_state(id, "consumed").await;
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

#[tokio::test]
async fn dead_messages_are_listed_resent_and_discarded_as_groups_of_one_failure() {
    let followed = Followed::start(ACK).await;
    followed.durable("billing").await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(followed.relayed.insert("orders.created", &n.to_string(), "{}").await);
        followed.relayed.in_state(ids[n], "sent").await;
    }
    // Two failures, four messages of one and two of the other; what differs is in the numbers.
    for (n, id) in ids.iter().enumerate() {
        let why = if n < 4 { format!("no order {n}") } else { "card refused".to_owned() };
        followed.sql(&format!("select avouch.confirm('billing', '{id}', '{why}')")).await;
        followed.relayed.in_state(*id, "dead").await;
    }
    let groups = followed.cli(&["dead", "--groups"]).await;
    let is_group = |line: &str, parts: &[&str]| parts.iter().all(|part| line.contains(part));
    assert!(groups.lines().any(|line| is_group(line, &["  4  billing", "orders.created", "no order ?"])), "{groups}");
    assert!(groups.lines().any(|line| is_group(line, &["  2  billing", "orders.created", "card refused"])), "{groups}");
    let one = followed.cli(&["dead", "--failure", "card refused"]).await;
    assert_eq!(one.lines().count(), 3, "a heading and two messages: {one}");
    let sent = followed.cli(&["resend", "--consumer", "billing", "--failure", "no order ?"]).await;
    assert!(sent.contains("4 messages"), "{sent}");
    let given_up = followed
        .cli(&["discard", "--topic", "orders.created", "--reason", "refunded", "--failure", "card refused", "--yes"])
        .await;
    assert!(given_up.contains("2 messages"), "{given_up}");
    for id in &ids[4..] {
        assert_eq!(followed.state(*id).await, "discarded");
    }
    // An acknowledgement of either place is a receipt.
    let durable = followed.durable("billing").await;
    until("all but the discarded ones are consumed", LIMIT, async || {
        let wait = std::time::Duration::from_millis(200);
        let mut batch = durable.batch().max_messages(10).expires(wait).messages().await.ok()?;
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut batch).await {
            message.ack().await.ok()?;
        }
        let sql = "select count(*) from avouch.outbox where state = 'consumed'";
        (followed.relayed.client.query_one(sql, &[]).await.expect("is valid").get::<_, i64>(0) == 4).then_some(())
    })
    .await;
    for id in &ids[..4] {
        followed.relayed.in_state(*id, "consumed").await;
    }
}

#[tokio::test]
async fn dead_letters_are_copied_to_a_stream_for_programs() {
    let letters = format!("DEAD_{}", Uuid::now_v7().simple());
    let followed =
        Followed::with(ACK, &format!("dead_stream = {letters:?}\ndead_prefix = {:?}\n", format!("dead-{letters}")))
            .await;
    followed.durable("billing").await;
    let id = followed.relayed.insert("orders.created", "1", "the payload").await;
    followed.relayed.in_state(id, "sent").await;
    followed.sql(&format!("select avouch.confirm('billing', '{id}', E'no\nsuch order')")).await;
    until("the letter arrives", LIMIT, async || {
        let mut stream = followed.relayed.jetstream.get_stream(&letters).await.ok()?;
        (stream.info().await.ok()?.state.messages > 0).then_some(())
    })
    .await;
    let all = avouch_tests::stream::read_all(&followed.relayed.jetstream, &letters).await;
    assert_eq!(all.len(), 1);
    assert!(all[0].subject.ends_with(".billing.orders.created"), "{}", all[0].subject);
    assert_eq!(all[0].payload, "the payload");
    assert_eq!(all[0].header("Avouch-Dead-Consumer"), Some("billing"));
    assert_eq!(all[0].header("Avouch-Dead-Reason"), Some("no such order"));
    assert_eq!(all[0].header("Avouch-Id"), Some(id.to_string().as_str()));
}

#[tokio::test]
async fn consumed_messages_are_replayed_to_one_consumer() {
    let both = format!("{ACK}[consumer.stock]\ntopics = [\"orders.>\"]\n");
    let followed = Followed::start(&both).await;
    followed.durable("stock").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    for name in ["billing", "stock"] {
        followed.next(name).await.ack().await.expect("it is sent");
    }
    followed.relayed.in_state(id, "consumed").await;
    let told =
        followed.cli(&["replay", "billing", "--topic", "orders.created", "--from", "2020-01-01T00:00:00Z"]).await;
    assert!(told.contains("1 messages are sent to billing once more"), "{told}");
    assert_eq!(followed.awaits(id).await, ["billing"]);
    let again = followed.next("billing").await;
    assert_eq!(
        again.headers.clone().and_then(|h| h.get("Avouch-Generation").map(ToString::to_string)),
        Some("1".into())
    );
    again.ack().await.expect("it is sent");
    followed.relayed.in_state(id, "consumed").await;
    assert_eq!(followed.durable("stock").await.cached_info().num_pending, 0);
}

#[tokio::test]
async fn paused_consumer_gets_nothing_until_it_is_resumed() {
    let followed = Followed::start(ACK).await;
    let durable = followed.durable("billing").await;
    followed.cli(&["pause", "consumer", "billing", "--reason", "its database moves"]).await;
    until("it is paused", LIMIT, async || durable.get_info().await.ok()?.paused.then_some(())).await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(id, "sent").await;
    let mut batch = durable
        .batch()
        .max_messages(1)
        .expires(std::time::Duration::from_millis(500))
        .messages()
        .await
        .expect("it can be asked");
    assert!(futures_util::StreamExt::next(&mut batch).await.is_none(), "it is paused");
    followed.cli(&["resume", "consumer", "billing"]).await;
    followed.next("billing").await.ack().await.expect("it is sent");
    followed.relayed.in_state(id, "consumed").await;
}

#[tokio::test]
async fn consumer_that_is_away_for_longer_than_the_stream_keeps_messages_loses_none() {
    let followed = Followed::start(&format!("{ACK}generations_max = 0\n")).await;
    followed.durable("billing").await;
    let id = followed.relayed.insert("orders.created", "1", "{}").await;
    followed.relayed.in_state(id, "sent").await;
    let stream = followed.relayed.jetstream.get_stream(&followed.relayed.names.stream).await.expect("it was made");
    // Three times the broker's time is over, as far as it is concerned.
    for generation in 1..=3 {
        stream.purge().await.expect("is allowed");
        until("it is sent again", LIMIT, async || {
            let sql = "select generation from avouch.recovery where message_id = $1 and state = 'sent'";
            let row = followed.relayed.client.query_opt(sql, &[&id]).await.expect("is valid")?;
            (row.get::<_, i32>(0) == generation).then_some(())
        })
        .await;
    }
    assert_eq!(followed.state(id).await, "sent", "not dead, though nothing may be sent again for a missing receipt");
    followed.next("billing").await.ack().await.expect("it is sent");
    followed.relayed.in_state(id, "consumed").await;
}
