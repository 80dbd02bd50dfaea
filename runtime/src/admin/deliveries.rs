//! What outside parties are told, were told and were not, over the API; and telling them again.

use axum::Json;
use axum::extract;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::body::{Body, Path, Query};
use super::bulk::by;
use super::caller::{Operator, Viewer};
use super::endpoints::known_endpoint;
use super::problem::Problem;
use super::state::State;
use super::transactions::rows_of;
use crate::store::endpoints::Look;
use crate::store::operate::By;
use crate::store::views::{Attempt, Delivery};

/// Which deliveries, and from where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// waiting or given_up; all, the latest message first, if it is not said.
    state: Option<String>,
    /// The last message of the page before.
    after: Option<Uuid>,
    /// At most so many, 50 if it is not said, 500 at most.
    limit: Option<i64>,
}

/// Messages that are told once more.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyAgain {
    /// These.
    #[serde(default)]
    pub ids: Vec<Uuid>,
    /// Or all that were given up since then, RFC 3339.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub given_up_since: Option<OffsetDateTime>,
    /// Only say how many were given up since then.
    #[serde(default)]
    pub dry_run: bool,
    /// The number that the dry run said: needed unless `ids` are named. With another one nothing is done.
    pub confirm: Option<i64>,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// How many will be told once more.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NotifiedAgain {
    /// So many.
    pub count: i64,
    /// There are more of them than one request takes: repeat it.
    pub more: bool,
}

/// Of one request.
const IDS_MAX: usize = 1_000;
/// Of one request, of what was given up.
const AGAIN_MAX: i64 = 1_000;
/// Tries that are shown.
const ATTEMPTS_MAX: i64 = 500;

/// What it is told, was told, and was not.
#[utoipa::path(get, path = "/v1/endpoints/{endpoint}/deliveries", tag = "endpoints", security(("token" = ["view"])),
    params(("endpoint" = String, Path), Asked), responses((status = 200, body = [Delivery])))]
pub async fn list_deliveries(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Delivery>>, Problem> {
    known_endpoint(&state, &name).await?;
    let look = match asked.state.as_deref() {
        None => Look::Recent,
        Some("waiting") => Look::Waiting,
        Some("given_up") => Look::GivenUp,
        Some(other) => {
            return Err(Problem::invalid(format!("no state {other:?}"), "write waiting or given_up, or leave it out"));
        }
    };
    Ok(Json(state.store.deliveries_shown(&name, look, asked.after, rows_of(asked.limit)?).await?))
}

/// Tells it messages once more, under the `webhook-id` that they had: the schedule begins anew.
#[utoipa::path(post, path = "/v1/endpoints/{endpoint}/resend", tag = "endpoints", security(("token" = ["operate"])),
    params(("endpoint" = String, Path)), request_body = NotifyAgain, responses((status = 200, body = NotifiedAgain)))]
pub async fn resend_deliveries(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(again): Body<NotifyAgain>,
) -> Result<Json<NotifiedAgain>, Problem> {
    known_endpoint(&state, &name).await?;
    let by = by(&caller, again.reason.as_deref());
    match (again.ids.as_slice(), again.given_up_since) {
        ([], Some(since)) => given_up_again(&state, by, &name, since, &again).await.map(Json),
        (ids @ [_, ..], None) if ids.len() <= IDS_MAX && !again.dry_run => {
            let told = state.store.notify_again(by, &name, ids).await?;
            Ok(Json(NotifiedAgain { count: i64::try_from(told.len()).unwrap_or(i64::MAX), more: false }))
        }
        _ => {
            Err(Problem::refused("which messages is not clear", format!("give 1 to {IDS_MAX} ids, or given_up_since")))
        }
    }
}

/// No more than were counted: one that is given up again meanwhile is not told a third time.
async fn given_up_again(
    state: &State,
    by: By<'_>,
    name: &str,
    since: OffsetDateTime,
    again: &NotifyAgain,
) -> Result<NotifiedAgain, Problem> {
    let found = state.store.given_up_since(name, since, AGAIN_MAX + 1).await?;
    let (count, more) = (found.min(AGAIN_MAX), found > AGAIN_MAX);
    if again.dry_run {
        return Ok(NotifiedAgain { count, more });
    }
    match again.confirm {
        Some(number) if number == count => {}
        Some(number) => {
            let detail = format!("{count} were given up since then, and {number} were confirmed");
            return Err(Problem::conflict(detail, "look at them again, then confirm that number"));
        }
        None => {
            let remedy = format!("look at them first (dry_run), then send confirm = {count}");
            return Err(Problem::conflict(format!("{count} were given up since then"), remedy));
        }
    }
    let rows_max = i32::try_from(count).expect("it is at most AGAIN_MAX");
    let count = state.store.notify_given_up_again(by, name, since, rows_max).await?;
    Ok(NotifiedAgain { count, more })
}

/// Whom a message is told, and how far that is.
#[utoipa::path(get, path = "/v1/messages/{id}/deliveries", tag = "endpoints", security(("token" = ["view"])),
    params(("id" = Uuid, Path)), responses((status = 200, body = [Delivery])))]
pub async fn list_deliveries_of_message(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
) -> Result<Json<Vec<Delivery>>, Problem> {
    Ok(Json(state.store.deliveries_of(id).await?))
}

/// Tries to tell a message, the last first.
#[utoipa::path(get, path = "/v1/messages/{id}/attempts", tag = "endpoints", security(("token" = ["view"])),
    params(("id" = Uuid, Path)), responses((status = 200, body = [Attempt])))]
pub async fn list_attempts(
    Viewer(caller): Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
) -> Result<Json<Vec<Attempt>>, Problem> {
    Ok(Json(state.seen_by(&caller).attempts(id, None, ATTEMPTS_MAX).await?))
}
