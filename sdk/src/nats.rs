//! Asking services on NATS, and reading key-value buckets.

use crate::RuleError;
use crate::context::Host;

/// The subjects and the key-value bucket of a binding; from [`Context::nats`](crate::Context::nats).
pub struct Nats<'a> {
    host: &'a Host,
    binding: &'a str,
}

impl<'a> Nats<'a> {
    pub(crate) fn new(host: &'a Host, binding: &'a str) -> Self {
        Self { host, binding }
    }

    /// Sends a request and returns the first reply. No responders, or no reply in time: transient. A subject that the
    /// operator does not allow: denied.
    pub fn request(&self, subject: &str, payload: &[u8]) -> Result<Vec<u8>, RuleError> {
        self.host.nats_request(self.binding, subject, payload)
    }

    /// The value of a key in the bucket; `None` if it is not there or deleted.
    pub fn kv_get(&self, key: &str) -> Result<Option<Vec<u8>>, RuleError> {
        self.host.nats_kv_get(self.binding, key)
    }
}
