//! A payload as people read it: JSON with its structure, text as text, bytes in hexadecimal.

use data_encoding::BASE64;
use maud::{Markup, html};
use serde::de::IgnoredAny;

use super::figures::bytes;
use super::shown::{block, code};
use super::visit::{Visit, told};
use crate::admin::sight::Content;
use crate::store::views;

/// So much of a payload is asked for.
pub const BYTES_MAX: i32 = 64 << 10;
/// Indented, JSON may grow; beyond this it stays as it came.
const PRETTY_CHARS_MAX: usize = 4 * (64 << 10);
const HEX_BYTES_MAX: usize = 4096;
const HEX_ROW: usize = 16;

/// The section of a message's page.
pub fn payload(visit: &Visit, content: &Content) -> Markup {
    let w = visit.w;
    html! {
        section.payload aria-labelledby="payload" {
            h2 #payload { (w.payload) }
            @match content {
                Content::Hidden => p.none { (w.payload_hidden) },
                Content::Gone => p.none { (w.payload_gone) },
                Content::Shown(payload) => (contents(visit, payload)),
            }
        }
    }
}

fn contents(visit: &Visit, payload: &views::Payload) -> Markup {
    let w = visit.w;
    html! {
        p.about {
            (bytes(payload.bytes))
            @if payload.is_cut { " · " (told(w.payload_cut, &[html! { (bytes(i64::from(BYTES_MAX))) }])) }
        }
        @if let Some(text) = &payload.text {
            @match pretty(text).filter(|_| !payload.is_cut) {
                Some(pretty) => {
                    (block(&pretty, PRETTY_CHARS_MAX))
                    details { summary { (w.as_it_came) } (block(text, PRETTY_CHARS_MAX)) }
                },
                None => (block(text, PRETTY_CHARS_MAX)),
            }
        } @else if let Some(text) = &payload.base64 {
            @let raw = decoded(text);
            (block(&hex(&raw), PRETTY_CHARS_MAX))
            @if raw.len() > HEX_BYTES_MAX { p.about { (told(w.hex_cut, &[html! { (bytes(4096)) }])) } }
            details { summary { "Base64" } (block(text, PRETTY_CHARS_MAX)) }
        }
    }
}

/// Headers, and the trace that the message belongs to.
pub fn headers(visit: &Visit, headers: Option<&serde_json::Value>) -> Markup {
    let Some(headers) = headers.and_then(|headers| headers.as_object()).filter(|headers| !headers.is_empty()) else {
        return html! {};
    };
    html! {
        section aria-labelledby="headers" {
            h2 #headers { (visit.w.headers) }
            dl.facts {
                @for (name, value) in headers { dt { (code(name)) } dd { @if let Some(text) = value.as_str() { (code(text)) } @else { span.none { (visit.w.header_hidden) } } } }
            }
        }
    }
}

/// The trace that a message with these headers belongs to.
pub fn trace_id(headers: Option<&serde_json::Value>) -> Option<String> {
    crate::trace::trace_id(headers?.as_object()?)
}

/// JSON with line breaks and indents, and nothing else changed: numbers, escapes, doubled keys stay as they came.
fn pretty(text: &str) -> Option<String> {
    if !text.trim_start().starts_with(['{', '[']) || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let (mut out, mut depth, mut chars) = (String::with_capacity(text.len() * 2), 0usize, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' => string(&mut out, &mut chars),
            '{' | '[' => {
                depth += 1;
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                match chars.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => {
                        depth -= 1;
                        out.push(end);
                    }
                    None => new_line(&mut out, depth),
                }
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
        if out.len() > PRETTY_CHARS_MAX {
            return None;
        }
    }
    Some(out)
}

/// The rest of a string, its quotation mark included.
fn string(out: &mut String, chars: &mut impl Iterator<Item = char>) {
    out.push('"');
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '"' => return,
            '\\' => out.extend(chars.next()),
            _ => {}
        }
    }
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

fn decoded(base64: &str) -> Vec<u8> {
    // Postgres breaks its lines. What it sends is whole groups, so that nothing else can be wrong with it.
    let plain: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    BASE64.decode(plain.as_bytes()).unwrap_or_default()
}

/// `00000010  48 65 6c 6c 6f …  Hello`.
fn hex(raw: &[u8]) -> String {
    let rows = raw[..raw.len().min(HEX_BYTES_MAX)].chunks(HEX_ROW).enumerate();
    let line = |(i, row): (usize, &[u8])| {
        let digits: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let letters: String = row
            .iter()
            .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '·' })
            .collect();
        format!("{:08x}  {:<47}  {letters}", i * HEX_ROW, digits.join(" "))
    };
    rows.map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gets_structure_and_nothing_else_changes() {
        let text = r#"{"a":[1e400,{"x":"\" : {,"},[ ],{}],"a":12345678901234567890.10}"#;
        let lines = [
            "{",
            "  \"a\": [",
            "    1e400,",
            "    {",
            "      \"x\": \"\\\" : {,\"",
            "    },",
            "    [],",
            "    {}",
            "  ],",
            "  \"a\": 12345678901234567890.10",
            "}",
        ];
        assert_eq!(pretty(text).as_deref(), Some(lines.join("\n").as_str()));
    }

    #[test]
    fn what_is_no_json_or_grows_too_much_stays_as_it_came() {
        for text in ["", "plain", "{", "\"x\"", "[1,]", &"[".repeat(60_000)] {
            assert_eq!(pretty(text), None, "{text:.20}");
        }
        let wide = format!("{}{}{}", "[".repeat(120), vec!["1"; 30_000].join(","), "]".repeat(120));
        assert_eq!(pretty(&wide), None);
    }

    #[test]
    fn bytes_are_shown_in_hexadecimal() {
        let text = "SGVsbG8AIDx3b3JsZD4g\n/w==";
        let lines = hex(&decoded(text));
        assert_eq!(lines, "00000000  48 65 6c 6c 6f 00 20 3c 77 6f 72 6c 64 3e 20 ff  Hello· <world> ·");
    }

    #[test]
    fn trace_is_told_only_by_a_true_traceparent() {
        let of = |text: &str| trace_id(Some(&serde_json::json!({ "traceparent": text })));
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        for wrong in
            ["", "00", "00-xyz-1-1", &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), &format!("00-{trace}")]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
