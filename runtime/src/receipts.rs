//! The loop that follows messages until their consumers are done: it sees to their durables, collects evidence from the broker's
//! events and from the inbox, and decides about what the broker has settled or lost without any.
//!
//! One instance does it at a time, the owner of shard 0; two of them for a moment disturb nobody, because every write is guarded.

mod decide;
mod durables;
mod evidence;
mod look;
mod settled;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::evidence::Late;
use self::look::Follow;
use crate::alarm::Alarms;
use crate::broker::streams::State;
use crate::broker::{self, Durable, Events, Stream};
use crate::consumers::Tracked;
use crate::shards::Ownership;
use crate::store::{self, Dead, GivenUp, Store};
use crate::trace::trace_id_of;

/// `[receipts]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often to look what consumers have finished.
    pub every_ms: u64,
    /// Messages looked at, or received, by one statement.
    pub rows_max: u32,
    /// The stream that keeps what the broker tells of acknowledgements.
    pub events_stream: String,
    /// How large that stream may become: the broker sets so much aside for it. When it is full the oldest go first, though nobody has
    /// read them: what they told counts as missed. Raised here, it is raised there.
    pub events_bytes_max: u64,
    /// How long the broker must have settled a message before its missing receipt means anything.
    pub grace_ms: u64,
}

/// A second is soon enough for books; evidence is on its way for milliseconds, or as long as a runtime needs to come back. A gibibyte
/// holds what is acknowledged in five minutes at ten thousand a second, and in nine hours at a hundred.
impl Default for Config {
    fn default() -> Self {
        Self {
            every_ms: 1_000,
            rows_max: 2_000,
            events_stream: "AVOUCH_EVENTS".into(),
            events_bytes_max: 1 << 30,
            grace_ms: 5_000,
        }
    }
}

/// Reading of events is interrupted so often in a round, so that what comes seldom is applied soon.
const READS_IN_A_ROUND: u32 = 4;

/// What the loop is given.
pub struct Parts {
    /// The database.
    pub store: Arc<Store>,
    /// The streams of the configuration.
    pub streams: Vec<Stream>,
    /// The durables of the configuration, by their names.
    pub durables: BTreeMap<String, Wanted>,
    /// What the broker tells.
    pub events: Events,
    /// Whether there is a connection to the broker.
    pub connected: watch::Receiver<bool>,
    /// What may be worked on.
    pub ownership: watch::Receiver<Ownership>,
    /// Where to say that a message is dead.
    pub alarms: Alarms,
}

/// A durable as the configuration wants it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As it is to be.
    pub durable: Durable,
    /// A new one starts with what is sent from now on.
    pub starts_new: bool,
}

/// One stream as it is now.
#[derive(Clone, Debug)]
struct Place {
    id: i32,
    state: State,
}

/// The loop. See the module's documentation.
pub struct Receipts {
    config: Config,
    parts: Parts,
    tracked: Tracked,
    places: HashMap<String, Place>,
    follows: HashMap<i32, Follow>,
    late: Vec<Late>,
    /// The last event that there is, and that up to which all are applied; none: it is not known.
    events: Option<(u64, u64)>,
    /// The receipt by message that was looked at last.
    told: i64,
    next_round: Instant,
    failing: bool,
}

impl Receipts {
    /// A loop that follows nothing yet.
    pub fn new(config: Config, parts: Parts) -> Self {
        Self {
            config,
            parts,
            tracked: Tracked::default(),
            places: HashMap::new(),
            follows: HashMap::new(),
            late: Vec::new(),
            events: None,
            told: 0,
            next_round: Instant::now(),
            failing: false,
        }
    }

    /// Follows until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                result = self.pass() => if let Err(e) = result {
                    self.told(Err(e));
                    self.parts.events.close();
                    tokio::time::sleep(Duration::from_millis(self.config.every_ms)).await;
                },
            }
        }
    }

    /// Says once that something cannot be done, and once that it can again.
    fn told(&mut self, result: anyhow::Result<()>) {
        match &result {
            Ok(()) if self.failing => tracing::info!("receipts are followed again"),
            Ok(()) => {}
            Err(e) if self.failing => tracing::debug!(error = %e, "receipts cannot be followed"),
            Err(e) => tracing::warn!(error = %e, "receipts cannot be followed; trying again"),
        }
        self.failing = result.is_err();
    }

    /// Reads what the broker tells for a moment, and once a round looks at everything.
    pub async fn pass(&mut self) -> anyhow::Result<()> {
        if !self.may_work() {
            self.parts.events.close();
            self.late.clear();
            tokio::time::sleep(Duration::from_millis(self.config.every_ms)).await;
            return Ok(());
        }
        if self.parts.connected.has_changed().unwrap_or(false) {
            // A server that was started anew does not know that somebody reads.
            self.parts.connected.mark_unchanged();
            self.parts.events.close();
        }
        if self.next_round <= Instant::now() {
            self.next_round = Instant::now() + Duration::from_millis(self.config.every_ms);
            // What fails here keeps no evidence from being read.
            let round = self.round().await;
            self.told(round);
        }
        if self.parts.events.is_open() {
            self.read_events().await
        } else {
            tokio::time::sleep(self.next_round.saturating_duration_since(Instant::now())).await;
            Ok(())
        }
    }

    fn may_work(&self) -> bool {
        self.parts.ownership.borrow().leads()
    }

    /// Everything once. What cannot be done about one consumer keeps nothing else from being done.
    async fn round(&mut self) -> anyhow::Result<()> {
        self.tracked = self.parts.store.tracked().await?;
        self.apply_told().await?;
        let mut streams: Vec<String> = self.tracked.consumers.iter().filter_map(|c| c.stream.clone()).collect();
        streams.sort();
        streams.dedup();
        let mut result = Ok(());
        for name in &streams {
            result = result.and(self.look_at_stream(name).await);
        }
        if !streams.is_empty() && !self.parts.events.is_open_for(&streams) {
            self.late.clear();
            result = result.and(self.parts.events.open(self.tracked.installation, &streams).await.map_err(Into::into));
        }
        self.events = None;
        if self.parts.events.is_open() {
            match self.parts.events.position().await {
                Ok(position) => self.events = Some(position),
                Err(e) => result = result.and(Err(e.into())),
            }
        }
        for consumer in self.tracked.consumers.clone() {
            result = result.and(self.follow(&consumer).await);
        }
        result
    }

    async fn look_at_stream(&mut self, name: &str) -> anyhow::Result<()> {
        self.places.remove(name);
        let stream = self.stream(name)?;
        let state = stream.state().await?;
        // What no relay has looked at yet is left alone: nothing of it is known.
        if let Some(id) = self.parts.store.stream_now(name, state.created).await? {
            self.places.insert(name.to_owned(), Place { id, state });
        }
        Ok(())
    }

    /// These messages are dead now.
    async fn give_up_on(&self, given_up: &[GivenUp]) -> Result<(), store::Error> {
        if given_up.is_empty() {
            return Ok(());
        }
        for Dead { id, consumer, topic, class, reason, traceparent } in
            self.parts.store.give_up_on(given_up, "sent").await?
        {
            self.parts.store.scope().dead(&topic, class.name());
            let trace_id = traceparent.as_deref().and_then(trace_id_of);
            self.parts.alarms.dead(&topic, id, trace_id, &format!("consumer {consumer}: {reason}"));
        }
        Ok(())
    }

    fn stream(&self, name: &str) -> Result<&Stream, broker::Error> {
        let missing = || {
            broker::Error::Retry(format!(
                "stream {name} of a consumer is not in this configuration: add [stream.{name}]"
            ))
        };
        self.parts.streams.iter().find(|s| s.name == name).ok_or_else(missing)
    }
}
