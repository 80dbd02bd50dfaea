//! How it goes: counts, rates, owners, what is held, what people did.

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Body, Query};
use super::bulk::by;
use super::caller::{Operator, Viewer};
use super::problem::Problem;
use super::state::State;
use super::transactions::rows_of;
use crate::store::views::{Audited, Hold, Sample, Status};

/// An hour.
const MINUTES: i32 = 60;
/// Samples are kept for so long at most.
const MINUTES_MAX: i32 = 7 * 24 * 60;

/// How far back.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Span {
    /// Minutes, 60 if it is not said, 10080 at most.
    minutes: Option<i32>,
}

/// Where in a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Before this number: that of the last one of the answer before.
    pub cursor: Option<i64>,
    /// At most so many, 50 if it is not said, 500 at most.
    pub limit: Option<i64>,
}

/// What can be held.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// All messages of a topic.
    Topic,
    /// All messages of a key, in every topic.
    Key,
    /// All deliveries to a consumer.
    Consumer,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Key => "key",
            Self::Consumer => "consumer",
        }
    }
}

/// What is to be held, or to go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct What {
    /// Which of them.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// How it goes: counts, processes and their shards, losses, holds.
#[utoipa::path(get, path = "/v1/overview", tag = "overview", security(("token" = ["view"])), responses((status = 200, body = Status)))]
pub async fn get_overview(_: Viewer, extract::State(state): extract::State<State>) -> Result<Json<Status>, Problem> {
    Ok(Json(state.store.status().await?))
}

/// How it went, oldest first.
#[utoipa::path(get, path = "/v1/samples", tag = "overview", security(("token" = ["view"])), params(Span),
    responses((status = 200, body = [Sample])))]
pub async fn list_samples(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(span): Query<Span>,
) -> Result<Json<Vec<Sample>>, Problem> {
    let minutes = span.minutes.unwrap_or(MINUTES);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(Problem::invalid(format!("minutes = {minutes}"), format!("write from 1 to {MINUTES_MAX}")));
    }
    Ok(Json(state.store.samples(minutes).await?))
}

/// What people did, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "overview", security(("token" = ["view"])), params(Page),
    responses((status = 200, body = [Audited])))]
pub async fn list_audit(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<Audited>>, Problem> {
    Ok(Json(state.store.audited(page.cursor, rows_of(page.limit)?).await?))
}

/// What is held, newest first, up to 500.
#[utoipa::path(get, path = "/v1/holds", tag = "holds", security(("token" = ["view"])), responses((status = 200, body = [Hold])))]
pub async fn list_holds(_: Viewer, extract::State(state): extract::State<State>) -> Result<Json<Vec<Hold>>, Problem> {
    Ok(Json(state.store.holds_shown(500).await?))
}

/// Holds back a topic, a key or a consumer: messages wait, in order.
#[utoipa::path(post, path = "/v1/holds/pause", tag = "holds", security(("token" = ["operate"])), request_body = What,
    responses((status = 204)))]
pub async fn pause(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Body(what): Body<What>,
) -> Result<StatusCode, Problem> {
    if let Kind::Consumer = what.kind {
        super::consumers::known_consumer(&state, &what.name).await?;
    }
    state.store.pause(by(&caller, what.reason.as_deref()), what.kind.name(), &what.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets it go on.
#[utoipa::path(post, path = "/v1/holds/resume", tag = "holds", security(("token" = ["operate"])), request_body = What,
    responses((status = 204)))]
pub async fn resume(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Body(what): Body<What>,
) -> Result<StatusCode, Problem> {
    if state.store.resume(by(&caller, what.reason.as_deref()), what.kind.name(), &what.name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::conflict(
        format!("{} {} was not paused", what.kind.name(), what.name),
        "a key that is parked behind a dead message goes on after resend or discard of that message",
    ))
}
