//! What a consumer would get once more, before it does.

use maud::{Markup, html};

use super::deeds::{Deed, Weight, Why, hidden, open};
use super::figures::number;
use super::frame::{Here, page};
use super::messages::message_table;
use super::shown::{code, shown};
use super::signs::{empty, heading, or_dash, segment};
use super::visit::{Visit, told};
use crate::access::Role;
use crate::admin::bulk::Outcome;
use crate::store::views::Message;

/// Which messages: times as they are sent back, to the nanosecond.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Of this topic; of all of them if it is empty.
    pub topic: String,
    /// Inserted at this time or later.
    pub since: String,
    /// Inserted before this time.
    pub until: String,
    /// Whether the consumer's records of them are deleted.
    pub forgets: bool,
}

/// The page.
pub fn ask(visit: &Visit, consumer: &str, range: &Range, count: &Outcome, examples: &[Message]) -> Markup {
    let w = visit.w;
    let back = format!("/consumers/{}", segment(consumer));
    let matched = i64::try_from(count.matched).unwrap_or(i64::MAX);
    let name = w.replay_so_many.replace("{0}", &number(matched));
    page(
        visit,
        Here::Consumers,
        w.replay,
        &html! {
            (heading(&html! { (w.replay) " · " (code(consumer)) }, &html! {}))
            dl.facts {
                dt { (w.topic) } dd { (or_dash(Some(range.topic.as_str()).filter(|topic| !topic.is_empty()))) }
                dt { (w.since) } dd { (shown(&range.since)) }
                dt { (w.until) } dd { (shown(&range.until)) }
                @if range.forgets { dt { (w.records) } dd { (w.forget) } }
            }
            @if count.matched == 0 {
                (empty(w.replay_none, &html! { a href=(back) { (w.back) } }))
            } @else {
                @if count.has_more { p.notice.warn { (w.replay_more) } }
                (open(visit, &Deed {
                    role: Role::Operate,
                    action: format!("{back}/replay"),
                    name: &name,
                    effect: html! { (told(w.replay_many_effect, &[html! { b { (number(matched)) } }])) },
                    weight: Weight::Light,
                    why: Why::Optional,
                    fields: html! {
                        (hidden("topic", &range.topic))
                        (hidden("since", &range.since))
                        (hidden("until", &range.until))
                        @if range.forgets { (hidden("forget", "yes")) }
                        (hidden("confirm", &count.matched.to_string()))
                        @if let Some(counted) = count.counted { (hidden("counted", &counted.to_string())) }
                    },
                }))
                p { a href=(back) { (w.back) } }
                h2 { (w.examples) }
                (message_table(visit, examples))
            }
        },
    )
}
