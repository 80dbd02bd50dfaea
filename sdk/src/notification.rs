//! How an outside party is told, and what its answer means.

use std::fmt::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RuleError;
pub use crate::bindings::notification_plugin::exports::avouch::rules::notification::{
    Delivery, Outcome, Response as NotificationResponse, ShapedRequest as Shaped,
};

/// `retry-after` beyond this is no wish but a mistake, or malice: a day.
const RETRY_AFTER_MAX_S: u32 = 86_400;

/// What is sent to an endpoint. The host adds what Standard Webhooks asks for, its signature included, and sends it as a POST.
///
/// ```
/// use avouch_sdk::Shaped;
///
/// let shaped = Shaped::form(&[("order", "7"), ("state", "paid up")]).with_path("/orders/7").with_header("x-shop", "a");
/// assert_eq!(shaped.body, b"order=7&state=paid+up");
/// ```
impl Shaped {
    /// These bytes, of this type.
    pub fn body(content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: None, headers: vec![("content-type".to_owned(), content_type.to_owned())], body: bytes.into() }
    }

    /// `value` as JSON. Permanent if it cannot be written as that.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, RuleError> {
        let body = serde_json::to_vec(value)
            .map_err(|e| RuleError::Permanent(format!("the body of a notification cannot be written as JSON: {e}")))?;
        Ok(Self::body("application/json", body))
    }

    /// The fields of a form, in this order, as browsers send them: `application/x-www-form-urlencoded`.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(fields: &[(N, V)]) -> Self {
        let mut body = String::new();
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            encode(&mut body, name.as_ref());
            body.push('=');
            encode(&mut body, value.as_ref());
        }
        Self::body("application/x-www-form-urlencoded", body)
    }

    /// Below the endpoint's URL: `/orders/42?full=1`, or `?full=1`. Put foreign text into it with
    /// [`segment`](crate::http::segment).
    pub fn with_path(self, path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    /// With a header more. `host`, `content-length`, `authorization`, `webhook-…` and the like are the host's.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// As the URL standard has it for forms.
fn encode(to: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => to.push(char::from(byte)),
            b' ' => to.push('+'),
            _ => write!(to, "%{byte:02X}").expect("a String takes everything"),
        }
    }
}

/// What an outside party answers is never an error of the rule: what cannot be read is `None`.
impl NotificationResponse {
    /// Is the status 200 to 299?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text; `None` if it is not UTF-8, or longer than the plugin is shown.
    pub fn text(&self) -> Option<&str> {
        if self.body_is_cut { None } else { str::from_utf8(&self.body).ok() }
    }

    /// The body as JSON; `None` if it is not of this shape, or longer than the plugin is shown.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.text()?).ok()
    }

    /// The value of the first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Outcome {
    /// Told again when the schedule says so.
    pub fn retry() -> Self {
        Self::Retry(None)
    }

    /// Told again after `pause_ms` milliseconds, within the configured bounds.
    pub fn retry_after(pause_ms: u32) -> Self {
        Self::Retry(Some(pause_ms))
    }

    /// Never told again; `reason` says why.
    pub fn give_up(reason: impl Into<String>) -> Self {
        Self::GiveUp(reason.into())
    }

    /// What `#[notification]` makes of an answer without a `#[read]`, after Standard Webhooks: 2xx is delivered, 410 is never
    /// told again, all else is retried; after `retry-after`, where that gives seconds, a day at most.
    pub fn by_status(response: &NotificationResponse) -> Self {
        match response.status {
            200..=299 => Self::Delivered,
            410 => Self::give_up("the endpoint is gone: HTTP status 410"),
            _ => Self::Retry(retry_after_ms(response)),
        }
    }
}

fn retry_after_ms(response: &NotificationResponse) -> Option<u32> {
    let seconds: u32 = response.header("retry-after")?.trim().parse().ok()?;
    Some(seconds.min(RETRY_AFTER_MAX_S) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;

    #[test]
    fn fields_of_a_form_stay_apart_whatever_they_hold() {
        let shaped = Shaped::form(&[("a&b", "c=d"), ("é", "1 + 1"), ("", ""), ("%", "~*-._/\r\n")]);
        assert_eq!(String::from_utf8(shaped.body).as_deref(), Ok("a%26b=c%3Dd&%C3%A9=1+%2B+1&=&%25=%7E*-._%2F%0D%0A"),);
        assert_eq!(shaped.headers, [("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())]);
        assert_eq!(Shaped::form::<&str, &str>(&[]).body, b"");
    }

    #[test]
    fn a_body_bears_its_type() {
        let json = Shaped::json(&["a"]).expect("it can be written").with_path("/x").with_header("x-a", "b");
        assert_eq!((json.body.as_slice(), json.path.as_deref()), (br#"["a"]"#.as_slice(), Some("/x")));
        let header = |n: usize| (json.headers[n].0.as_str(), json.headers[n].1.as_str());
        assert_eq!([header(0), header(1)], [("content-type", "application/json"), ("x-a", "b")]);
        assert_eq!(Shaped::body("text/plain", "a").headers[0].1, "text/plain");
    }

    #[test]
    fn the_status_tells_what_nobody_reads() {
        let of = |status| Outcome::by_status(&mock::answered(status, ""));
        assert_eq!([of(200), of(204), of(299)], [Outcome::Delivered, Outcome::Delivered, Outcome::Delivered]);
        assert!(matches!(of(410), Outcome::GiveUp(why) if why.contains("410")));
        for status in [100, 199, 300, 301, 400, 401, 404, 429, 500, 503, 599] {
            assert_eq!(of(status), Outcome::retry(), "{status}");
        }
    }

    #[test]
    fn retry_after_is_heeded_within_a_day() {
        let of = |value| Outcome::by_status(&mock::answered(503, "").with_header("Retry-After", value));
        assert_eq!(of("120"), Outcome::retry_after(120_000));
        assert_eq!(of(" 0 "), Outcome::retry_after(0));
        assert_eq!(of("4294967295"), Outcome::retry_after(86_400_000));
        for odd in ["", "-1", "soon", "1.5", "99999999999", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(of(odd), Outcome::retry(), "{odd}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_no_answer() {
        assert_eq!(mock::answered(200, "a").text(), Some("a"));
        assert_eq!(mock::answered(200, vec![0xff]).text(), None);
        assert_eq!(mock::answered(200, "a").cut().text(), None);
        assert_eq!(mock::answered(200, "7").json::<u32>(), Some(7));
        assert_eq!(mock::answered(200, "7").cut().json::<u32>(), None);
        assert_eq!(mock::answered(200, "x").json::<u32>(), None);
        assert!(mock::answered(299, "").is_success() && !mock::answered(300, "").is_success());
    }
}
