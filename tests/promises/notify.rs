//! Outside parties are told by HTTP until they answer: signed, on a schedule, once in the books however often the runtime dies.

pub mod asked;
mod behaved;
mod crowd;
mod killed;
mod operated;
mod ordered;
mod removed;
mod scheduled;
mod shaped;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use avouch_tests::process::Avouch;
use avouch_tests::wait::{secs, until};
use avouch_tests::web::{Asked, Web, reply};
use uuid::Uuid;

use crate::ground::Ground;

/// Longer than anything takes on a busy machine.
const LIMIT: Duration = secs(30);
/// What signs in these tests.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Quick enough for a test; its receivers are on loopback.
const NOTIFY: &str = "[notify]\ntopics = [\"payments.>\"]\nallow = [\"127.0.0.0/8\"]\nallow_http = true\nevery_ms = 20\n\
                      [receipts]\nevery_ms = 100\n[recovery]\nevery_ms = 100\n[shards]\nlease_ms = 1500\n";

/// A receiver that answers as it is told.
pub struct Receiver {
    pub web: Web,
    status: Arc<AtomicU16>,
}

impl Receiver {
    pub async fn new(status: u16) -> Receiver {
        Receiver::with_headers(status, "").await
    }

    pub async fn with_headers(status: u16, headers: &'static str) -> Receiver {
        let status = Arc::new(AtomicU16::new(status));
        let now = Arc::clone(&status);
        let web = Web::start(move |_, socket| {
            reply(socket, now.load(Ordering::SeqCst), headers.to_owned(), b"said <b>so</b>".to_vec())
        })
        .await;
        Receiver { web, status }
    }

    pub fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Its section of the configuration.
    pub fn section(&self, name: &str, more: &str) -> String {
        format!(
            "[endpoint.{name}]\nurl = \"{}/hook\"\ntopics = [\"payments.>\"]\nsecrets = [\"{SECRET}\"]\njitter_percent = 0\n{more}",
            self.web.origin()
        )
    }

    /// The ids of what it was told, each as often as it was.
    pub fn ids(&self) -> Vec<Uuid> {
        self.web.asked().iter().map(id).collect()
    }
}

pub fn id(asked: &Asked) -> Uuid {
    asked.header("webhook-id").and_then(|id| id.parse().ok()).expect("each request has one")
}

/// A database, a broker and a runtime that tells these endpoints.
pub struct Notified {
    pub ground: Ground,
    pub settings: String,
    pub avouch: Avouch,
}

impl Notified {
    pub async fn new(endpoints: &str) -> Notified {
        let ground = Ground::new().await;
        let settings = settings(endpoints);
        let avouch = ground.runtime(&settings).await;
        Notified { ground, settings, avouch }
    }

    pub async fn insert(&self, key: &str, payload: &str) -> Uuid {
        let sql = "insert into avouch.outbox (topic, key, payload, headers) \
                   values ('payments.settled', $1, $2, '{\"merchant\": \"m17\"}') returning id";
        self.ground.client.query_one(sql, &[&key, &payload]).await.expect("it is taken").get(0)
    }

    /// So many messages, with keys in turn.
    pub async fn insert_many(&self, count: i32, keys: i32) -> BTreeSet<Uuid> {
        let sql = "insert into avouch.outbox (topic, key, payload) \
                   select 'payments.settled', (g.n % $2)::text, g.n::text from generate_series(0, $1 - 1) g (n) order by g.n returning id";
        let rows = self.ground.client.query(sql, &[&count, &keys]).await.expect("they are taken");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// How many deliveries to this endpoint are in this state.
    pub async fn count(&self, endpoint: &str, state: &str) -> i64 {
        let sql = "select count(*) from avouch.delivery d join avouch.endpoint e on e.id = d.endpoint \
                   where e.name = $1 and d.state = $2";
        self.ground.client.query_one(sql, &[&endpoint, &state]).await.expect("it can be read").get(0)
    }

    pub async fn until_count(&self, endpoint: &str, state: &str, count: i64) {
        until(&format!("{count} deliveries to {endpoint} are {state}"), LIMIT, async || {
            (self.count(endpoint, state).await == count).then_some(())
        })
        .await;
    }

    /// Waits until so many tries of this message to this endpoint are in the books, and tells how long after the last one the next is
    /// scheduled.
    pub async fn tried(&self, endpoint: &str, message: Uuid, times: i32) -> Duration {
        let sql = "select extract(epoch from d.next_at - (select max(a.at) from avouch.attempt a where a.message_id = d.message_id))::float8 \
                   from avouch.delivery d join avouch.endpoint e on e.id = d.endpoint \
                   where e.name = $1 and d.message_id = $2 and d.attempts = $3";
        let pause = until(&format!("try {times} of {message}"), LIMIT, async || {
            let row = self.ground.client.query_opt(sql, &[&endpoint, &message, &times]).await.expect("is valid")?;
            row.get::<_, Option<f64>>(0)
        })
        .await;
        Duration::from_secs_f64(pause.max(0.0))
    }

    /// Time passes: what was scheduled is due.
    pub async fn pass_time(&self) {
        let sql = "update avouch.delivery set next_at = clock_timestamp() where state = 'waiting'";
        self.ground.client.execute(sql, &[]).await.expect("is valid");
    }

    pub async fn sql(&self, sql: &str) {
        self.ground.client.batch_execute(sql).await.expect("is valid");
    }
}

/// The tests' settings and these endpoints.
pub fn settings(endpoints: &str) -> String {
    let events = Uuid::now_v7().simple();
    let own = format!("[receipts]\nevents_stream = \"EVENTS_{events}\"\nevents_bytes_max = 16_000_000\n");
    format!("{}{endpoints}", NOTIFY.replace("[receipts]\n", &own))
}
