//! The pages of those who are not let in yet, or were refused: the login, and faults.

use maud::{Markup, html};

use super::frame::{Here, bare, page};
use super::lang::Language;
use super::shown::shown;
use super::signs::address;
use super::visit::{Visit, told};
use crate::admin::Problem;

/// Where it leads, and what can be used.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The place to go to then; one of this server.
    pub next: &'a str,
    /// Why the last try was refused.
    pub refused: Option<&'a str>,
    /// Whether people are known elsewhere.
    pub has_issuer: bool,
}

/// The login.
pub fn login(visit: &Visit, door: Door<'_>) -> Markup {
    let w = visit.w;
    bare(
        visit,
        w.log_in,
        &html! {
            h1 { (w.log_in) }
            @if let Some(why) = door.refused { p.notice.bad #refused role="alert" { (shown(why)) } }
            form.login method="post" action="/login" {
                label.field {
                    span { (w.token) }
                    input #token name="token" type="password" autocomplete="current-password" required autofocus placeholder="avouch_…"
                        aria-invalid=[door.refused.map(|_| "true")] aria-describedby=[door.refused.map(|_| "refused")];
                }
                input name="next" type="hidden" value=(door.next);
                button.primary { (w.log_in) }
                @if door.has_issuer { a.button href=(address("/login/oidc", &[("next", door.next)])) { (w.log_in_oidc) } }
            }
            p.about { (told(w.log_in_hint, &[html! { code { "avouch token create" } }])) }
        },
    )
}

/// The page that comes back from where people are known, and goes on by itself. A redirect would still count as coming from there, and not
/// bring the cookie along; a page of ours does.
pub fn arrived(visit: &Visit, next: &str) -> Markup {
    bare(
        visit,
        visit.w.log_in,
        &html! {
            meta http-equiv="refresh" content={ "0; url=" (next) };
            p { a.button href=(next) { (visit.w.go_on) } }
        },
    )
}

/// Why something was not done, in the look of the others: of what kind it is in the reader's words, what it is exactly in those of the API.
pub fn problem(visit: &Visit, problem: &Problem) -> Markup {
    let w = visit.w;
    let (title, advice) = w.problem.of(problem);
    let body = html! {
        div.fault {
            p.status { (problem.status) }
            h1 { (title) }
            p { (advice) }
            p lang=(Language::English.tag()) { (shown(&problem.detail)) }
            p { b { (w.remedy) ": " } span lang=(Language::English.tag()) { (shown(&problem.remedy)) } }
            p { a.button href="/" { (w.overview) } }
        }
    };
    if visit.reader.is_some() { page(visit, Here::Elsewhere, title, &body) } else { bare(visit, title, &body) }
}
