//! `avouch resend|discard|replay`: what is done with messages, by their ids or by what they have in common.

use std::collections::HashSet;
use std::process::ExitCode;

use clap::Args;
use time::OffsetDateTime;
use uuid::Uuid;

use super::bulk::{self, Care, EXAMPLES, Outcome, Plan};
use super::messages::{self, ANSWER_ROWS, Filter};
use super::operator::Operator;
use super::tell::{Usage, code, usage};
use super::times::time_of;
use crate::store::operate::Forget;
use crate::store::search::Search;

/// Single messages, or all dead ones that are alike.
#[derive(Args, Debug)]
pub struct Which {
    /// Message ids
    ids: Vec<Uuid>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    care: Care,
}

/// What a consumer is to get once more.
#[derive(Args, Debug)]
pub struct Replay {
    /// The consumer
    consumer: String,
    /// Message ids
    ids: Vec<Uuid>,
    /// Messages of this topic, or of all below one: orders.created, orders.>
    #[arg(long)]
    topic: Option<String>,
    /// Messages with this key
    #[arg(long)]
    key: Option<String>,
    /// Inserted at this time or later: 2026-01-31T12:00:00Z, or how long ago: 15m, 2h, 7d
    #[arg(long, value_parser = time_of)]
    from: Option<OffsetDateTime>,
    /// Inserted before this time
    #[arg(long, value_parser = time_of)]
    to: Option<OffsetDateTime>,
    /// Forget what it did: whoever asks the gate is told to run again
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    care: Care,
}

/// What is told of each message, and of many.
struct Words {
    action: &'static str,
    /// Of one with which it is done.
    done: &'static str,
    /// Of one with which it is not.
    not_done: &'static str,
    /// Whether a person is asked about all that are alike.
    of_group: Asked,
}

/// When a person is asked.
#[derive(Clone, Copy)]
enum Asked {
    /// If they are many.
    Many,
    /// However few: it cannot be undone.
    Any,
}

const RESEND: Words =
    Words { action: "resend", done: "is sent again", not_done: "is not dead: nothing done", of_group: Asked::Many };
const DISCARD: Words = Words {
    action: "discard",
    done: "is discarded",
    not_done: "was sent already, or never was: nothing done",
    of_group: Asked::Any,
};

pub async fn resend(operator: &Operator, which: Which) -> anyhow::Result<ExitCode> {
    let by = operator.by(which.care.why());
    act(operator, &which, &RESEND, async |ids: &[Uuid]| operator.store.resend(by, ids).await).await
}

pub async fn discard(operator: &Operator, which: Which) -> anyhow::Result<ExitCode> {
    let by = operator.by(which.care.why());
    act(operator, &which, &DISCARD, async |ids: &[Uuid]| operator.store.discard(by, ids).await).await
}

async fn act(
    operator: &Operator,
    which: &Which,
    words: &Words,
    act: impl AsyncFn(&[Uuid]) -> Result<Vec<Uuid>, crate::store::Error>,
) -> anyhow::Result<ExitCode> {
    if which.ids.is_empty() && !which.filter.is_any() {
        return usage(
            "which messages? give their ids, or what dead ones have in common: --consumer, --topic, --failure",
        );
    }
    let mut ids = which.ids.clone();
    if which.filter.is_any() {
        ids.extend(ids_of(operator, which.filter.clone().search(Some("dead".into()))).await?);
    }
    let mut seen = HashSet::with_capacity(ids.len());
    ids.retain(|id| seen.insert(*id));
    if which.care.dry_run {
        return plan(operator, words.action, words.done, &ids).await;
    }
    let asked = format!("messages to {}", words.action);
    let is_allowed = match words.of_group {
        Asked::Any if which.filter.is_any() => which.care.allows_loss(ids.len(), &asked)?,
        Asked::Any | Asked::Many => which.care.allows(ids.len(), &asked)?,
    };
    if !is_allowed {
        return bulk::nothing_done();
    }
    let outcome = bulk::each(words.action, &ids, act).await?;
    operator.tell(&outcome, || told(&outcome, which, words))?;
    // Of a group, what somebody else dealt with in the meantime is dealt with.
    let missed = which.ids.iter().any(|id| outcome.not_done.contains(id));
    Ok(code(!missed))
}

fn told(outcome: &Outcome<'_>, which: &Which, words: &Words) -> String {
    let line = |id: &Uuid| {
        let is_done = !outcome.not_done.contains(id);
        format!("{id}: {}\n", if is_done { words.done } else { words.not_done })
    };
    let mut text: String = which.ids.iter().map(line).collect();
    if which.filter.is_any() {
        text += &format!("{} messages: each {}\n", outcome.done, words.done);
    }
    text
}

/// The ids of all that is found, oldest first: what stands in one key is to be sent again in its order.
async fn ids_of(operator: &Operator, mut search: Search) -> anyhow::Result<Vec<Uuid>> {
    let mut ids = Vec::new();
    search.limit = Some(ANSWER_ROWS);
    loop {
        let found = operator.store.search_ids(&search).await?;
        let (some, cursor) = found.map_err(|refused| Usage(refused.to_string()))?;
        ids.extend(some);
        search.cursor = cursor;
        if search.cursor.is_none() {
            ids.reverse();
            return Ok(ids);
        }
    }
}

pub async fn replay(operator: &Operator, what: Replay) -> anyhow::Result<ExitCode> {
    let filter = Filter { topic: what.topic, key: what.key, since: what.from, until: what.to, ..Filter::default() };
    if what.ids.is_empty() && !filter.is_any() {
        return usage("which messages? give their ids, or --topic, --key, --from and --to");
    }
    let mut ids = what.ids;
    if filter.is_any() {
        for state in ["sent", "consumed"] {
            ids.extend(ids_of(operator, filter.clone().search(Some(state.into()))).await?);
        }
        // By age, because ids are UUIDv7; one that was consumed between the two searches is here once.
        ids.sort_unstable();
    }
    let mut seen = HashSet::with_capacity(ids.len());
    ids.retain(|id| seen.insert(*id));
    let done = format!("sent to {} once more", what.consumer);
    if what.care.dry_run {
        return plan(operator, "replay", &done, &ids).await;
    }
    if !what.care.allows(ids.len(), &format!("messages to send to {} once more", what.consumer))? {
        return bulk::nothing_done();
    }
    let forget = if what.forget { Forget::Record } else { Forget::Nothing };
    let by = operator.by(what.care.why());
    let again = async |ids: &[Uuid]| operator.store.replay(by, &what.consumer, ids, forget).await;
    let outcome = bulk::each("replay", &ids, again).await?;
    operator.tell(&outcome, || {
        let missed =
            outcome.not_done.iter().map(|id| format!("{id}: was not sent yet, or is dead or gone: nothing done\n"));
        missed.collect::<String>() + &format!("{} of {} messages are {done}\n", outcome.done, outcome.count)
    })?;
    Ok(code(outcome.not_done.is_empty()))
}

async fn plan(operator: &Operator, action: &str, done: &str, ids: &[Uuid]) -> anyhow::Result<ExitCode> {
    let examples = operator.store.messages(&ids[..ids.len().min(EXAMPLES)]).await?;
    let plan = Plan { action, dry_run: true, count: ids.len(), examples };
    operator.tell(&plan, || {
        let examples = messages::table(&plan.examples);
        format!("dry run, nothing is changed; {} messages: each {done}\n{examples}", plan.count)
    })?;
    Ok(ExitCode::SUCCESS)
}
