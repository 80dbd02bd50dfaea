//! What a reader looks for, as the search form sends it: empty fields are no wish, times are written as people write them.

use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::signs::address;
use crate::store::search::Search;

/// The fields of the form.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Wanted {
    /// A message's id: leads to it.
    pub id: String,
    /// A topic, or `orders.>`.
    pub topic: String,
    /// A key.
    pub key: String,
    /// A state.
    pub state: String,
    /// A consumer, or `-`.
    pub consumer: String,
    /// A failure, as its group shows it.
    pub failure: String,
    /// Not before this.
    pub since: String,
    /// Before this.
    pub until: String,
    /// Where the page before this one ended.
    pub cursor: String,
}

/// Which field cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is no id.
    Id,
    /// It is no time.
    Since,
    /// It is no time.
    Until,
}

impl Wanted {
    /// The message that is wanted, if one is named.
    pub fn message(&self) -> Result<Option<Uuid>, Unreadable> {
        match self.id.trim() {
            "" => Ok(None),
            id => id.parse().map(Some).map_err(|_| Unreadable::Id),
        }
    }

    /// As the store is asked.
    pub fn search(&self, now: OffsetDateTime) -> Result<Search, Unreadable> {
        // A key may be anything, blanks at its ends included.
        let text = |field: &str| Some(field.to_owned()).filter(|text| !text.is_empty());
        let word = |field: &str| text(field.trim());
        Ok(Search {
            topic: word(&self.topic),
            key: text(&self.key),
            state: word(&self.state),
            consumer: word(&self.consumer),
            failure: text(&self.failure),
            since: at(&self.since, now).ok_or(Unreadable::Since)?,
            until: at(&self.until, now).ok_or(Unreadable::Until)?,
            cursor: word(&self.cursor),
            limit: None,
        })
    }

    /// Whether anything is asked for.
    pub fn is_any(&self) -> bool {
        let fields = [&self.topic, &self.key, &self.state, &self.consumer, &self.failure, &self.since, &self.until];
        fields.iter().any(|field| !field.is_empty())
    }

    /// The address of the same search, going on at this place.
    pub fn address(&self, cursor: &str) -> String {
        address(
            "/messages",
            &[
                ("topic", &self.topic),
                ("key", &self.key),
                ("state", &self.state),
                ("consumer", &self.consumer),
                ("failure", &self.failure),
                ("since", &self.since),
                ("until", &self.until),
                ("cursor", cursor),
            ],
        )
    }
}

/// A moment: `2026-01-31T12:00:00+01:00`, `2026-01-31 12:00` and `2026-01-31` in UTC, or `90m`, `2h`, `3d` ago. None: it is none of these.
pub fn at(text: &str, now: OffsetDateTime) -> Option<Option<OffsetDateTime>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    if let Some(ago) = ago(text) {
        return now.checked_sub(ago).map(Some);
    }
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{}:00Z", text.replacen(' ', "T", 1)),
        19 => format!("{}Z", text.replacen(' ', "T", 1)),
        _ => text.replacen(' ', "T", 1),
    };
    OffsetDateTime::parse(&full, &Rfc3339).ok().map(Some)
}

fn ago(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len() - 1)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    // Older than any message, and still a time.
    let number: i64 = number.trim().parse().ok().filter(|n| (0..=1_000_000).contains(n))?;
    Some(Duration::seconds(number * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::parse("2026-11-21T17:00:00Z", &Rfc3339).expect("is a time")
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, time) in [
            ("2026-11-21T18:00:00+01:00", "2026-11-21T17:00:00Z"),
            ("2026-11-21 17:00", "2026-11-21T17:00:00Z"),
            ("2026-11-21T17:00:00", "2026-11-21T17:00:00Z"),
            (" 2026-11-20 ", "2026-11-20T00:00:00Z"),
            ("90m", "2026-11-21T15:30:00Z"),
            ("2h", "2026-11-21T15:00:00Z"),
            ("1 d", "2026-11-20T17:00:00Z"),
        ] {
            let time = OffsetDateTime::parse(time, &Rfc3339).expect("is a time");
            assert_eq!(at(text, now()), Some(Some(time)), "{text}");
        }
        assert_eq!(at("  ", now()), Some(None));
        for wrong in ["yesterday", "2026-13-01", "-5m", "9999999999999d", "h", "ü", "1ü", "2026-11-21T25:00"] {
            assert_eq!(at(wrong, now()), None, "{wrong}");
        }
    }

    #[test]
    fn empty_fields_are_no_wish() {
        let wanted = Wanted { key: " a ".into(), topic: " t ".into(), ..Wanted::default() };
        let search = wanted.search(now()).expect("is readable");
        assert_eq!((search.key.as_deref(), search.topic.as_deref(), search.state), (Some(" a "), Some("t"), None));
        assert!(wanted.is_any() && !Wanted::default().is_any());
        let wrong = Wanted { until: "x".into(), ..Wanted::default() };
        assert_eq!(wrong.search(now()).err(), Some(Unreadable::Until));
        assert_eq!(Wanted { id: "x".into(), ..Wanted::default() }.message(), Err(Unreadable::Id));
    }

    #[test]
    fn next_page_asks_the_same() {
        let wanted = Wanted { topic: "orders.>".into(), key: "a b".into(), cursor: "old".into(), ..Wanted::default() };
        assert_eq!(wanted.address("17.4"), "/messages?topic=orders%2E%3E&key=a%20b&cursor=17%2E4");
    }
}
