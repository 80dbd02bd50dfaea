//! Postgres → JetStream: reads what is ready, sends it in the order of each key, marks what the broker holds.
//!
//! One task owns the window. Whatever asks the database or the broker something runs beside it as *work* and comes back as
//! *done*, so reading, sending and marking overlap. `step` takes one bounded amount of whatever is there.

mod done;
mod gate;
mod look;
mod meters;
mod pace;
mod send;
mod spans;
mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::done::Done;
use self::gate::Gate;
use self::meters::Meters;
use self::pace::Pace;
use self::streams::Losses;
use crate::alarm::Alarms;
use crate::broker::{Broker, Replies, Stream};
use crate::consumers::Tracked;
use crate::doorbell::Doorbell;
use crate::lifecycle::Backoff;
use crate::rate::Bucket;
use crate::shards::{Ownership, Progress};
use crate::store::{Owned, Store};
use crate::topics::Topics;
use crate::trace::Tracer;
use crate::window::{Limits, Window};

/// `[relay]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Rows in memory.
    pub rows_max: usize,
    /// Bytes of payload and headers in memory.
    pub bytes_max: usize,
    /// Rows of one key in memory.
    pub key_rows_max: usize,
    /// Rows of one shard in one read.
    pub read_rows_max: usize,
    /// Messages that wait for their PubAck.
    pub in_flight_max: usize,
    /// Rows marked by one statement.
    pub mark_rows_max: usize,
    /// After this long without a PubAck a message is sent again.
    pub ack_timeout_ms: u64,
    /// The first wait after trouble with the broker.
    pub retry_first_ms: u64,
    /// The longest wait after trouble with the broker.
    pub retry_max_ms: u64,
    /// How long an awake relay waits at most between two reads.
    pub poll_max_ms: u64,
    /// How often a sleeping relay looks without having been woken.
    pub safety_poll_ms: u64,
}

/// Measured on 2 cores: larger windows cost memory and bring nothing; reads below 64 rows a shard cost throughput.
impl Default for Config {
    fn default() -> Self {
        Self {
            rows_max: 8192,
            bytes_max: 32 << 20,
            key_rows_max: 256,
            read_rows_max: 256,
            in_flight_max: 4096,
            mark_rows_max: 2048,
            ack_timeout_ms: 5_000,
            retry_first_ms: 100,
            retry_max_ms: 5_000,
            poll_max_ms: 50,
            safety_poll_ms: 1_000,
        }
    }
}

/// Larger payloads are fetched one by one, when their turn comes: a read of 4096 rows takes 32 MiB at most.
const INLINE_BYTES_MAX: i32 = 8 << 10;
/// Large payloads fetched at a time.
const FETCHES_MAX: usize = 4;
/// Messages handed to the connection before answers are looked at again.
const SEND_BURST: usize = 256;
/// Answers taken in one step.
const REPLIES_MAX: usize = 1024;
/// Fewer marks than these wait for more, because a statement costs as much as thirty rows,
const MARK_ROWS_MIN: usize = 64;
/// but no longer than this. What is not marked when the runtime dies is sent again, under the same id.
const MARK_GATHER: Duration = Duration::from_millis(10);
/// Delayed rows released by one statement.
const RELEASE_ROWS: i64 = 1000;
/// Deadlines that are due already are looked at in the next step, but never in a busy loop.
const SHORTEST_WAIT: Duration = Duration::from_micros(200);
/// The same id is being stored by the broker right now: ask again after this.
const IN_PROCESS_WAIT: Duration = Duration::from_millis(50);

/// What the relay is given.
pub struct Parts {
    /// The database.
    pub store: Arc<Store>,
    /// The broker.
    pub broker: Broker,
    /// Its answers.
    pub replies: Replies,
    /// The streams, as in `topics`.
    pub streams: Vec<Stream>,
    /// What the configuration says of topics.
    pub topics: Topics,
    /// The doorbell.
    pub doorbell: Doorbell,
    /// What may be worked on.
    pub ownership: watch::Receiver<Ownership>,
    /// Where to say how it goes.
    pub progress: watch::Sender<Progress>,
    /// Where to say that a message is dead.
    pub alarms: Alarms,
    /// How long a message that has ended is kept; none: for good.
    pub keeps: Option<Duration>,
    /// Where spans are told.
    pub tracer: Tracer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attention {
    Awake,
    /// K was asked for.
    FallingAsleep,
    /// K is held; one more look, because it has just been granted or somebody rang.
    LastLook,
    /// K is held.
    Asleep,
}

/// The loop. See the module's documentation.
pub struct Relay {
    config: Config,
    parts: Parts,
    owned: Vec<Owned>,
    leaving: Vec<Owned>,
    valid_until: Instant,
    window: Window,
    gates: Vec<Gate>,
    buckets: Vec<Option<Bucket>>,
    /// When the next message of each limited feed may go.
    rate_waits: Vec<Option<Instant>>,
    only: Vec<Option<String>>,
    pace: Pace,
    attention: Attention,
    /// Somebody rang during the last look.
    look_again: bool,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    reading: bool,
    /// The window had no room for another read.
    full: bool,
    looking_back: bool,
    marking: bool,
    /// When the oldest mark has waited long enough.
    mark_at: Option<Instant>,
    sweep_at: Instant,
    sweep_now: bool,
    /// When a delayed row is due, as the last read has told.
    due_at: Option<Instant>,
    due_asked: bool,
    holds_known: bool,
    holds_asked: bool,
    /// Raised by each burial: what was read of the holds before it is old.
    burials: u64,
    holds_at: Instant,
    /// Who must have messages, as it was read last.
    tracked: Tracked,
    /// A mark says that this has changed: nothing is marked until it is read again.
    is_outdated: bool,
    /// That is being read, since before it was said.
    reads_too_early: bool,
    losses: Losses,
    /// When the open streams are looked at again.
    streams_at: Instant,
    /// The change that was read for that reason: marks that are refused nevertheless have lost a race.
    verified: Option<i32>,
    fetching: usize,
    in_process: Vec<(Instant, i64)>,
    /// No wish to sleep before this: it was refused.
    sleep_at: Instant,
    refusals: u32,
    /// How often K was asked for.
    sleeps: u64,
    store_backoff: Backoff,
    store_silent_until: Option<Instant>,
    store_trouble: Option<String>,
    sent_total: u64,
    meters: Meters,
    stopping: bool,
}

impl Relay {
    /// A relay that owns nothing yet.
    pub fn new(config: Config, parts: Parts) -> Self {
        let now = Instant::now();
        let limits = Limits {
            rows_max: config.rows_max,
            bytes_max: config.bytes_max,
            lane_rows_max: config.key_rows_max,
            read_rows_max: config.read_rows_max,
        };
        let ms = Duration::from_millis;
        let backoff = Backoff::new(ms(config.retry_first_ms), ms(config.retry_max_ms));
        let feeds = parts.topics.feeds();
        let meters = Meters::new(parts.store.scope(), parts.streams.iter().map(|s| s.name.clone()));
        Self {
            window: Window::new(limits, feeds),
            gates: parts.streams.iter().map(|_| Gate::new(backoff.clone(), now)).collect(),
            buckets: feeds.iter().map(|f| f.rate_per_s.map(|rate| Bucket::new(rate, now))).collect(),
            rate_waits: feeds.iter().map(|_| None).collect(),
            only: feeds.iter().map(|f| f.topic.clone()).collect(),
            pace: Pace::new(ms(config.poll_max_ms), now),
            owned: Vec::new(),
            leaving: Vec::new(),
            valid_until: now,
            attention: Attention::Awake,
            look_again: false,
            work: FuturesUnordered::new(),
            reading: false,
            full: false,
            looking_back: false,
            marking: false,
            mark_at: None,
            sweep_at: now + ms(config.safety_poll_ms),
            sweep_now: false,
            due_at: None,
            due_asked: false,
            holds_known: false,
            holds_asked: false,
            burials: 0,
            holds_at: now,
            tracked: Tracked::default(),
            is_outdated: false,
            reads_too_early: false,
            losses: Losses::default(),
            streams_at: now,
            verified: None,
            fetching: 0,
            in_process: Vec::new(),
            sleep_at: now,
            refusals: 0,
            sleeps: 0,
            store_backoff: backoff,
            store_silent_until: None,
            store_trouble: None,
            sent_total: 0,
            meters,
            stopping: false,
            config,
            parts,
        }
    }

    /// Runs until `stop`, then until what flies is marked, or `grace` is over.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let mut deadline = None;
        let mut connected = self.parts.broker.connected();
        if !*connected.borrow_and_update() {
            self.disconnected();
        }
        loop {
            if stop.is_cancelled() && deadline.is_none() {
                self.stopping = true;
                deadline = Some(Instant::now() + grace);
                self.parts.doorbell.wake_up();
            }
            let nothing_flies = self.window.in_flight() == 0 && self.window.marks() == 0 && !self.marking;
            if deadline.is_some_and(|d| nothing_flies || Instant::now() >= d) {
                break;
            }
            self.step(&stop, &mut connected).await;
        }
        let (left, marks) = (self.window.in_flight(), self.window.marks());
        if left + marks > 0 {
            tracing::warn!(
                in_flight = left,
                unmarked = marks,
                "stopped before everything was marked: these are sent again"
            );
        }
    }

    /// Starts what can be started, then takes whatever comes first.
    async fn step(&mut self, stop: &CancellationToken, connected: &mut watch::Receiver<bool>) {
        let now = Instant::now();
        if self.store_silent_until.is_some_and(|until| until <= now) {
            self.store_silent_until = None;
        }
        self.take_ownership();
        self.time_out(now);
        self.open_gates(now, *connected.borrow());
        let more = self.send(now).await;
        self.start_marking(now);
        self.start_reading(now);
        self.start_chores(now);
        self.start_sleeping(now);
        let wake_at = tokio::time::Instant::from_std(self.next_deadline(now, *connected.borrow()));
        tokio::select! {
            biased;
            replies = self.parts.replies.next(REPLIES_MAX) => self.take_replies(replies),
            Some(done) = self.work.next() => self.take(done),
            rung = self.parts.doorbell.rung() => self.wake(rung),
            Ok(()) = self.parts.ownership.changed() => {}
            Ok(()) = connected.changed() => {
                let is_connected = *connected.borrow_and_update();
                self.connection_changed(is_connected);
            }
            () = stop.cancelled(), if !self.stopping => {}
            () = std::future::ready(()), if more => {}
            () = tokio::time::sleep_until(wake_at) => {}
        }
    }

    /// Works on what is owned from now on.
    fn take_ownership(&mut self) {
        let told = self.parts.ownership.borrow_and_update().clone();
        self.valid_until = told.valid_until;
        if (&told.owned, &told.leaving) != (&self.owned, &self.leaving) {
            // A shard that was lost and won again starts afresh: somebody else has sent of it in between.
            let kept = |o: &&Owned| self.owned.contains(o) || self.leaving.contains(o);
            let shards = |of: &[Owned]| of.iter().map(|o| o.shard).collect::<BTreeSet<u16>>();
            let survivors = told.owned.iter().filter(kept).map(|o| o.shard).collect();
            self.window.own(&survivors, &shards(&told.leaving));
            self.window.own(&shards(&told.owned), &shards(&told.leaving));
            self.owned = told.owned;
            self.leaving = told.leaving;
            self.losses.shards_changed();
            // A key that the former owner parked must be known before its later rows are read.
            self.holds_known = false;
            self.holds_at = Instant::now();
            self.awake();
        }
        let busy = self.window.busy_shards();
        let left: BTreeSet<u16> = self.leaving.iter().map(|o| o.shard).filter(|s| !busy.contains(s)).collect();
        if self.parts.progress.borrow().left != left {
            self.parts.progress.send_modify(|p| p.left = left);
        }
    }

    /// Tells the others how it goes.
    fn report(&self) {
        let trouble = match &self.store_trouble {
            Some(text) => Some(format!("database: {text}")),
            None => self.gates.iter().find_map(|g| g.trouble()).map(str::to_owned),
        };
        self.parts.progress.send_modify(|p| {
            p.sent_total = self.sent_total;
            p.trouble = trouble;
        });
    }

    /// When something must be looked at, though nothing happens.
    fn next_deadline(&self, now: Instant, is_connected: bool) -> Instant {
        let timeout = self.window.oldest_flight().map(|at| at + Duration::from_millis(self.config.ack_timeout_ms));
        let mut due: Vec<Instant> = self.in_process.iter().map(|(at, _)| *at).collect();
        due.extend(timeout);
        due.extend(self.store_silent_until);
        due.extend(self.rate_waits.iter().flatten());
        if !self.marking && self.store_silent_until.is_none() {
            due.extend(self.mark_at);
        }
        if is_connected {
            due.extend(self.gates.iter().filter_map(Gate::due));
        }
        if self.is_outdated && !self.holds_asked && self.store_silent_until.is_none() {
            due.push(self.holds_at);
        }
        if self.may_work(now) {
            due.extend((!self.looking_back && self.holds_known).then_some(self.sweep_at));
            due.extend(self.due_at.filter(|_| !self.due_asked));
            due.extend((!self.holds_asked).then_some(self.holds_at));
            due.push(self.streams_at);
            let awake = self.attention == Attention::Awake && !self.reading && self.holds_known;
            due.extend(awake.then(|| self.pace.next()));
        }
        let next = due.into_iter().min().unwrap_or(now + Duration::from_secs(1));
        next.max(now + SHORTEST_WAIT)
    }
}
