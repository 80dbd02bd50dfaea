//! Whether the process lives, and whether it can do its work now.

use axum::Json;
use axum::extract;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::state::State;

/// It is so.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `live` or `ready`.
    pub status: &'static str,
}

/// Whether the process lives: an answer says so. Restart it if there is none.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, body = Health)))]
pub async fn livez() -> Json<Health> {
    Json(Health { status: "live" })
}

/// Whether its database answers and has the schema, and NATS is connected. If not, the reasons; rows wait meanwhile.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn readyz(extract::State(state): extract::State<State>) -> Response {
    let reasons = reasons(&state).await;
    if reasons.is_empty() {
        return Json(Health { status: "ready" }).into_response();
    }
    let remedy = "wait; the log of the runtime and `avouch doctor` tell more";
    Problem::unavailable(reasons.join("; "), remedy).into_response()
}

/// Why it is not ready. A caller may be anybody, so that the texts of the servers stay in the log.
async fn reasons(state: &State) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    // Before it runs, it is not known which versions of the schema it serves.
    let versions = state.parts().map_or(0..=i32::MAX, |parts| parts.versions.clone());
    match state.store.serves(versions).await {
        Ok(true) => {}
        Ok(false) => reasons
            .push("the avouch schema is of a version that this runtime does not serve, or the database is a replica"),
        Err(e) => {
            tracing::debug!(error = %e, "not ready: the database");
            reasons.push("the database does not answer, or has no avouch schema");
        }
    }
    match state.parts() {
        None => reasons.push("the source is being started"),
        Some(parts) if !*parts.connected.borrow() => reasons.push("NATS is not connected"),
        Some(_) => {}
    }
    reasons
}
