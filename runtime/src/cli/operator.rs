//! Who works with a command, on which database, and how they are told.

use nix::unistd::{User, gethostname, getuid};
use serde::Serialize;

use super::tell;
use crate::store::Store;
use crate::store::operate::By;

/// How a command tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON document, for programs.
    Json,
}

/// A person or a program at the command line.
pub struct Operator {
    /// The database of the chosen source.
    pub store: Store,
    /// How they are told.
    pub form: Form,
    who: String,
}

impl Operator {
    /// Whoever runs this process.
    pub fn new(store: Store, form: Form) -> Self {
        Self { store, form, who: who() }
    }

    /// For the audit.
    pub fn by<'a>(&'a self, why: Option<&'a str>) -> By<'a> {
        By { who: &self.who, why }
    }

    /// Tells a program the document, and a person the text.
    pub fn tell<T: Serialize>(&self, document: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        self.form.tell(document, text)
    }
}

impl Form {
    /// Tells a program the document, and a person the text.
    pub fn tell<T: Serialize>(self, document: &T, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        match self {
            Self::Json => tell::json(document),
            Self::Text => tell::text(&text()),
        }
    }
}

/// By the kernel's word, not by a variable that anybody can set.
fn who() -> String {
    let uid = getuid();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let host = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "host".into());
    format!("cli:{user}@{host}")
}
