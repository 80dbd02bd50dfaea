//! The API's routes. Each names the role that it needs as the scope of its token, and asks for it in its signature.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Info, License, OpenApi, OpenApiBuilder};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::caller::Viewer;
use super::problem::may_be_answered;
use super::routes::{SCHEME, openapi};
use super::state::State;
use super::{
    bulk, consumers, deliveries, endpoints, events, health, messages, overview, plugins, sessions, tokens, transactions,
};

/// The document as it is served.
static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| serde_json::to_string_pretty(&openapi()).expect("the document is plain data"));

/// All of them, and their description, in which each may answer a problem.
pub fn described() -> (Router<State>, OpenApi) {
    let (router, mut document) = router().split_for_parts();
    may_be_answered(&mut document);
    (router, document)
}

fn router() -> OpenApiRouter<State> {
    let uploads = DefaultBodyLimit::max(plugins::UPLOAD_BYTES_MAX);
    let many = DefaultBodyLimit::max(bulk::BODY_BYTES_MAX);
    OpenApiRouter::with_openapi(preface())
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(document))
        .routes(routes!(overview::get_overview))
        .routes(routes!(overview::list_samples))
        .routes(routes!(events::watch_events))
        .routes(routes!(overview::list_audit))
        .routes(routes!(messages::list_messages))
        .routes(routes!(messages::get_message))
        .routes(routes!(messages::get_payload))
        .routes(routes!(messages::get_timeline))
        .routes(routes!(bulk::list_failures))
        .routes(routes!(bulk::resend_messages).layer(many))
        .routes(routes!(bulk::discard_messages).layer(many))
        .routes(routes!(transactions::list_transactions))
        .routes(routes!(transactions::get_transaction))
        .routes(routes!(transactions::get_tx_timeline))
        .routes(routes!(transactions::commit_transaction))
        .routes(routes!(transactions::roll_back_transaction))
        .routes(routes!(transactions::recheck_transaction))
        .routes(routes!(overview::list_holds))
        .routes(routes!(overview::pause))
        .routes(routes!(overview::resume))
        .routes(routes!(consumers::list_consumers))
        .routes(routes!(consumers::list_records))
        .routes(routes!(consumers::get_record, consumers::decide_record))
        .routes(routes!(consumers::remove_consumer))
        .routes(routes!(bulk::replay_messages).layer(many))
        .routes(routes!(plugins::list_plugins, plugins::deploy_plugin).layer(uploads))
        .routes(routes!(plugins::roll_back_plugin))
        .routes(routes!(plugins::remove_plugin))
        .routes(routes!(plugins::list_plugin_lines))
        .routes(routes!(endpoints::list_endpoints, endpoints::create_endpoint))
        .routes(routes!(endpoints::get_endpoint, endpoints::change_endpoint))
        .routes(routes!(endpoints::enable_endpoint))
        .routes(routes!(endpoints::disable_endpoint))
        .routes(routes!(endpoints::remove_endpoint))
        .routes(routes!(endpoints::ping_endpoint))
        .routes(routes!(endpoints::rotate_secret))
        .routes(routes!(endpoints::create_endpoint_token))
        .routes(routes!(endpoints::revoke_endpoint_tokens))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::resend_deliveries))
        .routes(routes!(deliveries::list_deliveries_of_message))
        .routes(routes!(deliveries::list_attempts))
        .routes(routes!(tokens::me))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::end_sessions))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "meta", security(("token" = ["view"])),
    responses((status = 200, description = "OpenAPI", content_type = "application/json")))]
async fn document(_: Viewer) -> impl IntoResponse {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.as_str())
}

fn preface() -> OpenApi {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
        "A token of `avouch token create`. The scope of an operation is the role that it needs: view, operate or admin; each may do \
         what those before it may.",
    ));
    let mut info = Info::new("Avouch", env!("CARGO_PKG_VERSION"));
    info.description = Some("What is in the outbox, what became of it, and what operators do about it.".to_owned());
    info.license = Some(License::new("Apache-2.0"));
    let mut components = Components::new();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer.build()));
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}
