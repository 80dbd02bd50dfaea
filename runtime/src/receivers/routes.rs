//! What can be asked, and the document that describes it.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Info, License, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::door::{Door, pass};
use super::{messages, windows};
use crate::problem::{Problem, may_be_answered};

/// The document as it is served.
static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| serde_json::to_string_pretty(&openapi()).expect("the document is plain data"));

/// The description of all that can be asked.
pub fn openapi() -> OpenApi {
    let (_, mut document) = asked().merge(open()).split_for_parts();
    may_be_answered(&mut document);
    document
}

/// All of it. What is no question is refused before anybody is looked up.
pub fn router(door: Door) -> Router {
    let asked = asked().split_for_parts().0.route_layer(from_fn_with_state(door.clone(), pass));
    asked
        .merge(open().split_for_parts().0)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        // A question has no body.
        .layer(DefaultBodyLimit::max(0))
        .layer(from_fn_with_state(door.clone(), dressed))
        .with_state(door)
}

/// For those who have a token.
fn asked() -> OpenApiRouter<Door> {
    OpenApiRouter::with_openapi(preface())
        .routes(routes!(messages::ask_message))
        .routes(routes!(messages::ask_messages))
        .routes(routes!(windows::ask_windows))
}

/// For everybody.
fn open() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(document))
}

/// This document.
#[utoipa::path(get, path = "/v1/notify/openapi.json", tag = "meta", security(()),
    responses((status = 200, description = "OpenAPI", content_type = "application/json")))]
async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.as_str())
}

fn preface() -> OpenApi {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token of your endpoint. Answers to its bearer are signed as the messages to it are: webhook-id, webhook-timestamp and \
         webhook-signature, of Standard Webhooks.",
    ));
    let mut info = Info::new("Avouch for receivers", env!("CARGO_PKG_VERSION"));
    info.description = Some("What you were told, what waits for you, and whether your list is ours.".to_owned());
    info.license = Some(License::new("Apache-2.0"));
    let mut components = Components::new();
    components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// What all answers have in common, those to nobody too.
async fn dressed(State(door): State<Door>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let status = response.status().as_u16().to_string();
    door.store().scope().counter("avouch_notify_asks_total", &[("status", &status)]).increment(1);
    response
}

async fn not_found(uri: Uri) -> Problem {
    Problem::not_found(format!("nothing is at {}", uri.path()), "see /v1/notify/openapi.json for what is")
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} takes no {method}", uri.path());
    Problem::method(detail, format!("see the header {ALLOW}, or /v1/notify/openapi.json"))
}
