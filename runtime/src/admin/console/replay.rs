//! What a consumer would get once more, before it does.

use maud::{Markup, html};
use time::OffsetDateTime;
use uuid::Uuid;

use super::bulk::written;
use super::deeds::{Deed, Weight, Why, hidden, open};
use super::figures::{number, time};
use super::frame::{Here, page};
use super::messages::message_table;
use super::shown::code;
use super::signs::{address, empty, heading, message_link, or_dash, segment};
use super::visit::{Visit, told};
use crate::access::Role;
use crate::admin::bulk::Outcome;
use crate::store::views::Message;

/// Which messages.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// Of this topic; of all of them if it is empty.
    pub topic: String,
    /// Inserted at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Inserted before this time.
    pub until: Option<OffsetDateTime>,
    /// Behind this one: those before it were replayed just now.
    pub after: Option<Uuid>,
    /// Whether the consumer's records of them are deleted.
    pub forgets: bool,
}

impl Range {
    /// As it is sent back: times to the nanosecond.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let [since, until] = [self.since, self.until].map(|at| at.map(written).unwrap_or_default());
        let mut fields = vec![("topic", self.topic.clone()), ("since", since), ("until", until)];
        fields.extend(self.after.map(|id| ("after", id.to_string())));
        fields.extend(self.forgets.then(|| ("forget", "yes".to_owned())));
        fields
    }

    /// Where the page that asks is, beside this consumer's.
    pub fn address(&self, consumer: &str) -> String {
        let fields = self.fields();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        address(&format!("{consumer}/replay"), &fields)
    }
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
                dt { (w.since) } dd { @if let Some(at) = range.since { (time(visit, at)) } @else { (or_dash(None)) } }
                dt { (w.until) } dd { @if let Some(at) = range.until { (time(visit, at)) } @else { (or_dash(None)) } }
                @if let Some(id) = range.after { dt { (w.behind) } dd { (message_link(id)) } }
                @if range.forgets { dt { (w.records) } dd { (w.forget) } }
            }
            @if count.matched == 0 {
                @match count.next {
                    Some(next) => (empty(w.nothing_here, &html! { a href=(Range { after: Some(next), ..range.clone() }.address(&back)) { (w.look_on) } })),
                    None => (empty(w.replay_none, &html! { a href=(back) { (w.back) } })),
                }
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
                        @for (name, value) in range.fields() { (hidden(name, &value)) }
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
