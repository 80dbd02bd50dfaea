//! Messages that are looked for: the form, what was found, and how to go on.

use maud::{Markup, html};

use super::figures::{bytes, time};
use super::frame::{Here, page};
use super::shown::{code, shown};
use super::signs::{chip, empty, heading, message_link, or_dash, state, table};
use super::visit::{Visit, told};
use super::wanted::{Unreadable, Wanted};
use crate::store::search::Found;
use crate::store::views::Message;

/// What came of looking.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An answer.
    Found(Found),
    /// A field cannot be read.
    Unreadable(Unreadable),
    /// It cannot be searched for; the sentence says what can.
    Refused(String),
}

/// In the order of a message's life.
const STATES: [&str; 8] = ["prepared", "ready", "delayed", "sent", "consumed", "dead", "discarded", "cancelled"];

/// The page.
pub fn messages(visit: &Visit, wanted: &Wanted, consumers: &[String], outcome: &Outcome) -> Markup {
    let w = visit.w;
    page(
        visit,
        Here::Messages,
        w.messages,
        &html! {
            (heading(&html! { (w.messages) }, &html! {}))
            (form(visit, wanted, consumers, outcome))
            @match outcome {
                Outcome::Unreadable(field) => p.notice.bad role="alert" { (complaint(visit, *field)) },
                Outcome::Refused(why) => p.notice.bad role="alert" { (shown(why)) },
                Outcome::Found(found) => (answer(visit, wanted, found)),
            }
        },
    )
}

fn complaint(visit: &Visit, field: Unreadable) -> &'static str {
    match field {
        Unreadable::Id => visit.w.no_id,
        Unreadable::Since | Unreadable::Until => visit.w.no_time,
    }
}

fn form(visit: &Visit, wanted: &Wanted, consumers: &[String], outcome: &Outcome) -> Markup {
    let w = visit.w;
    let wrong = |field: Unreadable| matches!(outcome, Outcome::Unreadable(f) if *f == field).then_some("true");
    html! {
        form.search method="get" action="/messages" role="search" {
            label.wide { span { (w.message_id) } input name="id" value=(wanted.id) placeholder="0192…" autocomplete="off" spellcheck="false" aria-invalid=[wrong(Unreadable::Id)]; }
            label { span { (w.key) } input #search name="key" value=(wanted.key) autocomplete="off" spellcheck="false"; }
            label { span { (w.topic) } input name="topic" value=(wanted.topic) placeholder="orders.>" autocomplete="off" spellcheck="false"; }
            label {
                span { (w.state) }
                select name="state" {
                    option value="" { (w.any) }
                    @for one in STATES { option value=(one) selected[wanted.state == one] { (state_name(visit, one)) } }
                }
            }
            label {
                span { (w.consumer) }
                input name="consumer" value=(wanted.consumer) list="consumers" autocomplete="off" spellcheck="false";
                datalist #consumers { @for name in consumers { option value=(name) {} } }
            }
            label { span { (w.since) " (UTC)" } input name="since" value=(wanted.since) placeholder="2h, 2026-01-31 12:00" autocomplete="off" aria-invalid=[wrong(Unreadable::Since)]; }
            label { span { (w.until) " (UTC)" } input name="until" value=(wanted.until) placeholder="2026-01-31 12:00" autocomplete="off" aria-invalid=[wrong(Unreadable::Until)]; }
            @if !wanted.failure.is_empty() {
                label.wide { span { (w.failure) } input name="failure" value=(wanted.failure) autocomplete="off"; }
            }
            div.buttons {
                button.primary { (w.search) }
                a.button.plain href="/messages" { (w.clear) }
            }
        }
    }
}

fn state_name(visit: &Visit, state: &str) -> &'static str {
    let w = visit.w;
    match state {
        "prepared" => w.state_prepared,
        "ready" => w.state_ready,
        "delayed" => w.delayed,
        "sent" => w.state_sent,
        "consumed" => w.state_consumed,
        "dead" => w.state_dead,
        "discarded" => w.state_discarded,
        _ => w.state_cancelled,
    }
}

fn answer(visit: &Visit, wanted: &Wanted, found: &Found) -> Markup {
    let w = visit.w;
    html! {
        @if !found.messages.is_empty() {
            (message_table(visit, &found.messages))
        } @else if found.cursor.is_some() {
            (empty(w.nothing_here, &html! { (w.nothing_here_do) }))
        } @else if wanted.is_any() || !wanted.cursor.is_empty() {
            (empty(w.none_found, &html! { (w.none_found_do) }))
        } @else {
            (empty(w.no_messages, &told(w.no_messages_do, &[html! { code { "insert into avouch.outbox (topic, key, payload)" } }])))
        }
        @if let Some(cursor) = &found.cursor {
            p.more {
                a.button rel="next" href=(wanted.address(cursor)) {
                    @if found.messages.is_empty() { (w.look_on) } @else { (w.go_on) }
                }
            }
        }
    }
}

/// Messages, a row each.
pub fn message_table(visit: &Visit, messages: &[Message]) -> Markup {
    let w = visit.w;
    let rows = html! { @for message in messages { (row(visit, message)) } };
    table(w.messages, &[w.message_id, w.state, w.topic, w.key, w.inserted, w.size, w.about], &rows)
}

fn row(visit: &Visit, m: &Message) -> Markup {
    let w = visit.w;
    html! {
        tr data-open="" {
            th scope="row" data-label=(w.message_id) { (message_link(m.id)) }
            td data-label=(w.state) {
                (state(visit, &m.state))
                @if m.generation > 0 { " " (chip("past", &html! { (w.generation) " " (m.generation) })) }
            }
            td.topic data-label=(w.topic) { (code(&m.topic)) }
            td data-label=(w.key) { (or_dash(m.key.as_deref())) }
            td data-label=(w.inserted) { (time(visit, m.created_at)) }
            td.n data-label=(w.size) { (bytes(m.bytes)) }
            td data-label=(w.about) { (about(visit, m)) }
        }
    }
}

/// The one thing that is most worth knowing.
fn about(visit: &Visit, m: &Message) -> Markup {
    let w = visit.w;
    let dead: Vec<_> = m.waits_for.iter().filter(|part| part.state == "dead").collect();
    html! {
        @if let Some(held) = &m.held { (chip("warn", &html! { (w.held) })) " " (shown(held)) }
        @else if let Some(reason) = &m.reason { (shown(reason)) }
        @else if let Some(part) = dead.first() { (shown(&part.consumer)) ": " (or_dash(part.reason.as_deref())) }
        @else if let Some(at) = m.not_before { (w.not_before) " " (time(visit, at)) }
        @else if !m.waits_for.is_empty() {
            (w.waits_for) " "
            @for (i, part) in m.waits_for.iter().enumerate() { @if i > 0 { ", " } (shown(&part.consumer)) }
        }
    }
}
