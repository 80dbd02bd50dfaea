//! What a question says, or why it cannot be read; and what every answer repeats of it.

use axum::extract::FromRequestParts;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use utoipa::ToSchema;

use super::door::Caller;
use crate::problem::Problem;
use crate::store::Error;

/// What all answers say. They are signed, so that whoever compares `asked` cannot be given the answer to another question.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct About {
    /// The path and the query that were asked.
    pub asked: String,
    /// Who asked: the endpoint's name.
    pub endpoint: String,
    /// Whether it is told anything now; what is disabled is told when it is enabled again.
    pub enabled: bool,
    /// When this was answered.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    /// Everything that was inserted since then is known; what ended before is forgotten.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub kept_since: OffsetDateTime,
}

/// Who asks, and what its answer begins with.
#[derive(Clone, Debug)]
pub struct Question {
    /// The endpoint's short name.
    pub endpoint: i32,
    /// What is repeated.
    pub about: About,
}

impl<S: Send + Sync> FromRequestParts<S> for Question {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Put there by the door; without it, nobody is answered.
        let caller = parts.extensions.get::<Caller>().ok_or_else(Caller::nobody)?;
        let asked = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), |asked| asked.as_str()).to_owned();
        let at = OffsetDateTime::now_utc();
        let kept_since = at - Duration::hours(caller.keep_hours.into());
        let about = About { asked, endpoint: caller.name.clone(), enabled: caller.is_enabled, at, kept_since };
        Ok(Self { endpoint: caller.endpoint, about })
    }
}

/// What stands behind the question mark.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // Otherwise it would be read as another text, of which there is none.
        let raw = parts.uri.query().unwrap_or_default();
        if percent_encoding::percent_decode_str(raw).decode_utf8().is_err() {
            return Err(unreadable("the query is no UTF-8".to_owned()));
        }
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(query)| Self(query)).map_err(|e: QueryRejection| unreadable(e.body_text()))
    }
}

/// What stands in the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(path)| Self(path)).map_err(|e: PathRejection| unreadable(e.body_text()))
    }
}

fn unreadable(text: String) -> Problem {
    Problem::invalid(
        text,
        "correct the question: /v1/notify/openapi.json describes it; times are like 2026-11-20T00:00:00Z",
    )
}

/// Why the database has no answer.
pub fn trouble(e: Error) -> Problem {
    match e {
        Error::Refused(refusal) => tracing::error!(why = %refusal, "receivers are not answered: a look was refused"),
        Error::Retry(why) => tracing::debug!(why, "a receiver's question has trouble with the database"),
        Error::Fatal(why) => tracing::error!(why, "receivers are not answered: `avouch schema install` mends grants"),
    }
    let problem = Problem::unavailable("the database does not answer", "repeat it in a while");
    Problem { retry_after_s: Some(TROUBLE_S), ..problem }
}

/// A fail-over takes some seconds.
const TROUBLE_S: u64 = 5;
