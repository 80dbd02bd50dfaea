//! What a rule is asked about: a message, or a transaction with its messages.

use serde::de::DeserializeOwned;

use crate::RuleError;
pub use crate::bindings::avouch::rules::types::{Message, Transaction};

impl Message {
    /// The payload as JSON. Permanent if it is not of this shape, or too large to have been given to the plugin.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, RuleError> {
        serde_json::from_slice(self.bytes()?).map_err(|e| {
            RuleError::Permanent(format!("the payload of message {} cannot be read as JSON: {e}", self.id))
        })
    }

    /// The payload as text. Permanent if it is not UTF-8, or too large to have been given to the plugin.
    pub fn text(&self) -> Result<&str, RuleError> {
        str::from_utf8(self.bytes()?)
            .map_err(|e| RuleError::Permanent(format!("the payload of message {} is not text: {e}", self.id)))
    }

    /// The payload. Permanent if it was too large to be given to the plugin; the field `payload` is empty then.
    pub fn bytes(&self) -> Result<&[u8], RuleError> {
        if self.payload.is_empty() && self.payload_bytes > 0 {
            return Err(RuleError::Permanent(format!(
                "the payload of message {} has {} bytes, more than rules.payload_bytes_max",
                self.id, self.payload_bytes
            )));
        }
        Ok(&self.payload)
    }

    /// The value of the first header with exactly this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Transaction {
    /// The message at `index`, from 0, in the order of their insert. Permanent if there is none, or if the transaction
    /// holds more than the plugin is given.
    pub fn message(&self, index: usize) -> Result<&Message, RuleError> {
        self.messages.get(index).ok_or_else(|| {
            RuleError::Permanent(format!(
                "transaction {} has no message {index}: it holds {}, and the plugin was given {}",
                self.id,
                self.message_count,
                self.messages.len()
            ))
        })
    }

    /// The business reference that the producer gave. Permanent if it gave none.
    pub fn reference(&self) -> Result<&str, RuleError> {
        self.reference
            .as_deref()
            .ok_or_else(|| RuleError::Permanent(format!("transaction {} was prepared without a reference", self.id)))
    }
}
