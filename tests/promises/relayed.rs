//! A database with a relay at work: what most promises are tried on.

use std::time::Duration;

use async_nats::jetstream::Context;
use avouch_tests::database::{Database, SHARDS};
use avouch_tests::process::Avouch;
use avouch_tests::servers::shared;
use avouch_tests::stream::{Names, Stored, jetstream_at, read_all};
use avouch_tests::wait::{secs, until};
use tokio_postgres::Client;
use uuid::Uuid;

/// Longer than anything takes on a busy machine.
pub const LIMIT: Duration = secs(30);

/// A database, and a relay from it to a stream of its own.
pub struct Relayed {
    pub database: Database,
    pub names: Names,
    pub client: Client,
    pub jetstream: Context,
    pub avouch: Avouch,
}

impl Relayed {
    /// On the shared servers. `settings` stand before the rest of the configuration.
    pub async fn start(settings: &str) -> Relayed {
        Relayed::start_on(Database::create().await, &shared().nats.url(), settings).await
    }

    /// From this database to the stream `names` of that server.
    pub async fn start_on(database: Database, nats: &str, settings: &str) -> Relayed {
        let names = Names::unique();
        let avouch = Avouch::run(&config(&database, nats, &names, settings)).await;
        let (client, jetstream) = (database.client().await, jetstream_at(nats).await);
        Relayed { database, names, client, jetstream, avouch }
    }

    /// Inserts one text message and returns its id.
    pub async fn insert(&self, topic: &str, key: &str, payload: &str) -> Uuid {
        let sql = "insert into avouch.outbox (topic, key, payload) values ($1, $2, $3) returning id";
        self.client.query_one(sql, &[&topic, &key, &payload]).await.expect("a good message is accepted").get(0)
    }

    /// Waits until the stream holds so many messages, and returns them all.
    pub async fn arrived(&self, count: u64) -> Vec<Stored> {
        until(&format!("{count} messages arrive"), LIMIT, async || {
            let mut stream = self.jetstream.get_stream(&self.names.stream).await.ok()?;
            (stream.info().await.ok()?.state.messages >= count).then_some(())
        })
        .await;
        read_all(&self.jetstream, &self.names.stream).await
    }

    /// Waits until the message is in this state, and returns its reason.
    pub async fn in_state(&self, id: Uuid, state: &str) -> Option<String> {
        until(&format!("message {id} is {state}"), LIMIT, async || {
            let sql = "select reason from avouch.outbox where id = $1 and state = $2";
            self.client.query_opt(sql, &[&id, &state]).await.expect("the outbox can be read").map(|row| row.get(0))
        })
        .await
    }

    /// Returns once the relay has sent a message of every shard that was inserted after everything before.
    pub async fn everything_else_went(&self) {
        let sql = "insert into avouch.outbox (topic, key, payload) select 'fence', min(n::text), '' \
                   from generate_series(1, 1000) n group by avouch.shard_of(n::text, null)";
        assert_eq!(self.client.execute(sql, &[]).await.expect("fences are accepted"), u64::from(SHARDS));
        until("the relay has passed every shard's fence", LIMIT, async || {
            let sql = "select from avouch.outbox where topic = 'fence' and state <> 'sent' limit 1";
            self.client.query_opt(sql, &[]).await.expect("the outbox can be read").is_none().then_some(())
        })
        .await;
    }
}

/// A configuration for this database and this stream, with `settings` before it.
pub fn config(database: &Database, nats: &str, names: &Names, settings: &str) -> String {
    format!(
        "{settings}\n[source.main]\nurl = {:?}\n[nats]\nurl = {nats:?}\n[stream.{}]\nsubject_prefix = {:?}\n",
        database.url(),
        names.stream,
        names.prefix
    )
}
