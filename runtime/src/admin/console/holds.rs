//! What is held: paused by somebody, or parked behind a dead message. Here it is paused, and goes on.

use maud::{Markup, html};

use super::deeds::{Deed, Weight, Why, exact, folded, hidden};
use super::figures::time;
use super::frame::{Here, page};
use super::shown::shown;
use super::signs::{chip, empty, heading, message_link, or_dash, table};
use super::visit::{Visit, told};
use super::words::Words;
use crate::access::Role;
use crate::store::views::Hold;

/// The page.
pub fn holds(visit: &Visit, holds: &[Hold]) -> Markup {
    let w = visit.w;
    page(
        visit,
        Here::Holds,
        w.holds,
        &html! {
            (heading(&html! { (w.holds) }, &pause(visit)))
            p.intro { (w.holds_intro) }
            @if holds.is_empty() {
                (empty(w.no_holds, &html! { (w.no_holds_do) }))
            } @else {
                (table(w.holds, &[w.kind, w.name, w.why, w.since, w.action], &html! { @for hold in holds { (row(visit, hold)) } }))
            }
        },
    )
}

/// topic, key or consumer.
pub fn kind(w: &Words, kind: &str) -> Markup {
    match kind {
        "topic" => html! { (w.topic) },
        "key" => html! { (w.key) },
        "consumer" => html! { (w.consumer) },
        other => shown(other),
    }
}

/// The form that lets it go on.
pub fn resume<'a>(visit: &'a Visit, kind: &str, name: &str) -> Deed<'a> {
    Deed {
        role: Role::Operate,
        action: "/resume".to_owned(),
        name: visit.w.resume,
        effect: html! { (visit.w.resume_effect) },
        weight: Weight::Light,
        why: Why::Optional,
        fields: html! { (hidden("kind", kind)) (exact("name", name)) (hidden("next", &visit.place)) },
    }
}

fn row(visit: &Visit, hold: &Hold) -> Markup {
    let w = visit.w;
    html! {
        tr {
            td data-label=(w.kind) { (kind(w, &hold.kind)) }
            th scope="row" data-label=(w.name) { (shown(&hold.name)) }
            td data-label=(w.why) {
                @if let Some(id) = hold.message_id {
                    (chip("bad", &html! { (w.state_parked) })) " " (told(w.parked_behind, &[message_link(id)])) " "
                } @else {
                    (chip("warn", &html! { (w.paused) })) " "
                }
                (or_dash(hold.reason.as_deref()))
            }
            td data-label=(w.since) { (time(visit, hold.created_at)) }
            td data-label=(w.action) {
                @if let Some(id) = hold.message_id {
                    a href={ "/messages/" (id.to_string()) } { (w.look) }
                } @else {
                    (folded(visit, &resume(visit, &hold.kind, &hold.name)))
                }
            }
        }
    }
}

fn pause(visit: &Visit) -> Markup {
    let w = visit.w;
    folded(
        visit,
        &Deed {
            role: Role::Operate,
            action: "/pause".to_owned(),
            name: w.pause,
            effect: html! { (w.pause_effect) },
            weight: Weight::Light,
            why: Why::Optional,
            fields: html! {
                label.field {
                    span { (w.kind) }
                    select name="kind" {
                        option value="topic" { (w.topic) }
                        option value="key" { (w.key) }
                        option value="consumer" { (w.consumer) }
                    }
                }
                label.field { span { (w.name) } input name="name" required maxlength="1024" autocomplete="off"; }
                (hidden("next", "/holds"))
            },
        },
    )
}
