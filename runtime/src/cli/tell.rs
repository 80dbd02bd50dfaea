//! How a command tells what it has found or done: text for people, one JSON document for programs; and what the exit code says.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;

/// What a command line can be refused for after it was read: exit code 2, as for what clap refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The end of a command that was asked for something impossible.
pub fn usage<T>(text: impl Into<String>) -> anyhow::Result<T> {
    Err(Usage(text.into()).into())
}

/// 0: it is done. 1: it is not, or not all of it.
pub fn code(is_done: bool) -> ExitCode {
    if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the process ends with after this error, which is told here.
pub fn failed(e: &anyhow::Error) -> ExitCode {
    let closed = e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe);
    if closed {
        // Whoever read it has seen enough: `avouch messages list --all | head`.
        return ExitCode::SUCCESS;
    }
    for line in format!("avouch: {e:#}").lines() {
        eprintln!("{}", escape(line));
    }
    if e.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// Writes to standard output. Unlike `println!`, a reader that has gone away is no reason to panic.
pub fn text(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Writes one JSON document.
pub fn json(document: &impl Serialize) -> anyhow::Result<()> {
    text(&harmless(serde_json::to_string_pretty(document)?))
}

/// A document in one line.
pub fn line_of(document: &impl Serialize) -> anyhow::Result<String> {
    Ok(harmless(serde_json::to_string(document)?))
}

/// People read documents in terminals too: JSON has escapes of its own for what must not act there.
fn harmless(json: String) -> String {
    let must_go = |c: char| is_harmful(c) && c != '\n';
    if !json.contains(must_go) {
        return json;
    }
    let escaped =
        |c: char| -> String { c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect() };
    json.chars().map(|c| if must_go(c) { escaped(c) } else { c.to_string() }).collect()
}

/// What comes from outside must not act on the terminal: neither control characters, nor those that turn, join or hide text.
pub fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if is_harmful(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// The same; its lines stay lines.
pub fn escape_lines(text: &str) -> String {
    text.lines().map(|line| escape(line) + "\n").collect()
}

fn is_harmful(c: char) -> bool {
    let turns_or_hides = matches!(c,
        '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || turns_or_hides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_does_not_reach_the_terminal() {
        assert_eq!(escape("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(escape("x\u{202e}gnp.exe\u{9b}31m"), "x\\u{202e}gnp.exe\\u{9b}31m");
        assert_eq!(escape("Grüße, 世界 🦀"), "Grüße, 世界 🦀");
        assert_eq!(escape_lines("a\u{7}\nb"), "a\\u{7}\nb\n");
    }

    #[test]
    fn documents_are_harmless_in_a_terminal_and_mean_the_same() {
        let hostile = "\u{1b}[2J\u{9b}31m\u{202e}\u{e0041} 世界\n";
        let line = line_of(&hostile).expect("is a document");
        assert!(!line.chars().any(is_harmful), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).expect("is JSON"), hostile);
    }
}
