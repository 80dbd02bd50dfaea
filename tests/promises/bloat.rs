//! A snapshot that somebody holds: nothing stops, nothing is forgotten, and it is told who it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use avouch_tests::wait::{secs, until};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::ground::{Ground, rounds};

const HELD: &str = "begin isolation level repeatable read; select count(*) from avouch.outbox";

#[tokio::test]
async fn session_that_holds_a_snapshot_is_named_by_an_alarm() {
    let ground = Ground::new().await;
    let holder = ground.database.client().await;
    holder.batch_execute("set application_name = 'monthly report'").await.expect("is valid");
    holder.batch_execute(HELD).await.expect("is valid");
    let pid: i32 = holder.query_one("select pg_backend_pid()", &[]).await.expect("is valid").get(0);
    let avouch = ground.runtime("[upkeep]\nevery_ms = 100\nsnapshot_max_s = 1\n").await;
    let line = avouch.wait_for_log(r#""alarm":"snapshot_held""#, secs(30)).await;
    assert!(line.contains("monthly report") && line.contains(&format!("pg_terminate_backend({pid})")), "{line}");
}

/// For so long as `AVOUCH_TEST_HELD_SECONDS` says; then the rate at its end is compared with that at its beginning as well. The load is as
/// much as there is room for, or `AVOUCH_TEST_HELD_RATE` messages a second: what piles up makes a saturated machine slower, but not one
/// that has something left.
#[tokio::test]
async fn held_snapshot_under_load_stops_nothing_and_its_end_stops_the_growth() {
    let seconds = rounds("AVOUCH_TEST_HELD_SECONDS", 0);
    let part = Duration::from_millis(u64::from(seconds.max(6)) * 1000 / 10);
    let ground = Ground::new().await;
    let avouch = ground.runtime("[upkeep]\nevery_ms = 200\nkeep_hours = 1\n").await;
    let mut load = JoinSet::new();
    let books = Arc::new(Books {
        began: Instant::now(),
        a_second: a_second(),
        inserted: AtomicU64::new(0),
        stored: AtomicU64::new(0),
    });
    load.spawn(watch_stream(ground.jetstream.clone(), ground.names.stream.clone(), Arc::clone(&books)));
    for _ in 0..4 {
        load.spawn(insert_aged(ground.database.client().await, Arc::clone(&books)));
    }
    let before = rate(&ground, part).await;
    let holder = ground.database.client().await;
    holder.batch_execute(HELD).await.expect("is valid");
    let (mut rates, began) = (Vec::new(), Instant::now());
    while began.elapsed() < part * 10 {
        rates.push(rate(&ground, part).await);
    }
    let held = size(&ground).await;
    holder.batch_execute("commit").await.expect("is valid");
    let after = rate(&ground, part).await;
    ground.client.batch_execute("vacuum avouch.outbox").await.expect("is valid");
    let steady = rate(&ground, part).await;
    let grown = size(&ground).await;
    load.shutdown().await;
    ground.drained().await;
    println!(
        "a second: {before:.0} before, {rates:.0?} while it is held, {after:.0} and {steady:.0} after; bytes: {held} at its end, {grown} later"
    );
    assert!(rates.iter().all(|r| *r > 0.0), "it never stops: {rates:?}");
    until("all that was sent to be retired", secs(120), async || {
        ground.client.query_opt("select from avouch.outbox limit 1", &[]).await.ok()?.is_none().then_some(())
    })
    .await;
    if seconds > 0 {
        assert!(grown < held + held / 4, "room is used again: {held} and then {grown} bytes");
        let (first, last) = (median(&rates[..3]), median(&rates[rates.len() - 3..]));
        assert!(last >= first * 0.9, "{before:.0} before, {rates:.0?} while it is held");
    }
    drop(avouch);
}

fn median(of_three: &[f64]) -> f64 {
    let mut sorted = of_three.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Without end, unless it is said.
fn a_second() -> u64 {
    u64::from(rounds("AVOUCH_TEST_HELD_RATE", u32::MAX))
}

/// How many were inserted, and how many of them the stream has. (Asking the database would measure its dead index entries.)
struct Books {
    began: Instant,
    a_second: u64,
    inserted: AtomicU64,
    stored: AtomicU64,
}

impl Books {
    /// How many there may be by now.
    fn due(&self) -> u64 {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.a_second.saturating_mul(ms + 100) / 1000
    }
}

async fn watch_stream(jetstream: async_nats::jetstream::Context, stream: String, books: Arc<Books>) {
    loop {
        if let Ok(stream) = jetstream.get_stream(&stream).await {
            books.stored.store(stream.cached_info().state.last_sequence, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Rows that are old enough to be retired once they are sent. A backlog would only measure how fast it drains.
async fn insert_aged(client: Client, books: Arc<Books>) {
    let sql = "insert into avouch.outbox (id, topic, key, payload) \
               select (lpad(to_hex(((extract(epoch from now()) - 7200) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) \
                       || '8' || substr(md5(random()::text || n), 1, 15))::uuid, 'orders', (random() * 5000)::int::text, repeat('x', 200) \
               from generate_series(1, 50) n";
    loop {
        let inserted = client.execute(sql, &[]).await.expect("is valid");
        let inserted = books.inserted.fetch_add(inserted, Ordering::Relaxed) + inserted;
        while inserted > books.stored.load(Ordering::Relaxed) + 5000 || inserted > books.due() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Messages a second that the stream takes for so long.
async fn rate(ground: &Ground, during: Duration) -> f64 {
    let last = async || {
        let stream = ground.jetstream.get_stream(&ground.names.stream).await.expect("it was made");
        stream.cached_info().state.last_sequence
    };
    until("the stream to be made", secs(30), async || ground.jetstream.get_stream(&ground.names.stream).await.ok())
        .await;
    let (first, began) = (last().await, Instant::now());
    tokio::time::sleep(during).await;
    let taken = last().await - first;
    u32::try_from(taken).map_or(f64::MAX, f64::from) / began.elapsed().as_secs_f64()
}

async fn size(ground: &Ground) -> i64 {
    let sql = "select pg_total_relation_size('avouch.outbox')";
    ground.client.query_one(sql, &[]).await.expect("is valid").get(0)
}
