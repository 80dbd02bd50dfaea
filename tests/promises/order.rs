//! Order per key: where producers serialise a key, the stream has its messages in the order in which they were committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use avouch_tests::wait::secs;
use tokio::task::JoinSet;

use crate::ground::{Ground, random, rounds};

#[tokio::test]
async fn commit_order_of_a_key_is_kept_among_transactions_of_any_length() {
    let ground = Ground::new().await;
    let accounts =
        "create table account (key text primary key); insert into account select n::text from generate_series(1, 14) n";
    ground.client.batch_execute(accounts).await.expect("is valid");
    let _avouch = ground.runtime("").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..10 {
        let (client, stop) = (ground.database.client().await, Arc::clone(&stop));
        writers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let first = random(12) + 1;
                let second = first + random(3);
                // Some hold their seq for longer than the relay assumes a transaction to take.
                let open_ms = if writer == 0 { 400 } else { random(4) };
                let sql = format!(
                    "begin; select from account where key in ('{first}', '{second}') order by key for update; \
                     insert into avouch.outbox (topic, key, payload) values ('orders', '{first}', 'x'); \
                     select pg_sleep({open_ms} / 1000.0); \
                     insert into avouch.outbox (topic, key, payload) values ('orders', '{second}', 'y'); commit"
                );
                client.batch_execute(&sql).await.expect("the server runs");
            }
        });
    }
    let wanted = i64::from(rounds("AVOUCH_TEST_ORDER_ROWS", 4_000));
    avouch_tests::wait::until("enough rows", secs(120), async || (ground.count("sent").await >= wanted).then_some(()))
        .await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended.expect("writers do not panic");
    }
    ground.drained().await;
    ground.balance().await;
}
