//! What waits, told as gauges: by one instance of many, so that a sum over all of them counts nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::meters::Scope;
use crate::store::{Backlog, Error, State, Store};

/// Of each state so many of the oldest are looked at: some ten milliseconds of work.
const LOOK_ROWS: i64 = 10_000;
/// A look that took long is repeated no sooner than so many times its length.
const PAUSE_FACTOR: u32 = 20;

/// The labels that were told last: what is gone becomes nought.
#[derive(Debug, Default)]
pub struct Told {
    names: BTreeSet<(State, String)>,
    transactions: bool,
    not_before: Option<Instant>,
}

impl Told {
    /// Tells how it is, or that others tell.
    pub async fn tell(&mut self, store: &Store, leads: bool) -> Result<(), Error> {
        let scope = store.scope();
        if !leads {
            self.fall_silent(scope);
            return Ok(());
        }
        let began = Instant::now();
        if self.not_before.is_some_and(|at| began < at) {
            return Ok(());
        }
        let (backlog, transactions) = store.backlog(LOOK_ROWS).await?;
        self.not_before = Some(Instant::now() + began.elapsed() * PAUSE_FACTOR);
        let now = gathered(scope, backlog);
        for (state, name) in self.names.iter().filter(|of| !now.contains_key(*of)) {
            set(scope, *state, name, 0, Duration::ZERO);
        }
        for ((state, name), (count, oldest)) in &now {
            set(scope, *state, name, *count, *oldest);
        }
        self.names = now.into_keys().collect();
        self.transactions = true;
        for (state, count) in [("prepared", transactions.prepared), ("in_doubt", transactions.in_doubt)] {
            scope.gauge("avouch_transactions", &[("state", state)]).set(f64::from(count));
        }
        Ok(())
    }

    /// Another instance tells.
    fn fall_silent(&mut self, scope: &Scope) {
        for (state, name) in std::mem::take(&mut self.names) {
            set(scope, state, &name, 0, Duration::ZERO);
        }
        if std::mem::take(&mut self.transactions) {
            for state in ["prepared", "in_doubt"] {
                scope.gauge("avouch_transactions", &[("state", state)]).set(0.0);
            }
        }
    }
}

/// By the names that are told: topics beyond the bound are one.
fn gathered(scope: &Scope, backlog: Vec<Backlog>) -> BTreeMap<(State, String), (u32, Duration)> {
    let mut all: BTreeMap<(State, String), (u32, Duration)> = BTreeMap::new();
    for Backlog { state, name, count, oldest } in backlog {
        let name = if state == State::Receipt { name } else { scope.topic(&name) };
        let (sum, longest) = all.entry((state, name)).or_default();
        *sum = sum.saturating_add(count);
        *longest = (*longest).max(oldest);
    }
    all
}

fn set(scope: &Scope, state: State, name: &str, count: u32, oldest: Duration) {
    if state == State::Receipt {
        scope.gauge("avouch_awaited_receipts", &[("consumer", name)]).set(f64::from(count));
        return;
    }
    let labels: &[(&'static str, &str)] = &[("state", state.name()), ("topic", name)];
    scope.gauge("avouch_messages", labels).set(f64::from(count));
    scope.gauge("avouch_oldest_seconds", labels).set(oldest.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_beyond_the_bound_are_added_up_and_the_oldest_of_them_counts() {
        let scope = Scope::new("main", 1, []);
        let of = |name: &str, count, seconds| Backlog {
            state: State::Ready,
            name: name.to_owned(),
            count,
            oldest: Duration::from_secs(seconds),
        };
        let all = gathered(&scope, vec![of("a", 1, 5), of("b", 2, 7), of("c", 3, 6)]);
        let other = (State::Ready, crate::meters::OTHER.to_owned());
        assert_eq!(all.len(), 2);
        assert_eq!(all[&other], (5, Duration::from_secs(7)));
    }
}
