//! Leases and shards: who owns what, and among how many.

use std::time::Duration;

use uuid::Uuid;

use super::rows::u16_of;
use super::{Error, Store};

/// A shard with the epoch under which it is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The shard.
    pub shard: u16,
    /// Raised by each change of owner.
    pub epoch: i64,
}

/// What an instance says of itself with each heartbeat.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Messages sent since it started.
    pub sent_total: i64,
    /// Messages sent a second, lately.
    pub sent_per_s: f64,
    /// Rows inserted a second into this database, lately.
    pub inserted_per_s: f64,
    /// Receipts taken since it started.
    pub received_total: i64,
    /// Receipts taken a second, lately.
    pub received_per_s: f64,
    /// What keeps it from sending.
    pub trouble: Option<String>,
}

/// The cluster as one instance sees it.
#[derive(Clone, Debug)]
pub struct Share {
    /// All shards.
    pub shards: usize,
    /// Instances with a lease.
    pub alive: usize,
    /// Those of them that are older than this one.
    pub older: usize,
    /// Until the first lease of another owner ends.
    pub next_end: Option<Duration>,
    /// The last seq that was handed out.
    pub last_seq: i64,
    /// This instance's shards.
    pub owned: Vec<Owned>,
}

impl Store {
    /// Renews the lease.
    pub async fn heartbeat(&self, id: Uuid, name: &str, lease: Duration, report: &Report) -> Result<(), Error> {
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let version = env!("CARGO_PKG_VERSION");
        self.control
            .execute(
                include_str!("heartbeat.sql"),
                &[
                    &id,
                    &name,
                    &version,
                    &lease_ms,
                    &report.sent_total,
                    &report.sent_per_s,
                    &report.inserted_per_s,
                    &report.trouble,
                    &report.received_total,
                    &report.received_per_s,
                ],
            )
            .await?;
        Ok(())
    }

    /// What this instance owns, and among how many.
    pub async fn share(&self, id: Uuid) -> Result<Share, Error> {
        let rows = self.control.query(include_str!("share.sql"), &[&id]).await?;
        let row = rows.first().ok_or_else(|| Error::Fatal("avouch.shard cannot be read".into()))?;
        let (shards, epochs): (Vec<i32>, Vec<i64>) = (row.get(3), row.get(4));
        let owned = shards.iter().zip(epochs).map(|(s, epoch)| Ok(Owned { shard: u16_of(*s)?, epoch }));
        Ok(Share {
            shards: usize::try_from(row.get::<_, i64>(0)).unwrap_or(0),
            alive: usize::try_from(row.get::<_, i64>(1)).unwrap_or(0),
            next_end: row.get::<_, Option<i64>>(6).map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
            older: usize::try_from(row.get::<_, i64>(5)).unwrap_or(0),
            last_seq: row.get(2),
            owned: owned.collect::<Result<_, Error>>()?,
        })
    }

    /// Takes up to `max` shards whose owner is gone.
    pub async fn acquire(&self, id: Uuid, max: usize) -> Result<u64, Error> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.control.execute(include_str!("acquire.sql"), &[&id, &max]).await
    }

    /// Gives shards back.
    pub async fn give_up(&self, id: Uuid, shards: &[u16]) -> Result<u64, Error> {
        let shards: Vec<i32> = shards.iter().map(|s| i32::from(*s)).collect();
        self.control.execute(include_str!("give_up.sql"), &[&id, &shards]).await
    }

    /// Gives everything back and signs off.
    pub async fn leave(&self, id: Uuid) -> Result<(), Error> {
        self.control.execute(include_str!("leave.sql"), &[&id]).await?;
        Ok(())
    }
}
