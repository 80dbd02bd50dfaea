//! The doorbell: no wake-up is lost, nothing notifies under load, and whoever freezes frees its lock. Polling is off in
//! these tests, so a lost wake-up is a row that is never sent.

use std::time::{Duration, Instant};

use avouch_tests::database::SHARDS;
use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::ground::{Ground, random, rounds};

/// No safety poll within any test's life.
const NO_POLL: &str = "[relay]\nsafety_poll_ms = 86400000\n[shards]\nlease_ms = 900\n[doorbell]\nheartbeat_ms = 300\n";

/// How many shards' locks are held exclusively: by sleeping relays.
async fn asleep(client: &Client) -> i64 {
    let sql = "select count(*) from pg_locks where locktype = 'advisory' and granted and mode = 'ExclusiveLock' \
               and database = (select oid from pg_database where datname = current_database()) \
               and classid = 'avouch.outbox'::regclass";
    client.query_one(sql, &[]).await.expect("the server runs").get(0)
}

async fn all_asleep(ground: &Ground) {
    until("the relay to sleep", secs(30), async || (asleep(&ground.client).await == i64::from(SHARDS)).then_some(()))
        .await;
}

async fn runtime(ground: &Ground) -> Avouch {
    let avouch = ground.runtime(NO_POLL).await;
    all_asleep(ground).await;
    avouch
}

const INSERT: &str = "insert into avouch.outbox (topic, key, payload) values ('orders', gen_random_uuid()::text, 'x')";

#[tokio::test]
async fn no_wake_up_is_lost_among_short_and_long_transactions() {
    let ground = Ground::new().await;
    let _avouch = runtime(&ground).await;
    for _ in 0..rounds("AVOUCH_TEST_WAKEUPS", 40) {
        let mut producers = JoinSet::new();
        for _ in 0..random(6) + 1 {
            let client = ground.database.client().await;
            producers.spawn(async move {
                for _ in 0..random(8) + 1 {
                    let open_ms = [0, 0, 0, 1, 3, 20, 1200][usize::try_from(random(if random(20) == 0 { 7 } else { 6 })).expect("small")];
                    let pause_ms = [0, 0, 1, 5, 30][usize::try_from(random(5)).expect("small")];
                    let sql = format!("begin; {INSERT}; select pg_sleep({open_ms} / 1000.0); commit; select pg_sleep({pause_ms} / 1000.0)");
                    client.batch_execute(&sql).await.expect("the server runs");
                }
            });
        }
        while let Some(ended) = producers.join_next().await {
            ended.expect("producers do not panic");
        }
        ground.drained().await;
    }
}

#[tokio::test]
async fn two_idle_instances_both_sleep_and_both_wake() {
    let ground = Ground::new().await;
    let _first = runtime(&ground).await;
    let _second = ground.runtime(NO_POLL).await;
    let owners = "select count(distinct owner) from avouch.shard where owner is not null";
    until("both to own shards", secs(30), async || {
        (ground.client.query_one(owners, &[]).await.ok()?.get::<_, i64>(0) == 2).then_some(())
    })
    .await;
    let sleepers = "select count(distinct pid) from pg_locks where locktype = 'advisory' and classid = 'avouch.outbox'::regclass \
                    and mode = 'ExclusiveLock' and database = (select oid from pg_database where datname = current_database())";
    until("both to sleep", secs(30), async || {
        (ground.client.query_one(sleepers, &[]).await.ok()?.get::<_, i64>(0) == 2).then_some(())
    })
    .await;
    all_asleep(&ground).await;
    ground.insert("orders", 50, 0, 100).await;
    ground.drained().await;
    all_asleep(&ground).await;
}

#[tokio::test]
async fn shard_handed_over_between_insert_and_commit_loses_no_wake_up() {
    let ground = Ground::new().await;
    let mut first = runtime(&ground).await;
    for _ in 0..rounds("AVOUCH_TEST_HANDOVERS", 3) {
        let second = ground.runtime(NO_POLL).await;
        let mut other = ground.database.client().await;
        let open = other.transaction().await.expect("the server runs");
        for _ in 0..20 {
            open.batch_execute(INSERT).await.expect("is valid");
        }
        first.terminate(secs(10)).await;
        all_asleep(&ground).await;
        open.commit().await.expect("the server runs");
        ground.drained().await;
        first = second;
    }
}

#[tokio::test]
async fn open_transaction_keeps_nobody_from_sleeping_or_being_sent() {
    let ground = Ground::new().await;
    let _avouch = runtime(&ground).await;
    let other = ground.database.client().await;
    other.batch_execute(&format!("begin; {INSERT}")).await.expect("is valid");
    for n in 0..20 {
        ground.insert("orders", 50, n, n + 1).await;
        until("the others to be sent", secs(30), async || {
            (ground.count("sent").await == i64::from(n) + 1).then_some(())
        })
        .await;
        all_asleep(&ground).await;
    }
    other.batch_execute("commit").await.expect("the server runs");
    ground.drained().await;
}

#[tokio::test]
async fn frozen_owner_frees_its_lock_within_three_heartbeats() {
    let ground = Ground::new().await;
    let avouch = runtime(&ground).await;
    avouch.pause();
    let frozen = Instant::now();
    until("the server to end its session", secs(30), async || (asleep(&ground.client).await == 0).then_some(())).await;
    // Three heartbeats of 300 ms; anything near the thirty seconds above is another reason.
    assert!(frozen.elapsed() < Duration::from_secs(15), "{:?}", frozen.elapsed());
    avouch.resume();
    ground.insert("orders", 5, 0, 10).await;
    ground.drained().await;
    all_asleep(&ground).await;
}

#[tokio::test]
async fn hundred_thousand_keys_in_one_insert_take_one_lock_a_shard() {
    let ground = Ground::new().await;
    let sql = format!(
        "begin; set constraints all immediate; insert into avouch.outbox (topic, key, payload) \
         select 'orders', n::text, 'x' from generate_series(1, {}) n",
        100_000
    );
    ground.client.batch_execute(&sql).await.expect("the lock table has room");
    let mine = "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'";
    let locks: i64 = ground.client.query_one(mine, &[]).await.expect("the server runs").get(0);
    assert_eq!(locks, i64::from(SHARDS));
    ground.client.batch_execute("rollback").await.expect("the server runs");
}

#[tokio::test]
async fn steady_stream_does_not_notify() {
    let ground = Ground::new().await;
    let _avouch = runtime(&ground).await;
    let (listener, mut connection) =
        tokio_postgres::connect(ground.database.url(), tokio_postgres::NoTls).await.expect("the server runs");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notification(n) = message {
                tell.send(n.payload().to_owned()).expect("the test still listens");
            }
        }
    });
    listener.batch_execute("listen avouch_doorbell").await.expect("the server runs");
    let mut producers = JoinSet::new();
    for _ in 0..4 {
        let client = ground.database.client().await;
        producers.spawn(async move {
            // A loop in the server, so that the rate does not depend on round trips of a busy test machine.
            let many = format!("do $$ begin for n in 1..2000 loop {INSERT}; commit; end loop; end $$");
            client.batch_execute(&many).await.expect("is valid");
        });
    }
    while let Some(ended) = producers.join_next().await {
        ended.expect("producers do not panic");
    }
    ground.drained().await;
    listener.batch_execute("select 1").await.expect("the server runs");
    let mut notified = 0;
    while told.try_recv().is_ok() {
        notified += 1;
    }
    assert!(notified < 2000, "{notified} of 8000 inserts in a row notified");
}

#[tokio::test]
async fn seldom_rows_cost_few_statements() {
    let ground = Ground::new().await;
    let mut avouch = runtime(&ground).await;
    let rows: i64 = 300;
    let producer = ground.database.client().await;
    let seldom =
        format!("do $$ begin for n in 1..{rows} loop {INSERT}; commit; perform pg_sleep(0.005); end loop; end $$");
    producer.batch_execute(&seldom).await.expect("is valid");
    drop(producer);
    ground.drained().await;
    avouch.terminate(secs(10)).await;
    // Sessions report what they did when they end.
    let alone = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    until("the sessions to end", secs(30), async || {
        (ground.client.query_one(alone, &[]).await.ok()?.get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    let counted = "select xact_commit from pg_stat_database where datname = current_database()";
    let transactions: i64 = ground.client.query_one(counted, &[]).await.expect("the server runs").get(0);
    // The insert, a read, a share of a mark, now and then a rest; starting, heartbeats and this test's own beside it.
    assert!(transactions < rows * 12, "{transactions} transactions for {rows} rows");
    assert!(transactions >= rows * 2, "{transactions} transactions: the count came too early");
}

#[tokio::test]
async fn copy_savepoints_replica_role_and_prepared_transactions_are_sent() {
    let ground = Ground::new().await;
    let _avouch = runtime(&ground).await;
    let client = &ground.client;
    let sent = async |wanted: i64| {
        until("them to be sent", secs(30), async || (ground.count("sent").await == wanted).then_some(())).await;
        all_asleep(&ground).await;
    };
    client.batch_execute("create table feed (topic text, key text, payload text); insert into feed values ('orders', 'a', 'x'), ('orders', 'b', 'y')").await.expect("is valid");
    let sink = client
        .copy_in::<_, bytes::Bytes>("copy avouch.outbox (topic, key, payload) from stdin")
        .await
        .expect("is allowed");
    let mut sink = std::pin::pin!(sink);
    futures_util::SinkExt::send(&mut sink, bytes::Bytes::from_static(b"orders\ta\tx\norders\tb\ty\n"))
        .await
        .expect("is valid");
    sink.finish().await.expect("is valid");
    sent(2).await;
    client
        .batch_execute(&format!("begin; savepoint s; {INSERT}; rollback to s; {INSERT}; commit"))
        .await
        .expect("is valid");
    sent(3).await;
    client
        .batch_execute(&format!("set session_replication_role = replica; {INSERT}; reset session_replication_role"))
        .await
        .expect("is valid");
    sent(4).await;
    let prepared =
        format!("begin; set local avouch.doorbell = off; {INSERT}; prepare transaction '{}'", ground.database.name());
    client.batch_execute(&prepared).await.expect("it is silent");
    all_asleep(&ground).await;
    client.batch_execute(&format!("commit prepared '{}'", ground.database.name())).await.expect("it was prepared");
    // Silent, so the next ring, or the safety poll, brings it.
    client.batch_execute(INSERT).await.expect("is valid");
    sent(6).await;
}

#[tokio::test]
async fn silent_rows_are_found_by_the_safety_poll() {
    let ground = Ground::new().await;
    let _avouch = ground.runtime("[relay]\nsafety_poll_ms = 200\n").await;
    all_asleep(&ground).await;
    ground
        .client
        .batch_execute(&format!("begin; set local avouch.doorbell = off; {INSERT}; commit"))
        .await
        .expect("is valid");
    ground.drained().await;
}

#[tokio::test]
async fn lost_listening_connection_is_made_again_and_loses_nothing() {
    let ground = Ground::new().await;
    let _avouch = runtime(&ground).await;
    for n in 0..5 {
        let kill = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' \
                    and database = (select oid from pg_database where datname = current_database())";
        ground.client.query(kill, &[]).await.expect("the server runs");
        ground.insert("orders", 5, n * 10, n * 10 + 10).await;
        ground.drained().await;
    }
    all_asleep(&ground).await;
}

#[tokio::test]
async fn delayed_row_that_comes_while_the_relay_sleeps_is_sent_in_time() {
    let ground = Ground::new().await;
    let _avouch = runtime(&ground).await;
    let delayed = "insert into avouch.outbox (topic, key, payload, not_before) values ('orders', 'a', 'late', now() + interval '300 ms')";
    ground.client.batch_execute(delayed).await.expect("is valid");
    ground.insert("orders", 1, 0, 1).await;
    ground.drained().await;
    let early =
        "select count(*) from avouch.outbox where released_at is not null and sent_at < created_at + interval '300 ms'";
    assert_eq!(ground.client.query_one(early, &[]).await.expect("the server runs").get::<_, i64>(0), 0);
    assert_eq!(ground.count("sent").await, 2);
}
