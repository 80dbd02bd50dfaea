//! The API and the console over a database after a month of work: each page looks at a bounded number of rows, however many there are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use avouch_runtime::access::Role;
use avouch_runtime::admin::{self, Access, Admin, routes};
use avouch_runtime::config::Config;
use avouch_runtime::meters::Scope;
use avouch_runtime::secret::Secret;
use avouch_runtime::store::{self, Plans, Store};
use avouch_tests::database::Database;
use avouch_tests::population::{populate, rows};
use reqwest::Method;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{client, send};

/// What one page may read of the large tables, in rows and index entries: the searches look at 30,000 messages, the groups of dead ones at
/// 100,000. The suite's table has twice as many, the month's five million has fifty times as many.
const READS_MAX: i64 = 350_000;
const LARGE: &str = "('outbox', 'inbox', 'recovery', 'tx', 'event', 'audit', 'plugin_log', 'sample')";
/// So many times each, for the median.
const TIMES: usize = 5;

/// What was read of the large tables: whole ones, and rows by index.
async fn reads(client: &Client) -> (i64, i64) {
    let flush = "select pg_stat_force_next_flush()";
    // Only newer servers know it; the others flush once a second.
    client.batch_execute(flush).await.ok();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let sql = format!(
        "select coalesce(sum(seq_scan), 0)::bigint, coalesce(sum(idx_tup_fetch), 0)::bigint \
         from pg_stat_user_tables where schemaname = 'avouch' and relname in {LARGE}"
    );
    let row = client.query_one(&sql, &[]).await.expect("the statistics can be read");
    (row.get(0), row.get(1))
}

/// Addresses of everything that can be looked at, with what the month has in their places.
async fn places(client: &Client) -> Vec<String> {
    let one = async |sql: &str| {
        client.query_opt(sql, &[]).await.expect("is valid").map(|row| row.get::<_, String>(0)).unwrap_or_default()
    };
    let message = one("select id::text from avouch.outbox where state = 'dead' limit 1").await;
    let tx = one("select id::text from avouch.tx where state = 'in_doubt' limit 1").await;
    let consumer = one("select name from avouch.consumer order by id limit 1").await;
    let mut places = Vec::new();
    for route in routes() {
        let is_looked_at = route.method == Method::GET && matches!(route.access, Access::Needs(Role::View));
        if !is_looked_at || route.path.ends_with("/events") {
            continue;
        }
        let id = if route.path.contains("transactions") { &tx } else { &message };
        let named = if route.path.contains("consumers") { consumer.as_str() } else { "order-check" };
        places.push(
            route
                .path
                .replace("{id}", id)
                .replace("{consumer}", &consumer)
                .replace("{name}", named)
                .replace("{key}", &message),
        );
    }
    for query in [
        "topic=orders.created",
        "topic=nothing.like.it",
        "topic=stock.>&state=consumed",
        "key=customer-7919",
        "key=nobody",
        "state=ready",
        "state=ready&topic=nothing",
        "state=delayed",
        "state=delayed&topic=nothing",
        "state=prepared",
        "state=dead",
        "state=dead&failure=nothing",
        "state=discarded",
        "since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z",
    ] {
        places.push(format!("/v1/messages?{query}"));
        places.push(format!("/messages?{query}"));
    }
    places.push(format!("/v1/messages?consumer={consumer}"));
    places.extend(["committed", "in_doubt", "prepared"].map(|state| format!("/v1/transactions?state={state}")));
    places.push("/v1/samples?minutes=1440".into());
    places.push("/?window=24h".into());
    places
}

#[tokio::test]
async fn every_page_looks_at_a_bounded_number_of_rows_of_a_large_database() {
    let database = Database::create().await;
    let held = populate(&database, rows()).await;
    let watcher = database.client().await;
    let source = store::Config::of(Secret::new(database.url()));
    let store = Store::new(&source, Scope::new("main", 8, []), "avouch admin", Plans::Fixed).expect("is valid");
    let config = Config::parse("[admin]\nlisten = \"127.0.0.1:0\"\nauth = \"none\"").expect("is valid").admin;
    let listener = admin::listen("127.0.0.1:0".parse().expect("is one")).expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    let served = Admin::new(&config, listener, Arc::new(store)).expect("it can be served");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(served.run(stop.clone(), Duration::from_secs(1)));
    let (http, mut slow) = (client(), Vec::new());
    for place in places(&watcher).await {
        let url = format!("http://{address}{place}");
        let before = reads(&watcher).await;
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let began = Instant::now();
            let answer = send(http.get(&url)).await;
            let status = answer.status().as_u16();
            answer.bytes().await.expect("it has a body");
            took.push(began.elapsed());
            assert!(status < 500 || status == 503, "{place}: {status}");
        }
        let after = reads(&watcher).await;
        took.sort();
        slow.push((took[TIMES / 2], place.clone()));
        let times = i64::try_from(TIMES).expect("is small");
        assert_eq!(after.0 - before.0, 0, "{place} reads a whole table");
        let a_page = (after.1 - before.1) / times;
        assert!(a_page <= READS_MAX, "{place} reads {a_page} rows");
    }
    slow.sort();
    slow.reverse();
    println!("{} messages: {held:?}; the slowest pages, medians: {:?}", rows(), &slow[..slow.len().min(8)]);
    stop.cancel();
    serving.await.expect("it ends");
}
