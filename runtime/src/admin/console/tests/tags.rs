//! The tags of a page as a browser would see them, as far as our templates go: attributes stand in double quotes.

/// An opening tag.
#[derive(Clone, Debug)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// Its attributes, entities and all.
    pub attributes: Vec<(String, String)>,
}

const VOID: &[&str] = &["input", "link", "meta", "!DOCTYPE"];

/// Every `<` begins a tag: texts have `&lt;`.
fn pieces(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.split('<').skip(1).map(|piece| piece.split_at(end_of(piece)))
}

/// Where the tag ends: at the first `>` outside of quotes.
fn end_of(piece: &str) -> usize {
    let mut is_quoted = false;
    for (at, c) in piece.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return at,
            _ => {}
        }
    }
    panic!("a tag does not end: {piece:.200}")
}

/// All opening tags.
pub fn tags(page: &str) -> Vec<Tag> {
    pieces(page).map(|(tag, _)| tag).filter(|tag| !tag.starts_with(['/', '!'])).map(read).collect()
}

/// What stands between the tags.
pub fn text_of(page: &str) -> String {
    pieces(page).map(|(_, text)| &text[1..]).collect::<Vec<_>>().join(" ")
}

/// Fails where an element is closed that was not opened last, or stays open.
pub fn assert_balanced(name: &str, page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for (tag, _) in pieces(page) {
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{name}: </{closed}>"),
            None => {
                let element = tag.split(' ').next().unwrap_or_default();
                if !VOID.contains(&element) {
                    open.push(element);
                }
            }
        }
    }
    assert!(open.is_empty(), "{name}: {open:?} stay open");
}

fn read(tag: &str) -> Tag {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (attribute, after) = rest.split_at(end);
        let (value, after) = match after.strip_prefix("=\"") {
            Some(quoted) => quoted.split_once('"').expect("quotes are closed"),
            None => ("", after),
        };
        attributes.push((attribute.to_owned(), value.to_owned()));
        rest = after.trim_start();
    }
    Tag { name: name.to_owned(), attributes }
}
