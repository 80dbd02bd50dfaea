//! Who must have done what, how often, and with which tokens.

use std::collections::{HashMap, HashSet};

use super::{Books, Invariant, Violation, named, violation};
use crate::facts::{Number, Step};

pub(super) fn check(books: &Books<'_>, found: &mut Vec<Violation>) {
    let counts = count(books);
    every_consumer(books, &counts, found);
    strangers(books, &counts, found);
    once(books, &counts, found);
    tokens(books, found);
}

/// Effects by consumer and message.
type Counts<'a> = HashMap<(&'a str, Number), u64>;

fn count<'a>(books: &Books<'a>) -> Counts<'a> {
    let mut counts = Counts::new();
    for effect in books.facts.effects.iter().filter(|e| !matches!(e.step, Step::Recorded(_))) {
        *counts.entry((effect.who.as_str(), effect.number)).or_default() += 1;
    }
    counts
}

fn every_consumer(books: &Books<'_>, counts: &Counts<'_>, found: &mut Vec<Violation>) {
    for written in books.happened() {
        let Some(topic) = books.topics.get(written.topic.as_str()) else { continue };
        for who in &topic.consumers {
            if !counts.contains_key(&(who.as_str(), written.number)) {
                found.push(violation(Invariant::EveryConsumer, format!("{who} never had {}", named(written))));
            }
        }
    }
}

fn strangers(books: &Books<'_>, counts: &Counts<'_>, found: &mut Vec<Violation>) {
    let happened = books.happened_numbers();
    for (who, number) in counts.keys().filter(|(_, number)| !happened.contains(number)) {
        found.push(violation(Invariant::NothingInvented, format!("{who} had message {number}, which did not happen")));
    }
}

fn once(books: &Books<'_>, counts: &Counts<'_>, found: &mut Vec<Violation>) {
    for ((who, number), times) in counts.iter().filter(|((who, _), times)| *who == books.facts.once && **times != 1) {
        found.push(violation(Invariant::EffectsOnce, format!("{who} did message {number} {times} times")));
    }
}

/// A store that keeps the greatest token has refused the others already: equal ones would be two holders of one lease.
fn tokens(books: &Books<'_>, found: &mut Vec<Violation>) {
    let (mut greatest, mut recorded) = (HashMap::<Number, i64>::new(), HashSet::new());
    for effect in books.facts.effects.iter().filter(|e| e.who == books.facts.gate) {
        match effect.step {
            Step::Ran(token) => {
                let before = greatest.insert(effect.number, token);
                let is_again = recorded.contains(&effect.number);
                if is_again || before.is_some_and(|before| before >= token) {
                    let object =
                        format!("message {}: token {token} after {before:?}, recorded: {is_again}", effect.number);
                    found.push(violation(Invariant::TokensGrow, object));
                }
            }
            Step::Recorded(_) => {
                recorded.insert(effect.number);
            }
            Step::Done => {
                let object = format!("message {}: an effect without a token", effect.number);
                found.push(violation(Invariant::TokensGrow, object));
            }
        }
    }
}
