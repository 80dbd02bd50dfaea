//! What the stream must hold, what it must not, in which order and in which bytes.

use std::collections::{HashMap, HashSet};

use super::{Books, Invariant, Violation, named, violation};
use crate::facts::{Fate, Number, Place, State, Stored};

pub(super) fn check(books: &Books<'_>, found: &mut Vec<Violation>) {
    lost(books, found);
    invented(books, found);
    bytes(books, found);
    order(books, found);
    outcomes(books, found);
    places(books, found);
}

fn lost(books: &Books<'_>, found: &mut Vec<Violation>) {
    for written in books.happened() {
        if !books.stored.contains_key(&written.number) {
            found.push(violation(Invariant::NothingLost, format!("{} is not in the stream", named(written))));
        }
        if !books.rows.contains_key(&written.number) {
            found.push(violation(Invariant::NothingLost, format!("{} is not in the outbox", named(written))));
        }
    }
}

fn invented(books: &Books<'_>, found: &mut Vec<Violation>) {
    for message in &books.facts.stream {
        let known = message.number.and_then(|number| books.written.get(&number));
        match known {
            None => found.push(violation(
                Invariant::NothingInvented,
                format!("sequence {} holds {:?}, which nobody wrote", message.sequence, message.number),
            )),
            Some(written) if written.fate == Fate::Never => {
                let at = message.sequence;
                found.push(violation(Invariant::NothingInvented, format!("{} is at sequence {at}", named(written))));
            }
            Some(_) => {}
        }
    }
    for row in &books.facts.rows {
        let known = row.number.and_then(|number| books.written.get(&number));
        let is_wrong = match known {
            None => true,
            Some(written) => written.fate == Fate::Never && row.state != State::Cancelled,
        };
        if is_wrong {
            let what = known.map_or("written by nobody".to_owned(), |w| named(w));
            found.push(violation(Invariant::NothingInvented, format!("row {} is {:?}: {what}", row.id, row.state)));
        }
    }
}

/// Of every occurrence: contents, key, topic, and one id a message.
fn bytes(books: &Books<'_>, found: &mut Vec<Violation>) {
    for (number, stored) in &books.stored {
        let Some(written) = books.written.get(number) else { continue };
        for message in stored {
            let differs = if message.sha256 != written.sha256 {
                "its payload"
            } else if message.key != written.key {
                "its key"
            } else if message.topic != written.topic {
                "its topic"
            } else if message.id != stored[0].id || books.rows.get(number).is_some_and(|row| row.id != message.id) {
                "its id"
            } else {
                continue;
            };
            let object = format!("{} at sequence {}: {differs} was changed", named(written), message.sequence);
            found.push(violation(Invariant::BytesEqual, object));
        }
    }
}

/// First occurrences in one dump, of messages that hold a place in the order.
fn order(books: &Books<'_>, found: &mut Vec<Violation>) {
    let mut seen = HashSet::<(u32, Number)>::new();
    let mut last = HashMap::<(u32, &str, &str), (u64, Number)>::new();
    for message in &books.facts.stream {
        let Some(number) = message.number else { continue };
        let Some(written) = books.written.get(&number) else { continue };
        if !seen.insert((message.dump, number)) || written.place != Place::Immediate {
            continue;
        }
        let Some(topic) = books.topics.get(written.topic.as_str()) else { continue };
        let of = (message.dump, topic.feed.as_str(), written.key.as_str());
        if let Some((position, before)) = last.insert(of, (written.position, number))
            && position >= written.position
        {
            let object = format!(
                "{}, position {}, came after message {before}, position {position}",
                named(written),
                written.position
            );
            found.push(violation(Invariant::KeysInOrder, object));
        }
    }
}

/// What the stream holds and what the outbox says must both show one outcome.
fn outcomes(books: &Books<'_>, found: &mut Vec<Violation>) {
    for deed in &books.facts.deeds {
        let (commit, rollback) = (books.stored.contains_key(&deed.commit), books.stored.contains_key(&deed.rollback));
        let wrong = match (commit, rollback) {
            (true, true) => "both are",
            (false, false) if deed.is_certain => "neither is",
            _ => continue,
        };
        let object = format!(
            "transaction {}: of message {} (commit) and {} (rollback) {wrong} in the stream",
            deed.tx, deed.commit, deed.rollback
        );
        found.push(violation(Invariant::OneOutcome, object));
    }
    for tx in &books.facts.ending.undecided {
        found.push(violation(Invariant::OneOutcome, format!("transaction {tx} is undecided at the end")));
    }
}

fn places(books: &Books<'_>, found: &mut Vec<Violation>) {
    let at = |stored: &Stored| ((stored.incarnation_us, stored.sequence), stored.id);
    let dumped: HashSet<_> = books.facts.stream.iter().map(at).collect();
    for row in books.facts.rows.iter().filter(|row| matches!(row.state, State::Sent | State::Consumed)) {
        if row.at.is_none_or(|place| !dumped.contains(&(place, row.id))) {
            let object = format!("row {} (message {:?}) says it is at {:?}", row.id, row.number, row.at);
            found.push(violation(Invariant::PlacesTrue, object));
        }
    }
}
