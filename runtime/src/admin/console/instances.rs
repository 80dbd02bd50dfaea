//! The processes, and which shard is whose.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::figures::{number, time};
use super::frame::{Here, page};
use super::overview::{instances_table, live_sign};
use super::shown::{plain, shown};
use super::signs::{chip, heading, table};
use super::visit::{Visit, told};
use crate::store::views::Status;

/// The page.
pub fn instances(visit: &Visit, status: &Status) -> Markup {
    let w = visit.w;
    page(
        visit,
        Here::Instances,
        w.instances,
        &html! {
            (heading(&html! { (w.instances) }, &live_sign(visit)))
            (live(visit, status))
        },
    )
}

/// What changes.
pub fn live(visit: &Visit, status: &Status) -> Markup {
    let w = visit.w;
    html! {
        div data-live="/instances/live" {
            (instances_table(visit, &status.instances))
            section aria-labelledby="shards" {
                h2 #shards { (w.shards) }
                (shards(visit, status))
            }
            section aria-labelledby="losses" {
                h2 #losses { (w.losses) }
                (losses(visit, status))
            }
        }
    }
}

fn shards(visit: &Visit, status: &Status) -> Markup {
    let w = visit.w;
    let mut owners = BTreeMap::new();
    for (at, instance) in status.instances.iter().enumerate().filter(|(_, i)| i.lease_s > 0.0) {
        owners.extend(instance.shards.iter().map(|shard| (i64::from(*shard), (at, instance.name.as_str()))));
    }
    html! {
        @if status.shards_without_owner > 0 {
            p { (chip("bad", &html! { (w.warning) })) " "
                (told(w.trouble_shards, &[html! { b { (number(status.shards_without_owner)) } }, html! { (number(status.shards)) }])) }
        }
        ul.shards {
            @for shard in 0..status.shards {
                @match owners.get(&shard) {
                    Some((at, name)) => li class={ "owner o" (at % 6) } title=(plain(name)) { b { (shard) } " " (shown(name)) },
                    None => li.owner.nobody { b { (shard) } " " (w.nobody) },
                }
            }
        }
    }
}

fn losses(visit: &Visit, status: &Status) -> Markup {
    let w = visit.w;
    if status.losses.is_empty() {
        return html! { p.none { (w.no_losses) } };
    }
    let rows = html! {
        @for loss in &status.losses {
            tr {
                th scope="row" data-label=(w.when) { (time(visit, loss.noticed_at)) }
                td data-label=(w.stream) { (shown(&loss.stream)) }
                td data-label=(w.reason) { (shown(&loss.reason)) }
                td.n data-label=(w.sent_again) { (number(loss.requeued)) }
                td.n data-label=(w.shards_left) { (number(loss.shards_left)) }
            }
        }
    };
    table(w.losses, &[w.when, w.stream, w.reason, w.sent_again, w.shards_left], &rows)
}
