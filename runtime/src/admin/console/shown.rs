//! How text that others wrote is shown: always as text, cut to a bound, and with what nobody would see made visible.

use maud::{Markup, PreEscaped, Render, html};

/// Inside of a line: keys, reasons, names.
const CHARS_MAX: usize = 300;
/// In titles and attributes.
const PLAIN_CHARS_MAX: usize = 120;
/// More marks than any script puts on one letter would cover the lines around it.
const MARKS_MAX: usize = 8;

/// Whether line breaks and tabs are what they are, or signs like others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    Kept,
    Shown,
}

/// A foreign text inside of a line.
pub fn shown(text: &str) -> Markup {
    html! { bdi.foreign dir="auto" { (signs(text, CHARS_MAX, Breaks::Shown)) } }
}

/// The same for a name, a number or an id in it: of one width.
pub fn code(text: &str) -> Markup {
    html! { code { (shown(text)) } }
}

/// A foreign text of many lines, such as a payload, up to so many characters.
pub fn block(text: &str, chars_max: usize) -> Markup {
    html! { pre.foreign dir="auto" tabindex="0" { (signs(text, chars_max, Breaks::Kept)) } }
}

/// A foreign text where no markup can be: in titles.
pub fn plain(text: &str) -> String {
    let mut chars = text.chars();
    let start = chars.by_ref().take(PLAIN_CHARS_MAX);
    let mut shown: String = start.map(|c| if is_hidden(c) { name(c) } else { c.to_string() }).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A hash, which is too long to be read: its beginning, and all of it for who points there.
pub fn digest(text: &str) -> Markup {
    let short: String = text.chars().take(12).collect();
    html! { code title=(plain(text)) { (shown(&short)) } }
}

fn signs(text: &str, chars_max: usize, breaks: Breaks) -> Markup {
    let (mut out, mut run, mut marks, mut chars) = (String::new(), String::new(), 0, text.chars());
    for c in chars.by_ref().take(chars_max) {
        marks = if is_mark(c) { marks + 1 } else { 0 };
        let is_break = breaks == Breaks::Kept && matches!(c, '\n' | '\t');
        if !is_break && (is_hidden(c) || marks > MARKS_MAX) {
            run.render_to(&mut out);
            run.clear();
            html! { span.ctl { (name(c)) } }.render_to(&mut out);
        } else {
            run.push(c);
        }
    }
    run.render_to(&mut out);
    let rest = chars.count();
    if rest > 0 {
        html! { span.cut { "… +" (rest) } }.render_to(&mut out);
    }
    PreEscaped(out)
}

/// How it is written instead.
fn name(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        _ => format!("\\u{{{:x}}}", u32::from(c)),
    }
}

/// What has no width, ends lines, or turns the direction of what stands beside it.
fn is_hidden(c: char) -> bool {
    let at = u32::from(c);
    c.is_control()
        || matches!(
            at,
            0xad | 0x34f | 0x61c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f | 0x3164 | 0xfeff | 0xffa0
        )
        || matches!(at, 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfff0..=0xfffb | 0xfdd0..=0xfdef)
        || matches!(at, 0xe0000..=0xe0fff)
        || at & 0xfffe == 0xfffe
}

/// A mark that stands on the letter before it.
fn is_mark(c: char) -> bool {
    let at = u32::from(c);
    matches!(at, 0x300..=0x36f | 0x483..=0x489 | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_text() {
        let shown = shown("\"><script>alert(1)</script> &amp;").into_string();
        assert!(shown.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp;amp;"), "{shown}");
    }

    #[test]
    fn what_nobody_sees_is_made_visible() {
        for (c, name) in [
            ('\0', "\\u{0}"),
            ('\u{1b}', "\\u{1b}"),
            ('\u{9f}', "\\u{9f}"),
            ('\u{202e}', "\\u{202e}"),
            ('\u{2066}', "\\u{2066}"),
            ('\u{200b}', "\\u{200b}"),
            ('\u{feff}', "\\u{feff}"),
            ('\u{e0041}', "\\u{e0041}"),
            ('\u{1fffe}', "\\u{1fffe}"),
            ('\n', "\\n"),
        ] {
            let text = format!("a{c}b");
            let markup = shown(&text).into_string();
            assert!(markup.contains(&format!("a<span class=\"ctl\">{name}</span>b")), "{markup}");
            assert_eq!(plain(&text), format!("a{name}b"));
        }
        assert!(shown("Grüße 你好 שלום 👩").into_string().contains(">Grüße 你好 שלום 👩<"));
    }

    #[test]
    fn blocks_keep_their_lines() {
        assert!(block("a\n\tb\r", 10).into_string().contains("a\n\tb<span class=\"ctl\">\\r</span>"));
    }

    #[test]
    fn long_texts_are_cut_and_say_by_how_much() {
        let shown = shown(&"x".repeat(1 << 20)).into_string();
        assert!(shown.len() < 1000 && shown.contains("… +1048276"), "{shown}");
        assert!(plain(&"x".repeat(1000)).chars().count() == PLAIN_CHARS_MAX + 1);
        let flood = super::shown(&format!("Z{}", "\u{301}".repeat(50))).into_string();
        assert_eq!(flood.matches("\\u{301}").count(), 50 - MARKS_MAX);
    }
}
