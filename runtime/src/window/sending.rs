//! What may be sent, what became of it, and how it leaves the window. Pure.

use std::time::Instant;

use bytes::Bytes;
use uuid::Uuid;

use super::{Mark, Slot, State, Window};
use crate::message::Payload;

impl Window {
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
            slot.first_sent_at.get_or_insert(now);
            slot.sent_at = Some(now);
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
        self.marks.push(Mark { shard: slot.message.shard, seq, id: slot.message.id, stream, stream_seq });
        let lane = slot.lane.take();
        self.advance(lane, seq);
        true
    }

    /// The try ended without a PubAck: the message keeps its key and goes to the head of the queue. Returns false if it was not on
    /// its way.
    pub fn retry(&mut self, seq: i64) -> bool {
        let Some(slot) = self.slots.get_mut(&seq).filter(|s| s.state == State::InFlight) else { return false };
        slot.state = State::Queued;
        self.in_flight -= 1;
        self.feeds[slot.feed].sendable.push_front(seq);
        true
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
        marks.retain(|m| self.has(m.seq, m.id));
        marks.append(&mut self.marks);
        self.marks = marks;
    }

    /// The database knows: the messages leave the window.
    pub fn settled(&mut self, messages: impl IntoIterator<Item = (i64, Uuid)>) {
        for (seq, id) in messages {
            if self.reading {
                self.settled.insert(id);
            }
            if self.has(seq, id)
                && let Some(slot) = self.remove(seq)
            {
                self.advance(slot.lane, seq);
            }
        }
    }

    /// Takes a message out of its lane, and lets the next one go if it was the first.
    pub(super) fn advance(&mut self, lane: Option<u64>, seq: i64) {
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

    pub(super) fn remove(&mut self, seq: i64) -> Option<Slot> {
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
    pub(super) fn forget(&mut self, which: impl Fn(&Slot) -> bool) {
        let seqs: Vec<i64> = self.slots.iter().filter(|(_, s)| which(s)).map(|(seq, _)| *seq).collect();
        // A read under way may bring later rows of their keys, before they are read again.
        self.read_is_stale |= !seqs.is_empty();
        for seq in seqs {
            if let Some(slot) = self.remove(seq) {
                self.feeds[slot.feed].cursors.rewind_to(slot.message.shard, seq);
                self.advance(slot.lane, seq);
            }
        }
    }
}
