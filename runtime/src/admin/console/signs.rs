//! Signs that recur: states as chips, places to go on, pages with nothing to show.

use maud::{Markup, html};
use uuid::Uuid;

use super::shown::shown;
use super::visit::Visit;

/// A state: of a message, a transaction, a consumer's record, a consumer's part. Words tell it, colours only help.
pub fn state(visit: &Visit, state: &str) -> Markup {
    let w = visit.w;
    let (kind, name) = match state {
        "prepared" => ("wait", w.state_prepared),
        "ready" => ("wait", w.state_ready),
        "pending" => ("wait", w.state_pending),
        "sent" => ("way", w.state_sent),
        "running" => ("way", w.state_running),
        "waiting" => ("wait", w.state_waiting),
        "consumed" => ("good", w.state_consumed),
        "done" => ("good", w.state_done),
        "committed" => ("good", w.state_committed),
        "rolled_back" => ("past", w.state_rolled_back),
        "cancelled" => ("past", w.state_cancelled),
        "discarded" => ("past", w.state_discarded),
        "dead" => ("bad", w.state_dead),
        "rejected" => ("bad", w.state_rejected),
        "parked" => ("bad", w.state_parked),
        "in_doubt" => ("bad", w.state_in_doubt),
        _ => return chip("past", &shown(state)),
    };
    chip(kind, &html! { (name) })
}

/// Who decided a transaction.
pub fn decider(visit: &Visit, by: &str) -> Markup {
    let w = visit.w;
    match by {
        "producer" => html! { (w.by_producer) },
        "checker" => html! { (w.by_checker) },
        "operator" => html! { (w.by_operator) },
        other => shown(other),
    }
}

/// A word in a box: `good`, `bad`, `warn`, `wait`, `way` or `past`.
pub fn chip(kind: &str, text: &Markup) -> Markup {
    html! { span class={ "chip " (kind) } { (text) } }
}

/// A message's id as a link to it.
pub fn message_link(id: Uuid) -> Markup {
    let id = id.to_string();
    html! { a.id href={ "/messages/" (id) } { code { (id) } } }
}

/// A transaction's.
pub fn transaction_link(id: Uuid) -> Markup {
    let id = id.to_string();
    html! { a.id href={ "/transactions/" (id) } { code { (id) } } }
}

/// Nothing is here, and what to do.
pub fn empty(title: &str, advice: &Markup) -> Markup {
    html! { div.empty { p.title { (title) } p { (advice) } } }
}

/// A text that may be missing.
pub fn or_dash(text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { (shown(text)) } @else { span.none { "–" } } }
}

/// A heading with what stands beside it.
pub fn heading(title: &Markup, beside: &Markup) -> Markup {
    html! { div.heading { h1 { (title) } (beside) } }
}

/// A table that scrolls inside of itself on narrow screens. Cells say by `data-label` what they are when rows become cards.
pub fn table(label: &str, columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div.table role="group" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// A path and its query: values are encoded, empty ones left out.
pub fn address(path: &str, query: &[(&str, &str)]) -> String {
    let given: Vec<_> = query.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
    exact_address(path, &given)
}

/// The same where an empty value means something.
pub fn exact_address(path: &str, query: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (i, (name, value)) in query.iter().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.push_str(name);
        out.push('=');
        out.extend(percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC));
    }
    out
}

/// One segment of a path.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_any_text() {
        let at = address("/messages", &[("key", "a&b=c #?/ü"), ("topic", ""), ("state", "dead")]);
        assert_eq!(at, "/messages?key=a%26b%3Dc%20%23%3F%2F%C3%BC&state=dead");
        assert_eq!(exact_address("/dead/resend", &[("topic", "a"), ("failure", "")]), "/dead/resend?topic=a&failure=");
        assert_eq!(segment("../x"), "%2E%2E%2Fx");
    }
}
