//! The rule `notification`: what a plugin may have sent to an outside party, where that leads, and how much of the answer the
//! plugin is shown.

use std::borrow::Cow;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::http::is_hosts;
use super::v1::{NotificationResponse, ShapedRequest};

/// The host signs, after Standard Webhooks.
const SIGNATURE_PREFIX: &str = "webhook-";
const HEADERS_MAX: usize = 64;
/// What servers take by default.
const HEADERS_BYTES_MAX: usize = 8 << 10;
/// What servers and what stands before them take of a URL.
const PATH_BYTES_MAX: usize = 2048;

/// So much of an answer's body a plugin is shown: who sends need not read more.
pub const RESPONSE_BODY_BYTES_MAX: usize = 64 << 10;
/// And so much of its headers, names and values.
pub const RESPONSE_HEADERS_BYTES_MAX: usize = 16 << 10;

/// What is wrong with a request that a plugin has shaped, for people.
pub fn verify(request: &ShapedRequest, bytes_out_max: usize) -> Result<(), String> {
    let ShapedRequest { path, headers, body } = request;
    if body.len() > bytes_out_max {
        return Err(format!("it shaped a body of {} bytes: rules.bytes_out_max = {bytes_out_max}", body.len()));
    }
    verify_headers(headers)?;
    match path {
        Some(path) => verify_path(path),
        None => Ok(()),
    }
}

fn verify_headers(headers: &[(String, String)]) -> Result<(), String> {
    if headers.len() > HEADERS_MAX {
        return Err(format!("it shaped {} headers: at most {HEADERS_MAX}", headers.len()));
    }
    let bytes: usize = headers.iter().map(size).sum();
    if bytes > HEADERS_BYTES_MAX {
        return Err(format!("it shaped {bytes} bytes of headers: at most {HEADERS_BYTES_MAX}"));
    }
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(format!("it shaped a header whose name is none: {name:?}"));
        }
        if is_hosts(&lower) || lower.starts_with(SIGNATURE_PREFIX) {
            return Err(format!("denied: header {lower} is the host's"));
        }
        if HeaderValue::from_str(value).is_err() {
            return Err(format!("it shaped a header {lower} whose value has control characters"));
        }
    }
    Ok(())
}

fn verify_path(path: &str) -> Result<(), String> {
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("it shaped a path of {} bytes: at most {PATH_BYTES_MAX}", path.len()));
    }
    let is_plain = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'\\'));
    if !path.starts_with(['/', '?']) || !is_plain {
        return Err(format!(
            "it shaped the path {path:?}: it begins with / or ?, and is ASCII without blanks, # and \\"
        ));
    }
    let (below, _) = split(path);
    let leads_up = |segment: &str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
    match below.split('/').any(leads_up) {
        true => Err(format!("it shaped the path {path:?}, which does not stay below the endpoint's URL")),
        false => Ok(()),
    }
}

/// The path and the query.
fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)))
}

fn size((name, value): &(String, String)) -> usize {
    name.len() + value.len()
}

impl ShapedRequest {
    /// Where it goes: the endpoint's URL, or what is below it. None if the endpoint's URL is none that can be asked, or if it
    /// would lead elsewhere.
    pub fn url(&self, endpoint: &str) -> Option<String> {
        let base: Url = endpoint.parse().ok()?;
        if !["http", "https"].contains(&base.scheme()) || !base.has_host() {
            return None;
        }
        let mut url = base.clone();
        url.set_fragment(None);
        let Some(path) = &self.path else { return Some(url.into()) };
        verify_path(path).ok()?;
        let (below, query) = split(path);
        let stays = base.path().trim_end_matches('/');
        if !below.is_empty() {
            url.set_path(&format!("{stays}{below}"));
        }
        let is_there = |query: &&str| !query.is_empty();
        let both = match (base.query().filter(is_there), query.filter(is_there)) {
            (Some(own), Some(more)) => Some(format!("{own}&{more}")),
            (own, more) => own.or(more).map(str::to_owned),
        };
        url.set_query(both.as_deref());
        let is_below = below.is_empty() || url.path().strip_prefix(stays).is_some_and(|rest| rest.starts_with('/'));
        (is_below && url.origin() == base.origin()).then(|| url.into())
    }
}

/// What a plugin is shown of an answer.
pub fn shown(response: &NotificationResponse) -> Cow<'_, NotificationResponse> {
    let mut left = RESPONSE_HEADERS_BYTES_MAX;
    let fits = |header: &&(String, String)| {
        let rest = left.checked_sub(size(header));
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    let headers = response.headers.iter().take_while(fits).count();
    if headers == response.headers.len() && response.body.len() <= RESPONSE_BODY_BYTES_MAX {
        return Cow::Borrowed(response);
    }
    let body = &response.body[..response.body.len().min(RESPONSE_BODY_BYTES_MAX)];
    Cow::Owned(NotificationResponse {
        status: response.status,
        headers: response.headers[..headers].to_vec(),
        body: body.to_vec(),
        body_is_cut: response.body_is_cut || body.len() < response.body.len(),
    })
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(path: Option<&str>, headers: &[(&str, &str)], body: usize) -> ShapedRequest {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        ShapedRequest { path: path.map(str::to_owned), headers, body: vec![0; body] }
    }

    fn url(endpoint: &str, path: Option<&str>) -> Option<String> {
        shaped(path, &[], 0).url(endpoint)
    }

    #[test]
    fn request_goes_to_the_endpoint_or_below_it() {
        let hook = "https://shop.test:8443/hooks/pay";
        assert_eq!(url(hook, None).as_deref(), Some(hook));
        assert_eq!(url(hook, Some("/orders/4%2F2?full=1")), Some(format!("{hook}/orders/4%2F2?full=1")));
        assert_eq!(url(&format!("{hook}/"), Some("/a/")), Some(format!("{hook}/a/")));
        assert_eq!(url(hook, Some("?a=/../b")), Some(format!("{hook}?a=/../b")));
        assert_eq!(url("http://shop.test", Some("//evil.test")).as_deref(), Some("http://shop.test//evil.test"));
    }

    #[test]
    fn query_of_the_endpoint_stays_and_comes_first() {
        let hook = "https://shop.test/hook?key=a%26b#part";
        assert_eq!(url(hook, None).as_deref(), Some("https://shop.test/hook?key=a%26b"));
        assert_eq!(url(hook, Some("/x")).as_deref(), Some("https://shop.test/hook/x?key=a%26b"));
        assert_eq!(url(hook, Some("/x?y=1?2")).as_deref(), Some("https://shop.test/hook/x?key=a%26b&y=1?2"));
        assert_eq!(url(hook, Some("?y=1")).as_deref(), Some("https://shop.test/hook?key=a%26b&y=1"));
    }

    #[test]
    fn path_that_leads_elsewhere_is_refused() {
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        let bad = [
            "",
            "x",
            "@evil.test/",
            ":80/",
            "https://evil.test/",
            "/..",
            "/../pay2",
            "/a/%2E%2e/%2e./x",
            "/./x",
            "/%2e",
            "/a b",
            "/a\tb",
            "/a\r\nb",
            "\\\\evil.test",
            "/\\..\\x",
            "/x#y",
            "/é",
            "/\0",
            "/..?x",
            &long,
        ];
        for path in bad {
            assert!(verify(&shaped(Some(path), &[], 0), 0).is_err(), "{path:?}");
            assert_eq!(url("https://shop.test/hooks/pay", Some(path)), None, "{path:?}");
        }
        for path in ["/", "/...", "/..a", "/.well-known", "/%2e%2e%2fx", "/a?../..", "?"] {
            assert_eq!(verify(&shaped(Some(path), &[], 0), 0), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn endpoint_that_is_no_http_url_leads_nowhere() {
        for endpoint in ["", "x", "ftp://shop.test/", "file:///etc/passwd", "data:text/plain,x", "http://"] {
            assert_eq!(url(endpoint, None), None, "{endpoint}");
        }
    }

    #[test]
    fn headers_are_bounded_in_number_and_size() {
        let of = |n: usize, bytes: usize| shaped(None, &vec![("x", "y".repeat(bytes).as_str()); n], 0);
        assert_eq!(verify(&of(HEADERS_MAX, 100), 0), Ok(()));
        assert!(verify(&of(HEADERS_MAX + 1, 1), 0).expect_err("one too many").contains("at most 64"));
        assert_eq!(verify(&of(1, HEADERS_BYTES_MAX - 1), 0), Ok(()));
        assert!(verify(&of(1, HEADERS_BYTES_MAX), 0).expect_err("a byte too many").contains("at most 8192"));
    }

    #[test]
    fn headers_of_the_host_and_what_is_no_header_are_refused() {
        let says = |name: &str, value: &str, word: &str| {
            let why = verify(&shaped(None, &[(name, value)], 0), 0).expect_err(name);
            assert!(why.contains(word), "{name}: {why}");
        };
        for name in ["Host", "content-length", "Authorization", "Transfer-Encoding", "Proxy-Authorization", "Cookie"] {
            says(name, "x", "denied");
        }
        for name in ["Webhook-Id", "webhook-signature", "WEBHOOK-TIMESTAMP", "webhook-more"] {
            says(name, "x", "denied");
        }
        for name in ["", "a b", "a\r\nb", "a:b", "é", "\0"] {
            says(name, "x", "name");
        }
        for value in ["a\r\nb", "a\nb", "\0", "\x7f"] {
            says("x-a", value, "value");
        }
        assert_eq!(verify(&shaped(None, &[("Content-Type", "text/plain"), ("x-a", "b c é")], 0), 0), Ok(()));
    }

    #[test]
    fn body_is_bounded() {
        assert_eq!(verify(&shaped(None, &[], 10), 10), Ok(()));
        assert!(verify(&shaped(None, &[], 11), 10).expect_err("a byte too many").contains("rules.bytes_out_max = 10"));
    }

    #[test]
    fn answer_is_shown_as_far_as_the_bounds_go_and_says_so() {
        let of = |headers: usize, body: usize| NotificationResponse {
            status: 200,
            headers: vec![("x".into(), "y".repeat(1023)); headers],
            body: vec![b'z'; body],
            body_is_cut: false,
        };
        let whole = of(16, RESPONSE_BODY_BYTES_MAX);
        assert!(matches!(shown(&whole), Cow::Borrowed(_)));
        let long = of(17, RESPONSE_BODY_BYTES_MAX + 1);
        let cut = shown(&long);
        assert_eq!((cut.headers.len(), cut.body.len(), cut.body_is_cut), (16, RESPONSE_BODY_BYTES_MAX, true));
        let told = NotificationResponse { body_is_cut: true, ..of(17, 1) };
        assert!(shown(&told).body_is_cut, "what was cut before stays cut");
        assert!(!shown(&of(17, 1)).body_is_cut, "headers alone were left out");
    }
}
