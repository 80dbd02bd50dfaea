//! The right protocol under every combination of faults that stays small, and each mistake.

use super::*;
use crate::explore::{holds, refuted};

const NONE: Faults = Faults { crashes: 0, losses: 0, hastes: 0, forgets: 0, purges: 0, aborts: 0, failovers: 0 };
const ORDER: &str = "first occurrences are in the order of their key";
const HELD: &str = "a row is marked only if the stream held it";

fn message(keys: &'static [char], faults: Faults, mistake: Option<Mistake>) -> Message {
    Message { keys, faults, mistake }
}

#[test]
fn nothing_is_lost_invented_or_overtaken_when_runtimes_crash_and_transactions_end_in_any_order() {
    holds(message(&['a', 'b', 'a'], Faults { crashes: 1, aborts: 1, ..NONE }, None), 1_000);
    holds(message(&['a', 'a', 'a'], Faults { crashes: 2, ..NONE }, None), 1_000);
}

#[test]
fn nothing_is_lost_invented_or_overtaken_when_the_broker_forgets_and_is_purged() {
    holds(message(&['a', 'a'], Faults { losses: 1, forgets: 1, purges: 1, hastes: 1, ..NONE }, None), 1_000);
    holds(message(&['a', 'a'], Faults { crashes: 1, losses: 1, forgets: 1, purges: 1, ..NONE }, None), 1_000);
}

#[test]
fn nothing_is_lost_invented_or_overtaken_when_postgres_fails_over_and_reissues_sequences() {
    holds(message(&['a', 'a', 'a'], Faults { failovers: 1, ..NONE }, None), 1_000);
    holds(message(&['a', 'b', 'a'], Faults { failovers: 1, hastes: 1, ..NONE }, None), 1_000);
    holds(message(&['a', 'a', 'a'], Faults { failovers: 1, crashes: 1, ..NONE }, None), 1_000);
}

#[test]
fn workers_that_share_keys_by_skip_locked_reorder_them() {
    assert_eq!(refuted(message(&['a', 'a'], NONE, Some(Mistake::SkipLocked))).rule, ORDER);
}

#[test]
fn cursor_that_does_not_look_below_itself_reorders_keys() {
    assert_eq!(refuted(message(&['a', 'b', 'a'], NONE, Some(Mistake::CursorAlone))).rule, ORDER);
}

#[test]
fn duplicate_puback_taken_for_possession_marks_what_was_purged() {
    let faults = Faults { purges: 1, losses: 1, ..NONE };
    assert_eq!(refuted(message(&['a'], faults, Some(Mistake::DuplicateIsPossession))).rule, HELD);
}

#[test]
fn mark_by_seq_alone_loses_a_row_whose_seq_was_reissued() {
    let faults = Faults { failovers: 1, ..NONE };
    assert_eq!(refuted(message(&['a', 'a'], faults, Some(Mistake::MarkBySeq))).rule, HELD);
}

#[test]
fn puback_by_seq_alone_loses_a_row_whose_seq_was_reissued() {
    let faults = Faults { failovers: 1, hastes: 1, ..NONE };
    assert_eq!(refuted(message(&['a', 'a'], faults, Some(Mistake::PubAckBySeq))).rule, HELD);
}

#[test]
fn row_taken_for_the_one_that_had_its_seq_is_overtaken() {
    let faults = Faults { failovers: 1, ..NONE };
    assert_eq!(refuted(message(&['a', 'a', 'a'], faults, Some(Mistake::RowBySeq))).rule, ORDER);
}

#[test]
fn row_that_was_taken_for_seen_after_a_failover_is_overtaken() {
    let faults = Faults { failovers: 1, ..NONE };
    assert_eq!(refuted(message(&['a', 'a', 'a'], faults, Some(Mistake::HorizonOutlivesFailover))).rule, ORDER);
}
