//! Forms by which people do something: folded until they are wanted, then they say what will happen, and ask why.

use maud::{Markup, html};

use super::visit::Visit;
use crate::access::Role;

/// Something that can be done on a page.
#[derive(Clone, Debug)]
pub struct Deed<'a> {
    /// What it needs.
    pub role: Role,
    /// Where the form is sent.
    pub action: String,
    /// What the button says.
    pub name: &'a str,
    /// What will happen.
    pub effect: Markup,
    /// Whether it can be undone.
    pub weight: Weight,
    /// Whether a reason must be given.
    pub why: Why,
    /// What else is sent.
    pub fields: Markup,
}

/// Whether it can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It can.
    Light,
    /// It cannot.
    Heavy,
}

/// Whether a reason must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It may be left out.
    Optional,
    /// Nothing is done without one.
    Required,
}

/// Reasons are read by people.
const WHY_CHARS_MAX: u16 = 500;

/// The form, folded; nothing for those who may not do it.
pub fn folded(visit: &Visit, deed: &Deed<'_>) -> Markup {
    if !visit.may(deed.role) {
        return html! {};
    }
    html! {
        details.deed {
            summary.button.danger[deed.weight == Weight::Heavy] { (deed.name) }
            (form(visit, deed))
        }
    }
}

/// The form, open: where the page is about nothing else.
pub fn open(visit: &Visit, deed: &Deed<'_>) -> Markup {
    if !visit.may(deed.role) {
        return html! {};
    }
    html! { div.deed { (form(visit, deed)) } }
}

/// What is there to be done; a word for those who may do none of it.
pub fn all(visit: &Visit, deeds: &[Deed<'_>]) -> Markup {
    html! { div.deeds { @for deed in deeds { (folded(visit, deed)) } } }
}

/// A field that the reader does not see.
pub fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// With how many messages something is removed: as many as the page shows, unless the reader writes another number.
pub fn with_at_most(visit: &Visit, waiting: i64) -> Markup {
    html! {
        @if waiting > 0 {
            label.field { span { (visit.w.confirm_at_most) } input name="confirm" type="number" min="0" required value=(waiting); }
        }
    }
}

fn form(visit: &Visit, deed: &Deed<'_>) -> Markup {
    let is_required = deed.why == Why::Required;
    let hint = if is_required { visit.w.why_required } else { visit.w.why_optional };
    html! {
        form method="post" action=(deed.action) {
            p { (deed.effect) }
            (deed.fields)
            label.field {
                span { (visit.w.why) " " small { (hint) } }
                input name="why" maxlength=(WHY_CHARS_MAX) required[is_required] autocomplete="off";
            }
            button.danger[deed.weight == Weight::Heavy].primary[deed.weight == Weight::Light] { (deed.name) }
        }
    }
}
