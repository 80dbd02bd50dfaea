//! The capability `http`: requests to origins that the operator named; nothing a guest says leads elsewhere.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};

use super::Error;
use super::v1::RuleError;
use crate::address::{self, Allowed, Careful, PrivateOnly};
use crate::secret::Secret;
use crate::store::connect::system_tls;

/// `[binding.http.NAME]`: an origin that plugins may be granted.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `https://payments.internal:8443`, or with a path that everything stays below.
    pub origin: String,
    /// Headers that are added to each request, such as `authorization`; the guest never sees them.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The origin's name may lead into a private network. An address is what it is.
    #[serde(default)]
    pub private: bool,
    /// How long making a connection may take.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
}

/// A call waits for it.
fn connect_timeout_ms() -> u64 {
    2_000
}

/// What a guest asks for.
pub struct Request {
    /// `GET`, `POST`, ….
    pub method: String,
    /// Below the origin.
    pub path: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// May be empty.
    pub body: Vec<u8>,
}

/// What the origin answered.
#[derive(Debug)]
pub struct Response {
    /// 100 to 599.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Within the limit.
    pub body: Vec<u8>,
}

/// One origin.
pub struct Origin {
    name: String,
    base: Url,
    headers: HeaderMap,
    client: Client,
}

/// Connection handling, credentials and routing are the host's.
const HOST_HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];
/// The rest of theirs.
const HOST_PREFIXES: &[&str] = &["proxy-", "x-forwarded-"];
const HEADERS_MAX: usize = 64;
/// TRACE would show the guest the operator's headers, and CONNECT would make a tunnel.
const METHODS: &[Method] =
    &[Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// A guest may not set a header of this name, in lower case.
pub fn is_hosts(header: &str) -> bool {
    HOST_HEADERS.contains(&header) || HOST_PREFIXES.iter().any(|prefix| header.starts_with(prefix))
}

impl Origin {
    /// Reads the settings; connects at the first request.
    pub fn new(name: &str, config: &Config) -> Result<Self, Error> {
        let fatal = |why: String| Error::Fatal(format!("binding.http.{name}: {why}"));
        let mut base: Url = config.origin.parse().map_err(|e| fatal(format!("origin: {e}")))?;
        let is_plain = base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none()
            && base.fragment().is_none();
        if !["http", "https"].contains(&base.scheme()) || base.host().is_none() || !is_plain {
            return Err(fatal(
                "origin: write https://host:port, with a path at most; credentials go into headers".into(),
            ));
        }
        if base.host_str().is_some_and(address::is_never_asked) {
            return Err(fatal("origin: link-local and metadata addresses are never asked".into()));
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let value = value.reveal().map_err(|e| fatal(e.to_string()))?;
            let mut value =
                HeaderValue::from_str(&value).map_err(|_| fatal(format!("headers.{name} holds control characters")))?;
            value.set_sensitive(true);
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).map_err(|e| fatal(format!("headers.{name}: {e}")))?,
                value,
            );
        }
        let allowed = if config.private { Allowed::everything() } else { Allowed::default() };
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .dns_resolver(Arc::new(Careful { allowed }))
            .user_agent(concat!("avouch/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(system_tls().map_err(fatal)?)
            .build()
            .map_err(|e| fatal(e.to_string()))?;
        Ok(Self { name: name.to_owned(), base, headers, client })
    }

    /// Sends it, and reads at most `bytes_max` of the answer.
    pub async fn send(&self, request: Request, bytes_max: usize, left: Duration) -> Result<Response, RuleError> {
        let request = self.request(request)?;
        let work = async {
            let mut response = self.client.execute(request).await.map_err(|e| self.away(&e))?;
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers =
                headers.filter_map(|(n, v)| Some((n.as_str().to_owned(), v.to_str().ok()?.to_owned()))).collect();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|e| self.away(&e))? {
                if body.len() + chunk.len() > bytes_max {
                    return Err(RuleError::Permanent(format!("an answer over rules.bytes_in_max = {bytes_max}")));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Response { status, headers, body })
        };
        let late = || RuleError::Transient(format!("binding http:{} did not answer within the call's time", self.name));
        tokio::time::timeout(left, work).await.map_err(|_| late())?
    }

    fn request(&self, request: Request) -> Result<reqwest::Request, RuleError> {
        let Request { method, path, headers, body } = request;
        let wrong = |what: String| RuleError::Permanent(format!("a request to binding http:{}: {what}", self.name));
        let known = METHODS.iter().find(|known| known.as_str() == method);
        let method = known.cloned().ok_or_else(|| wrong(format!("method {method:?} is not one of {METHODS:?}")))?;
        let url = self
            .url(&path)
            .ok_or_else(|| wrong(format!("path {path:?} must begin with / and stay below the origin")))?;
        let mut built = reqwest::Request::new(method, url);
        if headers.len() > HEADERS_MAX {
            return Err(wrong(format!("{} headers: at most {HEADERS_MAX}", headers.len())));
        }
        for (name, value) in headers {
            let lower = name.to_ascii_lowercase();
            if is_hosts(&lower) || self.headers.contains_key(&lower) {
                return Err(RuleError::Denied(format!(
                    "header {lower} is the host's: the operator sets it in binding.http.{}.headers",
                    self.name
                )));
            }
            let name = HeaderName::from_bytes(lower.as_bytes()).map_err(|_| wrong(format!("header name {lower:?}")))?;
            let value = HeaderValue::from_str(&value).map_err(|_| wrong(format!("the value of header {name}")))?;
            built.headers_mut().append(name, value);
        }
        built.headers_mut().extend(self.headers.clone());
        if !body.is_empty() {
            *built.body_mut() = Some(body.into());
        }
        Ok(built)
    }

    /// The guest's path below the origin, and nothing else.
    fn url(&self, path: &str) -> Option<Url> {
        if !path.starts_with('/') || path.contains(['\\', '#']) || path.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return None;
        }
        let base = self.base.as_str().trim_end_matches('/');
        let url: Url = format!("{base}{path}").parse().ok()?;
        let rest = url.path().strip_prefix(self.base.path().trim_end_matches('/'));
        // Below `/api` is `/api/x`, and not `/api-admin`.
        let stays = url.origin() == self.base.origin() && rest.is_some_and(|rest| rest.starts_with('/'));
        (stays && url.username().is_empty() && url.password().is_none()).then_some(url)
    }

    fn away(&self, e: &reqwest::Error) -> RuleError {
        let name = &self.name;
        let mut cause = e.source();
        while let Some(inner) = cause.filter(|inner| !inner.is::<PrivateOnly>()) {
            cause = inner.source();
        }
        if cause.is_some() {
            return RuleError::Denied(format!(
                "binding http:{name} leads into a private network: if it shall, set binding.http.{name}.private = true"
            ));
        }
        // The library's text may hold the URL, which the guest does not see.
        let why = if e.is_timeout() {
            "took too long"
        } else if e.is_connect() {
            "cannot be reached"
        } else {
            "broke off"
        };
        tracing::debug!(binding = name, error = %crate::store::full_text(e), "an HTTP request of a plugin failed");
        RuleError::Transient(format!("binding http:{name} {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Result<Origin, Error> {
        Origin::new(
            "test",
            &Config { origin: text.into(), headers: BTreeMap::new(), private: false, connect_timeout_ms: 100 },
        )
    }

    #[test]
    fn path_stays_below_the_origin() {
        let origin = origin("https://payments.test:8443/api/").expect("is valid");
        let url = |path: &str| origin.url(path).map(|u| u.to_string());
        assert_eq!(url("/v1/42?full=1").as_deref(), Some("https://payments.test:8443/api/v1/42?full=1"));
        for path in [
            "",
            "v1",
            "@evil.test/",
            "/../admin",
            "/../api-admin",
            "/..",
            "/a/../../admin",
            "/%2e%2e/%2e%2e/x",
            "/a b",
            "/\\evil.test",
            "/a\r\nb",
        ] {
            assert_eq!(url(path), None, "{path:?}");
        }
        assert!(url("//evil.test/").is_none_or(|u| u.starts_with("https://payments.test:8443/api/")));
    }

    #[test]
    fn origin_is_an_address_and_nothing_more() {
        for text in ["ftp://x", "https://u:p@x", "https://x?y", "file:///etc/passwd", "x"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn headers_of_the_host_are_denied() {
        let origin = origin("https://payments.test").expect("is valid");
        let request = |name: &str| Request {
            method: "GET".into(),
            path: "/".into(),
            headers: vec![(name.into(), "x".into())],
            body: Vec::new(),
        };
        assert!(matches!(origin.request(request("Host")), Err(RuleError::Denied(_))));
        assert!(matches!(origin.request(request("Proxy-Authorization")), Err(RuleError::Denied(_))));
        assert!(matches!(origin.request(request("bad name")), Err(RuleError::Permanent(_))));
        assert!(origin.request(request("x-request-id")).is_ok());
    }

    #[test]
    fn metadata_of_a_cloud_is_no_origin() {
        for text in
            ["http://169.254.169.254", "http://2852039166/", "http://0xa9.0xfe.43518", "http://[fe80::1]", "http://0"]
        {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn methods_that_show_or_tunnel_are_refused() {
        let origin = origin("https://payments.test").expect("is valid");
        for method in ["TRACE", "CONNECT", "get", "", "GET /x HTTP/1.1\r\n", "PURGE"] {
            let request = Request { method: method.into(), path: "/".into(), headers: Vec::new(), body: Vec::new() };
            assert!(matches!(origin.request(request), Err(RuleError::Permanent(_))), "{method:?}");
        }
    }
}
