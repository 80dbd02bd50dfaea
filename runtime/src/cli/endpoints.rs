//! `avouch endpoint …`: outside parties that are told, what they were told and were not, and what a person does about it.

mod again;
mod deliveries;
mod ping;
mod wanted;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use serde::Serialize;
use uuid::Uuid;

use self::again::Again;
use self::deliveries::Page;
use self::wanted::{Change, Create, Rotation};
use super::bulk::{self, Consent};
use super::operator::Operator;
use super::table::{Cell, Fit, Table, Tone, facts};
use super::tell::code;
use super::times::{maybe, shown, span_of};
use crate::access::{hash_token, new_token};
use crate::config::Config;
use crate::endpoints::Terms;
use crate::store::views::Endpoint;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List endpoints, and how much each has not been told
    List,
    /// Show an endpoint, without its secrets
    Show {
        /// Its name
        name: String,
    },
    /// Make an endpoint; what its receiver verifies with is printed once
    Create(Box<Create>),
    /// Describe an endpoint anew that was made here; what is not said stays
    Change(Box<Change>),
    /// Tell an endpoint again: what waits for it goes on
    Enable {
        /// Its name
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Tell an endpoint nothing until it is enabled again: what comes for it waits
    Disable {
        /// Its name
        name: String,
        /// Why, for whoever looks and for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// End an endpoint for good: what waits for it is given up, its secrets and tokens are gone, its name stays taken
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        consent: Consent,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let another secret sign, for a time beside those that did; what the receiver verifies with is printed once
    RotateSecret(Rotation),
    /// Make and revoke tokens with which a receiver asks what it was told
    #[command(subcommand)]
    Token(TokenCommand),
    /// Tell it a message that means nothing, once, and show what came of it
    Ping {
        /// Its name
        name: String,
        /// Wait for so long at most: 90s, 5m
        #[arg(long, default_value = "60s", value_parser = span_of)]
        timeout: Duration,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// List what an endpoint is told, was told, and was not
    Deliveries(Page),
    /// List the tries to tell a message, the last first
    Attempts {
        /// The message's id: its `webhook-id`
        message: Uuid,
        /// Only those to tell this endpoint
        #[arg(long)]
        endpoint: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
        limit: i64,
    },
    /// Tell it messages once more, under the `webhook-id` that they had: the schedule begins anew
    Resend(Again),
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is printed once
    Create {
        /// The endpoint
        name: String,
        /// For how many days it is valid
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650), conflicts_with = "never")]
        days: u16,
        /// It is valid until it is revoked
        #[arg(long)]
        never: bool,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
    /// Revoke all tokens of an endpoint
    Revoke {
        /// The endpoint
        name: String,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Serialize)]
struct Listed {
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    action: &'a str,
    endpoint: &'a str,
    done: bool,
}

#[derive(Debug, Serialize)]
struct TokenMade<'a> {
    endpoint: &'a str,
    secret: String,
}

#[derive(Debug, Serialize)]
struct TokensRevoked<'a> {
    endpoint: &'a str,
    revoked: i64,
}

/// The store counts no further.
const COUNT_MAX: i64 = 10_000;
const COLUMNS: &[(&str, Fit)] = &[
    ("endpoint", Fit::Whole),
    ("state", Fit::Whole),
    ("tenant", Fit::Cut),
    ("topics", Fit::Cut),
    ("waiting", Fit::Number),
    ("given up", Fit::Number),
    ("failing since", Fit::Whole),
    ("next try", Fit::Whole),
];

pub async fn run(config: &Config, source: &str, operator: &Operator, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => list(operator).await,
        Command::Show { name } => show(operator, &name).await,
        Command::Create(new) => wanted::create(config, &terms(config, source)?, operator, *new).await,
        Command::Change(new) => wanted::change(&terms(config, source)?, operator, *new).await,
        Command::Enable { name, reason } => set(operator, &name, "enabled", reason.as_deref()).await,
        Command::Disable { name, reason } => set(operator, &name, "disabled", reason.as_deref()).await,
        Command::Remove { name, consent, reason } => remove(config, operator, &name, consent, reason.as_deref()).await,
        Command::RotateSecret(rotation) => wanted::rotate(operator, rotation).await,
        Command::Token(command) => token(operator, command).await,
        Command::Ping { name, timeout, reason } => ping::ping(operator, &name, timeout, reason.as_deref()).await,
        Command::Deliveries(page) => deliveries::list(operator, page).await,
        Command::Attempts { message, endpoint, limit } => {
            deliveries::attempts(operator, message, endpoint.as_deref(), limit).await
        }
        Command::Resend(again) => again::resend(operator, again).await,
    }
}

/// What endpoints may be, where anybody is told.
fn terms(config: &Config, source: &str) -> anyhow::Result<Terms> {
    if !config.notifies(source) {
        bail!("nobody is told anything of source {source}: set notify.topics in the configuration");
    }
    config.notify.terms().map_err(anyhow::Error::msg)
}

/// The endpoint of this name.
async fn known(operator: &Operator, name: &str) -> anyhow::Result<Endpoint> {
    let found = operator.store.endpoints_shown(Some(name)).await?.pop();
    found.ok_or_else(|| anyhow::anyhow!("there is no endpoint {name}: avouch endpoint list"))
}

/// The same, if it was not made by a section of the configuration.
async fn of_api(operator: &Operator, name: &str) -> anyhow::Result<Endpoint> {
    let endpoint = known(operator, name).await?;
    if endpoint.origin != "api" {
        bail!("{name} stands in the configuration: change [endpoint.{name}] there");
    }
    Ok(endpoint)
}

async fn list(operator: &Operator) -> anyhow::Result<ExitCode> {
    let listed = Listed { endpoints: operator.store.endpoints_shown(None).await? };
    operator.tell(&listed, || table(&listed.endpoints))?;
    Ok(ExitCode::SUCCESS)
}

fn table(endpoints: &[Endpoint]) -> String {
    let mut table = Table::new(COLUMNS);
    for e in endpoints {
        let given_up = Cell::from(counted(e.given_up)).toned(if e.given_up > 0 { Tone::Bad } else { Tone::Plain });
        table.row([
            e.name.as_str().into(),
            Cell::state(&e.state),
            e.tenant.as_str().into(),
            e.topics.join(" ").into(),
            counted(e.waiting).into(),
            given_up,
            Cell::from(maybe(e.failing_since)).toned(Tone::Warn),
            maybe(e.next_at).into(),
        ]);
    }
    if endpoints.is_empty() { none() } else { table.take() }
}

fn none() -> String {
    "no endpoint is known: avouch endpoint create, or add [endpoint.NAME] to the configuration of avouch run".to_owned()
}

fn counted(count: i64) -> String {
    if count >= COUNT_MAX { format!("{count}+") } else { count.to_string() }
}

async fn show(operator: &Operator, name: &str) -> anyhow::Result<ExitCode> {
    let endpoint = known(operator, name).await?;
    operator.tell(&endpoint, || readable(&endpoint))?;
    Ok(ExitCode::SUCCESS)
}

fn readable(e: &Endpoint) -> String {
    let s = &e.settings;
    let pauses: Vec<_> = s.schedule_s.iter().map(u32::to_string).collect();
    let schedule = match &pauses[..] {
        [] => "one try".to_owned(),
        _ => format!("tries after {} s, each later by up to {} %", pauses.join(", "), s.jitter_percent),
    };
    let filter: Vec<_> = e.filter.iter().map(|(name, value)| format!("{name}={value}")).collect();
    facts(&[
        ("endpoint", e.name.clone()),
        ("state", e.state.clone()),
        ("why", e.reason.clone().unwrap_or_default()),
        ("failing", maybe(e.failing_since)),
        ("waiting", counted(e.waiting)),
        ("given up", counted(e.given_up)),
        ("next try", maybe(e.next_at)),
        ("tenant", e.tenant.clone()),
        ("url", e.url.clone()),
        ("topics", e.topics.join(" ")),
        ("filter", filter.join(" ")),
        ("ordered", if e.ordered { "by key" } else { "no" }.to_owned()),
        ("schedule", schedule),
        ("a try", format!("at most {} ms, {} at a time", s.timeout_ms, s.in_flight_max)),
        ("rate", s.rate_per_s.map_or_else(String::new, |rate| format!("at most {rate} tries a second"))),
        ("plugin", s.plugin.clone().unwrap_or_default()),
        ("made", format!("{} {}", shown(e.created_at), made_by(&e.origin))),
        ("changed", shown(e.changed_at)),
    ])
}

fn made_by(origin: &str) -> &'static str {
    if origin == "file" { "by its section of the configuration" } else { "by a person" }
}

async fn set(operator: &Operator, name: &str, to: &str, why: Option<&str>) -> anyhow::Result<ExitCode> {
    known(operator, name).await?;
    let done = operator.store.set_endpoint(operator.by(why), name, to).await?;
    let action = if to == "enabled" { "enable endpoint" } else { "disable endpoint" };
    operator.tell(&Done { action, endpoint: name, done }, || match (done, to) {
        (false, _) => format!("{name} is {to} already: nothing done"),
        (true, "enabled") => format!("{name} is enabled: what waits for it goes on"),
        (true, _) => format!("{name} is disabled: what comes for it waits"),
    })?;
    Ok(code(done))
}

async fn remove(
    config: &Config,
    operator: &Operator,
    name: &str,
    consent: Consent,
    why: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let waiting = known(operator, name).await?.waiting;
    if config.endpoint.contains_key(name) {
        bail!("[endpoint.{name}] is in the configuration: take its section out there first, or disable it");
    }
    let lost = format!("{} messages that wait for {name} are given up", counted(waiting));
    if !consent.allows_removal(waiting, &lost)? {
        return bulk::nothing_done();
    }
    let done = operator.store.remove_endpoint(operator.by(why), name).await?;
    operator.tell(&Done { action: "remove endpoint", endpoint: name, done }, || match done {
        true => format!("{name} is removed: what waited for it is given up within seconds"),
        false => format!("{name} is removed already: nothing done"),
    })?;
    Ok(code(done))
}

async fn token(operator: &Operator, command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create { name, days, never, reason } => {
            let secret = new_token();
            let hash = hash_token(&secret).expect("it was made by us");
            let days = (!never).then(|| i32::from(days));
            let by = operator.by(reason.as_deref());
            if !operator.store.create_endpoint_token(by, &name, &hash, days).await? {
                bail!("there is no endpoint {name}: avouch endpoint list");
            }
            operator.tell(&TokenMade { endpoint: &name, secret: secret.clone() }, || {
                eprintln!("a token with which {name} asks what it was told; it is not shown again");
                secret
            })?;
            Ok(ExitCode::SUCCESS)
        }
        TokenCommand::Revoke { name, reason } => {
            known(operator, &name).await?;
            let revoked = operator.store.revoke_endpoint_tokens(operator.by(reason.as_deref()), &name).await?;
            operator.tell(&TokensRevoked { endpoint: &name, revoked }, || format!("{revoked} tokens are revoked"))?;
            Ok(code(revoked > 0))
        }
    }
}
