//! Who may pass: for every route the same questions, in the same order. A route that names no role of its own is closed.

use axum::extract::{MatchedPath, Request};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::caller::{By, Caller, demand, identify};
use super::problem::Problem;
use super::state::State;
use crate::access::Role;
use crate::store::access::Use;

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// Somebody with this role.
    Needs(Role),
}

/// Lets a request pass to a route that needs this, with its caller at hand for the extractors. The answer brings the caller along, so that a
/// page about a fault is one for them.
pub async fn guard(access: Access, mut request: Request, next: Next) -> Result<Response, Problem> {
    let state = request.extensions().get::<State>().cloned();
    let state = state.ok_or_else(|| Problem::internal("a route is not connected", "report it as a fault of avouch"))?;
    let changes = !is_safe(request.method());
    match access {
        Access::Open if changes => same_origin(&state, request.headers(), &By::Nothing)?,
        Access::Open => {}
        Access::Needs(role) => {
            let caller = identify(&state, request.headers(), used_by(&request)).await?;
            let passes = if changes { same_origin(&state, request.headers(), &caller.by) } else { Ok(()) };
            return Ok(match passes.and_then(|()| demand(&caller, role)) {
                Ok(()) => {
                    request.extensions_mut().insert(caller.clone());
                    of(caller, next.run(request).await)
                }
                Err(problem) => of(caller, problem.into_response()),
            });
        }
    }
    Ok(next.run(request).await)
}

/// An answer to whoever calls where nothing is: nobody is refused, and those who are known are known to the page.
pub async fn answer_anybody(request: Request, next: Next) -> Response {
    let known = match request.extensions().get::<State>() {
        Some(state) => identify(state, request.headers(), used_by(&request)).await.ok(),
        None => None,
    };
    let response = next.run(request).await;
    match known {
        Some(caller) => of(caller, response),
        None => response,
    }
}

fn of(caller: Caller, mut response: Response) -> Response {
    response.extensions_mut().insert(caller);
    response
}

/// What pages ask for by themselves, again and again.
const RENEWALS: [&str; 4] = ["/v1/events", "/live", "/charts", "/instances/live"];

/// Whether a person is there. Scripts of ours fetch only what renews a page, and browsers say that it was not gone to: a page that stays
/// open uses nothing.
fn used_by(request: &Request) -> Use {
    let is_fetched = request.headers().get("sec-fetch-mode").is_some_and(|mode| mode != "navigate");
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let is_renewal = path.is_some_and(|path| RENEWALS.contains(&path));
    if is_renewal || is_safe(request.method()) && is_fetched { Use::Page } else { Use::Person }
}

/// Methods that change nothing.
pub fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Refuses what a page of another site has sent. Browsers say where a request comes from, in `Sec-Fetch-Site` or `Origin`; a page that
/// sends no referrer posts its forms with the origin `null`. What says neither comes from no browser of today; only a session, which browsers
/// bring along by themselves, must not come without a word.
fn same_origin(state: &State, headers: &HeaderMap, by: &By) -> Result<(), Problem> {
    // Of several of a name, the worst counts.
    let all = |name: &str| -> Vec<&str> {
        headers.get_all(name).into_iter().map(|value| value.to_str().unwrap_or_default()).collect()
    };
    let (sites, origins) = (all("sec-fetch-site"), all(ORIGIN.as_str()));
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_own = |origin: &&str| state.site.owns(origin, host);
    let passes = match (sites.is_empty(), origins.is_empty()) {
        (false, _) => {
            sites.iter().all(|site| *site == "same-origin") && origins.iter().all(|o| *o == "null" || is_own(o))
        }
        (true, false) => origins.iter().all(is_own),
        (true, true) => !matches!(by, By::Session(_)),
    };
    if passes {
        return Ok(());
    }
    let from = origins.first().copied().unwrap_or("a page that does not say where it is");
    Err(Problem::foreign(
        format!("it comes from {from}, which is not this console"),
        "use the console's own pages; behind a proxy, set admin.public_url to what browsers call it",
    ))
}
