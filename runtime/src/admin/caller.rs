//! Who calls, and the extractors by which a route says what role it needs.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Auth;
use super::cookie::Cookie;
use super::problem::Problem;
use super::state::State;
use crate::access::{Hash, Role, bearer, hash_secret, hash_token};
use crate::store::access::Use;

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's name, or the person: what the audit says.
    pub who: String,
    /// What they may do.
    pub role: Role,
    /// How they are known.
    pub by: By,
}

/// How a caller is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The request brings a token: no browser does that by itself.
    Bearer,
    /// A cookie, which browsers bring along whoever's page asks.
    Session(Hash),
    /// Nothing is asked for.
    Nothing,
}

/// Who the audit says it was when nothing is asked for.
const ANYBODY: &str = "anybody";

/// Who calls, or why nobody is known by it.
pub async fn identify(state: &State, headers: &HeaderMap, used_by: Use) -> Result<Caller, Problem> {
    if state.config.auth == Auth::None {
        return Ok(Caller { who: ANYBODY.to_owned(), role: Role::Admin, by: By::Nothing });
    }
    if let Some(value) = headers.get(AUTHORIZATION) {
        let hash = value.to_str().ok().and_then(bearer).and_then(hash_token).ok_or_else(Problem::nobody)?;
        let known = state.store.token_bearer(&hash).await?.ok_or_else(Problem::nobody)?;
        return Ok(Caller { who: known.who, role: known.role, by: By::Bearer });
    }
    let id = Cookie::Session.of(headers, &state.site);
    let hash = id.and_then(hash_secret).ok_or_else(Problem::nobody)?;
    let known = state.store.session_owner(&hash, state.rules(), used_by).await?.ok_or_else(Problem::nobody)?;
    Ok(Caller { who: known.who, role: known.role, by: By::Session(hash) })
}

/// Refuses whoever has a lesser role.
pub fn demand(caller: &Caller, role: Role) -> Result<(), Problem> {
    if caller.role >= role {
        return Ok(());
    }
    let (has, needs) = (caller.role.name(), role.name());
    Err(Problem::forbidden(
        format!("{} has the role {has}, this needs {needs}", caller.who),
        format!("use a token with --role {needs}, or ask an administrator"),
    ))
}

macro_rules! extractors {
    ($($(#[$doc:meta])* $name:ident = $role:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub struct $name(pub Caller);

            impl<S: Send + Sync> FromRequestParts<S> for $name {
                type Rejection = Problem;

                async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
                    // Put there by the guard; without one, nobody is let in.
                    let caller = parts.extensions.get::<Caller>().ok_or_else(Problem::nobody)?;
                    demand(caller, $role)?;
                    Ok(Self(caller.clone()))
                }
            }
        )+
    };
}

extractors! {
    /// Who looks at something.
    Viewer = Role::View;
    /// Who does what operators do.
    Operator = Role::Operate;
    /// Who does what administrators do.
    Administrator = Role::Admin;
}
