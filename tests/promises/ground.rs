//! What most promises stand on: a database, a stream and a runtime of the test's own, and books that must balance.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use async_nats::jetstream::Context;
use avouch_tests::database::Database;
use avouch_tests::process::Avouch;
use avouch_tests::servers::shared;
use avouch_tests::stream::{Names, Stored, jetstream, read_all};
use avouch_tests::wait::{secs, until};
use tokio_postgres::Client;

/// A database and a stream on the servers that all tests share, or on others.
pub struct Ground {
    pub database: Database,
    pub names: Names,
    pub client: Client,
    pub nats_url: String,
    pub jetstream: Context,
}

impl Ground {
    /// On the shared servers.
    pub async fn new() -> Self {
        Self::with(Database::create().await, shared().nats.url(), jetstream().await).await
    }

    /// On these.
    pub async fn with(database: Database, nats_url: String, jetstream: Context) -> Self {
        let client = database.client().await;
        Self { database, names: Names::unique(), client, nats_url, jetstream }
    }

    /// A configuration for this ground; `more` follows `[stream.…]`, and may open further tables.
    pub fn config(&self, more: &str) -> String {
        format!(
            "[source.main]\nurl = \"{}\"\n[nats]\nurl = \"{}\"\n[stream.{}]\nsubject_prefix = \"{}\"\n{more}\n",
            self.database.url(),
            self.nats_url,
            self.names.stream,
            self.names.prefix
        )
    }

    /// A runtime that is ready to relay.
    pub async fn runtime(&self, more: &str) -> Avouch {
        let avouch = Avouch::run(&self.config(more)).await;
        avouch.wait_for_log("avouch runs", secs(30)).await;
        avouch
    }

    /// Inserts rows `from..to` for these keys in turn; the payload is `key:step`.
    pub async fn insert(&self, topic: &str, keys: i32, from: i32, to: i32) {
        self.client
            .execute(
                "insert into avouch.outbox (topic, key, payload) \
                 select $1, (n % $2)::text, (n % $2) || ':' || n from generate_series($3::int, $4::int - 1) n order by n",
                &[&topic, &keys, &from, &to],
            )
            .await
            .expect("rows are valid");
    }

    /// How many rows are in this state.
    pub async fn count(&self, state: &str) -> i64 {
        let sql = "select count(*) from avouch.outbox where state = $1";
        self.client.query_one(sql, &[&state]).await.expect("the server runs").get(0)
    }

    /// Waits until no row is ready.
    pub async fn drained(&self) {
        drained(&self.client, secs(60)).await;
    }

    /// The stream, whole.
    pub async fn stream(&self) -> Vec<Stored> {
        read_all(&self.jetstream, &self.names.stream).await
    }

    /// Every committed row is in the stream, none invented, first occurrences in the order of each key, and what is there
    /// twice has the same `Nats-Msg-Id`. Returns how many messages the stream holds.
    pub async fn balance(&self) -> usize {
        let stream = self.stream().await;
        balance(&self.client, &stream).await;
        stream.len()
    }
}

/// Waits until no row is ready.
pub async fn drained(client: &Client, limit: Duration) {
    until("the outbox to be drained", limit, async || {
        let sql = "select not exists (select from avouch.outbox where state = 'ready')";
        client.query_one(sql, &[]).await.ok().filter(|row| row.get(0))
    })
    .await;
}

/// See [`Ground::balance`].
pub async fn balance(client: &Client, stream: &[Stored]) {
    balance_of(client, stream, "true").await;
}

/// The same of the rows for which `rows` holds, in SQL.
pub async fn balance_of(client: &Client, stream: &[Stored], rows: &str) {
    // What is dead for a consumer was sent before.
    let sql = format!(
        "select id::text, coalesce(key, ''), payload from avouch.outbox where ({rows}) \
         and (state in ('ready', 'sent', 'consumed') or state = 'dead' and sent_at is not null) order by seq"
    );
    let rows = client.query(&sql, &[]).await.expect("the server runs");
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        wanted.entry(row.get(1)).or_default().push(row.get(0));
    }
    let committed: HashSet<String> = rows.iter().map(|r| r.get(0)).collect();
    let (mut firsts, mut seen) = (HashMap::<String, Vec<String>>::new(), HashSet::new());
    let mut payloads: HashMap<String, &[u8]> = HashMap::new();
    for message in stream {
        let id = message.header("Avouch-Id").expect("every message of ours has it").to_owned();
        assert_eq!(message.header("Nats-Msg-Id"), Some(id.as_str()), "the first generation");
        assert!(committed.contains(&id), "invented: {id} is in the stream and not in the outbox");
        if seen.insert(id.clone()) {
            let key = message.header("Avouch-Key").unwrap_or_default().to_owned();
            firsts.entry(key).or_default().push(id.clone());
        }
        let payload = payloads.entry(id).or_insert(&message.payload);
        assert_eq!(*payload, &message.payload[..], "two messages of one id differ");
    }
    for row in &rows {
        let id: String = row.get(0);
        assert!(seen.contains(&id), "lost: {id} is committed and not in the stream");
        assert_eq!(payloads[&id], row.get::<_, &str>(2).as_bytes(), "the payload of {id} was changed");
    }
    for (key, ids) in wanted.iter().filter(|(key, _)| !key.is_empty()) {
        let got = firsts.get(key).expect("none is lost");
        let at = got.iter().zip(ids).position(|(a, b)| a != b);
        if let Some(at) = at {
            for id in ids.iter().skip(at.saturating_sub(2)).take(8) {
                let sql = "select row(xact, seq, stream_seq, generation, created_at, sent_at, payload)::text from avouch.outbox where id = $1::text::uuid";
                let row = client.query_one(sql, &[id]).await.expect("it is there");
                eprintln!("{id} {}", row.get::<_, String>(0));
            }
        }
        assert!(at.is_none(), "key {key} is out of order from its message {at:?} of {} on", ids.len());
    }
}

/// A number from the environment, for the long runs.
pub fn rounds(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Small numbers that differ from run to run; printed seeds would not replay a race anyway.
pub fn random(below: u64) -> u64 {
    RandomState::new().hash_one(below) % below.max(1)
}
