//! The checker sees what it is there to see: every invariant turns red when a green run's facts are corrupted, and for that reason.

mod green;

use std::collections::BTreeSet;

use uuid::Uuid;

use self::green::{facts, id_of};
use super::{Invariant, check};
use crate::facts::{Effect, Facts, Fate, Move, Owned, State, Step, Witness};

/// What is done to the facts, and which invariant must turn red.
type Corruption = (&'static str, Invariant, fn(&mut Facts));

const CORRUPTIONS: &[Corruption] = &[
    ("a message vanishes from the stream", Invariant::NothingLost, |f| f.stream.retain(|s| s.number != Some(2))),
    ("a delayed one vanishes from the stream", Invariant::NothingLost, |f| f.stream.retain(|s| s.number != Some(4))),
    ("one that may have happened, and did, vanishes", Invariant::NothingLost, |f| {
        f.stream.retain(|s| s.number != Some(7))
    }),
    ("a committed row vanishes from the outbox", Invariant::NothingLost, |f| f.rows.retain(|r| r.number != Some(2))),
    ("a message that nobody wrote appears", Invariant::NothingInvented, |f| {
        let mut stranger = f.stream[0].clone();
        (stranger.number, stranger.sequence) = (Some(999), 99);
        f.stream.push(stranger);
    }),
    ("a message without a number appears", Invariant::NothingInvented, |f| f.stream[1].number = None),
    ("a message of a rolled back transaction appears", Invariant::NothingInvented, |f| {
        f.written.iter_mut().filter(|w| w.number == 1).for_each(|w| w.fate = Fate::Never);
    }),
    ("a row of a rolled back transaction is sent", Invariant::NothingInvented, |f| {
        f.rows.iter_mut().filter(|r| r.state == State::Cancelled).for_each(|r| r.state = State::Consumed);
    }),
    ("a consumer has what did not happen", Invariant::NothingInvented, |f| f.effects[0].number = 9),
    ("a byte of a payload is altered", Invariant::BytesEqual, |f| f.stream[2].sha256 = "0".repeat(64)),
    ("a message comes under another key", Invariant::BytesEqual, |f| f.stream[2].key = "other".into()),
    ("a message comes on another topic", Invariant::BytesEqual, |f| f.stream[2].topic = "mails".into()),
    ("a message is sent again under another id", Invariant::BytesEqual, |f| {
        let mut again = f.stream[2].clone();
        (again.id, again.sequence) = (Uuid::from_u128(77), 98);
        f.stream.push(again);
    }),
    ("two neighbours of a key are swapped", Invariant::KeysInOrder, |f| f.stream.swap(0, 1)),
    ("the first of a key comes last", Invariant::KeysInOrder, |f| {
        let first = f.stream.remove(0);
        f.stream.push(first);
    }),
    ("both outcomes are sent", Invariant::OneOutcome, |f| f.deeds[0].rollback = 1),
    ("neither outcome is sent", Invariant::OneOutcome, |f| f.stream.retain(|s| s.number != Some(5))),
    ("a transaction stays in doubt", Invariant::OneOutcome, |f| f.ending.undecided.push(Uuid::from_u128(5))),
    ("a row says it is elsewhere in the stream", Invariant::PlacesTrue, |f| f.rows[0].at = Some((1, 3))),
    ("a row says it is in a former stream", Invariant::PlacesTrue, |f| f.rows[0].at = Some((0, 1))),
    ("a sent row has no place", Invariant::PlacesTrue, |f| f.rows[0].at = None),
    ("the counts lack a row", Invariant::StatesConserved, |f| f.ending.counts[0].1 -= 1),
    ("a row is there twice", Invariant::StatesConserved, |f| f.rows.push(f.rows[0].clone())),
    ("a move was not seen", Invariant::StatesConserved, |f| {
        let at = f.moves.iter().position(|m| m.to == Some(State::Sent)).expect("rows are sent");
        f.moves.remove(at);
    }),
    ("a row ends elsewhere than its last move", Invariant::StatesConserved, |f| {
        f.moves.pop();
    }),
    ("a row is dead", Invariant::EndsLegal, |f| f.rows[0].state = State::Dead),
    ("a row is still ready", Invariant::EndsLegal, |f| f.rows[0].state = State::Ready),
    ("a row stays sent though somebody must have it", Invariant::EndsLegal, |f| f.rows[0].state = State::Sent),
    ("a row is consumed before it is sent", Invariant::MovesLegal, |f| {
        f.moves.iter_mut().filter(|m| m.to == Some(State::Sent)).for_each(|m| m.to = Some(State::Prepared));
    }),
    ("a consumed row is ready again", Invariant::MovesLegal, |f| {
        f.moves.push(Move { id: id_of(1), from: Some(State::Consumed), to: Some(State::Ready) });
    }),
    ("a row is deleted", Invariant::MovesLegal, |f| {
        f.moves.push(Move { id: id_of(1), from: Some(State::Consumed), to: None });
    }),
    ("a sent row is ready again, and the broker forgot nothing", Invariant::MovesLegal, |f| {
        f.moves.push(Move { id: id_of(1), from: Some(State::Sent), to: Some(State::Ready) });
    }),
    ("a consumer lacks a message", Invariant::EveryConsumer, |f| {
        f.effects.retain(|e| !(e.who == "plain" && e.number == 3));
    }),
    ("an effect that commits with its record happens twice", Invariant::EffectsOnce, |f| {
        let again = f.effects.iter().find(|e| e.who == "once").expect("there are some").clone();
        f.effects.push(again);
    }),
    ("two holders have the same token", Invariant::TokensGrow, |f| {
        let token = Step::Ran(40);
        f.effects.push(Effect { who: "gate".into(), number: 8, step: token });
        f.effects.push(Effect { who: "gate".into(), number: 8, step: token });
    }),
    ("an older token acts after a newer one", Invariant::TokensGrow, |f| {
        f.effects.retain(|e| !matches!(e.step, Step::Recorded(_)));
        f.effects.push(Effect { who: "gate".into(), number: 8, step: Step::Ran(1) });
    }),
    ("what is recorded is run again", Invariant::TokensGrow, |f| {
        f.effects.push(Effect { who: "gate".into(), number: 8, step: Step::Ran(1000) });
    }),
    ("two owners share an epoch", Invariant::OneOwner, |f| {
        let first = f.owners[0].clone();
        f.owners.insert(1, Owned { owner: Some(Uuid::from_u128(7)), ..first });
    }),
    ("the trigger saw another owner than the poll", Invariant::OneOwner, |f| {
        let other = Some(Uuid::from_u128(1));
        f.owners.push(Owned { by: Witness::Trigger, owner: other, ..f.owners[2].clone() });
    }),
    ("an epoch is given a second time", Invariant::OneOwner, |f| f.owners.swap(0, 1)),
    ("it is not drained", Invariant::Drained, |f| f.ending.drained_ms = None),
    ("it is drained too late", Invariant::Drained, |f| f.ending.drained_ms = Some(f.ending.drain_max_ms + 1)),
    ("a session is idle in a transaction", Invariant::NoIdleTransaction, |f| {
        f.ending.idle_in_transaction.push("pid 7".into());
    }),
    ("memory doubles", Invariant::MemoryFlat, |f| {
        f.samples.iter_mut().skip(80).for_each(|s| s.rss_kib = s.rss_kib * 2 + (64 << 10));
    }),
    ("descriptors leak", Invariant::DescriptorsFlat, |f| {
        f.samples.iter_mut().enumerate().for_each(|(n, s)| s.descriptors += n as u64);
    }),
    ("a runtime ends by itself", Invariant::RuntimesStay, |f| f.ending.ended_by_themselves.push("runtime 1".into())),
];

#[test]
fn green_facts_have_no_violation() {
    assert_eq!(check(&facts()), []);
}

#[test]
fn corrupted_facts_turn_their_invariant_red() {
    for (what, invariant, corrupt) in CORRUPTIONS {
        let mut facts = facts();
        corrupt(&mut facts);
        let found = check(&facts);
        assert!(found.iter().any(|v| v.invariant == *invariant), "{what}, and {invariant:?} stays green: {found:?}");
    }
}

#[test]
fn every_invariant_turns_red_by_some_corruption() {
    let turned: BTreeSet<Invariant> = CORRUPTIONS.iter().map(|(_, invariant, _)| *invariant).collect();
    let missing: Vec<_> = Invariant::ALL.iter().filter(|i| !turned.contains(i)).collect();
    assert!(missing.is_empty(), "nothing turns these red: {missing:?}");
}

#[test]
fn what_may_have_happened_and_did_not_is_no_violation() {
    let mut facts = facts();
    for lost in [
        |f: &mut Facts| f.stream.retain(|s| s.number != Some(7)),
        |f: &mut Facts| {
            f.rows.retain(|r| r.number != Some(7));
            f.moves.retain(|m| m.id != id_of(7));
            f.effects.retain(|e| e.number != 7);
            f.ending.counts.iter_mut().filter(|c| c.0 == State::Consumed).for_each(|c| c.1 -= 1);
        },
    ] {
        lost(&mut facts);
    }
    assert_eq!(check(&facts), []);
}

#[test]
fn duplicates_are_no_violation() {
    let mut facts = facts();
    let mut again = facts.stream[0].clone();
    again.sequence = 100;
    facts.stream.push(again);
    facts.effects.push(Effect { who: "plain".into(), number: 1, step: Step::Done });
    assert_eq!(check(&facts), []);
}
