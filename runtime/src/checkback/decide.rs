//! What follows from a checker's answer. Pure: absence of knowledge never decides.

use crate::rules::{Fault, Verdict};

use super::{CheckerConfig, Config, OnExhausted};

/// What is known of a transaction when its checker has answered.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Since it was prepared.
    pub age_ms: u64,
    /// Since it was asked about first, or anew.
    pub checking_ms: u64,
    /// How often it was asked about, this time included.
    pub checks: u32,
    /// How many answers before this one were unknown.
    pub unknowns: u32,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Its messages go out.
    Commit { reason: Option<String> },
    /// Its messages are cancelled, its compensations go out.
    RollBack { reason: String },
    /// It is asked about again.
    Postpone { wait_ms: u64, unknown: bool, said: String },
    /// A person decides, or the producer.
    Park { reason: String },
}

/// A pause that a plugin asks for is not longer than this: a day.
const WAIT_MAX_MS: u64 = 86_400_000;

/// The rule of the design: in-progress is bounded by age, unknown by attempts, a broken checker by neither.
pub fn decide(answer: Result<Verdict, Fault>, facts: Facts, config: &Config, checker: &CheckerConfig) -> Move {
    match answer {
        Ok(Verdict::Commit) => Move::Commit { reason: None },
        Ok(Verdict::Rollback(why)) if facts.age_ms < checker.rollback_after_ms => {
            let left_ms = checker.rollback_after_ms - facts.age_ms;
            let said =
                format!("rollback ({why}), too early: checker rollback_after_ms = {}", checker.rollback_after_ms);
            Move::Postpone { wait_ms: left_ms.min(config.in_progress_ms).max(1), unknown: false, said }
        }
        Ok(Verdict::Rollback(reason)) => Move::RollBack { reason },
        Ok(Verdict::InProgress(after)) => {
            if facts.checking_ms >= config.in_progress_age_max_ms {
                let age_s = facts.checking_ms / 1000;
                return exhausted(checker, format!("in progress for {age_s} s: checkback.in_progress_age_max_ms"));
            }
            let wait_ms = after.map_or(config.in_progress_ms, u64::from).clamp(1, WAIT_MAX_MS);
            Move::Postpone { wait_ms, unknown: false, said: "in progress".into() }
        }
        Ok(Verdict::Unknown(after)) => unknown(after.map(u64::from), "unknown".into(), facts, config, checker),
        Err(Fault::Transient(why)) => unknown(None, format!("unknown: {why}"), facts, config, checker),
        Err(Fault::Permanent(why)) => Move::Park { reason: format!("its checker cannot judge it: {why}") },
        Err(fault @ (Fault::Missing | Fault::Broken(_))) => {
            let wait_ms = doubled(config.broken_first_ms, facts.checks.saturating_sub(1), config.broken_max_ms);
            Move::Postpone { wait_ms, unknown: false, said: format!("broken checker: {fault}") }
        }
    }
}

fn unknown(after: Option<u64>, said: String, facts: Facts, config: &Config, checker: &CheckerConfig) -> Move {
    if facts.unknowns + 1 >= config.unknowns_max {
        let reason = format!("{said}, {} times: checkback.unknowns_max", facts.unknowns + 1);
        return exhausted(checker, reason);
    }
    let wait_ms = after.unwrap_or_else(|| doubled(config.unknown_first_ms, facts.unknowns, config.unknown_max_ms));
    Move::Postpone { wait_ms: wait_ms.clamp(1, WAIT_MAX_MS), unknown: true, said }
}

fn exhausted(checker: &CheckerConfig, reason: String) -> Move {
    match checker.on_exhausted {
        OnExhausted::Park => Move::Park { reason },
        OnExhausted::Commit => Move::Commit { reason: Some(reason) },
        OnExhausted::Rollback => Move::RollBack { reason },
    }
}

/// `first`, doubled `times` times, at most `max`.
fn doubled(first_ms: u64, times: u32, max_ms: u64) -> u64 {
    first_ms.saturating_mul(2u64.saturating_pow(times.min(40))).min(max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts { age_ms: 120_000, checking_ms: 120_000, checks: 1, unknowns: 0 };

    fn decided(answer: Result<Verdict, Fault>, facts: Facts) -> Move {
        decide(answer, facts, &Config::default(), &CheckerConfig::default())
    }

    #[test]
    fn verdicts_decide() {
        assert_eq!(decided(Ok(Verdict::Commit), FACTS), Move::Commit { reason: None });
        let rolled = decided(Ok(Verdict::Rollback("no order".into())), FACTS);
        assert_eq!(rolled, Move::RollBack { reason: "no order".into() });
    }

    #[test]
    fn absence_is_not_rollback_while_the_business_transaction_may_be_running() {
        let young = Facts { age_ms: 1_000, ..FACTS };
        let moved = decided(Ok(Verdict::Rollback("not found".into())), young);
        assert!(
            matches!(&moved, Move::Postpone { unknown: false, said, .. } if said.contains("rollback_after_ms")),
            "{moved:?}"
        );
    }

    #[test]
    fn faults_never_decide() {
        for fault in [Fault::Missing, Fault::Broken("trap".into()), Fault::Transient("away".into())] {
            for checks in [1, 1_000_000] {
                let moved = decided(Err(fault.clone()), Facts { checks, ..FACTS });
                assert!(matches!(moved, Move::Postpone { .. }), "{moved:?}");
            }
        }
        assert!(matches!(decided(Err(Fault::Permanent("odd".into())), FACTS), Move::Park { .. }));
    }

    #[test]
    fn unknown_is_bounded_by_attempts_and_in_progress_by_age() {
        let config = Config::default();
        let last = Facts { unknowns: config.unknowns_max - 1, ..FACTS };
        assert!(matches!(decided(Ok(Verdict::Unknown(None)), last), Move::Park { .. }));
        assert!(matches!(decided(Err(Fault::Transient("away".into())), last), Move::Park { .. }));
        let old = Facts { checking_ms: config.in_progress_age_max_ms, ..FACTS };
        assert!(matches!(decided(Ok(Verdict::InProgress(None)), old), Move::Park { .. }));
        assert!(matches!(decided(Ok(Verdict::InProgress(None)), last), Move::Postpone { unknown: false, .. }));
    }

    #[test]
    fn exhaustion_does_what_the_checker_is_configured_to_do() {
        let config = Config::default();
        let last = Facts { unknowns: config.unknowns_max - 1, ..FACTS };
        let with = |on_exhausted| CheckerConfig { on_exhausted, ..CheckerConfig::default() };
        let moved = |on| decide(Ok(Verdict::Unknown(None)), last, &config, &with(on));
        assert!(matches!(moved(OnExhausted::Commit), Move::Commit { reason: Some(_) }));
        assert!(matches!(moved(OnExhausted::Rollback), Move::RollBack { .. }));
    }

    #[test]
    fn pauses_double_to_their_bound_unless_the_plugin_names_one() {
        let wait = |unknowns, after| match decided(Ok(Verdict::Unknown(after)), Facts { unknowns, ..FACTS }) {
            Move::Postpone { wait_ms, .. } => wait_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!([wait(0, None), wait(1, None), wait(13, None)], [1_000, 2_000, 300_000]);
        assert_eq!([wait(5, Some(7)), wait(5, Some(u32::MAX))], [7, WAIT_MAX_MS]);
    }
}
