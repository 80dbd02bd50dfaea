//! How the issuer is asked: no redirects, no proxy, bounded answers, in bounded time.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::Client;

use crate::store::connect::system_tls;

/// A person waits.
const LIMIT: Duration = Duration::from_secs(10);
/// Documents and key sets have a few kilobytes.
const BYTES_MAX: usize = 1 << 20;

/// A client for one issuer.
pub struct Fetch(Client);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection, or what came over it.
    #[error("the issuer does not answer")]
    Http(#[from] reqwest::Error),
    /// The answer is longer than any should be.
    #[error("the issuer's answer has more than {BYTES_MAX} bytes")]
    TooLarge,
}

impl Fetch {
    /// With the system's authorities.
    pub fn new() -> Result<Self, String> {
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .timeout(LIMIT)
            .user_agent(concat!("avouch/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(system_tls()?)
            .build();
        client.map(Self).map_err(|e| crate::store::full_text(&e))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Error> {
        let mut answer = self.0.execute(request.try_into()?).await?;
        let mut response = HttpResponse::new(Vec::new());
        *response.status_mut() = answer.status();
        std::mem::swap(response.headers_mut(), answer.headers_mut());
        while let Some(chunk) = answer.chunk().await? {
            if response.body().len() + chunk.len() > BYTES_MAX {
                return Err(Error::TooLarge);
            }
            response.body_mut().extend_from_slice(&chunk);
        }
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for Fetch {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Error>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
