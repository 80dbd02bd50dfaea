//! What is done with many messages: first a page that says with how many, and shows some; then, confirmed by that number, the deed.

use axum::extract;
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::acts::{self, reason, required, told};
use super::dead::{Act, Group, dry_run};
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
    consumer: String,
    topic: String,
    failure: Option<String>,
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
    forget: Option<String>,
}

/// The same, and that it is confirmed.
#[derive(Debug, Deserialize)]
pub struct Repeated {
    topic: String,
    since: String,
    until: String,
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
        let group = Group { consumer: self.consumer.clone(), topic: self.topic.clone(), failure: self.failure.clone() };
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
    let again = Again { topic: topic.clone(), since, until, dry_run: true, ..Again::default() };
    let count = replay_messages(operator.clone(), state.clone(), Path(consumer.clone()), Body(again)).await?.0;
    // The newest may not be sent yet.
    let search =
        Search { topic: topic.clone(), since, until, limit: Some(20 * i64::from(EXAMPLES)), ..Search::default() };
    let sent = find(&state, &operator.0, &search)
        .await?
        .messages
        .into_iter()
        .filter(|m| ["sent", "consumed"].contains(&m.state.as_str()));
    let examples: Vec<_> = sent.take(EXAMPLES.into()).collect();
    let range = Range {
        topic: topic.unwrap_or_default(),
        since: since.map(written).unwrap_or_default(),
        until: until.map(written).unwrap_or_default(),
        forgets: wished.forget.is_some(),
    };
    Ok(Html(ask(&visit, &consumer, &range, &count, &examples).into_string()).into_response())
}

pub async fn replay(
    visit: Visit,
    operator: Operator,
    state: extract::State<State>,
    Path(consumer): Path<String>,
    Form(form): Form<Repeated>,
) -> Result<Response, Problem> {
    let again = Again {
        topic: Some(form.topic).filter(|topic| !topic.is_empty()),
        since: moment(&form.since, visit.now)?,
        until: moment(&form.until, visit.now)?,
        forget: form.forget.is_some(),
        confirm: Some(form.confirm),
        counted: Some(form.counted),
        reason: reason(form.why),
        ..Again::default()
    };
    let place = format!("/consumers/{}", segment(&consumer));
    let outcome = replay_messages(operator, state, Path(consumer), Body(again)).await?.0;
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
