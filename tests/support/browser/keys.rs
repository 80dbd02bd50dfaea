//! Keys by their names, as a keyboard sends them.

use serde_json::{Value, json};

/// Names as in `KeyboardEvent.key`, the number that Windows gives them, and the text that they make.
const NAMED: &[(&str, u32, &str)] = &[
    ("Enter", 13, "\r"),
    ("Tab", 9, ""),
    ("Escape", 27, ""),
    ("Backspace", 8, ""),
    ("Delete", 46, ""),
    ("Space", 32, " "),
    ("ArrowLeft", 37, ""),
    ("ArrowUp", 38, ""),
    ("ArrowRight", 39, ""),
    ("ArrowDown", 40, ""),
    ("PageUp", 33, ""),
    ("PageDown", 34, ""),
    ("End", 35, ""),
    ("Home", 36, ""),
];
const MODIFIERS: &[(&str, u32)] = &[("Alt", 1), ("Control", 2), ("Meta", 4), ("Shift", 8)];
const SHIFT: u32 = 8;

/// The parameters of `Input.dispatchKeyEvent`, down and up, for keys such as `Enter`, `a`, `é`, `Shift+Tab` or `Control+k`.
pub fn events(keys: &str) -> [Value; 2] {
    let (held, name) = match keys.rsplit_once('+') {
        Some((held, name)) if !held.is_empty() && !name.is_empty() => (held, name),
        _ => ("", keys),
    };
    let modifiers = held.split('+').filter(|word| !word.is_empty()).map(modifier).sum::<u32>();
    let mut down = key(name);
    down["modifiers"] = modifiers.into();
    if modifiers & !SHIFT != 0 {
        // With them a key is a command and makes no text.
        down["text"] = "".into();
    }
    let mut up = down.clone();
    up["type"] = "keyUp".into();
    up["text"] = "".into();
    down["type"] = if down["text"] == "" { "rawKeyDown" } else { "keyDown" }.into();
    [down, up]
}

fn modifier(word: &str) -> u32 {
    let found = MODIFIERS.iter().find(|(name, _)| *name == word);
    found.unwrap_or_else(|| panic!("{word} is no key that is held: those are {MODIFIERS:?}")).1
}

fn key(name: &str) -> Value {
    if let Some((named, number, text)) = NAMED.iter().find(|(named, ..)| *named == name) {
        let key = if *named == "Space" { " " } else { named };
        return json!({"key": key, "code": named, "windowsVirtualKeyCode": number, "text": text});
    }
    let mut letters = name.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else {
        let names: Vec<_> = NAMED.iter().map(|(name, ..)| name).collect();
        panic!("{name} is no key: those are single characters and {names:?}");
    };
    let upper = letter.to_ascii_uppercase();
    let (code, number) = match upper {
        'A'..='Z' => (format!("Key{upper}"), u32::from(upper)),
        '0'..='9' => (format!("Digit{upper}"), u32::from(upper)),
        _ => (String::new(), 0),
    };
    json!({"key": name, "code": code, "windowsVirtualKeyCode": number, "text": name})
}
