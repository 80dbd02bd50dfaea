//! Reads the pages and the sources as text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the repository.
pub fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// All files below `base` with one of these extensions, relative to it.
pub fn files(base: &str, extensions: &[&str]) -> Vec<String> {
    let top = root().join(base);
    let (mut found, mut dirs) = (Vec::new(), vec![top.clone()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.expect("a directory can be read").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)) {
                found.push(path.strip_prefix(&top).expect("it is below").to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// The fenced blocks of this language, without the indentation of their fence.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let (mut found, mut open): (Vec<String>, Option<bool>) = (Vec::new(), None);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(_), Some(_)) => open = None,
            (Some(name), None) => {
                open = Some(name == language);
                found.extend((name == language).then(String::new));
            }
            (None, Some(true)) => found.last_mut().expect("it was opened").extend([line.trim_start(), "\n"]),
            (None, _) => {}
        }
    }
    found
}

/// Statements end at semicolons outside quotes and comments.
pub fn statements(block: &str) -> Vec<String> {
    let (mut all, mut current, mut quoted) = (Vec::new(), String::new(), false);
    for line in block.lines() {
        let comment = line.match_indices("--").map(|(at, _)| at).find(|at| line[..*at].matches('\'').count() % 2 == 0);
        for c in line[..comment.filter(|_| !quoted).unwrap_or(line.len())].chars() {
            quoted ^= c == '\'';
            match c {
                ';' if !quoted => all.push(std::mem::take(&mut current)),
                _ => current.push(c),
            }
        }
        current.push('\n');
    }
    assert!(current.trim().is_empty(), "every statement of an example ends with a semicolon: {current}");
    all.into_iter().map(|s| s.trim().to_owned()).collect()
}

/// From this heading to the next of its rank.
pub fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let rank = heading.split(' ').next().expect("a heading begins with its rank");
    let body = &text[start + heading.len()..];
    let end = (2..=rank.len()).filter_map(|n| body.find(&format!("\n{} ", "#".repeat(n)))).min();
    &body[..end.unwrap_or(body.len())]
}

/// The rows of the tables in a text, without their heads.
pub fn table(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    lines.skip(2).map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between backticks, outside fenced blocks.
pub fn code_words(text: &str) -> Vec<String> {
    let mut fenced = false;
    let open = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    });
    open.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// A heading's anchor.
pub fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

/// The names of all tests in the repository.
pub fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for base in ["runtime/src", "tests", "examples"] {
        for file in files(base, &["rs"]) {
            let text = read(&format!("{base}/{file}"));
            for after in text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1)) {
                let name = after.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
    names
}
