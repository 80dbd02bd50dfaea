//! Forms by which people do something: folded until they are wanted, then they say what will happen, and ask why.

use maud::{Markup, html};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::signs::segment;
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

/// A field of [`exact`], as it was before it travelled.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Exact(pub String);

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

/// The same for a text that others wrote, which [`Exact`] reads: it travels encoded, because browsers make CRLF of each end of a line.
pub fn exact(name: &str, value: &str) -> Markup {
    hidden(name, &segment(value))
}

impl TryFrom<String> for Exact {
    type Error = std::str::Utf8Error;

    fn try_from(encoded: String) -> Result<Self, Self::Error> {
        Ok(Self(percent_decode_str(&encoded).decode_utf8()?.into_owned()))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_several_lines_travel_as_they_are() {
        for text in ["one\ntwo\r\nthree\rfour", " 100%25 + 1 \t", "\u{0}\u{fffe}ü&\"'<b>", ""] {
            let field = exact("key", text).into_string();
            assert!(!field.contains(['\n', '\r', '\0', '\t']), "{field}");
            let encoded =
                field.split("value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it is a field");
            assert_eq!(Exact::try_from(encoded.to_owned()).map(|exact| exact.0).as_deref(), Ok(text));
        }
        assert!(Exact::try_from("%FF".to_owned()).is_err());
    }
}
