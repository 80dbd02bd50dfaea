//! Times in documents are RFC 3339 in UTC, in whatever time zone the database thinks.

use serde::{Deserializer, Serializer};
use time::serde::rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// As the document tells it, in UTC.
pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<OffsetDateTime, D::Error> {
    Ok(rfc3339::deserialize(from)?.to_offset(UtcOffset::UTC))
}

/// In RFC 3339.
pub fn serialize<S: Serializer>(at: &OffsetDateTime, to: S) -> Result<S::Ok, S::Error> {
    rfc3339::serialize(at, to)
}

/// Where there may be none.
pub mod option {
    use super::*;

    /// As the document tells it, in UTC.
    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<OffsetDateTime>, D::Error> {
        Ok(rfc3339::option::deserialize(from)?.map(|at| at.to_offset(UtcOffset::UTC)))
    }

    /// In RFC 3339.
    pub fn serialize<S: Serializer>(at: &Option<OffsetDateTime>, to: S) -> Result<S::Ok, S::Error> {
        rfc3339::option::serialize(at, to)
    }
}
