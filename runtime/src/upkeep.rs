//! Keeps what has ended from piling up: retires old messages, and purges nearly full streams of what is settled.

mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::waiting::Told;
use crate::alarm::{Alarms, Event, Kind};
use crate::broker::Stream;
use crate::shards::Ownership;
use crate::store::{Error, Store};

/// `[upkeep]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a message is kept after it was inserted, once it has ended (sent without consumers, consumed, cancelled,
    /// discarded), in hours. Its dedup key is kept as long. 0 keeps everything.
    pub keep_hours: u64,
    /// How long it is kept what happened to messages and transactions (`avouch messages show`), in hours. 0 keeps everything.
    pub history_hours: u64,
    /// Lines of plugins' logs that are kept.
    pub plugin_log_lines_max: u64,
    /// How often to look.
    pub every_ms: u64,
    /// What keeps old row versions from being removed for longer than this is told, in seconds. 0 tells nothing.
    pub snapshot_max_s: u64,
}

/// Three days of messages to look things up in; what is exceptional is rare, and asked about later: a month of it. A report may take
/// five minutes.
impl Default for Config {
    fn default() -> Self {
        Self { keep_hours: 72, history_hours: 720, plugin_log_lines_max: 100_000, every_ms: 5_000, snapshot_max_s: 300 }
    }
}

impl Config {
    /// How long a message that has ended is kept; none: for good.
    pub fn keeps(&self) -> Option<Duration> {
        (self.keep_hours > 0).then(|| Duration::from_secs(self.keep_hours * 3600))
    }
}

/// Deleted by one statement: a few milliseconds of work.
const RETIRE_ROWS: i64 = 1000;
/// A look at everything that is old, or at how it goes, is repeated no sooner than so many times as long as it took.
const RESTART_PAUSE_FACTOR: u32 = 20;
/// Statements in one pass; what is left waits for the next.
const RETIRE_BATCHES: usize = 50;

/// Pages of the inbox walked by one statement, 16 MB, and how many statements a pass makes: a table of 1 GB is walked in a
/// minute.
const INBOX_PAGES: i64 = 2048;
const INBOX_PARTS: usize = 6;
/// Lines of plugins' logs deleted in one pass; and events.
const FORGET_ROWS: i64 = 20_000;
/// So many rounds between two walks over all old events: those of what is still there stay, and are walked over again.
const FORGET_ROUNDS: u32 = 12;

/// What the loop is given.
pub struct Parts {
    /// The database.
    pub store: Arc<Store>,
    /// The streams to relieve.
    pub streams: Vec<Stream>,
    /// One of many instances tells what it sees.
    pub ownership: watch::Receiver<Ownership>,
    /// Where to tell it.
    pub alarms: Alarms,
}

/// The loop.
pub struct Upkeep {
    config: Config,
    parts: Parts,
    /// How long the inbox keeps a record; none: for good.
    inbox_keep_hours: Option<i64>,
    /// What waits, as it was told last.
    told: Told,
    /// Where in the inbox to look next.
    inbox_page: i64,
    /// Nothing older is left to delete.
    retired_to: Uuid,
    /// No look from the beginning before this.
    restart_at: Instant,
    /// No look at how it goes before this.
    sample_at: Instant,
    /// The event that was looked at last; 0: none yet.
    event: i64,
    /// No look at old events before this.
    forget_at: Instant,
}

impl Upkeep {
    /// A loop over these. Records of consumers are kept so many hours, or for good if that is 0.
    pub fn new(config: Config, parts: Parts, inbox_keep_hours: u64) -> Self {
        let inbox_keep_hours = i64::try_from(inbox_keep_hours).ok().filter(|hours| *hours > 0);
        Self {
            config,
            parts,
            inbox_keep_hours,
            told: Told::default(),
            inbox_page: 0,
            retired_to: Uuid::nil(),
            restart_at: Instant::now(),
            sample_at: Instant::now(),
            event: 0,
            forget_at: Instant::now(),
        }
    }

    /// Looks from time to time until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let every = Duration::from_millis(self.config.every_ms.max(1));
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let round = self.round().await;
            match &round {
                Ok(()) => {}
                Err(e) if failing => tracing::debug!(error = %e, "upkeep fails again"),
                Err(e) => {
                    tracing::warn!(error = %e, "could not retire old messages or look after a stream; trying again")
                }
            }
            failing = round.is_err();
        }
    }

    /// All of it once; what fails keeps nothing else from being done.
    async fn round(&mut self) -> anyhow::Result<()> {
        let retired = self.pass().await.map(drop).map_err(anyhow::Error::from);
        let walked = self.walk_inbox().await;
        let forgotten = self.parts.store.forget_logs(self.config.plugin_log_lines_max, FORGET_ROWS).await;
        let leads = self.parts.ownership.borrow().leads();
        let gauged = self.told.tell(&self.parts.store, leads).await.map_err(anyhow::Error::from);
        let told = self.tell_pins().await.map_err(anyhow::Error::from);
        let kept = self.keep_history().await.map_err(anyhow::Error::from);
        let mut result = told.and(gauged).and(kept).and(retired);
        result = result.and(forgotten.map(drop).and(walked).map_err(anyhow::Error::from));
        for stream in &self.parts.streams {
            result = result.and(stream.relieve().await.map_err(anyhow::Error::from));
        }
        result
    }

    /// Writes down how it goes, and forgets what happened long ago.
    async fn keep_history(&mut self) -> Result<(), Error> {
        if self.sample_at <= Instant::now() {
            // Behind a held snapshot, counting walks all that came since.
            let began = Instant::now();
            self.parts.store.sample().await?;
            self.sample_at = Instant::now() + began.elapsed() * RESTART_PAUSE_FACTOR;
        }
        let hours = i64::try_from(self.config.history_hours).unwrap_or(0);
        if hours > 0 && self.forget_at <= Instant::now() {
            self.event = self.parts.store.forget_events(hours, FORGET_ROWS, self.event).await?;
            if self.event == 0 {
                self.forget_at = Instant::now() + Duration::from_millis(self.config.every_ms) * FORGET_ROUNDS;
            }
        }
        Ok(())
    }

    /// Tells what keeps old row versions from being removed.
    async fn tell_pins(&self) -> Result<(), Error> {
        let older_than = Duration::from_secs(self.config.snapshot_max_s);
        if older_than.is_zero() || !self.parts.ownership.borrow().leads() {
            return Ok(());
        }
        for (holder, what, seconds) in self.parts.store.pins(older_than).await? {
            let why = format!("{holder} ({what}) holds a snapshot for {seconds} s");
            let (kind, id) = (Kind::SnapshotHeld, String::new());
            self.parts.alarms.raise(&Event { kind, subject: &holder, id, reference: None, trace_id: None, why: &why });
        }
        Ok(())
    }

    /// Deletes old records of what consumers did, from the next part of the table.
    async fn walk_inbox(&mut self) -> Result<(), Error> {
        let Some(hours) = self.inbox_keep_hours else { return Ok(()) };
        for _ in 0..INBOX_PARTS {
            let to = self.inbox_page + INBOX_PAGES;
            let (_, pages) = self.parts.store.retire_inbox(self.inbox_page, to, hours).await?;
            self.inbox_page = to;
            if to >= pages {
                self.inbox_page = 0;
                break;
            }
        }
        Ok(())
    }

    /// Retires one bounded amount. Returns how many messages.
    pub async fn pass(&mut self) -> Result<usize, Error> {
        let Some(kept) = self.config.keeps() else { return Ok(0) };
        let before = first_id_of(SystemTime::now().checked_sub(kept).unwrap_or(SystemTime::UNIX_EPOCH));
        let mut total = 0;
        // Messages end in any order.
        let mut walk = None;
        let mut restarts = self.restart_at <= Instant::now();
        if restarts {
            self.retired_to = Uuid::nil();
        }
        for _ in 0..RETIRE_BATCHES {
            let began = Instant::now();
            let (count, last) = self.parts.store.retire(self.retired_to, before, RETIRE_ROWS).await?;
            let took = began.elapsed();
            total += count;
            if let Some(last) = last {
                self.retired_to = last;
            }
            let is_end = count < usize::try_from(RETIRE_ROWS).unwrap_or(usize::MAX);
            // What waits for a consumer is passed one by one, and so is what a held snapshot keeps: not for most of the time. How long
            // that took is told by the next batch, which deletes as much and passes nothing.
            match walk.take() {
                _ if restarts && is_end => self.pause(took),
                _ if restarts => walk = Some(took),
                Some(first) => self.pause(first.saturating_sub(took)),
                None => {}
            }
            restarts = false;
            if is_end {
                break;
            }
        }
        Ok(total)
    }

    /// No look from the beginning for so many times as long as one takes.
    fn pause(&mut self, walk: Duration) {
        self.restart_at = Instant::now() + walk * RESTART_PAUSE_FACTOR;
    }
}

/// The lowest UUIDv7 of a time: 48 bits of Unix milliseconds, then zeros.
fn first_id_of(at: SystemTime) -> Uuid {
    let ms = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis());
    Uuid::from_u128((ms & 0xffff_ffff_ffff) << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_of_a_time_is_below_every_id_made_then() {
        let before = first_id_of(SystemTime::now());
        let made = Uuid::now_v7();
        let after = first_id_of(SystemTime::now() + Duration::from_millis(2));
        assert!(before < made && made < after);
    }
}
