//! Whatever is killed, whenever: every message is consumed in the end, and none that its consumer has not acknowledged.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt;
use uuid::Uuid;

use super::{Followed, config};
use crate::ground::{random, rounds};

const CONSUMER: &str = "[consumer.billing]\ntopics = [\"orders.>\"]\nack_wait_ms = 300\ndeadline_ms = 1000\ngenerations_max = 1000\n\
                        [shards]\nlease_ms = 800\n[relay]\nretry_max_ms = 200\n";

/// Acknowledges three of four deliveries, and remembers what it has acknowledged, before it does.
async fn consume(durable: PullConsumer, acked: Arc<Mutex<HashSet<Uuid>>>) {
    loop {
        let batch = durable.batch().max_messages(100).expires(Duration::from_millis(500)).messages().await;
        let Ok(mut batch) = batch else { continue };
        while let Some(Ok(message)) = batch.next().await {
            if random(4) > 0 {
                let id = message.headers.as_ref().and_then(|h| h.get("Avouch-Id")).expect("it has one").to_string();
                acked.lock().expect("nobody panics with it").insert(id.parse().expect("it is a UUID"));
                // It may be of a stream that was purged meanwhile.
                drop(message.ack().await);
            }
        }
    }
}

#[tokio::test]
async fn runtimes_killed_at_any_moment_end_every_message_consumed_and_acknowledged() {
    let mut followed = Followed::start(CONSUMER).await;
    let url = avouch_tests::servers::shared().nats.url();
    let settings = config(&followed.relayed.database, &url, &followed.relayed.names, &followed.settings);
    let mut second = Avouch::run(&settings).await;
    let acked = Arc::new(Mutex::new(HashSet::new()));
    let consuming = tokio::spawn(consume(followed.durable("billing").await, Arc::clone(&acked)));
    let insert = "insert into avouch.outbox (topic, key, payload) select 'orders.created', (n % 50)::text, '{}' from generate_series(1, 200) n";
    for round in 0..rounds("AVOUCH_TEST_KILLS", 5) {
        followed.sql(insert).await;
        tokio::time::sleep(Duration::from_millis(random(600))).await;
        match round % 3 {
            0 => drop(followed.relayed.avouch.kill()),
            1 => drop(second.kill()),
            _ => {
                let stream =
                    followed.relayed.jetstream.get_stream(&followed.relayed.names.stream).await.expect("it was made");
                stream.purge().await.expect("is allowed");
            }
        }
        followed.sql(insert).await;
        match round % 3 {
            0 => followed.again().await,
            1 => second = Avouch::run(&settings).await,
            _ => {}
        }
    }
    until("every message is consumed", secs(120), async || {
        let sql = "select from avouch.outbox where state <> 'consumed' limit 1";
        followed.relayed.client.query_opt(sql, &[]).await.expect("the server runs").is_none().then_some(())
    })
    .await;
    consuming.abort();
    let rows = followed.relayed.client.query("select id from avouch.outbox", &[]).await.expect("the server runs");
    let left = "select (select count(*) from avouch.recovery) + (select count(*) from avouch.outbox where awaiting is not null)";
    assert_eq!(followed.relayed.client.query_one(left, &[]).await.expect("is valid").get::<_, i64>(0), 0);
    let acked = acked.lock().expect("nobody panics with it");
    assert!(rows.iter().all(|row| acked.contains(&row.get::<_, Uuid>(0))), "consumed, and never acknowledged");
}
