//! Time that passes when the story says so. The schedule is the real one; its pauses are not waited for.

use std::time::Duration;

use anyhow::bail;
use avouch_example_stage::connect;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use uuid::Uuid;

/// What became of one message for the merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// waiting, delivered or given_up.
    pub state: String,
    /// Tries of this round.
    pub attempts: i32,
    /// Until the next one, in seconds, rounded.
    pub pause_s: i64,
    /// What was wrong with the last one.
    pub reason: String,
}

/// The hands of the clock, and a look at the books: a superuser's, as a test has it. No service does this.
pub struct Clock {
    client: Client,
}

/// How long one try may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

impl Clock {
    /// Connects as whoever owns the database.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        Ok(Self { client: connect(url).await? })
    }

    /// It is the time of the next tries.
    pub async fn pass(&self) -> anyhow::Result<()> {
        let sql = "update avouch.delivery set next_at = clock_timestamp() where state = 'waiting'";
        self.client.execute(sql, &[]).await?;
        Ok(())
    }

    /// Waits until so many tries of this message were made, or it has ended.
    pub async fn tried(&self, message: Uuid, attempts: i32) -> anyhow::Result<Told> {
        let sql = "select d.state, d.attempts, \
                          coalesce(extract(epoch from d.next_at - (select max(a.at) from avouch.attempt a where a.message_id = d.message_id)), 0)::bigint, \
                          coalesce(d.reason, '') \
                   from avouch.delivery d where d.message_id = $1";
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(row) = self.client.query_opt(sql, &[&message]).await? {
                let told = Told { state: row.get(0), attempts: row.get(1), pause_s: row.get(2), reason: row.get(3) };
                if told.attempts >= attempts || told.state != "waiting" {
                    return Ok(told);
                }
            }
            if Instant::now() > end {
                bail!("message {message} was not tried {attempts} times within {} s", LIMIT.as_secs());
            }
            sleep(POLL).await;
        }
    }
}
