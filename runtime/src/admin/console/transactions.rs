//! Transactions: those that a person must decide first, then those of lately.

use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::figures::{number, time};
use super::frame::{Here, page};
use super::shown::shown;
use super::signs::{address, empty, heading, or_dash, segment, state, table, transaction_link};
use super::visit::{Visit, told};
use crate::store::views::Transaction;

/// What the form sends.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// One state; all of them if it is empty.
    pub state: String,
    /// One checker.
    pub checker: String,
    /// Those before this one.
    pub before: Option<Uuid>,
}

/// The states that it may name.
pub const STATES: [&str; 4] = ["in_doubt", "prepared", "committed", "rolled_back"];

impl Filter {
    /// The states that are looked for.
    pub fn states(&self) -> Vec<String> {
        match STATES.iter().find(|state| **state == self.state) {
            Some(state) => vec![(*state).to_owned()],
            None => STATES[1..].iter().map(|state| (*state).to_owned()).collect(),
        }
    }

    /// The checker that is looked for.
    pub fn checker(&self) -> Option<&str> {
        Some(self.checker.trim()).filter(|checker| !checker.is_empty())
    }

    /// Whether those in doubt stand above the others: on the first page, unless one state is asked for.
    pub fn has_doubts_first(&self) -> bool {
        !STATES.contains(&self.state.as_str()) && self.before.is_none()
    }
}

/// The page: those in doubt, and whether there are more of them; the others, and before which there may be more of them.
pub fn transactions(
    visit: &Visit,
    filter: &Filter,
    (in_doubt, has_more): (&[Transaction], bool),
    others: &[Transaction],
    next: Option<Uuid>,
) -> Markup {
    let w = visit.w;
    page(
        visit,
        Here::Transactions,
        w.transactions,
        &html! {
            (heading(&html! { (w.transactions) }, &html! {}))
            (form(visit, filter))
            @if filter.has_doubts_first() {
                section aria-labelledby="doubts" {
                    h2 #doubts { (w.state_in_doubt) }
                    @if in_doubt.is_empty() {
                        p.none { (w.no_doubts) }
                    } @else {
                        p.intro { (w.doubts_intro) }
                        (transaction_table(visit, in_doubt))
                        @if has_more {
                            p.more { a.button href=(address("/transactions", &[("state", "in_doubt"), ("checker", &filter.checker)])) { (w.all_of_them) } }
                        }
                    }
                }
                h2 { (w.lately) }
            }
            @if others.is_empty() && next.is_some() {
                (empty(w.nothing_here, &html! { (w.nothing_here_do) }))
            } @else if others.is_empty() {
                (empty(w.no_transactions, &told(w.no_transactions_do, &[html! { code { "avouch.prepare" } }])))
            } @else {
                (transaction_table(visit, others))
            }
            @if let Some(before) = next.map(|id| id.to_string()) {
                p.more {
                    a.button rel="next" href=(address("/transactions", &[("state", &filter.state), ("checker", &filter.checker), ("before", &before)])) { (w.older) }
                }
            }
        },
    )
}

fn form(visit: &Visit, filter: &Filter) -> Markup {
    let w = visit.w;
    let names = [w.state_in_doubt, w.state_prepared, w.state_committed, w.state_rolled_back];
    html! {
        form.search method="get" action="/transactions" role="search" {
            label {
                span { (w.state) }
                select name="state" {
                    option value="" { (w.any) }
                    @for (state, name) in STATES.iter().zip(names) { option value=(state) selected[filter.state == *state] { (name) } }
                }
            }
            label { span { (w.checker) } input #search name="checker" value=(filter.checker) autocomplete="off" spellcheck="false"; }
            div.buttons { button.primary { (w.search) } a.button.plain href="/transactions" { (w.clear) } }
        }
    }
}

fn transaction_table(visit: &Visit, all: &[Transaction]) -> Markup {
    let w = visit.w;
    let rows = html! {
        @for t in all {
            tr data-open="" {
                th scope="row" data-label=(w.transaction) { (transaction_link(t.id)) }
                td data-label=(w.state) { (state(visit, &t.state)) }
                td data-label=(w.checker) { a href={ "/plugins/" (segment(&t.checker)) } { (shown(&t.checker)) } }
                td data-label=(w.reference) { (or_dash(t.reference.as_deref())) }
                td data-label=(w.begun) { (time(visit, t.created_at)) }
                td.n data-label=(w.messages) { (t.messages) }
                td.n data-label=(w.checks) { (number(i64::from(t.checks))) }
                td data-label=(w.about) { (or_dash(t.reason.as_deref().or(t.verdict.as_deref()))) }
            }
        }
    };
    let columns = [w.transaction, w.state, w.checker, w.reference, w.begun, w.messages, w.checks, w.about];
    table(w.transactions, &columns, &rows)
}
