//! All checks are due at once: plain messages keep flowing, memory stays bounded, and so do the checker's connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use avouch_tests::plugins;
use avouch_tests::wait::{secs, until};
use futures_util::StreamExt;
use tokio_postgres::Client;

use crate::cli::avouch;
use crate::ground::{Ground, rounds};
use crate::producers::url_of;
use crate::schema::File;

/// Between two plain messages.
const PACE: Duration = Duration::from_millis(20);
/// So many before the storm.
const CALM: usize = 100;
/// What the checker's binding allows.
const CONNECTIONS: i64 = 4;
/// The runtime's memory, whatever is due.
const MEMORY_KB_MAX: u64 = 200 << 10;
/// A storm shares the machine with everybody: two cores, Postgres included.
const SLOWER_MAX: f64 = 50.0;
const HARMLESS_MS: f64 = 250.0;

/// Times from the insert of plain messages to their arrival, in ms.
struct Plain {
    client: Client,
    arrived: async_nats::Subscriber,
}

impl Plain {
    async fn new(ground: &Ground) -> Self {
        let client = ground.database.client().await;
        let nats = async_nats::connect(&ground.nats_url).await.expect("the server runs");
        let arrived = nats.subscribe(format!("{}.plain", ground.names.prefix)).await.expect("the server runs");
        nats.flush().await.expect("the server runs");
        Self { client, arrived }
    }

    async fn one(&mut self) -> f64 {
        let began = Instant::now();
        let sql = "insert into avouch.outbox (topic, key, payload) values ('plain', 'plain', 'x')";
        self.client.batch_execute(sql).await.expect("is valid");
        let next = tokio::time::timeout(secs(60), self.arrived.next()).await;
        next.expect("plain messages are relayed").expect("the server runs");
        began.elapsed().as_secs_f64() * 1_000.0
    }

    async fn while_it(&mut self, goes_on: impl Fn(usize) -> bool) -> Vec<f64> {
        let mut times = Vec::new();
        while goes_on(times.len()) {
            times.push(self.one().await);
            tokio::time::sleep(PACE).await;
        }
        times
    }
}

fn quantile(times: &mut [f64], of: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    times[(((times.len() - 1) as f64) * of) as usize]
}

/// The most memory that the process has had, in kB.
fn peak_kb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux tells");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    line.trim().trim_end_matches(" kB").parse().expect("it is a number")
}

/// The most connections of a role that were ever seen, until it is told to stop.
async fn connections(client: Client, role: String, stop: Arc<AtomicBool>) -> i64 {
    let mut most = 0;
    while !stop.load(Ordering::Relaxed) {
        let sql = "select count(*) from pg_stat_activity where usename = $1";
        most = most.max(client.query_one(sql, &[&role]).await.expect("the server runs").get(0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storm_of_checks_holds_up_no_plain_message_and_stays_within_its_bounds() {
    let storm = rounds("AVOUCH_TEST_STORM", 5_000);
    let ground = Ground::new().await;
    let role = format!("checker_{}", ground.database.name());
    let shop = format!(
        "create schema shop; create table shop.orders (id bigint primary key, status text not null); create role {role} login;
         grant usage on schema shop to {role}; grant select on shop.orders to {role};
         insert into shop.orders select n, 'placed' from generate_series(1, {storm}, 2) n;
         do $$ declare t uuid; begin for n in 1..{storm} loop
            t := avouch.prepare('order-check', '1 day', n::text);
            insert into avouch.outbox (tx_id, topic, key, payload) values (t, 'orders.created', n::text, repeat('x', 200));
         end loop; end $$"
    );
    ground.client.batch_execute(&shop).await.expect("is valid");
    let cache = avouch_tests::scratch::profile_dir().join("plugin-cache");
    let more = format!(
        "[binding.sql.orders]\nurl = \"{}\"\nconnections_max = {CONNECTIONS}\n[checker.order-check]\nrollback_after_ms = 0\n\
         [rules]\ncache_dir = \"{}\"\n",
        url_of(&ground.database, &role),
        cache.display()
    );
    let config = File::new("avouch.toml", &ground.config(&more));
    let wasm = plugins::file("order-check");
    let wasm = wasm.to_str().expect("a UTF-8 path");
    avouch(&["plugin", "deploy", wasm, "--grant", "sql:orders", "--config", config.path()], &[]).await.succeeds();
    let runtime = ground.runtime(&more).await;
    let mut plain = Plain::new(&ground).await;
    plain.while_it(|n| n < CALM / 5).await;
    let mut calm = plain.while_it(|n| n < CALM).await;
    let before_kb = peak_kb(runtime.pid());

    let over = Arc::new(AtomicBool::new(false));
    let watched = tokio::spawn(connections(ground.database.client().await, role.clone(), Arc::clone(&over)));
    let began = Instant::now();
    let due = "update avouch.tx set check_at = now() where state = 'prepared'";
    ground.client.batch_execute(due).await.expect("the superuser may");
    let settled = async {
        until("the storm to be over", secs(60 + u64::from(storm) / 100), async || {
            let sql = "select not exists (select from avouch.tx where state = 'prepared')";
            let is_over = ground.client.query_one(sql, &[]).await.expect("the server runs").get::<_, bool>(0);
            tokio::time::sleep(Duration::from_millis(20)).await;
            is_over.then_some(())
        })
        .await;
        over.store(true, Ordering::Relaxed);
        began.elapsed()
    };
    let (took, mut stormy) = tokio::join!(settled, plain.while_it(|n| n < 5 || !over.load(Ordering::Relaxed)));
    let (most, after_kb) = (watched.await.expect("the watch does not panic"), peak_kb(runtime.pid()));
    let (p50, p99) = (quantile(&mut calm, 0.5), quantile(&mut calm, 0.99));
    let (storm_p50, storm_p99) = (quantile(&mut stormy, 0.5), quantile(&mut stormy, 0.99));
    println!(
        "{storm} checks in {took:.1?}, {:.0} a second; plain messages in ms, p50 and p99: calm {p50:.1} and {p99:.1} ({}), \
         in the storm {storm_p50:.1} and {storm_p99:.1} ({}); memory {} MB before, {} MB at most; {most} connections of the checker",
        f64::from(storm) / took.as_secs_f64(),
        calm.len(),
        stormy.len(),
        before_kb >> 10,
        after_kb >> 10,
    );
    let sql = "select count(*) filter (where state = 'committed'), count(*) filter (where state = 'rolled_back'), max(checks) from avouch.tx";
    let row = ground.client.query_one(sql, &[]).await.expect("the server runs");
    let half = i64::from(storm.div_ceil(2));
    assert_eq!([row.get::<_, i64>(0), row.get(1)], [half, i64::from(storm) - half]);
    assert_eq!(row.get::<_, i32>(2), 1, "nobody was asked twice");
    assert!((1..=CONNECTIONS).contains(&most), "{most} connections");
    assert!(after_kb < MEMORY_KB_MAX, "{after_kb} kB");
    assert!(storm_p50 <= (p50 * SLOWER_MAX).max(HARMLESS_MS), "p50 {storm_p50:.1} ms in the storm, {p50:.1} ms before");
}
