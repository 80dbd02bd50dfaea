//! What to read next, and what becomes of what was read. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::time::Instant;

use super::cursors::BEGINNING;
use super::{Admitted, Ask, Found, Horizon, Reading, Slot, State, Window};
use crate::message::Message;

impl Window {
    /// What to read next; empty when there is no room or nothing to read from. Must be answered by [`Window::admit`].
    pub fn plan_read(&mut self) -> Vec<Ask> {
        let shards: Vec<u16> = self.shards.keys().filter(|s| !self.leaving.contains(s)).copied().collect();
        if shards.is_empty() || self.bytes >= self.limits.bytes_max {
            return Vec::new();
        }
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
                let after = feed.cursors.after(*shard);
                asks.push(Ask { feed: number, shard: *shard, after, rows });
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

    /// What the last used read saw, and the seq at or below which nothing new can stand: the next read's bounds.
    pub fn horizon(&self) -> (i64, String) {
        (self.horizon.low(), self.horizon.previous().to_owned())
    }

    /// Takes the rows of the last read, in the order of their seq within each shard.
    pub fn admit(&mut self, asks: &[Ask], reading: Reading, now: Instant) -> Admitted {
        if self.horizon.goes_back(&reading.snapshot) {
            self.horizon = Horizon::default();
            self.read_ended();
            return Admitted::WentBack;
        }
        if self.session.replace(reading.session).is_some_and(|session| session != reading.session) {
            // The database may have come back without its latest commits, and have reissued their ids and seqs: what was seen
            // before says nothing.
            self.horizon = Horizon::default();
            self.rescan();
        }
        let is_usable = !self.read_is_stale && self.horizon.accepts(&reading.snapshot);
        let mut news = 0;
        if is_usable {
            self.note_cut_offs(asks, &reading.rows);
            self.note_left_out(asks);
            for (feed, found) in reading.rows {
                let (shard, seq) = found.place();
                self.horizon.saw(seq);
                let is_step = self.feeds[feed].cursors.passed(shard, seq);
                let is_new = match found {
                    Found::Message(message) => self.admit_one(feed, message),
                    Found::Passed { .. } => false,
                };
                news += usize::from(is_step || is_new);
            }
            self.horizon.used(reading.snapshot, now);
        }
        self.read_ended();
        if is_usable { Admitted::News(news) } else { Admitted::Unusable }
    }

    /// A read that gave as many rows as it may, all of them below its cursor, has left new rows behind: the cursor goes
    /// back to where it stopped.
    fn note_cut_offs(&mut self, asks: &[Ask], rows: &[(usize, Found)]) {
        let mut last: HashMap<(usize, u16), (usize, i64)> = HashMap::new();
        for (feed, found) in rows {
            let (shard, seq) = found.place();
            let (count, at) = last.entry((*feed, shard)).or_default();
            *count += 1;
            *at = seq;
        }
        for ask in asks {
            if let Some((count, seq)) = last.get(&(ask.feed, ask.shard))
                && *count >= ask.rows
                && *seq < ask.after
            {
                self.feeds[ask.feed].cursors.back_to(ask.shard, *seq);
            }
        }
    }

    /// What was not asked for now (closed, full, leaving) may have missed rows that are no longer new to the next read: its
    /// cursors go back to where nothing new can stand.
    fn note_left_out(&mut self, asks: &[Ask]) {
        let low = self.horizon.low();
        let asked: HashSet<(usize, u16)> = asks.iter().map(|a| (a.feed, a.shard)).collect();
        for (number, feed) in self.feeds.iter_mut().enumerate() {
            for shard in self.shards.keys().filter(|s| !asked.contains(&(number, **s))) {
                feed.cursors.back_to(*shard, low);
            }
        }
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
        let known = self.slots.get(&seq).map(|slot| slot.message.id);
        if is_held || known == Some(message.id) || self.settled.contains(&message.id) {
            return false;
        }
        let lane = key.map(|key| self.hasher.hash_one((number, key)));
        let feed = &mut self.feeds[number];
        if known.is_some() {
            // The database lost the message that had this seq, and reissued it: this one's turn comes when that one has left.
            match lane {
                Some(lane) => feed.cursors.overflow(lane, shard, seq),
                None => feed.cursors.rewind_to(shard, seq),
            }
            return false;
        }
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
        self.slots.insert(
            seq,
            Slot { message, feed: number, lane, state: State::Queued, attempts: 0, first_sent_at: None, sent_at: None },
        );
        true
    }

    /// Everything below the cursors, to be looked at again by the safety poll: its rows should all be known.
    pub fn plan_look_back(&self) -> Vec<Ask> {
        let mut asks = Vec::new();
        for (feed, state) in self.feeds.iter().enumerate().filter(|(_, f)| !f.closed) {
            for (shard, after) in state.cursors.iter().filter(|(s, at)| *at > BEGINNING && !self.leaving.contains(s)) {
                let rows = self.shards.get(&shard).copied().unwrap_or(0) + self.limits.read_rows_max;
                asks.push(Ask { feed, shard, after, rows });
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
