//! Whether a receiver's list is ours, by windows of time: how many messages, and a digest of their ids.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use super::door::Door;
use super::messages::too_early;
use super::question::{About, Query, Question, trouble};
use super::span;
use crate::access::hex;
use crate::problem::Problem;
use crate::store::receivers::{Cut, Window};

/// Windows of time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WindowsTold {
    /// The question.
    #[serde(flatten)]
    pub about: About,
    /// One behind another, the empty ones too.
    pub windows: Vec<WindowTold>,
    /// These are not all: ask the same with `from` = this.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<OffsetDateTime>,
}

/// What was inserted in a window of time, and is told to the endpoint.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WindowTold {
    /// From then on.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub from: OffsetDateTime,
    /// And before then.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub to: OffsetDateTime,
    /// So many messages.
    pub count: i64,
    /// Of these: you have answered that you have them.
    pub delivered: i64,
    /// Of these: you will be told.
    pub waiting: i64,
    /// Of these: you will not be told by itself.
    pub given_up: i64,
    /// SHA-256, in hexadecimal, of their ids as 36 lower-case characters, in ascending order, each with a line feed behind it.
    pub digest: String,
}

/// Which windows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Where the first one begins, RFC 3339, to the millisecond; not before `kept_since`.
    #[serde(with = "time::serde::rfc3339")]
    #[param(value_type = String, format = DateTime)]
    from: OffsetDateTime,
    /// Where the last one ends.
    #[serde(with = "time::serde::rfc3339")]
    #[param(value_type = String, format = DateTime)]
    to: OffsetDateTime,
    /// How long each is, in seconds; 3600 if it is not said. The last one may be shorter.
    step_s: Option<u32>,
}

const STEP_S: u32 = 3_600;
/// Of one answer: a day in minutes.
const WINDOWS_MAX: i64 = 1_440;
/// Messages that are counted for one answer: a fraction of a second's work.
const ROWS_MAX: i64 = 100_000;

/// The windows that are asked for, in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    from: i64,
    to: i64,
    step: i64,
}

/// How many messages there are, and a digest of their ids, for each window of time: compare it with your own.
#[utoipa::path(get, path = "/v1/notify/windows", tag = "asking", security(("token" = [])), params(Wanted),
    responses((status = 200, body = WindowsTold)))]
pub async fn ask_windows(
    State(door): State<Door>,
    question: Question,
    Query(wanted): Query<Wanted>,
) -> Result<Json<WindowsTold>, Problem> {
    let Question { endpoint, about } = question;
    let plan = Plan::new(&wanted, about.kept_since)?;
    let cut = Cut { from_ms: plan.from, step_ms: plan.step };
    let found = door.store().told_windows(endpoint, span::between(plan.from, plan.to), cut, ROWS_MAX + 1).await;
    let (windows, next) = plan.fill(found.map_err(trouble)?, ROWS_MAX)?;
    Ok(Json(WindowsTold { about, windows, next: next.map(span::at_ms) }))
}

impl Plan {
    fn new(wanted: &Wanted, kept_since: OffsetDateTime) -> Result<Self, Problem> {
        let (from, to) =
            (span::ms_of(wanted.from).ok_or_else(too_early)?, span::ms_of(wanted.to).ok_or_else(too_early)?);
        let step = i64::from(wanted.step_s.unwrap_or(STEP_S)) * 1_000;
        if step == 0 || from >= to {
            return Err(Problem::refused("no window is asked for", "write from before to, and step_s of at least 1"));
        }
        if wanted.from < kept_since {
            // A digest of what is half forgotten would be a false alarm.
            let kept = kept_since.format(&Rfc3339).unwrap_or_default();
            let detail = format!("what ended before {kept} is forgotten");
            return Err(Problem::refused(detail, "begin later: kept_since of any answer tells from when on"));
        }
        if (to - from).div_euclid(step) + i64::from((to - from) % step > 0) > WINDOWS_MAX {
            let detail = format!("more than {WINDOWS_MAX} windows");
            return Err(Problem::refused(detail, "ask for a shorter time, or write a longer step_s"));
        }
        Ok(Self { from, to, step })
    }

    fn begin(&self, place: i64) -> i64 {
        self.from + place * self.step
    }

    /// All windows, the empty ones too; and where to go on, if more than `rows_max` messages are in them: the one in which they ran out may
    /// lack some, and is left out.
    fn fill(&self, found: Vec<Window>, rows_max: i64) -> Result<(Vec<WindowTold>, Option<i64>), Problem> {
        let is_cut = found.iter().map(|window| window.count).sum::<i64>() > rows_max;
        let all = (self.to - self.from + self.step - 1) / self.step;
        let end = found.last().filter(|_| is_cut).map_or(all, |last| last.place);
        if end == 0 {
            let detail = format!("the window that begins at from has more than {rows_max} messages");
            return Err(Problem::refused(detail, "write a shorter step_s"));
        }
        let mut found: BTreeMap<i64, Window> = found.into_iter().map(|window| (window.place, window)).collect();
        let windows = (0..end).map(|place| self.told(place, found.remove(&place))).collect();
        Ok((windows, (end < all).then(|| self.begin(end))))
    }

    fn told(&self, place: i64, found: Option<Window>) -> WindowTold {
        let empty = || {
            let digest = hex(&Sha256::digest(b""));
            Window { place, count: 0, delivered: 0, waiting: 0, given_up: 0, digest }
        };
        let Window { count, delivered, waiting, given_up, digest, .. } = found.unwrap_or_else(empty);
        let (from, to) = (span::at_ms(self.begin(place)), span::at_ms(self.begin(place + 1).min(self.to)));
        WindowTold { from, to, count, delivered, waiting, given_up, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "2026-11-20T00:00:00Z";

    fn at(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).expect("it is a time")
    }

    fn plan(to: &str, step_s: u32) -> Result<Plan, String> {
        let wanted = Wanted { from: at(FROM), to: at(to), step_s: Some(step_s) };
        Plan::new(&wanted, at("2026-11-01T00:00:00Z")).map_err(|problem| problem.detail)
    }

    fn window(place: i64, count: i64) -> Window {
        Window { place, count, delivered: count, waiting: 0, given_up: 0, digest: "of it".into() }
    }

    #[test]
    fn windows_that_are_empty_are_told_and_the_last_one_ends_with_the_time() {
        let plan = plan("2026-11-20T02:30:00Z", 3_600).expect("is fine");
        let (windows, next) = plan.fill(vec![window(1, 7)], 7).expect("is fine");
        assert_eq!(windows.iter().map(|w| w.count).collect::<Vec<_>>(), [0, 7, 0]);
        assert_eq!((windows[2].to, next), (at("2026-11-20T02:30:00Z"), None));
        assert_eq!(windows[0].digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn window_that_may_lack_messages_is_left_for_the_next_answer() {
        let plan = plan("2026-11-20T05:00:00Z", 3_600).expect("is fine");
        let (windows, next) = plan.fill(vec![window(0, 5), window(3, 3)], 7).expect("is fine");
        assert_eq!(windows.len(), 3);
        assert_eq!(next.map(span::at_ms), Some(at("2026-11-20T03:00:00Z")));
        let full = plan.fill(vec![window(0, 8)], 7).expect_err("nothing of it is certain");
        assert!(full.remedy.contains("step_s"), "{}", full.remedy);
    }

    #[test]
    fn windows_are_bounded_and_not_of_what_is_forgotten() {
        assert!(plan("2026-11-21T00:00:00Z", 60).is_ok());
        assert!(plan("2026-11-21T00:00:00.001Z", 60).expect_err("one more").contains("1440"));
        assert!(plan("9999-12-31T23:59:00Z", 1).is_err() && plan("9999-12-31T23:59:00Z", u32::MAX).is_ok());
        assert!(plan(FROM, 60).is_err() && plan("2026-11-21T00:00:00Z", 0).is_err());
        let old = Wanted { from: at("2026-10-31T23:59:00Z"), to: at(FROM), step_s: None };
        let refused = Plan::new(&old, at("2026-11-01T00:00:00Z")).expect_err("it is forgotten");
        assert!(refused.detail.contains("forgotten"), "{}", refused.detail);
    }
}
