//! Messages over the API: found, shown, followed.

use axum::Json;
use axum::extract;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::body::{Path, Query};
use super::caller::{Caller, Viewer};
use super::problem::Problem;
use super::sight::Content;
use super::state::State;
use crate::store::search::{Found, Search};
use crate::store::views::{Event, Message, Payload};

/// So much of a payload is shown unless more is asked for.
const PAYLOAD_BYTES: u32 = 16 << 10;
/// The answer is made in memory, in Postgres and here.
const PAYLOAD_BYTES_MAX: u32 = 1 << 20;

/// How much of a payload.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Cap {
    /// At most so many bytes, 16384 unless it is said, 1048576 at most.
    bytes_max: Option<u32>,
}

/// Messages that were searched for, without their payloads; `cursor` leads on.
#[utoipa::path(get, path = "/v1/messages", tag = "messages", security(("token" = ["view"])), params(Search),
    responses((status = 200, body = Found)))]
pub async fn list_messages(
    Viewer(caller): Viewer,
    extract::State(state): extract::State<State>,
    Query(search): Query<Search>,
) -> Result<Json<Found>, Problem> {
    find(&state, &caller, &search).await.map(Json)
}

/// The same for other routes.
pub async fn find(state: &State, caller: &Caller, search: &Search) -> Result<Found, Problem> {
    let refused = |e: crate::store::search::Refused| Problem::invalid(e.to_string(), "correct the search");
    state.seen_by(caller).search(search).await?.map_err(refused)
}

/// One message, without its payload. Values of headers that `admin.payloads_hidden` hides are null.
#[utoipa::path(get, path = "/v1/messages/{id}", tag = "messages", security(("token" = ["view"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Message)))]
pub async fn get_message(
    Viewer(caller): Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
) -> Result<Json<Message>, Problem> {
    state.seen_by(&caller).message(id).await?.map(Json).ok_or_else(|| no_message(id))
}

/// Its payload, or the beginning of it. Who may see it is said in `admin.payloads` and `admin.payloads_hidden`.
#[utoipa::path(get, path = "/v1/messages/{id}/payload", tag = "messages", security(("token" = ["view"])),
    params(("id" = Uuid, Path), Cap), responses((status = 200, body = Payload)))]
pub async fn get_payload(
    Viewer(caller): Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
    Query(cap): Query<Cap>,
) -> Result<Json<Payload>, Problem> {
    let bytes_max = cap.bytes_max.unwrap_or(PAYLOAD_BYTES);
    let fits = i32::try_from(bytes_max).ok().filter(|_| (1..=PAYLOAD_BYTES_MAX).contains(&bytes_max));
    let unfit = || Problem::invalid(format!("bytes_max = {bytes_max}"), format!("write from 1 to {PAYLOAD_BYTES_MAX}"));
    match state.seen_by(&caller).payload(id, fits.ok_or_else(unfit)?).await? {
        Content::Shown(payload) => Ok(Json(payload)),
        Content::Gone => Err(no_message(id)),
        Content::Hidden => Err(Problem::forbidden(
            format!("this payload is not shown to the role {}", caller.role.name()),
            "ask an administrator; who may see it is said in admin.payloads and admin.payloads_hidden",
        )),
    }
}

/// What happened to it, its transaction and its consumers' records, oldest first.
#[utoipa::path(get, path = "/v1/messages/{id}/timeline", tag = "messages", security(("token" = ["view"])),
    params(("id" = Uuid, Path)), responses((status = 200, body = [Event])))]
pub async fn get_timeline(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
) -> Result<Json<Vec<Event>>, Problem> {
    let events = state.store.timeline(id).await?;
    if events.is_empty() {
        return Err(no_message(id));
    }
    Ok(Json(events))
}

fn no_message(id: Uuid) -> Problem {
    Problem::not_found(format!("there is no message {id}"), "it was never inserted in this database, or is retired")
}
