//! Who did what, and why.

use maud::{Markup, html};

use super::figures::time;
use super::frame::{Here, page};
use super::shown::shown;
use super::signs::{empty, heading, message_link, or_dash, table, transaction_link};
use super::visit::Visit;
use crate::store::views::Audited;

/// The page. `rows_max` of them mean that there may be more.
pub fn audit(visit: &Visit, done: &[Audited], rows_max: usize) -> Markup {
    let w = visit.w;
    let rows = html! { @for one in done { (row(visit, one)) } };
    page(
        visit,
        Here::Audit,
        w.audit,
        &html! {
            (heading(&html! { (w.audit) }, &html! {}))
            @if done.is_empty() {
                (empty(w.no_audit, &html! { (w.no_audit_do) }))
            } @else {
                (table(w.audit, &[w.when, w.who, w.action, w.subject, w.detail, w.why], &rows))
            }
            @if let Some(last) = done.last().filter(|_| done.len() == rows_max) {
                p.more { a.button rel="next" href={ "/audit?before=" (last.id) } { (w.older) } }
            }
        },
    )
}

fn row(visit: &Visit, one: &Audited) -> Markup {
    let w = visit.w;
    html! {
        tr {
            td data-label=(w.when) { (time(visit, one.at)) }
            th scope="row" data-label=(w.who) { (shown(&one.actor)) }
            td data-label=(w.action) { (shown(&one.action)) }
            td data-label=(w.subject) { (subject(one)) }
            td data-label=(w.detail) { (or_dash(one.detail.as_deref().filter(|detail| Some(*detail) != one.why.as_deref()))) }
            td data-label=(w.why) { (or_dash(one.why.as_deref())) }
        }
    }
}

/// A message's or a transaction's id leads there.
fn subject(one: &Audited) -> Markup {
    match one.subject.parse() {
        Ok(id) if one.action.contains("transaction") => transaction_link(id),
        Ok(id) => message_link(id),
        Err(_) => shown(&one.subject),
    }
}
