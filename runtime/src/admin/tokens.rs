//! Tokens over the API: made, listed, revoked by administrators; and who the caller is.

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Body, Path, Why};
use super::bulk::by;
use super::caller::{Administrator, Viewer};
use super::problem::Problem;
use super::state::State;
use crate::access::{Role, hash_token, new_token};
use crate::store::access::{Created, NewToken, Token};

/// Three months: rotating is a habit then, not an event.
pub const DAYS: u16 = 90;
/// Ten years; what is to live longer never expires.
const DAYS_MAX: u16 = 3650;

/// Who calls.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Me {
    /// The token's name, or the person.
    pub who: String,
    /// What they may do.
    pub role: Role,
}

/// A token that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Letters, digits, `_ . @ -`, up to 64: who the audit says it was.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// Days that it is valid, 1 to 3650; 90 unless it never expires.
    pub days: Option<u16>,
    /// Whether it is valid until it is revoked.
    #[serde(default)]
    pub never_expires: bool,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// A token that was made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Made {
    /// The secret. It is told once, and not stored.
    pub secret: String,
    /// What is known of it from now on.
    #[serde(flatten)]
    pub token: Token,
}

/// A body that gives only a reason.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why, for the audit.
    pub reason: Option<String>,
}

impl Wanted {
    /// The days that it is valid, if they end.
    fn valid_days(&self) -> Result<Option<i32>, Problem> {
        match (self.days, self.never_expires) {
            (None, true) => Ok(None),
            (days, false) if (1..=DAYS_MAX).contains(&days.unwrap_or(DAYS)) => Ok(Some(days.unwrap_or(DAYS).into())),
            _ => {
                let remedy = format!("give days from 1 to {DAYS_MAX}, or never_expires, not both");
                Err(Problem::refused("how long it is valid is not clear", remedy))
            }
        }
    }
}

/// Who the caller is.
#[utoipa::path(get, path = "/v1/me", tag = "access", security(("token" = ["view"])), responses((status = 200, body = Me)))]
pub async fn me(Viewer(caller): Viewer) -> Json<Me> {
    Json(Me { who: caller.who, role: caller.role })
}

/// All tokens without their secrets, the newest first; revoked ones for thirty days.
#[utoipa::path(get, path = "/v1/tokens", tag = "access", security(("token" = ["admin"])), responses((status = 200, body = [Token])))]
pub async fn list_tokens(
    Administrator(_): Administrator,
    extract::State(state): extract::State<State>,
) -> Result<Json<Vec<Token>>, Problem> {
    Ok(Json(state.store.tokens().await?))
}

/// Makes a token. Its secret is in the answer, and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", tag = "access", security(("token" = ["admin"])), request_body = Wanted,
    responses((status = 201, body = Made)))]
pub async fn create_token(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Body(wanted): Body<Wanted>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let days = wanted.valid_days()?;
    let secret = new_token();
    let hash = hash_token(&secret).expect("it was made by us");
    let new = NewToken { hash: &hash, name: &wanted.name, role: wanted.role, days };
    match state.store.create_token(by(&caller, wanted.reason.as_deref()), new).await? {
        Created::Done(token) => Ok((StatusCode::CREATED, Json(Made { secret, token: *token }))),
        Created::NameTaken => Err(Problem::conflict(
            format!("a token {} is there already", wanted.name),
            "take another name, or revoke that one first",
        )),
        Created::NameRefused => {
            Err(Problem::refused("the name has another form", "write up to 64 letters, digits, _ . @ -"))
        }
    }
}

/// Revokes a token; the sessions that began with it end.
#[utoipa::path(post, path = "/v1/tokens/{name}/revoke", tag = "access", security(("token" = ["admin"])),
    params(("name" = String, Path)), request_body = Reason, responses((status = 204)))]
pub async fn revoke_token(
    Administrator(caller): Administrator,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Why(why): Why,
    Body(body): Body<Reason>,
) -> Result<StatusCode, Problem> {
    let why = body.reason.or(why);
    if state.store.revoke_token(by(&caller, why.as_deref()), &name).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found(
        format!("no token {name} is there that is not revoked"),
        "see /v1/tokens for those that are",
    ))
}
