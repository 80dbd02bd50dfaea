//! One try: the request, signed, and what its answer means.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Config;
use super::roster::{Means, Party};
use super::schedule::{Outcome, meaning};
use super::shape::{Shaped, Shaper};
use crate::message::{content_type, encoded_key};
use crate::outside::{Answer, Outside, Post};
use crate::rules::Rules;
use crate::signature;
use crate::store::LogLine;
use crate::store::notify::{Attempt, DueDelivery, Notice};

/// What is to be tried.
pub struct Job {
    /// Who is told.
    pub party: Arc<Party>,
    /// Which delivery.
    pub due: DueDelivery,
    /// What.
    pub notice: Arc<Notice>,
}

/// What every try needs.
pub struct Desk {
    /// The client.
    pub outside: Arc<Outside>,
    /// The plugins.
    pub rules: Arc<Rules>,
    /// Of larger payloads a plugin sees the size.
    pub payload_bytes_max: usize,
}

/// What came of it.
pub struct Tried {
    /// For the books.
    pub attempt: Attempt,
    /// What its plugin logged.
    pub lines: Vec<LogLine>,
    /// The receiver took it, or said that it never will: it works.
    pub is_heard: bool,
}

/// So much of an answer's body is kept, for people.
const EXCERPT_CHARS_MAX: usize = 500;
/// So much of what was wrong.
const REASON_CHARS_MAX: usize = 1_000;

/// What may come of a try, in one word each.
pub const OUTCOMES: [&str; 5] = ["delivered", "retry", "given_up", "disabled", "postponed"];

/// After a fault of a plugin: it may be deployed anew meanwhile.
const POSTPONED: Duration = Duration::from_secs(30);

/// Tries once.
pub async fn attempt(job: &Job, desk: &Desk, config: &Config) -> Tried {
    let (at, began) = (OffsetDateTime::now_utc(), Instant::now());
    let mut told = Told::default();
    let outcome = match &job.party.means {
        // A panic is told by its hook, and counts as a try: the delivery goes on by its schedule.
        Ok(means) => AssertUnwindSafe(tell(job, means, desk, (config, &mut told)))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Outcome::Retry("the try broke: a fault of the runtime, see its log".to_owned(), None)),
        Err(why) => Outcome::Retry(why.clone(), None),
    };
    let number = u32::try_from(job.due.attempts.saturating_add(1)).unwrap_or(u32::MAX);
    let schedule = config.schedule(&job.party.settings);
    let (name, reason, pause) = match outcome {
        Outcome::Delivered => ("delivered", None, None),
        Outcome::GivenUp(why) => ("given_up", Some(why), None),
        // It stays, for when an operator enables the endpoint again.
        Outcome::Gone(why) => ("disabled", Some(why), Some(Duration::ZERO)),
        Outcome::Postponed(why) => ("postponed", Some(why), Some(POSTPONED)),
        Outcome::Retry(why, wanted) => match schedule.pause(number, wanted, chance()) {
            Some(pause) => ("retry", Some(why), Some(pause)),
            None => ("given_up", Some(format!("{why}, at the last of {number} tries")), None),
        },
    };
    let Told { answer, plugin, lines } = told;
    let is_heard = name == "delivered" || answer.as_ref().is_some_and(|a| (200..=299).contains(&a.status));
    let attempt = Attempt {
        of: job.due,
        at,
        took_ms: i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX),
        outcome: name,
        status: answer.as_ref().map(|a| a.status.into()),
        reason: reason.map(|why| plain(&why, REASON_CHARS_MAX)),
        excerpt: answer.filter(|a| !a.body.is_empty()).map(|a| excerpt(&a)),
        plugin,
        pause_ms: pause.map(|pause| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)),
    };
    Tried { attempt, lines, is_heard }
}

/// What is known of a try beside its outcome.
#[derive(Default)]
struct Told {
    answer: Option<Answer>,
    /// The digest of the plugin that shaped it.
    plugin: Option<String>,
    lines: Vec<LogLine>,
}

async fn tell(job: &Job, means: &Means, desk: &Desk, (config, told): (&Config, &mut Told)) -> Outcome {
    let mut shaper = match &job.party.settings.plugin {
        None => None,
        Some(name) => match Shaper::new(&desk.rules, name, (job, &means.url), desk.payload_bytes_max) {
            Ok(shaper) => Some(shaper),
            Err(outcome) => return outcome,
        },
    };
    let outcome = tell_shaped(job, means, desk, (config, &mut told.answer), shaper.as_mut()).await;
    if let Some(shaper) = shaper {
        told.plugin = Some(shaper.digest());
        told.lines = shaper.lines;
    }
    outcome
}

async fn tell_shaped(
    job: &Job,
    means: &Means,
    desk: &Desk,
    (config, heard): (&Config, &mut Option<Answer>),
    mut shaper: Option<&mut Shaper<'_>>,
) -> Outcome {
    let plainly = || Shaped { url: means.url.clone(), headers: HeaderMap::new(), body: job.notice.payload.clone() };
    let shaped = match &mut shaper {
        None => Ok(plainly()),
        Some(shaper) => shaper.shape().await,
    };
    let Shaped { url, mut headers, body } = match shaped {
        Ok(shaped) => shaped,
        Err(outcome) => return outcome,
    };
    let content_type = content_type(&job.notice.headers, &body);
    headers
        .entry(CONTENT_TYPE)
        .or_insert_with(|| HeaderValue::from_str(content_type).expect("it is visible ASCII, as it was looked at"));
    headers.extend(means.headers.clone());
    dress(&mut headers, job);
    seal(&mut headers, means, &job.notice.id.to_string(), &body);
    let timeout = Duration::from_millis(job.party.settings.timeout_ms.into());
    let post = Post { url, headers, body, timeout, answer_bytes_max: config.answer_bytes_max };
    let answer = match desk.outside.post(post).await {
        Ok(answer) => answer,
        Err(why) => return Outcome::Retry(why, None),
    };
    let plainly = meaning(answer.status, answer.header("retry-after"), SystemTime::now());
    let outcome = match (shaper, plainly) {
        // Whoever wants nothing any more says so to all plugins alike.
        (_, gone @ Outcome::Gone(_)) => gone,
        (None, plainly) => plainly,
        (Some(shaper), _) => shaper.read(&answer).await,
    };
    *heard = Some(answer);
    outcome
}

/// What our headers say of the message.
fn dress(headers: &mut HeaderMap, job: &Job) {
    let Notice { topic, key, created_at, headers: own, .. } = &*job.notice;
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("avouch-topic", topic);
    put("avouch-attempt", &job.due.attempts.saturating_add(1).to_string());
    if let Some(key) = key {
        put("avouch-key", &encoded_key(key));
    }
    if let Ok(created_at) = created_at.format(&Rfc3339) {
        put("avouch-created-at", &created_at);
    }
    for (name, value) in own {
        match name.to_ascii_lowercase().as_str() {
            "traceparent" => put("traceparent", value),
            "tracestate" => put("tracestate", value),
            _ => {}
        }
    }
}

/// Standard Webhooks: the same id for each try, the time of this one, a signature of each key.
fn seal(headers: &mut HeaderMap, means: &Means, id: &str, body: &Bytes) {
    let now_s = OffsetDateTime::now_utc().unix_timestamp();
    let signed = signature::sign(&means.keys, id, now_s, body);
    for (name, value) in
        [(signature::ID, id), (signature::TIMESTAMP, &*now_s.to_string()), (signature::SIGNATURE, &*signed)]
    {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn excerpt(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let mut kept = plain(&text, EXCERPT_CHARS_MAX);
    if answer.is_cut || text.chars().nth(EXCERPT_CHARS_MAX).is_some() {
        kept.push('…');
    }
    kept
}

/// Postgres's text holds everything but NUL, and people read it.
fn plain(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// From 0 to 1.
fn chance() -> f64 {
    let random = uuid::Uuid::now_v7().as_u128() as u32;
    f64::from(random) / f64::from(u32::MAX)
}
