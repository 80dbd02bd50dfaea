//! `avouch endpoint ping`: one try to tell it something that means nothing, by the runtime that tells it everything else.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;
use uuid::Uuid;

use super::known;
use crate::cli::bulk;
use crate::cli::operator::Operator;
use crate::cli::table::facts;
use crate::cli::tell::code;
use crate::store::views::Attempt;

/// Often enough for a person who waits.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Serialize)]
struct Pinged {
    message_id: Uuid,
    delivered: bool,
    attempt: Attempt,
}

/// Not done unless it was delivered.
pub async fn ping(operator: &Operator, name: &str, timeout: Duration, why: Option<&str>) -> anyhow::Result<ExitCode> {
    known(operator, name).await?;
    let Some(message_id) = operator.store.ping_endpoint(operator.by(why), name).await? else {
        bail!("{name} is disabled: avouch endpoint enable {name}");
    };
    let Some(attempt) = tried(operator, name, message_id, timeout).await? else {
        bail!(
            "nothing came of it within {timeout:?}: does a runtime with notify.topics run (avouch status)? \
             What comes later: avouch endpoint attempts {message_id}"
        );
    };
    let pinged = Pinged { message_id, delivered: attempt.outcome == "delivered", attempt };
    operator.tell(&pinged, || readable(&pinged))?;
    Ok(code(pinged.delivered))
}

async fn tried(operator: &Operator, name: &str, message: Uuid, timeout: Duration) -> anyhow::Result<Option<Attempt>> {
    let (until, spinner) = (Instant::now() + timeout, bulk::spinner());
    loop {
        let mut attempts = operator.store.attempts_shown(message, Some(name), 1).await?;
        if !attempts.is_empty() || Instant::now() >= until {
            spinner.finish_and_clear();
            return Ok(attempts.pop());
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn readable(pinged: &Pinged) -> String {
    let a = &pinged.attempt;
    facts(&[
        ("ping", if pinged.delivered { "delivered" } else { "NOT delivered" }.to_owned()),
        ("status", a.status.map_or_else(|| "none: no answer".to_owned(), |status| status.to_string())),
        ("took", format!("{} ms", a.took_ms)),
        ("why", a.reason.clone().unwrap_or_default()),
        ("answer", a.excerpt.clone().unwrap_or_default()),
        ("message", pinged.message_id.to_string()),
    ])
}
