//! What people do on pages: each form is carried out by the API's own route, then the page is shown that tells what came of it.

use axum::extract;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use uuid::Uuid;

use super::deeds::Exact;
use super::lang::Language;
use super::looks::with_notice;
use super::notice::{Deed, Notice};
use super::signs::segment;
use crate::admin::body::{Body, Form, Path};
use crate::admin::bulk::{Again, Outcome, Which, discard_messages, replay_messages, resend_messages};
use crate::admin::caller::{Administrator, Operator};
use crate::admin::consumers::{self, Decision, Word};
use crate::admin::cookie::Cookie;
use crate::admin::counted::Removal;
use crate::admin::login::local;
use crate::admin::overview::{self, Kind, What};
use crate::admin::plugins::{self, Back};
use crate::admin::problem::Problem;
use crate::admin::state::State;
use crate::admin::tokens::Reason;
use crate::admin::transactions;

/// A language stays chosen for a year.
const LANGUAGE_S: u32 = 365 * 24 * 3600;

/// What an act answers.
pub type Act = Result<Response, Problem>;

/// Only why.
#[derive(Debug, Deserialize)]
pub struct Only {
    /// In the person's words.
    pub why: Option<String>,
}

/// That something is removed with so many messages, and why.
#[derive(Debug, Deserialize)]
pub struct Removed {
    confirm: Option<i64>,
    why: Option<String>,
}

impl Removed {
    /// As the API takes it; not without a reason.
    pub fn read(self) -> Result<Removal, Problem> {
        Ok(Removal { confirm: self.confirm, reason: required(self.why)? })
    }
}

/// The language that is wanted, and the page on which.
#[derive(Debug, Deserialize)]
pub struct Chosen {
    language: String,
    next: Option<String>,
}

/// Once more to which consumer.
#[derive(Debug, Deserialize)]
pub struct Replay {
    consumer: String,
    forget: Option<String>,
    why: Option<String>,
}

/// What is to be held, as a person or a page of ours names it.
#[derive(Debug, Deserialize)]
pub struct Held {
    kind: Kind,
    name: String,
    why: Option<String>,
    next: Option<String>,
}

/// What is to go on, as it is called.
#[derive(Debug, Deserialize)]
pub struct Released {
    kind: Kind,
    name: Exact,
    why: Option<String>,
    next: Option<String>,
}

/// What becomes of a record.
#[derive(Debug, Deserialize)]
pub struct Decided {
    key: Exact,
    outcome: Decision,
    why: Option<String>,
}

/// Which version is to answer again.
#[derive(Debug, Deserialize)]
pub struct Restored {
    deployment: i64,
    why: Option<String>,
}

/// Another page.
pub fn to(place: &str) -> Response {
    let place = HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

/// The page that tells what was done.
pub fn told(place: &str, notice: Notice) -> Response {
    to(&with_notice(place, notice))
}

/// A reason, if one was written.
pub fn reason(why: Option<String>) -> Option<String> {
    why.map(|why| why.trim().to_owned()).filter(|why| !why.is_empty())
}

/// A reason, without which it is not done.
pub fn required(why: Option<String>) -> Result<Option<String>, Problem> {
    let why = reason(why);
    if why.is_some() {
        return Ok(why);
    }
    Err(Problem::refused("this is not done without a reason", "go back, and write why: the audit keeps it"))
}

/// What a route says of many, as the next page tells it.
pub fn notice(deed: Deed, outcome: &Outcome, asked: usize) -> Notice {
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Notice { deed, done: number(outcome.done), of: number(asked.max(outcome.done)) }
}

/// Somebody else was faster: that is an answer too, and no fault. The page shows what it is now.
pub fn unless_lost<T>(done: Result<T, Problem>) -> Result<bool, Problem> {
    match done {
        Ok(_) => Ok(true),
        Err(problem) if problem.status() == StatusCode::CONFLICT && problem.rule.is_none() => Ok(false),
        Err(problem) => Err(problem),
    }
}

pub async fn language(extract::State(state): extract::State<State>, Form(chosen): Form<Chosen>) -> Response {
    let mut response = to(local(chosen.next.as_deref().unwrap_or("/")));
    if let Some(language) = Language::of(&chosen.language) {
        response.headers_mut().append(SET_COOKIE, Cookie::Language.set(&state.site, language.tag(), LANGUAGE_S));
    }
    response
}

pub async fn resend(
    operator: Operator,
    state: extract::State<State>,
    Path(id): Path<Uuid>,
    Form(form): Form<Only>,
) -> Act {
    let which = Which { ids: vec![id], reason: reason(form.why), ..Which::default() };
    let outcome = resend_messages(operator, state, Body(which)).await?.0;
    Ok(told(&format!("/messages/{id}"), notice(Deed::Resend, &outcome, 1)))
}

pub async fn discard(
    operator: Operator,
    state: extract::State<State>,
    Path(id): Path<Uuid>,
    Form(form): Form<Only>,
) -> Act {
    let which = Which { ids: vec![id], reason: required(form.why)?, ..Which::default() };
    let outcome = discard_messages(operator, state, Body(which)).await?.0;
    Ok(told(&format!("/messages/{id}"), notice(Deed::Discard, &outcome, 1)))
}

pub async fn replay(
    operator: Operator,
    state: extract::State<State>,
    Path(id): Path<Uuid>,
    Form(form): Form<Replay>,
) -> Act {
    let again = Again { ids: vec![id], forget: form.forget.is_some(), reason: reason(form.why), ..Again::default() };
    let outcome = replay_messages(operator, state, Path(form.consumer.trim().to_owned()), Body(again)).await?.0;
    Ok(told(&format!("/messages/{id}"), notice(Deed::Replay, &outcome, 1)))
}

pub async fn commit(
    operator: Operator,
    state: extract::State<State>,
    Path(id): Path<Uuid>,
    Form(form): Form<Only>,
) -> Act {
    let reason = Reason { reason: required(form.why)? };
    let done = unless_lost(transactions::commit_transaction(operator, state, Path(id), Body(reason)).await)?;
    Ok(told(&format!("/transactions/{id}"), Notice::one(Deed::Commit, done.into())))
}

pub async fn roll_back(
    operator: Operator,
    state: extract::State<State>,
    Path(id): Path<Uuid>,
    Form(form): Form<Only>,
) -> Act {
    let reason = Reason { reason: required(form.why)? };
    let done = unless_lost(transactions::roll_back_transaction(operator, state, Path(id), Body(reason)).await)?;
    Ok(told(&format!("/transactions/{id}"), Notice::one(Deed::RollBack, done.into())))
}

pub async fn recheck(
    operator: Operator,
    state: extract::State<State>,
    Path(id): Path<Uuid>,
    Form(form): Form<Only>,
) -> Act {
    let reason = Reason { reason: required(form.why)? };
    let done = unless_lost(transactions::recheck_transaction(operator, state, Path(id), Body(reason)).await)?;
    Ok(told(&format!("/transactions/{id}"), Notice::one(Deed::Recheck, done.into())))
}

pub async fn pause(operator: Operator, state: extract::State<State>, Form(held): Form<Held>) -> Act {
    let what = What { kind: held.kind, name: held.name, reason: reason(held.why) };
    overview::pause(operator, state, Body(what)).await?;
    Ok(told(back_to_holds(held.next.as_deref()), Notice::one(Deed::Pause, true.into())))
}

pub async fn resume(operator: Operator, state: extract::State<State>, Form(held): Form<Released>) -> Act {
    let what = What { kind: held.kind, name: held.name.0, reason: reason(held.why) };
    let done = unless_lost(overview::resume(operator, state, Body(what)).await)?;
    Ok(told(back_to_holds(held.next.as_deref()), Notice::one(Deed::Resume, done.into())))
}

fn back_to_holds(next: Option<&str>) -> &str {
    local(next.unwrap_or("/holds"))
}

pub async fn decide_record(
    operator: Operator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Form(form): Form<Decided>,
) -> Act {
    let word = Word { key: form.key.0, decision: form.outcome, reason: required(form.why)? };
    let place = format!("/consumers/{}", segment(&name));
    let done = unless_lost(consumers::decide_record(operator, state, Path(name), Body(word)).await)?;
    Ok(told(&place, Notice::one(Deed::Record, done.into())))
}

pub async fn remove_consumer(
    administrator: Administrator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Form(form): Form<Removed>,
) -> Act {
    let (removal, place) = (form.read()?, format!("/consumers/{}", segment(&name)));
    // One that is configured is refused as a conflict, with what to do: that is shown, not told as a lost race.
    consumers::remove_consumer(administrator, state, Path(name), Body(removal)).await.map(drop)?;
    Ok(told(&place, Notice::one(Deed::RemoveConsumer, true.into())))
}

pub async fn restore_plugin(
    administrator: Administrator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Form(form): Form<Restored>,
) -> Act {
    let back = Back { deployment: Some(form.deployment), reason: reason(form.why), ..Back::default() };
    let place = format!("/plugins/{}", segment(&name));
    plugins::roll_back_plugin(administrator, state, Path(name), Body(back)).await.map(drop)?;
    Ok(told(&place, Notice::one(Deed::Restore, true.into())))
}

pub async fn remove_plugin(
    administrator: Administrator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Form(form): Form<Only>,
) -> Act {
    let (reason, place) = (Reason { reason: required(form.why)? }, format!("/plugins/{}", segment(&name)));
    plugins::remove_plugin(administrator, state, Path(name), Body(reason)).await?;
    Ok(told(&place, Notice::one(Deed::RemovePlugin, true.into())))
}
