//! Which language a page speaks: what its reader chose, else what the browser asks for.

use super::words::{CHINESE, ENGLISH, Words};

/// One that the console speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// 简体中文.
    Chinese,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// Its tag in HTML and in the cookie.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// As its speakers call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "简体中文",
        }
    }

    /// What the console says in it.
    pub const fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }

    /// The language with this tag.
    pub fn of(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The chosen one, else the first that an `Accept-Language` names with the greatest weight.
    pub fn choose(chosen: Option<&str>, accepted: &str) -> Self {
        chosen.and_then(Self::of).or_else(|| best(accepted)).unwrap_or_default()
    }
}

fn best(accepted: &str) -> Option<Language> {
    let mut best: Option<(f32, Language)> = None;
    for part in accepted.split(',') {
        let (tag, weight) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.trim().parse().ok()).unwrap_or(0.0);
        let known = spoken(tag.trim()).filter(|_| weight > 0.0 && best.is_none_or(|(most, _)| weight > most));
        best = known.map(|language| (weight, language)).or(best);
    }
    best.map(|(_, language)| language)
}

/// By the first part of the tag: `en-GB` is English. Readers of other Chinese scripts are helped more by this one than by English.
fn spoken(tag: &str) -> Option<Language> {
    match tag.split('-').next()?.to_ascii_lowercase().as_str() {
        "en" => Some(Language::English),
        "zh" => Some(Language::Chinese),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{Chinese, English};
    use super::*;

    #[test]
    fn language_is_the_chosen_one_else_the_browsers_else_english() {
        for (chosen, accepted, language) in [
            (None, "", English),
            (None, "de, fr;q=0.9", English),
            (None, "zh-CN,zh;q=0.9,en;q=0.8", Chinese),
            (None, "de,en-GB;q=0.5,zh-Hant;q=0.7", Chinese),
            (None, "zh;q=0, en;q=0.1", English),
            (None, "zh;q=nonsense", English),
            (Some("en"), "zh-CN", English),
            (Some("zh-CN"), "en", Chinese),
            (Some("<b>"), "zh", Chinese),
        ] {
            assert_eq!(Language::choose(chosen, accepted), language, "{chosen:?} {accepted}");
        }
    }
}
