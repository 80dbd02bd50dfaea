//! HTTP to addresses that others gave us: to nobody who is not meant, never further than asked, and never for long.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Url};

use crate::address::{Allowed, Careful, PrivateOnly, is_never_asked, literal};
use crate::store::connect::system_tls;
use crate::store::full_text;

/// A client that is careful whom it talks to.
pub struct Outside {
    client: Client,
    allowed: Allowed,
    allow_http: bool,
}

/// What is sent.
#[derive(Debug)]
pub struct Post {
    /// One that [`Outside::check`] has let through.
    pub url: Url,
    /// Names and values.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long all of it may take, the answer's body included.
    pub timeout: Duration,
    /// So much of the answer's body is read.
    pub answer_bytes_max: usize,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 599.
    pub status: u16,
    /// Names in lower case, and values that are text.
    pub headers: Vec<(String, String)>,
    /// The beginning of its body.
    pub body: Vec<u8>,
    /// Whether there was more.
    pub is_cut: bool,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Longer than any address is.
const URL_BYTES_MAX: usize = 2_048;
/// Making a connection around the world takes a second; a host that drops packets is given up before the call's time is over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections to one host: more are closed.
const IDLE_MAX: usize = 4;

impl Outside {
    /// Beside the public, it reaches what is allowed; plain HTTP if that is.
    pub fn new(allowed: Allowed, allow_http: bool) -> Result<Self, String> {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_MAX)
            .dns_resolver(Arc::new(Careful { allowed: allowed.clone() }))
            .user_agent(concat!("avouch/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(system_tls()?)
            .build()
            .map_err(|e| full_text(&e))?;
        Ok(Self { client, allowed, allow_http })
    }

    /// See [`check`].
    pub fn check(&self, text: &str) -> Result<Url, String> {
        check(text, &self.allowed, self.allow_http)
    }

    /// Sends it once. An error says why there is no answer.
    pub async fn post(&self, post: Post) -> Result<Answer, String> {
        let Post { url, headers, body, timeout, answer_bytes_max } = post;
        let work = async {
            let request = self.client.post(url).headers(headers).body(body);
            let mut response = request.send().await.map_err(|e| why(&e))?;
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers =
                headers.filter_map(|(n, v)| Some((n.as_str().to_owned(), v.to_str().ok()?.to_owned()))).collect();
            let (mut body, mut is_cut) = (Vec::new(), false);
            // What it says beyond is nobody's concern: the status is known.
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = answer_bytes_max - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    is_cut = true;
                    break;
                }
            }
            Ok(Answer { status, headers, body, is_cut })
        };
        let late = || format!("no answer within {} ms", timeout.as_millis());
        tokio::time::timeout(timeout, work).await.map_err(|_| late())?
    }
}

/// The address, if it is one that may be told. Where its name leads is looked at each time.
pub fn check(text: &str, allowed: &Allowed, allow_http: bool) -> Result<Url, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("it is longer than {URL_BYTES_MAX} bytes"));
    }
    // The parser's own message may quote it.
    let url: Url = text.parse().map_err(|_| "write https://host/path".to_owned())?;
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            return Err("http:// is read and changed on its way: write https://, or allow it: notify.allow_http".into());
        }
        _ => return Err("write https://host/path".into()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into it: put them into headers".into());
    }
    if url.fragment().is_some() {
        return Err("a fragment (#…) is never sent".into());
    }
    let host = url.host_str().ok_or("write https://host/path")?;
    if is_never_asked(host) {
        return Err("link-local and metadata addresses are never asked".into());
    }
    if literal(host).is_some_and(|ip| !allowed.may_reach(host, ip)) {
        return Err(format!("{host} is in a private network: if it shall be told, add it to notify.allow"));
    }
    Ok(url)
}

/// The library's text may hold the URL, and with it a token.
fn why(e: &reqwest::Error) -> String {
    let mut cause = e.source();
    while let Some(inner) = cause {
        if inner.is::<PrivateOnly>() {
            return "its name leads into a private network: if it shall be told, add it to notify.allow".to_owned();
        }
        cause = inner.source();
    }
    let innermost = std::iter::successors(e.source(), |inner| (*inner).source()).last();
    let innermost = innermost.map(ToString::to_string).unwrap_or_default();
    match () {
        () if e.is_timeout() => "it cannot be reached in time".to_owned(),
        () if e.is_connect() => format!("it cannot be reached: {innermost}"),
        () => format!("the connection broke off: {innermost}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(allow: &[&str], allow_http: bool) -> Outside {
        let entries: Vec<String> = allow.iter().map(ToString::to_string).collect();
        Outside::new(Allowed::parse(&entries).expect("is valid"), allow_http).expect("TLS works")
    }

    /// Addresses in every dress that a URL parser knows.
    const LED_ASTRAY: &[&str] = &[
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fd12::1]/",
        "https://10.0.0.1/",
        "https://192.168.0.1:8443/x",
        "https://100.64.0.1/",
        "https://172.16.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://100.100.100.200/",
        "https://0/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://１２７.０.０.１/",
        "https://127。0。0。1/",
        "https://%31%32%37.0.0.1/",
        "https://good.example@127.0.0.1/",
        "https://user:password@good.example/",
        "https://good.example#@127.0.0.1/",
        "https://good.example\\@127.0.0.1/",
        "http://good.example/",
        "ftp://good.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_",
        "//127.0.0.1/",
        "https://",
        "javascript:alert(1)",
        "",
    ];

    #[test]
    fn address_that_leads_astray_is_refused_in_every_dress() {
        let outside = outside(&[], false);
        for text in LED_ASTRAY {
            // A backslash makes a path of the rest: then its host is the good one.
            let led = outside.check(text).map(|url| url.host_str().map(str::to_owned));
            assert!(
                led.is_err() || led == Ok(Some("good.example".to_owned())) && text.contains('\\'),
                "{text}: {led:?}"
            );
        }
        for text in ["https://good.example/hook?x=1", "https://8.8.8.8:8443/", "https://[2606:4700::1111]/"] {
            assert!(outside.check(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn private_receiver_is_told_where_it_is_allowed_and_metadata_never() {
        let outside = outside(&["127.0.0.0/8", "10.0.0.0/8"], true);
        assert!(outside.check("http://127.0.0.1:1/x").is_ok() && outside.check("https://2130706433/").is_ok());
        for text in ["http://192.168.0.1/", "http://169.254.169.254/", "http://[::1]/"] {
            assert!(outside.check(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn name_that_leads_into_a_private_network_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let outside = outside(&[], true);
        let url = outside.check(&format!("http://localhost:{port}/")).expect("it is a name");
        let (timeout, headers) = (Duration::from_secs(5), HeaderMap::new());
        let post = Post { url, headers, body: Bytes::new(), timeout, answer_bytes_max: 10 };
        let told = outside.post(post).await.expect_err("it is refused");
        assert!(told.contains("private network"), "{told}");
        let came = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(came.is_err(), "somebody connected");
    }
}
