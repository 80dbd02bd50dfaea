//! A checker that loops, beside a good one whose transactions keep coming.

use std::time::Duration;

use avouch_tests::wait::{secs, until};

use super::guest::Guest;
use crate::cli::avouch;
use crate::ground::{Ground, rounds};
use crate::schema::File;

/// Transactions of the good checker, prepared one after another.
const GOOD: u32 = 300;
/// Transactions of the looping one, all due at once.
const LOOPING: u32 = 1_000;
/// Between two transactions of the good checker.
const PACE: Duration = Duration::from_millis(10);
/// What a looping neighbour may cost, at worst: its CPU is bounded, but not free on a small machine.
const SLOWER_MAX: f64 = 20.0;
/// Whatever the ratio is, so much is nobody's harm.
const HARMLESS_MS: f64 = 1_000.0;

/// How long the good checker's transactions were undecided, in milliseconds: half of them, and all but a hundredth.
async fn settle_times(ground: &Ground, phase: &str) -> (f64, f64) {
    for _ in 0..rounds("AVOUCH_TEST_BESIDE", GOOD) {
        ground.client.execute("select avouch.prepare('good', '0 s', $1)", &[&phase]).await.expect("is valid");
        tokio::time::sleep(PACE).await;
    }
    until("the good checker's transactions to be settled", secs(120), async || {
        let sql = "select not exists (select from avouch.tx where checker = 'good' and state = 'prepared')";
        ground.client.query_one(sql, &[]).await.expect("the server runs").get::<_, bool>(0).then_some(())
    })
    .await;
    let sql = "select percentile_cont(array[0.5, 0.99]) within group \
               (order by extract(epoch from decided_at - created_at)::float8 * 1000) \
               from avouch.tx where checker = 'good' and ref = $1 and state = 'committed' and checks = 1";
    let times: Vec<f64> = ground.client.query_one(sql, &[&phase]).await.expect("is valid").get(0);
    (times[0], times[1])
}

#[tokio::test]
async fn looping_checker_does_not_hold_up_the_good_one_beside_it() {
    let ground = Ground::new().await;
    let more = "[checkback]\npoll_max_ms = 50\n[control]\nenabled = false\n";
    let config = File::new("avouch.toml", &ground.config(more));
    for guest in [Guest::good().named("good"), Guest::checking("(loop (br 0)) (unreachable)").named("looping")] {
        let file = File::new("guest.wasm", "");
        std::fs::write(file.path(), guest.wasm()).expect("it can be written");
        avouch(&["plugin", "deploy", file.path(), "--config", config.path()], &[]).await.succeeds();
    }
    let avouch = ground.runtime(more).await;
    let alone = settle_times(&ground, "alone").await;
    let storm = format!("select avouch.prepare('looping', '0 s') from generate_series(1, {LOOPING})");
    ground.client.batch_execute(&storm).await.expect("is valid");
    let beside = settle_times(&ground, "beside").await;
    avouch.wait_for_log("checker_broken", secs(30)).await;
    let sql = "select count(*), sum(checks), count(*) filter (where verdict like '%not asked%') \
               from avouch.tx where checker = 'looping' and state = 'prepared'";
    let row = ground.client.query_one(sql, &[]).await.expect("the server runs");
    let (undecided, claimed, spared): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    println!(
        "settled in ms, p50 and p99: alone {:.1} and {:.1}, beside a looping checker {:.1} and {:.1}; it was claimed {claimed} times, {spared} of them not asked",
        alone.0, alone.1, beside.0, beside.1
    );
    assert_eq!(undecided, i64::from(LOOPING), "a fault never decides");
    // A full claim is 256; all of it would compute for 50 seconds.
    assert!(spared > 100, "{spared} of {claimed} were not asked once the breaker was open");
    let bound = (alone.1 * SLOWER_MAX).max(HARMLESS_MS);
    assert!(beside.1 <= bound, "p99 {:.1} ms beside a looping checker, {:.1} ms alone", beside.1, alone.1);
}
