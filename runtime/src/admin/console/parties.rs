//! What people do with endpoints on pages: each form is carried out by the API's own route, then the page is shown that tells what
//! came of it.

use std::collections::BTreeMap;

use axum::extract;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::acts::{Act, Only, Removed, reason, told, unless_lost};
use super::bulk::moment;
use super::deliveries::{ask, delivery_place};
use super::endpoints::{place, verifies};
use super::notice::{Deed, Notice};
use super::visit::Visit;
use crate::admin::body::{Body, Form, Path, Query};
use crate::admin::caller::{Administrator, Operator};
use crate::admin::deliveries::{NotifyAgain, resend_deliveries};
use crate::admin::endpoints::{self, EndpointSecret, NewEndpoint, Rotation, SignatureSort};
use crate::admin::problem::Problem;
use crate::admin::state::State;
use crate::admin::tokens::Reason;
use crate::endpoints::{Description, Settings, schedule_s};
use crate::store::endpoints::Look;

/// So many of them are shown before they are told again.
const EXAMPLES: i64 = 5;

/// An endpoint, as the form sends it.
#[derive(Debug, Deserialize)]
pub struct Wished {
    name: String,
    url: String,
    topics: String,
    #[serde(default)]
    filter: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    schedule: String,
    #[serde(default)]
    plugin: String,
    ordered: Option<String>,
    #[serde(default)]
    signature: SignatureSort,
    why: Option<String>,
}

/// How messages are signed from now on.
#[derive(Debug, Deserialize)]
pub struct Signed {
    #[serde(default)]
    signature: SignatureSort,
    why: Option<String>,
}

/// Since when.
#[derive(Debug, Deserialize)]
pub struct Since {
    #[serde(default)]
    since: String,
}

/// The same, and that it is confirmed.
#[derive(Debug, Deserialize)]
pub struct Confirmed {
    since: String,
    confirm: i64,
    why: Option<String>,
}

pub async fn create(
    visit: Visit,
    administrator: Administrator,
    state: extract::State<State>,
    Form(wished): Form<Wished>,
) -> Act {
    let (status, made) = endpoints::create_endpoint(administrator, state, Body(wished.read()?)).await?;
    Ok((status, shown_once(&visit, &made.0)).into_response())
}

pub async fn rotate(
    visit: Visit,
    administrator: Administrator,
    state: extract::State<State>,
    path: Path<String>,
    Form(form): Form<Signed>,
) -> Act {
    let Signed { signature, why } = form;
    let rotation = Rotation { secret: None, signature, overlap_hours: None, reason: reason(why) };
    let (status, made) = endpoints::rotate_secret(administrator, state, path, Body(rotation)).await?;
    Ok((status, shown_once(&visit, &made.0)).into_response())
}

fn shown_once(visit: &Visit, made: &EndpointSecret) -> Html<String> {
    Html(verifies(visit, &made.endpoint, &made.verifies).into_string())
}

impl Wished {
    fn read(self) -> Result<NewEndpoint, Problem> {
        let words =
            |text: &str| text.split([',', ' ', '\r', '\n']).filter(|w| !w.is_empty()).map(str::to_owned).collect();
        let settings = Settings {
            schedule_s: pauses(&self.schedule)?,
            plugin: Some(self.plugin.trim().to_owned()).filter(|plugin| !plugin.is_empty()),
            ..Settings::default()
        };
        let endpoint = Description {
            url: self.url.trim().to_owned(),
            topics: words(&self.topics),
            filter: filter(&self.filter)?,
            tenant: self.tenant.trim().to_owned(),
            ordered: self.ordered.is_some(),
            settings,
            headers: None,
        };
        let (name, signature) = (self.name.trim().to_owned(), self.signature);
        Ok(NewEndpoint { name, endpoint, secret: None, signature, reason: reason(self.why) })
    }
}

/// Numbers of seconds; nothing: as it is without a word of it.
fn pauses(text: &str) -> Result<Vec<u32>, Problem> {
    if text.trim().is_empty() {
        return Ok(schedule_s());
    }
    let wrong = |part: &str| Problem::refused(format!("{part:?} is no number of seconds"), "write 60, 300, 1800");
    text.split(',').map(|part| part.trim().parse().map_err(|_| wrong(part))).collect()
}

/// `header=value` lines.
fn filter(lines: &str) -> Result<BTreeMap<String, String>, Problem> {
    let read = |line: &str| {
        let none = || Problem::refused(format!("{line:?} says no value"), "write header=value, one a line");
        let (name, value) = line.split_once('=').ok_or_else(none)?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    lines.lines().filter(|line| !line.trim().is_empty()).map(read).collect()
}

pub async fn ping(
    operator: Operator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Form(form): Form<Only>,
) -> Act {
    let why = Body(Reason { reason: reason(form.why) });
    match endpoints::ping_endpoint(operator, state, Path(name.clone()), why).await {
        Ok((_, pinged)) => Ok(told(&delivery_place(&name, pinged.0.message_id), Notice::one(Deed::Ping, true.into()))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            Ok(told(&place(&name), Notice::one(Deed::Ping, false.into())))
        }
        Err(problem) => Err(problem),
    }
}

pub async fn enable(
    operator: Operator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Form(form): Form<Only>,
) -> Act {
    let (why, there) = (Body(Reason { reason: reason(form.why) }), place(&name));
    let done = unless_lost(endpoints::enable_endpoint(operator, state, Path(name), why).await)?;
    Ok(told(&there, Notice::one(Deed::Enable, done.into())))
}

pub async fn disable(
    operator: Operator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Form(form): Form<Only>,
) -> Act {
    let (why, there) = (Body(Reason { reason: reason(form.why) }), place(&name));
    let done = unless_lost(endpoints::disable_endpoint(operator, state, Path(name), why).await)?;
    Ok(told(&there, Notice::one(Deed::Disable, done.into())))
}

pub async fn remove(
    administrator: Administrator,
    state: extract::State<State>,
    path: Path<String>,
    Form(form): Form<Removed>,
) -> Act {
    // One that is configured is refused as a conflict, with what to do: that is shown, not told as a lost race.
    endpoints::remove_endpoint(administrator, state, path, Body(form.read()?)).await?;
    Ok(told("/endpoints", Notice::one(Deed::RemoveEndpoint, true.into())))
}

pub async fn resend_one(
    operator: Operator,
    state: extract::State<State>,
    Path((name, id)): Path<(String, Uuid)>,
    Form(form): Form<Only>,
) -> Act {
    let again = NotifyAgain { ids: vec![id], reason: reason(form.why), ..NotifyAgain::default() };
    let done = resend_deliveries(operator, state, Path(name.clone()), Body(again)).await?.0;
    Ok(told(&delivery_place(&name, id), Notice::one(Deed::NotifyAgain, (done.count > 0).into())))
}

pub async fn ask_resend(
    visit: Visit,
    operator: Operator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Query(wished): Query<Since>,
) -> Result<Response, Problem> {
    // The time is fixed here: "two hours ago" must not move between the question and the answer.
    let since = since(&wished.since, visit.now)?;
    let again = NotifyAgain { given_up_since: Some(since), dry_run: true, ..NotifyAgain::default() };
    let count = resend_deliveries(operator, state.clone(), Path(name.clone()), Body(again)).await?.0;
    let mut examples = state.store.deliveries_shown(&name, Look::GivenUp, None, EXAMPLES).await?;
    examples.retain(|d| d.ended_at.is_some_and(|at| at >= since));
    Ok(Html(ask(&visit, &name, since, &count, &examples).into_string()).into_response())
}

pub async fn resend(
    visit: Visit,
    operator: Operator,
    state: extract::State<State>,
    Path(name): Path<String>,
    Form(form): Form<Confirmed>,
) -> Act {
    let again = NotifyAgain {
        given_up_since: Some(since(&form.since, visit.now)?),
        confirm: Some(form.confirm),
        reason: reason(form.why),
        ..NotifyAgain::default()
    };
    let there = format!("{}?state=given_up", place(&name));
    let done = resend_deliveries(operator, state, Path(name), Body(again)).await?.0;
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    let of = number(form.confirm.max(done.count));
    Ok(told(&there, Notice { deed: Deed::NotifyAgain, done: number(done.count), of }))
}

fn since(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, Problem> {
    let none = || Problem::invalid("since when is not said", "write 2026-01-31 12:00 (UTC), or 2h for two hours ago");
    moment(text, now)?.ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished() -> Wished {
        Wished {
            name: " m17 ".into(),
            url: " https://m.example/hook".into(),
            topics: "payments.settled\r\npayments.refunded, stock.>".into(),
            filter: "Merchant = 17\r\n\r\n".into(),
            tenant: String::new(),
            schedule: "60, 300".into(),
            plugin: " ".into(),
            ordered: Some("yes".into()),
            signature: SignatureSort::V1,
            why: Some(" ".into()),
        }
    }

    #[test]
    fn form_is_read_as_the_api_takes_it() {
        let new = wished().read().expect("can be read");
        assert_eq!(new.endpoint.topics, ["payments.settled", "payments.refunded", "stock.>"]);
        assert_eq!(new.endpoint.filter, BTreeMap::from([("merchant".to_owned(), "17".to_owned())]));
        assert_eq!((new.endpoint.settings.schedule_s, new.endpoint.settings.plugin), (vec![60, 300], None));
        assert_eq!((new.name.as_str(), new.endpoint.ordered, new.reason), ("m17", true, None));
        let plain = Wished { schedule: String::new(), ..wished() }.read().expect("can be read");
        assert_eq!(plain.endpoint.settings, Settings::default());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let wrong = Wished { schedule: "60, soon".into(), ..wished() }.read().map(drop).expect_err("no number");
        assert!(wrong.detail.contains("soon"));
        let wrong = Wished { filter: "merchant".into(), ..wished() }.read().map(drop).expect_err("no value");
        assert!(wrong.detail.contains("merchant"));
    }
}
