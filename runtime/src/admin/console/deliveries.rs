//! What an endpoint is told, was told and was not: lists, one delivery with its tries, and what will be told again, before it is.

use maud::{Markup, html};
use time::OffsetDateTime;
use uuid::Uuid;

use super::bulk::written;
use super::deeds::{Deed, Weight, Why, all, folded, hidden, open};
use super::endpoints::{link, place};
use super::figures::{bytes, number, time};
use super::frame::{Here, page};
use super::shown::{block, code, digest, shown};
use super::signs::{address, chip, empty, heading, message_link, or_dash, table};
use super::visit::{Visit, told};
use crate::access::Role;
use crate::admin::deliveries::NotifiedAgain;
use crate::store::endpoints::Look;
use crate::store::views::{Attempt, Delivery};

/// As much of an answer as is kept.
const EXCERPT_CHARS_MAX: usize = 600;

/// Which deliveries are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// All, the latest message first.
    All,
    /// Those that wait, the next first.
    Waiting,
    /// Those that were given up, the last first.
    GivenUp,
}

impl Shelf {
    const ALL: [Self; 3] = [Self::All, Self::Waiting, Self::GivenUp];

    /// As an address says it; anything else is all.
    pub fn of(state: Option<&str>) -> Self {
        match state {
            Some("waiting") => Self::Waiting,
            Some("given_up") => Self::GivenUp,
            _ => Self::All,
        }
    }

    /// As the store is asked.
    pub const fn look(self) -> Look {
        match self {
            Self::All => Look::Recent,
            Self::Waiting => Look::Waiting,
            Self::GivenUp => Look::GivenUp,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Waiting => "waiting",
            Self::GivenUp => "given_up",
        }
    }
}

/// The section of an endpoint's page. `rows_max` rows mean that there may be more.
pub fn shelves(visit: &Visit, endpoint: &str, shelf: Shelf, deliveries: &[Delivery], rows_max: usize) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    let name = |shelf| match shelf {
        Shelf::All => w.all_of_them,
        Shelf::Waiting => e.only_waiting,
        Shelf::GivenUp => e.only_given_up,
    };
    let more = deliveries.last().filter(|_| deliveries.len() == rows_max);
    html! {
        section aria-labelledby="deliveries" {
            h2 #deliveries { (e.deliveries) }
            p.windows {
                @for one in Shelf::ALL {
                    a href=(address(&place(endpoint), &[("state", one.word())])) aria-current=[(one == shelf).then_some("true")] { (name(one)) }
                }
            }
            @if deliveries.is_empty() { p.none { (e.no_deliveries) } } @else { (list(visit, deliveries)) }
            @if let Some(last) = more {
                p.more {
                    a.button rel="next" href=(address(&place(endpoint), &[("state", shelf.word()), ("after", &last.message_id.to_string())])) { (w.go_on) }
                }
            }
        }
    }
}

fn list(visit: &Visit, deliveries: &[Delivery]) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    let columns = [w.message, w.state, w.topic, w.key, w.attempts, e.next_or_end, e.status, w.reason, w.action];
    let rows = html! {
        @for d in deliveries {
            tr data-open="" {
                th scope="row" data-label=(w.message) { (delivery_link(d)) }
                td data-label=(w.state) { (state(visit, &d.state)) }
                td.topic data-label=(w.topic) { (code(&d.topic)) }
                td data-label=(w.key) { (or_dash(d.key.as_deref())) }
                td.n data-label=(w.attempts) { (d.attempts) }
                td data-label=(e.next_or_end) { (next_or_end(visit, d)) }
                td.n data-label=(e.status) { (status(d.status)) }
                td data-label=(w.reason) { (or_dash(d.reason.as_deref())) }
                td data-label=(w.action) { @if d.state != "delivered" { (folded(visit, &again(visit, d))) } }
            }
        }
    };
    table(e.deliveries, &columns, &rows)
}

/// The address of a delivery's page.
pub fn delivery_place(endpoint: &str, message: Uuid) -> String {
    format!("{}/deliveries/{message}", place(endpoint))
}

fn delivery_link(d: &Delivery) -> Markup {
    html! { a.id href=(delivery_place(&d.endpoint, d.message_id)) { code { (d.message_id.to_string()) } } }
}

fn next_or_end(visit: &Visit, d: &Delivery) -> Markup {
    html! { @if let Some(at) = d.next_at.or(d.ended_at) { (time(visit, at)) } @else { (or_dash(None)) } }
}

fn status(status: Option<i32>) -> Markup {
    html! { @if let Some(status) = status { (status) } @else { (or_dash(None)) } }
}

fn state(visit: &Visit, state: &str) -> Markup {
    let e = visit.w.endpoint;
    let (kind, name) = match state {
        "waiting" => ("wait", e.state_waiting),
        "delivered" => ("good", e.state_delivered),
        "given_up" => ("bad", e.state_given_up),
        "retry" => ("warn", e.state_retry),
        "disabled" => ("bad", e.disabled),
        other => return chip("past", &shown(other)),
    };
    chip(kind, &html! { (name) })
}

fn again<'a>(visit: &'a Visit, d: &Delivery) -> Deed<'a> {
    let e = visit.w.endpoint;
    let (name, effect) = match d.state.as_str() {
        "waiting" => (e.try_now, e.try_now_effect),
        _ => (e.tell_again, e.tell_again_effect),
    };
    Deed {
        role: Role::Operate,
        action: format!("{}/resend", delivery_place(&d.endpoint, d.message_id)),
        name,
        effect: html! { (effect) },
        weight: Weight::Light,
        why: Why::Optional,
        fields: html! {},
    }
}

/// One of them, with its tries. It renews itself.
pub fn delivery(visit: &Visit, d: &Delivery, attempts: &[Attempt]) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    page(
        visit,
        Here::Endpoints,
        &format!("{} {}", e.delivery, d.message_id),
        &html! {
            (heading(&html! { (e.delivery) " " code { (d.message_id.to_string()) } }, &html! {}))
            (all(visit, &[again(visit, d)]))
            div data-live=(delivery_place(&d.endpoint, d.message_id)) {
                dl.facts {
                    dt { (w.state) } dd { (state(visit, &d.state)) }
                    dt { (e.endpoint) } dd { (link(&d.endpoint)) }
                    dt { (w.message) } dd { (message_link(d.message_id)) }
                    dt { (w.topic) } dd { (code(&d.topic)) }
                    dt { (w.key) } dd { (or_dash(d.key.as_deref())) }
                    dt { (w.size) } dd { (bytes(d.bytes)) }
                    dt { (e.round) } dd { (d.round) }
                    dt { (w.attempts) } dd { (d.attempts) }
                    @if let Some(reason) = &d.reason { dt { (w.reason) } dd { (shown(reason)) } }
                    @if let Some(at) = d.next_at { dt { (e.next_try) } dd { (time(visit, at)) } }
                    dt { (w.inserted) } dd { (time(visit, d.created_at)) }
                    dt { (e.recorded) } dd { (time(visit, d.recorded_at)) }
                    @if let Some(at) = d.ended_at { dt { (e.ended) } dd { (time(visit, at)) } }
                }
                (tries(visit, attempts))
            }
        },
    )
}

fn tries(visit: &Visit, attempts: &[Attempt]) -> Markup {
    let e = visit.w.endpoint;
    html! {
        section aria-labelledby="attempts" {
            h2 #attempts { (e.attempts) }
            @if attempts.is_empty() { p.none { (e.no_attempts) } } @else { (tries_table(visit, attempts)) }
        }
    }
}

fn tries_table(visit: &Visit, attempts: &[Attempt]) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    let columns = [w.when, e.endpoint, e.round, w.attempts, e.outcome, e.status, e.took, w.reason, e.answer];
    let rows = html! {
        @for a in attempts {
            tr {
                th scope="row" data-label=(w.when) { (time(visit, a.at)) }
                td data-label=(e.endpoint) { (link(&a.endpoint)) @if let Some(plugin) = &a.plugin { " " (w.plugin) " " (digest(plugin)) } }
                td.n data-label=(e.round) { (a.round) }
                td.n data-label=(w.attempts) { (a.number) }
                td data-label=(e.outcome) { (state(visit, &a.outcome)) }
                td.n data-label=(e.status) { @if let Some(status) = a.status { (status) } @else { (e.no_answer) } }
                td.n data-label=(e.took) { (number(a.took_ms.into())) " ms" }
                td data-label=(w.reason) { (or_dash(a.reason.as_deref())) }
                td data-label=(e.answer) { @if let Some(excerpt) = &a.excerpt { (block(excerpt, EXCERPT_CHARS_MAX)) } @else { (or_dash(None)) } }
            }
        }
    };
    table(e.attempts, &columns, &rows)
}

/// The section of a message's page: to whom it is told, and how that went.
pub fn of_message(visit: &Visit, deliveries: &[Delivery], attempts: &[Attempt]) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    if deliveries.is_empty() {
        return html! {};
    }
    let columns = [e.endpoint, w.state, w.attempts, e.next_or_end, e.status, w.reason, e.delivery];
    let rows = html! {
        @for d in deliveries {
            tr {
                th scope="row" data-label=(e.endpoint) { (link(&d.endpoint)) }
                td data-label=(w.state) { (state(visit, &d.state)) }
                td.n data-label=(w.attempts) { (d.attempts) }
                td data-label=(e.next_or_end) { (next_or_end(visit, d)) }
                td.n data-label=(e.status) { (status(d.status)) }
                td data-label=(w.reason) { (or_dash(d.reason.as_deref())) }
                td data-label=(e.delivery) { a href=(delivery_place(&d.endpoint, d.message_id)) { (w.look) } }
            }
        }
    };
    html! {
        section aria-labelledby="told-to" {
            h2 #told-to { (e.told_to) }
            (table(e.told_to, &columns, &rows))
        }
        (tries(visit, attempts))
    }
}

/// What would be told again: how many, some of them, and the button.
pub fn ask(
    visit: &Visit,
    endpoint: &str,
    since: OffsetDateTime,
    count: &NotifiedAgain,
    examples: &[Delivery],
) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    let (back, name) = (place(endpoint), e.again_so_many.replace("{0}", &number(count.count)));
    page(
        visit,
        Here::Endpoints,
        e.again_title,
        &html! {
            (heading(&html! { (e.again_title) " · " (code(endpoint)) }, &html! {}))
            dl.facts { dt { (w.since) } dd { (time(visit, since)) } }
            @if count.count == 0 {
                (empty(e.again_none, &html! { a href=(back) { (w.back) } }))
            } @else {
                @if count.more { p.notice.warn { (e.again_more) } }
                (open(visit, &Deed {
                    role: Role::Operate,
                    action: format!("{back}/resend"),
                    name: &name,
                    effect: told(e.again_effect, &[html! { b { (number(count.count)) } }]),
                    weight: Weight::Light,
                    why: Why::Optional,
                    fields: html! { (hidden("since", &written(since))) (hidden("confirm", &count.count.to_string())) },
                }))
                p { a href=(back) { (w.back) } }
                h2 { (w.examples) }
                (list(visit, examples))
            }
        },
    )
}
