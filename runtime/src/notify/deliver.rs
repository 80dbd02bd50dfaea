//! The loop that tells what is due, and keeps the books of it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::attempt::{Desk, Job, OUTCOMES, Tried, attempt};
use super::roster::{Party, Roster};
use super::slots::Slots;
use super::waiting::Told;
use super::{Config, EndpointConfig};
use crate::alarm::{Alarms, Event, Kind};
use crate::killpoint::{self, Point};
use crate::shards::Ownership;
use crate::store::Store;
use crate::store::notify::{DueDelivery, Notice};

/// What the loop is given.
pub struct Parts {
    /// The database.
    pub store: Arc<Store>,
    /// What every try needs.
    pub desk: Arc<Desk>,
    /// Whose endpoints are told.
    pub ownership: watch::Receiver<Ownership>,
    /// Rung when something was recorded.
    pub recorded: Arc<Notify>,
    /// Where to say that an endpoint gave up.
    pub alarms: Alarms,
}

/// The loop.
pub struct Deliver {
    config: Arc<Config>,
    configured: BTreeMap<String, EndpointConfig>,
    parts: Parts,
    roster: Roster,
    read_at: Option<Instant>,
    slots: HashMap<i32, Slots>,
    flying: JoinSet<(Arc<Party>, Tried)>,
    /// What is tried, or was and is not written yet: still due by the books.
    in_hand: HashSet<(i32, Uuid)>,
    landed: Vec<(Arc<Party>, Tried)>,
    next_upkeep: Instant,
    waiting: Told,
    failing: bool,
}

/// What tries are counted by.
const TRIES: &str = "avouch_notify_attempts_total";
/// How long who is told may be as it was: a disabled endpoint is told nothing after this.
const ROSTER_AGE_MAX: Duration = Duration::from_secs(1);
/// What ends together is written together.
const GATHER: Duration = Duration::from_millis(5);
/// Of an endpoint that is told in order, so many are looked at: those that stand behind others are put aside.
const BEHIND_ROWS: usize = 256;
/// Payloads in hand at a time.
const BYTES_MAX: usize = 64 << 20;
/// Results that are written by one statement.
const MARK_ROWS_MAX: usize = 512;
/// Between two looks at what nobody will tell any more, and at what is too old to be kept.
const UPKEEP: Duration = Duration::from_secs(10);
/// Rows of one such statement.
const UPKEEP_ROWS: i64 = 5_000;

impl Deliver {
    /// A loop that tells the endpoints whose shards this instance owns.
    pub fn new(config: Arc<Config>, configured: BTreeMap<String, EndpointConfig>, parts: Parts) -> Self {
        Self {
            config,
            configured,
            parts,
            roster: Roster::default(),
            read_at: None,
            slots: HashMap::new(),
            flying: JoinSet::new(),
            in_hand: HashSet::new(),
            landed: Vec::new(),
            next_upkeep: Instant::now(),
            waiting: Told::default(),
            failing: false,
        }
    }

    /// Tells until `stop`; then what is under way has the grace period to come back.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let every = Duration::from_millis(self.config.every_ms);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.flying.join_next() => self.land(ended),
                () = self.parts.recorded.notified() => {}
                () = tokio::time::sleep(every) => {}
            }
            tokio::time::sleep(GATHER).await;
            let result = self.pass().await;
            self.told(result);
        }
        let until = tokio::time::Instant::now() + grace;
        while let Ok(Some(ended)) = tokio::time::timeout_at(until, self.flying.join_next()).await {
            self.land(ended);
        }
        let result = self.mark().await;
        self.told(result);
    }

    fn told(&mut self, result: anyhow::Result<()>) {
        match &result {
            Ok(()) if self.failing => tracing::info!("outside parties are told again"),
            Ok(()) => {}
            Err(e) if self.failing => tracing::debug!(error = %e, "outside parties are not told"),
            Err(e) => tracing::warn!(error = %e, "outside parties are not told; trying again"),
        }
        self.failing = result.is_err();
    }

    /// Writes what has come back, and begins what is due and has room.
    pub async fn pass(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.flying.try_join_next() {
            self.land(ended);
        }
        self.mark().await?;
        self.refresh().await?;
        let leads = self.parts.ownership.borrow().leads();
        if !leads {
            self.waiting.fall_silent(self.parts.store.scope());
        } else if self.next_upkeep <= Instant::now() {
            self.next_upkeep = Instant::now() + UPKEEP;
            self.upkeep().await?;
        }
        let asks = self.asks();
        if asks.is_empty() {
            return Ok(());
        }
        let due = self.parts.store.due_deliveries(&asks).await?;
        let (behind, free): (Vec<_>, Vec<_>) =
            due.into_iter().filter(|d| !self.in_hand.contains(&(d.endpoint, d.message))).partition(|d| d.is_behind);
        if !behind.is_empty() {
            self.parts.store.stand_behind(&behind).await?;
        }
        let chosen = self.choose(free);
        self.begin(chosen).await
    }

    /// Who may be told, and how much of what is due for them is to be read: what is in hand is still due.
    fn asks(&mut self) -> Vec<(i32, i32)> {
        let now = Instant::now();
        let room = self.config.in_flight_max.saturating_sub(self.in_hand.len());
        let owned: HashSet<u16> = {
            let ownership = self.parts.ownership.borrow();
            let is_valid = ownership.valid_until > now;
            ownership.owned.iter().filter(|_| is_valid && room > 0).map(|o| o.shard).collect()
        };
        let mut in_hand: HashMap<i32, usize> = HashMap::new();
        for (endpoint, _) in &self.in_hand {
            *in_hand.entry(*endpoint).or_default() += 1;
        }
        let mut asks = Vec::new();
        for party in self.roster.iter().filter(|p| p.endpoint.is_enabled && p.means.is_ok()) {
            let id = party.endpoint.id;
            let settings = &party.settings;
            let slots = self
                .slots
                .entry(id)
                .or_insert_with(|| Slots::new(settings.in_flight_max.into(), settings.rate_per_s, now));
            if !owned.contains(&party.endpoint.shard) || slots.room(now) == 0 {
                continue;
            }
            let behind = if party.endpoint.is_ordered { BEHIND_ROWS } else { 0 };
            let rows = slots.room(now) + in_hand.get(&id).copied().unwrap_or(0) + behind;
            asks.push((id, i32::try_from(rows).unwrap_or(i32::MAX)));
        }
        asks
    }

    /// Those of them that begin now: one of each endpoint in turn, so that none of them takes all there is.
    fn choose(&mut self, due: Vec<DueDelivery>) -> Vec<DueDelivery> {
        let now = Instant::now();
        let mut of: BTreeMap<i32, VecDeque<DueDelivery>> = BTreeMap::new();
        for one in due {
            of.entry(one.endpoint).or_default().push_back(one);
        }
        let (mut chosen, mut bytes) = (Vec::new(), 0);
        while !of.is_empty() {
            of.retain(|id, rows| {
                let is_room = self.in_hand.len() < self.config.in_flight_max && bytes < BYTES_MAX;
                let slots = self.slots.get_mut(id).filter(|slots| is_room && slots.room(now) > 0);
                let (Some(slots), Some(one)) = (slots, rows.front().copied()) else { return false };
                if slots.begin(now).is_err() {
                    return false;
                }
                rows.pop_front();
                bytes += one.bytes;
                self.in_hand.insert((one.endpoint, one.message));
                chosen.push(one);
                true
            });
        }
        chosen
    }

    async fn begin(&mut self, chosen: Vec<DueDelivery>) -> anyhow::Result<()> {
        if chosen.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<Uuid> = chosen.iter().map(|d| d.message).collect();
        ids.sort_unstable();
        ids.dedup();
        let notices = match self.parts.store.notices(&ids).await {
            Ok(notices) => notices,
            Err(e) => {
                chosen.iter().for_each(|due| self.let_go(due));
                return Err(e.into());
            }
        };
        let notices: HashMap<Uuid, Arc<Notice>> = notices.into_iter().map(|n| (n.id, Arc::new(n))).collect();
        for due in chosen {
            let (Some(party), Some(notice)) = (self.roster.get(due.endpoint), notices.get(&due.message)) else {
                self.let_go(&due);
                continue;
            };
            let job = Job { party: Arc::clone(party), due, notice: Arc::clone(notice) };
            let (desk, config) = (Arc::clone(&self.parts.desk), Arc::clone(&self.config));
            self.flying.spawn(async move {
                let tried = attempt(&job, &desk, &config).await;
                killpoint::reached(Point::NoticeTried);
                (job.party, tried)
            });
        }
        Ok(())
    }

    /// It is not tried now.
    fn let_go(&mut self, due: &DueDelivery) {
        self.in_hand.remove(&(due.endpoint, due.message));
        if let Some(slots) = self.slots.get_mut(&due.endpoint) {
            slots.release();
        }
    }

    fn land(&mut self, ended: Result<(Arc<Party>, Tried), tokio::task::JoinError>) {
        match ended {
            Ok((party, tried)) => {
                if let Some(slots) = self.slots.get_mut(&party.endpoint.id)
                    && slots.end(tried.is_heard, Instant::now())
                {
                    tracing::warn!(
                        endpoint = party.endpoint.name,
                        why = tried.attempt.reason,
                        "an endpoint does not take what it is told: it is tried seldom until it does"
                    );
                }
                self.count(&party, &tried);
                self.landed.push((party, tried));
            }
            // It panicked: what it held stays due, and is looked at again after a restart.
            Err(e) => tracing::error!(error = %e, "a try to tell an endpoint broke"),
        }
    }

    /// Where nothing was counted yet, it is nought: what grew from nothing seen would not have grown.
    fn count_from_nought(&self, party: &Party) {
        let scope = self.parts.store.scope();
        let name = scope.endpoint(&party.endpoint.name);
        for outcome in OUTCOMES {
            scope.counter(TRIES, &[("endpoint", &name), ("outcome", outcome)]).increment(0);
        }
    }

    fn count(&self, party: &Party, tried: &Tried) {
        let scope = self.parts.store.scope();
        let name = scope.endpoint(&party.endpoint.name);
        // Whoever pings waits for the answer: nobody else need know of it.
        if tried.attempt.of.round > 0 {
            scope.counter(TRIES, &[("endpoint", &name), ("outcome", tried.attempt.outcome)]).increment(1);
        }
        let took = f64::from(tried.attempt.took_ms) / 1_000.0;
        scope.histogram("avouch_notify_attempt_seconds", &[("endpoint", &name)]).record(took);
    }

    /// Writes what came of tries. What cannot be written now stays in hand.
    async fn mark(&mut self) -> anyhow::Result<()> {
        while !self.landed.is_empty() {
            let count = self.landed.len().min(MARK_ROWS_MAX);
            let attempts: Vec<_> = self.landed[..count].iter().map(|(_, tried)| tried.attempt.clone()).collect();
            self.parts.store.mark_attempts(&attempts).await?;
            killpoint::reached_by(Point::NoticeMarked, count);
            let mut lines = Vec::new();
            for (_, tried) in self.landed.drain(..count) {
                self.in_hand.remove(&(tried.attempt.of.endpoint, tried.attempt.of.message));
                lines.extend(tried.lines);
            }
            if !lines.is_empty() {
                self.parts.store.log_plugins(&lines).await?;
            }
        }
        Ok(())
    }

    async fn refresh(&mut self) -> anyhow::Result<()> {
        if self.read_at.is_some_and(|at| at.elapsed() < ROSTER_AGE_MAX) {
            return Ok(());
        }
        let Parts { store, desk, .. } = &self.parts;
        let roster = Roster::read(store, &self.configured, &desk.outside, &self.roster).await?;
        for party in roster.iter() {
            let before = self.roster.get(party.endpoint.id);
            if before.is_some_and(|before| Arc::ptr_eq(before, party)) {
                continue;
            }
            if before.is_none() {
                self.count_from_nought(party);
            }
            if before.is_some_and(|before| before.settings != party.settings)
                && let Some(slots) = self.slots.get_mut(&party.endpoint.id)
            {
                slots.change(party.settings.in_flight_max.into(), party.settings.rate_per_s, Instant::now());
            }
            if let Err(why) = &party.means {
                let (kind, subject) = (Kind::EndpointDisabled, party.endpoint.name.as_str());
                self.parts.alarms.raise(&Event {
                    kind,
                    subject,
                    id: String::new(),
                    reference: None,
                    trace_id: None,
                    why,
                });
            }
        }
        self.slots.retain(|id, slots| slots.in_flight() > 0 || roster.get(*id).is_some());
        self.roster = roster;
        self.read_at = Some(Instant::now());
        Ok(())
    }

    /// What one instance does now and then: gives up what nobody will tell, tells people of what was given up and how much waits,
    /// forgets what is old.
    async fn upkeep(&mut self) -> anyhow::Result<()> {
        let keep_hours = i32::try_from(self.config.keep_hours).unwrap_or(i32::MAX);
        let Parts { store, alarms, .. } = &self.parts;
        self.waiting.tell(store).await?;
        store.close_deliveries(keep_hours, UPKEEP_ROWS).await?;
        let untold = store.untold_notices(UPKEEP_ROWS).await?;
        for one in &untold {
            let why = match one.is_disabled {
                true => one.reason.clone(),
                false => format!("{} messages: {}", one.count, one.reason),
            };
            let kind = if one.is_disabled { Kind::EndpointDisabled } else { Kind::GivenUp };
            let id = one.example.clone();
            alarms.raise(&Event { kind, subject: &one.endpoint, id, reference: None, trace_id: None, why: &why });
        }
        if !untold.is_empty() {
            store.told_notices(&untold, UPKEEP_ROWS).await?;
        }
        store.retire_deliveries(keep_hours, UPKEEP_ROWS).await?;
        Ok(())
    }
}
