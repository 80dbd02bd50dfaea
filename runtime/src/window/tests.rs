//! The window's rules, and a random play in which every row must come out once, in the order of its key.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

use super::cursors::BEGINNING;
use super::*;
use crate::message::Payload;

const LIMITS: Limits = Limits { rows_max: 64, bytes_max: 1 << 20, lane_rows_max: 4, read_rows_max: 8 };

fn feeds() -> Vec<Feed> {
    vec![Feed { topic: None, stream: 0, rate_per_s: None }]
}

fn message(seq: i64, key: &str) -> Message {
    Message {
        shard: 0,
        seq,
        id: id_of(seq),
        generation: 0,
        created_at: OffsetDateTime::UNIX_EPOCH,
        topic: "t".into(),
        key: Some(key.into()),
        payload: Payload::Here(Bytes::from_static(b"x")),
        headers: None,
    }
}

/// The first message of a seq.
fn id_of(seq: i64) -> Uuid {
    Uuid::from_u128(u128::try_from(seq).expect("seqs are positive"))
}

fn window() -> Window {
    let mut window = Window::new(LIMITS, &feeds());
    window.own(&BTreeSet::from([0]), &BTreeSet::new());
    window
}

fn reading(rows: Vec<Message>) -> Reading {
    let rows = rows.into_iter().map(|m| (0, Found::Message(m))).collect();
    Reading { session: 1, snapshot: Snapshot::parse("9:9:", 0).expect("is a snapshot"), next_due: None, rows }
}

fn read(window: &mut Window, rows: Vec<Message>) -> Admitted {
    let asks = window.plan_read();
    window.admit(&asks, reading(rows), Instant::now())
}

#[test]
fn only_one_message_of_a_key_is_in_flight() {
    let (mut window, now) = (window(), Instant::now());
    read(&mut window, vec![message(1, "a"), message(2, "a"), message(3, "b")]);
    assert_eq!((window.next_sendable(0), window.next_sendable(0)), (Some(1), Some(3)));
    window.sent(1, now);
    window.sent(3, now);
    assert_eq!(window.next_sendable(0), None);
    assert!(window.stored(1, 1, 1));
    assert_eq!(window.next_sendable(0), Some(2));
    assert!(!window.stored(1, 1, 1), "a second PubAck");
}

#[test]
fn retried_message_keeps_its_key() {
    let (mut window, now) = (window(), Instant::now());
    read(&mut window, vec![message(1, "a"), message(2, "a")]);
    let first = window.next_sendable(0).expect("1 waits");
    window.sent(first, now);
    assert_eq!(window.overdue(now + Duration::from_secs(1)), [1]);
    window.retry(1);
    assert_eq!(window.next_sendable(0), Some(1));
}

#[test]
fn read_under_way_while_rows_are_left_to_the_database_is_not_used() {
    let mut window = window();
    read(&mut window, vec![message(1, "a")]);
    let asks = window.plan_read();
    window.close_stream(0);
    window.open_stream(0);
    // It holds a later row of the key, and not the one that was left behind.
    assert_eq!(window.admit(&asks, reading(vec![message(2, "a")]), Instant::now()), Admitted::Unusable);
    assert!(window.is_empty());
    assert_eq!(window.plan_read()[0].after, 0, "and 1 is read again");
}

#[test]
fn read_cut_off_below_its_cursor_goes_on_from_there() {
    let mut window = window();
    read(&mut window, vec![message(100, "a")]);
    let late: Vec<Message> = (1..=8).map(|n| message(n, &n.to_string())).collect();
    read(&mut window, late);
    assert_eq!(window.plan_read()[0].after, 8);
}

/// A sequence goes back when a crash or a failover loses the latest commits.
#[test]
fn message_with_the_seq_of_a_lost_one_waits_until_that_one_has_left_and_its_key_with_it() {
    let (mut window, now) = (window(), Instant::now());
    read(&mut window, vec![message(1, "a")]);
    window.sent(1, now);
    let reissued = || Message { id: Uuid::from_u128(100), ..message(1, "a") };
    read(&mut window, vec![reissued(), message(2, "a")]);
    assert!(window.stored(1, 1, 1));
    let marks = window.take_marks(10);
    assert_eq!(marks[0].id, id_of(1), "the mark names the lost message");
    assert_eq!(window.next_sendable(0), None, "2 does not overtake");
    window.settled([(1, id_of(1))]);
    read(&mut window, vec![reissued(), message(2, "a")]);
    assert_eq!(window.next_sendable(0), Some(1));
    assert!(window.has(1, Uuid::from_u128(100)));
}

#[test]
fn what_a_former_session_saw_says_nothing() {
    let mut window = window();
    read(&mut window, vec![message(7, "a")]);
    let asks = window.plan_read();
    let elsewhere = Reading { session: 2, ..reading(vec![message(8, "a")]) };
    assert_eq!(window.admit(&asks, elsewhere, Instant::now()), Admitted::Unusable);
    assert_eq!((window.plan_read()[0].after, window.horizon().0), (BEGINNING, BEGINNING));
}

#[test]
fn held_keys_and_topics_wait_and_are_read_again_when_let_go() {
    let mut window = window();
    read(&mut window, vec![message(1, "a"), message(2, "b")]);
    window.hold(Holds { keys: ["a".to_owned()].into(), ..Holds::default() });
    assert_eq!((window.next_sendable(0), window.next_sendable(0)), (Some(2), None));
    window.hold(Holds { topics: ["t".to_owned()].into(), ..Holds::default() });
    assert_eq!(window.plan_read()[0].after, BEGINNING);
}

#[test]
fn lost_shard_is_forgotten_and_a_leaving_one_ends_what_flies() {
    let (mut window, now) = (window(), Instant::now());
    read(&mut window, vec![message(1, "a"), message(2, "b")]);
    window.sent(1, now);
    window.own(&BTreeSet::new(), &BTreeSet::from([0]));
    assert_eq!(window.busy_shards(), BTreeSet::from([0]));
    assert!(window.plan_read().is_empty());
    assert!(window.stored(1, 1, 1));
    assert_eq!(window.take_marks(10).len(), 1);
    window.settled([(1, id_of(1))]);
    assert!(window.busy_shards().is_empty() && window.is_empty());
    window.own(&BTreeSet::new(), &BTreeSet::new());
    assert!(window.plan_read().is_empty());
}

/// A database that the play reads from, with transactions that commit out of order.
#[derive(Default)]
struct Database {
    /// seq → (key, committed as of which version, sent).
    rows: BTreeMap<i64, (String, u64, bool)>,
    running: BTreeMap<u64, Vec<i64>>,
    next_xid: u64,
    ended_max: u64,
    next_seq: i64,
    locked: BTreeMap<String, u64>,
}

impl Database {
    /// As Postgres makes it: xmax is one past the last transaction that has ended, whatever runs beyond it.
    fn snapshot(&self) -> Snapshot {
        let xmax = self.ended_max + 1;
        let running: Vec<String> = self.running.keys().filter(|x| **x < xmax).map(u64::to_string).collect();
        let xmin = self.running.keys().next().copied().unwrap_or(xmax).min(xmax);
        let ahead = u32::try_from(self.next_xid - xmax).expect("small");
        Snapshot::parse(&format!("{xmin}:{xmax}:{}", running.join(",")), ahead).expect("is a snapshot")
    }

    /// What `read_ready.sql` returns.
    fn read(&self, ask: Ask, low: i64, previous: &[u64], previous_xmax: u64) -> Reading {
        let is_new = |xid: u64| xid >= previous_xmax || previous.contains(&xid);
        let rows = self
            .rows
            .iter()
            .filter(|(seq, (_, xid, sent))| {
                let visible = !self.running.contains_key(xid);
                visible && !sent && **seq > low.min(ask.after) && (**seq > ask.after || is_new(*xid))
            })
            .take(ask.rows)
            .map(|(seq, (key, _, _))| (0, Found::Message(message(*seq, key))))
            .collect();
        Reading { session: 1, snapshot: self.snapshot(), next_due: None, rows }
    }
}

#[test]
fn random_play_sends_every_row_in_the_order_of_its_key() {
    let random = |below: u64| RandomState::new().hash_one(below) % below;
    for _ in 0..60 {
        let (mut window, mut db) = (window(), Database { next_xid: 10, ended_max: 9, ..Database::default() });
        let (mut sent, mut flying) = (HashMap::<String, Vec<i64>>::new(), Vec::new());
        let mut pending: Option<(Vec<Ask>, Reading)> = None;
        let (mut previous, mut now) = ((Vec::new(), 0), Instant::now());
        for step in 0..3000 {
            now += Duration::from_millis(7);
            match random(if step < 2000 { 10 } else { 7 }) {
                0 => {
                    // Ask; the answer may come later, when the world has moved on.
                    if pending.is_none() {
                        let asks = window.plan_read();
                        if let Some(ask) = asks.first().copied() {
                            let (low, _) = window.horizon();
                            pending = Some((asks, db.read(ask, low, &previous.0, previous.1)));
                        }
                    }
                }
                1 => {
                    if let Some((asks, reading)) = pending.take() {
                        let running = db_running(&reading.snapshot);
                        if matches!(window.admit(&asks, reading, now), Admitted::News(_)) {
                            previous = running;
                        }
                    }
                }
                2 | 3 => {
                    if let Some(seq) = window.next_sendable(0) {
                        window.sent(seq, now);
                        flying.push(seq);
                    }
                }
                4 if !flying.is_empty() => {
                    let seq = flying.swap_remove(usize::try_from(random(flying.len() as u64)).expect("small"));
                    if random(8) == 0 {
                        window.retry(seq);
                    } else if window.stored(seq, 1, seq) {
                        let key = db.rows[&seq].0.clone();
                        sent.entry(key).or_default().push(seq);
                    }
                }
                5 => {
                    for mark in window.take_marks(5) {
                        db.rows.get_mut(&mark.seq).expect("it was read").2 = true;
                        window.settled([(mark.seq, mark.id)]);
                    }
                }
                6 => {
                    if let Some((xid, _)) =
                        db.running.iter().nth(usize::try_from(random(4)).expect("small")).map(|(x, r)| (*x, r.len()))
                    {
                        db.running.remove(&xid);
                        db.ended_max = db.ended_max.max(xid);
                        db.locked.retain(|_, by| *by != xid);
                    } else if random(50) == 0 {
                        window.close_stream(0);
                        window.open_stream(0);
                    }
                }
                _ => {
                    // A row in a new or a running transaction; its key is locked until the transaction ends.
                    let key = format!("k{}", random(6));
                    let xid = match db.locked.get(&key) {
                        Some(xid) => *xid,
                        None if random(2) == 0 && !db.running.is_empty() => *db.running.keys().next().expect("one"),
                        None => {
                            db.next_xid += 1;
                            db.next_xid - 1
                        }
                    };
                    db.next_seq += 1;
                    db.locked.insert(key.clone(), xid);
                    db.running.entry(xid).or_default().push(db.next_seq);
                    db.rows.insert(db.next_seq, (key, xid, false));
                }
            }
        }
        for (key, seqs) in &sent {
            assert!(seqs.is_sorted(), "key {key}: {seqs:?}");
        }
        let total: usize = sent.values().map(Vec::len).sum();
        assert!(total > 50, "the play went nowhere: {total}");
    }
}

/// The transactions running in a snapshot, and its xmax.
fn db_running(snapshot: &Snapshot) -> (Vec<u64>, u64) {
    (snapshot.running().to_vec(), snapshot.xmax())
}
