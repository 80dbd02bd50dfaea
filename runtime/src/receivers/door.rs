//! Who is let in: by an endpoint's token, so often and so much at a time; and what every answer to them bears.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::held::Held;
use super::question::trouble;
use super::turns::Turns;
use super::{Keys, Settings};
use crate::access::{Hash, bearer, hash_token};
use crate::problem::Problem;
use crate::serving::Peer;
use crate::signature::{self, Key};
use crate::store::Store;
use crate::store::receivers::Bearer;
use crate::throttle::Throttle;

/// Answers under way to all endpoints, until they are taken; more are refused.
const ANSWERS_MAX: usize = 64;
/// Bounded statements are over long before.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Tokens that were valid once, and so are looked up however many bad ones come from the same address, as through one proxy. When there are
/// more, all are forgotten.
const FAMILIAR_MAX: usize = 10_000;

/// What all questions share; a clone is the same.
#[derive(Clone)]
pub struct Door(Arc<Shared>);

struct Shared {
    store: Arc<Store>,
    keys: BTreeMap<String, Result<Arc<[Key]>, String>>,
    keep_hours: u32,
    room: Arc<Semaphore>,
    bad: Mutex<Throttle>,
    familiar: Mutex<HashSet<Hash>>,
    turns: Mutex<Turns>,
}

/// Who asks.
#[derive(Clone)]
pub struct Caller {
    /// The endpoint's short name.
    pub endpoint: i32,
    /// Its name.
    pub name: String,
    /// Whether it is told anything.
    pub is_enabled: bool,
    /// How long it is known what was told.
    pub keep_hours: u32,
    keys: Arc<[Key]>,
}

impl Caller {
    /// No bearer of a valid token.
    pub fn nobody() -> Problem {
        Problem::unauthenticated(
            "no valid token came with the question",
            "send Authorization: Bearer avouch_…, with a token of your endpoint: whoever sends you messages makes one",
        )
    }
}

impl Door {
    /// Nobody has asked yet.
    pub fn new(settings: &Settings, store: Arc<Store>, keys: Keys) -> Self {
        Self(Arc::new(Shared {
            store,
            keys: keys.into_iter().map(|(name, keys)| (name, keys.map(Arc::from))).collect(),
            keep_hours: settings.keep_hours,
            room: Arc::new(Semaphore::new(ANSWERS_MAX)),
            bad: Mutex::new(Throttle::default()),
            familiar: Mutex::new(HashSet::new()),
            turns: Mutex::new(Turns::new(settings.asks_per_s)),
        }))
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Who asks, by the token.
    async fn identify(&self, headers: &HeaderMap, from: IpAddr) -> Result<Caller, Problem> {
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        // What has not the form of a token costs nothing.
        let hash = token.and_then(hash_token).ok_or_else(Caller::nobody)?;
        if !lock(&self.0.familiar).contains(&hash) {
            lock(&self.0.bad).look(from, Instant::now()).map_err(|wait| later("too many unknown tokens", wait))?;
        }
        match self.0.store.endpoint_bearer(&hash).await.map_err(trouble)? {
            Some(known) => {
                remember(&mut lock(&self.0.familiar), hash);
                self.caller(known)
            }
            None => {
                lock(&self.0.familiar).remove(&hash);
                // Several at once may all have passed the look; this is the one that counts.
                lock(&self.0.bad).take(from, Instant::now()).ok();
                Err(Caller::nobody())
            }
        }
    }

    fn caller(&self, known: Bearer) -> Result<Caller, Problem> {
        let keys = match (known.is_of_api, self.0.keys.get(&known.name)) {
            (true, _) => parsed(&known.secrets),
            (false, Some(keys)) => keys.clone(),
            (false, None) => Err("its section is not in this configuration".to_owned()),
        };
        let keys = keys.map_err(|why| {
            tracing::debug!(endpoint = known.name, why, "an endpoint is not answered: nothing signs for it");
            let detail = format!("nothing signs answers to {}", known.name);
            Problem::unavailable(detail, "tell whoever sends you messages: they must give the endpoint a secret")
        })?;
        let Bearer { endpoint, name, is_enabled, .. } = known;
        Ok(Caller { endpoint, name, is_enabled, keep_hours: self.0.keep_hours, keys })
    }
}

fn parsed(secrets: &[String]) -> Result<Arc<[Key]>, String> {
    let keys: Result<Vec<Key>, _> = secrets.iter().map(|secret| Key::parse(secret)).collect();
    match keys {
        Ok(keys) if keys.is_empty() => Err("it has no secret".to_owned()),
        Ok(keys) => Ok(keys.into()),
        Err(e) => Err(e.to_string()),
    }
}

fn remember(familiar: &mut HashSet<Hash>, hash: Hash) {
    if familiar.len() >= FAMILIAR_MAX && !familiar.contains(&hash) {
        familiar.clear();
    }
    familiar.insert(hash);
}

/// Lets a question through to what answers it, if somebody known asks, and signs whatever the answer is.
pub async fn pass(State(door): State<Door>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let room = Arc::clone(&door.0.room).try_acquire_owned().map_err(|_| {
        let problem = Problem::unavailable("too many questions are under way here", "repeat it in a second");
        Problem { retry_after_s: Some(1), ..problem }
    })?;
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.ok_or_else(|| Problem::internal("a question has no peer", "report it as a fault of avouch"))?;
    let caller = door.identify(request.headers(), peer.remote.ip()).await?;
    let turn = lock(&door.0.turns).take(caller.endpoint, Instant::now());
    let (response, turn) = match turn {
        Err(wait) => (later("too many questions of this endpoint", wait).into_response(), None),
        Ok(turn) => {
            request.extensions_mut().insert(caller.clone());
            let answered = tokio::time::timeout(ANSWER_LIMIT, next.run(request)).await;
            let late =
                || Problem::unavailable("it took too long to find out", "ask for less at a time").into_response();
            (answered.unwrap_or_else(|_| late()), Some(turn))
        }
    };
    sealed(response, &caller.keys, (room, turn)).await
}

/// The same with a signature over its body, as Standard Webhooks have it, and with the room that it keeps until it is taken.
async fn sealed(
    response: Response,
    keys: &[Key],
    room: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
) -> Result<Response, Problem> {
    let (mut parts, body) = response.into_parts();
    // It was made whole; there is nothing to bound.
    let body = to_bytes(body, usize::MAX).await;
    let body = body.map_err(|_| Problem::internal("an answer broke", "report it as a fault of avouch"))?;
    let (id, now_s) = (format!("ask_{}", Uuid::now_v7()), OffsetDateTime::now_utc().unix_timestamp());
    let signed = signature::sign(keys, &id, now_s, &body);
    for (name, value) in
        [(signature::ID, id), (signature::TIMESTAMP, now_s.to_string()), (signature::SIGNATURE, signed)]
    {
        let value = HeaderValue::try_from(value).expect("ids, numbers and base64 are visible ASCII");
        parts.headers.insert(HeaderName::from_static(name), value);
    }
    Ok(Response::from_parts(parts, Body::new(Held::new(body, room))))
}

fn later(detail: &str, wait: Duration) -> Problem {
    Problem::too_many(detail, wait.as_secs() + 1)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_were_valid_are_not_all_remembered() {
        let mut familiar = HashSet::new();
        for n in 0..FAMILIAR_MAX * 2 + 1 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            remember(&mut familiar, hash);
            assert!(familiar.contains(&hash) && familiar.len() <= FAMILIAR_MAX);
        }
    }
}
