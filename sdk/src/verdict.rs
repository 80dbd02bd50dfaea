//! What a check-back answers, and why there may be no answer.

use std::num::ParseIntError;
use std::str::Utf8Error;

pub use crate::bindings::avouch::rules::types::{RuleError, Verdict};

impl Verdict {
    /// It did not happen and never will; `reason` says why.
    pub fn rollback(reason: impl Into<String>) -> Self {
        Self::Rollback(reason.into())
    }

    /// It is still going on; the configuration says when to ask again.
    pub fn in_progress() -> Self {
        Self::InProgress(None)
    }

    /// It is still going on; ask again after `pause_ms` milliseconds.
    pub fn in_progress_for(pause_ms: u32) -> Self {
        Self::InProgress(Some(pause_ms))
    }

    /// It cannot be told now; ask again after a growing pause.
    pub fn unknown() -> Self {
        Self::Unknown(None)
    }

    /// It cannot be told now; ask again after `pause_ms` milliseconds.
    pub fn unknown_for(pause_ms: u32) -> Self {
        Self::Unknown(Some(pause_ms))
    }
}

impl RuleError {
    /// Trying again may help.
    pub fn transient(why: impl Into<String>) -> Self {
        Self::Transient(why.into())
    }

    /// Trying again will not help with this one; it is parked for a person.
    pub fn permanent(why: impl Into<String>) -> Self {
        Self::Permanent(why.into())
    }

    /// Why there is no answer, whatever its class.
    pub fn reason(&self) -> &str {
        match self {
            Self::Transient(why) | Self::Permanent(why) | Self::Denied(why) => why,
        }
    }
}

/// JSON of another shape than expected stays so: permanent.
impl From<serde_json::Error> for RuleError {
    fn from(e: serde_json::Error) -> Self {
        Self::Permanent(format!("JSON cannot be read: {e}"))
    }
}

/// Bytes that are no text stay so: permanent.
impl From<Utf8Error> for RuleError {
    fn from(e: Utf8Error) -> Self {
        Self::Permanent(format!("text cannot be read: {e}"))
    }
}

/// Text that is no integer stays so: permanent.
impl From<ParseIntError> for RuleError {
    fn from(e: ParseIntError) -> Self {
        Self::Permanent(format!("integer cannot be read: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_permanent() {
        let json = serde_json::from_str::<u64>("{").map_err(RuleError::from);
        let integer = "seven".parse::<u64>().map_err(RuleError::from);
        let text = String::from_utf8(vec![0xff]).map_err(|e| RuleError::from(e.utf8_error()));
        assert!(matches!(json, Err(RuleError::Permanent(_))));
        assert!(matches!(integer, Err(RuleError::Permanent(_))));
        assert!(matches!(text, Err(RuleError::Permanent(_))));
    }
}
