//! What can be said of an endpoint, in a section, over the API or by a command, and what cannot be. Pure, but for what a URL is.

use std::collections::BTreeMap;

use reqwest::header::{HeaderName, HeaderValue};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::address::Allowed;
use crate::consumers::{is_pattern, overlap};
use crate::outside;
use crate::signature::{Key, NoKey, Sort};

/// After a first try at once: a minute, 5, 10, 30 minutes, 1, 2, 5, 10 hours. Nine tries in nineteen hours.
pub fn schedule_s() -> Vec<u32> {
    vec![60, 300, 600, 1_800, 3_600, 7_200, 18_000, 36_000]
}

/// What failed together is spread over a tenth of its pause.
pub fn jitter_percent() -> u8 {
    10
}

/// Receivers shall note it and answer, not do it.
pub fn timeout_ms() -> u32 {
    15_000
}

/// A small server bears it.
pub fn in_flight_max() -> u16 {
    8
}

/// How long secrets that are replaced sign too, in hours, if it is not said: receivers change over within a day.
pub const OVERLAP_HOURS: u32 = 24;
/// The longest: a month.
pub const OVERLAP_HOURS_MAX: u32 = 720;

/// How an endpoint is told: what its section or the API says, as the database keeps it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, ToSchema)]
#[schema(as = EndpointSettings)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Pauses between tries.
    pub schedule_s: Vec<u32>,
    /// Each pause is longer by at most so many hundredths.
    pub jitter_percent: u8,
    /// How long a try may take.
    pub timeout_ms: u32,
    /// Tries a second.
    pub rate_per_s: Option<u32>,
    /// Tries under way at a time.
    pub in_flight_max: u16,
    /// The plugin that shapes requests and reads answers.
    pub plugin: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schedule_s: schedule_s(),
            jitter_percent: jitter_percent(),
            timeout_ms: timeout_ms(),
            rate_per_s: None,
            in_flight_max: in_flight_max(),
            plugin: None,
        }
    }
}

/// A schedule of more tries is a loop.
const TRIES_MAX: usize = 100;
/// The longest pause: thirty days.
const PAUSE_S_MAX: u32 = 30 * 86_400;

impl Settings {
    /// Those that the database keeps: a newer version's fields are passed over, where whoever writes them by hand is told of a typing error.
    pub fn stored<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut fields = serde_json::Map::<String, serde_json::Value>::deserialize(from)?;
        let known = serde_json::to_value(Self::default()).map_err(D::Error::custom)?;
        fields.retain(|name, _| known.get(name).is_some());
        serde_json::from_value(fields.into()).map_err(D::Error::custom)
    }

    /// What is wrong with them.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |is_fine: bool, text: &str| {
            if !is_fine {
                faults.push(text.to_owned());
            }
        };
        let fits = self.schedule_s.len() < TRIES_MAX && self.schedule_s.iter().all(|s| *s <= PAUSE_S_MAX);
        check(fits, "schedule_s: at most 99 pauses of at most 2592000 seconds");
        check(self.jitter_percent <= 100, "jitter_percent: at most 100");
        check((100..=300_000).contains(&self.timeout_ms), "timeout_ms: from 100 to 300000");
        check(self.rate_per_s != Some(0), "rate_per_s: at least 1, or leave it out");
        check((1..=1_000).contains(&self.in_flight_max), "in_flight_max: from 1 to 1000");
        faults
    }
}

/// What endpoints may be here.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What anybody may be told of; empty: nobody is told, and anything may be written down for later.
    pub topics: Vec<String>,
    /// Private networks that they may be in.
    pub allowed: Allowed,
    /// They may be told by plain HTTP.
    pub allow_http: bool,
}

/// Who is told, of what, and how.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// A label.
    pub tenant: String,
    /// Where it is.
    pub url: String,
    /// What it is told.
    pub topics: Vec<String>,
    /// Headers that messages must have.
    pub filter: BTreeMap<String, String>,
    /// One key's messages one after the other.
    pub is_ordered: bool,
    /// How it is told.
    pub settings: Settings,
}

/// What an endpoint is and how it is told, as somebody wishes it.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(as = EndpointDescription)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// `https://host/path`.
    pub url: String,
    /// What it is told, as in subjects; within `notify.topics`.
    pub topics: Vec<String>,
    /// Headers that messages must have, with these values.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// A label.
    #[serde(default)]
    pub tenant: String,
    /// Whether messages of one key are told one after the other.
    #[serde(default)]
    pub ordered: bool,
    /// When and how it is told.
    #[serde(default)]
    pub settings: Settings,
    /// Headers that are sent along. They are not shown again; when it is changed without them, they stay.
    pub headers: Option<BTreeMap<String, String>>,
}

/// Names and values of headers that are sent along; none: those that are stay.
pub type Along = Option<BTreeMap<String, String>>;

/// What signs for an endpoint, and what its receiver verifies with.
pub struct Signing {
    /// `whsec_…` or `whsk_…`: it is kept, and told to nobody.
    pub secret: String,
    /// `whsec_…`, or the public `whpk_…`.
    pub verifies: String,
}

impl Signing {
    /// With the secret that was given, or with a new one of this sort.
    pub fn of(given: Option<String>, sort: Sort) -> Result<Self, NoKey> {
        let secret = match given {
            Some(secret) => secret,
            None => Key::make(sort)?,
        };
        let verifies = Key::parse(&secret)?.public().unwrap_or_else(|| secret.clone());
        Ok(Self { secret, verifies })
    }
}

impl Terms {
    /// The endpoint that somebody wishes, with the headers that are sent along, or all that is wrong with it.
    pub fn described(&self, name: &str, wanted: Description) -> Result<(Described, Along), String> {
        let Description { url, topics, filter, tenant, ordered, settings, headers } = wanted;
        let described = Described { name: name.to_owned(), tenant, url, topics, filter, is_ordered: ordered, settings };
        let mut faults = self.faults(&described);
        for (name, value) in headers.iter().flatten() {
            faults.extend(check_header(name, value).err().map(|why| format!("headers: {why}")));
        }
        if faults.is_empty() { Ok((described, headers)) } else { Err(faults.join("; ")) }
    }

    /// What is wrong with an endpoint, each with what to write instead.
    pub fn faults(&self, endpoint: &Described) -> Vec<String> {
        let Described { name, tenant, url, topics, filter, .. } = endpoint;
        let mut faults = endpoint.settings.faults();
        if !is_name(name) {
            faults.push("its name: 1 to 64 letters, digits, - and _".to_owned());
        }
        if let Err(why) = outside::check(url, &self.allowed, self.allow_http) {
            faults.push(format!("url: {why}"));
        }
        if topics.is_empty() || !topics.iter().all(|t| is_pattern(t)) {
            faults.push("topics: at least one; tokens as in topics, *, and > at the end".to_owned());
        }
        let is_known = |topic: &str| self.topics.is_empty() || self.topics.iter().any(|known| overlap(known, topic));
        for topic in topics.iter().filter(|topic| !is_known(topic)) {
            faults.push(format!("topics: {topic} is outside of notify.topics: add it there"));
        }
        if filter.keys().any(|name| name.is_empty() || *name != name.to_ascii_lowercase()) {
            faults.push("filter: names of headers in lower case".to_owned());
        }
        if tenant.len() > TENANT_BYTES_MAX || tenant.chars().any(char::is_control) {
            faults.push(format!("tenant: at most {TENANT_BYTES_MAX} bytes, without control characters"));
        }
        faults
    }
}

/// Headers that are ours, or the connection's: an endpoint's own cannot replace them.
const TAKEN: &[&str] =
    &["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
/// What else of ours begins so.
const TAKEN_PREFIXES: &[&str] = &["avouch-", "proxy-", "webhook-"];

/// A header of an endpoint's own, or why it cannot be one. What says why does not hold its value.
pub fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let lower = name.to_ascii_lowercase();
    if TAKEN.contains(&lower.as_str()) || TAKEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return Err(format!("header {name} is ours or the connection's"));
    }
    let name = HeaderName::from_bytes(lower.as_bytes()).map_err(|_| format!("{name:?} is no header's name"))?;
    let mut value = HeaderValue::from_str(value).map_err(|_| format!("header {name} holds control characters"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// As the database has it.
const TENANT_BYTES_MAX: usize = 128;

/// One token.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receiver_gets_what_it_can_verify_with_and_no_more() {
        let shared = Signing::of(None, Sort::Shared).expect("is made");
        assert!(shared.secret.starts_with("whsec_") && shared.secret == shared.verifies);
        let pair = Signing::of(None, Sort::Pair).expect("is made");
        assert!(pair.secret.starts_with("whsk_") && pair.verifies.starts_with("whpk_"));
        let given = Signing::of(Some(pair.secret.clone()), Sort::Shared).expect("is one");
        assert_eq!((given.secret, given.verifies), (pair.secret, pair.verifies), "what is given is what it is");
        assert!(Signing::of(Some("hunter2".into()), Sort::Shared).is_err());
    }

    #[test]
    fn settings_of_a_newer_version_are_read_and_a_typing_error_is_told() {
        let text = r#"{"timeout_ms": 5000, "timeoutms": 1}"#;
        let stored = Settings::stored(&mut serde_json::Deserializer::from_str(text)).expect("they are read");
        assert_eq!(stored, Settings { timeout_ms: 5_000, ..Settings::default() });
        let refused = serde_json::from_str::<Settings>(text).expect_err("somebody mistyped it").to_string();
        assert!(refused.contains("unknown field `timeoutms`") && refused.contains("timeout_ms"), "{refused}");
    }

    #[test]
    fn headers_that_are_ours_are_refused_with_the_endpoint() {
        let terms = Terms { topics: vec![">".into()], ..Terms::default() };
        let of = |header: &str| Description {
            url: "https://merchant.example/".into(),
            topics: vec!["payments.>".into()],
            headers: Some(BTreeMap::from([(header.to_owned(), "x".to_owned())])),
            ..Description::default()
        };
        assert!(terms.described("a", of("authorization")).is_ok());
        let refused = terms.described("a", of("Webhook-Id")).map(drop).expect_err("is ours");
        assert!(refused.contains("headers: header Webhook-Id"), "{refused}");
    }

    #[test]
    fn each_fault_of_an_endpoint_is_told_with_its_place() {
        let terms = Terms { topics: vec!["payments.>".into()], ..Terms::default() };
        let good = Described {
            name: "merchant-17".into(),
            tenant: "shop".into(),
            url: "https://merchant.example/hook".into(),
            topics: vec!["payments.settled".into()],
            filter: BTreeMap::from([("merchant".into(), "17".into())]),
            is_ordered: false,
            settings: Settings::default(),
        };
        assert_eq!(terms.faults(&good), Vec::<String>::new());
        let bad = Described {
            name: "a b".into(),
            tenant: "x\n".into(),
            url: "http://10.0.0.1".into(),
            topics: vec!["orders.>".into(), "a..b".into()],
            filter: BTreeMap::from([("Merchant".into(), "17".into())]),
            is_ordered: true,
            settings: Settings {
                jitter_percent: 101,
                timeout_ms: 0,
                in_flight_max: 0,
                rate_per_s: Some(0),
                ..Settings::default()
            },
        };
        let text = terms.faults(&bad).join("\n");
        for place in [
            "name",
            "tenant",
            "url",
            "topics: orders.>",
            "topics: at",
            "filter",
            "jitter",
            "timeout",
            "in_flight",
            "rate",
        ] {
            assert!(text.contains(place), "{place}: {text}");
        }
    }
}
