//! The messages between being read and being marked: which may be sent now, in what order, and what to read next. Pure.
//!
//! A *lane* is the messages of one key in one feed: only its first is in flight. Reading goes forward by a cursor for each
//! feed and shard; rows that appear below it (their transaction took longer) come with the same read, as new to its
//! *horizon*; a row that did not fit is found again by moving the cursor back.

mod cursors;
mod horizon;
#[cfg(test)]
mod properties;
mod reading;
mod sending;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::RandomState;
use std::time::{Duration, Instant};

use uuid::Uuid;

use self::cursors::Cursors;
use self::horizon::Horizon;
pub use self::horizon::Snapshot;
use crate::message::Message;
use crate::topics::Feed;

/// Bounds of the window.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows in memory.
    pub rows_max: usize,
    /// Bytes in memory: payloads, headers, and a flat rate for each row.
    pub bytes_max: usize,
    /// Rows of one key in memory; a hot key must not fill the window.
    pub lane_rows_max: usize,
    /// Rows of one shard in one read.
    pub read_rows_max: usize,
}

/// One part of a read: rows of this feed and shard behind `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Index into the feeds.
    pub feed: usize,
    /// The shard.
    pub shard: u16,
    /// The cursor: rows above it are read, rows below it only if they are new.
    pub after: i64,
    /// At most so many rows.
    pub rows: usize,
}

/// A row that was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A message for this feed.
    Message(Message),
    /// A message that this feed does not carry: it is passed.
    Passed {
        /// Its shard.
        shard: u16,
        /// Its place.
        seq: i64,
    },
}

impl Found {
    fn place(&self) -> (u16, i64) {
        match self {
            Self::Message(m) => (m.shard, m.seq),
            Self::Passed { shard, seq } => (*shard, *seq),
        }
    }
}

/// A read: its rows and the snapshot in which they stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which session of the database read it: another one may see another past.
    pub session: u64,
    /// What was visible.
    pub snapshot: Snapshot,
    /// The time until a delayed row is due.
    pub next_due: Option<Duration>,
    /// The rows, each with its feed.
    pub rows: Vec<(usize, Found)>,
}

/// What became of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// So many rows brought something new: a message, or a step forward.
    News(usize),
    /// Something happened meanwhile that makes its rows wrong: read again at once.
    Unusable,
    /// The database is in an earlier state than it was in before.
    WentBack,
}

/// A message that the broker holds and the database does not know of yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The message's shard.
    pub shard: u16,
    /// The message's place.
    pub seq: i64,
    /// The message: after a failover, another one may have its place.
    pub id: Uuid,
    /// Where the broker keeps it.
    pub stream: i32,
    /// Its sequence there.
    pub stream_seq: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    InFlight,
    Settling,
}

#[derive(Debug)]
struct Slot {
    message: Message,
    feed: usize,
    lane: Option<u64>,
    state: State,
    attempts: u32,
    first_sent_at: Option<Instant>,
    sent_at: Option<Instant>,
}

/// A message and how it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Flight<'a> {
    /// The message.
    pub message: &'a Message,
    /// Its feed.
    pub feed: usize,
    /// When it was handed over for the first time, since it was read; none: never.
    pub first_sent_at: Option<Instant>,
    /// And the last time.
    pub sent_at: Option<Instant>,
    /// How often it was.
    pub tries: u32,
}

#[derive(Debug, Default)]
struct FeedState {
    stream: usize,
    cursors: Cursors,
    sendable: VecDeque<i64>,
    rows: usize,
    closed: bool,
}

/// What an operator, or a dead message, holds back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holds {
    /// Paused topics.
    pub topics: BTreeSet<String>,
    /// Paused and parked keys.
    pub keys: HashSet<String>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Window {
    limits: Limits,
    feeds: Vec<FeedState>,
    slots: HashMap<i64, Slot>,
    lanes: HashMap<u64, VecDeque<i64>>,
    hasher: RandomState,
    flights: VecDeque<(Instant, i64, u32)>,
    marks: Vec<Mark>,
    shards: BTreeMap<u16, usize>,
    leaving: BTreeSet<u16>,
    holds: Holds,
    bytes: usize,
    in_flight: usize,
    horizon: Horizon,
    reading: bool,
    /// The read under way was planned before something that makes its rows wrong: they are not admitted.
    read_is_stale: bool,
    /// Messages that were settled while a read was under way: what it saw of them is old.
    settled: HashSet<Uuid>,
    /// The session of the last read.
    session: Option<u64>,
}

impl Window {
    /// An empty window over these feeds.
    pub fn new(limits: Limits, feeds: &[Feed]) -> Self {
        let feeds = feeds.iter().map(|f| FeedState { stream: f.stream, ..FeedState::default() }).collect();
        Self {
            limits,
            feeds,
            slots: HashMap::new(),
            lanes: HashMap::new(),
            hasher: RandomState::new(),
            flights: VecDeque::new(),
            marks: Vec::new(),
            shards: BTreeMap::new(),
            leaving: BTreeSet::new(),
            holds: Holds::default(),
            bytes: 0,
            in_flight: 0,
            horizon: Horizon::default(),
            reading: false,
            read_is_stale: false,
            settled: HashSet::new(),
            session: None,
        }
    }

    /// True when nothing waits, flies, or is to be marked.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many rows are in memory.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many messages wait for their PubAck.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many messages the broker holds and the database does not know of.
    pub fn marks(&self) -> usize {
        self.marks.len()
    }

    /// True if this message is here. (Another one of the same seq may be, after a failover.)
    pub fn has(&self, seq: i64, id: Uuid) -> bool {
        self.slots.get(&seq).is_some_and(|slot| slot.message.id == id)
    }

    /// The message with this seq and its feed.
    pub fn message(&self, seq: i64) -> Option<(&Message, usize)> {
        self.slots.get(&seq).map(|s| (&s.message, s.feed))
    }

    /// The message with this seq, and how it was sent.
    pub fn flight(&self, seq: i64) -> Option<Flight<'_>> {
        self.slots.get(&seq).map(|s| Flight {
            message: &s.message,
            feed: s.feed,
            first_sent_at: s.first_sent_at,
            sent_at: s.sent_at,
            tries: s.attempts,
        })
    }

    // ── Ownership and holds ────────────────────────────────────────────────────────────────────────────────────────

    /// Takes shards over, from their beginning, and forgets those that are neither owned nor leaving. A leaving shard
    /// takes nothing new: what flies is marked, what waits is left to the next owner.
    pub fn own(&mut self, owned: &BTreeSet<u16>, leaving: &BTreeSet<u16>) {
        self.read_is_stale = true;
        let kept = |s: &u16| owned.contains(s) || leaving.contains(s);
        let lost: BTreeSet<u16> = self.shards.keys().filter(|s| !kept(s)).copied().collect();
        self.forget(|s| {
            lost.contains(&s.message.shard) || (leaving.contains(&s.message.shard) && s.state == State::Queued)
        });
        self.marks.retain(|m| !lost.contains(&m.shard));
        for shard in &lost {
            self.shards.remove(shard);
            self.feeds.iter_mut().for_each(|f| f.cursors.stop(*shard));
        }
        for shard in owned {
            self.shards.entry(*shard).or_default();
            self.feeds.iter_mut().for_each(|f| f.cursors.start(*shard));
        }
        self.leaving.clone_from(leaving);
    }

    /// The shards of which something is still in memory.
    pub fn busy_shards(&self) -> BTreeSet<u16> {
        self.shards.iter().filter(|(_, rows)| **rows > 0).map(|(s, _)| *s).collect()
    }

    /// Replaces the holds: what waits of them is left in the database; what was let go is found by reading everything
    /// again.
    pub fn hold(&mut self, holds: Holds) {
        if holds == self.holds {
            return;
        }
        let let_go = !self.holds.topics.is_subset(&holds.topics) || !self.holds.keys.is_subset(&holds.keys);
        let held = |s: &Slot| {
            holds.topics.contains(&*s.message.topic) || s.message.key.as_deref().is_some_and(|k| holds.keys.contains(k))
        };
        self.forget(|s| s.state == State::Queued && held(s));
        self.holds = holds;
        if let_go {
            self.rescan();
        }
    }

    /// What is held.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Reads everything again from the beginning.
    pub fn rescan(&mut self) {
        self.read_is_stale = true;
        self.feeds.iter_mut().for_each(|f| f.cursors.restart());
    }

    /// Stops sending to a stream: what waits is left in the database, what flew waits for its next try.
    pub fn close_stream(&mut self, stream: usize) {
        self.feeds.iter_mut().filter(|f| f.stream == stream).for_each(|f| f.closed = true);
        let closed: Vec<bool> = self.feeds.iter().map(|f| f.closed).collect();
        self.forget(|s| closed[s.feed] && s.state == State::Queued && s.attempts == 0);
    }

    /// Sends to the stream again.
    pub fn open_stream(&mut self, stream: usize) {
        self.feeds.iter_mut().filter(|f| f.stream == stream).for_each(|f| f.closed = false);
    }
}
