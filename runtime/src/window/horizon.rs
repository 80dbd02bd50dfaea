//! Which rows below the cursors can still appear: those of transactions that were running. Pure.
//!
//! A row's transaction takes its id before it takes a seq (the first two columns of the outbox see to that). So once a
//! snapshot has been read in which V was the highest seq, while X was the next transaction id to be given out, rows of
//! transactions from X on stand above V; and when no transaction below X is running, nothing at or below V can appear any
//! more. (X is not the snapshot's xmax, which is only one past the last transaction that has *ended*.) A transaction that runs
//! for long would keep that bound low and make every read scan what was sent meanwhile: it is assumed to go on, and a read
//! whose snapshot shows that it has ended is not used, but done again from where its rows may stand.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::cursors::BEGINNING;

/// Postgres's `pg_snapshot`: `xmin:xmax:xip,xip,…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    text: String,
    xmax: u64,
    next: u64,
    running: Vec<u64>,
}

/// Not a `pg_snapshot`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no pg_snapshot")]
pub struct Unreadable(String);

impl Snapshot {
    /// Reads Postgres's text. `ahead` is how far the next transaction id is beyond xmax.
    pub fn parse(text: &str, ahead: u32) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable(text.to_owned());
        let mut parts = text.split(':');
        let (Some(_), Some(xmax), Some(list)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(unreadable());
        };
        let number = |t: &str| t.parse::<u64>().map_err(|_| unreadable());
        let running = list.split(',').filter(|t| !t.is_empty()).map(number).collect::<Result<_, _>>()?;
        let xmax = number(xmax)?;
        Ok(Self { text: text.to_owned(), xmax, next: xmax.saturating_add(u64::from(ahead)), running })
    }

    /// The transactions that were running.
    #[cfg(test)]
    pub fn running(&self) -> &[u64] {
        &self.running
    }

    /// One past the last transaction that had ended.
    #[cfg(test)]
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    fn is_running(&self, xid: u64) -> bool {
        xid >= self.xmax || self.running.contains(&xid)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Horizon {
    previous: String,
    /// The next transaction id, as of that.
    next: u64,
    max_seq: i64,
    low: i64,
    /// (next transaction id, highest seq) of snapshots, oldest first.
    marks: VecDeque<(u64, i64)>,
    first_seen: HashMap<u64, Instant>,
    /// Transactions that are assumed to go on, and above which seq their rows stand.
    long: BTreeMap<u64, i64>,
    /// A long transaction has ended: the next read begins here.
    missed: Option<i64>,
}

/// From this age on a transaction is assumed to go on. A read scans what was sent during the oldest younger one.
const LONG: Duration = Duration::from_millis(250);
/// Marks in memory; beyond that, every other one is dropped.
const MARKS_MAX: usize = 64;
/// A snapshot in which nothing is visible: every row is new.
const NOTHING: &str = "1:1:";

impl Default for Horizon {
    fn default() -> Self {
        Self {
            previous: NOTHING.to_owned(),
            next: 0,
            max_seq: BEGINNING,
            low: BEGINNING,
            marks: VecDeque::new(),
            first_seen: HashMap::new(),
            long: BTreeMap::new(),
            missed: None,
        }
    }
}

impl Horizon {
    /// The snapshot of the last read that was used: what it did not see is new.
    pub fn previous(&self) -> &str {
        &self.previous
    }

    /// Nothing can appear at or below this seq, but of transactions that are assumed to go on.
    pub fn low(&self) -> i64 {
        self.low.min(self.missed.unwrap_or(i64::MAX))
    }

    /// A row with this seq exists.
    pub fn saw(&mut self, seq: i64) {
        self.max_seq = self.max_seq.max(seq);
    }

    /// True if transaction ids are given a second time: the database was restored to an earlier state, or crashed without having
    /// synced. What is remembered of it is not true any more.
    pub fn goes_back(&self, snapshot: &Snapshot) -> bool {
        snapshot.next < self.next
    }

    /// Takes the snapshot of a read. False if a transaction ended that was assumed to go on: the read may lack its rows.
    pub fn accepts(&mut self, snapshot: &Snapshot) -> bool {
        let ended: Vec<u64> = self.long.keys().filter(|xid| !snapshot.is_running(**xid)).copied().collect();
        for xid in &ended {
            if let Some(low) = self.long.remove(xid) {
                self.missed = Some(self.missed.map_or(low, |m| m.min(low)));
            }
        }
        ended.is_empty()
    }

    /// The read was used, and its rows were seen.
    pub fn used(&mut self, snapshot: Snapshot, now: Instant) {
        self.missed = None;
        self.marks.push_back((snapshot.next, self.max_seq));
        self.first_seen.retain(|xid, _| snapshot.running.contains(xid));
        for xid in &snapshot.running {
            let since = *self.first_seen.entry(*xid).or_insert(now);
            if now.duration_since(since) >= LONG && !self.long.contains_key(xid) {
                self.long.insert(*xid, self.above(*xid));
            }
        }
        let oldest = snapshot.running.iter().filter(|xid| !self.long.contains_key(xid)).min();
        let oldest = oldest.copied().unwrap_or(snapshot.xmax);
        self.low = self.above(oldest);
        // A mark is of use as long as a transaction may be found that is older than the next one.
        while self.marks.get(1).is_some_and(|(next, _)| *next <= oldest) {
            self.marks.pop_front();
        }
        if self.marks.len() > MARKS_MAX {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.next = snapshot.next;
        self.previous = snapshot.text;
    }

    /// Rows of this transaction, and of later ones, stand above this seq.
    fn above(&self, xid: u64) -> i64 {
        self.marks.iter().rev().find(|(next, _)| *next <= xid).map_or(BEGINNING, |(_, seq)| *seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(horizon: &mut Horizon, text: &str, seq: i64, now: Instant) -> bool {
        let snapshot = Snapshot::parse(text, 0).expect("is a snapshot");
        if !horizon.accepts(&snapshot) {
            return false;
        }
        horizon.saw(seq);
        horizon.used(snapshot, now);
        true
    }

    #[test]
    fn rows_of_running_transactions_stay_above_the_low_mark() {
        let now = Instant::now();
        let mut horizon = Horizon::default();
        assert_eq!(horizon.low(), BEGINNING);
        assert!(read(&mut horizon, "10:12:10", 100, now));
        assert_eq!(horizon.low(), BEGINNING, "10 may have any seq");
        assert!(read(&mut horizon, "12:15:", 150, now));
        assert_eq!(horizon.low(), 150, "nothing is running");
        assert!(read(&mut horizon, "15:20:15,17", 300, now));
        assert_eq!(horizon.low(), 150, "15 began after 150 was seen");
        assert!(read(&mut horizon, "17:25:17", 400, now));
        assert_eq!(horizon.low(), 150);
        assert!(read(&mut horizon, "25:25:", 400, now));
        assert_eq!(horizon.low(), 400);
    }

    #[test]
    fn transaction_beyond_xmax_may_be_running_already() {
        let now = Instant::now();
        let mut horizon = Horizon::default();
        let started_not_ended = Snapshot::parse("10:10:", 3).expect("is a snapshot");
        horizon.saw(100);
        horizon.used(started_not_ended, now);
        assert_eq!(horizon.low(), BEGINNING, "10, 11 and 12 may hold seqs below 100");
        assert!(read(&mut horizon, "13:13:", 100, now));
        assert_eq!(horizon.low(), 100);
    }

    #[test]
    fn long_transaction_is_assumed_to_go_on_and_its_end_is_noticed_before_anything_is_used() {
        let now = Instant::now();
        let later = now + LONG;
        let mut horizon = Horizon::default();
        assert!(read(&mut horizon, "10:10:", 100, now));
        assert!(read(&mut horizon, "10:20:10", 200, now));
        assert_eq!(horizon.low(), 100);
        assert!(read(&mut horizon, "10:30:10", 300, later));
        assert_eq!(horizon.low(), 300, "10 no longer holds the mark down");
        assert!(read(&mut horizon, "10:40:10", 400, later));
        assert!(!read(&mut horizon, "45:45:", 500, later), "10 has ended");
        assert_eq!(horizon.low(), 100, "its rows stand above 100");
        assert_eq!(horizon.previous(), "10:40:10", "they are new to the last used snapshot");
        assert!(read(&mut horizon, "50:50:", 500, later));
        assert_eq!(horizon.low(), 500);
    }

    #[test]
    fn marks_are_bounded() {
        let now = Instant::now();
        let mut horizon = Horizon::default();
        for n in 0..1000 {
            assert!(read(&mut horizon, &format!("5:{}:5", 10 + n), n64(n), now));
        }
        assert!(horizon.marks.len() <= MARKS_MAX + 1);
    }

    fn n64(n: u32) -> i64 {
        i64::from(n)
    }

    #[test]
    fn what_is_no_snapshot_is_an_error() {
        assert!(["1:2", "1:x:", "", "1:2:x"].iter().all(|text| Snapshot::parse(text, 0).is_err()));
    }
}
