//! Records in the table of the database: effects beside `avouch.inbox_once`, and what becomes of old records.

use std::sync::Arc;

use avouch_tests::database::Database;
use avouch_tests::wait::{secs, until};
use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{BILLING, Gate, is};
use crate::ground::{random, rounds};

#[tokio::test]
async fn old_records_are_retired_and_parked_ones_stay() {
    let gate = Gate::new("[consumer.billing]\n[upkeep]\nevery_ms = 100\n").await;
    gate.sql(
        "insert into avouch.inbox (consumer, key, state, changed_at) \
         select c.id, state || n, state, clock_timestamp() - age * interval '1 hour' from avouch.consumer c, generate_series(1, 2000) n, \
         unnest(array['done', 'rejected', 'running', 'waiting', 'parked']) state, unnest(array[241, 239]) age where n % 2 = age % 2 or true \
         on conflict do nothing",
    )
    .await;
    gate.sql("update avouch.inbox set changed_at = clock_timestamp() - interval '241 hours' where right(key, 1) = '1'")
        .await;
    let left = "select count(*) filter (where state = 'parked'), count(*) filter (where state <> 'parked' and changed_at < \
                clock_timestamp() - interval '240 hours'), count(*) from avouch.inbox";
    let counts = until("old records to be retired", secs(30), async || {
        let row = gate.desk.ground.client.query_one(left, &[]).await.expect("is valid");
        let counts: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
        (counts[1] == 0).then_some(counts)
    })
    .await;
    assert_eq!(counts[0], 2000, "parked ones stay");
}

/// A consumer that dies at random between its effect and its ack, and is delivered everything again.
async fn consume(client: &Client, id: Uuid, effects: &str) -> Result<bool, tokio_postgres::Error> {
    client.batch_execute("begin").await?;
    let is_first: bool = client.query_one("select avouch.inbox_once('billing', $1, 'f')", &[&id]).await?.get(0);
    if is_first {
        client.execute(effects, &[&id]).await?;
    }
    match random(5) {
        // It dies before its commit: the effect goes with the record.
        0 => client.batch_execute("rollback").await.map(|()| false),
        _ => client.batch_execute("commit").await.map(|()| random(3) > 0),
    }
}

/// `AVOUCH_TEST_DELIVERIES` distinct messages, each delivered until a consumer lives to acknowledge it, from eight workers at once.
#[tokio::test]
async fn effects_beside_inbox_once_happen_exactly_once() {
    let gate = Gate::new(BILLING).await;
    let messages = rounds("AVOUCH_TEST_DELIVERIES", 400);
    gate.sql("create table effects (id uuid); create role consumes_here login in role avouch_consumer; grant insert on effects to consumes_here").await;
    let ids: Arc<Vec<Uuid>> = Arc::new((0..messages).map(|_| Uuid::now_v7()).collect());
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let (client, ids) = (gate.desk.ground.database.client().await, Arc::clone(&ids));
        workers.spawn(async move {
            client.batch_execute("set role consumes_here").await.expect("it is a superuser's session");
            let mut deliveries = 0u32;
            for at in 0..ids.len() {
                // Every worker is delivered every message, in an order of its own.
                let id = ids[(at * 7 + usize::try_from(random(3)).unwrap_or(0)) % ids.len()];
                loop {
                    deliveries += 1;
                    if consume(&client, id, "insert into effects values ($1)").await.expect("the server runs") {
                        break;
                    }
                }
            }
            deliveries
        });
    }
    let mut deliveries = 0;
    while let Some(ended) = workers.join_next().await {
        deliveries += ended.expect("a worker ends well");
    }
    for id in ids.iter() {
        while !consume(&gate.desk.ground.client, *id, "insert into effects values ($1)").await.expect("the server runs")
        {
        }
    }
    let sql = "select count(*), count(distinct id) from effects";
    let row = gate.desk.ground.client.query_one(sql, &[]).await.expect("is valid");
    assert_eq!([row.get::<_, i64>(0), row.get(1)], [i64::from(messages); 2], "after {deliveries} deliveries");
}

#[tokio::test]
async fn once_is_told_apart_from_something_else_and_from_nobody() {
    let gate = Gate::new(BILLING).await;
    let (client, id) = (&gate.desk.ground.client, Uuid::now_v7());
    let once = |fingerprint: &'static str| async move {
        client.query_one("select avouch.inbox_once('billing', $1, $2)", &[&id, &fingerprint]).await
    };
    assert!(once("a").await.expect("it is the first").get::<_, bool>(0));
    assert!(!once("a").await.expect("it is the second").get::<_, bool>(0));
    let conflict = once("b").await.expect_err("another fingerprint");
    assert!(conflict.as_db_error().is_some_and(|e| e.hint().is_some_and(|h| h.contains("one id"))), "{conflict:?}");
    let nobody = client.query_one("select avouch.inbox_once('nobody', $1)", &[&id]).await.expect_err("no consumer");
    assert!(
        nobody.as_db_error().is_some_and(|e| e.hint().is_some_and(|h| h.contains("[consumer.nobody]"))),
        "{nobody:?}"
    );
    // What was begun by asking is taken over: its holder is fenced.
    let begun = Uuid::now_v7();
    let run = gate.begin(begun).await;
    let row = client.query_one("select avouch.inbox_once('billing', $1)", &[&begun]).await.expect("it may");
    assert!(row.get::<_, bool>(0));
    assert!(is(&gate.say("complete", json!({ "key": run["key"], "token": run["token"] })).await, "fenced"));
    assert!(is(&gate.begin(begun).await, "done"));
}

#[tokio::test]
async fn every_database_knows_the_consumers_and_one_of_them_is_asked() {
    let other = Database::create().await;
    let settings = format!("{BILLING}[source.other]\nurl = {:?}\n[control]\nsource = \"main\"\n", other.url());
    let gate = Gate::new(&settings).await;
    let other = other.client().await;
    let begun = Uuid::now_v7();
    assert!(is(&gate.begin(begun).await, "run"));
    assert_eq!(gate.state(begun).await, "running");
    for client in [&gate.desk.ground.client, &other] {
        let row = client.query_one("select avouch.inbox_once('billing', $1)", &[&Uuid::now_v7()]).await;
        assert!(row.expect("the consumer is known").get::<_, bool>(0));
    }
    let records = "select count(*) from avouch.inbox";
    let count: i64 = other.query_one(records, &[]).await.expect("is valid").get(0);
    assert_eq!(count, 1, "only what was done there");
}

#[tokio::test]
async fn records_are_found_by_their_key_in_a_large_table() {
    let gate = Gate::new(BILLING).await;
    gate.sql(
        "insert into avouch.inbox (consumer, key, state, message_id) select c.id, uid::text, 'running', uid from avouch.consumer c, \
         (select gen_random_uuid() as uid from generate_series(1, 30000)) uids",
    )
    .await;
    let pairs = join_all((0..100).map(|_| gate.begin(Uuid::now_v7()))).await;
    let words = pairs.iter().map(|run| gate.say("complete", json!({ "key": run["key"], "token": run["token"] })));
    assert!(join_all(words).await.iter().all(|answer| is(answer, "done")));
    let sql = "select i.idx_scan, i.idx_tup_read, t.seq_scan from pg_stat_user_indexes i join pg_stat_user_tables t using (relid) \
               where indexrelname = 'inbox_pkey'";
    let [scans, read, whole] = until("the statistics to have arrived", secs(30), async || {
        // Postgres 14 sends them with a later statement of the same session.
        gate.begin(Uuid::now_v7()).await;
        let row = gate.desk.ground.client.query_one(sql, &[]).await.expect("is valid");
        let counts: [i64; 3] = [row.get(0), row.get(1), row.get(2)];
        (counts[0] >= 100).then_some(counts)
    })
    .await;
    assert!(read < 10 * scans && whole < 5, "{read} entries read in {scans} scans, {whole} times the whole table");
}
