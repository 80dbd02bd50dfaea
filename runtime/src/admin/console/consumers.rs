//! The consumers, and one of them: what it has not finished, who works on that, and what can be done.

use maud::{Markup, html};

use super::deeds::{Deed, Weight, Why, all, exact, folded, hidden, with_at_most};
use super::figures::{count, span, time};
use super::frame::{Here, page};
use super::holds::resume;
use super::shown::{code, shown};
use super::signs::{address, chip, empty, heading, message_link, or_dash, segment, state, table};
use super::visit::{Visit, told};
use crate::access::Role;
use crate::store::views::{Consumer, InboxRecord};

/// All of them.
pub fn consumers(visit: &Visit, all: &[Consumer]) -> Markup {
    let w = visit.w;
    page(
        visit,
        Here::Consumers,
        w.consumers,
        &html! {
            (heading(&html! { (w.consumers) }, &html! {}))
            @if all.is_empty() {
                (empty(w.no_consumers, &told(w.no_consumers_do, &[html! { code { "[consumer.NAME]" } }])))
            } @else {
                (table(w.consumers, &[w.name, w.state, w.topics, w.unfinished, w.oldest, w.state_pending, w.state_dead, w.receipt], &html! {
                    @for c in all { (row(visit, c)) }
                }))
            }
        },
    )
}

/// How much it has not finished; `≥` where what others have not finished was too much to look at all of it.
fn unfinished(c: &Consumer) -> String {
    let counted = count(c.unfinished);
    if c.is_least && !counted.starts_with('>') { format!("≥ {counted}") } else { counted }
}

fn row(visit: &Visit, c: &Consumer) -> Markup {
    let w = visit.w;
    html! {
        tr data-open="" {
            th scope="row" data-label=(w.name) { a href={ "/consumers/" (segment(&c.name)) } { (shown(&c.name)) } }
            td data-label=(w.state) { (sign(visit, c)) }
            td data-label=(w.topics) { (topics(c)) }
            td.n data-label=(w.unfinished) { (unfinished(c)) }
            td.n data-label=(w.oldest) { @if let Some(age) = c.oldest_s { (span(w, age)) } @else { (or_dash(None)) } }
            td.n data-label=(w.state_pending) { (count(c.pending)) }
            td.n data-label=(w.state_dead) { (count(c.dead)) }
            td data-label=(w.receipt) { (receipt(visit, c)) }
        }
    }
}

fn sign(visit: &Visit, c: &Consumer) -> Markup {
    let w = visit.w;
    html! {
        @if c.is_paused { (chip("warn", &html! { (w.paused) })) }
        @else if !c.is_required { (chip("past", &html! { (w.not_required) })) }
        @else { (chip("good", &html! { (w.required) })) }
    }
}

fn topics(c: &Consumer) -> Markup {
    html! { @for (i, topic) in c.topics.iter().enumerate() { @if i > 0 { ", " } (code(topic)) } @if c.topics.is_empty() { (or_dash(None)) } }
}

fn receipt(visit: &Visit, c: &Consumer) -> Markup {
    match c.receipt.as_str() {
        "inbox" => html! { (visit.w.receipt_inbox) },
        "ack" => html! { (visit.w.receipt_ack) },
        other => shown(other),
    }
}

/// One of them, with the records of what it has not finished.
pub fn consumer(visit: &Visit, c: &Consumer, records: &[InboxRecord]) -> Markup {
    let w = visit.w;
    page(
        visit,
        Here::Consumers,
        &format!("{} {}", w.consumer, c.name),
        &html! {
            (heading(&html! { (w.consumer) " " (code(&c.name)) }, &sign(visit, c)))
            div.deeds { (replay(visit, c)) @for deed in deeds(visit, c) { (folded(visit, &deed)) } }
            dl.facts {
                dt { (w.unfinished) } dd { a href=(address("/messages", &[("consumer", &c.name)])) { (unfinished(c)) } }
                dt { (w.oldest) } dd { @if let Some(age) = c.oldest_s { (span(w, age)) } @else { (or_dash(None)) } }
                dt { (w.state_pending) } dd { (count(c.pending)) }
                dt { (w.state_dead) } dd { a href=(address("/messages", &[("state", "dead"), ("consumer", &c.name)])) { (count(c.dead)) } }
                dt { (w.topics) } dd { (topics(c)) }
                dt { (w.stream) } dd { (or_dash(c.stream.as_deref())) }
                dt { (w.receipt) } dd { (receipt(visit, c)) }
                dt { (w.lease) } dd { (span(w, f64::from(c.lease_ms) / 1000.0)) }
                dt { (w.attempts) } dd { (told(w.at_most_so_many, &[html! { (c.attempts_max) }])) }
            }
            section aria-labelledby="records" {
                h2 #records { (w.records) }
                @if records.is_empty() { p.none { (w.no_records) } } @else {
                    (table(w.records, &[w.key, w.state, w.attempts, w.until_when, w.changed, w.reason, w.message, w.action], &html! {
                        @for record in records { (record_row(visit, record)) }
                    }))
                }
            }
        },
    )
}

fn record_row(visit: &Visit, r: &InboxRecord) -> Markup {
    let w = visit.w;
    let is_over = r.state == "running" && r.until.is_some_and(|until| until < visit.now);
    html! {
        tr {
            th scope="row" data-label=(w.key) { (code(&r.key)) }
            td data-label=(w.state) { (state(visit, &r.state)) @if is_over { " " (chip("warn", &html! { (w.lease_ended) })) } }
            td.n data-label=(w.attempts) { (r.attempts) }
            td data-label=(w.until_when) { @if let Some(at) = r.until { (time(visit, at)) } @else { (or_dash(None)) } }
            td data-label=(w.changed) { (time(visit, r.changed_at)) }
            td data-label=(w.reason) { (or_dash(r.reason.as_deref())) }
            td data-label=(w.message) { @if let Some(id) = r.message_id { (message_link(id)) } @else { (or_dash(None)) } }
            td data-label=(w.action) { (record_deeds(visit, r)) }
        }
    }
}

fn record_deeds(visit: &Visit, r: &InboxRecord) -> Markup {
    let w = visit.w;
    if r.state != "parked" && r.state != "rejected" {
        return html! {};
    }
    let deed = |name: &'static str, outcome: &str, effect: &'static str, weight| Deed {
        role: Role::Operate,
        action: format!("/consumers/{}/records", segment(&r.consumer)),
        name,
        effect: html! { (effect) },
        weight,
        why: Why::Required,
        fields: html! { (exact("key", &r.key)) (hidden("outcome", outcome)) },
    };
    all(
        visit,
        &[
            deed(w.try_again, "retry", w.try_again_effect, Weight::Light),
            deed(w.count_as_done, "done", w.count_as_done_effect, Weight::Heavy),
        ],
    )
}

fn deeds<'a>(visit: &'a Visit, c: &Consumer) -> Vec<Deed<'a>> {
    let w = visit.w;
    let hold = if c.is_paused {
        resume(visit, "consumer", &c.name)
    } else {
        Deed {
            role: Role::Operate,
            action: "/pause".to_owned(),
            name: w.pause,
            effect: html! { (w.pause_consumer_effect) },
            weight: Weight::Light,
            why: Why::Optional,
            fields: html! { (hidden("kind", "consumer")) (hidden("name", &c.name)) (hidden("next", &visit.place)) },
        }
    };
    let remove = Deed {
        role: Role::Admin,
        action: format!("/consumers/{}/remove", segment(&c.name)),
        name: w.remove,
        effect: html! { (told(w.remove_consumer_effect, &[html! { b { (unfinished(c)) } }])) },
        weight: Weight::Heavy,
        why: Why::Required,
        fields: with_at_most(visit, c.to_confirm()),
    };
    vec![hold, remove]
}

/// Which messages it is to get once more. It changes nothing: the page after this one says how many they are, and asks.
fn replay(visit: &Visit, c: &Consumer) -> Markup {
    let w = visit.w;
    if !visit.may(Role::Operate) {
        return html! {};
    }
    // What it does not consume would be sent to it too.
    let own = c.topics.first().filter(|topic| c.topics.len() == 1 && !topic.contains('*'));
    html! {
        details.deed {
            summary.button { (w.replay) "…" }
            form method="get" action={ "/consumers/" (segment(&c.name)) "/replay" } {
                p { (w.replay_range_effect) }
                label.field { span { (w.topic) } input name="topic" value=[own] placeholder="orders.>" autocomplete="off" spellcheck="false"; }
                label.field { span { (w.since) " (UTC)" } input name="since" required placeholder="2h, 2026-01-31 12:00" autocomplete="off"; }
                label.field { span { (w.until) " (UTC)" } input name="until" placeholder="2026-01-31 12:00" autocomplete="off"; }
                label.check { input type="checkbox" name="forget" value="yes"; span { (w.forget) } }
                button.primary { (w.count_first) }
            }
        }
    }
}
