//! One request of OTLP over HTTP: where it goes, and what its answer means for the spans in it.
//!
//! The crate `opentelemetry-otlp` would do this, but reads variables of the environment on its own: `OTEL_EXPORTER_OTLP_HEADERS` replaces
//! configured headers, `OTEL_EXPORTER_OTLP_COMPRESSION` keeps it from starting. Here nothing counts but `[trace]`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

use super::Config;
use crate::secret::Secret;
use crate::store::connect::system_tls;
use crate::store::full_text;

/// OTLP over HTTP has its traces there.
const PATH: &str = "/v1/traces";
/// So much of an answer is read: it says why spans were rejected.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// These settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("trace.{0}")]
pub struct Error(String);

/// A collector.
pub struct Collector {
    url: Url,
    headers: HeaderMap,
    client: Client,
    resource: ResourceAttributesWithSchema,
}

/// What became of a request.
pub enum Answer {
    /// It has the spans, but for so many that it rejected, and why.
    Taken(u64, String),
    /// It will never take them.
    Refused(String),
    /// It may take them later, after this long if it says so.
    Failed(String, Option<Duration>),
}

/// Where traces go below this address.
pub fn endpoint(text: &str) -> Result<Url, Error> {
    let wrong = || Error("endpoint: where a collector takes OTLP over HTTP, such as \"http://127.0.0.1:4318\"".into());
    // By itself first: a host that is not there would be the path's first word.
    let mut url: Url = text.parse().map_err(|_| wrong())?;
    let path = format!("{}{PATH}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let is_plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if ["http", "https"].contains(&url.scheme()) && url.has_host() && is_plain { Ok(url) } else { Err(wrong()) }
}

impl Collector {
    /// Reads the settings, secrets included; connects when there is something to tell.
    pub fn new(config: &Config, url: Url) -> Result<Self, Error> {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("avouch/", env!("CARGO_PKG_VERSION")))
            .timeout(Duration::from_millis(config.timeout_ms))
            .tls_backend_preconfigured(system_tls().map_err(Error)?)
            .build()
            .map_err(|e| Error(full_text(&e)))?;
        let about = [
            KeyValue::new("service.name", config.service_name.clone()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ];
        let resource = (&Resource::builder_empty().with_attributes(about).build()).into();
        Ok(Self { url, headers: headers(&config.headers)?, client, resource })
    }

    /// A request that holds these spans.
    pub fn request(&self, spans: Vec<SpanData>) -> Bytes {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
    }

    /// Sends it once.
    pub async fn send(&self, request: Bytes) -> Answer {
        let sent = self.client.post(self.url.clone()).headers(self.headers.clone()).body(request).send();
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(e) => return Answer::Failed(full_text(&e.without_url()), None),
        };
        let status = answer.status();
        if is_passing(status) {
            return Answer::Failed(format!("the collector answers {status}"), retry_after(&answer));
        }
        if !status.is_success() {
            return Answer::Refused(format!("the collector answers {status}: correct trace.endpoint or trace.headers"));
        }
        let (rejected, why) = rejected(answer).await.unwrap_or_default();
        Answer::Taken(rejected, why)
    }
}

fn headers(config: &BTreeMap<String, Secret>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))]);
    for (name, value) in config {
        let value = value.reveal().map_err(|e| Error(format!("headers.{name}: {e}")))?;
        let value = HeaderValue::from_str(&value);
        let mut value = value.map_err(|_| Error(format!("headers.{name} holds control characters")))?;
        value.set_sensitive(true);
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|e| Error(format!("headers.{name}: {e}")))?;
        headers.insert(key, value);
    }
    Ok(headers)
}

/// Those that OTLP says to try again.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504)
}

fn retry_after(answer: &Response) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// How many of the spans were rejected, and why; none if the answer cannot be read.
async fn rejected(mut answer: Response) -> Option<(u64, String)> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    let partial = ExportTraceServiceResponse::decode(&*body).ok()?.partial_success?;
    Some((u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_is_the_address_above_the_path_of_traces() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.test/otlp/", "https://collector.test/otlp/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(endpoint(text).expect("it is one").as_str(), url);
        }
        for text in ["", "127.0.0.1:4318", "grpc://x.test", "http://", "http://u:hunter2@x.test", "http://x.test/?a=b"]
        {
            let wrong = endpoint(text).expect_err(text).to_string();
            assert!(wrong.starts_with("trace.endpoint: ") && !wrong.contains("hunter2"), "{wrong}");
        }
    }

    #[test]
    fn headers_that_cannot_be_sent_are_named_without_their_value() {
        for (name, value) in [("x", "hunter2\n"), ("no name", "hunter2")] {
            let wrong = headers(&BTreeMap::from([(name.to_owned(), Secret::new(value))])).expect_err("it is refused");
            assert!(wrong.to_string().contains(name) && !wrong.to_string().contains("hunter2"), "{wrong}");
        }
    }
}
