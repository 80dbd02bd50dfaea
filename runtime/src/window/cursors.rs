//! How far each feed was read, shard by shard, and what must be read again. Pure.

use std::collections::{BTreeMap, HashMap};

/// Before the first row.
pub const BEGINNING: i64 = i64::MIN;

/// The reading position of one feed.
#[derive(Debug, Default)]
pub struct Cursors {
    after: BTreeMap<u16, i64>,
    rewind: BTreeMap<u16, i64>,
    /// Lanes that did not fit, and where their first missing row is: nothing later of them may be admitted before it.
    full_lanes: HashMap<u64, (u16, i64)>,
}

impl Cursors {
    /// Reads this shard from its beginning, unless it is read already.
    pub fn start(&mut self, shard: u16) {
        self.after.entry(shard).or_insert(BEGINNING);
    }

    /// Forgets a shard.
    pub fn stop(&mut self, shard: u16) {
        self.after.remove(&shard);
        self.rewind.remove(&shard);
        self.full_lanes.retain(|_, (of, _)| *of != shard);
    }

    /// Where reading of this shard goes on.
    pub fn after(&self, shard: u16) -> i64 {
        self.after.get(&shard).copied().unwrap_or(BEGINNING)
    }

    /// All shards with their positions.
    pub fn iter(&self) -> impl Iterator<Item = (u16, i64)> {
        self.after.iter().map(|(s, a)| (*s, *a))
    }

    /// A row of this shard was read. Returns true if that is a step forward.
    pub fn passed(&mut self, shard: u16, seq: i64) -> bool {
        let Some(after) = self.after.get_mut(&shard).filter(|after| **after < seq) else { return false };
        *after = seq;
        true
    }

    /// The last read was cut off below the cursor: it goes on from here.
    pub fn back_to(&mut self, shard: u16, seq: i64) {
        if let Some(after) = self.after.get_mut(&shard) {
            *after = (*after).min(seq);
        }
    }

    /// This row must be read again.
    pub fn rewind_to(&mut self, shard: u16, seq: i64) {
        let from = self.rewind.entry(shard).or_insert(seq);
        *from = (*from).min(seq);
    }

    /// True when the row will be read again in any case.
    pub fn rereads(&self, shard: u16, seq: i64) -> bool {
        self.rewind.get(&shard).is_some_and(|from| *from <= seq)
    }

    /// A row of this lane did not fit.
    pub fn overflow(&mut self, lane: u64, shard: u16, seq: i64) {
        let (_, from) = self.full_lanes.entry(lane).or_insert((shard, seq));
        *from = (*from).min(seq);
    }

    /// True when an earlier row of this lane did not fit.
    pub fn is_full(&self, lane: u64) -> bool {
        self.full_lanes.contains_key(&lane)
    }

    /// Moves the positions back to what must be read again; lanes that have room again are among that.
    pub fn apply_rewinds(&mut self, has_room: impl Fn(u64) -> bool) {
        let Self { after, rewind, full_lanes } = self;
        full_lanes.retain(|lane, (shard, seq)| {
            let keep = !has_room(*lane);
            if !keep {
                let from = rewind.entry(*shard).or_insert(*seq);
                *from = (*from).min(*seq);
            }
            keep
        });
        for (shard, seq) in std::mem::take(rewind) {
            if let Some(position) = after.get_mut(&shard) {
                *position = (*position).min(seq - 1);
            }
        }
    }

    /// Reads everything again.
    pub fn restart(&mut self) {
        self.after.values_mut().for_each(|a| *a = BEGINNING);
        self.rewind.clear();
        self.full_lanes.clear();
    }
}
