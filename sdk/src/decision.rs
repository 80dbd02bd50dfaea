//! What a consumer does with a message whose key it may have seen, and how that is decided unless a rule says otherwise.

use std::cmp::Ordering;

pub use crate::bindings::avouch::rules::types::{Decision, Identity, Seen, SeenRecord, Status};

/// How long [`Decision::by_default`] waits for another consumer: short against a lease, long against a round trip.
pub const RUNNING_PAUSE_MS: u32 = 1_000;

impl Identity {
    /// The idempotency key alone: 1 to 512 bytes.
    pub fn key(key: impl Into<String>) -> Self {
        Self { key: key.into(), fingerprint: None, version: None }
    }

    /// With a digest of what must be equal in two messages of this key: at most 128 bytes.
    pub fn with_fingerprint(self, fingerprint: impl Into<String>) -> Self {
        Self { fingerprint: Some(fingerprint.into()), ..self }
    }

    /// With a version: of one key, greater ones run and lower ones are skipped.
    pub fn with_version(self, version: u64) -> Self {
        Self { version: Some(version), ..self }
    }
}

impl Decision {
    /// It need not be done; `reason` says why.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    /// It never will be done; `reason` says why.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    /// Same key, other content; `difference` says what.
    pub fn conflict(difference: impl Into<String>) -> Self {
        Self::Conflict(difference.into())
    }

    /// What `#[idempotency]` decides without a `#[decide]`:
    /// - a new key, or work that failed: it runs;
    /// - work that another consumer has begun: asked again after [`RUNNING_PAUSE_MS`];
    /// - completed work: the greater version runs, the lower one is skipped. With equal versions, or where one of the
    ///   two has none, different fingerprints are a conflict; else it is done.
    ///
    /// ```
    /// use avouch_sdk::{Decision, Identity, Seen};
    ///
    /// let seen = Seen { identity: Identity::key("order-7"), record: None };
    /// assert_eq!(Decision::by_default(&seen), Decision::Run);
    /// ```
    pub fn by_default(seen: &Seen) -> Self {
        let Some(record) = &seen.record else { return Self::Run };
        match record.status {
            Status::Running => Self::Defer(RUNNING_PAUSE_MS),
            Status::Failed => Self::Run,
            Status::Completed => Self::of_completed(&seen.identity, record),
        }
    }

    fn of_completed(identity: &Identity, record: &SeenRecord) -> Self {
        let Some((new, known)) = identity.version.zip(record.version) else {
            return Self::of_fingerprints(identity, record);
        };
        match new.cmp(&known) {
            Ordering::Greater => Self::Run,
            Ordering::Less => Self::Skip(format!("version {new} is older than {known}, which is done")),
            Ordering::Equal => Self::of_fingerprints(identity, record),
        }
    }

    fn of_fingerprints(identity: &Identity, record: &SeenRecord) -> Self {
        match identity.fingerprint.as_deref().zip(record.fingerprint.as_deref()) {
            Some((new, known)) if new != known => {
                Self::Conflict(format!("fingerprint {new} is not {known}, of message {}", record.message_id))
            }
            _ => Self::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;

    fn key() -> Identity {
        Identity::key("k")
    }

    fn of_completed(new: Identity, known: Identity) -> Decision {
        Decision::by_default(&mock::seen_before(new, Status::Completed, known))
    }

    #[test]
    fn a_new_key_runs() {
        assert_eq!(Decision::by_default(&mock::seen(key())), Decision::Run);
    }

    #[test]
    fn running_work_is_waited_for_and_failed_work_runs_again() {
        let decide = |status| Decision::by_default(&mock::seen_before(key(), status, key()));
        assert_eq!(decide(Status::Running), Decision::Defer(RUNNING_PAUSE_MS));
        assert_eq!(decide(Status::Failed), Decision::Run);
    }

    #[test]
    fn of_completed_work_the_greater_version_runs_and_the_lower_is_skipped() {
        let decide = |new, known| of_completed(key().with_version(new), key().with_version(known));
        assert_eq!(decide(3, 2), Decision::Run);
        assert!(matches!(decide(1, 2), Decision::Skip(_)));
        assert_eq!(decide(2, 2), Decision::Done);
    }

    #[test]
    fn a_greater_version_may_have_another_fingerprint() {
        let new = key().with_version(3).with_fingerprint("b");
        assert_eq!(of_completed(new, key().with_version(2).with_fingerprint("a")), Decision::Run);
    }

    #[test]
    fn equal_versions_with_different_fingerprints_conflict() {
        let of = |fingerprint| key().with_version(2).with_fingerprint(fingerprint);
        assert!(matches!(of_completed(of("b"), of("a")), Decision::Conflict(_)));
        assert_eq!(of_completed(of("a"), of("a")), Decision::Done);
    }

    #[test]
    fn without_versions_fingerprints_tell_done_from_conflict() {
        assert_eq!(of_completed(key().with_fingerprint("a"), key().with_fingerprint("a")), Decision::Done);
        assert!(matches!(
            of_completed(key().with_fingerprint("b"), key().with_fingerprint("a")),
            Decision::Conflict(_)
        ));
    }

    #[test]
    fn without_a_fingerprint_the_key_alone_counts() {
        assert_eq!(of_completed(key(), key()), Decision::Done);
        assert_eq!(of_completed(key().with_fingerprint("a"), key()), Decision::Done);
    }

    #[test]
    fn a_version_on_one_side_only_is_not_compared() {
        assert_eq!(of_completed(key().with_version(1), key()), Decision::Done);
        assert_eq!(of_completed(key(), key().with_version(1)), Decision::Done);
    }
}
