//! What a plugin may reach: the bindings that it requests and that it was granted, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::http::{Origin, Request, Response};
use super::limits::Config;
use super::manifest::{Grant, Kind, Manifest};
use super::nats::Service;
use super::plugin::Grants;
use super::sql::Database;
use super::v1::RuleError;
use super::{Bindings, Error};
use crate::broker;
use crate::meters::Names;

/// Every binding of this process.
pub struct Sources {
    sql: BTreeMap<String, Arc<Database>>,
    http: BTreeMap<String, Arc<Origin>>,
    nats: BTreeMap<String, Arc<Service>>,
}

/// One plugin's share of them.
pub struct Powers {
    sql: BTreeMap<String, (Arc<Database>, BTreeMap<String, String>)>,
    http: BTreeMap<String, Arc<Origin>>,
    nats: BTreeMap<String, Arc<Service>>,
    settings: BTreeMap<String, String>,
}

impl Sources {
    /// `names` are what databases are called where they are counted.
    pub fn new(bindings: &Bindings, server: &broker::Config, names: &Names) -> Result<Self, Error> {
        let sql = bindings.sql.iter().map(|(n, c)| Ok((n.clone(), Arc::new(Database::new(n, c, &names.label(n))?))));
        let http = bindings.http.iter().map(|(n, c)| Ok((n.clone(), Arc::new(Origin::new(n, c)?))));
        let nats = bindings.nats.iter().map(|(n, c)| Ok((n.clone(), Arc::new(Service::new(n, c, server)?))));
        Ok(Self {
            sql: sql.collect::<Result<_, Error>>()?,
            http: http.collect::<Result<_, Error>>()?,
            nats: nats.collect::<Result<_, Error>>()?,
        })
    }

    /// The intersection of what is requested and what is granted; what is requested and missing is refused by name.
    pub fn grant(&self, manifest: &Manifest, grants: &Grants) -> Result<Powers, Error> {
        let requests = manifest.requests();
        let missing: Vec<String> = requests.difference(&grants.bindings).map(|g| format!("--grant {g}")).collect();
        if !missing.is_empty() {
            return Err(Error::Refused(format!(
                "{} requests what it is not granted; if it may, deploy it with {}",
                manifest.name,
                missing.join(" ")
            )));
        }
        let unknown: Vec<String> =
            requests.iter().filter(|g| !self.has(g)).map(|g| g.to_string().replace(':', ".")).collect();
        if !unknown.is_empty() {
            return Err(Error::Refused(format!(
                "{} is granted what this runtime does not have: configure [binding.{}]",
                manifest.name,
                unknown.join("] and [binding.")
            )));
        }
        let known: BTreeSet<&String> = manifest.config.keys().collect();
        if let Some(setting) = grants.settings.keys().find(|k| !known.contains(k)) {
            return Err(Error::Refused(format!(
                "{} has no setting {setting}: its manifest lists {known:?}",
                manifest.name
            )));
        }
        let mut settings = manifest.config.clone();
        settings.extend(grants.settings.clone());
        let sql = manifest
            .sql
            .iter()
            .filter_map(|(n, statements)| Some((n.clone(), (Arc::clone(self.sql.get(n)?), statements.clone()))));
        Ok(Powers {
            sql: sql.collect(),
            http: chosen(&self.http, manifest.http.keys()),
            nats: chosen(&self.nats, manifest.nats.keys()),
            settings,
        })
    }

    /// See [`super::Rules::vet`].
    pub async fn vet(&self, manifest: &Manifest) -> Result<(), Error> {
        for (binding, statements) in &manifest.sql {
            let Some(database) = self.sql.get(binding) else { continue };
            for (name, sql) in statements {
                let refused = |why| Error::Refused(format!("statement {name} of sql.{binding}: {why}"));
                database.vet(sql).await.map_err(refused)?;
            }
        }
        Ok(())
    }

    fn has(&self, grant: &Grant) -> bool {
        match grant.kind {
            Kind::Sql => self.sql.contains_key(&grant.binding),
            Kind::Http => self.http.contains_key(&grant.binding),
            Kind::Nats => self.nats.contains_key(&grant.binding),
        }
    }
}

fn chosen<'a, T>(all: &BTreeMap<String, Arc<T>>, names: impl Iterator<Item = &'a String>) -> BTreeMap<String, Arc<T>> {
    names.filter_map(|name| Some((name.clone(), Arc::clone(all.get(name)?)))).collect()
}

impl Powers {
    /// True if any binding of this kind is granted.
    pub fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Sql => !self.sql.is_empty(),
            Kind::Http => !self.http.is_empty(),
            Kind::Nats => !self.nats.is_empty(),
        }
    }

    /// Runs a declared statement.
    pub async fn query(
        &self,
        binding: &str,
        statement: &str,
        params: &[Option<String>],
        config: &Config,
        left: Duration,
    ) -> Result<Vec<String>, RuleError> {
        let (database, statements) = self.sql.get(binding).ok_or_else(|| denied("sql", binding))?;
        let sql = statements.get(statement).ok_or_else(|| {
            RuleError::Denied(format!("the manifest declares no statement {statement:?} for sql:{binding}"))
        })?;
        database.query(sql, params, config.sql_rows_max, config.bytes_in_max, left).await
    }

    /// Sends an HTTP request.
    pub async fn send(
        &self,
        binding: &str,
        request: Request,
        bytes_max: usize,
        left: Duration,
    ) -> Result<Response, RuleError> {
        self.http.get(binding).ok_or_else(|| denied("http", binding))?.send(request, bytes_max, left).await
    }

    /// Asks a service on NATS.
    pub async fn request(
        &self,
        binding: &str,
        subject: String,
        payload: Vec<u8>,
        left: Duration,
    ) -> Result<Vec<u8>, RuleError> {
        self.nats.get(binding).ok_or_else(|| denied("nats", binding))?.request(subject, payload, left).await
    }

    /// Reads a key of the binding's bucket.
    pub async fn kv_get(&self, binding: &str, key: String, left: Duration) -> Result<Option<Vec<u8>>, RuleError> {
        self.nats.get(binding).ok_or_else(|| denied("nats", binding))?.kv_get(key, left).await
    }

    /// The operator's value, or the manifest's default.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }
}

fn denied(kind: &str, binding: &str) -> RuleError {
    RuleError::Denied(format!("binding {kind}:{binding} is not in the plugin's manifest"))
}
