//! Logging in and out of the console: with a token, or where people are known.

use axum::Extension;
use axum::extract;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;

use super::Auth;
use super::body::{Form, Query};
use super::caller::{By, Viewer};
use super::console::{self, Door, Visit};
use super::cookie::Cookie;
use super::guard::Access;
use super::oidc::{Answer, Issuer};
use super::page::Pages;
use super::problem::Problem;
use super::state::State;
use crate::access::{Hash, Role, hash_secret, hash_token, new_secret};
use crate::serving::Peer;
use crate::store::access::{Known, NewSession};

/// People log in at the issuer within this time.
const LOGIN_S_MAX: u32 = 600;

/// Its routes.
pub fn pages() -> Pages {
    Pages::default()
        .get("/login", Access::Open, show)
        .post("/login", Access::Open, enter)
        .get("/login/oidc", Access::Open, leave_for_issuer)
        .get("/login/oidc/callback", Access::Open, come_back)
        .post("/logout", Access::Needs(Role::View), leave)
}

/// Where to go when that is done.
#[derive(Debug, Deserialize)]
struct Next {
    next: Option<String>,
}

/// What the form says.
#[derive(Debug, Deserialize)]
struct Entry {
    token: String,
    next: Option<String>,
}

/// The form; `next` is where it leads, `refused` says why the last try was in vain.
pub fn page(state: &State, visit: &Visit, next: &str, refused: Option<&str>) -> Html<String> {
    let door = Door { next: local(next), refused, has_issuer: state.issuer.is_some() };
    Html(console::login(visit, door).into_string())
}

async fn show(visit: Visit, extract::State(state): extract::State<State>, Query(next): Query<Next>) -> Response {
    let next = next.next.as_deref().unwrap_or("/");
    if state.config.auth == Auth::None { to(local(next)) } else { page(&state, &visit, next, None).into_response() }
}

async fn enter(
    visit: Visit,
    extract::State(state): extract::State<State>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let next = entry.next.as_deref().unwrap_or("/");
    let known = match hash_token(entry.token.trim()) {
        Some(hash) => bearer(&state, &hash, peer).await?,
        // What has not the form of a token costs nothing.
        None => None,
    };
    let Some(known) = known else {
        tracing::info!(remote = %peer.remote, "a login with a token was refused");
        let refused = page(&state, &visit, next, Some(visit.w.token_refused));
        return Ok((StatusCode::UNAUTHORIZED, refused).into_response());
    };
    let cookie = begin(&state, &headers, &known).await?;
    Ok(with_cookies(to(local(next)), [cookie]))
}

async fn leave(extract::State(state): extract::State<State>, Viewer(caller): Viewer) -> Result<Response, Problem> {
    if let By::Session(hash) = &caller.by {
        state.store.end_session(hash).await?;
    }
    Ok(with_cookies(to("/login"), [Cookie::Session.clear(&state.site)]))
}

async fn leave_for_issuer(
    extract::State(state): extract::State<State>,
    Query(next): Query<Next>,
) -> Result<Response, Problem> {
    let issuer = issuer(&state)?;
    let (url, remembered) = issuer.begin(local(next.next.as_deref().unwrap_or("/"))).await?;
    Ok(with_cookies(to(&url), [Cookie::Login.set(&state.site, &remembered, LOGIN_S_MAX)]))
}

async fn come_back(
    visit: Visit,
    extract::State(state): extract::State<State>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Query(answer): Query<Answer>,
) -> Result<Response, Problem> {
    let issuer = issuer(&state)?;
    let turn = state.issuer_tried.turn(peer.remote.ip()).await?;
    let remembered = Cookie::Login.of(&headers, &state.site).unwrap_or_default();
    let forget = Cookie::Login.clear(&state.site);
    let finished = issuer.finish(&answer, remembered).await;
    drop(turn);
    let (known, next) = match finished {
        Ok(found) => found,
        Err(problem) => {
            // It counts for those who come next: who came now is told what was wrong.
            state.issuer_tried.failed_from(peer.remote.ip()).ok();
            tracing::info!(remote = %peer.remote, why = problem.detail, "a login with OpenID Connect was refused");
            return Ok(with_cookies(problem.into_response(), [forget]));
        }
    };
    let cookie = begin(&state, &headers, &known).await?;
    tracing::info!(who = known.who, role = known.role.name(), "logged in with OpenID Connect");
    let page = Html(console::arrived(&visit, local(&next)).into_string());
    Ok(with_cookies(page.into_response(), [cookie, forget]))
}

fn issuer(state: &State) -> Result<&Issuer, Problem> {
    let none = || Problem::not_found("no [admin.oidc] is configured", "log in with a token");
    state.issuer.as_ref().filter(|_| state.config.auth != Auth::None).ok_or_else(none)
}

/// Who bears this token. However many were shown from the same address that nobody bears: behind a proxy it is everybody's.
async fn bearer(state: &State, hash: &Hash, peer: Peer) -> Result<Option<Known>, Problem> {
    let from = peer.remote.ip();
    let turn = state.tokens_tried.turn(from).await?;
    let known = state.store.token_bearer(hash).await?;
    drop(turn);
    if known.is_none() {
        state.tokens_tried.failed_from(from).inspect_err(|_| {
            tracing::info!(remote = %from, "tokens that nobody bears are shown too often");
        })?;
    }
    Ok(known)
}

/// Begins a session, and ends the one that this browser had. Returns its cookie.
async fn begin(state: &State, headers: &HeaderMap, known: &Known) -> Result<HeaderValue, Problem> {
    if let Some(former) = Cookie::Session.of(headers, &state.site).and_then(hash_secret) {
        state.store.end_session(&former).await?;
    }
    let (id, max_s) = (new_secret(), state.config.session_max_s);
    let hash = hash_secret(&id).expect("it was made by us");
    state.store.begin_session(NewSession { hash: &hash, known, max_s }).await?;
    Ok(Cookie::Session.set(&state.site, &id, max_s))
}

fn to(place: &str) -> Response {
    let place = HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

fn with_cookies<const N: usize>(mut response: Response, cookies: [HeaderValue; N]) -> Response {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// A place on this server, or its root. A second slash, or a backslash, would lead to another one.
pub fn local(next: &str) -> &str {
    let is_local = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\');
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic());
    if is_local && is_plain { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_leads_nowhere_else() {
        for place in ["/", "/messages?state=dead&topic=a%20b", "/login"] {
            assert_eq!(local(place), place);
        }
        for place in
            ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb", "javascript:alert(1)", "/ä"]
        {
            assert_eq!(local(place), "/", "{place}");
        }
    }
}
