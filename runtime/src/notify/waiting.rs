//! What waits for endpoints, told as gauges: by one instance of many, so that a sum over all of them counts nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::meters::Scope;
use crate::store::notify::WaitingFor;
use crate::store::{Error, Store};

/// Of each endpoint so many are looked at.
const LOOK_ROWS: i64 = 10_000;
/// A look that took long, as there are many endpoints, is repeated no sooner than so many times its length.
const PAUSE_FACTOR: u32 = 20;

/// The labels that were told last: what is gone becomes nought.
#[derive(Debug, Default)]
pub struct Told {
    names: BTreeSet<String>,
    not_before: Option<Instant>,
}

impl Told {
    /// Tells how it is.
    pub async fn tell(&mut self, store: &Store) -> Result<(), Error> {
        let began = Instant::now();
        if self.not_before.is_some_and(|at| began < at) {
            return Ok(());
        }
        let waiting = store.waiting_deliveries(LOOK_ROWS).await?;
        self.not_before = Some(Instant::now() + began.elapsed() * PAUSE_FACTOR);
        let scope = store.scope();
        let now = gathered(scope, waiting);
        for name in self.names.iter().filter(|name| !now.contains_key(*name)) {
            set(scope, name, 0, Duration::ZERO);
        }
        for (name, (count, oldest)) in &now {
            set(scope, name, *count, *oldest);
        }
        self.names = now.into_keys().collect();
        Ok(())
    }

    /// Another instance tells.
    pub fn fall_silent(&mut self, scope: &Scope) {
        for name in std::mem::take(&mut self.names) {
            set(scope, &name, 0, Duration::ZERO);
        }
        self.not_before = None;
    }
}

/// By the names that are told: endpoints beyond the bound are one.
fn gathered(scope: &Scope, waiting: Vec<WaitingFor>) -> BTreeMap<String, (u32, Duration)> {
    let mut all: BTreeMap<String, (u32, Duration)> = BTreeMap::new();
    for WaitingFor { endpoint, count, oldest } in waiting {
        let (sum, longest) = all.entry(scope.endpoint(&endpoint)).or_default();
        *sum = sum.saturating_add(count);
        *longest = (*longest).max(oldest);
    }
    all
}

fn set(scope: &Scope, name: &str, count: u32, oldest: Duration) {
    let labels: &[(&'static str, &str)] = &[("endpoint", name)];
    scope.gauge("avouch_notify_waiting", labels).set(f64::from(count));
    scope.gauge("avouch_notify_oldest_seconds", labels).set(oldest.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_beyond_the_bound_are_added_up_and_the_oldest_of_them_counts() {
        let scope = Scope::new("main", 1, []);
        let of = |name: &str, count, seconds| WaitingFor {
            endpoint: name.to_owned(),
            count,
            oldest: Duration::from_secs(seconds),
        };
        let all = gathered(&scope, vec![of("a", 1, 5), of("b", 2, 7), of("c", 3, 6)]);
        assert_eq!(all.len(), 2);
        assert_eq!(all["a"], (1, Duration::from_secs(5)));
        assert_eq!(all[crate::meters::OTHER], (5, Duration::from_secs(7)));
    }
}
