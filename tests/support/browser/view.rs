//! What a page is shown on, and to whom: the screen, the colours, the language and the time zone.

use serde_json::{Value, json};

/// How large the window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// 1280 × 800, with a mouse.
    Desktop,
    /// 390 × 844, two dots a pixel, for fingers.
    Phone,
}

/// What `prefers-color-scheme` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// What pages are shown with. Motion is always reduced: a picture of something that moves differs from run to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The window.
    pub screen: Screen,
    /// The colours.
    pub theme: Theme,
    /// A language tag, such as `zh-CN`: for `Accept-Language`, `navigator.language` and what JavaScript formats.
    pub locale: String,
    /// An IANA name, such as `Asia/Shanghai`.
    pub timezone: String,
}

impl Default for View {
    /// An English desktop, light, in UTC.
    fn default() -> View {
        View { screen: Screen::Desktop, theme: Theme::Light, locale: "en-US".to_owned(), timezone: "UTC".to_owned() }
    }
}

impl Screen {
    /// Both.
    pub const ALL: [Screen; 2] = [Screen::Desktop, Screen::Phone];

    /// In names of files.
    pub fn name(self) -> &'static str {
        match self {
            Screen::Desktop => "desktop",
            Screen::Phone => "phone",
        }
    }

    fn is_phone(self) -> bool {
        self == Screen::Phone
    }

    fn metrics(self) -> Value {
        let (width, height, scale) = match self {
            Screen::Desktop => (1280, 800, 1),
            Screen::Phone => (390, 844, 2),
        };
        json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": self.is_phone()})
    }
}

impl Theme {
    /// Both.
    pub const ALL: [Theme; 2] = [Theme::Light, Theme::Dark];

    /// As in CSS, and in names of files.
    pub fn name(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }
}

impl View {
    /// The commands that make a page look so.
    pub(super) fn commands(&self, user_agent: &str) -> Vec<(&'static str, Value)> {
        let scheme = json!({"name": "prefers-color-scheme", "value": self.theme.name()});
        let motion = json!({"name": "prefers-reduced-motion", "value": "reduce"});
        vec![
            ("Emulation.setDeviceMetricsOverride", self.screen.metrics()),
            ("Emulation.setTouchEmulationEnabled", json!({"enabled": self.screen.is_phone()})),
            ("Emulation.setEmulatedMedia", json!({"features": [scheme, motion]})),
            ("Emulation.setLocaleOverride", json!({"locale": self.locale})),
            ("Emulation.setTimezoneOverride", json!({"timezoneId": self.timezone})),
            // The override of the locale reaches neither the header nor `navigator`.
            ("Emulation.setUserAgentOverride", json!({"userAgent": user_agent, "acceptLanguage": self.languages()})),
        ]
    }

    /// `zh-CN,zh`, as a browser set to that language asks.
    fn languages(&self) -> String {
        match self.locale.split_once('-') {
            Some((language, _)) => format!("{},{language}", self.locale),
            None => self.locale.clone(),
        }
    }
}
