//! Who looks at a page, when, and in which language: what every page is given beside its documents.

use maud::{Markup, PreEscaped, Render as _};
use time::OffsetDateTime;

use super::lang::Language;
use super::notice::Notice;
use super::words::Words;
use crate::access::Role;

/// One look at one page.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The language of its words.
    pub language: Language,
    /// Its words.
    pub w: &'static Words,
    /// Who looks; nobody on the page that asks who.
    pub reader: Option<Reader>,
    /// The page's path and query.
    pub place: String,
    /// When.
    pub now: OffsetDateTime,
    /// Whether anybody is told anything here, so that there are endpoints.
    pub has_endpoints: bool,
    /// What the reader did just now.
    pub notice: Option<Notice>,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Reader {
    /// A token's name, or a person.
    pub who: String,
    /// What they may do.
    pub role: Role,
    /// Whether there is a session that they can end.
    pub has_session: bool,
}

impl Visit {
    /// Whether the reader may do what needs this role.
    pub fn may(&self, role: Role) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.role >= role)
    }
}

/// A sentence whose places `{0}`, `{1}`, … are taken by these.
pub fn told(sentence: &str, parts: &[Markup]) -> Markup {
    let mut out = String::new();
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        before.render_to(&mut out);
        let (number, after) = after.split_once('}').unwrap_or(("", after));
        if let Some(part) = number.parse().ok().and_then(|number: usize| parts.get(number)) {
            part.render_to(&mut out);
        }
        rest = after;
    }
    rest.render_to(&mut out);
    PreEscaped(out)
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[test]
    fn sentences_take_their_parts_in_any_order() {
        let parts = [html! { b { "<x>" } }, html! { (2) }];
        assert_eq!(told("{1} of <{0}>.", &parts).into_string(), "2 of &lt;<b>&lt;x&gt;</b>&gt;.");
        assert_eq!(told("none", &parts).into_string(), "none");
        assert_eq!(told("{7}{", &parts).into_string(), "");
    }
}
