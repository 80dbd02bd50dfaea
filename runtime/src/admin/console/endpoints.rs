//! The endpoints, and one of them: how it is told, what it was not told, and what can be done about it.

use maud::{Markup, html};

use super::deeds::{Deed, Weight, Why, folded, with_at_most};
use super::deliveries::{Shelf, shelves};
use super::figures::{number, span, time};
use super::frame::{Here, page};
use super::shown::{code, shown};
use super::signs::{chip, empty, heading, or_dash, segment, table};
use super::visit::{Visit, told};
use crate::access::Role;
use crate::store::views::{Delivery, Endpoint};

/// The store counts no further.
const COUNT_MAX: i64 = 10_000;

/// All of them.
pub fn endpoints(visit: &Visit, all: &[Endpoint]) -> Markup {
    let e = visit.w.endpoint;
    page(
        visit,
        Here::Endpoints,
        e.endpoints,
        &html! {
            (heading(&html! { (e.endpoints) }, &html! {}))
            p.intro { (e.intro) }
            @if visit.has_endpoints { (create(visit)) }
            @if !all.is_empty() {
                (list(visit, all))
            } @else if visit.has_endpoints {
                (empty(e.none, &told(e.none_do, &[html! { code { "avouch endpoint create" } }, html! { code { "[endpoint.NAME]" } }])))
            } @else {
                (empty(e.off, &told(e.off_do, &[html! { code { "notify.topics" } }])))
            }
        },
    )
}

fn list(visit: &Visit, all: &[Endpoint]) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    let columns = [w.name, w.state, e.tenant, w.topics, e.waiting, e.given_up, e.failing_since, e.next_try];
    let rows = html! {
        @for one in all {
            tr data-open="" {
                th scope="row" data-label=(w.name) { (link(&one.name)) }
                td data-label=(w.state) { (sign(visit, one)) }
                td data-label=(e.tenant) { (or_dash(Some(one.tenant.as_str()).filter(|tenant| !tenant.is_empty()))) }
                td data-label=(w.topics) { (topics(&one.topics)) }
                td.n data-label=(e.waiting) { (counted(one.waiting)) }
                td.n data-label=(e.given_up) { (counted(one.given_up)) }
                td data-label=(e.failing_since) { @if let Some(at) = one.failing_since { (time(visit, at)) } @else { (or_dash(None)) } }
                td data-label=(e.next_try) { @if let Some(at) = one.next_at { (time(visit, at)) } @else { (or_dash(None)) } }
            }
        }
    };
    table(e.endpoints, &columns, &rows)
}

/// Its name as a link to it.
pub fn link(name: &str) -> Markup {
    html! { a href=(place(name)) { (shown(name)) } }
}

/// The address of its page.
pub fn place(name: &str) -> String {
    format!("/endpoints/{}", segment(name))
}

fn sign(visit: &Visit, e: &Endpoint) -> Markup {
    let w = visit.w.endpoint;
    html! {
        @if e.state != "enabled" { (chip("bad", &html! { (w.disabled) })) }
        @else if e.failing_since.is_some() { (chip("warn", &html! { (w.failing) })) }
        @else { (chip("good", &html! { (w.enabled) })) }
    }
}

fn topics(topics: &[String]) -> Markup {
    html! { @for (i, topic) in topics.iter().enumerate() { @if i > 0 { ", " } (code(topic)) } }
}

fn counted(n: i64) -> String {
    if n >= COUNT_MAX { format!("≥ {}", number(COUNT_MAX)) } else { number(n) }
}

/// One of them, with a part of what it is told.
pub fn endpoint(visit: &Visit, one: &Endpoint, shelf: Shelf, deliveries: &[Delivery], rows_max: usize) -> Markup {
    let e = visit.w.endpoint;
    page(
        visit,
        Here::Endpoints,
        &format!("{} {}", e.endpoint, one.name),
        &html! {
            (heading(&html! { (e.endpoint) " " (code(&one.name)) }, &sign(visit, one)))
            @if let Some(reason) = &one.reason { p.notice.warn { (shown(reason)) } }
            div.deeds { (again(visit, one)) @for deed in deeds(visit, one) { (folded(visit, &deed)) } }
            (facts(visit, one))
            (shelves(visit, &one.name, shelf, deliveries, rows_max))
        },
    )
}

fn facts(visit: &Visit, one: &Endpoint) -> Markup {
    let (w, e, s) = (visit.w, visit.w.endpoint, &one.settings);
    html! {
        dl.facts {
            dt { (e.waiting) } dd { (counted(one.waiting)) }
            dt { (e.given_up) } dd { (counted(one.given_up)) }
            @if let Some(at) = one.failing_since { dt { (e.failing_since) } dd { (time(visit, at)) } }
            @if let Some(at) = one.next_at { dt { (e.next_try) } dd { (time(visit, at)) } }
            @if !one.tenant.is_empty() { dt { (e.tenant) } dd { (shown(&one.tenant)) } }
            dt { (e.address) } dd { (code(&one.url)) }
            dt { (w.topics) } dd { (topics(&one.topics)) }
            @if !one.filter.is_empty() {
                dt { (e.filter) } dd { @for (name, value) in &one.filter { (code(&format!("{name}={value}"))) " " } }
            }
            dt { (e.order) } dd { (if one.ordered { e.in_order } else { e.in_no_order }) }
            dt { (e.schedule) } dd { (schedule(visit, one)) }
            dt { (e.one_try) } dd {
                (told(e.one_try_is, &[html! { (span(w, f64::from(s.timeout_ms) / 1000.0)) }, html! { (s.in_flight_max) }]))
            }
            @if let Some(rate) = s.rate_per_s { dt { (e.rate) } dd { (told(e.rate_is, &[html! { (rate) }])) } }
            @if let Some(plugin) = &s.plugin { dt { (w.plugin) } dd { (shown(plugin)) } }
            dt { (e.made_by) } dd { (if one.origin == "file" { e.by_file } else { e.by_person }) ", " (time(visit, one.created_at)) }
            dt { (w.changed) } dd { (time(visit, one.changed_at)) }
        }
    }
}

fn schedule(visit: &Visit, one: &Endpoint) -> Markup {
    let (e, s) = (visit.w.endpoint, &one.settings);
    if s.schedule_s.is_empty() {
        return html! { (e.schedule_once) };
    }
    let pauses: Vec<_> = s.schedule_s.iter().map(|pause| span(visit.w, f64::from(*pause))).collect();
    told(e.schedule_is, &[html! { (pauses.join(", ")) }, html! { (s.jitter_percent) }])
}

fn deeds<'a>(visit: &'a Visit, one: &Endpoint) -> Vec<Deed<'a>> {
    let (w, e) = (visit.w, visit.w.endpoint);
    let deed = |role, name: &'static str, verb: &str, effect: &'static str| Deed {
        role,
        action: format!("{}/{verb}", place(&one.name)),
        name,
        effect: html! { (effect) },
        weight: Weight::Light,
        why: Why::Optional,
        fields: html! {},
    };
    let mut all = Vec::new();
    if one.state == "enabled" {
        all.push(deed(Role::Operate, e.ping, "ping", e.ping_effect));
        all.push(deed(Role::Operate, e.disable, "disable", e.disable_effect));
    } else {
        all.push(deed(Role::Operate, e.enable, "enable", e.enable_effect));
    }
    if one.origin == "api" {
        all.push(Deed { fields: signature(visit), ..deed(Role::Admin, e.rotate, "secret", e.rotate_effect) });
    }
    all.push(Deed {
        effect: told(e.remove_effect, &[html! { b { (counted(one.waiting)) } }]),
        weight: Weight::Heavy,
        why: Why::Required,
        fields: with_at_most(visit, one.waiting),
        ..deed(Role::Admin, w.remove, "remove", "")
    });
    all
}

/// Since when what was given up is to be told again. It changes nothing: the page after this one says how many they are, and asks.
fn again(visit: &Visit, one: &Endpoint) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    if !visit.may(Role::Operate) || one.given_up == 0 {
        return html! {};
    }
    html! {
        details.deed {
            summary.button { (e.again_title) }
            form method="get" action={ (place(&one.name)) "/resend" } {
                p { (e.again_since) }
                label.field { span { (w.since) " (UTC)" } input name="since" required placeholder="2h, 2026-01-31 12:00" autocomplete="off"; }
                button.primary { (w.count_first) }
            }
        }
    }
}

/// Which sort of secret is made.
fn signature(visit: &Visit) -> Markup {
    let e = visit.w.endpoint;
    html! {
        label.field {
            span { (e.signature) }
            select name="signature" { option value="v1" { (e.signature_shared) } option value="v1a" { (e.signature_pair) } }
        }
    }
}

/// An endpoint that is made here.
fn create(visit: &Visit) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    let fields = html! {
        label.field { span { (w.name) } input name="name" required maxlength="64" pattern="[A-Za-z0-9_\\-]+" autocomplete="off" spellcheck="false"; }
        label.field { span { (e.address) } input name="url" type="url" required maxlength="2048" placeholder="https://" autocomplete="off"; }
        label.field { span { (w.topics) " " small { (e.topics_hint) } } textarea name="topics" rows="2" required placeholder="payments.settled" spellcheck="false" {} }
        label.field { span { (e.filter) " " small { (e.filter_hint) } } textarea name="filter" rows="2" placeholder="merchant=17" spellcheck="false" {} }
        label.field { span { (e.tenant) } input name="tenant" maxlength="128" autocomplete="off"; }
        label.field { span { (e.schedule) " " small { (e.schedule_hint) } } input name="schedule" placeholder="60, 300, 1800" autocomplete="off"; }
        label.field { span { (w.plugin) } input name="plugin" autocomplete="off" spellcheck="false"; }
        label.check { input type="checkbox" name="ordered" value="yes"; span { (e.ordered) } }
        (signature(visit))
    };
    let deed = Deed {
        role: Role::Admin,
        action: "/endpoints".to_owned(),
        name: e.create,
        effect: html! { (e.create_effect) },
        weight: Weight::Light,
        why: Why::Optional,
        fields,
    };
    html! { div.deeds { (folded(visit, &deed)) } }
}

/// What its receiver verifies with: this page is the only place where it is told.
pub fn verifies(visit: &Visit, name: &str, verifies: &str) -> Markup {
    let (w, e) = (visit.w, visit.w.endpoint);
    page(
        visit,
        Here::Endpoints,
        e.secret_title,
        &html! {
            (heading(&html! { (e.endpoint) " " (code(name)) }, &html! {}))
            p.notice.warn role="status" { (told(e.secret_once, &[code(name)])) }
            dl.facts { dt { (e.secret_title) } dd #verifies { (code(verifies)) } }
            p { a.button href=(place(name)) { (w.go_on) } }
        },
    )
}
