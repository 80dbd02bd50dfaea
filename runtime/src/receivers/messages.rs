//! Answers about messages: one with its payload, those with a topic and a key, those of a stretch of time.

use axum::Json;
use axum::extract::State;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::door::Door;
use super::question::{About, Path, Query, Question, trouble};
use super::span;
use crate::message::content_type;
use crate::problem::Problem;
use crate::store::receivers::{Between, OfKey, Told, Whole};

/// One message.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageTold {
    /// The question.
    #[serde(flatten)]
    pub about: About,
    /// What became of it.
    pub message: Told,
    /// What it says, to act on it now.
    pub payload: PayloadTold,
}

/// A payload, byte for byte.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PayloadTold {
    /// As its producer says, else by its look.
    pub content_type: String,
    /// text: `data` is the payload; base64: `data` is the payload in base64, because it is no UTF-8.
    pub encoding: String,
    /// The payload.
    pub data: String,
}

/// A page of messages.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessagesTold {
    /// The question.
    #[serde(flatten)]
    pub about: About,
    /// With a topic and a key: the newest first; otherwise: in the order of their ids, which is that of their inserts to the millisecond.
    pub messages: Vec<Told>,
    /// There are more: ask the same with `after` = this.
    pub next: Option<Uuid>,
}

/// Which messages: `topic` and `key`, or `since`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// With `key`: messages of this topic.
    topic: Option<String>,
    /// With `topic`: messages with this key, such as the number of your payment.
    key: Option<String>,
    /// Messages that were inserted from then on, RFC 3339.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<OffsetDateTime>,
    /// With `since`: and before then.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<OffsetDateTime>,
    /// The `next` of the page before.
    after: Option<Uuid>,
    /// At most so many, 100 if it is not said, 500 at most.
    limit: Option<i64>,
}

const LIMIT: i64 = 100;
const LIMIT_MAX: i64 = 500;
/// Of all endpoints' messages with a topic and a key, so many of the newest are looked at.
const LOOKS_MAX: i64 = 10_000;
/// As the outbox has them.
const TOPIC_BYTES_MAX: usize = 200;
/// As the outbox has them.
const KEY_BYTES_MAX: usize = 1_024;

/// What became of one message, and what it says.
#[utoipa::path(get, path = "/v1/notify/messages/{id}", tag = "asking", security(("token" = [])),
    params(("id" = Uuid, Path, description = "Its `webhook-id`")), responses((status = 200, body = MessageTold), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn ask_message(
    State(door): State<Door>,
    question: Question,
    Path(id): Path<Uuid>,
) -> Result<Json<MessageTold>, Problem> {
    let Question { endpoint, about } = question;
    let whole = door.store().told_message(endpoint, id).await.map_err(trouble)?;
    let unknown = || {
        let detail = format!("there is no message {id} for {}", about.endpoint);
        Problem::not_found(detail, "compare the id; what ended before kept_since is forgotten")
    };
    let Whole { told, headers, payload } = whole.ok_or_else(unknown)?;
    let content_type = content_type(&headers, &payload).to_owned();
    let payload = match std::str::from_utf8(&payload) {
        Ok(text) => PayloadTold { content_type, encoding: "text".to_owned(), data: text.to_owned() },
        Err(_) => PayloadTold { content_type, encoding: "base64".to_owned(), data: BASE64.encode(&payload) },
    };
    Ok(Json(MessageTold { about, message: told, payload }))
}

/// What there is for a topic and a key, the newest first; or what was inserted in a stretch of time.
#[utoipa::path(get, path = "/v1/notify/messages", tag = "asking", security(("token" = [])), params(Which),
    responses((status = 200, body = MessagesTold)))]
pub async fn ask_messages(
    State(door): State<Door>,
    question: Question,
    Query(which): Query<Which>,
) -> Result<Json<MessagesTold>, Problem> {
    let limit = which.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::refused("limit is out of range", format!("write 1 to {LIMIT_MAX}")));
    }
    let Question { endpoint, about } = question;
    // One more tells whether there are more.
    let found = match &which {
        Which { topic: Some(topic), key: Some(key), since: None, until: None, after, .. } => {
            check("topic", topic, TOPIC_BYTES_MAX)?;
            check("key", key, KEY_BYTES_MAX)?;
            let of = OfKey { topic, key, below: after.unwrap_or(Uuid::max()), looks_max: LOOKS_MAX };
            door.store().told_of_key(endpoint, of, limit + 1).await
        }
        Which { topic: None, key: None, since: Some(since), until, after, .. } => {
            let between = stretch(*since, *until, *after)?;
            door.store().told_between(endpoint, between, limit + 1).await
        }
        _ => {
            return Err(Problem::invalid(
                "which messages is not clear",
                "say topic and key, or since and perhaps until",
            ));
        }
    };
    let mut messages = found.map_err(trouble)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_more = messages.len() > limit;
    messages.truncate(limit);
    let next = messages.last().filter(|_| is_more).map(|last| last.id);
    Ok(Json(MessagesTold { about, messages, next }))
}

/// A text that no message can have is refused, so that it is not taken for "there is none".
fn check(what: &str, text: &str, bytes_max: usize) -> Result<(), Problem> {
    if text.len() > bytes_max || text.contains('\0') {
        let detail = format!("no {what} has more than {bytes_max} bytes, or a NUL");
        return Err(Problem::refused(detail, format!("write the {what} of the message, percent-encoded")));
    }
    Ok(())
}

fn stretch(since: OffsetDateTime, until: Option<OffsetDateTime>, after: Option<Uuid>) -> Result<Between, Problem> {
    let from = span::ms_of(since).ok_or_else(too_early)?;
    let below = match until {
        Some(until) => span::bound(span::ms_of(until).ok_or_else(too_early)?),
        None => Uuid::max(),
    };
    let begin = span::bound(from);
    Ok(Between { above: after.map_or(begin, |after| after.max(begin)), below })
}

/// Before there were any.
pub fn too_early() -> Problem {
    Problem::refused("no message is of before 1970", "write a time of this century, such as 2026-11-20T00:00:00Z")
}
