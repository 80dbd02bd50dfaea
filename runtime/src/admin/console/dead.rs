//! Dead messages by what is wrong with them; and what will be done with all of one group, before it is done.

use maud::{Markup, html};
use serde::Deserialize;

use super::deeds::{Deed, Weight, Why, exact, hidden, open};
use super::figures::{number, time};
use super::frame::{Here, page};
use super::messages::message_table;
use super::shown::{code, shown};
use super::signs::{address, empty, exact_address, heading, message_link, table};
use super::visit::{Visit, told};
use crate::access::Role;
use crate::admin::bulk::Outcome;
use crate::store::search::Search;
use crate::store::views::{FailureGroup, GROUPED_MAX, Message};

/// Which group: as it was shown, so that each field is compared exactly.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Group {
    /// The consumer that they are dead for; `-` for nobody.
    pub consumer: String,
    /// Their topic.
    pub topic: String,
    /// Their failure; none: any, empty: no reason was given.
    pub failure: Option<String>,
}

/// What is to be done with all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// They are sent again.
    Resend,
    /// They are given up.
    Discard,
}

impl Group {
    /// The group of a document.
    pub fn of(group: &FailureGroup) -> Self {
        Self { consumer: group.consumer.clone(), topic: group.topic.clone(), failure: Some(group.failure.clone()) }
    }

    /// Its messages.
    pub fn search(&self) -> Search {
        let text = |field: &String| Some(field.clone()).filter(|text| !text.is_empty());
        Search {
            state: Some("dead".to_owned()),
            consumer: text(&self.consumer),
            topic: text(&self.topic),
            failure: self.failure.clone(),
            ..Search::default()
        }
    }

    fn fields(&self) -> Vec<(&'static str, &str)> {
        let mut fields = vec![("consumer", self.consumer.as_str()), ("topic", self.topic.as_str())];
        fields.extend(self.failure.as_deref().map(|failure| ("failure", failure)));
        fields
    }
}

impl Act {
    /// The page that asks, and where its form is sent.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Resend => "/dead/resend",
            Self::Discard => "/dead/discard",
        }
    }
}

/// The groups.
pub fn dead(visit: &Visit, groups: &[FailureGroup]) -> Markup {
    let w = visit.w;
    let grouped: i64 = groups.iter().map(|group| group.messages).sum();
    page(
        visit,
        Here::Dead,
        w.dead,
        &html! {
            (heading(&html! { (w.dead) }, &html! {}))
            p.intro { (w.dead_intro) }
            @if groups.is_empty() {
                (empty(w.none_dead, &html! { (w.none_dead_do) }))
            } @else {
                (table(w.dead, &[w.failure, w.consumer, w.topic, w.messages, w.since, w.example, w.action], &html! {
                    @for group in groups { (row(visit, group)) }
                }))
                @if grouped >= GROUPED_MAX { p.intro { (w.dead_newest.replace("{0}", &number(GROUPED_MAX))) } }
            }
        },
    )
}

fn row(visit: &Visit, group: &FailureGroup) -> Markup {
    let (w, which) = (visit.w, Group::of(group));
    let mut all = vec![("state", "dead")];
    all.extend(which.fields());
    html! {
        tr {
            th.reason scope="row" data-label=(w.failure) { @if group.failure.is_empty() { (w.no_reason) } @else { (shown(&group.failure)) } }
            td data-label=(w.consumer) { @if group.consumer == "-" { (w.never_sent) } @else { (shown(&group.consumer)) } }
            td.topic data-label=(w.topic) { (code(&group.topic)) }
            td.n data-label=(w.messages) {
                a href=(address("/messages", &all)) { (number(group.messages)) }
            }
            td data-label=(w.since) { (time(visit, group.since)) }
            td data-label=(w.example) { (message_link(group.example)) }
            td data-label=(w.action) {
                @if visit.may(Role::Operate) {
                    div.deeds {
                        a.button href=(exact_address(Act::Resend.path(), &which.fields())) { (w.resend) "…" }
                        a.button.danger href=(exact_address(Act::Discard.path(), &which.fields())) { (w.discard) "…" }
                    }
                }
            }
        }
    }
}

/// What would be done: with how many, some of them, and the button.
pub fn dry_run(visit: &Visit, act: Act, group: &Group, count: &Outcome, examples: &[Message]) -> Markup {
    let messages = i64::try_from(count.matched).unwrap_or(i64::MAX);
    let w = visit.w;
    let (title, effect, weight, why) = match act {
        Act::Resend => (w.resend_group, w.resend_effect, Weight::Light, Why::Optional),
        Act::Discard => (w.discard_group, w.discard_effect, Weight::Heavy, Why::Required),
    };
    let all = html! { b { (number(messages)) } };
    let name = if act == Act::Resend { w.resend_so_many } else { w.discard_so_many }.replace("{0}", &number(messages));
    page(
        visit,
        Here::Dead,
        title,
        &html! {
            (heading(&html! { (title) }, &html! {}))
            dl.facts {
                dt { (w.failure) } dd { @match group.failure.as_deref() { None => (w.any), Some("") => (w.no_reason), Some(failure) => (shown(failure)) } }
                dt { (w.consumer) } dd { @if group.consumer == "-" { (w.never_sent) } @else { (shown(&group.consumer)) } }
                dt { (w.topic) } dd { (code(&group.topic)) }
            }
            @if messages == 0 {
                (empty(w.group_gone, &html! { a href="/dead" { (w.back) } }))
            } @else {
                @if count.has_more { p.notice.warn { (w.group_more) } }
                (open(visit, &Deed {
                    role: Role::Operate,
                    action: act.path().to_owned(),
                    name: &name,
                    effect: html! { (told(w.so_many_dead, &[all])) " " (effect) },
                    weight,
                    why,
                    fields: html! {
                        @for (name, value) in group.fields() { (exact(name, value)) }
                        (hidden("confirm", &messages.to_string()))
                        @if let Some(counted) = count.counted { (hidden("counted", &counted.to_string())) }
                    },
                }))
                p { a href="/dead" { (w.back) } }
                h2 { (w.examples) }
                (message_table(visit, examples))
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_is_looked_for_as_it_was_shown() {
        let group = Group { consumer: "-".into(), topic: "a.b".into(), failure: Some("x & y".into()) };
        let search = group.search();
        assert_eq!(search.state.as_deref(), Some("dead"));
        assert_eq!((search.consumer.as_deref(), search.failure.as_deref()), (Some("-"), Some("x & y")));
        search.check().expect("can be searched for");
        let unexplained = Group { failure: Some(String::new()), ..Group::default() };
        assert_eq!(unexplained.search().failure.as_deref(), Some(""), "those without a reason, and no others");
        assert_eq!(
            exact_address(Act::Resend.path(), &group.fields()),
            "/dead/resend?consumer=%2D&topic=a%2Eb&failure=x%20%26%20y"
        );
    }
}
