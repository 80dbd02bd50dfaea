//! What happened, in order: each event with what is known of it.

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::figures::time;
use super::shown::{digest, shown};
use super::signs::{chip, decider, state};
use super::visit::Visit;
use crate::store::views::Event;

/// What is told of an event, in this order; what else its detail holds comes after.
const TOLD: [&str; 19] = [
    "topic",
    "checker",
    "reference",
    "verdict",
    "reason",
    "why",
    "by",
    "plugin",
    "from",
    "stream",
    "sequence",
    "generation",
    "tries",
    "attempts",
    "checks",
    "sent_at",
    "until",
    "next",
    "unknowns",
];

/// The section of a page.
pub fn timeline(visit: &Visit, events: &[Event]) -> Markup {
    html! {
        section aria-labelledby="timeline" {
            h2 #timeline { (visit.w.timeline) }
            @if events.is_empty() { p.none { (visit.w.no_events) } }
            ol.timeline { @for event in events { (one(visit, event)) } }
        }
    }
}

fn one(visit: &Visit, event: &Event) -> Markup {
    let w = visit.w;
    let kind = kind(event);
    html! {
        li class=(kind) {
            (time(visit, event.at))
            div.what {
                @if event.subject == "transaction" { span.of { (w.transaction) } " " }
                (name(visit, event))
                @if let Some(consumer) = &event.consumer { " " span.of { (w.consumer) " " (shown(consumer)) } }
                @if let Some(actor) = &event.actor { " " (w.done_by) " " (shown(actor)) }
                (detail(visit, &event.detail))
            }
        }
    }
}

/// How it looks: what went well, what went wrong, what is neither.
fn kind(event: &Event) -> &'static str {
    match event.what.as_str() {
        "received" | "consumed" | "committed" | "inbox_done" => "good",
        // Asked for by somebody: nothing went wrong.
        "missed" if event.actor.is_some() => "way",
        "dead" | "missed" | "attempt_failed" | "attempt_lost" | "in_doubt" | "inbox_rejected" | "inbox_parked" => "bad",
        "sent" | "sent_again" | "resent" | "inbox_running" => "way",
        _ => "past",
    }
}

fn name(visit: &Visit, event: &Event) -> Markup {
    let w = visit.w;
    let plain = match event.what.as_str() {
        "inserted" => w.ev_inserted,
        "released" => w.ev_released,
        "received" => w.ev_received,
        "missed" if event.actor.is_some() => w.state_pending,
        "missed" => w.ev_missed,
        "sent_again" => w.ev_sent_again,
        "resent" => w.ev_resent,
        "asked" => w.ev_asked,
        "asked_before" => w.ev_asked_before,
        "attempt_failed" => w.ev_attempt_failed,
        "attempt_lost" => w.ev_attempt_lost,
        "released_from" => w.ev_released_from,
        "ready" => w.ev_ready,
        what => {
            return match what.strip_prefix("inbox_") {
                Some(record) => html! { span.of { (w.record) } " " (state(visit, record)) },
                None => state(visit, what),
            };
        }
    };
    chip(kind(event), &html! { (plain) })
}

fn detail(visit: &Visit, detail: &Value) -> Markup {
    let Some(fields) = detail.as_object() else { return html! {} };
    let known = TOLD.iter().filter_map(|name| fields.get_key_value(*name));
    let other = fields.iter().filter(|(name, _)| !TOLD.contains(&name.as_str()));
    let told: Vec<_> = known.chain(other).filter(|(_, value)| !value.is_null()).collect();
    html! {
        @if !told.is_empty() {
            dl.detail { @for (name, value) in told { div { dt { (label(visit, name)) } dd { (field(visit, name, value)) } } } }
        }
    }
}

fn label(visit: &Visit, name: &str) -> Markup {
    let w = visit.w;
    let label = match name {
        "topic" => w.topic,
        "checker" => w.checker,
        "reference" => w.reference,
        "verdict" => w.verdict,
        "reason" => w.reason,
        "why" => w.why,
        "by" => w.decided_by,
        "plugin" => w.plugin_version,
        "from" => w.before_that,
        "stream" => w.stream,
        "sequence" => w.sequence,
        "generation" => w.generation,
        "tries" => w.tries,
        "attempts" => w.attempts,
        "attempt" => w.attempt,
        "key" => w.key,
        "since" => w.since,
        "checks" => w.checks,
        "sent_at" => w.sent_before,
        "until" => w.until_when,
        "next" => w.next_check,
        "unknowns" => w.unknowns,
        other => return shown(other),
    };
    html! { (label) }
}

fn field(visit: &Visit, name: &str, value: &Value) -> Markup {
    match (name, value) {
        ("by", Value::String(text)) => decider(visit, text),
        ("plugin", Value::String(text)) => digest(text),
        ("from", Value::String(text)) => state(visit, text),
        ("sent_at" | "until" | "next" | "since", Value::String(text)) => {
            OffsetDateTime::parse(text, &Rfc3339).map_or_else(|_| shown(text), |at| time(visit, at))
        }
        (_, Value::String(text)) => shown(text),
        (_, other) => shown(&other.to_string()),
    }
}
