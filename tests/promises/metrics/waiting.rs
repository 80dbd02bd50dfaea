//! What waits is told by one instance, whoever it is, and costs the same whatever is retained.

use avouch_tests::database::Database;
use avouch_tests::metrics::{self, Exported};
use avouch_tests::wait::{secs, until};
use serde_json::Value;

use crate::ground::{Ground, rounds};

const QUICK: &str = "[upkeep]\nevery_ms = 50\n[shards]\nlease_ms = 1500\n";
const HELD: f64 = 30.0;

#[tokio::test]
async fn what_waits_is_told_by_one_instance_alone() {
    let ground = Ground::new().await;
    ground.client.batch_execute("select avouch.pause('topic', 'held')").await.expect("the owner may");
    let ports = [metrics::free_port(), metrics::free_port()];
    let config = |port: u16| format!("{QUICK}{}", metrics::config(port));
    let mut first = ground.runtime(&config(ports[0])).await;
    let told_by = async |port: u16| metrics::fetch(port).await.map(|m| ready(&m));
    ground.insert("held", 5, 0, 30).await;
    until("the first tells", secs(30), async || (told_by(ports[0]).await? == HELD).then_some(())).await;
    let _second = ground.runtime(&config(ports[1])).await;
    let shares = |m: &Exported| m.sum("avouch_shards_owned", &[]) > 0.0 && m.sum("avouch_instances", &[]) == 2.0;
    until("they share", secs(30), async || metrics::fetch(ports[1]).await.filter(shares)).await;
    until("one alone tells", secs(30), async || {
        let told = [told_by(ports[0]).await?, told_by(ports[1]).await?];
        (told.contains(&HELD) && told.contains(&0.0)).then_some(())
    })
    .await;
    first.kill();
    until("the other tells", secs(30), async || (told_by(ports[1]).await? == HELD).then_some(())).await;
    ground.client.batch_execute("select avouch.resume('topic', 'held')").await.expect("the owner may");
    let nothing = |m: &Exported| ready(m) == 0.0 && m.sum("avouch_oldest_seconds", &[("topic", "held")]) == 0.0;
    until("what is gone is nought", secs(30), async || metrics::fetch(ports[1]).await.filter(nothing)).await;
}

fn ready(told: &Exported) -> f64 {
    told.sum("avouch_messages", &[("state", "ready"), ("topic", "held")])
}

const BACKLOG: &str = include_str!("../../../runtime/src/store/backlog.sql");

/// Blocks that the look touches.
async fn blocks(client: &tokio_postgres::Client) -> i64 {
    let explain = "explain (analyze, buffers, format json) execute backlog(10000)";
    let plan: Value = client.query_one(explain, &[]).await.expect("the statement runs").get(0);
    let plan = &plan[0]["Plan"];
    ["Shared Hit Blocks", "Shared Read Blocks"].iter().map(|name| plan[name].as_i64().unwrap_or(0)).sum()
}

#[tokio::test]
async fn what_waits_is_looked_at_at_the_same_cost_whatever_is_retained() {
    let database = Database::create().await;
    let client = database.client().await;
    let retained = i32::try_from(rounds("AVOUCH_TEST_RETAINED_ROWS", 200_000)).expect("fits");
    let settings = format!("{}; prepare backlog(bigint) as {BACKLOG}", avouch_runtime::store::FIXED_PLANS);
    client.batch_execute(&settings).await.expect("the statement is valid");
    let waiting =
        "insert into avouch.outbox (topic, key, payload) select 'waits', n::text, 'x' from generate_series(1, 100) n";
    client.batch_execute(waiting).await.expect("rows are valid");
    let before = blocks(&client).await;
    let rows =
        "insert into avouch.outbox (topic, key, payload) select 'done', n::text, 'x' from generate_series(1, $1) n";
    client.execute(rows, &[&retained]).await.expect("rows are valid");
    let done = "update avouch.outbox set state = 'consumed', sent_at = now() where topic = 'done'";
    client.batch_execute(done).await.expect("is valid");
    client.batch_execute("vacuum avouch.outbox").await.expect("the superuser may");
    let after = blocks(&client).await;
    assert!(after < before + 200, "{before} blocks with nothing retained, {after} with {retained} messages");
}
