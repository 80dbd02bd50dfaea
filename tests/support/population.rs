//! A database after a month of work: millions of messages in all states, with what stands beside them. Made in minutes by statements
//! that no producer could send: they write the columns that the runtime writes.
//!
//! It is made for what reads: screens, lists, searches, retiring. The stream that its rows name is at no broker, so a relay that is
//! started on it takes everything for lost and sends it again.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::future::try_join_all;
use tokio_postgres::{Client, Error};

use crate::database::Database;

/// Rows in the suite; `AVOUCH_TEST_ROWS` asks for more.
const ROWS: i64 = 200_000;
/// A statement each: few enough that its transaction is short, so many that there are few statements.
const CHUNK_ROWS: i64 = 50_000;
/// More would wait for each other's pages.
const CONNECTIONS: i64 = 2;

/// Triggers that are not marked `always` do not fire, nobody is woken, and a crash may forget what was just made.
const SESSION: &str =
    "set session_replication_role = replica; set avouch.doorbell = off; set synchronous_commit = off; set jit = off";
const OUTBOX: &str = include_str!("population/outbox.sql");
const BESIDE: &str = include_str!("population/beside.sql");
/// What autovacuum would have done in a month.
const AFTER: [&str; 2] = ["vacuum (analyze) avouch.outbox", "analyze"];

/// How many rows there are to be: `AVOUCH_TEST_ROWS`, or what the suite has time for.
pub fn rows() -> i64 {
    let Ok(text) = std::env::var("AVOUCH_TEST_ROWS") else { return ROWS };
    text.parse().unwrap_or_else(|_| panic!("AVOUCH_TEST_ROWS is {text:?}: write a number of rows"))
}

/// Fills an empty database of the current schema with so many messages, and returns how many are in which state.
pub async fn populate(database: &Database, rows: i64) -> BTreeMap<String, i64> {
    assert!(rows >= 10_000, "{rows} rows do not hold every state");
    let client = database.client().await;
    let found = client.query_one("select exists (select from avouch.outbox)", &[]).await.expect("there is an outbox");
    assert!(!found.get::<_, bool>(0), "the outbox has rows already");
    make(database, &client, rows).await.unwrap_or_else(|error| panic!("cannot populate: {error:?}"));
    let states = "select state, count(*) from avouch.outbox group by state";
    let states = client.query(states, &[]).await.expect("it can be counted");
    states.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn make(database: &Database, client: &Client, rows: i64) -> Result<(), Error> {
    let now = SystemTime::now();
    let each = (0..CONNECTIONS).map(|first| async move {
        let client = database.client().await;
        client.batch_execute(SESSION).await?;
        let insert = client.prepare(OUTBOX).await?;
        let chunks = (0..rows).step_by(usize::try_from(CHUNK_ROWS).expect("it is small")).enumerate();
        for (at, from) in chunks {
            if i64::try_from(at).expect("there are few") % CONNECTIONS == first {
                // The first message is number 1.
                let to = rows.min(from + CHUNK_ROWS);
                client.execute(&insert, &[&(from + 1), &(to + 1), &rows, &now]).await?;
            }
        }
        Ok::<_, Error>(())
    });
    try_join_all(each).await?;
    client.batch_execute(SESSION).await?;
    client.batch_execute(BESIDE).await?;
    client.batch_execute("reset all").await?;
    for statement in AFTER {
        client.batch_execute(statement).await?;
    }
    Ok(())
}
