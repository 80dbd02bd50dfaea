//! HTTP requests to an origin that the operator named.

use std::fmt::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RuleError;
pub use crate::bindings::avouch::rules::http::{Request, Response};
use crate::context::Host;

/// The origin of a binding; from [`Context::http`](crate::Context::http).
///
/// Paths begin with `/` and may have a query: `/payments/42?full=1`; put foreign text into them with [`segment`].
/// Whatever the status, a response is no error, and redirects are not followed. No connection, or none in time:
/// transient. A body of more than 1 MiB: permanent.
pub struct Http<'a> {
    host: &'a Host,
    binding: &'a str,
}

impl<'a> Http<'a> {
    pub(crate) fn new(host: &'a Host, binding: &'a str) -> Self {
        Self { host, binding }
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Result<Response, RuleError> {
        self.send(Request::get(path))
    }

    /// `POST path` with `body` as JSON.
    pub fn post_json<T: Serialize + ?Sized>(&self, path: &str, body: &T) -> Result<Response, RuleError> {
        self.send(Request::post_json(path, body)?)
    }

    /// Sends any request.
    pub fn send(&self, request: Request) -> Result<Response, RuleError> {
        self.host.http_send(self.binding, &request)
    }
}

impl Request {
    /// A request without headers and body; `method` in capitals.
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// `GET path`.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// `POST path` with `body` as JSON. Permanent if it cannot be written as JSON.
    pub fn post_json<T: Serialize + ?Sized>(path: &str, body: &T) -> Result<Self, RuleError> {
        let body = serde_json::to_vec(body)
            .map_err(|e| RuleError::Permanent(format!("the body of POST {path} cannot be written as JSON: {e}")))?;
        Ok(Self { body, ..Self::new("POST", path) }.with_header("content-type", "application/json"))
    }

    /// With a header more. `host`, `content-length`, `connection`, `authorization` and the like are the host's.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body instead.
    pub fn with_body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }
}

impl Response {
    /// Is the status 200 to 299?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON. Permanent if it is not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, RuleError> {
        serde_json::from_slice(&self.body).map_err(|e| {
            RuleError::Permanent(format!("the body of a response with status {} cannot be read: {e}", self.status))
        })
    }

    /// The body as text. Permanent if it is not UTF-8.
    pub fn text(&self) -> Result<&str, RuleError> {
        str::from_utf8(&self.body).map_err(|e| {
            RuleError::Permanent(format!("the body of a response with status {} is not text: {e}", self.status))
        })
    }

    /// The value of the first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The error to return for a status that the rule does not expect: transient for 408, 425, 429 and 5xx, for which
    /// trying again may help; else permanent.
    pub fn unexpected(&self) -> RuleError {
        let why = format!("unexpected HTTP status {}", self.status);
        match self.status {
            408 | 425 | 429 | 500..=599 => RuleError::Transient(why),
            _ => RuleError::Permanent(why),
        }
    }
}

/// `text` as one segment of a path, or as one value of a query, percent-encoded: it stays where it is put.
///
/// Permanent for the empty text, `.` and `..`: no encoding keeps them from naming another path.
///
/// ```
/// use avouch_sdk::http::segment;
///
/// assert_eq!(segment("a/b?c").as_deref(), Ok("a%2Fb%3Fc"));
/// assert!(segment("..").is_err());
/// ```
pub fn segment(text: &str) -> Result<String, RuleError> {
    if matches!(text, "" | "." | "..") {
        return Err(RuleError::Permanent(format!("\"{text}\" cannot be a segment of a path")));
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;

    #[test]
    fn a_segment_never_names_another_path() {
        assert_eq!(segment("pay-1_2.3~"), Ok("pay-1_2.3~".to_owned()));
        assert_eq!(segment("../é%2e"), Ok("..%2F%C3%A9%252e".to_owned()));
        for text in ["", ".", ".."] {
            assert!(matches!(segment(text), Err(RuleError::Permanent(_))));
        }
    }

    #[test]
    fn an_unexpected_status_is_transient_where_trying_again_may_help() {
        let class = |status| mock::response(status, ()).unexpected();
        for status in [408, 425, 429, 500, 503, 599] {
            assert!(matches!(class(status), RuleError::Transient(_)), "{status}");
        }
        for status in [200, 302, 400, 401, 404] {
            assert!(matches!(class(status), RuleError::Permanent(_)), "{status}");
        }
    }

    #[test]
    fn only_2xx_is_success() {
        let success = |status| mock::response(status, ()).is_success();
        assert!(success(200) && success(299));
        assert!(!success(199) && !success(300));
    }
}
