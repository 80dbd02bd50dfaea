//! Whether a run kept every promise: facts in, violations out. Pure.

mod consumers;
mod messages;
mod runtimes;
mod states;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::facts::{Facts, Fate, Number, Row, State, Stored, Topic, Written};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    NothingLost,
    NothingInvented,
    BytesEqual,
    KeysInOrder,
    OneOutcome,
    PlacesTrue,
    StatesConserved,
    EndsLegal,
    MovesLegal,
    EveryConsumer,
    EffectsOnce,
    TokensGrow,
    OneOwner,
    Drained,
    NoIdleTransaction,
    MemoryFlat,
    DescriptorsFlat,
    RuntimesStay,
}

impl Invariant {
    pub const ALL: [Self; 18] = [
        Self::NothingLost,
        Self::NothingInvented,
        Self::BytesEqual,
        Self::KeysInOrder,
        Self::OneOutcome,
        Self::PlacesTrue,
        Self::StatesConserved,
        Self::EndsLegal,
        Self::MovesLegal,
        Self::EveryConsumer,
        Self::EffectsOnce,
        Self::TokensGrow,
        Self::OneOwner,
        Self::Drained,
        Self::NoIdleTransaction,
        Self::MemoryFlat,
        Self::DescriptorsFlat,
        Self::RuntimesStay,
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingLost => "nothing is lost",
            Self::NothingInvented => "nothing is invented",
            Self::BytesEqual => "what arrives is what was written",
            Self::KeysInOrder => "first occurrences of a key are in order",
            Self::OneOutcome => "a transaction has one outcome",
            Self::PlacesTrue => "a row's place in the stream holds it",
            Self::StatesConserved => "rows, their counts and their histories agree",
            Self::EndsLegal => "every row ends consumed or cancelled, or sent if nobody must have it",
            Self::MovesLegal => "states change as the contract says",
            Self::EveryConsumer => "every consumer has every message that it must have",
            Self::EffectsOnce => "effects that commit with their record happen once",
            Self::TokensGrow => "tokens grow, and what is recorded is not run again",
            Self::OneOwner => "a shard has one owner an epoch",
            Self::Drained => "everything is drained in time once all is healed",
            Self::NoIdleTransaction => "no session is left idle in a transaction",
            Self::MemoryFlat => "memory of a runtime stays flat",
            Self::DescriptorsFlat => "descriptors of a runtime stay flat",
            Self::RuntimesStay => "a runtime ends only when it is told to",
        })
    }
}

/// What did not hold, and of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub object: String,
}

fn violation(invariant: Invariant, object: impl Into<String>) -> Violation {
    Violation { invariant, object: object.into() }
}

/// All that did not hold.
pub fn check(facts: &Facts) -> Vec<Violation> {
    let books = Books::of(facts);
    let mut found = Vec::new();
    messages::check(&books, &mut found);
    states::check(&books, &mut found);
    consumers::check(&books, &mut found);
    runtimes::check(facts, &mut found);
    found
}

/// The facts, by what they are looked up by.
struct Books<'a> {
    facts: &'a Facts,
    topics: HashMap<&'a str, &'a Topic>,
    written: HashMap<Number, &'a Written>,
    rows: HashMap<Number, &'a Row>,
    stored: HashMap<Number, Vec<&'a Stored>>,
}

impl<'a> Books<'a> {
    fn of(facts: &'a Facts) -> Self {
        let mut stored = HashMap::<Number, Vec<&Stored>>::new();
        for message in &facts.stream {
            if let Some(number) = message.number {
                stored.entry(number).or_default().push(message);
            }
        }
        Self {
            facts,
            topics: facts.topics.iter().map(|t| (t.name.as_str(), t)).collect(),
            written: facts.written.iter().map(|w| (w.number, w)).collect(),
            rows: facts.rows.iter().filter_map(|r| Some((r.number?, r))).collect(),
            stored,
        }
    }

    /// The messages that happened: what had to, and what the outbox holds of what may have.
    fn happened(&self) -> impl Iterator<Item = &'a Written> {
        self.facts.written.iter().filter(|w| match w.fate {
            Fate::Must => true,
            Fate::Never => false,
            Fate::May => self.rows.get(&w.number).is_some_and(|row| row.state != State::Cancelled),
        })
    }

    fn happened_numbers(&self) -> HashSet<Number> {
        self.happened().map(|w| w.number).collect()
    }
}

fn named(written: &Written) -> String {
    format!(
        "message {} ({}, key {}, {:?}, {:?})",
        written.number, written.topic, written.key, written.place, written.fate
    )
}
