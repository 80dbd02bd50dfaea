//! Trouble with the broker costs time, never a message: outages, purges, full and missing streams.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream;
use avouch_tests::database::Database;
use avouch_tests::servers::OwnNats;
use avouch_tests::stream::jetstream_at;
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt;

use crate::ground::Ground;

const QUICK: &str = "[relay]\nretry_first_ms = 50\nretry_max_ms = 200\n";

#[tokio::test]
async fn broker_down_for_longer_than_every_retry_interval_kills_nothing() {
    let mut nats = OwnNats::start().await;
    let ground = Ground::with(Database::create().await, nats.url(), jetstream_at(&nats.url()).await).await;
    let avouch = ground.runtime(QUICK).await;
    ground.insert("orders", 10, 0, 100).await;
    ground.drained().await;
    nats.stop().await.expect("it runs");
    avouch.wait_for_log("the connection to NATS is lost", secs(30)).await;
    // Ten times the longest interval, with inserts all along.
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    for n in 0..100 {
        beat.tick().await;
        ground.insert("orders", 10, 100 + n * 10, 110 + n * 10).await;
    }
    nats.start_again().await.expect("its port is free");
    ground.drained().await;
    assert_eq!(ground.balance().await, 1100);
    let spent = "select count(*) from avouch.outbox where state <> 'sent' or generation > 0";
    assert_eq!(ground.client.query_one(spent, &[]).await.expect("the server runs").get::<_, i64>(0), 0);
}

#[tokio::test]
async fn duplicate_puback_is_success_only_if_the_message_is_held() {
    let ground = Ground::new().await;
    let _avouch = ground.runtime(QUICK).await;
    ground.insert("orders", 1, 0, 1).await;
    ground.drained().await;
    // As after a crash between PubAck and mark: the broker has it, the database does not know.
    let again = "update avouch.outbox set state = 'ready', seq = seq, stream = null, stream_seq = null";
    ground.client.execute(again, &[]).await.expect("is allowed");
    ground.client.execute("select pg_notify('avouch_doorbell', 'rescan')", &[]).await.expect("is allowed");
    ground.drained().await;
    assert_eq!(ground.stream().await.len(), 1, "held, so nothing was sent twice");
    // Now the broker still remembers the id, and holds nothing.
    let stream = ground.jetstream.get_stream(&ground.names.stream).await.expect("it was made");
    stream.purge().await.expect("is allowed");
    ground.client.execute(again, &[]).await.expect("is allowed");
    ground.client.execute("select pg_notify('avouch_doorbell', 'rescan')", &[]).await.expect("is allowed");
    ground.drained().await;
    let held = ground.stream().await;
    assert_eq!(held.len(), 1, "sent again");
    let id = held[0].header("Avouch-Id").expect("every message has it").to_owned();
    assert_eq!(held[0].header("Nats-Msg-Id"), Some(format!("{id}:1").as_str()));
    assert_eq!(held[0].header("Avouch-Generation"), Some("1"));
    let generation: i32 =
        ground.client.query_one("select generation from avouch.outbox", &[]).await.expect("one row").get(0);
    assert_eq!(generation, 1);
}

#[tokio::test]
async fn small_stream_does_not_silt_up_while_its_consumers_keep_up() {
    let ground = Ground::new().await;
    let limits = "max_bytes = 200000\n[relay]\nretry_first_ms = 20\nretry_max_ms = 100\n[upkeep]\nevery_ms = 50\n";
    let _avouch = ground.runtime(limits).await;
    let name = &ground.names.stream;
    let stream = until("the stream to be made", secs(30), async || ground.jetstream.get_stream(name).await.ok()).await;
    let config =
        pull::Config { durable_name: Some("all".into()), ack_policy: AckPolicy::Explicit, ..Default::default() };
    let consumer = stream.create_consumer(config).await.expect("is valid");
    let mut messages = consumer.messages().await.expect("it was made");
    let total = 5_000;
    let consuming = tokio::spawn(async move {
        for _ in 0..total {
            let message = messages.next().await.expect("the stream goes on").expect("the server runs");
            message.ack().await.expect("the server runs");
        }
    });
    ground.insert("orders", 100, 0, total).await;
    ground.drained().await;
    consuming.await.expect("everything was consumed");
    let info = stream.get_info().await.expect("the server runs");
    assert_eq!(info.state.last_sequence, u64::try_from(total).expect("is positive"), "each was stored once");
    assert!(info.state.first_sequence > 1, "twenty-five times its size went through");
    assert_eq!(ground.count("dead").await, 0);
}

#[tokio::test]
async fn stream_that_is_only_verified_is_awaited_and_its_faults_are_named() {
    let ground = Ground::new().await;
    let avouch = ground.runtime("manage = \"verify\"\n[relay]\nretry_first_ms = 20\nretry_max_ms = 100\n").await;
    ground.insert("orders", 10, 0, 50).await;
    avouch.wait_for_log("manage = \\\"verify\\\": create it", secs(30)).await;
    let name = ground.names.stream.clone();
    let wrong = stream::Config {
        name: name.clone(),
        subjects: vec![ground.names.subjects()],
        retention: stream::RetentionPolicy::Interest,
        ..Default::default()
    };
    ground.jetstream.create_stream(wrong).await.expect("is valid");
    avouch.wait_for_log("its retention must be limits", secs(30)).await;
    ground.jetstream.delete_stream(&name).await.expect("it was made");
    let right = stream::Config { name, subjects: vec![ground.names.subjects()], ..Default::default() };
    ground.jetstream.create_stream(right).await.expect("is valid");
    ground.drained().await;
    assert_eq!(ground.balance().await, 50);
}

#[tokio::test]
async fn one_missing_stream_does_not_hold_up_the_others() {
    let ground = Ground::new().await;
    let more = format!(
        "[stream.{0}_B]\nsubject_prefix = \"{1}-b\"\nmanage = \"verify\"\n[topic.other]\nstream = \"{0}_B\"\n[relay]\nretry_max_ms = 200\n",
        ground.names.stream, ground.names.prefix
    );
    let config = format!("default_stream = \"{}\"\n{}", ground.names.stream, ground.config(&more));
    let avouch = avouch_tests::process::Avouch::run(&config).await;
    avouch.wait_for_log("avouch runs", secs(30)).await;
    ground.insert("other", 10, 0, 20_000).await;
    ground.insert("orders", 10, 0, 100).await;
    until("the other topic to be sent", secs(30), async || (ground.count("sent").await == 100).then_some(())).await;
    let name = format!("{}_B", ground.names.stream);
    let config = stream::Config {
        name: name.clone(),
        subjects: vec![format!("{}-b.>", ground.names.prefix)],
        ..Default::default()
    };
    ground.jetstream.create_stream(config).await.expect("is valid");
    ground.drained().await;
    let info = ground.jetstream.get_stream(&name).await.expect("it was made");
    assert_eq!(info.cached_info().state.messages, 20_000);
}

#[tokio::test]
async fn large_payloads_are_fetched_one_by_one_and_arrive_in_order() {
    let ground = Ground::new().await;
    let _avouch = ground.runtime("[relay]\nbytes_max = 1048576\n").await;
    let sql = "insert into avouch.outbox (topic, key, payload) \
               select 'orders', (n % 3)::text, repeat((n % 10)::text, 300000 + n) from generate_series(1, 40) n order by n";
    ground.client.execute(sql, &[]).await.expect("rows are valid");
    ground.drained().await;
    assert_eq!(ground.balance().await, 40);
}

#[tokio::test]
async fn hot_key_keeps_its_order_and_does_not_hold_up_the_others() {
    let ground = Ground::new().await;
    ground.insert("orders", 1, 0, 5_000).await;
    ground.insert("orders", 50, 5_000, 6_000).await;
    let _avouch = ground.runtime("[relay]\nkey_rows_max = 16\nrows_max = 512\n").await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 6_000);
}
