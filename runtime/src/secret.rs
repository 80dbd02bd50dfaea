//! Values that must never be printed, and where they come from: `env:NAME`, `file:/path`, or the value itself.

use std::fmt;

use serde::Deserialize;

/// A password, token or URL with one. Its `Debug` shows only where it comes from.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Secret(String);

/// A secret's source could not be read.
#[derive(Debug, thiserror::Error)]
#[error("secret {reference} cannot be read: {why}")]
pub struct Unreadable {
    reference: String,
    why: String,
}

impl Secret {
    /// A secret with this value or reference.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value; a file's trailing line break does not belong to it.
    pub fn reveal(&self) -> Result<String, Unreadable> {
        let unreadable = |why: String| Unreadable { reference: self.0.clone(), why };
        if let Some(name) = self.0.strip_prefix("env:") {
            return std::env::var(name).map_err(|e| unreadable(e.to_string()));
        }
        if let Some(path) = self.0.strip_prefix("file:") {
            let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(self.0.clone())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_reference = self.0.starts_with("env:") || self.0.starts_with("file:");
        f.write_str(if is_reference { &self.0 } else { "(given here, not shown)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_secret_is_never_shown() {
        let shown = format!("{:?}", Secret::new("postgres://u:hunter2@db/x"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn missing_reference_is_named() {
        let error = Secret::new("env:AVOUCH_NO_SUCH_THING").reveal().expect_err("is not set").to_string();
        assert!(error.contains("AVOUCH_NO_SUCH_THING"), "{error}");
        let error = Secret::new("file:/no/such/file").reveal().expect_err("is not there").to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
