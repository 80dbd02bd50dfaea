//! The console's pages.

use axum::extract;
use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use super::Auth;
use super::assets::href;
use super::caller::{Caller, Viewer};
use super::guard::Access;
use super::page::Pages;
use super::problem::Problem;
use super::state::State;
use crate::access::Role;

/// Its routes.
pub fn router() -> Pages {
    Pages::default().get("/", Access::Needs(Role::View), overview)
}

/// A page of ours.
pub fn document(title: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Avouch" }
                link rel="stylesheet" href=(href("console.css"));
            }
            body { (body) }
        }
    };
    Html(page.into_string())
}

/// Why something was not done, for people.
pub fn problem_page(problem: &Problem) -> Html<String> {
    let body = html! {
        h1 { (problem.title) }
        p { (problem.detail) }
        p { (problem.remedy) }
        p { a href="/" { "Overview" } }
    };
    document(&problem.title, &body)
}

async fn overview(extract::State(state): extract::State<State>, Viewer(caller): Viewer) -> Html<String> {
    let body = html! {
        header { h1 { "Avouch" } (who(&state, &caller)) }
        p { "The API is described in " a href="/v1/openapi.json" { "/v1/openapi.json" } "." }
    };
    document("Overview", &body)
}

fn who(state: &State, caller: &Caller) -> Markup {
    html! {
        form method="post" action="/logout" {
            (caller.who) ", " (caller.role.name()) " "
            @if state.config.auth != Auth::None { button { "Log out" } }
        }
    }
}
