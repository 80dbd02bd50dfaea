//! What was counted, as it travels to the request that confirms it: whatever came to be like that later is not touched.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;
use uuid::Uuid;

use super::problem::Problem;

/// Where the counting stood: `1795294800123456`, or `1795294800123456.01890a5d-ac96-774b-bcce-b302099a8057`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Counted {
    /// What has come to be like that since, by the database's clock, was not counted.
    pub as_of: OffsetDateTime,
    /// The last one that was counted, if one request does not take all of them.
    pub last: Option<Uuid>,
}

/// That something is removed, whatever waits for it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// How many messages may wait for it at most: needed if any does. They are counted to about 10000, which stands for more too.
    pub confirm: Option<i64>,
    /// Why, for the audit.
    pub reason: Option<String>,
}

impl Removal {
    /// Refuses if more wait for it than somebody has seen.
    pub fn check(&self, name: &str, waiting: i64) -> Result<(), Problem> {
        if waiting <= self.confirm.unwrap_or(0) {
            return Ok(());
        }
        let detail = match self.confirm {
            None => format!("{waiting} messages wait for {name}"),
            Some(number) => format!("{waiting} messages wait for {name} now, and {number} were confirmed"),
        };
        Err(Problem::conflict(detail, format!("look at them first, then send confirm = {waiting}")))
    }
}

/// Longer ago, so much has changed that somebody should look again; what happened is kept for longer than that.
const AGE_MAX: Duration = Duration::HOUR;

impl Counted {
    /// Refuses what was counted too long ago.
    pub fn check(&self, now: OffsetDateTime) -> Result<(), Problem> {
        if now - self.as_of <= AGE_MAX {
            return Ok(());
        }
        Err(Problem::conflict("they were counted more than an hour ago", "count them again, then confirm that number"))
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.as_of.unix_timestamp_nanos() / 1000;
        match self.last {
            None => write!(f, "{micros}"),
            Some(last) => write!(f, "{micros}.{last}"),
        }
    }
}

impl FromStr for Counted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not what a dry run has told as counted");
        let (micros, last) = text.split_once('.').map_or((text, None), |(micros, last)| (micros, Some(last)));
        let micros: i64 = micros.parse().map_err(|_| wrong())?;
        let as_of = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).map_err(|_| wrong())?;
        let last = last.map(str::parse).transpose().map_err(|_| wrong())?;
        Ok(Self { as_of, last })
    }
}

impl From<Counted> for String {
    fn from(counted: Counted) -> Self {
        counted.to_string()
    }
}

impl TryFrom<String> for Counted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_travels_as_a_word() {
        for word in ["1795294800123456", "1795294800123456.01890a5d-ac96-774b-bcce-b302099a8057", "-1", "0"] {
            let counted: Counted = word.parse().expect("is one");
            assert_eq!(counted.to_string(), word);
        }
        for other in [
            "",
            ".",
            "1.",
            "1.x",
            "x.01890a5d-ac96-774b-bcce-b302099a8057",
            "99999999999999999999",
            "9223372036854775807",
        ] {
            assert!(other.parse::<Counted>().is_err(), "{other}");
        }
    }

    #[test]
    fn nothing_is_removed_with_more_than_was_seen() {
        let check = |confirm, waiting| Removal { confirm, reason: None }.check("own", waiting);
        assert!(check(None, 0).is_ok() && check(Some(3), 3).is_ok() && check(Some(3), 2).is_ok());
        for (confirm, waiting) in [(None, 1), (Some(0), 1), (Some(3), 4), (Some(-1), 1)] {
            let refused = check(confirm, waiting).expect_err("more wait than were confirmed");
            assert_eq!(refused.status, 409);
            assert!(refused.remedy.contains(&format!("confirm = {waiting}")), "{refused:?}");
        }
    }

    #[test]
    fn what_was_counted_long_ago_is_counted_again() {
        let as_of = OffsetDateTime::UNIX_EPOCH;
        let counted = Counted { as_of, last: None };
        assert!(counted.check(as_of + Duration::minutes(59)).is_ok());
        assert!(counted.check(as_of + Duration::minutes(61)).is_err_and(|problem| problem.status == 409));
    }
}
