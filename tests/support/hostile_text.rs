//! Texts that do harm where somebody forgets what they are: in pages, terminals, headers, scripts. And whether a page shows one as text.

use serde_json::json;

use crate::browser::Page;

const ASKED: &str = include_str!("hostile_text.js");
/// A page may cut a text, but not shorter than this.
const SHOWN_CHARS: usize = 120;
const MEGABYTE: usize = 1 << 20;
const TOKEN_CHARS: usize = 20_000;
const FLOOD_MARKS: usize = 2_000;

/// What it does where it is not taken for text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Becomes elements of a page: all have the attribute `data-hostile`, an event handler, or both.
    Markup,
    /// Runs, as the address of a link.
    Link,
    /// Changes what stands around it, breaks a layout or a terminal, or is evaluated by something.
    Text,
}

/// One text; none contains NUL, which Postgres refuses in texts: see [`nul`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostileText {
    /// For the messages of tests.
    pub name: &'static str,
    /// The text.
    pub text: String,
    /// What it does.
    pub harm: Harm,
}

const MARKUP: &[(&str, &str)] = &[
    ("script", "<script data-hostile>alert(1)</script>"),
    ("image", "<img data-hostile src=x onerror=alert(1)>"),
    ("vector", "<svg data-hostile onload=alert(1)><animate onbegin=alert(1) attributeName=x dur=1s>"),
    ("out of an attribute", "\"><script data-hostile>alert(1)</script>"),
    ("out of an attribute in single quotes", "'\"><img data-hostile src=x onerror=alert(1)>"),
    ("one more attribute", "\" data-hostile autofocus onfocus=alert(1) x=\""),
    ("out of a title", "</title><script data-hostile>alert(1)</script>"),
    ("out of a field", "</textarea><img data-hostile src=x onerror=alert(1)>"),
    ("out of a script", "</script><script data-hostile>alert(1)</script>"),
    ("out of a style", "</style><img data-hostile src=x onerror=alert(1)>"),
    ("out of a comment", "--><img data-hostile src=x onerror=alert(1)>"),
    ("out of a section", "]]><img data-hostile src=x onerror=alert(1)>"),
    ("frame", "<iframe data-hostile srcdoc=\"<script>parent.alert(1)</script>\"></iframe>"),
    ("details", "<details data-hostile open ontoggle=alert(1)>x"),
    ("style", "<style data-hostile>*{display:none!important}</style>"),
    ("stylesheet", "<link data-hostile rel=stylesheet href=//example.com/x.css>"),
    ("base", "<base data-hostile href=//example.com/>"),
    ("form", "<form data-hostile action=//example.com/><button>Sign in</button>"),
    ("attributes of htmx", "<div data-hostile hx-get=/ hx-trigger=load hx-on:load=alert(1)>x</div>"),
    ("unclosed", "<img data-hostile src=x onerror=alert(1) alt=\""),
    ("comment that swallows", "<b data-hostile>x</b><!-- "),
];

const LINKS: &[(&str, &str)] = &[
    ("script as address", "javascript:alert(1)"),
    ("script in capitals", "JaVaScRiPt:alert(1)"),
    ("script with a tab", "java\tscript:alert(1)"),
    ("script behind a control character", "\u{1}javascript:alert(1)//"),
    ("page as address", "data:text/html,<script>alert(1)</script>"),
    ("other script as address", "vbscript:msgbox(1)"),
];

const TEXTS: &[(&str, &str)] = &[
    ("entities", "&lt;img src=x onerror=alert(1)&gt; &#x3C;script&#x3E; &amp;amp;"),
    ("escapes", "\\u003cscript\\u003e \\x3c %3Cscript%3E +ADw-script+AD4-"),
    ("templates", "{{7*7}} ${7*7} #{7*7} <%= 7*7 %> {%7*7%} [[7*7]] {7*7} $7 \\1"),
    ("sandbox of a template", "{{constructor.constructor('alert(1)')()}}"),
    ("formats", "%s %n %x %99999999d {} {0} {:?}"),
    ("shell", "$(touch /tmp/avouch) `id` ; rm -rf / | & > /dev/null"),
    ("statement", "'; drop table avouch.outbox; -- $$ \\ \""),
    ("formula", "=cmd|' /C calc'!A0"),
    ("header", "one\r\nSet-Cookie: hostile=1\r\n\r\n<b>two</b>"),
    ("names of JavaScript", "__proto__ constructor toString null undefined NaN true -0 1e309"),
    ("separators of lines", "one\u{2028}two\u{2029}three\u{85}four\u{b}five\u{c}six"),
    ("colours of a terminal", "\u{1b}[31mred\u{1b}[0m \u{9b}31mred\u{9b}0m"),
    ("title of a terminal", "\u{1b}]0;hostile\u{7}\u{1b}]8;;http://example.com/\u{7}link\u{1b}]8;;\u{7}"),
    ("moves of a terminal", "gone\u{8}\u{8}\u{8}\u{8}\u{1b}[2J\u{1b}[1;1H\u{1b}[1A\u{1b}[2Kback\rover"),
    ("control characters", "a\u{1}b\u{2}c\u{7}d\u{8}e\u{e}f\u{1a}g\u{1f}h\u{7f}i\u{80}j\u{9f}k"),
    ("right to left override", "invoice\u{202e}gpj.exe"),
    ("unclosed isolates and embeddings", "one\u{2066}two\u{2067}three\u{2068}four\u{202a}five\u{202b}six\u{202d}seven"),
    ("marks of direction", "\u{200f}one\u{200e}two\u{61c}three"),
    ("from right to left", "\u{5e9}\u{5dc}\u{5d5}\u{5dd} 42 \u{645}\u{631}\u{62d}\u{628}\u{627}"),
    ("zero width", "pay\u{200b}ment\u{200c}s\u{200d}-\u{2060}ok\u{feff}\u{ad}!"),
    ("letters that look alike", "\u{440}\u{430}\u{443}\u{440}\u{430}l \u{ff1c}script\u{ff1e}"),
    (
        "beyond the first plane",
        "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1d54f} \u{20bb7} \u{e0041}\u{e007f} end",
    ),
    ("no characters", "a\u{fffe}b\u{ffff}c\u{fdd0}d\u{10ffff}e\u{fffd}f\u{e000}g"),
];

/// All of them.
pub fn corpus() -> Vec<HostileText> {
    let fixed = [(MARKUP, Harm::Markup), (LINKS, Harm::Link), (TEXTS, Harm::Text)];
    let fixed = fixed.into_iter().flat_map(|(texts, harm)| {
        texts.iter().map(move |&(name, text)| HostileText { name, text: text.to_owned(), harm })
    });
    fixed.chain(large()).collect()
}

/// Those that are large.
fn large() -> [HostileText; 4] {
    let text = |name, text| HostileText { name, text, harm: Harm::Text };
    let sentence = "a megabyte of <b data-hostile>words</b> & \"more\" ";
    [
        text("token without an end", format!("token{}", "W".repeat(TOKEN_CHARS))),
        text("flood of marks", format!("Z{}algo", "\u{301}\u{489}\u{35c}\u{328}".repeat(FLOOD_MARKS / 4))),
        text("many lines", "line\n".repeat(TOKEN_CHARS)),
        text("megabyte", sentence.repeat(MEGABYTE / sentence.len() + 1)),
    ]
}

/// Where bytes are allowed: payloads, HTTP, NATS.
pub fn nul() -> Vec<u8> {
    b"before\0<img data-hostile src=x onerror=alert(1)>\0after".to_vec()
}

/// Whether the page shows this as text, and nothing that it shows has become more than text. The reason, if not.
pub async fn look(page: &Page, hostile: &HostileText) -> Result<(), String> {
    let name = hostile.name;
    let sights = page.sights().await;
    let ran = [sights.dialogs, sights.windows, sights.csp].concat();
    if !ran.is_empty() {
        return Err(format!("{name}: something ran, or was kept from running: {ran:#?}"));
    }
    let start: String = hostile.text.chars().take(SHOWN_CHARS).collect();
    let found = page.evaluate(&format!("({ASKED})({})", json!(start))).await;
    match found.as_array().map(Vec::as_slice) {
        Some([]) => Ok(()),
        found => Err(format!("{name}: {found:?}")),
    }
}

/// Fails with all of these texts that are not shown as text.
#[track_caller]
pub fn assert_inert(page: &Page, texts: &[HostileText]) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        let mut harmed = Vec::new();
        for text in texts {
            harmed.extend(look(page, text).await.err());
        }
        assert!(harmed.is_empty(), "{} (at {at}):\n{}", page.url().await, harmed.join("\n"));
    }
}
