//! A NATS micro service: found by `nats micro`, asked by any client, answered by one instance of many.

use async_nats::service::{self, NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, ServiceExt as _};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};

use super::Error;

/// Each request goes to one instance of the group.
const QUEUE_GROUP: &str = "avouch";

/// Requests to some subjects. Dropping it ends the subscriptions.
pub struct Service {
    client: Client,
    service: Option<service::Service>,
    requests: SelectAll<BoxStream<'static, (usize, Request)>>,
}

/// What somebody asks.
pub struct Request(service::Request);

impl Service {
    pub(super) async fn start(
        client: &Client,
        name: &str,
        description: &str,
        subjects: &[String],
    ) -> Result<Self, Error> {
        let fatal = |e: async_nats::Error| Error::Fatal(format!("cannot offer the service {name}: {e}"));
        let builder = client.service_builder().description(description).queue_group(QUEUE_GROUP);
        let service = builder.start(name, env!("CARGO_PKG_VERSION")).await.map_err(fatal)?;
        let mut requests = SelectAll::new();
        for (place, subject) in subjects.iter().enumerate() {
            // A name has no dots and no wildcards.
            let name = subject.trim_end_matches(".*").replace('.', "-");
            let endpoint = service.endpoint_builder().name(name).add(subject).await.map_err(fatal)?;
            requests.push(endpoint.map(move |request| (place, Request(request))).boxed());
        }
        Ok(Self { client: client.clone(), service: Some(service), requests })
    }

    /// The next request, with the place of its subject; none after `stop`, when all that arrived was taken. Losing the future
    /// loses nothing.
    pub async fn next(&mut self) -> Option<(usize, Request)> {
        self.requests.next().await
    }

    /// Tells the server that other instances are to be asked from now on.
    pub async fn stop(&mut self) {
        if let Some(service) = self.service.take()
            && let Err(e) = service.stop().await
        {
            tracing::debug!(error = %e, "the service was not signed off");
        }
    }

    /// Waits until the server has the answers.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.client.flush().await.map_err(|e| Error::Retry(crate::store::full_text(&e)))
    }
}

/// The headers that are neither the broker's nor Avouch's.
pub(super) fn own_headers(headers: Option<&HeaderMap>) -> impl Iterator<Item = (String, String)> + '_ {
    let is_own = |name: &str| !["nats-", "avouch-", "ce-"].iter().any(|p| name.to_ascii_lowercase().starts_with(p));
    let headers = headers.into_iter().flat_map(|h| h.iter());
    headers
        .filter(move |(name, _)| is_own(name.as_ref()))
        .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
}

impl Request {
    /// Its body.
    pub fn payload(&self) -> Bytes {
        self.0.message.payload.clone()
    }

    /// One of its headers.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.message.headers.as_ref()?.get(name).map(|value| value.as_str())
    }

    /// The same, where some clients write names in a case of their own.
    pub fn header_in_any_case(&self, name: &str) -> Option<&str> {
        let mut headers = self.0.message.headers.as_ref()?.iter();
        let (_, values) = headers.find(|(n, _)| AsRef::<str>::as_ref(*n).eq_ignore_ascii_case(name))?;
        Some(values.first()?.as_str())
    }

    /// The headers that are neither the broker's nor Avouch's, sorted by name.
    pub fn own_headers(&self) -> Vec<(String, String)> {
        let mut own: Vec<(String, String)> = own_headers(self.0.message.headers.as_ref()).collect();
        own.sort();
        own
    }

    /// The last token of its subject.
    pub fn last_token(&self) -> &str {
        let subject = self.0.message.subject.as_str();
        subject.rsplit_once('.').map_or(subject, |(_, last)| last)
    }

    /// Answers it.
    pub async fn answer(&self, body: Vec<u8>) {
        self.respond(HeaderMap::new(), body).await;
    }

    /// Answers it with an error, as micro services do in their headers, and a body that says more.
    pub async fn refuse(&self, status: u16, text: &str, body: Vec<u8>) {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_SERVICE_ERROR_CODE, status.to_string().as_str());
        // A header ends with its line.
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        headers.insert(NATS_SERVICE_ERROR, line.as_str());
        self.respond(headers, body).await;
    }

    /// As an answer even if it is an error: the library would leave out the body of one.
    async fn respond(&self, headers: HeaderMap, body: Vec<u8>) {
        if self.0.message.reply.is_none() {
            return;
        }
        if let Err(e) = self.0.respond_with_headers(Ok(body.into()), headers).await {
            tracing::debug!(error = %e, "an answer could not be sent");
        }
    }
}
