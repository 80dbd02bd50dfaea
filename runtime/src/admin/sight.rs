//! What somebody sees of messages: all of them, but neither payloads nor values of headers that are hidden from their role.
//!
//! Routes and pages read messages through this alone, so that none of them forgets it.

use serde_json::Value;
use uuid::Uuid;

use super::Config;
use super::caller::Caller;
use super::state::State;
use crate::access::Role;
use crate::consumers::matches;
use crate::store::Error;
use crate::store::search::{Found, Refused, Search};
use crate::store::views::{Attempt, Message, Payload, Transaction};

/// Messages as one role sees them.
pub struct Sight<'a> {
    state: &'a State,
    role: Role,
}

/// What they see of a payload.
#[derive(Clone, Debug)]
pub enum Content {
    /// Its beginning.
    Shown(Payload),
    /// It is hidden from their role.
    Hidden,
    /// There is no such message.
    Gone,
}

/// Belongs to no message's contents: whoever follows a trace needs it, and it holds nothing but random numbers.
const TRACE_PARENT: &str = "traceparent";

impl Config {
    /// Whether this role sees payloads of this topic.
    fn shows_payload(&self, role: Role, topic: &str) -> bool {
        self.payloads.are_shown_to(role) && !self.hides(role, topic)
    }

    /// Whether the contents of this topic's messages are hidden from this role.
    fn hides(&self, role: Role, topic: &str) -> bool {
        role == Role::View && self.payloads_hidden.iter().any(|pattern| matches(pattern, topic))
    }
}

impl State {
    /// What they see.
    pub fn seen_by<'a>(&'a self, caller: &Caller) -> Sight<'a> {
        Sight { state: self, role: caller.role }
    }
}

impl Sight<'_> {
    /// Messages that are searched for.
    pub async fn search(&self, search: &Search) -> Result<Result<Found, Refused>, Error> {
        let found = self.state.store.search(search).await?;
        Ok(found.map(|found| Found { messages: self.veiled(found.messages), ..found }))
    }

    /// These messages, in this order.
    pub async fn messages(&self, ids: &[Uuid]) -> Result<Vec<Message>, Error> {
        Ok(self.veiled(self.state.store.messages(ids).await?))
    }

    /// One message.
    pub async fn message(&self, id: Uuid) -> Result<Option<Message>, Error> {
        Ok(self.state.store.message(id).await?.map(|message| self.veil(message)))
    }

    /// The first messages of a transaction.
    pub async fn messages_of(&self, tx: &Transaction, rows_max: i64) -> Result<Vec<Message>, Error> {
        Ok(self.veiled(self.state.store.messages_of(tx, rows_max).await?))
    }

    /// The beginning of a payload.
    pub async fn payload(&self, id: Uuid, bytes_max: i32) -> Result<Content, Error> {
        if !self.state.config.payloads.are_shown_to(self.role) {
            return Ok(Content::Hidden);
        }
        match self.state.store.message(id).await? {
            Some(message) => self.payload_of(&message, bytes_max).await,
            None => Ok(Content::Gone),
        }
    }

    /// The same of a message that is at hand.
    pub async fn payload_of(&self, message: &Message, bytes_max: i32) -> Result<Content, Error> {
        if !self.state.config.shows_payload(self.role, &message.topic) {
            return Ok(Content::Hidden);
        }
        let payload = self.state.store.payload_shown(message.id, bytes_max).await?;
        Ok(payload.map_or(Content::Gone, Content::Shown))
    }

    /// Tries to tell a message. Answers may repeat what they were told: their beginnings are hidden with the payload.
    pub async fn attempts(&self, id: Uuid, endpoint: Option<&str>, rows_max: i64) -> Result<Vec<Attempt>, Error> {
        let mut attempts = self.state.store.attempts_shown(id, endpoint, rows_max).await?;
        let told = self.state.store.deliveries_of(id).await?;
        if !told.first().is_some_and(|told| self.state.config.shows_payload(self.role, &told.topic)) {
            attempts.iter_mut().for_each(|attempt| attempt.excerpt = None);
        }
        Ok(attempts)
    }

    fn veiled(&self, messages: Vec<Message>) -> Vec<Message> {
        messages.into_iter().map(|message| self.veil(message)).collect()
    }

    /// The names of its headers stay; a hidden value is null.
    fn veil(&self, mut message: Message) -> Message {
        if self.state.config.hides(self.role, &message.topic) {
            veil_headers(&mut message.headers);
        }
        message
    }
}

/// Without the values, but for a true `traceparent`.
fn veil_headers(headers: &mut Option<Value>) {
    for (name, value) in headers.iter_mut().filter_map(Value::as_object_mut).flatten() {
        if !(name == TRACE_PARENT && value.as_str().is_some_and(is_trace_parent)) {
            *value = Value::Null;
        }
    }
}

/// Version, trace, span and flags of W3C Trace Context, and not a character more.
fn is_trace_parent(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [2, 32, 16, 2] && text.split('-').all(is_hex)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::Payloads;

    #[test]
    fn hidden_topics_are_hidden_from_those_who_only_look() {
        let hidden = vec!["payments.>".to_owned(), "*.cards".to_owned()];
        let config = Config { payloads_hidden: hidden, ..Config::default() };
        for topic in ["payments.settled", "payments.a.b", "shop.cards"] {
            assert!(!config.shows_payload(Role::View, topic), "{topic}");
            assert!(config.shows_payload(Role::Operate, topic) && config.shows_payload(Role::Admin, topic), "{topic}");
        }
        for topic in ["payments", "orders.created", "shop.cards.x"] {
            assert!(config.shows_payload(Role::View, topic), "{topic}");
        }
        let admins = Config { payloads: Payloads::Admin, ..config };
        assert!(
            !admins.shows_payload(Role::Operate, "payments.settled"),
            "the role that `payloads` demands is demanded too"
        );
    }

    #[test]
    fn of_hidden_headers_the_names_stay_and_the_trace() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = Some(json!({"traceparent": trace, "authorization": "Bearer x", "baggage": "card=4111"}));
        veil_headers(&mut headers);
        assert_eq!(headers, Some(json!({"traceparent": trace, "authorization": null, "baggage": null})));
        let mut forged = Some(json!({"traceparent": format!("{trace}-card-4111")}));
        veil_headers(&mut forged);
        assert_eq!(forged, Some(json!({"traceparent": null})));
        let mut none = None;
        veil_headers(&mut none);
        assert_eq!(none, None);
    }
}
