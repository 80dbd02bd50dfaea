//! What people look at and do: each statement of `store/views` and `store/operate`, its functions included, over a database after a month of
//! work. None reads a large table whole, and none reads more of it than one look may.

use std::collections::BTreeMap;

use avouch_runtime::store::FIXED_PLANS;
use avouch_tests::database::Database;
use avouch_tests::population::{populate, rows};
use tokio_postgres::Client;

use super::notify;
use crate::docs::{files, read};

/// What grows with the work that is done.
const LARGE: &str =
    "('outbox', 'inbox', 'recovery', 'tx', 'event', 'audit', 'dedup', 'plugin_log', 'sample', 'receipt')";
/// The bounds of an id.
const ANY: &str = "'00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'";

/// File, types of the parameters, arguments. `@dead`, `@consumed`, `@tx`, `@doubt`, `@parked` stand for ids of the month.
const ASKED: &[(&str, &str, &str)] = &[
    ("views/audited.sql", "bigint, bigint", "9223372036854775807, 100"),
    ("views/consumer_names.sql", "bigint", "500"),
    ("views/consumers_shown.sql", "", ""),
    ("views/counted.sql", "uuid[], timestamptz, uuid", "array['@dead', '@dead']::uuid[], now(), '@dead'"),
    ("views/deployments_shown.sql", "text, bigint", "null, 500"),
    ("views/failure_groups.sql", "bigint", "30000"),
    (
        "views/find_dead.sql",
        "bigint, text, text, text, text, uuid, uuid, bigint",
        "9223372036854775807, null, null, 'billing', null, @any, 50",
    ),
    ("views/find_delayed.sql", "bigint, uuid, text, uuid, uuid, bigint", "0, @min, null, @any, 50"),
    (
        "views/find_key.sql",
        "text, uuid, uuid, text, text, text, bigint",
        "'customer-7919', @max, @min, null, null, null, 50",
    ),
    ("views/find_of_tx.sql", "uuid, uuid, uuid, bigint", "'@doubt', @any, 50"),
    ("views/find_prepared.sql", "uuid, bigint, text, uuid, uuid, bigint", "@max, 9223372036854775807, null, @any, 50"),
    ("views/find_ready.sql", "bigint, text, uuid, uuid, bigint", "0, null, @any, 50"),
    ("views/find_recent.sql", "uuid, uuid, text, text, bigint", "@max, @min, 'nothing.like.it', null, 50"),
    ("views/find_sent.sql", "uuid, uuid, text, timestamptz, bigint", "@any, 'nothing.like.it', now(), 50"),
    (
        "views/find_waiting.sql",
        "int, bigint, text, text, text, uuid, uuid, bigint",
        "0, 0, 'billing', null, null, @any, 50",
    ),
    ("views/holds_shown.sql", "bigint", "500"),
    ("views/in_doubt.sql", "text, uuid, bigint", "null, @max, 50"),
    ("views/inbox_record.sql", "text, text", "'billing', '@parked'"),
    ("views/messages.sql", "uuid[]", "array['@dead', '@consumed']::uuid[]"),
    ("views/now.sql", "", ""),
    ("views/payload_shown.sql", "uuid, int", "'@consumed', 1000"),
    ("views/plugin_lines.sql", "text, bigint, bigint", "'order-check', 9223372036854775807, 100"),
    ("views/samples.sql", "int", "60"),
    ("views/timeline.sql", "uuid", "'@dead'"),
    ("views/transaction.sql", "uuid", "'@tx'"),
    ("views/transactions.sql", "text[], text, uuid, bigint, bigint", "'{committed}', null, @max, 50, 20000"),
    ("views/tx_timeline.sql", "uuid", "'@doubt'"),
    ("views/tx_looked_to.sql", "uuid, bigint", "@max, 1000"),
    ("views/undecided.sql", "text, uuid, bigint, bigint", "null, @max, 50, 20000"),
    ("views/undecided_beyond.sql", "text, bigint", "null, 100"),
    ("views/unfinished_records.sql", "text, bigint", "'billing', 100"),
    ("operate/decide_record.sql", "text, text, text, text, text", "'ann', 'x', 'billing', '@parked', 'retry'"),
    ("operate/decide_tx.sql", "text, text, text, uuid[]", "'ann', 'x', 'commit', array['@doubt']::uuid[]"),
    (
        "operate/deploy.sql",
        "text, text, text, text, text, bytea, jsonb",
        "'ann', 'x', 'p', repeat('0', 64), '1', 'x', '{}'",
    ),
    ("operate/discard.sql", "text, text, uuid[]", "'ann', 'x', array['@dead']::uuid[]"),
    ("operate/pause.sql", "text, text, text, text", "'ann', 'x', 'key', 'k'"),
    ("operate/recheck.sql", "text, text, uuid[]", "'ann', 'x', array['@doubt']::uuid[]"),
    ("operate/remove_consumer.sql", "text, text, text", "'ann', 'x', 'shipping'"),
    ("operate/remove_plugin.sql", "text, text, text", "'ann', 'x', 'order-check'"),
    (
        "operate/replay.sql",
        "text, text, text, uuid[], boolean",
        "'ann', 'x', 'billing', array['@consumed']::uuid[], true",
    ),
    ("operate/resend.sql", "text, text, uuid[]", "'ann', 'x', array['@dead']::uuid[]"),
    ("operate/resume.sql", "text, text, text, text", "'ann', 'x', 'key', 'held'"),
    ("operate/roll_back_plugin.sql", "text, text, text, text, bigint", "'ann', 'x', 'order-check', null, null"),
];
/// Nobody works on anything unfinished in that month, and looking for it is what costs; who deploys is told nothing.
const EMPTY: [&str; 2] = ["views/unfinished_records.sql", "operate/deploy.sql"];

/// Arguments with the ids of this month in their places.
async fn arguments(client: &Client, of: &str) -> String {
    let mut told = of.replace("@any", ANY);
    let (min, max) = ANY.split_once(", ").expect("there are two");
    told = told.replace("@min", min).replace("@max", max);
    for (place, sql) in [
        ("@dead", "select id from avouch.outbox where state = 'dead' and awaiting is not null limit 1"),
        ("@consumed", "select id from avouch.outbox where state = 'consumed' limit 1"),
        ("@tx", "select id from avouch.tx where state = 'committed' limit 1"),
        ("@doubt", "select id from avouch.tx where state = 'in_doubt' limit 1"),
        ("@parked", "select key from avouch.inbox where state = 'parked' limit 1"),
    ] {
        if told.contains(place) {
            let row = client.query_one(&format!("select x::text from ({sql}) q (x)"), &[]).await.expect("there is one");
            told = told.replace(place, row.get(0));
        }
    }
    told
}

/// What a statement has read of large tables, in a transaction that is undone: whole ones by their names, rows by index; and how many rows it
/// returned.
async fn reads(client: &Client, sql: &str, types: &str, args: &str) -> (Vec<String>, i64, usize) {
    let types = if types.is_empty() { String::new() } else { format!("({types})") };
    let args = if args.is_empty() { String::new() } else { format!("({args})") };
    client
        .batch_execute(&format!("deallocate all; prepare asked{types} as {sql}"))
        .await
        .expect("the statement is valid");
    client.batch_execute("begin").await.expect("is valid");
    let before = counted(client).await;
    let returned = client.query(&format!("execute asked{args}"), &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let after = counted(client).await;
    client.batch_execute("rollback").await.expect("is valid");
    let (mut whole, mut fetched) = (Vec::new(), 0);
    for (table, (scans, rows)) in after {
        let had = before.get(&table).copied().unwrap_or_default();
        fetched += rows - had.1;
        if scans > had.0 {
            whole.push(table);
        }
    }
    (whole, fetched, returned.len())
}

/// How often this session has read which table whole, and how many rows by index, of what it has not handed in yet: the server calls that
/// the transaction's, but statements before it are among it for up to a second.
async fn counted(client: &Client) -> BTreeMap<String, (i64, i64)> {
    let sql = format!(
        "select relname::text, seq_scan, coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables \
         where schemaname = 'avouch' and relname in {LARGE}"
    );
    let rows = client.query(&sql, &[]).await.expect("is valid");
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

#[test]
fn every_statement_of_people_is_tried_over_a_large_database() {
    let mut all: Vec<String> = Vec::new();
    for part in ["views", "operate"] {
        all.extend(files(&format!("runtime/src/store/{part}"), &["sql"]).iter().map(|file| format!("{part}/{file}")));
    }
    // What is about endpoints is tried over many deliveries.
    let of_people = |file: &&str| file.starts_with("views/") || file.starts_with("operate/");
    let about_endpoints = notify::STATEMENTS.iter().map(|(file, ..)| *file).filter(of_people);
    let mut tried: Vec<&str> = ASKED.iter().map(|(file, ..)| *file).chain(about_endpoints).collect();
    tried.sort_by_key(|file| (!file.starts_with("views"), *file));
    assert_eq!(tried, all, "a statement that people use is added here, with arguments that make it work");
}

#[tokio::test]
async fn no_statement_of_people_reads_a_large_table_whole() {
    let database = Database::create().await;
    populate(&database, rows()).await;
    let client = database.client().await;
    client.batch_execute("select avouch.pause('key', 'held')").await.expect("is valid");
    client.batch_execute(FIXED_PLANS).await.expect("is valid");
    let mut costs = BTreeMap::new();
    for (file, types, args) in ASKED {
        let sql = read(&format!("runtime/src/store/{file}"));
        let args = arguments(&client, args).await;
        let (whole, fetched, returned) = reads(&client, &sql, types, &args).await;
        assert_eq!(whole, Vec::<String>::new(), "{file} reads these whole");
        assert!(fetched <= rows() / 2, "{file} reads {fetched} rows of {}", rows());
        assert!(returned > 0 || EMPTY.contains(file), "{file} did nothing: its arguments must make it work");
        costs.insert(fetched, *file);
    }
    println!("the dearest, in rows: {:?}", costs.iter().rev().take(8).collect::<Vec<_>>());
}
