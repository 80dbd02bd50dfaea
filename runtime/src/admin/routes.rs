//! All routes, and what each of them needs: the API's from its OpenAPI document, the console's from its list.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::handler::Handler as _;
use axum::http::header::ALLOW;
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

use super::guard::{Access, answer_anybody, guard};
use super::problem::Problem;
use super::state::State;
use super::{api, assets, console, login};
use crate::access::Role;

/// A method and a path, such as `/v1/tokens/{name}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with names for what varies.
    pub path: String,
    /// What it needs.
    pub access: Access,
}

/// The scheme of the document by which tokens come.
pub const SCHEME: &str = "token";

/// The API's description.
pub fn openapi() -> OpenApi {
    api::described().1
}

/// Every route that is served.
pub fn routes() -> Vec<Route> {
    let pages = login::pages().merge(assets::pages()).merge(console::router());
    let mut routes = of_document(&openapi());
    routes.extend(pages.into_parts().1);
    routes
}

/// All of it.
pub fn router(state: State) -> Router {
    let (api, document) = api::described();
    let needs: Arc<HashMap<(Method, String), Access>> =
        Arc::new(of_document(&document).into_iter().map(|route| ((route.method, route.path), route.access)).collect());
    let api = api.layer(from_fn(move |request: Request, next: Next| {
        // HEAD is served by what serves GET.
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let access = path.and_then(|path| needs.get(&(method, path)).copied()).unwrap_or(Access::Needs(Role::Admin));
        guard(access, request, next)
    }));
    let pages = login::pages().merge(assets::pages()).merge(console::router());
    api.merge(pages.into_parts().0)
        .method_not_allowed_fallback(method_not_allowed.layer(from_fn(answer_anybody)))
        .fallback(not_found.layer(from_fn(answer_anybody)))
        .with_state(state)
}

/// No route has this path.
async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("nothing is at {}", uri.path()), "see /v1/openapi.json for what is")
}

/// The path has no such method. What the router says of those that it has is kept.
async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::method(format!("{} takes no {method}", uri.path()), format!("see the header {ALLOW}, or /v1/openapi.json"))
}

fn of_document(document: &OpenApi) -> Vec<Route> {
    let items = document.paths.paths.iter();
    items.flat_map(|(path, item)| of_item(path, item)).collect()
}

fn of_item(path: &str, item: &PathItem) -> Vec<Route> {
    let operations = [
        (Method::GET, &item.get),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    let present = operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)));
    present.map(|(method, operation)| Route { method, path: path.to_owned(), access: access_of(operation) }).collect()
}

/// The role that an operation names as the scope of its token. One that names none is for administrators: forgetting it opens nothing.
fn access_of(operation: &Operation) -> Access {
    let Some(security) = &operation.security else {
        return Access::Needs(Role::Admin);
    };
    let text = serde_json::to_value(security).unwrap_or_default();
    let schemes = text.as_array().cloned().unwrap_or_default();
    if schemes.iter().any(|scheme| scheme.as_object().is_some_and(serde_json::Map::is_empty)) {
        return Access::Open;
    }
    let scopes = schemes.iter().filter_map(|scheme| scheme.get(SCHEME)?.as_array()?.first()?.as_str());
    let roles = scopes.filter_map(Role::of);
    Access::Needs(roles.max().unwrap_or(Role::Admin))
}
