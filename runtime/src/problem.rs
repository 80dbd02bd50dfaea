//! What is answered over HTTP when something is not done: RFC 9457, with a remedy.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};

use crate::store::Error;
use crate::store::refusal::{Fault, Refusal};

/// Why a request was not carried out, as `application/problem+json`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Problem {
    /// What programs compare: `urn:avouch:problem:` and a word that does not change.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Box<str>,
    /// The same for people.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
    /// The rule of the database that refuses it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub rule: Option<Box<str>>,
    /// Seconds after which it may be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// Texts hold what was asked, which may be long.
const DETAIL_CHARS_MAX: usize = 500;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $word:literal, $title:literal;)+) => {
        impl Problem {
            $($(#[$doc])*
            pub fn $name(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
                Self::new(StatusCode::$status, $word, $title, detail.into(), remedy.into())
            })+
        }
    };
}

kinds! {
    /// The request cannot be read.
    invalid = BAD_REQUEST, "invalid", "The request cannot be read";
    /// Nobody is known by what the request brings.
    unauthenticated = UNAUTHORIZED, "unauthenticated", "Log in first";
    /// Somebody who may not do this.
    forbidden = FORBIDDEN, "forbidden", "This needs another role";
    /// Another site's page asks in the name of who is logged in here.
    foreign = FORBIDDEN, "foreign_origin", "The request comes from another site";
    /// There is none.
    not_found = NOT_FOUND, "not_found", "There is no such thing";
    /// The path takes other methods.
    method = METHOD_NOT_ALLOWED, "method_not_allowed", "The path does not take this method";
    /// Something else has this name, or the state is another one meanwhile.
    conflict = CONFLICT, "conflict", "It is not as the request supposes";
    /// The body is larger than it may be.
    too_large = PAYLOAD_TOO_LARGE, "too_large", "The body is too large";
    /// The body is of another type.
    media = UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The body has another type";
    /// It can be read and says what cannot be.
    refused = UNPROCESSABLE_ENTITY, "refused", "The request says what cannot be";
    /// The name under which this server was reached is not its own.
    misdirected = MISDIRECTED_REQUEST, "misdirected", "This server has another name";
    /// Something here is broken.
    internal = INTERNAL_SERVER_ERROR, "internal", "Something is broken here";
    /// It will work again.
    unavailable = SERVICE_UNAVAILABLE, "unavailable", "Not now";
}

impl Problem {
    fn new(status: StatusCode, word: &str, title: &str, detail: String, remedy: String) -> Self {
        let detail = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let kind = format!("urn:avouch:problem:{word}");
        Self {
            kind: kind.into(),
            title: title.into(),
            status: status.as_u16(),
            detail,
            remedy,
            rule: None,
            retry_after_s: None,
        }
    }

    /// Too many tries; the next one in so many seconds.
    pub fn too_many(detail: &str, retry_after_s: u64) -> Self {
        let remedy = format!("wait {retry_after_s} s");
        let title = "Too many tries";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", title, detail.to_owned(), remedy);
        Self { retry_after_s: Some(retry_after_s), ..problem }
    }

    /// No bearer of a valid token, and no session.
    pub fn nobody() -> Self {
        Self::unauthenticated(
            "no valid token and no session came with the request",
            "send Authorization: Bearer avouch_…, or log in at /login; `avouch token create` makes a token",
        )
    }

    fn of(refusal: Refusal) -> Self {
        let Refusal { rule, what, remedy, fault } = refusal;
        let detail = format!("{what} (rule {rule})");
        let problem = match fault {
            Fault::Request => Self::refused(detail, remedy),
            Fault::State => Self::conflict(detail, remedy),
        };
        Self { rule: Some(rule.into()), ..problem }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Error> for Problem {
    fn from(e: Error) -> Self {
        match e {
            Error::Refused(refusal) => Self::of(refusal),
            Error::Retry(why) => {
                tracing::debug!(why, "a request has trouble with the database");
                Self::unavailable("the database does not answer", "repeat it later; /readyz tells when")
            }
            Error::Fatal(why) => {
                tracing::error!(why, "requests cannot be served: `avouch schema install` mends grants");
                Self::unavailable("the database refuses the runtime", "see the runtime's log, then repeat it")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        // For `dress`, which shows people a page.
        response.extensions_mut().insert(self);
        response
    }
}

/// Lets each operation of a document answer one.
pub fn may_be_answered(document: &mut OpenApi) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("Why it was not done, and what to do")
        .content("application/problem+json", problem)
        .build();
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.responses.responses.insert("default".to_owned(), problem.clone().into());
        }
    }
}
