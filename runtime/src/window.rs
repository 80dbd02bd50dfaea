//! The messages between being read and being marked: which may be sent now, in what order, and what to read next. Pure.
//!
//! A *lane* is the messages of one key in one feed: only its first is in flight. Reading goes forward by a cursor for each
//! feed and shard; a row below the cursor that shows up later (its transaction was longer) is found by looking again from
//! the *floor*, and a row that did not fit is found again by moving the cursor back.

mod cursors;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use self::cursors::{BEGINNING, Cursors, Horizon};
use bytes::Bytes;

use crate::message::{Message, Payload};
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
    /// How long an awake relay looks back; older transactions ring the bell with `late`.
    pub look_back: Duration,
}

/// One part of a read: rows of this feed and shard behind `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Index into the feeds.
    pub feed: usize,
    /// The shard.
    pub shard: u16,
    /// Exclusive lower bound of `seq`.
    pub after: i64,
    /// Inclusive upper bound of `seq`; only looking back has one.
    pub upto: i64,
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

/// A message that the broker holds and the database does not know of yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// The message's shard.
    pub shard: u16,
    /// The message's place.
    pub seq: i64,
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
    /// Rows that were settled while a read was under way: what it saw of them is old.
    settled: HashSet<i64>,
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
            horizon: Horizon::new(limits.look_back),
            reading: false,
            read_is_stale: false,
            settled: HashSet::new(),
        }
    }

    /// True when nothing waits, flies, or is to be marked.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many messages wait for their PubAck.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many messages the broker holds and the database does not know of.
    pub fn marks(&self) -> usize {
        self.marks.len()
    }

    /// The message with this seq and its feed.
    pub fn message(&self, seq: i64) -> Option<(&Message, usize)> {
        self.slots.get(&seq).map(|s| (&s.message, s.feed))
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

    // ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// What to read next; empty when there is no room or nothing to read from. Must be answered by [`Window::admit`].
    pub fn plan_read(&mut self, now: Instant) -> Vec<Ask> {
        let shards: Vec<u16> = self.shards.keys().filter(|s| !self.leaving.contains(s)).copied().collect();
        if shards.is_empty() || self.bytes >= self.limits.bytes_max {
            return Vec::new();
        }
        let floor = self.horizon.floor(now);
        let (read_max, lane_max) = (self.limits.read_rows_max, self.limits.lane_rows_max);
        let mut asks = Vec::new();
        for number in 0..self.feeds.len() {
            let share = self.share(number);
            let feed = &mut self.feeds[number];
            let rows = (share.saturating_sub(feed.rows) / shards.len()).min(read_max);
            // Many small reads cost more than a few that wait until there is room.
            if feed.closed || rows < (share / shards.len()).min(read_max).div_ceil(4) {
                continue;
            }
            let lanes = &self.lanes;
            feed.cursors.apply_rewinds(|lane| lanes.get(&lane).is_none_or(|queue| queue.len() <= lane_max / 4));
            for shard in &shards {
                let cursor = feed.cursors.after(*shard);
                let after = if feed.rows == 0 { cursor.min(floor) } else { cursor };
                asks.push(Ask { feed: number, shard: *shard, after, upto: i64::MAX, rows });
            }
        }
        self.reading = !asks.is_empty();
        self.read_is_stale = false;
        self.settled.clear();
        asks
    }

    /// How many rows of a feed may be in memory: the main feed and the others share the window by halves.
    fn share(&self, feed: usize) -> usize {
        match (self.feeds.len(), feed) {
            (1, _) => self.limits.rows_max,
            (_, 0) => self.limits.rows_max / 2,
            (n, _) => (self.limits.rows_max / 2 / (n - 1)).max(self.shards.len().max(64)),
        }
    }

    /// Takes the rows of the last read, in the order of their seq within each shard. Returns how many brought something
    /// new: a message, or a step forward.
    pub fn admit(&mut self, rows: impl IntoIterator<Item = (usize, Found)>, now: Instant) -> usize {
        let mut news = 0;
        if !self.read_is_stale {
            for (feed, found) in rows {
                let (shard, seq) = match &found {
                    Found::Message(m) => (m.shard, m.seq),
                    Found::Passed { shard, seq } => (*shard, *seq),
                };
                self.horizon.saw(seq);
                let is_step = self.feeds[feed].cursors.passed(shard, seq);
                let is_new = match found {
                    Found::Message(message) => self.admit_one(feed, message),
                    Found::Passed { .. } => false,
                };
                news += usize::from(is_step || is_new);
            }
        }
        self.read_ended();
        self.horizon.tick(now);
        news
    }

    /// The read failed: nothing was seen.
    pub fn read_ended(&mut self) {
        self.reading = false;
        self.settled.clear();
    }

    fn admit_one(&mut self, number: usize, message: Message) -> bool {
        let (shard, seq) = (message.shard, message.seq);
        let key = message.key.as_deref();
        let is_held = self.holds.topics.contains(&*message.topic) || key.is_some_and(|k| self.holds.keys.contains(k));
        if is_held || self.slots.contains_key(&seq) || self.settled.contains(&seq) {
            return false;
        }
        let lane = key.map(|key| self.hasher.hash_one((number, key)));
        let feed = &mut self.feeds[number];
        if feed.closed {
            feed.cursors.rewind_to(shard, seq);
            return false;
        }
        if let Some(lane) = lane {
            let length = self.lanes.get(&lane).map_or(0, VecDeque::len);
            if length >= self.limits.lane_rows_max || feed.cursors.is_full(lane) {
                feed.cursors.overflow(lane, shard, seq);
                return false;
            }
        }
        self.bytes += message.weight();
        feed.rows += 1;
        *self.shards.entry(shard).or_default() += 1;
        if lane.is_none_or(|lane| enqueue(self.lanes.entry(lane).or_default(), seq, &self.slots)) {
            feed.sendable.push_back(seq);
        }
        self.slots.insert(seq, Slot { message, feed: number, lane, state: State::Queued, attempts: 0 });
        true
    }

    /// What to look at again: rows below the cursors that a longer transaction may have brought. `wide` looks from the
    /// beginning instead of the floor.
    pub fn plan_look_back(&self, wide: bool, now: Instant) -> Vec<Ask> {
        let after = if wide { BEGINNING } else { self.horizon.floor(now) };
        let mut asks = Vec::new();
        for (feed, state) in self.feeds.iter().enumerate().filter(|(_, f)| !f.closed) {
            for (shard, upto) in state.cursors.iter().filter(|(s, at)| *at > after && !self.leaving.contains(s)) {
                let rows = self.shards.get(&shard).copied().unwrap_or(0) + self.limits.read_rows_max;
                asks.push(Ask { feed, shard, after, upto, rows });
            }
        }
        asks
    }

    /// Takes what looking back found, `(feed, shard, seq)`: unknown rows move the cursor back to them. Returns true if
    /// there were any. (Rows settled in between are unknown too: reading them again finds nothing.)
    pub fn looked_back(&mut self, found: &[(usize, u16, i64)]) -> bool {
        let mut any = false;
        for (feed, shard, seq) in found {
            let cursors = &mut self.feeds[*feed].cursors;
            if !self.slots.contains_key(seq) && !cursors.rereads(*shard, *seq) {
                cursors.rewind_to(*shard, *seq);
                any = true;
            }
        }
        any
    }

    // ── Sending ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The next message of a feed that may be sent, taken from the queue; the caller sends it or puts it back. A closed
    /// feed has only those that flew before.
    pub fn next_sendable(&mut self, feed: usize) -> Option<i64> {
        while let Some(seq) = self.feeds[feed].sendable.pop_front() {
            let Some(slot) = self.slots.get(&seq) else { continue };
            let is_first = slot.lane.is_none_or(|lane| self.lanes.get(&lane).and_then(|q| q.front()) == Some(&seq));
            if slot.state == State::Queued && is_first {
                return Some(seq);
            }
        }
        None
    }

    /// Puts a message back at the head of its queue.
    pub fn put_back(&mut self, seq: i64) {
        if let Some(slot) = self.slots.get(&seq) {
            self.feeds[slot.feed].sendable.push_front(seq);
        }
    }

    /// The message is on its way.
    pub fn sent(&mut self, seq: i64, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&seq) {
            slot.attempts += 1;
            slot.state = State::InFlight;
            self.in_flight += 1;
            self.flights.push_back((now, seq, slot.attempts));
        }
    }

    /// The broker holds the message. Returns false if nobody waits for that any more.
    pub fn stored(&mut self, seq: i64, stream: i32, stream_seq: i64) -> bool {
        let Some(slot) = self.slots.get_mut(&seq).filter(|s| s.state != State::Settling) else {
            return false;
        };
        self.in_flight -= usize::from(slot.state == State::InFlight);
        slot.state = State::Settling;
        self.marks.push(Mark { shard: slot.message.shard, seq, stream, stream_seq });
        let lane = slot.lane.take();
        self.advance(lane, seq);
        true
    }

    /// The try ended without a PubAck: the message keeps its key and goes to the head of the queue.
    pub fn retry(&mut self, seq: i64) {
        if let Some(slot) = self.slots.get_mut(&seq).filter(|s| s.state == State::InFlight) {
            slot.state = State::Queued;
            self.in_flight -= 1;
            self.feeds[slot.feed].sendable.push_front(seq);
        }
    }

    /// Something else is being decided about the message: it keeps its key until [`Window::settled`]. Returns false if
    /// it is not here, or is being settled already.
    pub fn settling(&mut self, seq: i64) -> bool {
        let Some(slot) = self.slots.get_mut(&seq).filter(|s| s.state != State::Settling) else {
            return false;
        };
        self.in_flight -= usize::from(slot.state == State::InFlight);
        slot.state = State::Settling;
        true
    }

    /// The payload that was left behind is here.
    pub fn fill(&mut self, seq: i64, payload: Bytes) {
        if let Some(slot) = self.slots.get_mut(&seq) {
            self.bytes -= slot.message.weight();
            slot.message.payload = Payload::Here(payload);
            self.bytes += slot.message.weight();
        }
        self.unsettled(seq);
    }

    /// True if so many more bytes fit; something always fits into an otherwise empty window.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.limits.bytes_max || self.in_flight == 0
    }

    /// What was being decided came to nothing: the message may be sent (again).
    pub fn unsettled(&mut self, seq: i64) {
        if let Some(slot) = self.slots.get_mut(&seq).filter(|s| s.state == State::Settling) {
            slot.state = State::Queued;
            self.feeds[slot.feed].sendable.push_front(seq);
        }
    }

    /// When the oldest try that may still be in flight was made.
    pub fn oldest_flight(&self) -> Option<Instant> {
        self.flights.front().map(|(at, _, _)| *at)
    }

    /// The message gets another generation: its id was taken, and what it stood for is gone.
    pub fn regenerated(&mut self, seq: i64) {
        if let Some(slot) = self.slots.get_mut(&seq) {
            slot.message.generation += 1;
        }
        self.unsettled(seq);
    }

    /// Takes the messages that have been in flight since before `before`, oldest first.
    pub fn overdue(&mut self, before: Instant) -> Vec<i64> {
        let mut overdue = Vec::new();
        while let Some((at, seq, attempt)) = self.flights.front().copied() {
            let flying = self.slots.get(&seq).is_some_and(|s| s.state == State::InFlight && s.attempts == attempt);
            if flying && at > before {
                break;
            }
            self.flights.pop_front();
            if flying {
                overdue.push(seq);
            }
        }
        overdue
    }

    // ── Settling ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Up to `max` messages to mark, oldest PubAck first; they stay in the window until [`Window::settled`].
    pub fn take_marks(&mut self, max: usize) -> Vec<Mark> {
        let rest = self.marks.split_off(self.marks.len().min(max));
        std::mem::replace(&mut self.marks, rest)
    }

    /// Marking failed: these are marked with the next batch.
    pub fn return_marks(&mut self, mut marks: Vec<Mark>) {
        marks.retain(|m| self.slots.contains_key(&m.seq));
        marks.append(&mut self.marks);
        self.marks = marks;
    }

    /// The database knows: the messages leave the window.
    pub fn settled(&mut self, seqs: impl IntoIterator<Item = i64>) {
        for seq in seqs {
            if self.reading {
                self.settled.insert(seq);
            }
            if let Some(slot) = self.remove(seq) {
                self.advance(slot.lane, seq);
            }
        }
    }

    /// Takes a message out of its lane, and lets the next one go if it was the first.
    fn advance(&mut self, lane: Option<u64>, seq: i64) {
        let Some(lane) = lane else { return };
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        let was_first = queue.front() == Some(&seq);
        if was_first {
            queue.pop_front();
        } else {
            queue.retain(|s| *s != seq);
        }
        match queue.front() {
            None => drop(self.lanes.remove(&lane)),
            Some(next) if was_first => {
                let next = *next;
                if let Some(slot) = self.slots.get(&next) {
                    self.feeds[slot.feed].sendable.push_back(next);
                }
            }
            Some(_) => {}
        }
    }

    fn remove(&mut self, seq: i64) -> Option<Slot> {
        let slot = self.slots.remove(&seq)?;
        self.bytes -= slot.message.weight();
        self.feeds[slot.feed].rows -= 1;
        self.in_flight -= usize::from(slot.state == State::InFlight);
        if let Some(rows) = self.shards.get_mut(&slot.message.shard) {
            *rows -= 1;
        }
        Some(slot)
    }

    /// Leaves rows to the database: they are read again, each from its place.
    fn forget(&mut self, which: impl Fn(&Slot) -> bool) {
        let seqs: Vec<i64> = self.slots.iter().filter(|(_, s)| which(s)).map(|(seq, _)| *seq).collect();
        for seq in seqs {
            if let Some(slot) = self.remove(seq) {
                self.feeds[slot.feed].cursors.rewind_to(slot.message.shard, seq);
                self.advance(slot.lane, seq);
            }
        }
    }
}

/// Puts a row at its place in its lane, behind whatever has flown. Returns true if it is the first.
fn enqueue(queue: &mut VecDeque<i64>, seq: i64, slots: &HashMap<i64, Slot>) -> bool {
    let waits = |s: &i64| slots.get(s).is_some_and(|s| s.state == State::Queued && s.attempts == 0);
    let mut at = queue.len();
    while at > 0 && queue[at - 1] > seq && waits(&queue[at - 1]) {
        at -= 1;
    }
    queue.insert(at, seq);
    at == 0
}
