//! One message: what it is, what happened to it, what is in it, and what can be done about it.

use maud::{Markup, html};

use super::deeds::{Deed, Weight, Why, all};
use super::deliveries::of_message;
use super::figures::{bytes, number, time};
use super::frame::{Here, page};
use super::payload::{headers, payload, trace_id};
use super::shown::{code, shown};
use super::signs::{chip, heading, or_dash, segment, state, table, transaction_link};
use super::timeline::timeline;
use super::visit::{Visit, told};
use crate::access::Role;
use crate::admin::sight::Content;
use crate::store::views::{Attempt, Delivery, Event, Message, Waiting};

/// The page.
pub fn message(
    visit: &Visit,
    m: &Message,
    events: &[Event],
    (deliveries, attempts): (&[Delivery], &[Attempt]),
    content: &Content,
) -> Markup {
    let w = visit.w;
    let title = format!("{} {}", w.message, m.id);
    page(
        visit,
        Here::Messages,
        &title,
        &html! {
            (heading(&html! { (w.message) " " code { (m.id.to_string()) } }, &state(visit, &m.state)))
            @if let Some(held) = &m.held { p.notice.warn { (w.held) ": " (shown(held)) } }
            (all(visit, &deeds(visit, m)))
            div.columns {
                div {
                    (facts(visit, m))
                    (consumers(visit, m))
                    (headers(visit, m.headers.as_ref()))
                }
                (timeline(visit, events))
            }
            (of_message(visit, deliveries, attempts))
            (payload(visit, content))
        },
    )
}

fn facts(visit: &Visit, m: &Message) -> Markup {
    let w = visit.w;
    html! {
        section aria-labelledby="facts" {
            h2 #facts { (w.facts) }
            dl.facts {
                dt { (w.topic) } dd { (code(&m.topic)) }
                dt { (w.key) } dd { @if let Some(key) = &m.key { a href=(super::signs::address("/messages", &[("key", key)])) { (shown(key)) } } @else { (or_dash(None)) } }
                dt { (w.inserted) } dd { (time(visit, m.created_at)) }
                @if let Some(at) = m.not_before { dt { (w.not_before) } dd { (time(visit, at)) } }
                @if let Some(at) = m.released_at { dt { (w.released) } dd { (time(visit, at)) } }
                @if let Some(at) = m.sent_at { dt { (w.sent_last) } dd { (time(visit, at)) } }
                @if let Some(stream) = &m.stream { dt { (w.stream) } dd { (shown(stream)) " " @if let Some(n) = m.sequence { (w.sequence) " " (number(n)) } } }
                dt { (w.generation) } dd { (m.generation) }
                @if let Some(id) = m.tx_id { dt { (w.transaction) } dd { (transaction_link(id)) } }
                @if let Some(on) = &m.release_on { dt { (w.released_by) } dd { (shown(on)) } }
                @if let Some(key) = &m.dedup_key { dt { (w.dedup_key) } dd { (shown(key)) } }
                @if let Some(reason) = &m.reason { dt { (w.reason) } dd { (shown(reason)) } }
                @if let Some(trace) = trace_id(m.headers.as_ref()) { dt { (w.trace) } dd { code { (trace) } } }
                dt { (w.shard) } dd { (m.shard) }
                dt { (w.size) } dd { (bytes(m.bytes)) }
            }
        }
    }
}

fn consumers(visit: &Visit, m: &Message) -> Markup {
    let w = visit.w;
    if m.waits_for.is_empty() && m.received.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for part in &m.waits_for { (waiting(visit, part)) }
        @for receipt in &m.received {
            tr {
                th scope="row" data-label=(w.consumer) { (link(&receipt.consumer)) }
                td data-label=(w.state) { (chip("good", &html! { (w.ev_received) })) }
                td data-label=(w.about) { (time(visit, receipt.at)) }
            }
        }
    };
    html! {
        section aria-labelledby="parts" {
            h2 #parts { (w.consumers) }
            (table(w.consumers, &[w.consumer, w.state, w.about], &rows))
        }
    }
}

fn waiting(visit: &Visit, part: &Waiting) -> Markup {
    let w = visit.w;
    html! {
        tr {
            th scope="row" data-label=(w.consumer) { (link(&part.consumer)) }
            td data-label=(w.state) {
                @if part.state == "sent" { (chip("wait", &html! { (w.waits) })) } @else { (state(visit, &part.state)) }
            }
            td data-label=(w.about) {
                @if let Some(n) = part.sequence { (w.sequence) " " (number(n)) " " }
                @if part.tries > 0 { (told(w.sent_again_times, &[html! { (part.tries) }])) " " }
                @if let Some(reason) = &part.reason { (shown(reason)) }
            }
        }
    }
}

fn link(consumer: &str) -> Markup {
    html! { a href={ "/consumers/" (segment(consumer)) } { (shown(consumer)) } }
}

/// What its state allows.
fn deeds<'a>(visit: &'a Visit, m: &Message) -> Vec<Deed<'a>> {
    let w = visit.w;
    let deed = |name: &'static str, verb: &str, effect: &'static str, weight| Deed {
        role: Role::Operate,
        action: format!("/messages/{}/{verb}", m.id),
        name,
        effect: html! { (effect) },
        weight,
        why: Why::Optional,
        fields: html! {},
    };
    let mut all = Vec::new();
    if m.state == "dead" {
        let effect = if m.waits_for.is_empty() { w.resend_unsent_effect } else { w.resend_effect };
        all.push(deed(w.resend, "resend", effect, Weight::Light));
    }
    if ["ready", "prepared", "dead"].contains(&m.state.as_str()) {
        all.push(Deed { why: Why::Required, ..deed(w.discard, "discard", w.discard_effect, Weight::Heavy) });
    }
    if ["sent", "consumed"].contains(&m.state.as_str()) {
        let fields = html! {
            label.field {
                span { (w.consumer) }
                input name="consumer" required autocomplete="off" spellcheck="false" value=[m.received.first().map(|r| r.consumer.as_str())];
            }
            label.check { input type="checkbox" name="forget" value="yes"; span { (w.forget) } }
        };
        all.push(Deed { fields, ..deed(w.replay, "replay", w.replay_effect, Weight::Light) });
    }
    all
}
