//! `avouch drain`: waits until nothing is ready, and shows what is left meanwhile.

use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::bulk::remainder;
use super::inspect::counted;
use super::operator::Operator;
use super::tell::code;
use super::times::span;
use crate::store::views::Status;

/// What programs are told.
#[derive(Debug, Serialize)]
struct Drained {
    /// Nothing is ready.
    drained: bool,
    /// What is; counted to 10001.
    ready: i64,
    waited_ms: u64,
}

/// What is ready is counted so far.
const COUNTED_TO: u64 = 10_000;
/// How often it looks. Cheap: what is ready is counted by an index, and not far.
const LOOK: Duration = Duration::from_millis(250);

/// Looks until nothing is ready, or the time is over. What is delayed or held by a transaction is not waited for.
pub async fn drain(operator: &Operator, limit: Duration) -> anyhow::Result<ExitCode> {
    let (begun, bar, mut most) = (Instant::now(), remainder(), 0);
    let status = loop {
        let status = operator.store.status().await?;
        if status.ready == 0 || begun.elapsed() >= limit {
            break status;
        }
        if let Some(ready) = u64::try_from(status.ready).ok().filter(|ready| *ready <= COUNTED_TO) {
            most = ready.max(most);
            bar.set_length(most);
            bar.set_position(most - ready);
        }
        bar.set_message(left(&status));
        tokio::time::sleep(LOOK.min(limit.saturating_sub(begun.elapsed()))).await;
    };
    bar.finish_and_clear();
    let waited = begun.elapsed();
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    let drained = Drained { drained: status.ready == 0, ready: status.ready, waited_ms };
    operator.tell(&drained, || match drained.drained {
        true => format!("nothing is ready, after {}", span(waited.as_secs_f64())),
        false => format!("after {} there are still {}", span(waited.as_secs_f64()), left(&status) + &remedy(&status)),
    })?;
    Ok(code(drained.drained))
}

fn left(s: &Status) -> String {
    let sent: f64 = s.instances.iter().map(|i| i.sent_per_s).sum();
    format!("{} ready, the oldest {} old, {sent:.0} sent/s", counted(s.ready), span(s.oldest_unsent_s.unwrap_or(0.0)))
}

fn remedy(s: &Status) -> String {
    if s.shards_without_owner > 0 {
        format!("; {} shards are without an owner: start `avouch run`", s.shards_without_owner)
    } else if let Some(trouble) = s.instances.iter().find_map(|i| i.trouble.as_deref()) {
        format!("; {}", super::tell::escape(trouble))
    } else if !s.holds.is_empty() {
        "; some of it is held: avouch holds".to_owned()
    } else {
        String::new()
    }
}
