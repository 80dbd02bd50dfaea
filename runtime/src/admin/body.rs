//! What a request says, or why it cannot be read: extractors whose refusals are problems.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A body of JSON.
#[derive(Debug)]
pub struct Body<T>(pub T);

/// What stands behind the question mark.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// What stands in the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

/// The type of [`Upload`].
const WASM: &str = "application/wasm";

/// A form that a page of ours has sent.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = axum::Json::<T>::from_request(request, state).await;
        read.map(|axum::Json(body)| Self(body)).map_err(|e: JsonRejection| unreadable(e.status(), e.body_text()))
    }
}

/// A file of WebAssembly.
#[derive(Debug)]
pub struct Upload(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if request.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != WASM) {
            return Err(Problem::media("a plugin is WebAssembly", format!("send Content-Type: {WASM}")));
        }
        let read = Bytes::from_request(request, state).await;
        read.map(Self).map_err(|e: BytesRejection| unreadable(e.status(), e.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = axum::Form::<T>::from_request(request, state).await;
        read.map(|axum::Form(body)| Self(body)).map_err(|e: FormRejection| unreadable(e.status(), e.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(query)| Self(query))
            .map_err(|e: QueryRejection| unreadable(e.status(), e.body_text()))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(path)| Self(path))
            .map_err(|e: PathRejection| unreadable(e.status(), e.body_text()))
    }
}

fn unreadable(status: StatusCode, text: String) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(text, "send less at a time"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::media(text, "send the Content-Type that /v1/openapi.json names"),
        StatusCode::UNPROCESSABLE_ENTITY => Problem::refused(text, "correct the body: /v1/openapi.json describes it"),
        _ => Problem::invalid(text, "correct the request: /v1/openapi.json describes it"),
    }
}

/// Why something is done, for the audit: the header of requests whose body is something else. UTF-8, percent-encoded.
#[derive(Debug)]
pub struct Why(pub Option<String>);

/// The header of [`Why`].
pub const REASON: &str = "avouch-reason";

impl<S: Send + Sync> FromRequestParts<S> for Why {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(REASON) else {
            return Ok(Self(None));
        };
        let decoded = percent_encoding::percent_decode(value.as_bytes()).decode_utf8();
        let unreadable = |_| Problem::invalid(format!("the header {REASON} is no UTF-8"), "percent-encode it");
        Ok(Self(Some(decoded.map_err(unreadable)?.into_owned())))
    }
}
