//! Deployed plugins: which version answers to each name, and its file.

use super::{Error, Store};

/// What answers to a plugin's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The name.
    pub name: String,
    /// The version; none if nobody answers any more.
    pub digest: Option<String>,
    /// What the operator grants, as JSON.
    pub grants: String,
    /// Counts deployments: a newer one has a greater number.
    pub number: i64,
}

impl Store {
    /// The current deployment of each name.
    pub async fn deployments(&self) -> Result<Vec<Deployment>, Error> {
        let rows = self.control.query(include_str!("deployments.sql"), &[]).await?;
        let deployment = |r: &tokio_postgres::Row| Deployment {
            name: r.get(0),
            digest: r.get(1),
            grants: r.get(2),
            number: r.get(3),
        };
        Ok(rows.iter().map(deployment).collect())
    }

    /// A version's file.
    pub async fn plugin_file(&self, name: &str, digest: &str) -> Result<Vec<u8>, Error> {
        let rows = self.claims.query(include_str!("plugin_file.sql"), &[&name, &digest]).await?;
        let row = rows.first().ok_or_else(|| Error::Fatal(format!("plugin {name} {digest} is not in the database")))?;
        Ok(row.get(0))
    }
}
