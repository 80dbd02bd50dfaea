//! The first page: how it goes now, troubles first, and how it went.

use ::time::Duration;
use maud::{Markup, html};

use super::charts::{Window, charts};
use super::endpoints::place;
use super::figures::{count, number, rate, span, time};
use super::flow::flow;
use super::frame::{Here, page};
use super::shown::shown;
use super::signs::{chip, heading, message_link, table};
use super::visit::{Visit, told};
use crate::store::views::{Instance, Sample, Status, TroubledEndpoint};

/// A relay that sends has nothing older than this, whatever the load; what waits longer waits for something.
const OLD_S: f64 = 60.0;
/// A loss that is made good is told for a day.
const RECENT: Duration = Duration::hours(24);

/// The page.
pub fn overview(visit: &Visit, status: &Status, window: Window, samples: &[Sample]) -> Markup {
    page(
        visit,
        Here::Overview,
        visit.w.overview,
        &html! {
            (heading(&html! { (visit.w.overview) }, &live_sign(visit)))
            (live(visit, status))
            (charts(visit, window, samples))
        },
    )
}

/// Whether the page renews itself, which only a script can say.
pub fn live_sign(visit: &Visit) -> Markup {
    html! { p.live data-live-sign="" hidden data-on=(visit.w.live) data-off=(visit.w.not_live) { (visit.w.not_live) } }
}

/// What changes all the time.
pub fn live(visit: &Visit, status: &Status) -> Markup {
    html! {
        div data-live="/live" {
            (troubles(visit, status))
            (flow(visit, status))
            section aria-labelledby="instances" {
                h2 #instances { (visit.w.instances) }
                (instances_table(visit, &status.instances))
            }
        }
    }
}

/// What needs somebody, the worst first; or that nothing does.
pub fn troubles(visit: &Visit, status: &Status) -> Markup {
    let all = all_troubles(visit, status);
    html! {
        section.troubles aria-label=(visit.w.troubles) {
            // Only their number is read out: ages change all the time.
            p.unseen role="status" { (told(visit.w.so_many_troubles, &[html! { (all.len()) }])) }
            @if all.is_empty() {
                p.calm { (chip("good", &html! { (visit.w.fine) })) " " (visit.w.no_trouble) }
            } @else {
                ul { @for (kind, text) in &all { li class=(kind) { (text) } } }
            }
        }
    }
}

/// Each with its kind: `bad` needs somebody now, `warn` soon.
fn all_troubles(visit: &Visit, s: &Status) -> Vec<(&'static str, Markup)> {
    let w = visit.w;
    let mut all = Vec::new();
    if s.shards_without_owner > 0 {
        let parts = [html! { b { (number(s.shards_without_owner)) } }, html! { (number(s.shards)) }];
        all.push(("bad", html! { (told(w.trouble_shards, &parts)) " " a href="/instances" { (w.look) } }));
    }
    for instance in s.instances.iter().filter(|i| i.lease_s > 0.0) {
        if let Some(trouble) = &instance.trouble {
            all.push(("bad", html! { (shown(&instance.name)) ": " (shown(trouble)) }));
        }
    }
    for loss in s.losses.iter().filter(|loss| loss.shards_left > 0) {
        let parts =
            [shown(&loss.stream), shown(&loss.reason), html! { (number(loss.requeued)) }, html! { (loss.shards_left) }];
        all.push(("bad", told(w.trouble_loss, &parts)));
    }
    if let Some(oldest) = s.oldest_unsent_s.filter(|age| *age > OLD_S) {
        let parts = [html! { b { (span(w, oldest)) } }];
        all.push(("bad", html! { (told(w.trouble_oldest, &parts)) " " a href="/messages?state=ready" { (w.look) } }));
    }
    if s.in_doubt > 0 {
        let parts = [html! { b { (count(s.in_doubt)) } }];
        all.push((
            "bad",
            html! { (told(w.trouble_in_doubt, &parts)) " " a href="/transactions?state=in_doubt" { (w.decide) } },
        ));
    }
    if s.dead > 0 {
        let parts = [html! { b { (count(s.dead)) } }];
        all.push(("warn", html! { (told(w.trouble_dead, &parts)) " " a href="/dead" { (w.look) } }));
    }
    for endpoint in &s.endpoints {
        all.extend(troubled(visit, endpoint));
    }
    for hold in s.holds.iter().take(5) {
        let parts = [html! { (super::holds::kind(w, &hold.kind)) " " (shown(&hold.name)) }];
        let sentence = if hold.message_id.is_some() { w.trouble_parked } else { w.trouble_paused };
        all.push((
            "warn",
            html! {
                (told(sentence, &parts)) @if let Some(reason) = &hold.reason { ": " (shown(reason)) }
                @if let Some(id) = hold.message_id { " " (message_link(id)) } @else { " " a href="/holds" { (w.look) } }
            },
        ));
    }
    if s.holds.len() > 5 {
        all.push(("warn", html! { a href="/holds" { (told(w.more_holds, &[html! { (s.holds.len() - 5) }])) } }));
    }
    for loss in s.losses.iter().filter(|loss| loss.shards_left == 0 && visit.now - loss.noticed_at < RECENT) {
        let parts = [shown(&loss.stream), shown(&loss.reason), html! { (number(loss.requeued)) }];
        all.push(("past", html! { (told(w.past_loss, &parts)) " " (time(visit, loss.noticed_at)) }));
    }
    all
}

/// A line for an endpoint: the worst of what is wrong with it.
fn troubled(visit: &Visit, e: &TroubledEndpoint) -> Option<(&'static str, Markup)> {
    let (w, name) = (visit.w, shown(&e.name));
    let is_disabled = e.state == "disabled";
    let (kind, sentence) = match (is_disabled, e.given_up > 0, e.failing_since) {
        (true, ..) => ("bad", told(w.endpoint.trouble_disabled, &[name])),
        (false, true, _) => {
            ("warn", told(w.endpoint.trouble_given_up, &[name, html! { b { (given_up(e.given_up)) } }]))
        }
        (false, false, Some(at)) => {
            let since = span(w, (visit.now - at).as_seconds_f64());
            ("warn", told(w.endpoint.trouble_failing, &[name, html! { b { (since) } }]))
        }
        (false, false, None) => return None,
    };
    let look = format!("{}{}", place(&e.name), if e.given_up > 0 { "?state=given_up" } else { "" });
    let reason = e.reason.as_deref().filter(|_| is_disabled);
    Some((
        kind,
        html! { (sentence) @if let Some(reason) = reason { ": " (shown(reason)) } " " a href=(look) { (w.look) } },
    ))
}

/// The store counts to one more than a thousand.
fn given_up(n: i64) -> String {
    if n > 1_000 { format!("> {}", number(1_000)) } else { number(n) }
}

/// The processes.
pub fn instances_table(visit: &Visit, instances: &[Instance]) -> Markup {
    let w = visit.w;
    if instances.is_empty() {
        return super::signs::empty(
            w.no_instance,
            &html! { (told(w.no_instance_do, &[html! { code { "avouch run" } }])) },
        );
    }
    let columns = [w.name, w.version, w.lease, w.shards, w.state_sent, w.total, w.trouble];
    let rows = html! {
        @for i in instances {
            tr {
                th scope="row" data-label=(w.name) { (shown(&i.name)) }
                td data-label=(w.version) { (shown(&i.version)) }
                td data-label=(w.lease) {
                    @if i.lease_s > 0.0 { (chip("good", &html! { (span(w, i.lease_s)) })) } @else { (chip("bad", &html! { (w.lease_ended) })) }
                }
                td.n data-label=(w.shards) { (i.shards.len()) }
                td.n data-label=(w.state_sent) { (rate(i.sent_per_s)) (w.per_s) }
                td.n data-label=(w.total) { (number(i.sent_total)) }
                td data-label=(w.trouble) { (super::signs::or_dash(i.trouble.as_deref())) }
            }
        }
    };
    table(w.instances, &columns, &rows)
}
