//! `avouch:rules@1`: what is published never changes; functions and interfaces may be added.

use std::collections::BTreeMap;

use crate::docs::read;

/// The contract as it was published, without its documentation.
const PUBLISHED: &str = include_str!("contract/rules-1.0.0.wit");

/// Every declaration of a WIT text by its place (`types/record message`), without documentation and blanks.
fn declarations(text: &str) -> BTreeMap<String, String> {
    let code: Vec<&str> =
        text.lines().map(|l| l.split("//").next().unwrap_or_default().trim()).filter(|l| !l.is_empty()).collect();
    let (mut found, mut place, mut open) = (BTreeMap::new(), String::new(), Vec::<String>::new());
    for line in code {
        let head = line.trim_end_matches('{').trim().to_owned();
        if let Some(name) = head.strip_prefix("interface ").or_else(|| head.strip_prefix("world ")) {
            place = name.to_owned();
        } else if line.ends_with('{') {
            open.push(head);
        } else if line == "}" {
            open.pop();
        } else {
            let within = open.last().map_or(String::new(), |o| format!("{o}/"));
            let (name, what) = line.split_once(':').unwrap_or((line, ""));
            found.insert(format!("{place}/{within}{name}"), what.trim().to_owned());
        }
    }
    found
}

#[test]
fn contract_is_frozen() {
    let (published, now) = (declarations(PUBLISHED), declarations(&read("sdk/wit/rules.wit")));
    assert!(published.len() > 60, "the contract was understood: {published:?}");
    for (place, what) in &published {
        assert_eq!(now.get(place), Some(what), "{place} is published as it was: add, never change");
    }
    // A field, a case or a parameter more is a change, too: plugins built before do not know it.
    for place in now.keys().filter(|place| !published.contains_key(*place)) {
        let kind = place.split('/').nth(1).unwrap_or_default();
        let is_closed = ["record ", "variant ", "enum "].iter().any(|k| kind.starts_with(k));
        let is_of_published = published
            .keys()
            .any(|p| p.starts_with(&format!("{}/{kind}/", place.split('/').next().unwrap_or_default())));
        assert!(!(is_closed && is_of_published), "{place} was added to what is closed");
    }
}

#[test]
fn change_of_what_is_published_is_noticed() {
    let changed = declarations(&PUBLISHED.replace("in-progress(option<u32>)", "in-progress(option<u64>)"));
    let published = declarations(PUBLISHED);
    assert!(published.iter().any(|(place, what)| changed.get(place) != Some(what)));
    let removed = declarations(&PUBLISHED.replace("attempts: u32,", ""));
    assert_eq!(removed.len() + 1, published.len());
}
