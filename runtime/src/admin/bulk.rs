//! What is done with many messages at once: first counted, then confirmed by that number, then done in bounded steps.

use axum::Json;
use axum::extract;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::{Body, Path};
use super::caller::{Caller, Operator, Viewer};
use super::consumers::known_consumer;
use super::problem::Problem;
use super::state::State;
use crate::store::operate::{By, Forget};
use crate::store::search::Search;
use crate::store::views::FailureGroup;

/// So many are changed by one statement.
const STEP: usize = 200;
/// So many by one request: what is left is told, and another request goes on.
const MESSAGES_MAX: usize = 10_000;
/// Looks of one request. Each looks at a bounded number of rows, so that a search that finds little ends too.
const LOOKS_MAX: usize = 200;
/// As many as one answer of a search has.
const LOOK_ROWS: i64 = 500;

/// Dead messages: named, or of a group.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Which {
    /// These; then nothing else may be said of them.
    pub ids: Vec<Uuid>,
    /// Dead for this consumer; `-`: never sent.
    pub consumer: Option<String>,
    /// Of this topic, or of all topics below one: `orders.>`.
    pub topic: Option<String>,
    /// With this key.
    pub key: Option<String>,
    /// Dead for this reason, as failure groups show it.
    pub failure: Option<String>,
    /// Only say how many there are.
    pub dry_run: bool,
    /// The number that the dry run said: needed unless `ids` are named.
    pub confirm: Option<usize>,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// Messages that one consumer is to get once more: named, or of a stretch of time.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Again {
    /// These; then nothing else may be said of them.
    pub ids: Vec<Uuid>,
    /// Of this topic, or of all topics below one.
    pub topic: Option<String>,
    /// Inserted at this time or later.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<OffsetDateTime>,
    /// Inserted before this time.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<OffsetDateTime>,
    /// Whether the gate's records of them are deleted, so that the consumer is told to run again.
    pub forget: bool,
    /// Only say how many there are.
    pub dry_run: bool,
    /// The number that the dry run said: needed unless `ids` are named.
    pub confirm: Option<usize>,
    /// Why, for the audit.
    pub reason: Option<String>,
}

/// What came of it.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct Outcome {
    /// How many there are; with `has_more`, those that one request takes.
    pub matched: usize,
    /// With how many it was done: the others were not as the request supposes when their turn came.
    pub done: usize,
    /// There are more than one request takes.
    pub has_more: bool,
}

/// Those that a request is about.
struct Matched {
    ids: Vec<Uuid>,
    has_more: bool,
}

/// Dead messages by what is wrong with them, the largest group first.
#[utoipa::path(get, path = "/v1/dead", tag = "dead", security(("token" = ["view"])), responses((status = 200, body = [FailureGroup])))]
pub async fn list_failures(
    _: Viewer,
    extract::State(state): extract::State<State>,
) -> Result<Json<Vec<FailureGroup>>, Problem> {
    Ok(Json(state.store.failure_groups().await?))
}

/// Sends dead messages again, as their next generation.
#[utoipa::path(post, path = "/v1/dead/resend", tag = "dead", security(("token" = ["operate"])), request_body = Which,
    responses((status = 200, body = Outcome)))]
pub async fn resend_messages(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Body(which): Body<Which>,
) -> Result<Json<Outcome>, Problem> {
    let matched = matched_dead(&state, &which, &["dead"]).await?;
    if !is_confirmed(&matched, &which.ids, which.dry_run, which.confirm)? {
        return Ok(counted(&matched));
    }
    in_steps(&state, by(&caller, which.reason.as_deref()), &Act::Resend, &matched).await
}

/// Gives dead messages up; by `ids` also some that were not sent yet.
#[utoipa::path(post, path = "/v1/dead/discard", tag = "dead", security(("token" = ["operate"])), request_body = Which,
    responses((status = 200, body = Outcome)))]
pub async fn discard_messages(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Body(which): Body<Which>,
) -> Result<Json<Outcome>, Problem> {
    let matched = matched_dead(&state, &which, &["dead", "ready", "prepared"]).await?;
    if !is_confirmed(&matched, &which.ids, which.dry_run, which.confirm)? {
        return Ok(counted(&matched));
    }
    in_steps(&state, by(&caller, which.reason.as_deref()), &Act::Discard, &matched).await
}

/// Sends messages to one consumer once more, also what it has finished.
#[utoipa::path(post, path = "/v1/consumers/{consumer}/replay", tag = "consumers", security(("token" = ["operate"])),
    params(("consumer" = String, Path)), request_body = Again, responses((status = 200, body = Outcome)))]
pub async fn replay_messages(
    Operator(caller): Operator,
    extract::State(state): extract::State<State>,
    Path(consumer): Path<String>,
    Body(again): Body<Again>,
) -> Result<Json<Outcome>, Problem> {
    if known_consumer(&state, &consumer).await?.topics.is_empty() {
        return Err(Problem::conflict(
            format!("consumer {consumer} has no topics, so that nothing can be sent to it"),
            "give it topics in its section of the configuration",
        ));
    }
    let matched = matched_sent(&state, &again).await?;
    if !is_confirmed(&matched, &again.ids, again.dry_run, again.confirm)? {
        return Ok(counted(&matched));
    }
    let forget = if again.forget { Forget::Record } else { Forget::Nothing };
    in_steps(&state, by(&caller, again.reason.as_deref()), &Act::Replay(consumer, forget), &matched).await
}

async fn matched_dead(state: &State, which: &Which, states: &[&str]) -> Result<Matched, Problem> {
    let group = [&which.consumer, &which.topic, &which.key, &which.failure];
    let search = Search {
        state: Some("dead".to_owned()),
        consumer: which.consumer.clone(),
        topic: which.topic.clone(),
        key: which.key.clone(),
        failure: which.failure.clone(),
        ..Search::default()
    };
    matched(state, &which.ids, group.iter().any(|part| part.is_some()), search, states).await
}

async fn matched_sent(state: &State, again: &Again) -> Result<Matched, Problem> {
    let is_said = again.topic.is_some() || again.since.is_some() || again.until.is_some();
    let search = Search { topic: again.topic.clone(), since: again.since, until: again.until, ..Search::default() };
    let mut matched = matched(state, &again.ids, is_said, search, &["sent", "consumed"]).await?;
    // Ids grow with time: what was inserted first is sent first.
    matched.ids.sort_unstable();
    Ok(matched)
}

/// Those of `ids`, or of the search, that are in one of these states.
async fn matched(
    state: &State,
    ids: &[Uuid],
    is_said: bool,
    mut search: Search,
    states: &[&str],
) -> Result<Matched, Problem> {
    if ids.is_empty() != is_said {
        return Err(Problem::refused(
            "which messages are meant is not clear",
            "name ids, or say of which sort, not both",
        ));
    }
    let of_state = |messages: Vec<crate::store::views::Message>| {
        messages.into_iter().filter(|m| states.contains(&m.state.as_str())).map(|m| m.id).collect::<Vec<_>>()
    };
    if ids.len() > MESSAGES_MAX {
        return Err(Problem::refused(format!("{} ids", ids.len()), format!("send at most {MESSAGES_MAX} at a time")));
    }
    let mut matched = Matched { ids: Vec::new(), has_more: false };
    for ids in ids.chunks(STEP) {
        matched.ids.extend(of_state(state.store.messages(ids).await?));
    }
    search.limit = Some(LOOK_ROWS);
    let looks = if is_said { LOOKS_MAX } else { 0 };
    for _ in 0..looks {
        let found = state.store.search(&search).await?;
        let found = found.map_err(|e| Problem::invalid(e.to_string(), "correct the search"))?;
        matched.ids.extend(of_state(found.messages));
        search.cursor = found.cursor;
        if search.cursor.is_none() || matched.ids.len() >= MESSAGES_MAX {
            break;
        }
    }
    matched.has_more = search.cursor.is_some() || matched.ids.len() > MESSAGES_MAX;
    matched.ids.truncate(MESSAGES_MAX);
    Ok(matched)
}

/// Whether it is to be done now; a problem if the number has changed since it was counted.
fn is_confirmed(matched: &Matched, ids: &[Uuid], dry_run: bool, confirm: Option<usize>) -> Result<bool, Problem> {
    let count = matched.ids.len();
    match confirm {
        _ if dry_run => Ok(false),
        Some(number) if number != count => Err(Problem::conflict(
            format!("{count} messages match now, and {number} were confirmed"),
            "look at them again, then confirm that number",
        )),
        None if ids.is_empty() => Err(Problem::conflict(
            format!("{count} messages match"),
            format!("look at them first (dry_run), then send confirm = {count}"),
        )),
        _ => Ok(true),
    }
}

fn counted(matched: &Matched) -> Json<Outcome> {
    Json(Outcome { matched: matched.ids.len(), done: 0, has_more: matched.has_more })
}

/// What is done with messages.
enum Act {
    Resend,
    Discard,
    Replay(String, Forget),
}

/// Each step is a statement of its own: one that fails leaves those before it done, and audited.
async fn in_steps(state: &State, by: By<'_>, act: &Act, matched: &Matched) -> Result<Json<Outcome>, Problem> {
    let mut done = 0;
    for ids in matched.ids.chunks(STEP) {
        let moved = match act {
            Act::Resend => state.store.resend(by, ids).await?,
            Act::Discard => state.store.discard(by, ids).await?,
            Act::Replay(consumer, forget) => state.store.replay(by, consumer, ids, *forget).await?,
        };
        done += moved.len();
    }
    Ok(Json(Outcome { matched: matched.ids.len(), done, has_more: matched.has_more }))
}

/// Who does it, and why.
pub fn by<'a>(caller: &'a Caller, why: Option<&'a str>) -> By<'a> {
    By { who: &caller.who, why }
}
