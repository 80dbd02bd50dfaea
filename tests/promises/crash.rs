//! Whatever is killed, whenever: every committed row is in the stream, none invented, none out of order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use avouch_tests::database::Database;
use avouch_tests::servers::{OwnNats, OwnPostgres, Sync, shared};
use avouch_tests::stream::{jetstream, jetstream_at};
use avouch_tests::wait::{secs, until};
use tokio::task::JoinSet;

use crate::ground::{Ground, random, rounds};

/// Producers that insert one to three rows a transaction until told to stop, each with keys of its own; one transaction in
/// ten rolls back. A server that goes away ends a transaction one way or the other: the outbox is the truth.
pub struct Producers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Producers {
    pub fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for producer in 0..4 {
            tasks.spawn(produce(url.to_owned(), producer, Arc::clone(&stop)));
        }
        Self { stop, tasks }
    }

    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("producers do not panic");
        }
    }
}

async fn produce(url: String, producer: u32, stop: Arc<AtomicBool>) {
    let mut step = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(connection);
        while !stop.load(Ordering::Relaxed) && !client.is_closed() {
            let key = format!("{producer}-{}", random(5));
            let end = if random(10) == 0 { "rollback" } else { "commit" };
            let rows: Vec<String> = (0..=random(3))
                .map(|_| {
                    step += 1;
                    format!(
                        "insert into avouch.outbox (topic, key, payload) values ('orders', '{key}', '{key}:{step}')"
                    )
                })
                .collect();
            let sql = format!("begin; {}; {end}", rows.join("; "));
            if client.batch_execute(&sql).await.is_err() {
                break;
            }
        }
    }
}

/// Waits until so many more rows were sent.
pub async fn sent_more(ground: &Ground, more: i64) {
    let before = ground.count("sent").await;
    until("more rows to be sent", secs(60), async || (ground.count("sent").await >= before + more).then_some(())).await;
}

const QUICK: &str = "[shards]\nlease_ms = 800\n[relay]\nretry_max_ms = 200\n";

#[tokio::test]
async fn runtime_killed_at_any_moment_loses_invents_and_reorders_nothing() {
    let ground = Ground::new().await;
    let mut avouch = ground.runtime(QUICK).await;
    let producers = Producers::start(ground.database.url());
    for _ in 0..rounds("AVOUCH_TEST_KILLS", 5) {
        sent_more(&ground, i64::try_from(random(400)).expect("is small")).await;
        avouch.kill();
        avouch.start_again().await;
    }
    sent_more(&ground, 100).await;
    producers.stop().await;
    ground.drained().await;
    ground.balance().await;
}

#[tokio::test]
async fn runtime_killed_after_reading_sends_what_it_had_read() {
    let ground = Ground::new().await;
    let slow = format!("{QUICK}[topic.orders]\nrate_per_s = 1\n");
    let mut avouch = ground.runtime(&slow).await;
    ground.insert("orders", 10, 0, 100).await;
    until("the first to be sent", secs(30), async || (ground.count("sent").await > 0).then_some(())).await;
    avouch.kill();
    let _avouch = ground.runtime(QUICK).await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 100);
}

#[tokio::test]
async fn runtime_killed_after_sending_bytes_sends_them_again_under_the_same_ids() {
    let nats = OwnNats::start().await;
    let ground = Ground::with(Database::create().await, nats.url(), jetstream_at(&nats.url()).await).await;
    let mut avouch = ground.runtime(&format!("{QUICK}ack_timeout_ms = 300\n")).await;
    ground.insert("orders", 10, 0, 10).await;
    ground.drained().await;
    nats.pause().expect("it runs");
    ground.insert("orders", 10, 10, 110).await;
    avouch.wait_for_log("no PubAck within", secs(30)).await;
    avouch.kill();
    nats.resume().expect("it is paused");
    avouch.start_again().await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 110, "what had arrived after all was not stored twice");
}

#[tokio::test]
async fn runtime_killed_between_puback_and_mark_stores_nothing_twice() {
    let ground = Ground::new().await;
    let mut avouch = ground.runtime(QUICK).await;
    ground.insert("orders", 10, 0, 10).await;
    ground.drained().await;
    let mut other = ground.database.client().await;
    // Marks wait for this lock; reading does not.
    let lock = other.transaction().await.expect("the server runs");
    lock.batch_execute("lock table avouch.shard in row exclusive mode; select from avouch.shard for update")
        .await
        .expect("nobody holds it for long");
    ground.insert("orders", 10, 10, 60).await;
    let stream = ground.jetstream.get_stream(&ground.names.stream).await.expect("it was made");
    until("the stream to hold what is not marked", secs(30), async || {
        // One message of each key is sent before its predecessor is marked: PubAck is enough.
        let messages = stream.get_info().await.ok()?.state.messages;
        (messages == 60).then_some(())
    })
    .await;
    assert_eq!(ground.count("sent").await, 10);
    avouch.kill();
    lock.rollback().await.expect("the server runs");
    avouch.start_again().await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 60);
}

#[tokio::test]
async fn runtime_killed_after_marking_sends_nothing_again() {
    let ground = Ground::new().await;
    let mut avouch = ground.runtime(QUICK).await;
    ground.insert("orders", 10, 0, 100).await;
    ground.drained().await;
    avouch.kill();
    avouch.start_again().await;
    ground.insert("orders", 10, 100, 110).await;
    ground.drained().await;
    assert_eq!(ground.balance().await, 110);
}

#[tokio::test]
async fn broker_killed_in_the_middle_loses_invents_and_reorders_nothing() {
    let mut nats = OwnNats::start().await;
    let ground = Ground::with(Database::create().await, nats.url(), jetstream_at(&nats.url()).await).await;
    let _avouch = ground.runtime(QUICK).await;
    let producers = Producers::start(ground.database.url());
    for _ in 0..rounds("AVOUCH_TEST_KILLS", 3) {
        sent_more(&ground, 200).await;
        nats.kill().expect("it runs");
        nats.start_again().await.expect("its port is free");
    }
    sent_more(&ground, 200).await;
    producers.stop().await;
    ground.drained().await;
    ground.balance().await;
    assert_eq!(ground.count("dead").await, 0);
}

#[tokio::test]
async fn database_killed_in_the_middle_loses_invents_and_reorders_nothing() {
    let mut postgres = OwnPostgres::start(Sync::On).await;
    let database = Database::create_on(&postgres).await;
    let mut ground = Ground::with(database, shared().nats.url(), jetstream().await).await;
    let _avouch = ground.runtime(QUICK).await;
    let producers = Producers::start(ground.database.url());
    for _ in 0..rounds("AVOUCH_TEST_KILLS", 2) {
        sent_more(&ground, 200).await;
        postgres.kill().expect("it runs");
        postgres.start_again().await.expect("its port is free");
        ground.client = ground.database.client().await;
    }
    sent_more(&ground, 200).await;
    producers.stop().await;
    ground.drained().await;
    ground.balance().await;
}

/// A standby that lacks the latest commits lacks what their sequence gave out too.
#[tokio::test]
async fn row_with_the_seq_of_a_lost_one_is_not_taken_for_it() {
    let nats = OwnNats::start().await;
    let ground = Ground::with(Database::create().await, nats.url(), jetstream_at(&nats.url()).await).await;
    let avouch = ground.runtime(&format!("{QUICK}ack_timeout_ms = 300\n")).await;
    ground.insert("orders", 1, 0, 5).await;
    ground.drained().await;
    nats.pause().expect("it runs");
    ground.insert("orders", 1, 5, 6).await;
    avouch.wait_for_log("no PubAck within", secs(30)).await;
    // What is in flight was never there, and others have its place and the one behind.
    let lose = "with lost as (delete from avouch.outbox where state = 'ready' returning seq, topic, key) \
                insert into avouch.outbox (seq, topic, key, payload) \
                select lost.seq + n, lost.topic, lost.key, '0:' || 6 + n from lost cross join generate_series(0, 1) n";
    assert_eq!(ground.client.execute(lose, &[]).await.expect("the rows are valid"), 2);
    let fail_over = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                     where datname = current_database() and pid <> pg_backend_pid()";
    ground.client.query_one(fail_over, &[]).await.expect("the server runs");
    nats.resume().expect("it is paused");
    ground.drained().await;
    let payloads: Vec<_> = ground.stream().await.into_iter().map(|m| m.payload).collect();
    let expected = ["0:0", "0:1", "0:2", "0:3", "0:4", "0:5", "0:6", "0:7"];
    assert_eq!(payloads, expected, "the lost one was published before it was lost");
}

#[tokio::test]
async fn stop_by_sigterm_leaves_nothing_unmarked() {
    let ground = Ground::new().await;
    let mut avouch = ground.runtime(QUICK).await;
    let producers = Producers::start(ground.database.url());
    sent_more(&ground, 300).await;
    let status = avouch.terminate(secs(15)).await;
    assert!(status.success(), "{status}");
    producers.stop().await;
    let stored = ground.stream().await.len();
    assert_eq!(i64::try_from(stored).expect("is small"), ground.count("sent").await, "what the stream holds is marked");
    let free = ground.client.query_one("select count(*) from avouch.shard where owner is not null", &[]).await;
    assert_eq!(free.expect("the server runs").get::<_, i64>(0), 0, "its shards are free at once");
    avouch.start_again().await;
    ground.drained().await;
    ground.balance().await;
}
