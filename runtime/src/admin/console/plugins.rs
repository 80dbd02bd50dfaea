//! The plugins, and one of them: its versions, what it was granted, what it said, and which version answers.

use maud::{Markup, html};

use super::deeds::{Deed, Weight, Why, all, folded, hidden};
use super::figures::{bytes, number, span, time};
use super::frame::{Here, page};
use super::shown::{code, digest, shown};
use super::signs::{address, chip, empty, heading, or_dash, segment, table, transaction_link};
use super::visit::{Visit, told};
use crate::access::Role;
use crate::store::views::{Deployment, PluginLine};

/// All of them: the deployments, newest first, of which each plugin's current one is shown.
pub fn plugins(visit: &Visit, deployments: &[Deployment]) -> Markup {
    let w = visit.w;
    let mut current: Vec<_> = deployments.iter().filter(|d| d.is_current).collect();
    current.sort_by(|a, b| a.name.cmp(&b.name));
    page(
        visit,
        Here::Plugins,
        w.plugins,
        &html! {
            (heading(&html! { (w.plugins) }, &deploy(visit)))
            @if current.is_empty() {
                (empty(w.no_plugins, &told(w.no_plugins_do, &[html! { code { "avouch plugin new" } }, html! { code { "avouch plugin deploy" } }])))
            } @else {
                (table(w.plugins, &[w.name, w.version, w.plugin_version, w.grants, w.deployed, w.who, w.calls_a_day, w.plugin_errors, w.plugin_faults, w.plugin_took], &html! {
                    @for d in current {
                        tr data-open="" {
                            th scope="row" data-label=(w.name) { a href={ "/plugins/" (segment(&d.name)) } { (shown(&d.name)) } }
                            (version(visit, d))
                            (used(visit, d))
                        }
                    }
                }))
            }
        },
    )
}

fn version(visit: &Visit, d: &Deployment) -> Markup {
    let w = visit.w;
    html! {
        td data-label=(w.version) { @if d.digest.is_none() { (chip("bad", &html! { (w.removed) })) } @else { (or_dash(d.version.as_deref())) } }
        td data-label=(w.plugin_version) { @if let Some(hash) = &d.digest { (digest(hash)) } @else { (or_dash(None)) } }
        td data-label=(w.grants) { (grants(visit, d)) }
        td data-label=(w.deployed) { (time(visit, d.at)) }
        td data-label=(w.who) { (shown(&d.actor)) }
    }
}

/// The last 24 hours of this version.
fn used(visit: &Visit, d: &Deployment) -> Markup {
    let w = visit.w;
    let took =
        d.mean_ms.zip(d.max_ms).map(|(mean, max)| format!("{} / {}", span(w, mean / 1_000.0), span(w, max / 1_000.0)));
    html! {
        td.n data-label=(w.calls_a_day) { (number(d.calls)) }
        td.n data-label=(w.plugin_errors) { (number(d.errors)) }
        td.n data-label=(w.plugin_faults) { @if d.faults > 0 { (chip("bad", &html! { (number(d.faults)) })) } @else { (number(d.faults)) } }
        td.n data-label=(w.plugin_took) { (or_dash(took.as_deref())) }
    }
}

fn grants(visit: &Visit, d: &Deployment) -> Markup {
    let bindings = d.grants.get("bindings").and_then(|b| b.as_array()).map(Vec::as_slice).unwrap_or_default();
    let settings = d.grants.get("settings").and_then(|s| s.as_object());
    html! {
        @if d.digest.is_some() && bindings.is_empty() { span.none { (visit.w.nothing_granted) } }
        @for (i, binding) in bindings.iter().enumerate() { @if i > 0 { " " } (code(binding.as_str().unwrap_or_default())) }
        @for (name, value) in settings.into_iter().flatten() { " " (code(&format!("{name}={}", value.as_str().unwrap_or_default()))) }
    }
}

/// One of them. `rows_max` lines mean that there may be more.
pub fn plugin(visit: &Visit, name: &str, deployments: &[Deployment], lines: &[PluginLine], rows_max: usize) -> Markup {
    let w = visit.w;
    let current = deployments.iter().find(|d| d.is_current);
    page(
        visit,
        Here::Plugins,
        &format!("{} {name}", w.plugin),
        &html! {
            (heading(&html! { (w.plugin) " " (code(name)) }, &answers(visit, current)))
            @if current.is_some_and(|d| d.digest.is_some()) { (all(visit, &[remove(visit, name)])) }
            section aria-labelledby="versions" {
                h2 #versions { (w.versions) }
                (table(w.versions, &[w.deployed, w.who, w.version, w.plugin_version, w.size, w.grants, w.calls_a_day, w.plugin_errors, w.plugin_faults, w.plugin_took, w.action], &html! {
                    @for d in deployments { (deployment(visit, d, current)) }
                }))
            }
            (log(visit, name, lines, rows_max))
        },
    )
}

fn answers(visit: &Visit, current: Option<&Deployment>) -> Markup {
    let w = visit.w;
    match current.and_then(|d| d.digest.as_ref()) {
        Some(_) => chip("good", &html! { (w.answers) }),
        None => chip("bad", &html! { (w.nobody_answers) }),
    }
}

fn deployment(visit: &Visit, d: &Deployment, current: Option<&Deployment>) -> Markup {
    let w = visit.w;
    let answers_now = current.and_then(|c| c.digest.as_ref());
    html! {
        tr {
            th scope="row" data-label=(w.deployed) { (time(visit, d.at)) @if d.is_current { " " (chip("good", &html! { (w.current) })) } }
            td data-label=(w.who) { (shown(&d.actor)) }
            td data-label=(w.version) { @if d.digest.is_none() { (chip("bad", &html! { (w.removed) })) } @else { (or_dash(d.version.as_deref())) } }
            td data-label=(w.plugin_version) { @if let Some(hash) = &d.digest { (digest(hash)) } @else { (or_dash(None)) } }
            td.n data-label=(w.size) { @if let Some(size) = d.bytes { (bytes(size)) } }
            td data-label=(w.grants) { (grants(visit, d)) }
            (used(visit, d))
            td data-label=(w.action) {
                @if let Some(hash) = d.digest.as_ref().filter(|hash| Some(*hash) != answers_now) {
                    (folded(visit, &Deed {
                        role: Role::Admin,
                        action: format!("/plugins/{}/rollback", segment(&d.name)),
                        name: w.restore,
                        effect: html! { (w.restore_effect) },
                        weight: Weight::Light,
                        why: Why::Optional,
                        fields: hidden("to", hash),
                    }))
                }
            }
        }
    }
}

fn remove<'a>(visit: &'a Visit, name: &str) -> Deed<'a> {
    let w = visit.w;
    Deed {
        role: Role::Admin,
        action: format!("/plugins/{}/remove", segment(name)),
        name: w.remove,
        effect: html! { (w.remove_plugin_effect) },
        weight: Weight::Heavy,
        why: Why::Required,
        fields: html! {},
    }
}

fn log(visit: &Visit, name: &str, lines: &[PluginLine], rows_max: usize) -> Markup {
    let w = visit.w;
    html! {
        section aria-labelledby="log" {
            h2 #log { (w.log) }
            @if lines.is_empty() { p.none { (w.no_lines) } } @else {
                (table(w.log, &[w.when, w.level, w.plugin_version, w.transaction, w.line], &html! {
                    @for line in lines {
                        tr {
                            th scope="row" data-label=(w.when) { (time(visit, line.at)) }
                            td data-label=(w.level) { (level(visit, &line.level)) }
                            td data-label=(w.plugin_version) { @if let Some(hash) = &line.digest { (digest(hash)) } @else { (or_dash(None)) } }
                            td data-label=(w.transaction) { @if let Some(id) = line.tx_id { (transaction_link(id)) } @else { (or_dash(None)) } }
                            td.line data-label=(w.line) { (shown(&line.line)) }
                        }
                    }
                }))
            }
            @if let Some(last) = lines.last().filter(|_| lines.len() == rows_max) {
                p.more { a.button rel="next" href=(address(&format!("/plugins/{}", segment(name)), &[("before", &last.id.to_string())])) { (w.older) } }
            }
        }
    }
}

fn level(visit: &Visit, level: &str) -> Markup {
    match level {
        "fault" => chip("bad", &html! { (visit.w.fault) }),
        "error" => chip("bad", &html! { "error" }),
        "warn" => chip("warn", &html! { "warn" }),
        other => chip("past", &shown(other)),
    }
}

/// A file that is sent from here. Its manifest says what it is called.
fn deploy(visit: &Visit) -> Markup {
    let w = visit.w;
    if !visit.may(Role::Admin) {
        return html! {};
    }
    html! {
        details.deed {
            summary.button { (w.deploy) }
            form method="post" action="/plugins" enctype="multipart/form-data" {
                p { (w.deploy_effect) }
                label.field { span { (w.file) } input type="file" name="file" accept=".wasm" required; }
                label.field { span { (w.grants) " " small { (w.grants_hint) } } textarea name="grants" rows="3" placeholder="sql:orders" spellcheck="false" {} }
                label.field { span { (w.settings) " " small { (w.settings_hint) } } textarea name="settings" rows="2" placeholder="grace_s=30" spellcheck="false" {} }
                label.field { span { (w.why) " " small { (w.why_optional) } } input name="why" maxlength="500" autocomplete="off"; }
                button.primary { (w.deploy) }
            }
        }
    }
}
