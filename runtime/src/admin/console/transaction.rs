//! One transaction: what its checker said, what it holds, and a person's word on it.

use maud::{Markup, html};

use super::deeds::{Deed, Weight, Why, all};
use super::figures::time;
use super::frame::{Here, page};
use super::messages::message_table;
use super::shown::{digest, shown};
use super::signs::{decider, heading, segment, state};
use super::timeline::timeline;
use super::visit::{Visit, told};
use crate::access::Role;
use crate::store::views::{Event, Message, Transaction};

/// The page. `messages` are the first of those that it holds or held.
pub fn transaction(visit: &Visit, t: &Transaction, events: &[Event], messages: &[Message]) -> Markup {
    let w = visit.w;
    page(
        visit,
        Here::Transactions,
        &format!("{} {}", w.transaction, t.id),
        &html! {
            (heading(&html! { (w.transaction) " " code { (t.id.to_string()) } }, &state(visit, &t.state)))
            @if t.state == "in_doubt" { p.notice.bad { (w.in_doubt_advice) } }
            (all(visit, &deeds(visit, t)))
            div.columns {
                (facts(visit, t))
                (timeline(visit, events))
            }
            section aria-labelledby="messages" {
                h2 #messages { (w.messages) }
                @if messages.is_empty() { p.none { (w.holds_none) } } @else { (message_table(visit, messages)) }
                @if usize::try_from(t.messages).is_ok_and(|all| all > messages.len()) && !messages.is_empty() {
                    p.about { (told(w.some_of_them, &[html! { (messages.len()) }, html! { (t.messages) }])) }
                }
            }
        },
    )
}

fn facts(visit: &Visit, t: &Transaction) -> Markup {
    let w = visit.w;
    html! {
        section aria-labelledby="facts" {
            h2 #facts { (w.facts) }
            dl.facts {
                dt { (w.checker) } dd { a href={ "/plugins/" (segment(&t.checker)) } { (shown(&t.checker)) } }
                @if let Some(reference) = &t.reference { dt { (w.reference) } dd { (shown(reference)) } }
                dt { (w.begun) } dd { (time(visit, t.created_at)) }
                @if t.state == "prepared" { dt { (w.next_check) } dd { (time(visit, t.check_at)) } }
                dt { (w.checks) } dd { (t.checks) }
                dt { (w.unknowns) } dd { (t.unknowns) }
                @if let Some(verdict) = &t.verdict { dt { (w.verdict) } dd { (shown(verdict)) } }
                @if let Some(version) = &t.checked_by { dt { (w.plugin_version) } dd { (digest(version)) } }
                @if let Some(at) = t.decided_at { dt { (w.decided) } dd { (time(visit, at)) } }
                @if let Some(by) = &t.decided_by { dt { (w.decided_by) } dd { (decider(visit, by)) } }
                @if let Some(reason) = &t.reason { dt { (w.reason) } dd { (shown(reason)) } }
                dt { (w.messages) } dd { (t.messages) }
            }
        }
    }
}

fn deeds<'a>(visit: &'a Visit, t: &Transaction) -> Vec<Deed<'a>> {
    let w = visit.w;
    let deed = |name: &'static str, verb: &str, effect: &'static str, weight| Deed {
        role: Role::Operate,
        action: format!("/transactions/{}/{verb}", t.id),
        name,
        effect: told(effect, &[html! { b { (t.messages) } }]),
        weight,
        why: Why::Required,
        fields: html! {},
    };
    match t.state.as_str() {
        "in_doubt" => vec![
            deed(w.commit, "commit", w.commit_effect, Weight::Heavy),
            deed(w.roll_back, "rollback", w.rollback_effect, Weight::Heavy),
            deed(w.recheck, "recheck", w.recheck_effect, Weight::Light),
        ],
        "prepared" => vec![
            deed(w.commit, "commit", w.commit_effect, Weight::Heavy),
            deed(w.roll_back, "rollback", w.rollback_effect, Weight::Heavy),
        ],
        _ => Vec::new(),
    }
}
