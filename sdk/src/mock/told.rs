//! What a host would have told an outside party, and what that would have answered.

use std::ops::Deref;

use super::MessageBuilder;
use crate::{Delivery, NotificationResponse};

/// A delivery under construction; usable wherever `&Delivery` is.
#[derive(Clone, Debug)]
pub struct DeliveryBuilder {
    delivery: Delivery,
}

/// The first try to tell the endpoint `shop` of the tenant `acme` about this message.
///
/// ```
/// use avouch_sdk::mock;
/// use serde_json::json;
///
/// let d = mock::delivery(mock::message("orders.paid", json!({"id": 7}))).with_attempt(2);
/// assert_eq!((d.endpoint.as_str(), d.tenant.as_str(), d.attempt), ("shop", "acme", 2));
/// assert_eq!(d.message.text().as_deref(), Ok(r#"{"id":7}"#));
/// ```
pub fn delivery(message: MessageBuilder) -> DeliveryBuilder {
    let (endpoint, tenant) = ("shop".to_owned(), "acme".to_owned());
    DeliveryBuilder { delivery: Delivery { endpoint, tenant, attempt: 0, message: message.message } }
}

impl DeliveryBuilder {
    /// To this endpoint.
    pub fn with_endpoint(mut self, endpoint: &str) -> Self {
        self.delivery.endpoint = endpoint.to_owned();
        self
    }

    /// Of this tenant.
    pub fn with_tenant(mut self, tenant: &str) -> Self {
        self.delivery.tenant = tenant.to_owned();
        self
    }

    /// Tried so many times before.
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.delivery.attempt = attempt;
        self
    }
}

impl Deref for DeliveryBuilder {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

/// An answer under construction; usable wherever `&NotificationResponse` is.
#[derive(Clone, Debug)]
pub struct AnswerBuilder {
    response: NotificationResponse,
}

/// What an endpoint answered: a status and a whole body.
///
/// ```
/// use avouch_sdk::{Outcome, mock};
///
/// let gone = mock::answered(410, "no such shop");
/// assert!(matches!(Outcome::by_status(&gone), Outcome::GiveUp(_)));
/// assert_eq!(mock::answered(200, "suc").cut().text(), None);
/// ```
pub fn answered(status: u16, body: impl Into<Vec<u8>>) -> AnswerBuilder {
    let response = NotificationResponse { status, headers: Vec::new(), body: body.into(), body_is_cut: false };
    AnswerBuilder { response }
}

impl AnswerBuilder {
    /// With a header more.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.response.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// There was more of the body than the plugin is shown.
    pub fn cut(mut self) -> Self {
        self.response.body_is_cut = true;
        self
    }
}

impl Deref for AnswerBuilder {
    type Target = NotificationResponse;

    fn deref(&self) -> &NotificationResponse {
        &self.response
    }
}
