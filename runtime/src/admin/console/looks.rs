//! What each page is made of: its documents are read here, and nothing is changed.

use axum::extract;
use axum::response::{Html, IntoResponse as _, Response};
use maud::Markup;
use serde::Deserialize;
use uuid::Uuid;

use super::charts::Window;
use super::deliveries::Shelf;
use super::messages::Outcome;
use super::payload;
use super::signs::address;
use super::transactions::Filter;
use super::visit::Visit;
use super::wanted::Wanted;
use crate::admin::body::{Path, Query};
use crate::admin::caller::Viewer;
use crate::admin::consumers::known_consumer;
use crate::admin::endpoints::known_endpoint;
use crate::admin::problem::Problem;
use crate::admin::state::State;
use crate::store::views::Status;

/// A page of lines: more than one reads at a time.
const ROWS: usize = 50;
const LINES: usize = 100;
/// Tries to tell one message that a page shows, the last of them.
const TRIES: usize = 100;
/// Deployments of all plugins: the current one of each must be among them.
const DEPLOYMENTS: i64 = 500;

/// More names than that help nobody who chooses one.
const CONSUMERS: i64 = 500;

/// What a page answers.
type Page = Result<Html<String>, Problem>;

fn html(markup: Markup) -> Html<String> {
    Html(markup.into_string())
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).expect("it is a small constant")
}

/// How far back.
#[derive(Debug, Deserialize)]
pub struct Span {
    window: Option<String>,
}

/// Where in a list.
#[derive(Debug, Deserialize)]
pub struct Place {
    before: Option<i64>,
}

/// Which part of a list, and where in it.
#[derive(Debug, Deserialize)]
pub struct Part {
    state: Option<String>,
    after: Option<Uuid>,
}

pub async fn overview(
    visit: Visit,
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(span): Query<Span>,
) -> Page {
    let window = Window::of(span.window.as_deref());
    let (status, samples) = (state.store.status().await?, state.store.samples(window.minutes()).await?);
    Ok(html(super::overview::overview(&visit, &status, window, &samples)))
}

pub async fn live(visit: Visit, _: Viewer, extract::State(state): extract::State<State>) -> Page {
    Ok(html(super::overview::live(&visit, &latest(&state).await?)))
}

pub async fn charts(
    visit: Visit,
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(span): Query<Span>,
) -> Page {
    let window = Window::of(span.window.as_deref());
    Ok(html(super::charts::charts(&visit, window, &state.store.samples(window.minutes()).await?)))
}

/// What all who watch were told last; if nobody watches, it is looked.
async fn latest(state: &State) -> Result<Status, Problem> {
    match state.feed.latest().and_then(|text| serde_json::from_str(&text).ok()) {
        Some(status) => Ok(status),
        None => Ok(state.store.status().await?),
    }
}

pub async fn messages(
    visit: Visit,
    Viewer(caller): Viewer,
    extract::State(state): extract::State<State>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let outcome = match (wanted.message(), wanted.search(visit.now)) {
        (Ok(Some(id)), _) => return Ok(super::acts::to(&format!("/messages/{id}"))),
        (Err(field), _) | (_, Err(field)) => Outcome::Unreadable(field),
        (Ok(None), Ok(search)) => match state.seen_by(&caller).search(&search).await? {
            Ok(found) => Outcome::Found(found),
            Err(refused) => Outcome::Refused(refused.to_string()),
        },
    };
    let consumers = state.store.consumer_names(CONSUMERS).await?;
    Ok(html(super::messages::messages(&visit, &wanted, &consumers, &outcome)).into_response())
}

pub async fn message(
    visit: Visit,
    Viewer(caller): Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
) -> Page {
    let none = || {
        Problem::not_found(format!("there is no message {id}"), "it was never inserted in this database, or is retired")
    };
    let sight = state.seen_by(&caller);
    let message = sight.message(id).await?.ok_or_else(none)?;
    let content = sight.payload_of(&message, payload::BYTES_MAX).await?;
    let events = state.store.timeline(id).await?;
    let deliveries = if visit.has_endpoints { state.store.deliveries_of(id).await? } else { Vec::new() };
    let attempts = match deliveries.is_empty() {
        true => Vec::new(),
        false => sight.attempts(id, None, rows(TRIES)).await?,
    };
    Ok(html(super::message::message(&visit, &message, &events, (&deliveries, &attempts), &content)))
}

pub async fn transactions(
    visit: Visit,
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(filter): Query<Filter>,
) -> Page {
    let (checker, before) = (filter.checker(), filter.before);
    let (in_doubt, more_doubts) = if filter.has_doubts_first() {
        state.store.transactions(&["in_doubt".to_owned()], checker, None, rows(ROWS)).await?
    } else {
        (Vec::new(), None)
    };
    let (others, next) = state.store.transactions(&filter.states(), checker, before, rows(ROWS)).await?;
    let doubts = (in_doubt.as_slice(), more_doubts.is_some());
    Ok(html(super::transactions::transactions(&visit, &filter, doubts, &others, next)))
}

pub async fn transaction(
    visit: Visit,
    Viewer(caller): Viewer,
    extract::State(state): extract::State<State>,
    Path(id): Path<Uuid>,
) -> Page {
    let none = || Problem::not_found(format!("there is no transaction {id}"), "prepare it in this database first");
    let transaction = state.store.transaction(id).await?.ok_or_else(none)?;
    let events = state.store.tx_timeline(id).await?;
    let messages = state.seen_by(&caller).messages_of(&transaction, rows(ROWS)).await?;
    Ok(html(super::transaction::transaction(&visit, &transaction, &events, &messages)))
}

pub async fn dead(visit: Visit, _: Viewer, extract::State(state): extract::State<State>) -> Page {
    Ok(html(super::dead::dead(&visit, &state.store.failure_groups().await?)))
}

pub async fn consumers(visit: Visit, _: Viewer, extract::State(state): extract::State<State>) -> Page {
    Ok(html(super::consumers::consumers(&visit, &state.store.consumers_shown().await?)))
}

pub async fn consumer(
    visit: Visit,
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
) -> Page {
    let consumer = known_consumer(&state, &name).await?;
    let records = state.store.unfinished_records(&name, rows(LINES)).await?;
    Ok(html(super::consumers::consumer(&visit, &consumer, &records)))
}

pub async fn endpoints(visit: Visit, _: Viewer, extract::State(state): extract::State<State>) -> Page {
    Ok(html(super::endpoints::endpoints(&visit, &state.store.endpoints_shown(None).await?)))
}

pub async fn endpoint(
    visit: Visit,
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Page {
    let endpoint = known_endpoint(&state, &name).await?;
    let shelf = Shelf::of(part.state.as_deref());
    let deliveries = state.store.deliveries_shown(&name, shelf.look(), part.after, rows(ROWS)).await?;
    Ok(html(super::endpoints::endpoint(&visit, &endpoint, shelf, &deliveries, ROWS)))
}

pub async fn delivery(
    visit: Visit,
    Viewer(caller): Viewer,
    extract::State(state): extract::State<State>,
    Path((name, id)): Path<(String, Uuid)>,
) -> Page {
    let none =
        || Problem::not_found(format!("{name} is told no message {id}"), "it was never meant for it, or is forgotten");
    let of_message = state.store.deliveries_of(id).await?;
    let delivery = of_message.into_iter().find(|d| d.endpoint == name).ok_or_else(none)?;
    let attempts = state.seen_by(&caller).attempts(id, Some(&name), rows(TRIES)).await?;
    Ok(html(super::deliveries::delivery(&visit, &delivery, &attempts)))
}

pub async fn plugins(visit: Visit, _: Viewer, extract::State(state): extract::State<State>) -> Page {
    Ok(html(super::plugins::plugins(&visit, &state.store.deployments_shown(None, DEPLOYMENTS).await?)))
}

pub async fn plugin(
    visit: Visit,
    _: Viewer,
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Query(place): Query<Place>,
) -> Page {
    let deployments = state.store.deployments_shown(Some(&name), rows(LINES)).await?;
    let lines = state.store.plugin_lines(Some(&name), place.before, rows(LINES)).await?;
    Ok(html(super::plugins::plugin(&visit, &name, &deployments, &lines, LINES)))
}

pub async fn instances(visit: Visit, _: Viewer, extract::State(state): extract::State<State>) -> Page {
    Ok(html(super::instances::instances(&visit, &state.store.status().await?)))
}

pub async fn instances_live(visit: Visit, _: Viewer, extract::State(state): extract::State<State>) -> Page {
    Ok(html(super::instances::live(&visit, &latest(&state).await?)))
}

pub async fn holds(visit: Visit, _: Viewer, extract::State(state): extract::State<State>) -> Page {
    Ok(html(super::holds::holds(&visit, &state.store.holds_shown(rows(10 * ROWS)).await?)))
}

pub async fn audit(
    visit: Visit,
    _: Viewer,
    extract::State(state): extract::State<State>,
    Query(place): Query<Place>,
) -> Page {
    Ok(html(super::audit::audit(&visit, &state.store.audited(place.before, rows(LINES)).await?, LINES)))
}

/// The address of a page with what was done.
pub fn with_notice(path: &str, notice: super::notice::Notice) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept: Vec<_> = query.split('&').filter(|part| !part.is_empty() && !part.starts_with("notice=")).collect();
    let told = address("", &[("notice", &notice.word())]);
    let more = if kept.is_empty() { String::new() } else { format!("&{}", kept.join("&")) };
    format!("{path}{told}{more}")
}
