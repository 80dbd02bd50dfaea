//! `avouch endpoint resend`: messages that an endpoint is told once more, by their ids or all that were given up since a time.

use std::collections::HashSet;
use std::process::ExitCode;

use clap::Args;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{deliveries, known};
use crate::cli::bulk::{self, Care, EXAMPLES, Outcome, Plan};
use crate::cli::operator::Operator;
use crate::cli::tell::{code, usage};
use crate::cli::times::time_of;
use crate::store::Error;
use crate::store::endpoints::Look;
use crate::store::views::Delivery;

#[derive(Args, Debug)]
pub struct Again {
    /// The endpoint
    name: String,
    /// Message ids
    messages: Vec<Uuid>,
    /// All that were given up at this time or later: 2026-01-31T12:00:00Z, or how long ago: 15m, 2h, 7d
    #[arg(long, value_parser = time_of, conflicts_with = "messages")]
    since: Option<OffsetDateTime>,
    #[command(flatten)]
    care: Care,
}

const ACTION: &str = "notify again";
/// What was given up in one outage; more are done by repeating it.
const COUNT_MAX: i64 = 1_000_000;

pub async fn resend(operator: &Operator, again: Again) -> anyhow::Result<ExitCode> {
    known(operator, &again.name).await?;
    match again.since {
        Some(since) => given_up(operator, &again, since).await,
        None if again.messages.is_empty() => {
            usage("which messages? give their ids, or --since TIME for all that were given up since then")
        }
        None => named(operator, &again).await,
    }
}

async fn given_up(operator: &Operator, again: &Again, since: OffsetDateTime) -> anyhow::Result<ExitCode> {
    let Again { name, care, .. } = again;
    let count = operator.store.given_up_since(name, since, COUNT_MAX).await?;
    let count = usize::try_from(count).expect("a count is not negative");
    if care.dry_run {
        let mut examples = operator.store.deliveries_shown(name, Look::GivenUp, None, rows(EXAMPLES)).await?;
        examples.retain(|d| d.ended_at.is_some_and(|at| at >= since));
        return plan(operator, name, count, examples);
    }
    if !care.allows(count, &format!("messages to tell {name} again"))? {
        return bulk::nothing_done();
    }
    let by = operator.by(care.why());
    let step = async |rows_max: usize| {
        let rows_max = i32::try_from(rows_max).expect("a batch is small");
        let done = operator.store.notify_given_up_again(by, name, since, rows_max).await?;
        Ok::<_, Error>(usize::try_from(done).expect("a count is not negative"))
    };
    let outcome = bulk::counted(ACTION, count, step).await?;
    operator.tell(&outcome, || format!("{} messages: {name} is told each again\n", outcome.done))?;
    Ok(ExitCode::SUCCESS)
}

async fn named(operator: &Operator, again: &Again) -> anyhow::Result<ExitCode> {
    let Again { name, care, .. } = again;
    let mut seen = HashSet::new();
    let ids: Vec<Uuid> = again.messages.iter().copied().filter(|id| seen.insert(*id)).collect();
    if care.dry_run {
        let mut examples = Vec::new();
        for id in &ids {
            let of_message = operator.store.deliveries_of(*id).await?;
            examples.extend(of_message.into_iter().filter(|d| d.endpoint == *name));
        }
        let count = examples.len();
        examples.truncate(EXAMPLES);
        return plan(operator, name, count, examples);
    }
    if !care.allows(ids.len(), &format!("messages to tell {name} again"))? {
        return bulk::nothing_done();
    }
    let by = operator.by(care.why());
    let again = async |ids: &[Uuid]| operator.store.notify_again(by, name, ids).await;
    let outcome = bulk::each(ACTION, &ids, again).await?;
    operator.tell(&outcome, || told(&outcome, name, &ids))?;
    Ok(code(outcome.not_done.is_empty()))
}

fn told(outcome: &Outcome<'_>, name: &str, ids: &[Uuid]) -> String {
    let line = |id: &Uuid| match outcome.not_done.contains(id) {
        false => format!("{id}: {name} is told it again\n"),
        true => format!("{id}: it was never meant for {name}, or is forgotten: nothing done\n"),
    };
    ids.iter().map(line).collect()
}

fn plan(operator: &Operator, name: &str, count: usize, examples: Vec<Delivery>) -> anyhow::Result<ExitCode> {
    let plan = Plan { action: ACTION, dry_run: true, count, examples };
    operator.tell(&plan, || {
        let examples = deliveries::table(&plan.examples);
        format!("dry run, nothing is changed; {} messages: {name} would be told each again\n{examples}", plan.count)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).expect("it is a small constant")
}
