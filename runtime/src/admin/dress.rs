//! What all requests have in common, and all answers: names, limits, headers, faults; problems as pages for people.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::extract::{self, DefaultBodyLimit, Request};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use futures_util::FutureExt as _;

use super::caller::Caller;
use super::console::{self, Visit};
use super::login;
use super::problem::Problem;
use super::state::State;
use crate::serving::Peer;

/// Bodies are ids and reasons; routes that take more say so.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A statement has less; the rest is for a body on a slow line.
const REQUEST_LIMIT: Duration = Duration::from_secs(45);
/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The routes with all that they have in common.
pub fn dressed(router: Router, state: State) -> Router {
    router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).layer(from_fn_with_state(state, enter))
}

async fn enter(extract::State(state): extract::State<State>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(state.clone());
    let path = request.uri().path().to_owned();
    let visit = wants_page(&request).then(|| Visit::of(&state, request.method(), request.uri(), request.headers()));
    let answer = AssertUnwindSafe(answer(&state, request, next)).catch_unwind().await;
    let mut response = match answer {
        Ok(answer) => answer.unwrap_or_else(IntoResponse::into_response),
        Err(panic) => broken(&path, &panic).into_response(),
    };
    if let (Some(visit), Some(problem)) = (visit, response.extensions_mut().remove::<Problem>()) {
        let visit = visit.by(response.extensions().get::<Caller>());
        response = as_page(&state, &visit, &problem);
    }
    add_headers(&mut response);
    response
}

/// What the route answers, unless the request is refused before.
async fn answer(state: &State, request: Request, next: Next) -> Result<Response, Problem> {
    check_host(state, &request)?;
    let _room = state.requests.try_acquire().map_err(|_| {
        let problem = Problem::unavailable("too many requests are under way here", "repeat it in a second");
        Problem { retry_after_s: Some(1), ..problem }
    })?;
    tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await.map_err(|_| {
        Problem::unavailable(
            format!("it was not done within {} s; what it was to change may be changed yet", REQUEST_LIMIT.as_secs()),
            "look whether it was, then repeat it",
        )
    })
}

fn check_host(state: &State, request: &Request) -> Result<(), Problem> {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.ok_or_else(|| Problem::internal("a request has no peer", "report it as a fault of avouch"))?;
    let mut hosts = request.headers().get_all(HOST).into_iter();
    let host = hosts.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let named = request.uri().authority().map(|authority| authority.as_str());
    let is_known = |host: &str| state.site.knows(host, peer.local.ip());
    if hosts.next().is_none() && is_known(host) && named.is_none_or(is_known) {
        return Ok(());
    }
    Err(Problem::misdirected(
        format!("this server is not called {host:?}"),
        "set admin.public_url to what browsers call it, or use its address",
    ))
}

fn wants_page(request: &Request) -> bool {
    let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = request.uri().path();
    accepts.contains("text/html") && !path.starts_with("/v1/") && path != "/livez" && path != "/readyz"
}

/// Somebody who is not logged in sees where to do that; the status stays.
fn as_page(state: &State, visit: &Visit, problem: &Problem) -> Response {
    if problem.status() != StatusCode::UNAUTHORIZED {
        return (problem.status(), Html(console::problem(visit, problem).into_string())).into_response();
    }
    let is_login = visit.place.starts_with("/login");
    let (next, refused) = if is_login { ("/", Some(problem.detail.as_str())) } else { (visit.place.as_str(), None) };
    (problem.status(), login::page(state, visit, next, refused)).into_response()
}

fn broken(path: &str, panic: &(dyn std::any::Any + Send)) -> Problem {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(path, panic = text.unwrap_or("not a text"), "a request broke: report it as a fault of avouch");
    Problem::internal("the request broke something here; the log says what", "report it as a fault of avouch")
}

fn add_headers(response: &mut Response) {
    let is_page = response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    // With no-referrer, browsers would post the forms of our own pages with the origin `null`.
    let referrer = if is_page { "same-origin" } else { "no-referrer" };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, referrer),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Only assets say that everybody may keep them.
    if headers.get(CACHE_CONTROL).is_none_or(|value| !value.as_bytes().starts_with(b"public")) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::super::host::Site;
    use super::*;
    use crate::admin::Config;
    use crate::meters::Scope;
    use crate::secret::Secret;
    use crate::store::{self, Plans, Store};

    async fn breaks() -> &'static str {
        panic!("as this test wants it")
    }

    fn request(path: &str) -> Request {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9180));
        let peer = Peer { remote: address, local: address };
        axum::http::Request::builder()
            .uri(path)
            .header(HOST, "localhost")
            .extension(peer)
            .body(Body::empty())
            .expect("it is one")
    }

    #[tokio::test]
    async fn request_that_breaks_is_a_problem_and_the_next_one_is_served() {
        let nowhere = store::Config::of(Secret::new("postgres://127.0.0.1:1/nowhere"));
        let store = Arc::new(
            Store::new(&nowhere, Scope::new("main", 1, []), "test", Plans::Free).expect("it connects when it is used"),
        );
        let site = Site::new(None, false).expect("it has no other name");
        let router = Router::new().route("/breaks", get(breaks)).route("/works", get(|| async { "fine" }));
        let service = TowerToHyperService::new(dressed(router, State::new(Config::default(), site, None, store)));
        let broken = service.call(request("/breaks")).await.expect("an answer comes");
        assert_eq!(broken.status(), 500);
        assert_eq!(broken.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(broken.headers()[CACHE_CONTROL], "no-store");
        let text = to_bytes(broken.into_body(), 10_000).await.expect("it has a body");
        assert!(!String::from_utf8_lossy(&text).contains("as this test wants it"), "what broke is for the log");
        assert_eq!(service.call(request("/works")).await.expect("an answer comes").status(), 200);
    }
}
