//! How it goes, as it goes: one look for all who watch, told as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Sse};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::caller::Viewer;
use super::problem::Problem;
use super::state::State;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// A look that took long is repeated no sooner than so many times its length.
const PAUSE_FACTOR: u32 = 20;
/// Those who watch at a time: each holds a connection.
const WATCHERS_MAX: usize = 64;
/// A stream ends then; browsers open the next one, and whoever is not let in any more sees nothing from then on.
const STREAM_LIMIT: Duration = Duration::from_secs(60);
/// Proxies end connections that are silent for longer.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What is told to all.
pub struct Feed {
    latest: watch::Sender<Option<Arc<str>>>,
    is_looking: AtomicBool,
    seats: Arc<Semaphore>,
}

impl Default for Feed {
    fn default() -> Self {
        let seats = Arc::new(Semaphore::new(WATCHERS_MAX));
        Self { latest: watch::Sender::new(None), is_looking: AtomicBool::new(false), seats }
    }
}

impl Feed {
    /// What was told last, if somebody watches: the document of /v1/overview.
    pub fn latest(&self) -> Option<Arc<str>> {
        self.latest.borrow().clone()
    }
}

/// One who watches.
struct Watcher {
    latest: watch::Receiver<Option<Arc<str>>>,
    until: Instant,
    state: State,
    _seat: OwnedSemaphorePermit,
}

/// The overview every two seconds, as events `overview`; comments in between keep the connection. It ends after a minute: reconnect.
#[utoipa::path(get, path = "/v1/events", tag = "overview", security(("token" = ["view"])),
    responses((status = 200, description = "events `overview` with the document of /v1/overview", content_type = "text/event-stream")))]
pub async fn watch_events(
    _: Viewer,
    extract::State(state): extract::State<State>,
) -> Result<impl IntoResponse, Problem> {
    let seat = Arc::clone(&state.feed.seats).try_acquire_owned();
    let full = |_| Problem::unavailable(format!("{WATCHERS_MAX} streams are open"), "close some, or read /v1/overview");
    let mut latest = state.feed.latest.subscribe();
    // What was seen last is told at once.
    latest.mark_changed();
    let watcher =
        Watcher { latest, until: Instant::now() + STREAM_LIMIT, state: state.clone(), _seat: seat.map_err(full)? };
    if !state.feed.is_looking.swap(true, Ordering::SeqCst) {
        tokio::spawn(look(state));
    }
    let events = stream::unfold(watcher, async |mut watcher| Some((watcher.next().await?, watcher)));
    let events = events.map(Ok::<Event, Infallible>);
    // Some proxies would gather events before they pass them on.
    Ok(([("x-accel-buffering", "no")], Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT))))
}

impl Watcher {
    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                () = self.state.stop.cancelled() => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                changed = self.latest.changed() => changed.ok()?,
            }
            if let Some(text) = self.latest.borrow_and_update().as_deref() {
                return Some(Event::default().event("overview").data(text));
            }
        }
    }
}

/// Looks as long as somebody watches.
async fn look(state: State) {
    let feed = &state.feed;
    loop {
        while feed.latest.receiver_count() > 0 && !state.stop.is_cancelled() {
            let began = Instant::now();
            look_once(&state).await;
            // Behind a held snapshot, counting walks all that came since: not for most of the time.
            let pause = EVERY.max(began.elapsed() * PAUSE_FACTOR);
            state.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        // What was seen last is old when the next one comes.
        feed.latest.send_replace(None);
        feed.is_looking.store(false, Ordering::SeqCst);
        // Somebody may have come since they were counted, and found that it is still being looked.
        let is_wanted = feed.latest.receiver_count() > 0 && !state.stop.is_cancelled();
        if !is_wanted || feed.is_looking.swap(true, Ordering::SeqCst) {
            return;
        }
    }
}

async fn look_once(state: &State) {
    match state.store.status().await {
        Ok(status) => {
            let text = serde_json::to_string(&status).expect("a status is plain data");
            state.feed.latest.send_replace(Some(text.into()));
        }
        Err(e) => tracing::debug!(error = %e, "those who watch are told nothing: the database"),
    }
}
