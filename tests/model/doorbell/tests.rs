//! The right protocol, and each mistake.

use super::*;
use crate::explore::{NEVER_ENDS, holds, refuted};

#[test]
fn doorbell_loses_no_wake_up_in_any_interleaving() {
    holds(Doorbell { handovers: 1, cuts: 0, mistake: None }, 10_000);
    holds(Doorbell { handovers: 0, cuts: 2, mistake: None }, 10_000);
}

#[test]
fn doorbell_with_a_mistake_loses_a_wake_up() {
    for mistake in [Mistake::NoSecondLook, Mistake::RingDuringTheLookIsIgnored, Mistake::LockEndsBeforeTheCommit] {
        let broken = refuted(Doorbell { handovers: 1, cuts: 0, mistake: Some(mistake) });
        assert_eq!(broken.rule, "no wake-up is lost", "{mistake:?}");
    }
}

#[test]
fn former_owner_that_keeps_k_keeps_the_next_one_awake() {
    let broken = refuted(Doorbell { handovers: 1, cuts: 0, mistake: Some(Mistake::FormerOwnerKeepsK) });
    assert_eq!(broken.rule, NEVER_ENDS);
}

#[test]
fn grant_of_an_outdated_wish_that_is_kept_makes_every_insert_notify_an_awake_relay() {
    let broken = refuted(Doorbell { handovers: 1, cuts: 0, mistake: Some(Mistake::OutdatedGrantIsKept) });
    assert_eq!(broken.rule, "no relay keeps K while it is awake");
}
