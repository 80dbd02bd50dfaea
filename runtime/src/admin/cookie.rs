//! Cookies: what they are called, who gets them, how long they last.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use super::host::Site;

/// A cookie of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The id of a session. Not sent along when another site's link leads here.
    Session,
    /// A login at the issuer that is under way. The issuer's page leads back here, so that it must be sent along then.
    Login,
    /// The language that pages speak: chosen by whoever reads, and no secret. Links from elsewhere lead to pages in it too.
    Language,
}

impl Cookie {
    /// By HTTPS with the prefix that keeps other hosts of the domain from setting it; browsers refuse that prefix by HTTP.
    fn name(self, site: &Site) -> &'static str {
        match (self, site.is_https) {
            (Self::Session, true) => "__Host-avouch_session",
            (Self::Session, false) => "avouch_session",
            (Self::Login, true) => "__Host-avouch_login",
            (Self::Login, false) => "avouch_login",
            (Self::Language, true) => "__Host-avouch_language",
            (Self::Language, false) => "avouch_language",
        }
    }

    /// Its value, if the request brings it.
    pub fn of<'a>(self, headers: &'a HeaderMap, site: &Site) -> Option<&'a str> {
        let name = self.name(site);
        let texts = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The header that sets it for so many seconds.
    pub fn set(self, site: &Site, value: &str, max_age_s: u32) -> HeaderValue {
        let same_site = match self {
            Self::Session => "Strict",
            Self::Login | Self::Language => "Lax",
        };
        let secure = if site.is_https { "; Secure" } else { "" };
        let name = self.name(site);
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}; Max-Age={max_age_s}{secure}");
        HeaderValue::from_str(&text).expect("values are letters, digits, dots and dashes")
    }

    /// The header that removes it.
    pub fn clear(self, site: &Site) -> HeaderValue {
        self.set(site, "", 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_is_found_among_others_and_kept_from_scripts() {
        let site = Site::new(Some("https://x"), false).expect("is a URL");
        let set = Cookie::Session.set(&site, "abc", 5);
        for part in ["__Host-avouch_session=abc;", "Path=/", "HttpOnly", "SameSite=Strict", "Secure"] {
            assert!(set.to_str().expect("is text").contains(part), "{part}");
        }
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("avouch_session=other; a=b"));
        assert_eq!(Cookie::Session.of(&headers, &site), None);
        headers.append(COOKIE, HeaderValue::from_static("x=y;  __Host-avouch_session=abc; z"));
        assert_eq!(Cookie::Session.of(&headers, &site), Some("abc"));
    }
}
