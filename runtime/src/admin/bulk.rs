//! What is done with many messages at once: first counted, then confirmed by that number, then done in bounded steps with those that were
//! counted.

use axum::Json;
use axum::extract;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::body::{Body, Path};
use super::caller::{Caller, Operator, Viewer};
use super::consumers::known_consumer;
use super::counted::Counted;
use super::problem::Problem;
use super::state::State;
use crate::store::operate::{By, Forget};
use crate::store::search::{Refused, Search, Sent};
use crate::store::views::{FailureGroup, Message};

/// So many are changed by one statement.
const STEP: usize = 200;
/// So many by one request: what is left is told, and another request goes on.
const MESSAGES_MAX: usize = 10_000;
/// Looks of one request. Each looks at a bounded number of rows, so that a search that finds little ends too.
const LOOKS_MAX: usize = 200;
/// What one request may say: so many ids, with quotes and commas between.
pub const BODY_BYTES_MAX: usize = 512 << 10;
/// As many as one answer of a search has.
const LOOK_ROWS: u16 = 500;

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
    /// What the dry run told as `counted`: what came since is left alone, however many. Without it, the number must still be the same.
    #[schema(value_type = Option<String>)]
    pub counted: Option<Counted>,
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
    /// Behind this one: `next` of the answer before, which took the older ones.
    pub after: Option<Uuid>,
    /// Whether the gate's records of them are deleted, so that the consumer is told to run again.
    pub forget: bool,
    /// Only say how many there are.
    pub dry_run: bool,
    /// The number that the dry run said: needed unless `ids` are named.
    pub confirm: Option<usize>,
    /// What the dry run told as `counted`: what came since is left alone, however many. Without it, the number must still be the same.
    #[schema(value_type = Option<String>)]
    pub counted: Option<Counted>,
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
    /// Of a dry run: which they are, for the request that confirms them.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// Of a replay with `has_more`: send it as `after` to go on with those behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Uuid>,
}

/// Those that a request is about.
struct Matched {
    ids: Vec<Uuid>,
    has_more: bool,
    counted: Option<Counted>,
    next: Option<Uuid>,
}

/// What is meant, if not by ids.
enum Sort {
    /// A group of dead messages.
    Dead(Search),
    /// A stretch of those that were sent.
    Sent(Sent),
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
    if which.dry_run {
        return Ok(told(&matched));
    }
    confirmed(&matched, &which.ids, which.confirm, which.counted)?;
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
    if which.dry_run {
        return Ok(told(&matched));
    }
    confirmed(&matched, &which.ids, which.confirm, which.counted)?;
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
    if again.dry_run {
        return Ok(told(&matched));
    }
    confirmed(&matched, &again.ids, again.confirm, again.counted)?;
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
    let sort = group.iter().any(|part| part.is_some()).then_some(Sort::Dead(search));
    let mut matched = matched(state, &which.ids, sort, which.counted, states).await?;
    // Of one key the older must be ready before the younger is, and the newest were found first.
    if which.ids.is_empty() {
        matched.ids.reverse();
    }
    Ok(matched)
}

async fn matched_sent(state: &State, again: &Again) -> Result<Matched, Problem> {
    let is_said = again.topic.is_some() || again.since.is_some() || again.until.is_some() || again.after.is_some();
    let sort = is_said.then(|| Sort::Sent(again.sent(LOOK_ROWS.into())));
    let mut matched = matched(state, &again.ids, sort, again.counted, &["sent", "consumed"]).await?;
    // Ids grow with time: what was inserted first is sent first.
    matched.ids.sort_unstable();
    Ok(matched)
}

impl Again {
    /// What one look looks for.
    pub fn sent(&self, limit: i64) -> Sent {
        let Self { since, until, after, .. } = *self;
        Sent { topic: self.topic.clone(), since, until, after, limit }
    }
}

/// Those of `ids`, or of the sort, that are in one of these states.
async fn matched(
    state: &State,
    ids: &[Uuid],
    sort: Option<Sort>,
    counted: Option<Counted>,
    states: &[&str],
) -> Result<Matched, Problem> {
    match sort {
        Some(sort) if ids.is_empty() => matched_sort(state, sort, counted).await,
        None if !ids.is_empty() && counted.is_none() => matched_ids(state, ids, states).await,
        _ => Err(Problem::refused(
            "which messages are meant is not clear",
            "name ids, or say of which sort (and then what was counted), not both",
        )),
    }
}

async fn matched_ids(state: &State, ids: &[Uuid], states: &[&str]) -> Result<Matched, Problem> {
    if ids.len() > MESSAGES_MAX {
        return Err(Problem::refused(format!("{} ids", ids.len()), format!("send at most {MESSAGES_MAX} at a time")));
    }
    let mut matched = Matched { ids: Vec::new(), has_more: false, counted: None, next: None };
    for ids in ids.chunks(STEP) {
        matched.ids.extend(of_state(state.store.messages(ids).await?, states).iter().map(|m| m.id));
    }
    Ok(matched)
}

/// Looks until there are no more, or one more look could find more than one request takes.
async fn matched_sort(state: &State, mut sort: Sort, counted: Option<Counted>) -> Result<Matched, Problem> {
    let now = state.store.now().await?;
    // What was counted has room, though a look finds less of it once others stand in between.
    let room = if counted.is_some() { 1 } else { usize::from(LOOK_ROWS) };
    let mut counted = counted.unwrap_or(Counted { as_of: now, last: None });
    counted.check(now)?;
    let mut matched = Matched { ids: Vec::new(), has_more: false, counted: None, next: None };
    for _ in 0..LOOKS_MAX {
        let seen = match &mut sort {
            Sort::Dead(search) => look_at_dead(state, search, counted).await?,
            Sort::Sent(sent) => look_at_sent(state, sent, counted).await?,
        };
        matched.ids.extend(seen.ids);
        matched.has_more = seen.is_beyond || seen.goes_on;
        let has_room = matched.ids.len() + room <= MESSAGES_MAX;
        if !has_room || seen.is_beyond || !seen.goes_on {
            break;
        }
    }
    matched.ids.truncate(MESSAGES_MAX);
    if counted.last.is_none() && matched.has_more {
        counted.last = matched.ids.last().copied();
    }
    matched.counted = Some(counted);
    if let Sort::Sent(sent) = sort {
        matched.next = counted.last.or(sent.after).filter(|_| matched.has_more);
    }
    Ok(matched)
}

/// One look: those of it that were counted, whether another one goes on, and whether some stand behind the last one that was counted.
struct Seen {
    ids: Vec<Uuid>,
    goes_on: bool,
    is_beyond: bool,
}

fn unsearchable(e: Refused) -> Problem {
    Problem::invalid(e.to_string(), "correct the search")
}

/// The newest first.
async fn look_at_dead(state: &State, search: &mut Search, counted: Counted) -> Result<Seen, Problem> {
    search.limit = Some(LOOK_ROWS.into());
    let (ids, cursor) = state.store.search_ids(search).await?.map_err(unsearchable)?;
    let (ids, is_beyond) = state.store.counted(&ids, counted.as_of, counted.last).await?;
    let goes_on = cursor.is_some();
    search.cursor = cursor;
    Ok(Seen { ids, goes_on, is_beyond })
}

/// The oldest first, so that what is left can be gone on with. What was sent once more since the count is in other hands already.
async fn look_at_sent(state: &State, sent: &mut Sent, counted: Counted) -> Result<Seen, Problem> {
    let (mut ids, next) = state.store.sent(sent, counted.as_of).await?;
    let found = ids.len();
    ids.retain(|id| counted.last.is_none_or(|last| *id <= last));
    let is_beyond = ids.len() < found;
    sent.after = next.or(sent.after);
    Ok(Seen { ids, goes_on: next.is_some(), is_beyond })
}

fn of_state(messages: Vec<Message>, states: &[&str]) -> Vec<Message> {
    messages.into_iter().filter(|m| states.contains(&m.state.as_str())).collect()
}

/// Refuses if it is not confirmed. Of what was counted some may have gone meanwhile; more than that was not seen by anybody: it is what was
/// written down at the very moment of counting.
fn confirmed(matched: &Matched, ids: &[Uuid], confirm: Option<usize>, counted: Option<Counted>) -> Result<(), Problem> {
    let count = matched.ids.len();
    match confirm {
        Some(number) if count > number || counted.is_none() && count != number => Err(Problem::conflict(
            format!("{count} messages match now, and {number} were confirmed"),
            "look at them again (dry_run), then confirm that number, with what it tells as counted",
        )),
        None if ids.is_empty() => Err(Problem::conflict(
            format!("{count} messages match"),
            format!("look at them first (dry_run), then send confirm = {count}, and what it tells as counted"),
        )),
        _ => Ok(()),
    }
}

fn told(matched: &Matched) -> Json<Outcome> {
    let Matched { ids, has_more, counted, next } = matched;
    Json(Outcome { matched: ids.len(), done: 0, has_more: *has_more, counted: *counted, next: *next })
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
    let Matched { ids, has_more, next, .. } = matched;
    Ok(Json(Outcome { matched: ids.len(), done, has_more: *has_more, counted: None, next: *next }))
}

/// Who does it, and why.
pub fn by<'a>(caller: &'a Caller, why: Option<&'a str>) -> By<'a> {
    By { who: &caller.who, why }
}
