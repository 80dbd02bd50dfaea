//! Outside parties over the API: who they are, what they are told and were not, and telling them again.

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::{Body, Path, Why};
use super::bulk::by;
use super::caller::{Administrator, Operator, Viewer};
use super::counted::Removal;
use super::deliveries::NotifiedAgain;
use super::problem::Problem;
use super::state::State;
use super::tokens::Reason;
use crate::access::{hash_token, new_token};
use crate::endpoints::{Along, Described, Description, OVERLAP_HOURS, OVERLAP_HOURS_MAX, Signing, Terms};
use crate::signature::Sort;
use crate::store::operate::By;
use crate::store::views::Endpoint;

/// An endpoint that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// Its name: 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
    /// What it is and how it is told.
    pub endpoint: Description,
    /// What signs: `whsec_…` or `whsk_…`. Without it, one is made.
    pub secret: Option<String>,
    /// Which sort is made: `v1`, which both sides know, or `v1a`, whose public key the receiver gets.
    #[serde(default)]
    pub signature: SignatureSort,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// How messages are signed.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignatureSort {
    /// HMAC-SHA256.
    #[default]
    V1,
    /// Ed25519.
    V1a,
}

/// What signs from now on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointSecret {
    /// The endpoint.
    pub endpoint: String,
    /// What the receiver verifies with: `whsec_…`, or the public `whpk_…`. It is told once.
    pub verifies: String,
}

/// Another secret.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// What signs: `whsec_…` or `whsk_…`. Without it, one is made.
    pub secret: Option<String>,
    /// Which sort is made.
    #[serde(default)]
    pub signature: SignatureSort,
    /// How long those before sign too, in hours, 0 to 720; 24 if it is not said.
    pub overlap_hours: Option<u32>,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// What a receiver may ask with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointTokenWanted {
    /// Days that it is valid, 1 to 3650; 365 if it is not said.
    pub days: Option<u16>,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndpointTokenMade {
    /// The endpoint that it stands for.
    pub endpoint: String,
    /// The token. It is told once, and not stored.
    pub secret: String,
}

/// A message that means nothing.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Pinged {
    /// Its id: what came of it is said by its attempts.
    pub message_id: Uuid,
}

const TOKEN_DAYS: u16 = 365;
const TOKEN_DAYS_MAX: u16 = 3_650;

/// All endpoints.
#[utoipa::path(get, path = "/v1/endpoints", tag = "endpoints", security(("token" = ["view"])), responses((status = 200, body = [Endpoint])))]
pub async fn list_endpoints(
    _: Viewer,
    extract::State(state): extract::State<State>,
) -> Result<Json<Vec<Endpoint>>, Problem> {
    Ok(Json(state.store.endpoints_shown(None).await?))
}

/// One endpoint.
#[utoipa::path(get, path = "/v1/endpoints/{endpoint}", tag = "endpoints", security(("token" = ["view"])),
    params(("endpoint" = String, Path)), responses((status = 200, body = Endpoint)))]
pub async fn get_endpoint(
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(endpoint): Path<String>,
) -> Result<Json<Endpoint>, Problem> {
    known_endpoint(&state, &endpoint).await.map(Json)
}

/// Makes an endpoint. What its receiver verifies with is in the answer, and nowhere else.
#[utoipa::path(post, path = "/v1/endpoints", tag = "endpoints", security(("token" = ["admin"])), request_body = NewEndpoint,
    responses((status = 201, body = EndpointSecret)))]
pub async fn create_endpoint(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Body(wanted): Body<NewEndpoint>,
) -> Result<(StatusCode, Json<EndpointSecret>), Problem> {
    let (described, headers) = described(terms(&state)?, &wanted.name, wanted.endpoint)?;
    let Signing { secret, verifies } = signing(wanted.secret, wanted.signature)?;
    let by = by(&caller, wanted.reason.as_deref());
    let headers: Vec<_> = headers.unwrap_or_default().into_iter().collect();
    if !state.store.create_endpoint(by, &described, &secret, &headers).await? {
        let detail = format!("there is, or was, an endpoint {}", wanted.name);
        return Err(Problem::conflict(detail, "take another name: what was told under this one is known by it"));
    }
    Ok((StatusCode::CREATED, Json(EndpointSecret { endpoint: wanted.name, verifies })))
}

/// Describes an endpoint anew that was made over the API.
#[utoipa::path(put, path = "/v1/endpoints/{endpoint}", tag = "endpoints", security(("token" = ["admin"])),
    params(("endpoint" = String, Path)), request_body = Description, responses((status = 200, body = Endpoint)))]
pub async fn change_endpoint(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Why(why): Why,
    Body(description): Body<Description>,
) -> Result<Json<Endpoint>, Problem> {
    let (described, headers) = described(terms(&state)?, &name, description)?;
    of_api(&state, &name).await?;
    let headers: Option<Vec<_>> = headers.map(|headers| headers.into_iter().collect());
    if !state.store.change_endpoint(by(&caller, why.as_deref()), &described, headers.as_deref()).await? {
        return Err(changed_meanwhile());
    }
    known_endpoint(&state, &name).await.map(Json)
}

/// Lets another secret sign, for a time beside those that did, so that the receiver can change over.
#[utoipa::path(post, path = "/v1/endpoints/{endpoint}/secret", tag = "endpoints", security(("token" = ["admin"])),
    params(("endpoint" = String, Path)), request_body = Rotation, responses((status = 201, body = EndpointSecret)))]
pub async fn rotate_secret(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(rotation): Body<Rotation>,
) -> Result<(StatusCode, Json<EndpointSecret>), Problem> {
    let hours = rotation.overlap_hours.unwrap_or(OVERLAP_HOURS);
    if hours > OVERLAP_HOURS_MAX {
        return Err(Problem::refused("overlap_hours is too long", format!("write 0 to {OVERLAP_HOURS_MAX}")));
    }
    of_api(&state, &name).await?;
    let Signing { secret, verifies } = signing(rotation.secret, rotation.signature)?;
    let overlap_s = i32::try_from(hours * 3_600).unwrap_or(i32::MAX);
    if !state.store.rotate_secret(by(&caller, rotation.reason.as_deref()), &name, &secret, overlap_s).await? {
        return Err(changed_meanwhile());
    }
    Ok((StatusCode::CREATED, Json(EndpointSecret { endpoint: name, verifies })))
}

/// Makes a token with which the receiver asks what it was told. It is in the answer, and nowhere else.
#[utoipa::path(post, path = "/v1/endpoints/{endpoint}/tokens", tag = "endpoints", security(("token" = ["admin"])),
    params(("endpoint" = String, Path)), request_body = EndpointTokenWanted, responses((status = 201, body = EndpointTokenMade)))]
pub async fn create_endpoint_token(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(wanted): Body<EndpointTokenWanted>,
) -> Result<(StatusCode, Json<EndpointTokenMade>), Problem> {
    let days = wanted.days.unwrap_or(TOKEN_DAYS);
    if !(1..=TOKEN_DAYS_MAX).contains(&days) {
        return Err(Problem::refused("days is out of range", format!("write 1 to {TOKEN_DAYS_MAX}")));
    }
    let secret = new_token();
    let hash = hash_token(&secret).expect("it was made by us");
    let by = by(&caller, wanted.reason.as_deref());
    if !state.store.create_endpoint_token(by, &name, &hash, Some(days.into())).await? {
        return Err(no_endpoint(&name));
    }
    Ok((StatusCode::CREATED, Json(EndpointTokenMade { endpoint: name, secret })))
}

/// Revokes all tokens of the receiver.
#[utoipa::path(post, path = "/v1/endpoints/{endpoint}/tokens/revoke", tag = "endpoints", security(("token" = ["admin"])),
    params(("endpoint" = String, Path)), request_body = Reason, responses((status = 200, body = NotifiedAgain)))]
pub async fn revoke_endpoint_tokens(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Json<NotifiedAgain>, Problem> {
    known_endpoint(&state, &name).await?;
    let count = state.store.revoke_endpoint_tokens(by(&caller, reason.reason.as_deref()), &name).await?;
    Ok(Json(NotifiedAgain { count, more: false }))
}

/// Tells it again: what waits for it goes on.
#[utoipa::path(post, path = "/v1/endpoints/{endpoint}/enable", tag = "endpoints", security(("token" = ["operate"])),
    params(("endpoint" = String, Path)), request_body = Reason, responses((status = 200, body = Endpoint)))]
pub async fn enable_endpoint(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Json<Endpoint>, Problem> {
    set(&state, &name, "enabled", by(&caller, reason.reason.as_deref())).await
}

/// Tells it nothing until it is enabled again: what comes for it waits.
#[utoipa::path(post, path = "/v1/endpoints/{endpoint}/disable", tag = "endpoints", security(("token" = ["operate"])),
    params(("endpoint" = String, Path)), request_body = Reason, responses((status = 200, body = Endpoint)))]
pub async fn disable_endpoint(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Json<Endpoint>, Problem> {
    set(&state, &name, "disabled", by(&caller, reason.reason.as_deref())).await
}

/// Ends it for good: what waits for it is given up, its secrets and tokens are gone, its name stays taken.
#[utoipa::path(post, path = "/v1/endpoints/{endpoint}/remove", tag = "endpoints", security(("token" = ["admin"])),
    params(("endpoint" = String, Path)), request_body = Removal, responses((status = 204)))]
pub async fn remove_endpoint(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(removal): Body<Removal>,
) -> Result<StatusCode, Problem> {
    let endpoint = known_endpoint(&state, &name).await?;
    if state.running()?.endpoints.contains(&name) {
        let detail = format!("[endpoint.{name}] is in the configuration");
        return Err(Problem::conflict(detail, "take its section out there first, or disable it"));
    }
    removal.check(&name, endpoint.waiting)?;
    match state.store.remove_endpoint(by(&caller, removal.reason.as_deref()), &name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(changed_meanwhile()),
    }
}

/// Tells it a message that means nothing, once, signed as any other: topic `avouch.ping`.
#[utoipa::path(post, path = "/v1/endpoints/{endpoint}/ping", tag = "endpoints", security(("token" = ["operate"])),
    params(("endpoint" = String, Path)), request_body = Reason, responses((status = 202, body = Pinged)))]
pub async fn ping_endpoint(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<(StatusCode, Json<Pinged>), Problem> {
    known_endpoint(&state, &name).await?;
    match state.store.ping_endpoint(by(&caller, reason.reason.as_deref()), &name).await? {
        Some(message_id) => Ok((StatusCode::ACCEPTED, Json(Pinged { message_id }))),
        None => Err(Problem::conflict(format!("{name} is disabled"), "enable it first")),
    }
}

/// The endpoint of this name.
pub async fn known_endpoint(state: &State, name: &str) -> Result<Endpoint, Problem> {
    state.store.endpoints_shown(Some(name)).await?.pop().ok_or_else(|| no_endpoint(name))
}

fn no_endpoint(name: &str) -> Problem {
    Problem::not_found(format!("there is no endpoint {name}"), "see /v1/endpoints for those that are")
}

fn changed_meanwhile() -> Problem {
    Problem::conflict("somebody has changed it meanwhile", "look at it again")
}

async fn of_api(state: &State, name: &str) -> Result<(), Problem> {
    if known_endpoint(state, name).await?.origin == "api" {
        return Ok(());
    }
    Err(Problem::conflict(format!("{name} stands in the configuration"), format!("change [endpoint.{name}] there")))
}

async fn set(state: &State, name: &str, to: &str, by: By<'_>) -> Result<Json<Endpoint>, Problem> {
    known_endpoint(state, name).await?;
    if !state.store.set_endpoint(by, name, to).await? {
        return Err(Problem::conflict(format!("{name} is {to} already"), "nothing is to be done"));
    }
    known_endpoint(state, name).await.map(Json)
}

/// What endpoints may be, if anybody is told.
fn terms(state: &State) -> Result<&Terms, Problem> {
    let off = || Problem::conflict("nobody is told anything here", "set notify.topics in the configuration");
    state.running()?.terms.as_ref().ok_or_else(off)
}

fn described(terms: &Terms, name: &str, wanted: Description) -> Result<(Described, Along), Problem> {
    terms.described(name, wanted).map_err(|faults| Problem::refused(faults, "correct these"))
}

/// What signs, and what the receiver verifies with.
fn signing(given: Option<String>, signature: SignatureSort) -> Result<Signing, Problem> {
    let sort = match signature {
        SignatureSort::V1 => Sort::Shared,
        SignatureSort::V1a => Sort::Pair,
    };
    Signing::of(given, sort).map_err(|e| Problem::refused(e.to_string(), "leave it out, and one is made"))
}
