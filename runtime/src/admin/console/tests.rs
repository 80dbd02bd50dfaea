//! What holds for every page, whatever its documents say: they are made of hostile ones here.

mod documents;
mod tags;

use std::collections::BTreeSet;

use self::documents::{HOSTILE, Texts, all_pages, visit};
use self::tags::{Tag, tags};
use super::lang::Language;
use super::visit::Reader;
use crate::access::Role;

/// All that pages are made of; anything else came out of a text.
const ELEMENTS: &[&str] = &[
    "a",
    "b",
    "bdi",
    "body",
    "button",
    "code",
    "datalist",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "form",
    "g",
    "h1",
    "h2",
    "head",
    "header",
    "html",
    "input",
    "kbd",
    "label",
    "li",
    "link",
    "main",
    "meta",
    "nav",
    "ol",
    "option",
    "p",
    "path",
    "polyline",
    "pre",
    "rect",
    "script",
    "section",
    "select",
    "small",
    "span",
    "strong",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "textarea",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
];

/// Every page in every language for every role, by name.
fn each(check: impl Fn(&str, &str, Role)) {
    for language in Language::ALL {
        for role in Role::ALL {
            let texts = Texts::hostile();
            for (name, page) in all_pages(&visit(language, Some(role)), &texts) {
                check(&format!("{name} for {} in {}", role.name(), language.tag()), &page, role);
            }
        }
    }
}

fn value<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    tag.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[test]
fn nothing_in_a_document_becomes_an_element_a_handler_or_an_address() {
    each(|name, page, _| {
        for tag in tags(page) {
            assert!(ELEMENTS.contains(&tag.name.as_str()), "{name}: <{}>", tag.name);
            for (attribute, value) in &tag.attributes {
                assert!(!attribute.starts_with("on") && attribute != "style", "{name}: <{} {attribute}>", tag.name);
                let is_address = ["href", "src", "action", "formaction", "data-live"].contains(&attribute.as_str());
                let is_ours = value.starts_with('/') && !value.starts_with("//")
                    || value.starts_with("#")
                    || value.starts_with("assets/");
                assert!(!is_address || is_ours, "{name}: {attribute}={value}");
            }
            assert!(tag.name != "script" || value(&tag, "src").is_some(), "{name}: a script in the page");
        }
        assert!(!page.contains("<style"), "{name}");
    });
}

#[test]
fn what_turns_the_direction_of_text_is_only_in_fields() {
    each(|name, page, _| {
        let bare: String = tags::text_of(page);
        assert!(!bare.contains(['\u{202e}', '\u{2066}', '\u{0}', '\u{1b}']), "{name}");
    });
    let texts = Texts::hostile();
    let shown = all_pages(&visit(Language::English, Some(Role::View)), &texts);
    let said = shown.iter().filter(|(_, page)| page.contains("\\u{202e}")).count();
    assert!(said > 10, "the hostile text is on most pages, on {said} here: {HOSTILE:?}");
}

#[test]
fn pages_are_well_formed_and_their_ids_unique() {
    each(|name, page, _| {
        tags::assert_balanced(name, page);
        let mut ids = BTreeSet::new();
        for tag in tags(page) {
            if let Some(id) = value(&tag, "id") {
                assert!(ids.insert(id.to_owned()), "{name}: the id {id} stands twice");
            }
        }
        for tag in tags(page) {
            for reference in ["aria-labelledby", "aria-describedby", "list"] {
                let id = value(&tag, reference);
                assert!(id.is_none_or(|id| ids.contains(id)), "{name}: {reference}={id:?} leads nowhere");
            }
        }
    });
}

#[test]
fn rows_have_a_cell_for_each_column() {
    each(|name, page, _| {
        for table in page.split("<table>").skip(1) {
            let table = table.split("</table>").next().unwrap_or_default();
            let columns = table.matches("scope=\"col\"").count();
            for row in table.split("<tbody>").nth(1).unwrap_or_default().split("<tr").skip(1) {
                let cells =
                    tags(&format!("<tr{row}")).iter().filter(|tag| ["td", "th"].contains(&tag.name.as_str())).count();
                assert_eq!(cells, columns, "{name}: {row:.300}");
            }
        }
    });
}

#[test]
fn each_role_sees_the_forms_that_it_may_send() {
    let forms = |role: Option<Role>| -> BTreeSet<String> {
        let visit = visit(Language::English, role);
        let pages = all_pages(&visit, &Texts::plain());
        let all = pages.iter().flat_map(|(_, page)| tags(page));
        let posts = all.filter(|tag| tag.name == "form" && value(tag, "method") == Some("post"));
        let ids = |word: &str| word.len() == 36 && word.contains('-');
        let path = |tag: Tag| {
            let words: Vec<_> = value(&tag, "action")
                .unwrap_or_default()
                .split('/')
                .map(|w| if ids(w) { "ID" } else { w }.to_owned())
                .collect();
            words.join("/")
        };
        posts.map(path).collect()
    };
    let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>();
    let view = set(&["/language", "/logout", "/login"]);
    let operate = set(&[
        "/messages/ID/resend",
        "/messages/ID/discard",
        "/messages/ID/replay",
        "/transactions/ID/commit",
        "/transactions/ID/rollback",
        "/transactions/ID/recheck",
        "/dead/resend",
        "/dead/discard",
        "/consumers/billing/records",
        "/consumers/billing/replay",
        "/pause",
        "/resume",
        "/endpoints/billing/ping",
        "/endpoints/billing/enable",
        "/endpoints/billing/disable",
        "/endpoints/billing/resend",
        "/endpoints/billing/deliveries/ID/resend",
    ]);
    let admin = set(&[
        "/consumers/billing/remove",
        "/plugins",
        "/plugins/billing/rollback",
        "/plugins/billing/remove",
        "/endpoints",
        "/endpoints/billing/secret",
        "/endpoints/billing/remove",
    ]);
    assert_eq!(forms(None), set(&["/language", "/login"]), "nobody");
    assert_eq!(forms(Some(Role::View)), view);
    assert_eq!(forms(Some(Role::Operate)), &view | &operate);
    assert_eq!(forms(Some(Role::Admin)), &(&view | &operate) | &admin);
}

#[test]
fn what_cannot_be_undone_asks_for_a_reason() {
    let pages = all_pages(&visit(Language::English, Some(Role::Admin)), &Texts::plain());
    let mut asked = 0;
    for (name, page) in &pages {
        for form in page.split("<form").skip(1).map(|form| form.split("</form>").next().unwrap_or_default()) {
            if form.contains("<button class=\"danger\"") {
                assert!(form.contains("name=\"why\"") && form.contains(" required"), "{name}: {form}");
                asked += 1;
            }
        }
    }
    assert!(asked >= 6, "{asked} of them were seen");
}

#[test]
fn readers_who_cannot_end_a_session_are_not_offered_to() {
    let mut visit = visit(Language::English, Some(Role::Admin));
    visit.reader = Some(Reader { who: "anybody".into(), role: Role::Admin, has_session: false });
    for (name, page) in all_pages(&visit, &Texts::plain()) {
        assert!(!page.contains(visit.w.log_out), "{name}");
    }
}

#[test]
fn pages_speak_the_readers_language() {
    for (name, page) in all_pages(&visit(Language::Chinese, Some(Role::Admin)), &Texts::plain()) {
        assert!(page.contains("<html lang=\"zh-CN\">") || name.starts_with("part"), "{name}");
        // What a page says in English here is a word that was not taken from the table.
        for word in [">Messages<", ">Overview<", ">Reason<", ">Topic<", ">State<", ">Resend<", ">Log in<", " ago<"] {
            assert!(!page.contains(word), "{name}: {word}");
        }
    }
}
