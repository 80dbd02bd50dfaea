//! Each hot statement is planned by its index, at a million rows and with half a million dead entries at the head.

mod notify;
mod people;

use avouch_runtime::store::FIXED_PLANS;
use avouch_tests::database::Database;
use avouch_tests::wait::{secs, until};
use serde_json::Value;
use tokio_postgres::Client;

use crate::ground::rounds;

/// Statement, the types of its parameters, arguments, and the index that it must use.
const HOT: &[(&str, &str, &str, &str, &str)] = &[
    (
        "read_ready",
        include_str!("../../runtime/src/store/read_ready.sql"),
        "int[], text[], int[], bigint[], int[], text[], int, bigint, text",
        "'{0,0}', '{null,null}', '{0,1}', '{600000,600000}', '{256,256}', '{}', 8192, 599000, '1:1:'",
        "outbox_ready",
    ),
    (
        "look_back",
        include_str!("../../runtime/src/store/look_back.sql"),
        "int[], text[], int[], bigint[], int[], text[]",
        "'{0,0}', '{null,null}', '{0,1}', '{400000,400000}', '{256,256}', '{}'",
        "outbox_ready",
    ),
    (
        "mark_sent",
        include_str!("../../runtime/src/store/mark_sent.sql"),
        "int[], bigint[], int[], bigint[], int[], bigint[], text[], uuid[], int",
        "'{0,1}', '{0,0}', '{0,1}', '{700000,700001}', '{1,1}', '{1,2}', '{null,\"{7}\"}', array[gen_random_uuid(), gen_random_uuid()], 0",
        "outbox_ready",
    ),
    ("backlog", include_str!("../../runtime/src/store/backlog.sql"), "bigint", "100", "outbox_ready"),
    (
        "places",
        include_str!("../../runtime/src/store/places.sql"),
        "int[], bigint[], int[]",
        "'{1,1}', '{1000,2000}', '{7,7}'",
        "outbox_awaited",
    ),
    (
        "look_awaited",
        include_str!("../../runtime/src/store/look_awaited.sql"),
        "int, int, bigint, bigint, bigint",
        "7, 1, 400000, 401000, 100",
        "outbox_awaited",
    ),
    (
        "awaited_between",
        include_str!("../../runtime/src/store/awaited_between.sql"),
        "int, bigint, bigint",
        "1, 400000, 500000",
        "outbox_awaited",
    ),
    (
        "receive",
        include_str!("../../runtime/src/store/receive.sql"),
        "uuid[], int",
        "array[gen_random_uuid(), gen_random_uuid()], 7",
        "outbox_pkey",
    ),
    (
        "release_from",
        include_str!("../../runtime/src/store/release_from.sql"),
        "int, int, bigint, bigint, bigint",
        "7, 1, 300000, 301000, 100",
        "outbox_awaited",
    ),
    (
        "bury",
        include_str!("../../runtime/src/store/bury.sql"),
        "int, bigint, bigint, text, boolean, uuid",
        "0, 0, 700000, 'no', false, gen_random_uuid()",
        "outbox_ready",
    ),
    (
        "next_generation",
        include_str!("../../runtime/src/store/next_generation.sql"),
        "int, bigint, bigint, int, uuid",
        "0, 0, 700000, 0, gen_random_uuid()",
        "outbox_ready",
    ),
    ("release_due", include_str!("../../runtime/src/store/release_due.sql"), "bigint", "1000", "outbox_not_before"),
    ("payload", include_str!("../../runtime/src/store/payload.sql"), "uuid", "gen_random_uuid()", "outbox_pkey"),
    (
        "retire",
        include_str!("../../runtime/src/store/retire.sql"),
        "uuid, uuid, bigint",
        "'00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000001', 1000",
        "outbox_pkey",
    ),
];

pub async fn explain(client: &Client, name: &str, sql: &str, types: &str, args: &str) -> Value {
    let types = if types.is_empty() { String::new() } else { format!("({types})") };
    let args = if args.is_empty() { String::new() } else { format!("({args})") };
    client
        .batch_execute(&format!("deallocate all; prepare {name}{types} as {sql}"))
        .await
        .expect("the statement is valid");
    let explain = format!("explain (analyze, buffers, format json) execute {name}{args}");
    client.query_one(&explain, &[]).await.expect("the statement runs").get(0)
}

/// All nodes of a plan that touch the outbox: (node type, index).
fn touches(plan: &Value, found: &mut Vec<(String, String)>) {
    let text = |name: &str| plan[name].as_str().unwrap_or_default().to_owned();
    if text("Relation Name") == "outbox" || text("Index Name").starts_with("outbox") {
        found.push((text("Node Type"), text("Index Name")));
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        touches(child, found);
    }
}

#[tokio::test]
async fn hot_statements_use_their_index_at_a_million_rows_and_half_a_million_dead_entries() {
    let database = Database::create().await;
    let client = database.client().await;
    let rows = i32::try_from(rounds("AVOUCH_TEST_PLAN_ROWS", 1_000_000)).expect("fits");
    let load = "insert into avouch.outbox (topic, key, payload, not_before) \
                select 'orders', (n % 100000)::text, 'x', case when n % 1000 = 0 then now() + interval '1 day' end \
                from generate_series(1, $1) n";
    client.execute(load, &[&rows]).await.expect("rows are valid");
    // A held snapshot keeps the dead entries from being cleaned away.
    let other = database.client().await;
    other
        .batch_execute("begin isolation level repeatable read; select 1 from avouch.outbox limit 1")
        .await
        .expect("is valid");
    let dead = "update avouch.outbox set state = 'sent', stream = 1, stream_seq = seq, awaiting = '{7}' where state = 'ready' and not_before is null and seq <= $1";
    client.execute(dead, &[&i64::from(rows / 2)]).await.expect("is valid");
    for statistics in ["", "analyze avouch.outbox"] {
        client.batch_execute(statistics).await.expect("is valid");
        client.batch_execute(FIXED_PLANS).await.expect("is valid");
        for (name, sql, types, args, index) in HOT {
            let answer = explain(&client, name, sql, types, args).await;
            let plan = &answer[0]["Plan"];
            let mut found = Vec::new();
            touches(plan, &mut found);
            let allowed = ["Index Scan", "Index Only Scan", "Tid Scan", "ModifyTable"];
            assert!(found.iter().all(|(node, _)| allowed.contains(&node.as_str())), "{name}: {found:?}");
            assert!(found.iter().any(|(_, used)| used == index), "{name} does not use {index}: {found:?}");
            let blocks =
                plan["Shared Hit Blocks"].as_i64().unwrap_or(0) + plan["Shared Read Blocks"].as_i64().unwrap_or(0);
            // These read everything that was sent lately, and so are repeated no sooner than twenty times their length.
            assert!(
                blocks < 5_000 || ["look_back", "backlog"].contains(name),
                "{name} touches {blocks} blocks: dead entries are rescanned"
            );
        }
    }
}

#[tokio::test]
async fn backlog_of_a_table_without_statistics_drains() {
    let ground = crate::ground::Ground::new().await;
    ground.client.batch_execute("alter table avouch.outbox set (autovacuum_enabled = off)").await.expect("is allowed");
    let _avouch = ground.runtime("").await;
    ground.insert("orders", 1000, 0, 30_000).await;
    until("it to be drained", secs(60), async || (ground.count("sent").await == 30_000).then_some(())).await;
}

#[tokio::test]
async fn producers_sessions_use_indexes_though_the_tables_were_empty() {
    let database = Database::create().await;
    let mut client = database.client().await;
    client.batch_execute("vacuum analyze avouch.tx; ").await.expect("is valid");
    client.batch_execute("vacuum analyze avouch.outbox").await.expect("is valid");
    let producer = client.transaction().await.expect("the server runs");
    let work = "do $$ declare t uuid; begin for n in 1..50 loop \
                t := avouch.prepare('checker', '1 s', n::text); \
                insert into avouch.outbox (tx_id, topic, payload) values (t, 'orders', 'x'); \
                if n % 3 = 0 then perform avouch.commit(t); elsif n % 3 = 1 then perform avouch.rollback(t, 'no'); \
                else perform avouch.report(t, 'commit'); end if; end loop; end $$";
    producer.batch_execute(work).await.expect("is valid");
    let scans =
        "select relname::text, seq_scan from pg_stat_xact_user_tables where schemaname = 'avouch' and seq_scan > 2";
    let scanned: Vec<(String, i64)> =
        producer.query(scans, &[]).await.expect("is valid").iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(scanned.is_empty(), "read whole again and again: {scanned:?}");
}

/// A session that was there before the first row keeps the plans that it made then.
#[tokio::test]
async fn plans_made_on_empty_tables_find_rows_by_their_ids() {
    let database = Database::create().await;
    let client = database.client().await;
    const TRANSACTIONS: i64 = 500;
    let prepare = format!(
        "do $$ declare t uuid; begin for n in 1..{TRANSACTIONS} loop t := avouch.prepare('c', '1 day', n::text); \
         insert into avouch.outbox (tx_id, topic, key, payload) values (t, 'orders', n::text, 'x'); \
         if n % 2 = 0 then perform avouch.commit(t); end if; end loop; end $$"
    );
    client.batch_execute(&prepare).await.expect("is valid");
    let read = "select coalesce(sum(idx_tup_read), 0)::bigint from pg_stat_user_indexes where schemaname = 'avouch' \
                and relname in ('tx', 'outbox') and indexrelname not like '%pkey'";
    let by_id = "select idx_scan from pg_stat_user_indexes where indexrelname = 'tx_pkey'";
    until("the statistics to have arrived", secs(30), async || {
        let scans: i64 = client.query_one(by_id, &[]).await.expect("is valid").get(0);
        (scans >= TRANSACTIONS).then_some(())
    })
    .await;
    let read: i64 = client.query_one(read, &[]).await.expect("is valid").get(0);
    assert!(read < TRANSACTIONS * 4, "{read} entries of other indexes were read for {TRANSACTIONS} transactions");
}
