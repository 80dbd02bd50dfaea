//! What is done with many messages: first a page that says with how many, and shows some; then, confirmed by that number, the deed.

use axum::extract;
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::acts::{self, reason, required, told};
use super::dead::{Act, Group, dry_run};
use super::deeds::Exact;
use super::notice::Deed;
use super::replay::{Range, ask};
use super::signs::segment;
use super::visit::Visit;
use super::wanted::at;
use crate::admin::body::{Body, Form, Path, Query};
use crate::admin::bulk::{Again, Outcome, Which, discard_messages, replay_messages, resend_messages};
use crate::admin::caller::{Caller, Operator};
use crate::admin::counted::Counted;
use crate::admin::messages::find;
use crate::admin::problem::Problem;
use crate::admin::state::State;
use crate::store::search::Search;

/// So many of them are shown before they are dealt with.
const EXAMPLES: u8 = 5;

/// A group, and that it is confirmed.
#[derive(Debug, Deserialize)]
pub struct Confirmed {
    consumer: Exact,
    topic: Exact,
    failure: Option<Exact>,
    confirm: usize,
    counted: Counted,
    why: Option<String>,
}

/// A stretch of time, as the form of the consumer's page sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wished {
    topic: String,
    since: String,
    until: String,
    after: Option<Uuid>,
    forget: Option<String>,
}

/// The same, and that it is confirmed.
#[derive(Debug, Deserialize)]
pub struct Repeated {
    topic: String,
    since: String,
    until: String,
    after: Option<Uuid>,
    forget: Option<String>,
    confirm: usize,
    counted: Counted,
    why: Option<String>,
}

pub async fn ask_resend(
    visit: Visit,
    operator: Operator,
    state: extract::State<State>,
    Query(group): Query<Group>,
) -> Result<Html<String>, Problem> {
    let count = resend_messages(operator.clone(), state.clone(), Body(counting(&group))).await?.0;
    page(&visit, &state, &operator.0, Act::Resend, &group, &count).await
}

pub async fn ask_discard(
    visit: Visit,
    operator: Operator,
    state: extract::State<State>,
    Query(group): Query<Group>,
) -> Result<Html<String>, Problem> {
    let count = discard_messages(operator.clone(), state.clone(), Body(counting(&group))).await?.0;
    page(&visit, &state, &operator.0, Act::Discard, &group, &count).await
}

async fn page(
    visit: &Visit,
    state: &State,
    caller: &Caller,
    act: Act,
    group: &Group,
    count: &Outcome,
) -> Result<Html<String>, Problem> {
    let examples = find(state, caller, &Search { limit: Some(EXAMPLES.into()), ..group.search() }).await?.messages;
    Ok(Html(dry_run(visit, act, group, count, &examples).into_string()))
}

pub async fn resend(
    operator: Operator,
    state: extract::State<State>,
    Form(form): Form<Confirmed>,
) -> Result<Response, Problem> {
    let which = Which { reason: reason(form.why.clone()), ..form.which() };
    let outcome = resend_messages(operator, state, Body(which)).await?.0;
    Ok(told("/dead", acts::notice(Deed::Resend, &outcome, form.confirm)))
}

pub async fn discard(
    operator: Operator,
    state: extract::State<State>,
    Form(form): Form<Confirmed>,
) -> Result<Response, Problem> {
    let which = Which { reason: required(form.why.clone())?, ..form.which() };
    let outcome = discard_messages(operator, state, Body(which)).await?.0;
    Ok(told("/dead", acts::notice(Deed::Discard, &outcome, form.confirm)))
}

impl Confirmed {
    /// Those that were counted, and no others.
    fn which(&self) -> Which {
        let failure = self.failure.as_ref().map(|failure| failure.0.clone());
        let group = Group { consumer: self.consumer.0.clone(), topic: self.topic.0.clone(), failure };
        Which { confirm: Some(self.confirm), counted: Some(self.counted), ..which(&group) }
    }
}

fn counting(group: &Group) -> Which {
    Which { dry_run: true, ..which(group) }
}

fn which(group: &Group) -> Which {
    let Search { consumer, topic, failure, .. } = group.search();
    Which { consumer, topic, failure, ..Which::default() }
}

pub async fn ask_replay(
    visit: Visit,
    operator: Operator,
    state: extract::State<State>,
    Path(consumer): Path<String>,
    Query(wished): Query<Wished>,
) -> Result<Response, Problem> {
    // Times are fixed here: "two hours ago" must not move between the question and the answer.
    let since = moment(&wished.since, visit.now)?;
    let until = moment(&wished.until, visit.now)?.or(Some(visit.now));
    let topic = Some(wished.topic.trim().to_owned()).filter(|topic| !topic.is_empty());
    let again = Again { topic: topic.clone(), since, until, after: wished.after, dry_run: true, ..Again::default() };
    let first = again.sent(EXAMPLES.into());
    let count = replay_messages(operator.clone(), state.clone(), Path(consumer.clone()), Body(again)).await?.0;
    let (ids, _) = state.store.sent(&first, state.store.now().await?).await?;
    let examples = state.seen_by(&operator.0).messages(&ids).await?;
    let range =
        Range { topic: topic.unwrap_or_default(), since, until, after: wished.after, forgets: wished.forget.is_some() };
    Ok(Html(ask(&visit, &consumer, &range, &count, &examples).into_string()).into_response())
}

pub async fn replay(
    visit: Visit,
    operator: Operator,
    state: extract::State<State>,
    Path(consumer): Path<String>,
    Form(form): Form<Repeated>,
) -> Result<Response, Problem> {
    let (since, until) = (moment(&form.since, visit.now)?, moment(&form.until, visit.now)?);
    let mut range = Range { topic: form.topic, since, until, after: form.after, forgets: form.forget.is_some() };
    let again = Again {
        topic: Some(range.topic.clone()).filter(|topic| !topic.is_empty()),
        since,
        until,
        after: form.after,
        forget: range.forgets,
        confirm: Some(form.confirm),
        counted: Some(form.counted),
        reason: reason(form.why),
        ..Again::default()
    };
    let page = format!("/consumers/{}", segment(&consumer));
    let outcome = replay_messages(operator, state, Path(consumer), Body(again)).await?.0;
    // The others are counted then.
    range.after = outcome.next.or(range.after);
    let place = if outcome.has_more { range.address(&page) } else { page };
    Ok(told(&place, acts::notice(Deed::Replay, &outcome, form.confirm)))
}

/// A moment, as a person or a page of ours writes it.
pub fn moment(text: &str, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, Problem> {
    at(text, now).ok_or_else(|| {
        Problem::invalid(format!("{text:?} is no time"), "write 2026-01-31 12:00 (UTC), or 2h for two hours ago")
    })
}

/// As a form of ours sends it back.
pub fn written(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
