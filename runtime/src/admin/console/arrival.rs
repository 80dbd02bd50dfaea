//! From a request to a visit: who comes, in which language, and what they did just before.

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use time::OffsetDateTime;

use super::lang::Language;
use super::notice::Notice;
use super::visit::{Reader, Visit};
use crate::admin::caller::{By, Caller};
use crate::admin::cookie::Cookie;
use crate::admin::problem::Problem;
use crate::admin::state::State;

impl Visit {
    /// A look by somebody who is not known yet.
    pub fn of(state: &State, method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let chosen = Cookie::Language.of(headers, &state.site);
        let accepted = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let language = Language::choose(chosen, accepted);
        let (place, notice) = read(method, uri);
        let has_endpoints = state.parts().is_some_and(|parts| parts.terms.is_some());
        Self {
            language,
            w: language.words(),
            reader: None,
            place,
            now: OffsetDateTime::now_utc(),
            has_endpoints,
            notice,
        }
    }

    /// The same look, by this caller if one is known.
    pub fn by(self, caller: Option<&Caller>) -> Self {
        let reader = caller.map(|caller| Reader {
            who: caller.who.clone(),
            role: caller.role,
            has_session: matches!(caller.by, By::Session(_)),
        });
        Self { reader, ..self }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let unconnected = || Problem::internal("a page is not connected", "report it as a fault of avouch");
        let state = parts.extensions.get::<State>().ok_or_else(unconnected)?;
        Ok(Self::of(state, &parts.method, &parts.uri, &parts.headers).by(parts.extensions.get::<Caller>()))
    }
}

/// The place to come back to, without what was done, and what was done. Nobody can come back to where a form was sent.
fn read(method: &Method, uri: &Uri) -> (String, Option<Notice>) {
    if method != Method::GET {
        return ("/".to_owned(), None);
    }
    let parts = uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    let (told, kept): (Vec<_>, Vec<_>) = parts.partition(|part| part.starts_with("notice="));
    let notice = told.first().and_then(|part| Notice::read(&part["notice=".len()..].replace("%2D", "-")));
    let place = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) };
    (place, notice)
}

#[cfg(test)]
mod tests {
    use super::super::looks::with_notice;
    use super::super::notice::Deed;
    use super::*;

    #[test]
    fn notice_is_told_once_and_the_place_stays() {
        let notice = Notice { deed: Deed::RollBack, done: 1, of: 1 };
        for (place, again) in [("/dead", "/dead"), ("/messages?key=a%26b&notice=resent-1-1", "/messages?key=a%26b")] {
            let uri: Uri = with_notice(place, notice).parse().expect("is an address");
            assert_eq!(read(&Method::GET, &uri), (again.to_owned(), Some(notice)));
        }
        let uri: Uri = "/pause?x=1".parse().expect("is an address");
        assert_eq!(read(&Method::POST, &uri), ("/".to_owned(), None));
    }
}
