//! Whatever the database, the broker and operators do: of a lane one flies, in order, and no row is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;
use crate::message::Payload;

const LIMITS: Limits = Limits { rows_max: 24, bytes_max: 1 << 20, lane_rows_max: 3, read_rows_max: 4 };
const SHARDS: u8 = 2;
/// The key whose messages have a feed and a stream of their own.
const OWN_FEED: u8 = 3;
/// Rounds in which all that is left must come out.
const ROUNDS: usize = 2_000;

#[derive(Clone, Debug)]
enum Event {
    /// A row of this key, in its key's transaction, in another running one, or in a new one.
    Insert {
        key: u8,
        transaction: u8,
    },
    /// A transaction ends.
    End {
        which: u8,
        commits: bool,
    },
    PlanRead,
    /// The read under way comes back, or fails.
    Read {
        works: bool,
    },
    LookBack,
    Send {
        feed: usize,
    },
    /// The broker answers one of those that fly, or its answer is lost.
    Answer {
        which: u8,
        arrives: bool,
    },
    /// What flies for long is sent again.
    TimeOut,
    TakeMarks {
        works: bool,
    },
    CloseStream {
        stream: usize,
    },
    OpenStream {
        stream: usize,
    },
    Hold {
        keys: u8,
    },
    /// Shards that are owned, one bit each.
    Own {
        shards: u8,
    },
    Wait {
        ms: u16,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4_u8, 0..4_u8).prop_map(|(key, transaction)| Event::Insert { key, transaction }),
        4 => (0..8_u8, proptest::bool::weighted(0.8)).prop_map(|(which, commits)| Event::End { which, commits }),
        5 => Just(Event::PlanRead),
        5 => proptest::bool::weighted(0.9).prop_map(|works| Event::Read { works }),
        1 => Just(Event::LookBack),
        8 => (0..2_usize).prop_map(|feed| Event::Send { feed }),
        6 => (0..8_u8, proptest::bool::weighted(0.9)).prop_map(|(which, arrives)| Event::Answer { which, arrives }),
        1 => Just(Event::TimeOut),
        4 => proptest::bool::weighted(0.9).prop_map(|works| Event::TakeMarks { works }),
        1 => (0..2_usize).prop_map(|stream| Event::CloseStream { stream }),
        2 => (0..2_usize).prop_map(|stream| Event::OpenStream { stream }),
        1 => (0..16_u8).prop_map(|keys| Event::Hold { keys }),
        1 => (0..4_u8).prop_map(|shards| Event::Own { shards }),
        2 => (0..400_u16).prop_map(|ms| Event::Wait { ms }),
    ]
}

#[derive(Debug)]
struct Row {
    key: u8,
    xid: u64,
    is_sent: bool,
}

/// The world around a window, and the window.
struct Play {
    window: Window,
    now: Instant,
    rows: BTreeMap<i64, Row>,
    running: BTreeSet<u64>,
    next_xid: u64,
    ended_max: u64,
    next_seq: i64,
    /// A key is its transaction's until that ends: producers take turns on it.
    locked: BTreeMap<u8, u64>,
    pending: Option<(Vec<Ask>, Reading)>,
    /// What the window waits for.
    flying: BTreeSet<i64>,
    stored: BTreeSet<i64>,
}

fn id_of(seq: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(seq).expect("seqs are positive"))
}

fn shards(bits: u8) -> BTreeSet<u16> {
    (0..SHARDS).filter(|n| bits & (1 << n) != 0).map(u16::from).collect()
}

impl Play {
    fn new() -> Self {
        let feed = |topic: Option<&str>, stream| Feed { topic: topic.map(str::to_owned), stream, rate_per_s: None };
        let mut window = Window::new(LIMITS, &[feed(None, 0), feed(Some(topic_of(OWN_FEED)), 1)]);
        window.own(&shards(3), &BTreeSet::new());
        Self {
            window,
            now: Instant::now(),
            rows: BTreeMap::new(),
            running: BTreeSet::new(),
            next_xid: 10,
            ended_max: 9,
            next_seq: 1,
            locked: BTreeMap::new(),
            pending: None,
            flying: BTreeSet::new(),
            stored: BTreeSet::new(),
        }
    }

    fn is_ready(&self, row: &Row) -> bool {
        !row.is_sent && !self.running.contains(&row.xid)
    }

    fn insert(&mut self, key: u8, transaction: u8) {
        let other = self.running.iter().nth(usize::from(transaction)).copied();
        let xid = self.locked.get(&key).copied().or(other).unwrap_or_else(|| {
            self.next_xid += 1;
            self.next_xid - 1
        });
        self.running.insert(xid);
        self.locked.insert(key, xid);
        self.rows.insert(self.next_seq, Row { key, xid, is_sent: false });
        self.next_seq += 1;
    }

    fn end(&mut self, which: u8, commits: bool) {
        let Some(xid) = self.running.iter().nth(usize::from(which)).copied() else { return };
        self.running.remove(&xid);
        self.ended_max = self.ended_max.max(xid);
        self.locked.retain(|_, by| *by != xid);
        if !commits {
            self.rows.retain(|_, row| row.xid != xid);
        }
    }

    /// As Postgres makes it: xmax is one past the last transaction that has ended, whatever runs beyond it.
    fn snapshot(&self) -> Snapshot {
        let xmax = self.ended_max + 1;
        let list: Vec<String> = self.running.iter().filter(|xid| **xid < xmax).map(u64::to_string).collect();
        let ahead = u32::try_from(self.next_xid - xmax).expect("is small");
        Snapshot::parse(&format!("1:{xmax}:{}", list.join(",")), ahead).expect("is a snapshot")
    }

    /// read_ready.sql.
    fn read(&self, asks: &[Ask]) -> Reading {
        let (low, previous) = self.window.horizon();
        let previous = Snapshot::parse(&previous, 0).expect("is a snapshot");
        let is_new = |xid: u64| xid >= previous.xmax() || previous.running().contains(&xid);
        let mut rows = Vec::new();
        for ask in asks {
            let wanted = self.rows.iter().filter(|(seq, row)| {
                let is_here = u16::from(row.key % SHARDS) == ask.shard && self.is_ready(row);
                is_here && **seq > low.min(ask.after) && (**seq > ask.after || is_new(row.xid))
            });
            rows.extend(wanted.take(ask.rows).map(|(seq, row)| (ask.feed, found(ask.feed, *seq, row.key))));
        }
        Reading { session: 1, snapshot: self.snapshot(), next_due: None, rows }
    }

    /// look_back.sql.
    fn look_back(&mut self) {
        let mut found = Vec::new();
        for ask in self.window.plan_look_back() {
            let below = self.rows.iter().filter(|(seq, row)| {
                u16::from(row.key % SHARDS) == ask.shard
                    && self.is_ready(row)
                    && **seq <= ask.after
                    && feed_of(row.key) == ask.feed
            });
            found.extend(below.take(ask.rows).map(|(seq, _)| (ask.feed, ask.shard, *seq)));
        }
        self.window.looked_back(&found);
    }

    fn send(&mut self, feed: usize) -> Result<(), TestCaseError> {
        let Some(seq) = self.window.next_sendable(feed) else { return Ok(()) };
        let key = self.rows[&seq].key;
        let rival = self.flying.iter().find(|other| self.rows.get(other).is_some_and(|row| row.key == key));
        prop_assert!(rival.is_none(), "{seq} flies beside {rival:?} of its key");
        for (earlier, row) in self.rows.range(..seq).filter(|(_, row)| row.key == key) {
            let is_over = row.is_sent || self.stored.contains(earlier);
            prop_assert!(is_over, "{seq} overtakes {earlier}");
        }
        self.window.sent(seq, self.now);
        self.flying.insert(seq);
        Ok(())
    }

    fn answer(&mut self, which: u8, arrives: bool) {
        let Some(seq) = self.flying.iter().nth(usize::from(which)).copied() else { return };
        self.stored.insert(seq);
        if arrives && self.window.stored(seq, 1, seq) {
            self.flying.remove(&seq);
        }
    }

    fn mark(&mut self, works: bool) {
        let marks = self.window.take_marks(3);
        if !works {
            self.window.return_marks(marks);
            return;
        }
        for mark in marks {
            self.rows.get_mut(&mark.seq).expect("it was read").is_sent = true;
            self.window.settled([(mark.seq, mark.id)]);
        }
    }

    fn own(&mut self, owned: u8) {
        let owned = shards(owned);
        self.window.own(&owned, &BTreeSet::new());
        // What is not owned any more is not waited for.
        self.flying.retain(|seq| self.rows.get(seq).is_some_and(|row| owned.contains(&u16::from(row.key % SHARDS))));
    }

    fn hold(&mut self, keys: u8) {
        let keys = (0..4).filter(|n| keys & (1 << n) != 0).map(|n| n.to_string()).collect();
        self.window.hold(Holds { keys, ..Holds::default() });
    }

    fn time_out(&mut self) {
        for seq in self.window.overdue(self.now) {
            self.window.retry(seq);
            self.flying.remove(&seq);
        }
    }

    fn plan_read(&mut self) {
        if self.pending.is_none() {
            let asks = self.window.plan_read();
            if !asks.is_empty() {
                let reading = self.read(&asks);
                self.pending = Some((asks, reading));
            }
        }
    }

    fn end_read(&mut self, works: bool) {
        match self.pending.take() {
            Some((asks, reading)) if works => drop(self.window.admit(&asks, reading, self.now)),
            Some(_) => self.window.read_ended(),
            None => {}
        }
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match *event {
            Event::Insert { key, transaction } => self.insert(key, transaction),
            Event::End { which, commits } => self.end(which, commits),
            Event::PlanRead => self.plan_read(),
            Event::Read { works } => self.end_read(works),
            Event::LookBack => self.look_back(),
            Event::Send { feed } => self.send(feed)?,
            Event::Answer { which, arrives } => self.answer(which, arrives),
            Event::TimeOut => self.time_out(),
            Event::TakeMarks { works } => self.mark(works),
            Event::CloseStream { stream } => self.window.close_stream(stream),
            Event::OpenStream { stream } => self.window.open_stream(stream),
            Event::Hold { keys } => self.hold(keys),
            Event::Own { shards } => self.own(shards),
            Event::Wait { ms } => self.now += Duration::from_millis(u64::from(ms)),
        }
        prop_assert_eq!(self.window.in_flight(), self.flying.len());
        prop_assert!(self.window.len() <= LIMITS.rows_max + LIMITS.read_rows_max * usize::from(SHARDS));
        Ok(())
    }

    /// Everybody does what is to be done: what is committed comes out, without the safety poll's looking back.
    fn drain(&mut self) -> Result<(), TestCaseError> {
        while !self.running.is_empty() {
            self.end(0, true);
        }
        (0..2).for_each(|stream| self.window.open_stream(stream));
        self.own(3);
        self.hold(0);
        for _ in 0..ROUNDS {
            if self.rows.values().all(|row| row.is_sent) {
                prop_assert!(self.window.is_empty() && self.window.busy_shards().is_empty());
                return Ok(());
            }
            let looks = [Event::PlanRead, Event::Read { works: true }, Event::Wait { ms: 300 }];
            let sends = [Event::Send { feed: 0 }, Event::Send { feed: 1 }];
            let ends = [Event::Answer { which: 0, arrives: true }, Event::TakeMarks { works: true }];
            for event in looks.iter().chain(&sends).chain(&ends) {
                self.happen(event)?;
            }
        }
        let left: Vec<_> = self.rows.iter().filter(|(_, row)| !row.is_sent).collect();
        Err(TestCaseError::fail(format!("forgotten: {left:?}")))
    }
}

fn topic_of(key: u8) -> &'static str {
    if key == OWN_FEED { "limited" } else { "plain" }
}

fn feed_of(key: u8) -> usize {
    usize::from(key == OWN_FEED)
}

/// What a feed sees of a row.
fn found(feed: usize, seq: i64, key: u8) -> Found {
    match feed == feed_of(key) {
        true => Found::Message(message(seq, key)),
        false => Found::Passed { shard: u16::from(key % SHARDS), seq },
    }
}

fn message(seq: i64, key: u8) -> Message {
    Message {
        shard: u16::from(key % SHARDS),
        seq,
        id: id_of(seq),
        generation: 0,
        created_at: OffsetDateTime::UNIX_EPOCH,
        topic: topic_of(key).into(),
        key: Some(key.to_string().into()),
        payload: Payload::Here(Bytes::from_static(b"x")),
        headers: None,
    }
}

proptest! {
    // A case takes less than a millisecond, and what goes wrong takes several things in a row.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 16, ..ProptestConfig::default() })]

    #[test]
    fn of_a_lane_one_flies_in_order_and_no_row_is_forgotten(
        events in proptest::collection::vec(event(), 1..300),
        looks_back: bool,
    ) {
        let mut play = Play::new();
        for event in events.iter().filter(|event| looks_back || !matches!(event, Event::LookBack)) {
            play.happen(event)?;
        }
        play.drain()?;
    }

    #[test]
    fn any_text_is_a_snapshot_or_an_error(text in "(?s).{0,40}|[0-9]{0,20}:[1-9][0-9]{0,20}:[0-9,]{0,40}", ahead: u32) {
        if let Ok(snapshot) = Snapshot::parse(&text, ahead) {
            prop_assert!(text.matches(':').count() >= 2 && text.contains(&snapshot.xmax().to_string()));
        }
    }
}
