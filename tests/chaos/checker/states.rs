//! Whether rows, their counts and their histories agree, and whether every state was reached by legal moves.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::{Books, Invariant, Violation, violation};
use crate::facts::{Facts, Row, State};

pub(super) fn check(books: &Books<'_>, found: &mut Vec<Violation>) {
    counts(books.facts, found);
    histories(books.facts, found);
    ends(books, found);
}

fn counts(facts: &Facts, found: &mut Vec<Violation>) {
    let mut seen = HashSet::new();
    let mut tally = BTreeMap::<State, u64>::new();
    for row in &facts.rows {
        *tally.entry(row.state).or_default() += 1;
        if !seen.insert(row.id) {
            found.push(violation(Invariant::StatesConserved, format!("row {} is there twice", row.id)));
        }
    }
    let told: BTreeMap<State, u64> = facts.ending.counts.iter().copied().collect();
    if told != tally {
        found.push(violation(
            Invariant::StatesConserved,
            format!("the database counts {told:?}, its rows are {tally:?}"),
        ));
    }
}

/// Each history begins with the insert, has no gap, and ends where the row is.
fn histories(facts: &Facts, found: &mut Vec<Violation>) {
    let mut now = HashMap::<Uuid, Option<State>>::new();
    for step in &facts.moves {
        let before = now.insert(step.id, step.to).unwrap_or_default();
        if before != step.from {
            let object = format!("row {} went from {:?} to {:?}, and was {before:?}", step.id, step.from, step.to);
            found.push(violation(Invariant::StatesConserved, object));
        }
        if !is_legal(step.from, step.to, facts.ending.forgotten > 0) {
            let object = format!("row {} went from {:?} to {:?}", step.id, step.from, step.to);
            found.push(violation(Invariant::MovesLegal, object));
        }
    }
    let ends: HashMap<Uuid, State> = facts.rows.iter().map(|row| (row.id, row.state)).collect();
    for (id, state) in now {
        if state != ends.get(&id).copied() {
            let object = format!("row {id} was last seen to become {state:?}, and is {:?}", ends.get(&id));
            found.push(violation(Invariant::StatesConserved, object));
        }
    }
}

/// The contract's table, without what operators do: nobody does that here. What the broker forgot becomes ready again.
fn is_legal(from: Option<State>, to: Option<State>, has_forgotten: bool) -> bool {
    use State::{Cancelled, Consumed, Dead, Prepared, Ready, Sent};
    match (from, to) {
        (None, Some(Ready | Prepared))
        | (Some(Prepared), Some(Ready | Cancelled))
        | (Some(Ready), Some(Sent | Dead))
        | (Some(Sent | Dead), Some(Consumed))
        | (Some(Sent), Some(Dead)) => true,
        (Some(Sent), Some(Ready)) => has_forgotten,
        _ => false,
    }
}

fn ends(books: &Books<'_>, found: &mut Vec<Violation>) {
    for row in &books.facts.rows {
        if !is_end(books, row) {
            let object = format!("row {} (message {:?}) ends {:?}", row.id, row.number, row.state);
            found.push(violation(Invariant::EndsLegal, object));
        }
    }
}

fn is_end(books: &Books<'_>, row: &Row) -> bool {
    match row.state {
        State::Consumed | State::Cancelled => true,
        State::Sent => {
            let topic = row.number.and_then(|n| books.written.get(&n)).and_then(|w| books.topics.get(w.topic.as_str()));
            topic.is_some_and(|topic| topic.consumers.is_empty())
        }
        State::Prepared | State::Ready | State::Dead | State::Discarded => false,
    }
}
