//! Sessions of the console over the API: listed and ended by administrators.

use axum::Json;
use axum::extract;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Body, Path};
use super::bulk::by;
use super::caller::Administrator;
use super::problem::Problem;
use super::state::State;
use super::tokens::Reason;
use crate::store::access::Session;

/// Sessions that were ended.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Ended {
    /// So many.
    pub ended: i64,
}

/// All sessions that may go on, the last used first.
#[utoipa::path(get, path = "/v1/sessions", tag = "access", security(("token" = ["admin"])), responses((status = 200, body = [Session])))]
pub async fn list_sessions(
    Administrator(_): Administrator,
    extract::State(state): extract::State<State>,
) -> Result<Json<Vec<Session>>, Problem> {
    Ok(Json(state.store.sessions(Some(state.rules())).await?))
}

/// Ends all sessions of a person, or of whoever logged in with the token of this name. They may log in again, if they still may.
#[utoipa::path(post, path = "/v1/sessions/{who}/end", tag = "access", security(("token" = ["admin"])),
    params(("who" = String, Path)), request_body = Reason, responses((status = 200, body = Ended)))]
pub async fn end_sessions(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(who): Path<String>,
    Body(body): Body<Reason>,
) -> Result<Json<Ended>, Problem> {
    match state.store.end_sessions(by(&caller, body.reason.as_deref()), &who).await? {
        0 => Err(Problem::not_found(format!("{who} has no session"), "see /v1/sessions for those who have")),
        ended => Ok(Json(Ended { ended })),
    }
}
