//! What surrounds every page: the head, the way to the other pages, who is here, and the keys.

use maud::{DOCTYPE, Markup, html};

use super::lang::Language;
use super::shown::{plain, shown};
use super::visit::Visit;
use super::words::Words;
use crate::access::Role;
use crate::admin::assets::href;

/// The places of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// How it goes.
    Overview,
    /// The messages.
    Messages,
    /// The transactions.
    Transactions,
    /// Dead messages by what is wrong.
    Dead,
    /// The consumers.
    Consumers,
    /// Outside parties that are told.
    Endpoints,
    /// The plugins.
    Plugins,
    /// The processes and their shards.
    Instances,
    /// What is held.
    Holds,
    /// Who did what.
    Audit,
    /// None of them.
    Elsewhere,
}

impl Here {
    /// In the order of the navigation.
    const ALL: [Self; 10] = [
        Self::Overview,
        Self::Messages,
        Self::Transactions,
        Self::Dead,
        Self::Consumers,
        Self::Endpoints,
        Self::Plugins,
        Self::Instances,
        Self::Holds,
        Self::Audit,
    ];

    /// Those that this reader finds in the navigation.
    fn of(visit: &Visit) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|place| *place != Self::Endpoints || visit.has_endpoints)
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Overview | Self::Elsewhere => "/",
            Self::Messages => "/messages",
            Self::Transactions => "/transactions",
            Self::Dead => "/dead",
            Self::Consumers => "/consumers",
            Self::Endpoints => "/endpoints",
            Self::Plugins => "/plugins",
            Self::Instances => "/instances",
            Self::Holds => "/holds",
            Self::Audit => "/audit",
        }
    }

    /// After `g`.
    const fn key(self) -> &'static str {
        match self {
            Self::Overview | Self::Elsewhere => "o",
            Self::Messages => "m",
            Self::Transactions => "t",
            Self::Dead => "d",
            Self::Consumers => "c",
            Self::Endpoints => "e",
            Self::Plugins => "p",
            Self::Instances => "i",
            Self::Holds => "h",
            Self::Audit => "a",
        }
    }

    /// What it is called.
    pub const fn name(self, w: &Words) -> &'static str {
        match self {
            Self::Overview | Self::Elsewhere => w.overview,
            Self::Messages => w.messages,
            Self::Transactions => w.transactions,
            Self::Dead => w.dead,
            Self::Consumers => w.consumers,
            Self::Endpoints => w.endpoint.endpoints,
            Self::Plugins => w.plugins,
            Self::Instances => w.instances,
            Self::Holds => w.holds,
            Self::Audit => w.audit,
        }
    }
}

/// A page of the console. Its body begins with its heading.
pub fn page(visit: &Visit, here: Here, title: &str, body: &Markup) -> Markup {
    let w = visit.w;
    document(
        visit,
        here,
        title,
        &html! {
            a.skip href="#main" { (w.skip) }
            header.top {
                a.brand href="/" { (mark()) "Avouch" }
                @if visit.reader.is_some() { (navigation(visit, here)) }
                (reader(visit))
            }
            main #main tabindex="-1" {
                @if let Some(notice) = visit.notice { (notice.shown(w)) }
                (body)
            }
            footer {
                span { "Avouch " (env!("CARGO_PKG_VERSION")) }
                a href="/v1/openapi.json" { (w.api) }
                (languages(visit))
                button.plain type="button" data-keys hidden { kbd { "?" } " " (w.keys) }
            }
            (keys(visit))
        },
    )
}

/// The page before somebody is let in, and pages about faults there: the same look, and nothing to go to.
pub fn bare(visit: &Visit, title: &str, body: &Markup) -> Markup {
    document(
        visit,
        Here::Elsewhere,
        title,
        &html! {
            main.bare #main tabindex="-1" {
                p.brand { (mark()) "Avouch" }
                (body)
                (languages(visit))
            }
        },
    )
}

fn document(visit: &Visit, here: Here, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(visit.language.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (plain(title)) " · Avouch" }
                link rel="icon" href=(href("icon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(href("console.css"));
                @if here == Here::Overview {
                    link rel="stylesheet" href=(href("uplot.css"));
                    script src=(href("uplot.js")) defer {}
                }
                script src=(href("console.js")) defer {}
            }
            body { (body) }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path d="M4 12.5 9.5 18 20 6.5" {}
            path d="M4 6h6" {}
        }
    }
}

fn navigation(visit: &Visit, here: Here) -> Markup {
    html! {
        nav aria-label=(visit.w.pages) {
            ul {
                @for place in Here::of(visit) {
                    li {
                        a href=(place.path()) data-go=(place.key()) aria-current=[(place == here).then_some("page")] { (place.name(visit.w)) }
                    }
                }
            }
        }
    }
}

fn reader(visit: &Visit) -> Markup {
    let Some(reader) = &visit.reader else { return html! {} };
    html! {
        form.reader method="post" action="/logout" {
            span { (shown(&reader.who)) " " span.role { (role(visit.w, reader.role)) } }
            @if reader.has_session { button.plain { (visit.w.log_out) } }
        }
    }
}

fn role(w: &'static Words, role: Role) -> &'static str {
    match role {
        Role::View => w.role_view,
        Role::Operate => w.role_operate,
        Role::Admin => w.role_admin,
    }
}

/// Each in its own words, so that those who cannot read this page find theirs.
fn languages(visit: &Visit) -> Markup {
    html! {
        form.languages method="post" action="/language" {
            input type="hidden" name="next" value=(visit.place);
            @for language in Language::ALL {
                @let is_current = language == visit.language;
                button.plain name="language" value=(language.tag()) lang=(language.tag()) aria-pressed=(if is_current { "true" } else { "false" }) { (language.name()) }
            }
        }
    }
}

fn keys(visit: &Visit) -> Markup {
    let w = visit.w;
    html! {
        dialog #keys aria-labelledby="keys-title" {
            form method="dialog" {
                h2 #keys-title { (w.keys) }
                dl.facts {
                    dt { kbd { "/" } } dd { (w.key_search) }
                    @for place in Here::of(visit) {
                        dt { kbd { "g" } " " kbd { (place.key()) } } dd { (place.name(w)) }
                    }
                    dt { kbd { "j" } " " kbd { "k" } } dd { (w.key_rows) }
                    dt { kbd { "Enter" } } dd { (w.key_open) }
                    dt { kbd { "?" } } dd { (w.key_keys) }
                }
                button { (w.close) }
            }
        }
    }
}
