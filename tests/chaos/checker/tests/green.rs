//! The facts of a small run that kept everything: what the corruptions start from.

use uuid::Uuid;

use crate::facts::{
    Deed, Effect, Ending, Facts, Fate, Move, Number, Owned, Place, Row, Sample, State, Step, Stored, Topic, Witness,
    Written,
};

const STREAM_MADE_US: i64 = 1;

/// The row of a message.
pub fn id_of(number: Number) -> Uuid {
    Uuid::from_u128(u128::from(number) << 64)
}

/// Three of one key, a delayed one, a committed half message and its rolled back twin, two whose commit was lost (7 happened,
/// 10 did not), one for the gate, one that was rolled back.
pub fn facts() -> Facts {
    let written = vec![
        written(1, "orders", "a", 1, Place::Immediate, Fate::Must),
        written(2, "orders", "a", 2, Place::Immediate, Fate::Must),
        written(3, "orders", "a", 3, Place::Immediate, Fate::Must),
        written(4, "orders", "a", 4, Place::Delayed, Fate::Must),
        written(5, "orders", "b", 1, Place::Held, Fate::Must),
        written(6, "orders", "b", 1, Place::Held, Fate::Never),
        written(7, "orders", "c", 1, Place::Immediate, Fate::May),
        written(8, "payments", "d", 1, Place::Immediate, Fate::Must),
        written(9, "orders", "c", 2, Place::Immediate, Fate::Never),
        written(10, "orders", "c", 3, Place::Immediate, Fate::May),
        written(11, "unheard", "e", 1, Place::Immediate, Fate::Must),
    ];
    let sent: Vec<&Written> = written.iter().filter(|w| ![6, 9, 10].contains(&w.number)).collect();
    let stream = sent.iter().zip(1..).map(|(w, sequence)| stored(w, sequence)).collect();
    let mut rows: Vec<Row> =
        sent.iter().zip(1..).map(|(w, sequence)| row(w, Some((STREAM_MADE_US, sequence)))).collect();
    rows.push(Row { id: id_of(6), number: Some(6), state: State::Cancelled, at: None });
    Facts {
        topics: vec![
            topic("orders", "main", &["plain", "once"]),
            topic("payments", "main", &["gate"]),
            topic("unheard", "main", &[]),
        ],
        once: "once".into(),
        gate: "gate".into(),
        deeds: vec![Deed { tx: Uuid::from_u128(5), commit: 5, rollback: 6, is_certain: true }],
        moves: rows.iter().flat_map(history).collect(),
        effects: sent.iter().flat_map(|w| effects(w)).collect(),
        owners: (1..4)
            .map(|epoch| Owned {
                by: Witness::Poll,
                shard: 1,
                epoch,
                owner: Some(Uuid::from_u128(epoch.unsigned_abs().into())),
            })
            .collect(),
        samples: (0..120)
            .map(|n| Sample { pid: 9, age_ms: n * 1000, rss_kib: 50_000 + n, descriptors: 30 + n % 3 })
            .collect(),
        ending: Ending {
            drained_ms: Some(10),
            drain_max_ms: 1000,
            left: String::new(),
            counts: vec![(State::Consumed, 7), (State::Sent, 1), (State::Cancelled, 1)],
            undecided: vec![],
            idle_in_transaction: vec![],
            ended_by_themselves: vec![],
            forgotten: 0,
        },
        written,
        stream,
        rows,
    }
}

fn topic(name: &str, feed: &str, consumers: &[&str]) -> Topic {
    Topic { name: name.into(), feed: feed.into(), consumers: consumers.iter().map(|&c| c.into()).collect() }
}

fn written(number: Number, topic: &str, key: &str, position: u64, place: Place, fate: Fate) -> Written {
    Written { number, topic: topic.into(), key: key.into(), position, sha256: format!("{number:064}"), place, fate }
}

fn stored(written: &Written, sequence: i64) -> Stored {
    Stored {
        dump: 0,
        incarnation_us: STREAM_MADE_US,
        sequence,
        topic: written.topic.clone(),
        key: written.key.clone(),
        id: id_of(written.number),
        number: Some(written.number),
        sha256: written.sha256.clone(),
    }
}

fn row(written: &Written, at: Option<(i64, i64)>) -> Row {
    let state = if written.topic == "unheard" { State::Sent } else { State::Consumed };
    Row { id: id_of(written.number), number: Some(written.number), state, at }
}

fn history(row: &Row) -> Vec<Move> {
    let way: &[State] = match row.state {
        State::Cancelled => &[State::Prepared, State::Cancelled],
        State::Sent => &[State::Ready, State::Sent],
        _ if row.number == Some(5) => &[State::Prepared, State::Ready, State::Sent, State::Consumed],
        _ => &[State::Ready, State::Sent, State::Consumed],
    };
    let before = std::iter::once(None).chain(way.iter().copied().map(Some));
    before.zip(way).map(|(from, &to)| Move { id: row.id, from, to: Some(to) }).collect()
}

fn effects(written: &Written) -> Vec<Effect> {
    let effect = |who: &str, step| Effect { who: who.into(), number: written.number, step };
    match written.topic.as_str() {
        "orders" => vec![effect("plain", Step::Done), effect("once", Step::Done)],
        "payments" => {
            vec![effect("gate", Step::Ran(3)), effect("gate", Step::Ran(9)), effect("gate", Step::Recorded(9))]
        }
        _ => vec![],
    }
}
