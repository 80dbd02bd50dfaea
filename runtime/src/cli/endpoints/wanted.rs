//! An endpoint as it is wanted on the command line: what is said of it, what signs for it, and what its receiver gets of that.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::of_api;
use crate::cli::operator::Operator;
use crate::cli::tell::usage;
use crate::config::Config;
use crate::endpoints::{Along, Described, Description, OVERLAP_HOURS, OVERLAP_HOURS_MAX, Settings, Signing, Terms};
use crate::secret::Secret;
use crate::signature::Sort;
use crate::store::views::Endpoint;

#[derive(Args, Debug)]
pub struct Create {
    /// Its name: 1 to 64 letters, digits, - and _
    name: String,
    /// Where it is: https://host/path
    #[arg(long)]
    url: String,
    /// What it is told, as in subjects: payments.settled, payments.>; may be repeated
    #[arg(long = "topic", required = true)]
    topics: Vec<String>,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    signing: Signs,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Args, Debug)]
pub struct Change {
    /// Its name
    name: String,
    /// Where it is
    #[arg(long)]
    url: Option<String>,
    /// What it is told, instead of what it was; may be repeated
    #[arg(long = "topic")]
    topics: Vec<String>,
    #[command(flatten)]
    manner: Manner,
    /// Tell it whatever headers a message has
    #[arg(long, conflicts_with = "filter")]
    no_filter: bool,
    /// Send no headers of its own along
    #[arg(long, conflicts_with = "headers")]
    no_headers: bool,
    /// Tell it without a plugin
    #[arg(long, conflicts_with = "plugin")]
    no_plugin: bool,
    /// Try as often as there is something to tell
    #[arg(long, conflicts_with = "rate_per_s")]
    no_rate: bool,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Args, Debug)]
pub struct Rotation {
    /// The endpoint
    name: String,
    #[command(flatten)]
    signing: Signs,
    /// How long those before sign too
    #[arg(long, default_value_t = OVERLAP_HOURS, value_parser = clap::value_parser!(u32).range(..=i64::from(OVERLAP_HOURS_MAX)))]
    overlap_hours: u32,
    /// Why, for the audit
    #[arg(long)]
    reason: Option<String>,
}

/// How it is told. What is not said is as it was, or as it is without a word of it.
#[derive(Args, Debug)]
struct Manner {
    /// A header that messages must have, with this value: merchant=17; may be repeated
    #[arg(long, value_parser = pair)]
    filter: Vec<(String, String)>,
    /// A header that is sent along: authorization=file:/path, authorization=env:NAME, x-from=us; may be repeated
    #[arg(long = "header", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// A label
    #[arg(long)]
    tenant: Option<String>,
    /// Whether messages of one key are told one after the other
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ordered: Option<bool>,
    /// Pauses between tries, in seconds: 60,300,1800; none: one try
    #[arg(long, value_parser = pauses)]
    schedule: Option<Pauses>,
    /// Each pause is longer by at most so many hundredths
    #[arg(long)]
    jitter_percent: Option<u8>,
    /// How long a try may take
    #[arg(long)]
    timeout_ms: Option<u32>,
    /// Tries a second
    #[arg(long)]
    rate_per_s: Option<u32>,
    /// Tries under way at a time
    #[arg(long)]
    in_flight_max: Option<u16>,
    /// The plugin that shapes requests and reads answers
    #[arg(long)]
    plugin: Option<String>,
}

/// What signs. It is never an argument itself: whoever lists the processes of a machine sees those.
#[derive(Args, Debug)]
struct Signs {
    /// What signs, whsec_… or whsk_…, if it is not to be made: file:/path, env:NAME
    #[arg(long, value_parser = reference)]
    secret: Option<Secret>,
    /// Make a pair of keys (Ed25519): the receiver gets the public one, and cannot sign
    #[arg(long, conflicts_with = "secret")]
    ed25519: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pauses(Vec<u32>);

/// What signs from now on, for programs.
#[derive(Debug, Serialize)]
struct SignedBy<'a> {
    action: &'a str,
    endpoint: &'a str,
    /// What the receiver verifies with; null: what was given, which is no news.
    verifies: Option<String>,
}

#[derive(Debug, Serialize)]
struct Changed {
    action: &'static str,
    endpoint: Endpoint,
}

pub async fn create(config: &Config, terms: &Terms, operator: &Operator, new: Create) -> anyhow::Result<ExitCode> {
    let Create { name, url, topics, manner, signing, reason } = new;
    if config.endpoint.contains_key(&name) {
        bail!("{name} stands in the configuration: [endpoint.{name}]");
    }
    let wanted = manner.over(Description { url, topics, ..Description::default() })?;
    let (described, headers) = described(terms, &name, wanted)?;
    let (signing, news) = signing.made()?;
    let headers: Vec<_> = headers.unwrap_or_default().into_iter().collect();
    let by = operator.by(reason.as_deref());
    if !operator.store.create_endpoint(by, &described, &signing.secret, &headers).await? {
        bail!(
            "there is, or was, an endpoint {name}: take another name, because what was told under this one is known by it"
        );
    }
    signed(operator, "create endpoint", &name, news)
}

pub async fn change(terms: &Terms, operator: &Operator, new: Change) -> anyhow::Result<ExitCode> {
    let name = new.name.clone();
    let (described, headers) = described(terms, &name, new.over(of_api(operator, &name).await?)?)?;
    let headers: Option<Vec<_>> = headers.map(|headers| headers.into_iter().collect());
    let by = operator.by(new.reason.as_deref());
    if !operator.store.change_endpoint(by, &described, headers.as_deref()).await? {
        bail!("somebody has removed {name} meanwhile: avouch endpoint list");
    }
    let changed = Changed { action: "change endpoint", endpoint: super::known(operator, &name).await? };
    operator.tell(&changed, || super::readable(&changed.endpoint))?;
    Ok(ExitCode::SUCCESS)
}

pub async fn rotate(operator: &Operator, rotation: Rotation) -> anyhow::Result<ExitCode> {
    let Rotation { name, signing, overlap_hours, reason } = rotation;
    of_api(operator, &name).await?;
    let (signing, news) = signing.made()?;
    let overlap_s = i32::try_from(overlap_hours * 3_600).expect("a month has fewer seconds");
    if !operator.store.rotate_secret(operator.by(reason.as_deref()), &name, &signing.secret, overlap_s).await? {
        bail!("somebody has removed {name} meanwhile: avouch endpoint list");
    }
    signed(operator, "rotate secret", &name, news)
}

fn described(terms: &Terms, name: &str, wanted: Description) -> anyhow::Result<(Described, Along)> {
    match terms.described(name, wanted) {
        Ok(described) => Ok(described),
        Err(faults) => usage(faults),
    }
}

fn signed(operator: &Operator, action: &str, name: &str, verifies: Option<String>) -> anyhow::Result<ExitCode> {
    let told = SignedBy { action, endpoint: name, verifies };
    operator.tell(&told, || match &told.verifies {
        Some(verifies) => {
            eprintln!("{action}: {name} verifies with this, which is not shown again:");
            verifies.clone()
        }
        None => format!("{action}: {name} verifies with the secret that was given"),
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Change {
    fn over(&self, e: Endpoint) -> anyhow::Result<Description> {
        let Endpoint { url, topics, filter, tenant, ordered, mut settings, .. } = e;
        if self.no_plugin {
            settings.plugin = None;
        }
        if self.no_rate {
            settings.rate_per_s = None;
        }
        self.manner.over(Description {
            url: self.url.clone().unwrap_or(url),
            topics: if self.topics.is_empty() { topics } else { self.topics.clone() },
            filter: if self.no_filter { BTreeMap::new() } else { filter },
            tenant,
            ordered,
            settings,
            headers: self.no_headers.then(BTreeMap::new),
        })
    }
}

impl Manner {
    /// This description, where nothing else is said.
    fn over(&self, before: Description) -> anyhow::Result<Description> {
        let filter = if self.filter.is_empty() { before.filter } else { self.filter.iter().cloned().collect() };
        let headers = if self.headers.is_empty() { before.headers } else { Some(self.along()?) };
        let was = before.settings;
        let settings = Settings {
            schedule_s: self.schedule.clone().map_or(was.schedule_s, |pauses| pauses.0),
            jitter_percent: self.jitter_percent.unwrap_or(was.jitter_percent),
            timeout_ms: self.timeout_ms.unwrap_or(was.timeout_ms),
            rate_per_s: self.rate_per_s.or(was.rate_per_s),
            in_flight_max: self.in_flight_max.unwrap_or(was.in_flight_max),
            plugin: self.plugin.clone().or(was.plugin),
        };
        let tenant = self.tenant.clone().unwrap_or(before.tenant);
        let ordered = self.ordered.unwrap_or(before.ordered);
        Ok(Description { filter, headers, tenant, ordered, settings, ..before })
    }

    fn along(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let read = |(name, value): &(String, String)| Ok((name.clone(), Secret::new(value).reveal()?));
        self.headers.iter().map(read).collect()
    }
}

impl Signs {
    /// What signs, and what the receiver verifies with if nobody knows that yet.
    fn made(&self) -> anyhow::Result<(Signing, Option<String>)> {
        let given = self.secret.as_ref().map(Secret::reveal).transpose()?;
        let sort = if self.ed25519 { Sort::Pair } else { Sort::Shared };
        let was_given = given.is_some();
        let signing = Signing::of(given, sort)?;
        let is_news = !was_given || signing.verifies != signing.secret;
        let news = is_news.then(|| signing.verifies.clone());
        Ok((signing, news))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write HEADER=VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.to_owned()))
}

fn pauses(text: &str) -> Result<Pauses, String> {
    if text == "none" {
        return Ok(Pauses(Vec::new()));
    }
    let read = |part: &str| part.trim().parse().map_err(|_| format!("{part:?} is no number of seconds: write 60,300"));
    text.split(',').map(read).collect::<Result<_, _>>().map(Pauses)
}

fn reference(text: &str) -> Result<Secret, String> {
    if text.starts_with("file:") || text.starts_with("env:") {
        return Ok(Secret::new(text));
    }
    // It is not repeated: it may be the secret itself.
    Err("others see the arguments of a process: write file:/path or env:NAME".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Manner {
        Manner {
            filter: Vec::new(),
            headers: Vec::new(),
            tenant: None,
            ordered: None,
            schedule: None,
            jitter_percent: None,
            timeout_ms: None,
            rate_per_s: None,
            in_flight_max: None,
            plugin: None,
        }
    }

    fn before() -> Description {
        Description {
            url: "https://a.example/".into(),
            topics: vec!["a".into()],
            filter: BTreeMap::from([("merchant".into(), "17".into())]),
            tenant: "shop".into(),
            ordered: true,
            settings: Settings { rate_per_s: Some(5), plugin: Some("p".into()), ..Settings::default() },
            headers: None,
        }
    }

    #[test]
    fn what_is_not_said_stays() {
        let same = nothing().over(before()).expect("is valid");
        let was = before();
        assert_eq!((same.filter, same.tenant, same.ordered), (was.filter, was.tenant, was.ordered));
        assert_eq!((same.settings, same.headers), (was.settings, None), "headers that are sent along stay too");
        let said = Manner { ordered: Some(false), schedule: Some(Pauses(vec![1])), ..nothing() };
        let changed = said.over(before()).expect("is valid");
        assert_eq!((changed.ordered, changed.settings.schedule_s), (false, vec![1]));
        assert_eq!(changed.settings.rate_per_s, Some(5));
    }

    #[test]
    fn schedules_and_headers_are_read() {
        assert_eq!(pauses("60, 300"), Ok(Pauses(vec![60, 300])));
        assert_eq!(pauses("none"), Ok(Pauses(Vec::new())));
        assert!(pauses("").is_err() && pauses("1h").is_err() && pauses("-1").is_err());
        assert_eq!(pair("Merchant=a=b"), Ok(("merchant".into(), "a=b".into())));
        assert!(pair("merchant").is_err());
    }

    #[test]
    fn secret_is_not_taken_from_the_arguments_nor_repeated() {
        let refused = reference("whsec_hunter2").map(drop).expect_err("others see it");
        assert!(refused.contains("file:") && !refused.contains("hunter2"), "{refused}");
        assert!(reference("file:/run/secret").is_ok());
    }
}
