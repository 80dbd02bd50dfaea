//! A populated database is one that Avouch could have made.

use std::time::Instant;

use avouch_tests::database::Database;
use avouch_tests::population::{populate, rows};
use tokio_postgres::Client;

/// What must never be found, and why.
const NEVER: &[(&str, &str)] = &[
    ("topics are tokens", "select from avouch.outbox where topic !~ '^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$'"),
    ("there is one payload", "select from avouch.outbox where num_nonnulls(payload, payload_bytes) <> 1"),
    (
        "an id tells its time",
        "select from avouch.outbox where abs(extract(epoch from created_at) - ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) > 1",
    ),
    (
        "ids are UUIDs of version 7",
        "select from avouch.outbox where substr(id::text, 15, 1) <> '7' or substr(id::text, 20, 1) <> '8'",
    ),
    (
        "what is sent has a place",
        "select from avouch.outbox where state in ('sent', 'consumed') and num_nulls(stream, stream_seq, sent_at) > 0",
    ),
    (
        "what is not sent has none",
        "select from avouch.outbox where state in ('ready', 'prepared', 'cancelled') and num_nonnulls(stream, stream_seq, sent_at) > 0",
    ),
    (
        "places are in the order of messages",
        "select from (select seq, stream_seq, lag(stream_seq) over (order by seq) as before from avouch.outbox where sent_at is not null) x where stream_seq <= before",
    ),
    (
        "what is consumed is awaited by nobody",
        "select from avouch.outbox where state = 'consumed' and awaiting is not null",
    ),
    (
        "whoever is awaited is known",
        "select from avouch.outbox o, unnest(o.awaiting) a (id) where not exists (select from avouch.consumer c where c.id = a.id)",
    ),
    (
        "what is dead has a reason and is dead for somebody",
        "select from avouch.outbox o where state = 'dead' and (reason is null or not exists (select from avouch.recovery r where r.message_id = o.id and r.state = 'dead'))",
    ),
    (
        "what is recovered is there",
        "select from avouch.recovery r where not exists (select from avouch.outbox o where o.id = r.message_id and o.state in ('dead', 'sent'))",
    ),
    (
        "what is held back is held by a transaction",
        "select from avouch.outbox o where state = 'prepared' and not exists (select from avouch.tx t where t.id = o.tx_id and t.state in ('prepared', 'in_doubt'))",
    ),
    (
        "decided transactions hold nothing",
        "select from avouch.tx t where state in ('committed', 'rolled_back') and exists (select from avouch.outbox o where o.tx_id = t.id and o.state = 'prepared')",
    ),
    (
        "dedup keys are reserved",
        "select from avouch.outbox o where dedup_key is not null and not exists (select from avouch.dedup d where d.message_id = o.id)",
    ),
    (
        "who has received a message is not awaited any more",
        "select from avouch.outbox where awaiting && received_by or cardinality(received_by) <> cardinality(received_at)",
    ),
    (
        "what is consumed was received by all who must have it, after it was sent",
        "select from avouch.outbox where state = 'consumed' and not (received_by @> '{1,2}' and received_at[1] > sent_at and received_at[1] < received_at[2])",
    ),
    (
        "each answer of a checker is told with its version",
        "select from avouch.tx t where t.checks <> (select count(*) from avouch.event e where e.subject = t.id and e.what = 'asked') or t.checks > 0 and t.checked_by is null",
    ),
    (
        "what is dead has its event",
        "select from avouch.outbox o where state = 'dead' and not exists (select from avouch.event e where e.subject = o.id and e.what = 'dead')",
    ),
    (
        "what happened is of something that is there",
        "select from avouch.event e where not exists (select from avouch.outbox o where o.id = e.subject) and not exists (select from avouch.tx t where t.id = e.subject)",
    ),
    ("nothing is of the future", "select from avouch.outbox where greatest(created_at, sent_at, released_at) > now()"),
];

async fn count(client: &Client, sql: &str) -> i64 {
    client
        .query_one(&format!("select count(*) from ({sql}) x"), &[])
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e:?}"))
        .get(0)
}

/// With so many rows as `AVOUCH_TEST_ROWS` says; prints how long it took.
#[tokio::test]
async fn populated_database_is_one_that_avouch_could_have_made() {
    let (database, began) = (Database::create().await, Instant::now());
    let states = populate(&database, rows()).await;
    let client = database.client().await;
    let size = "select pg_size_pretty(pg_database_size(current_database()))";
    let size: String = client.query_one(size, &[]).await.expect("the server runs").get(0);
    println!("{} rows, {size}, in {:.1?}: {states:?}", rows(), began.elapsed());
    assert_eq!(states.values().sum::<i64>(), rows());
    let all = ["cancelled", "consumed", "dead", "discarded", "prepared", "ready", "sent"];
    assert_eq!(states.keys().collect::<Vec<_>>(), all);
    assert!(states["consumed"] > rows() / 2, "most is done");
    for (why, sql) in NEVER {
        assert_eq!(count(&client, sql).await, 0, "{why}");
    }
    for state in ["sent", "pending", "dead"] {
        assert!(count(&client, &format!("select from avouch.recovery where state = '{state}'")).await > 0, "{state}");
    }
    for sql in [
        "select from avouch.tx where state = 'in_doubt'",
        "select from avouch.tx where state = 'prepared'",
        "select from avouch.outbox where state = 'ready' and not_before > now()",
        "select from avouch.outbox where state = 'dead' and sent_at is null",
        "select from avouch.outbox where key is null",
        "select from avouch.outbox where payload_bytes is not null",
        "select from avouch.hold where kind = 'key'",
        "select from avouch.inbox where state = 'parked'",
        "select from avouch.event where what = 'sent_again'",
        "select from avouch.event where actor is not null and detail ? 'why'",
        "select from avouch.plugin_log",
        "select from avouch.sample",
    ] {
        assert!(count(&client, sql).await > 0, "there is none: {sql}");
    }
    let next = "insert into avouch.outbox (topic, payload) values ('orders.created', 'x') returning seq";
    let next: i64 = client.query_one(next, &[]).await.expect("producers go on").get(0);
    assert!(next > rows(), "and their messages come after all others: {next}");
}
