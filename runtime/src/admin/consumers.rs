//! Consumers over the API: how they keep up, their records at the gate, and what people decide about them.

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Body, Path, Query};
use super::bulk::by;
use super::caller::{Administrator, Operator, Viewer};
use super::counted::Removal;
use super::problem::Problem;
use super::state::State;
use super::transactions::rows_of;
use crate::store::views::{Consumer, InboxRecord};

/// How many rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Limit {
    /// At most so many, 50 if it is not said, 500 at most.
    limit: Option<i64>,
}

/// Which record: keys may hold any character.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Record {
    /// What makes it the same work.
    key: String,
}

/// What becomes of a parked or rejected record.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It runs again, from the first attempt.
    Retry,
    /// It counts as done.
    Done,
}

/// A person's word on a record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// Which record.
    pub key: String,
    /// What becomes of it.
    pub decision: Decision,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// A consumer that was removed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Removed {
    /// What became of its durable in the broker.
    pub durable: String,
}

/// All consumers.
#[utoipa::path(get, path = "/v1/consumers", tag = "consumers", security(("token" = ["view"])), responses((status = 200, body = [Consumer])))]
pub async fn list_consumers(
    _: Viewer,
    extract::State(state): extract::State<State>,
) -> Result<Json<Vec<Consumer>>, Problem> {
    Ok(Json(state.store.consumers_shown().await?))
}

/// The gate's records of the first messages that it has not finished.
#[utoipa::path(get, path = "/v1/consumers/{consumer}/records", tag = "consumers", security(("token" = ["view"])),
    params(("consumer" = String, Path), Limit), responses((status = 200, body = [InboxRecord])))]
pub async fn list_records(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(consumer): Path<String>,
    Query(limit): Query<Limit>,
) -> Result<Json<Vec<InboxRecord>>, Problem> {
    known_consumer(&state, &consumer).await?;
    Ok(Json(state.store.unfinished_records(&consumer, rows_of(limit.limit)?).await?))
}

/// One record of the gate.
#[utoipa::path(get, path = "/v1/consumers/{consumer}/record", tag = "consumers", security(("token" = ["view"])),
    params(("consumer" = String, Path), Record), responses((status = 200, body = InboxRecord)))]
pub async fn get_record(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(consumer): Path<String>,
    Query(record): Query<Record>,
) -> Result<Json<InboxRecord>, Problem> {
    known_record(&state, &consumer, &record.key).await.map(Json)
}

/// Decides about a parked or rejected record.
#[utoipa::path(post, path = "/v1/consumers/{consumer}/record", tag = "consumers", security(("token" = ["operate"])),
    params(("consumer" = String, Path)), request_body = Word, responses((status = 200, body = InboxRecord)))]
pub async fn decide_record(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(consumer): Path<String>,
    Body(word): Body<Word>,
) -> Result<Json<InboxRecord>, Problem> {
    let before = known_record(&state, &consumer, &word.key).await?;
    let outcome = match word.decision {
        Decision::Retry => "retry",
        Decision::Done => "done",
    };
    let by = by(&caller, word.reason.as_deref());
    if !state.store.decide_record(by, &consumer, &word.key, outcome).await? {
        let detail = format!("the record is {}, neither parked nor rejected", before.state);
        return Err(Problem::conflict(detail, "look at it again"));
    }
    known_record(&state, &consumer, &word.key).await.map(Json)
}

/// Nobody waits for it any more, and its durable is deleted. One that is configured would be made again.
#[utoipa::path(post, path = "/v1/consumers/{consumer}/remove", tag = "consumers", security(("token" = ["admin"])),
    params(("consumer" = String, Path)), request_body = Removal, responses((status = 200, body = Removed)))]
pub async fn remove_consumer(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(removal): Body<Removal>,
) -> Result<(StatusCode, Json<Removed>), Problem> {
    let consumer = known_consumer(&state, &name).await?;
    let parts = state.running()?;
    if parts.configured.contains(&name) {
        return Err(Problem::conflict(
            format!("[consumer.{name}] is in the configuration, so that a runtime would make it again"),
            "take its topics out there first",
        ));
    }
    removal.check(&name, consumer.to_confirm())?;
    if !state.store.remove_consumer(by(&caller, removal.reason.as_deref()), &name).await? {
        return Err(Problem::conflict(format!("{name} is not waited for"), "nothing is to be done"));
    }
    let durable = match parts.streams.iter().find(|stream| Some(&stream.name) == consumer.stream.as_ref()) {
        None => "its stream is not configured here: delete its durable there".to_owned(),
        Some(stream) => match stream.delete_durable(&name).await {
            Ok(true) => "deleted".to_owned(),
            Ok(false) => "it had none".to_owned(),
            Err(e) => format!("it could not be deleted ({e}): nats consumer rm {} {name}", stream.name),
        },
    };
    Ok((StatusCode::OK, Json(Removed { durable })))
}

/// The consumer of this name.
pub async fn known_consumer(state: &State, name: &str) -> Result<Consumer, Problem> {
    let all = state.store.consumers_shown().await?;
    let none =
        || Problem::not_found(format!("there is no consumer {name}"), "see /v1/consumers for those that are known");
    all.into_iter().find(|consumer| consumer.name == name).ok_or_else(none)
}

async fn known_record(state: &State, consumer: &str, key: &str) -> Result<InboxRecord, Problem> {
    known_consumer(state, consumer).await?;
    let none =
        || Problem::not_found("there is no such record", "it was never begun, or is forgotten after inbox.keep_hours");
    state.store.inbox_record(consumer, key).await?.ok_or_else(none)
}
