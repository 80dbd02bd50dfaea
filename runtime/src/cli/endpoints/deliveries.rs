//! `avouch endpoint deliveries|attempts`: what an endpoint is told, was told and was not, and each try.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use super::known;
use crate::cli::operator::Operator;
use crate::cli::table::{Cell, Fit, Table, Tone};
use crate::cli::times::{maybe, shown};
use crate::store::endpoints::Look;
use crate::store::views::{Attempt, Delivery};

#[derive(Args, Debug)]
pub struct Page {
    /// The endpoint
    name: String,
    /// waiting: the next first; given_up: the last first; all without it, the latest message first
    #[arg(long, value_parser = ["waiting", "given_up"])]
    state: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
    /// Only what comes after this message of such a list
    #[arg(long)]
    after: Option<Uuid>,
}

#[derive(Debug, Serialize)]
struct Listed {
    deliveries: Vec<Delivery>,
}

#[derive(Debug, Serialize)]
struct Tried {
    attempts: Vec<Attempt>,
}

const COLUMNS: &[(&str, Fit)] = &[
    ("message", Fit::Whole),
    ("state", Fit::Whole),
    ("topic", Fit::Cut),
    ("key", Fit::Cut),
    ("tries", Fit::Number),
    ("next or end", Fit::Whole),
    ("status", Fit::Number),
    ("why", Fit::Cut),
];
const TRIES: &[(&str, Fit)] = &[
    ("at", Fit::Whole),
    ("endpoint", Fit::Whole),
    ("round", Fit::Number),
    ("try", Fit::Number),
    ("outcome", Fit::Whole),
    ("status", Fit::Number),
    ("took", Fit::Number),
    ("why", Fit::Cut),
    ("answer", Fit::Cut),
];

pub async fn list(operator: &Operator, page: Page) -> anyhow::Result<ExitCode> {
    known(operator, &page.name).await?;
    let look = match page.state.as_deref() {
        Some("waiting") => Look::Waiting,
        Some("given_up") => Look::GivenUp,
        _ => Look::Recent,
    };
    let listed =
        Listed { deliveries: operator.store.deliveries_shown(&page.name, look, page.after, page.limit).await? };
    operator.tell(&listed, || table(&listed.deliveries))?;
    Ok(ExitCode::SUCCESS)
}

/// A table of these deliveries.
pub fn table(deliveries: &[Delivery]) -> String {
    let mut table = Table::new(COLUMNS);
    for d in deliveries {
        table.row([
            d.message_id.to_string().into(),
            Cell::state(&d.state),
            d.topic.as_str().into(),
            d.key.as_deref().into(),
            i64::from(d.attempts).into(),
            maybe(d.next_at.or(d.ended_at)).into(),
            d.status.map_or_else(|| "-".to_owned(), |status| status.to_string()).into(),
            d.reason.as_deref().unwrap_or_default().into(),
        ]);
    }
    if deliveries.is_empty() { "nothing is there".to_owned() } else { table.take() }
}

pub async fn attempts(
    operator: &Operator,
    message: Uuid,
    endpoint: Option<&str>,
    limit: i64,
) -> anyhow::Result<ExitCode> {
    let tried = Tried { attempts: operator.store.attempts_shown(message, endpoint, limit).await? };
    operator.tell(&tried, || tries(&tried.attempts))?;
    Ok(ExitCode::SUCCESS)
}

/// A table of these tries.
pub fn tries(attempts: &[Attempt]) -> String {
    let mut table = Table::new(TRIES);
    for a in attempts {
        let tone = if a.outcome == "retry" { Tone::Warn } else { Tone::of_state(&a.outcome) };
        table.row([
            shown(a.at).into(),
            a.endpoint.as_str().into(),
            i64::from(a.round).into(),
            i64::from(a.number).into(),
            Cell::from(a.outcome.as_str()).toned(tone),
            a.status.map_or_else(|| "-".to_owned(), |status| status.to_string()).into(),
            format!("{} ms", a.took_ms).into(),
            a.reason.as_deref().unwrap_or_default().into(),
            a.excerpt.as_deref().unwrap_or_default().into(),
        ]);
    }
    if attempts.is_empty() { "it was never tried".to_owned() } else { table.take() }
}
