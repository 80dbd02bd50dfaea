//! What consumers were told, counted once a batch.

use std::collections::BTreeMap;

use crate::answer::Fault;
use crate::idempotency::{Begun, Decision, Finished};
use crate::meters::Scope;

/// Where nothing could be decided: the database is away, or somebody holds the record of who says something.
pub const UNANSWERED: &str = "unanswered";

/// How many of a batch came to what, by consumer.
pub struct Tally<'a> {
    name: &'static str,
    scope: &'a Scope,
    of: BTreeMap<(&'a str, &'static str), u64>,
}

impl<'a> Tally<'a> {
    /// Of this metric.
    pub fn of(name: &'static str, scope: &'a Scope) -> Self {
        Self { name, scope, of: BTreeMap::new() }
    }

    /// One more.
    pub fn add(&mut self, consumer: &'a str, outcome: &'static str) {
        *self.of.entry((consumer, outcome)).or_default() += 1;
    }

    /// Counts them.
    pub fn count(self) {
        for ((consumer, outcome), count) in self.of {
            let labels: &[(&'static str, &str)] = &[("consumer", consumer), ("decision", outcome)];
            self.scope.counter(self.name, labels).increment(count);
        }
    }
}

/// In one word, what was decided; held records are told as busy.
pub fn decided(answer: &Result<Option<Begun>, Fault>) -> &'static str {
    match answer {
        Ok(Some(begun)) => begun.decision.name(),
        Ok(None) => Decision::Busy.name(),
        Err(_) => UNANSWERED,
    }
}

/// In one word, what came of it.
pub fn finished(answer: &Result<Option<Finished>, Fault>) -> &'static str {
    match answer {
        Ok(Some(Finished::Done)) => "done",
        Ok(Some(Finished::Running { .. })) => "run",
        Ok(Some(Finished::Waiting { .. })) => "busy",
        Ok(Some(Finished::Rejected)) => "reject",
        Ok(Some(Finished::Fenced)) => "fenced",
        Ok(None) | Err(_) => UNANSWERED,
    }
}
