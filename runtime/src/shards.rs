//! Which shards this instance owns: a lease renewed by heartbeats, a fair share, take-over of the dead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::killpoint::{self, Point};
use crate::meters::Scope;
use crate::store::{Error, Owned, Report, Share, Store};

/// `[shards]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a silent instance keeps its shards. Renewed three times in this time.
    pub lease_ms: u64,
}

/// Longer than a pause of the machine, shorter than anybody's patience.
impl Default for Config {
    fn default() -> Self {
        Self { lease_ms: 6_000 }
    }
}

/// The database's clock tells milliseconds, rounded up.
const JUST_AFTER: Duration = Duration::from_millis(2);

/// What the relay may work on.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// Shards to read, send and mark, with their epochs.
    pub owned: Vec<Owned>,
    /// Shards about to be given up: only what flies is still marked.
    pub leaving: Vec<Owned>,
    /// Nothing may be sent after this.
    pub valid_until: Instant,
}

impl Ownership {
    /// True if this is the instance that does what one of them does at a time: the owner of the first shard. Two may believe it for a
    /// moment.
    pub fn leads(&self) -> bool {
        self.valid_until > Instant::now() && self.owned.iter().any(|o| o.shard == 0)
    }
}

/// What the relay says of its work.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Messages marked sent since the start.
    pub sent_total: u64,
    /// What keeps it from sending.
    pub trouble: Option<String>,
    /// Leaving shards of which nothing is under way any more.
    pub left: BTreeSet<u16>,
}

/// The loop that keeps this instance's shards.
pub struct Shards {
    id: Uuid,
    name: String,
    lease: Duration,
    store: Arc<Store>,
    progress: watch::Receiver<Progress>,
    /// Changes whenever somebody gives shards back.
    freed: watch::Receiver<u64>,
    ownership: watch::Sender<Ownership>,
    leaving: BTreeSet<u16>,
    last: Option<Sample>,
    silent: bool,
    has_lost_its_lease: bool,
    meters: Meters,
}

/// What is counted of shards and leases.
struct Meters {
    all: Gauge,
    owned: Gauge,
    instances: Gauge,
    taken: Counter,
    given: Counter,
    lost: Counter,
    leases_lost: Counter,
}

impl Meters {
    fn of(scope: &Scope) -> Self {
        let change = |change: &str| scope.counter("avouch_shard_changes_total", &[("change", change)]);
        Self {
            all: scope.gauge("avouch_shards", &[]),
            owned: scope.gauge("avouch_shards_owned", &[]),
            instances: scope.gauge("avouch_instances", &[]),
            taken: change("taken"),
            given: change("given"),
            lost: change("lost"),
            leases_lost: scope.counter("avouch_leases_lost_total", &[]),
        }
    }
}

struct Sample {
    at: Instant,
    sent_total: u64,
    received_total: i64,
    last_seq: i64,
}

impl Shards {
    /// A loop for a fresh instance, and where it tells what is owned.
    pub fn new(
        config: &Config,
        name: &str,
        store: Arc<Store>,
        progress: watch::Receiver<Progress>,
        freed: watch::Receiver<u64>,
    ) -> (Self, watch::Receiver<Ownership>) {
        let nothing = Ownership { owned: Vec::new(), leaving: Vec::new(), valid_until: Instant::now() };
        let (ownership, receiver) = watch::channel(nothing);
        let shards = Self {
            id: Uuid::now_v7(),
            name: name.to_owned(),
            meters: Meters::of(store.scope()),
            lease: Duration::from_millis(config.lease_ms),
            store,
            progress,
            freed,
            ownership,
            leaving: BTreeSet::new(),
            last: None,
            silent: false,
            has_lost_its_lease: false,
        };
        (shards, receiver)
    }

    /// Beats until `stop`, then signs off: the shards are free at once.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let next = match self.pass().await {
                Ok(next_end) => {
                    if std::mem::take(&mut self.silent) {
                        tracing::info!("the lease is renewed again");
                    }
                    // A lease that ends before the next beat is one that its owner did not renew in time.
                    next_end.map_or(self.lease / 3, |end| (end + JUST_AFTER).min(self.lease / 3))
                }
                Err(e) => {
                    self.look_at_the_lease(Instant::now());
                    if !std::mem::replace(&mut self.silent, true) {
                        tracing::warn!(error = %e, "the lease cannot be renewed: nothing is sent once it has run out");
                    }
                    self.lease / 12
                }
            };
            let busy_again = async {
                // Giving up a shard waits for its last mark, not for the next beat.
                if self.leaving.is_empty() {
                    std::future::pending::<()>().await;
                }
                while self.progress.changed().await.is_ok() {
                    if !self.leaving.is_disjoint(&self.progress.borrow().left) {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(next) => {}
                () = busy_again => {}
                Ok(()) = self.freed.changed() => {}
            }
        }
        if let Err(e) = self.store.leave(self.id).await {
            tracing::info!(error = %e, "could not sign off: the shards are free when the lease has run out");
        }
    }

    /// One beat: renew, look, take or give. Returns in what time the first lease of another owner ends.
    pub async fn pass(&mut self) -> Result<Option<Duration>, Error> {
        let beat_at = Instant::now();
        self.look_at_the_lease(beat_at);
        let share = self.store.share(self.id).await?;
        let report = self.report(beat_at, share.last_seq);
        self.store.heartbeat(self.id, &self.name, self.lease, &report).await?;
        // A lease that had run out may have cost shards before it was renewed: what counts is owned under the new one.
        let share = self.store.share(self.id).await?;
        let alive = share.alive.max(1);
        self.count_lost(&share.owned);
        self.meters.all.set(as_f64(share.shards));
        self.meters.instances.set(as_f64(alive));
        // What is left over goes to the oldest, so that all agree on who has one more.
        let fair = share.shards / alive + usize::from(share.older < share.shards % alive);
        let mut owned = share.owned.clone();
        if owned.len() < fair && self.store.acquire(self.id, fair - owned.len()).await? > 0 {
            killpoint::reached(Point::Acquired);
            let before = owned.len();
            Share { owned, .. } = self.store.share(self.id).await?;
            self.meters.taken.increment(as_u64(owned.len().saturating_sub(before)));
            tracing::info!(shards = owned.len(), of = share.shards, instances = alive, "took shards");
        }
        let surplus = owned.len().saturating_sub(fair);
        self.leaving = owned.iter().rev().take(surplus).map(|o| o.shard).collect();
        self.tell(owned.clone(), beat_at);
        self.give_up(owned, beat_at).await?;
        Ok(share.next_end)
    }

    /// Gives up the leaving shards of which the relay has said that they are at rest.
    async fn give_up(&mut self, mut owned: Vec<Owned>, beat_at: Instant) -> Result<(), Error> {
        let left = self.progress.borrow_and_update().left.clone();
        let at_rest: Vec<u16> = self.leaving.intersection(&left).copied().collect();
        if at_rest.is_empty() {
            return Ok(());
        }
        self.store.give_up(self.id, &at_rest).await?;
        self.meters.given.increment(as_u64(at_rest.len()));
        tracing::info!(shards = at_rest.len(), "gave shards to another instance");
        owned.retain(|o| !at_rest.contains(&o.shard));
        self.leaving.retain(|s| !at_rest.contains(s));
        self.tell(owned, beat_at);
        Ok(())
    }

    /// The lease counts from before the heartbeat was sent, by this machine's monotonic clock.
    fn tell(&mut self, owned: Vec<Owned>, beat_at: Instant) {
        self.has_lost_its_lease = false;
        self.meters.owned.set(as_f64(owned.len()));
        let (leaving, owned) = owned.into_iter().partition(|o| self.leaving.contains(&o.shard));
        self.ownership.send_replace(Ownership { owned, leaving, valid_until: beat_at + self.lease });
    }

    /// What was owned at the last beat and is not any more was taken by others: its lease had run out.
    fn count_lost(&self, owned: &[Owned]) {
        let before = self.ownership.borrow();
        let had = before.owned.iter().chain(&before.leaving);
        self.meters.lost.increment(as_u64(had.filter(|o| !owned.contains(o)).count()));
    }

    /// A lease that has run out is lost, whoever takes its shards.
    fn look_at_the_lease(&mut self, now: Instant) {
        let told = self.ownership.borrow().clone();
        let has_run_out = !told.owned.is_empty() && told.valid_until < now;
        if has_run_out && !std::mem::replace(&mut self.has_lost_its_lease, true) {
            self.meters.leases_lost.increment(1);
            self.meters.owned.set(0.0);
        }
    }

    fn report(&mut self, now: Instant, last_seq: i64) -> Report {
        let progress = self.progress.borrow().clone();
        let received_total = self.store.received_total();
        let sample = Sample { at: now, sent_total: progress.sent_total, received_total, last_seq };
        let mut report = Report {
            sent_total: i64::try_from(progress.sent_total).unwrap_or(i64::MAX),
            received_total,
            trouble: progress.trouble,
            ..Report::default()
        };
        if let Some(last) = &self.last {
            let seconds = now.duration_since(last.at).as_secs_f64().max(0.001);
            report.sent_per_s = (progress.sent_total.saturating_sub(last.sent_total)) as f64 / seconds;
            report.received_per_s = (received_total - last.received_total) as f64 / seconds;
            report.inserted_per_s = (last_seq - last.last_seq).max(0) as f64 / seconds;
        }
        // A beat that follows at once would make a rate of nothing.
        if self.last.as_ref().is_none_or(|l| now.duration_since(l.at) >= self.lease / 6) {
            self.last = Some(sample);
        }
        report
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn as_f64(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
