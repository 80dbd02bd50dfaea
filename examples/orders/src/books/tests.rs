//! Each fault that the demo must notice, made on purpose.

use super::*;
use crate::carrier::Booked;
use crate::facts::{Committed, Invoiced, Ours};

/// Two orders, three messages, all sent and consumed.
fn even() -> (Ledger, Vec<Stored>, Seen) {
    let mut ledger = Ledger::default();
    let stream: Vec<Stored> =
        [(1, "a", 1), (2, "b", 1), (3, "a", 2)].into_iter().map(|(n, key, step)| stored(n, n, key, step)).collect();
    let mut seen = Seen::default();
    for s in &stream {
        let ours = s.ours.clone().expect("made by us");
        ledger.committed.insert(ours.id, Committed { key: ours.key, step: ours.step, topic: ours.topic });
        ledger.outbox.insert(ours.id, "consumed".into());
        seen.note(s);
        seen.note_ack(s);
    }
    (ledger, stream, seen)
}

fn stored(sequence: u64, id: u64, key: &str, step: i32) -> Stored {
    let id = Uuid::from_u128(id.into());
    let ours = Ours { id, key: key.into(), topic: "orders.created".into(), step };
    Stored { sequence, msg_id: id.to_string().into(), ours: Some(ours) }
}

fn faults_of((ledger, stream, seen): &(Ledger, Vec<Stored>, Seen)) -> Vec<&'static str> {
    let balance = balance(ledger, stream, seen, Effects::default());
    let names: Vec<_> = balance.faults.iter().filter(|f| !f.ids.is_empty()).map(|f| f.name).collect();
    assert_eq!(balance.evenness() == Evenness::Even, names.is_empty());
    names
}

#[test]
fn agreeing_witnesses_are_even() {
    assert!(faults_of(&even()).is_empty());
}

#[test]
fn message_that_is_missing_in_the_stream_is_lost() {
    let mut facts = even();
    facts.1.remove(1);
    assert_eq!(faults_of(&facts), ["lost"]);
}

#[test]
fn message_that_still_waits_is_not_lost_but_not_even_either() {
    let mut facts = even();
    facts.1.remove(1);
    facts.0.outbox.insert(Uuid::from_u128(2), "ready".into());
    assert_eq!(faults_of(&facts), ["not sent"]);
}

#[test]
fn deleted_outbox_row_is_noticed_even_after_it_was_sent() {
    let mut facts = even();
    facts.0.outbox.remove(&Uuid::from_u128(2));
    assert_eq!(faults_of(&facts), ["gone"]);
}

#[test]
fn message_of_a_rolled_back_transaction_is_invented() {
    let mut facts = even();
    facts.0.committed.remove(&Uuid::from_u128(3));
    facts.0.outbox.remove(&Uuid::from_u128(3));
    assert_eq!(faults_of(&facts), ["invented"]);
}

#[test]
fn stranger_in_the_stream_is_invented() {
    let mut facts = even();
    facts.1.push(Stored { sequence: 9, msg_id: "".into(), ours: None });
    assert_eq!(faults_of(&facts), ["invented"]);
}

#[test]
fn prepared_row_is_neither_lost_nor_invented_until_it_is_published() {
    let mut facts = even();
    facts.0.outbox.insert(Uuid::from_u128(7), "prepared".into());
    assert!(faults_of(&facts).is_empty());
    facts.1.push(stored(4, 7, "b", 2));
    facts.2.acked.insert(Uuid::from_u128(7));
    assert_eq!(faults_of(&facts), ["invented"]);
}

#[test]
fn later_step_before_an_earlier_one_is_out_of_order_but_a_duplicate_is_not() {
    let mut facts = even();
    facts.1.push(stored(4, 1, "a", 1));
    assert!(faults_of(&facts).is_empty());
    facts.1.swap(0, 2);
    assert_eq!(faults_of(&facts), ["out of order"]);
}

#[test]
fn message_that_was_never_acknowledged_is_not_consumed() {
    let mut facts = even();
    facts.2.acked.remove(&Uuid::from_u128(1));
    assert_eq!(faults_of(&facts), ["not consumed"]);
}

#[test]
fn message_whose_receipts_are_missing_is_awaited_and_one_that_was_given_up_is_dead() {
    let mut facts = even();
    facts.0.outbox.insert(Uuid::from_u128(1), "sent".into());
    assert_eq!(faults_of(&facts), ["awaited"]);
    facts.0.outbox.insert(Uuid::from_u128(1), "dead".into());
    assert_eq!(faults_of(&facts), ["dead"]);
}

/// Order a is paid and shipped, and both had their effect.
fn effective() -> (Ledger, Effects) {
    let mut ledger = Ledger::default();
    for (id, step, topic) in [(1, 2, "orders.paid"), (2, 3, "orders.shipped")] {
        ledger.committed.insert(Uuid::from_u128(id), Committed { key: "a".into(), step, topic: topic.into() });
    }
    let effects = Effects {
        invoiced: Invoiced { invoices: HashMap::from([("a".into(), 1)]), again: 0 },
        booked: Booked { parcels: HashMap::from([("a".into(), 7)]), accepted: 1, refused: 0 },
        done: HashMap::from([("a".into(), 7)]),
        ..Effects::default()
    };
    (ledger, effects)
}

#[test]
fn effect_that_is_missing_doubled_groundless_or_of_a_stale_attempt_is_noticed() {
    type Change = fn(&mut Effects);
    let cases: [(Change, &[&str]); 6] = [
        (|_| {}, &[]),
        (|e| e.invoiced.invoices.clear(), &["no invoice"]),
        (|e| e.invoiced.invoices = HashMap::from([("a".into(), 2)]), &["doubled"]),
        (|e| e.invoiced.invoices = HashMap::from([("a".into(), 1), ("b".into(), 1)]), &["groundless"]),
        (|e| e.booked.parcels.clear(), &["no parcel"]),
        (|e| e.done = HashMap::from([("a".into(), 8)]), &["stale parcel"]),
    ];
    for (happens, expected) in cases {
        let (ledger, mut effects) = effective();
        happens(&mut effects);
        let faults = effects::faults(&ledger, &effects);
        let names: Vec<_> = faults.iter().filter(|f| !f.ids.is_empty()).map(|f| f.name).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn duplicates_are_told_apart_by_their_msg_id() {
    let (ledger, mut stream, seen) = even();
    stream.push(stored(4, 1, "a", 1));
    let mut again = stored(5, 1, "a", 1);
    again.msg_id = format!("{}:1", Uuid::from_u128(1)).into();
    stream.push(again);
    let balance = balance(&ledger, &stream, &seen, Effects::default());
    assert_eq!((balance.doubled_same_msg_id, balance.doubled_otherwise), (1, 1));
}

#[test]
fn only_the_first_ids_of_a_fault_are_shown() {
    let (mut ledger, stream, seen) = even();
    for n in 100..200u128 {
        let committed = Committed { key: "z".into(), step: 1, topic: "orders.created".into() };
        ledger.committed.insert(Uuid::from_u128(n), committed);
        ledger.outbox.insert(Uuid::from_u128(n), "consumed".into());
    }
    let text = balance(&ledger, &stream, &seen, Effects::default()).to_string();
    assert!(text.contains("lost          100") && text.matches("00000000-").count() == IDS_SHOWN, "{text}");
}
