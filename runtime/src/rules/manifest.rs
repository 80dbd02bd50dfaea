//! What a plugin asks for and what it was granted: its manifest, the operator's grants, and what of both is used. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The custom section of a plugin file that holds the manifest.
pub const SECTION: &str = "avouch:manifest";
/// A name becomes a word in commands, logs and metrics.
const NAME_BYTES_MAX: usize = 100;
/// A manifest is read by people.
const BYTES_MAX: usize = 64 << 10;

/// `plugin.toml`, as the plugin's file carries it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What `avouch.prepare` and the commands call it.
    pub name: String,
    /// The team's own version; the digest is what counts.
    pub version: String,
    /// One line for people.
    #[serde(default)]
    pub description: String,
    /// Databases that it reads: binding → statement name → SQL with `$1`, `$2`, ….
    #[serde(default)]
    pub sql: BTreeMap<String, BTreeMap<String, String>>,
    /// HTTP origins that it asks.
    #[serde(default)]
    pub http: BTreeMap<String, Nothing>,
    /// NATS subjects and buckets that it asks.
    #[serde(default)]
    pub nats: BTreeMap<String, Nothing>,
    /// Its settings, with their defaults.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// An empty table, which may grow keys later.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Which capability a binding belongs to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A database.
    Sql,
    /// An HTTP origin.
    Http,
    /// Subjects or a bucket.
    Nats,
}

/// `sql:orders`: one binding, as it is requested and granted.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant {
    /// The capability.
    pub kind: Kind,
    /// The binding's name in the configuration.
    pub binding: String,
}

/// What is wrong with a manifest or a grant, and what to write instead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Invalid(String);

impl Manifest {
    /// Reads and checks the text of a `plugin.toml`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > BYTES_MAX {
            return Err(Invalid(format!("the manifest has {} bytes: at most {BYTES_MAX}", text.len())));
        }
        let manifest: Self = toml::from_str(text).map_err(|e| Invalid(format!("the manifest cannot be read: {e}")))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Every binding that it asks for.
    pub fn requests(&self) -> BTreeSet<Grant> {
        let of = |kind: Kind, names: Vec<&String>| {
            names.into_iter().map(move |b| Grant { kind, binding: b.clone() }).collect::<Vec<_>>()
        };
        let mut all = of(Kind::Sql, self.sql.keys().collect());
        all.extend(of(Kind::Http, self.http.keys().collect()));
        all.extend(of(Kind::Nats, self.nats.keys().collect()));
        all.into_iter().collect()
    }

    fn check(&self) -> Result<(), Invalid> {
        let names = std::iter::once(&self.name)
            .chain(self.sql.keys())
            .chain(self.sql.values().flat_map(BTreeMap::keys))
            .chain(self.http.keys())
            .chain(self.nats.keys());
        for name in names {
            if !is_name(name) {
                return Err(Invalid(format!(
                    "the manifest's name {name:?}: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`"
                )));
            }
        }
        for (binding, statements) in &self.sql {
            for (name, sql) in statements {
                check_statement(sql).map_err(|why| Invalid(format!("statement {name} of sql.{binding} {why}")))?;
            }
        }
        Ok(())
    }
}

/// Like `avouch.tx.checker`.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// It is run as a subquery of ours: what is no query, and what is more than one, fails there; these are the plain cases.
fn check_statement(sql: &str) -> Result<(), String> {
    let first = sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    if !["select", "with", "values", "table"].contains(&first.to_ascii_lowercase().as_str()) {
        return Err("must begin with select, with, values or table".to_owned());
    }
    if sql.trim_end().ends_with(';') {
        return Err("must not end with a semicolon".to_owned());
    }
    Ok(())
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Sql => "sql",
            Kind::Http => "http",
            Kind::Nats => "nats",
        };
        write!(f, "{kind}:{}", self.binding)
    }
}

impl FromStr for Grant {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid(format!("grant {text:?}: write sql:NAME, http:NAME or nats:NAME"));
        let (kind, binding) = text.split_once(':').ok_or_else(invalid)?;
        let kind = match kind {
            "sql" => Kind::Sql,
            "http" => Kind::Http,
            "nats" => Kind::Nats,
            _ => return Err(invalid()),
        };
        if !is_name(binding) {
            return Err(invalid());
        }
        Ok(Self { kind, binding: binding.to_owned() })
    }
}

impl TryFrom<String> for Grant {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> Self {
        grant.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str =
        "name = \"order-check\"\nversion = \"1\"\n[sql.orders]\norder_status = \"select 1\"\n[http.payments]\n";

    #[test]
    fn requests_are_the_bindings_of_every_capability() {
        let manifest = Manifest::parse(FINE).expect("is valid");
        let requests: Vec<_> = manifest.requests().iter().map(ToString::to_string).collect();
        assert_eq!(requests, ["sql:orders", "http:payments"]);
    }

    #[test]
    fn unknown_keys_odd_names_and_statements_that_are_no_query_are_refused() {
        let refused = |text: &str| Manifest::parse(text).expect_err("must be refused").to_string();
        assert!(refused("name = \"a\"\nversion = \"1\"\ngrants = []").contains("grants"));
        assert!(refused("name = \"a b\"\nversion = \"1\"").contains("a b"));
        assert!(refused("name = \"a\"\nversion = \"1\"\n[sql.x]\ny = \"update t set a = 1\"").contains("select"));
        assert!(refused("name = \"a\"\nversion = \"1\"\n[sql.x]\ny = \"select 1;\"").contains("semicolon"));
        assert!(refused("version = \"1\"").contains("name"));
    }

    #[test]
    fn grants_are_read_as_they_are_written() {
        let grant: Grant = "sql:orders".parse().expect("is valid");
        assert_eq!(grant.to_string(), "sql:orders");
        assert!("files:x".parse::<Grant>().is_err() && "sql:".parse::<Grant>().is_err());
    }
}
