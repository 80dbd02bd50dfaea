//! Writing down what checkers said: one statement for each kind of answer.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use uuid::Uuid;

use super::decide::Move;
use crate::killpoint::{self, Point};
use crate::store::{Claim, Decided, Error, LogLine, Parked, Postponed, Store};

/// What came of settling a batch.
pub struct Settled {
    /// What could not be written down, to be tried again.
    pub left: Vec<(Claim, Move)>,
    /// The first statement that failed ended it.
    pub result: Result<(), Error>,
}

/// Settles, postpones and parks; everything is guarded by what it expects.
pub async fn settle(store: &Store, batch: Vec<(Claim, Move)>, log: &[LogLine], random: &RandomState) -> Settled {
    let mut settled = Settled { left: Vec::new(), result: Ok(()) };
    let (mut commits, mut rollbacks, mut postponed, mut parked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (claim, moved) in &batch {
        let (id, digest) = (claim.id, claim.checked_by.clone());
        match moved {
            Move::Commit { reason } => commits.push(Decided { id, reason: reason.clone(), digest }),
            Move::RollBack { reason } => rollbacks.push(Decided { id, reason: Some(reason.clone()), digest }),
            Move::Postpone { wait_ms, unknown, said } => postponed.push(Postponed {
                id,
                until: claim.until,
                wait_ms: i64::try_from(jittered(*wait_ms, random.hash_one(claim.id))).unwrap_or(i64::MAX),
                unknown: i32::from(*unknown),
                said: said.clone(),
                digest,
            }),
            Move::Park { reason } => {
                parked.push(Parked { id, until: claim.until, reason: reason.clone(), digest });
            }
        }
    }
    let work = async {
        for (outcome, decided) in [("commit", commits), ("rollback", rollbacks)] {
            if !decided.is_empty() {
                let moved = store.settle(outcome, &decided).await?;
                count(store, &batch, outcome, &moved);
                let moved = moved.len();
                killpoint::reached_by(Point::Committed, moved);
                if moved < decided.len() {
                    tracing::debug!(
                        outcome,
                        lost = decided.len() - moved,
                        "verdicts that came after a decision of the producer"
                    );
                }
            }
        }
        if !postponed.is_empty() {
            store.postpone(&postponed).await?;
        }
        if !parked.is_empty() {
            count(store, &batch, "in_doubt", &store.park(&parked).await?);
        }
        Ok(())
    };
    settled.result = work.await;
    if settled.result.is_ok()
        && !log.is_empty()
        && let Err(e) = store.log_plugins(log).await
    {
        tracing::debug!(error = %e, lines = log.len(), "lines of plugins could not be kept");
    }
    if settled.result.is_err() {
        // Each statement is guarded by what it expects: repeating those that worked touches nothing.
        settled.left = batch;
    }
    settled
}

/// Of each checker, how many of the batch have come to this end.
fn count(store: &Store, batch: &[(Claim, Move)], outcome: &str, moved: &[Uuid]) {
    let moved: HashSet<&Uuid> = moved.iter().collect();
    let mut by_checker: BTreeMap<&str, u64> = BTreeMap::new();
    for (claim, _) in batch.iter().filter(|(claim, _)| moved.contains(&claim.id)) {
        *by_checker.entry(&claim.checker).or_default() += 1;
    }
    let scope = store.scope();
    for (checker, count) in by_checker {
        let labels: &[(&'static str, &str)] = &[("checker", &scope.checker(checker)), ("outcome", outcome)];
        scope.counter("avouch_transactions_settled_total", labels).increment(count);
    }
}

/// Up to a tenth longer, so that what became due together does not stay together.
fn jittered(wait_ms: u64, random: u64) -> u64 {
    wait_ms + random % (wait_ms / 10).max(1)
}
