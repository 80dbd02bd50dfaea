//! The right protocol, and each mistake.

use super::*;
use crate::explore::{holds, refuted};

fn transaction(business: Business, isolation: Isolation, mistake: Option<Mistake>) -> Transaction {
    Transaction { business, isolation, mistake }
}

#[test]
fn business_action_and_messages_agree_whoever_decides_and_when() {
    for business in [Business::Here, Business::Elsewhere] {
        for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead] {
            holds(transaction(business, isolation, None), 2_000);
        }
    }
}

#[test]
fn settling_in_one_snapshot_strands_a_half_message() {
    let broken = refuted(transaction(Business::Here, Isolation::ReadCommitted, Some(Mistake::OneSnapshot)));
    assert_eq!(broken.rule, "no half message is left prepared by its settling");
}

#[test]
fn share_lock_instead_of_counting_strands_a_half_message_in_repeatable_read() {
    let broken = refuted(transaction(Business::Here, Isolation::RepeatableRead, Some(Mistake::ShareLock)));
    assert_eq!(broken.rule, "no half message is left prepared by its settling");
    holds(transaction(Business::Here, Isolation::ReadCommitted, Some(Mistake::ShareLock)), 2_000);
}

#[test]
fn commit_without_the_fence_lets_the_business_action_happen_after_its_rollback() {
    let broken = refuted(transaction(Business::Here, Isolation::ReadCommitted, Some(Mistake::NoFence)));
    assert!(["never both outcomes", "only what follows from the outcome is sent"].contains(&broken.rule), "{broken:?}");
}

#[test]
fn verdict_that_does_not_look_whether_somebody_has_decided_contradicts_it() {
    let broken = refuted(transaction(Business::Here, Isolation::ReadCommitted, Some(Mistake::UnguardedVerdict)));
    assert_eq!(broken.way.last(), Some(&Action::End(Who::Checker)), "{broken:?}");
}
