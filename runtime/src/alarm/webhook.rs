//! A sink that is a POST of JSON to one address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url};

use super::Error;
use crate::secret::Secret;
use crate::store::connect::system_tls;
use crate::store::full_text;

/// `webhook = { url = "…", headers = { … } }`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where; often with a token in it.
    pub url: Secret,
    /// Headers that are added, such as `authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Whether `http://` may leave this machine.
    #[serde(default)]
    pub allow_http: bool,
}

/// The address, read.
pub struct Webhook {
    url: Url,
    headers: HeaderMap,
    client: Client,
}

impl Webhook {
    /// Reads the settings; connects when there is something to say.
    pub fn new(config: &Config) -> Result<Self, String> {
        let text = config.url.reveal().map_err(|e| format!("webhook.url: {e}"))?;
        // The parser's own message may quote it.
        let url: Url = text.parse().map_err(|_| "webhook.url: write https://host/path".to_owned())?;
        match url.scheme() {
            "https" => {}
            "http" if config.allow_http || url.host_str().is_some_and(is_loopback) => {}
            "http" => {
                return Err(
                    "webhook.url: http:// leaves this machine unencrypted: write https://, or allow_http = true".into(),
                );
            }
            _ => return Err("webhook.url: write https://host/path".into()),
        }
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in &config.headers {
            let value = value.reveal().map_err(|e| format!("webhook.headers.{name}: {e}"))?;
            let value = HeaderValue::from_str(&value);
            let mut value = value.map_err(|_| format!("webhook.headers.{name} holds control characters"))?;
            value.set_sensitive(true);
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|e| format!("webhook.headers.{name}: {e}"))?;
            headers.insert(key, value);
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("avouch/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(system_tls()?)
            .build()
            .map_err(|e| full_text(&e))?;
        Ok(Self { url, headers, client })
    }

    /// Sends it once. The body of the answer is not read.
    pub async fn send(&self, json: Vec<u8>) -> Result<(), Error> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).body(json);
        // The URL may hold a token.
        let answer = request.send().await.map_err(|e| Error::Retry(full_text(&e.without_url())))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status if is_passing(status) => Err(Error::Retry(format!("the webhook answers {status}"))),
            status => Err(Error::Refused(format!("the webhook answers {status}: correct its url or headers"))),
        }
    }
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

/// Whether what is sent to this host stays on this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, allow_http: bool) -> Option<String> {
        Webhook::new(&Config { url: Secret::new(url), headers: BTreeMap::new(), allow_http }).err()
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_it_is_allowed() {
        for url in ["https://x.test/y", "http://localhost:1/", "http://127.0.0.1/", "http://[::1]:9/"] {
            assert_eq!(refused(url, false), None, "{url}");
        }
        for url in ["http://x.test/", "http://10.0.0.1/", "http://localhost.test/", "http://[::2]/"] {
            assert!(refused(url, false).is_some_and(|text| text.contains("allow_http")), "{url}");
            assert_eq!(refused(url, true), None, "{url}");
        }
        for url in ["ftp://x.test/hunter2", "hunter2", ""] {
            assert!(refused(url, true).is_some_and(|text| !text.contains("hunter2")), "{url}");
        }
    }
}
