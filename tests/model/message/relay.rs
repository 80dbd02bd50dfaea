//! What a runtime does: `window` and `relay`, one shard, one feed.

use std::collections::BTreeMap;

use super::broker::Publish;
use super::{Action, Message, Mistake, Stage, State};

/// What one runtime has in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Everything up to this seq was read.
    cursor: u8,
    /// The transactions that the last used snapshot saw.
    seen: Vec<u8>,
    /// The session in which that was.
    session: u8,
    /// The window, by seq.
    slots: BTreeMap<u8, Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Slot {
    id: usize,
    generation: u8,
    has_flown: bool,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Queued,
    InFlight,
    /// The broker says duplicate, at this place.
    Looking(usize),
    /// The mark waits; whether the broker really had it, as only the model knows.
    Stored {
        was_held: bool,
    },
}

impl Worker {
    /// Of a lane only the first flies, and one that has flown is the first.
    fn is_first(&self, keys: &[char], seq: u8) -> bool {
        let slot = self.slots[&seq];
        let is_rival = |(other_seq, other): &(&u8, &Slot)| {
            let same_lane = keys[other.id] == keys[slot.id] && !matches!(other.at, At::Stored { .. });
            same_lane && **other_seq != seq && (other.has_flown || **other_seq < seq && !slot.has_flown)
        };
        !self.slots.iter().any(|other| is_rival(&other))
    }
}

impl Message {
    fn may_work(&self, state: &State, worker: usize) -> bool {
        state.owner == worker || self.is(Mistake::SkipLocked)
    }

    pub(super) fn worker_steps(&self, state: &State, worker: usize, actions: &mut Vec<Action>) {
        if !self.may_work(state, worker) {
            return;
        }
        actions.extend([Action::Read(worker), Action::LookBack(worker)]);
        let mind = &state.workers[worker];
        for (seq, slot) in &mind.slots {
            match slot.at {
                At::Queued if mind.is_first(self.keys, *seq) => actions.push(Action::Publish(worker, *seq)),
                At::InFlight if !is_under_way(state, worker, *seq) => actions.push(Action::Retry(worker, *seq)),
                At::Looking(_) => actions.push(Action::Look(worker, *seq)),
                At::Stored { .. } => actions.push(Action::Mark(worker, *seq)),
                At::Queued | At::InFlight => {}
            }
        }
    }

    /// Publishes that are given up while they are still on their way.
    pub(super) fn hasty_retries(&self, state: &State, actions: &mut Vec<Action>) {
        for (worker, mind) in state.workers.iter().enumerate() {
            let flying = mind.slots.iter().filter(|(_, slot)| slot.at == At::InFlight);
            let hasty = flying.filter(|(seq, _)| is_under_way(state, worker, **seq));
            actions.extend(hasty.map(|(seq, _)| Action::Retry(worker, *seq)));
        }
    }

    pub(super) fn read(&self, state: &mut State, worker: usize) {
        let others = state.workers[1 - worker].slots.clone();
        let mind = &mut state.workers[worker];
        if mind.session != state.session && !self.is(Mistake::HorizonOutlivesFailover) {
            // Nothing that was seen before counts: everything is read again.
            (mind.session, mind.cursor) = (state.session, 0);
            mind.seen.clear();
            return;
        }
        let mut rows: Vec<(u8, usize)> = (0..state.rows.len())
            .filter(|id| state.rows[*id].stage == Stage::Ready)
            .map(|id| (state.rows[id].seq, id))
            .filter(|(seq, _)| *seq > mind.cursor || !mind.seen.contains(seq) && !self.is(Mistake::CursorAlone))
            .filter(|(seq, _)| !self.is(Mistake::SkipLocked) || !others.contains_key(seq))
            .collect();
        rows.sort_unstable();
        if self.is(Mistake::SkipLocked) {
            rows.truncate(1);
        }
        let mut left_out: Vec<(u8, char)> = Vec::new();
        for (seq, id) in rows {
            mind.cursor = mind.cursor.max(seq);
            let key = self.keys[id];
            let is_taken = mind.slots.get(&seq).is_some_and(|slot| slot.id != id) && !self.is(Mistake::RowBySeq);
            if is_taken || left_out.iter().any(|(_, lane)| *lane == key) {
                // Another message had this seq and is still here: its lane takes nothing later before this one.
                left_out.push((seq, key));
                continue;
            }
            let generation = state.rows[id].generation;
            mind.slots.entry(seq).or_insert(Slot { id, generation, has_flown: false, at: At::Queued });
        }
        if let Some((seq, _)) = left_out.first() {
            mind.cursor = mind.cursor.min(seq - 1);
        }
        let is_visible = |stage: Stage| matches!(stage, Stage::Ready | Stage::Sent { .. });
        mind.seen = state.rows.iter().filter(|row| is_visible(row.stage)).map(|row| row.seq).collect();
        mind.seen.sort_unstable();
    }

    pub(super) fn look_back(&self, state: &mut State, worker: usize) {
        let mind = &mut state.workers[worker];
        let ready = state.rows.iter().filter(|row| row.stage == Stage::Ready && row.seq <= mind.cursor);
        let unknown = ready.map(|row| row.seq).filter(|seq| !mind.slots.contains_key(seq)).min();
        if let Some(seq) = unknown {
            mind.cursor = seq - 1;
        }
    }

    pub(super) fn publish(&self, state: &mut State, worker: usize, seq: u8) {
        if let Some(slot) = state.workers[worker].slots.get_mut(&seq) {
            (slot.at, slot.has_flown) = (At::InFlight, true);
            state.broker.publish(Publish { worker, seq, id: slot.id, generation: slot.generation });
        }
    }

    pub(super) fn take(&self, state: &mut State, n: usize) {
        let puback = state.broker.pubacks.remove(n);
        let Publish { worker, seq, id, generation } = puback.publish;
        let was_held = state.broker.holds(puback.place, id, generation) || !puback.duplicate;
        let by_seq = self.is(Mistake::PubAckBySeq);
        let Some(slot) = state.workers[worker].slots.get_mut(&seq) else { return };
        let is_waiting = matches!(slot.at, At::Queued | At::InFlight);
        if is_waiting && slot.generation == generation && (slot.id == id || by_seq) {
            let looks = puback.duplicate && !self.is(Mistake::DuplicateIsPossession);
            slot.at =
                if looks { At::Looking(puback.place) } else { At::Stored { was_held: was_held && slot.id == id } };
        }
    }

    pub(super) fn retry(&self, state: &mut State, worker: usize, seq: u8) {
        if is_under_way(state, worker, seq) {
            state.faults.hastes -= 1;
        }
        if let Some(slot) = state.workers[worker].slots.get_mut(&seq) {
            slot.at = At::Queued;
        }
    }

    pub(super) fn look(&self, state: &mut State, worker: usize, seq: u8) {
        let Some(slot) = state.workers[worker].slots.get_mut(&seq) else { return };
        let At::Looking(place) = slot.at else { return };
        if state.broker.holds(place, slot.id, slot.generation) {
            slot.at = At::Stored { was_held: true };
            return;
        }
        let row = &mut state.rows[slot.id];
        if (row.stage, row.seq, row.generation) == (Stage::Ready, seq, slot.generation) {
            row.generation += 1;
            (slot.generation, slot.at) = (row.generation, At::Queued);
        } else {
            state.workers[worker].slots.remove(&seq);
        }
    }

    pub(super) fn mark(&self, state: &mut State, worker: usize, seq: u8) {
        let Some(slot) = state.workers[worker].slots.remove(&seq) else { return };
        let At::Stored { was_held } = slot.at else { return };
        let by_seq = self.is(Mistake::MarkBySeq);
        let is_it = |id: &usize| state.rows[*id].seq == seq && state.rows[*id].stage == Stage::Ready;
        let found = (0..state.rows.len()).filter(is_it).find(|id| by_seq || *id == slot.id);
        if let Some(id) = found {
            state.rows[id].stage = Stage::Sent { was_held: was_held && id == slot.id };
        }
    }
}

/// A publish of it or an answer to one is still on its way.
fn is_under_way(state: &State, worker: usize, seq: u8) -> bool {
    let slot = state.workers[worker].slots[&seq];
    let is_it = |p: &Publish| (p.worker, p.seq, p.id, p.generation) == (worker, seq, slot.id, slot.generation);
    state.broker.publishes.iter().any(is_it) || state.broker.pubacks.iter().any(|ack| is_it(&ack.publish))
}
