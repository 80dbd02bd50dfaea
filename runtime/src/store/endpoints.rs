//! What people see of outside parties, and do about them.

use time::OffsetDateTime;
use uuid::Uuid;

use super::operate::By;
use super::views::{Attempt, Delivery, Endpoint};
use super::{Error, Store};
use crate::access::Hash;
use crate::endpoints::Described;

/// Which deliveries are looked at, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All, the latest message first.
    Recent,
    /// Those that wait, the next first.
    Waiting,
    /// Those that were given up, the last first.
    GivenUp,
}

/// What is sent along with each request: names and values.
pub type Headers = [(String, String)];

impl Store {
    /// Endpoints that are not removed: all, or the one of this name.
    pub async fn endpoints_shown(&self, name: Option<&str>) -> Result<Vec<Endpoint>, Error> {
        self.documents(include_str!("views/endpoints_shown.sql"), &[&name]).await
    }

    /// What an endpoint is told, behind the message `after`.
    pub async fn deliveries_shown(
        &self,
        endpoint: &str,
        look: Look,
        after: Option<Uuid>,
        rows_max: i64,
    ) -> Result<Vec<Delivery>, Error> {
        let latest = after.unwrap_or(Uuid::max());
        match look {
            Look::Recent => {
                self.documents(include_str!("views/deliveries_recent.sql"), &[&endpoint, &latest, &rows_max]).await
            }
            Look::Waiting => {
                self.documents(include_str!("views/deliveries_waiting.sql"), &[&endpoint, &after, &rows_max]).await
            }
            Look::GivenUp => {
                self.documents(include_str!("views/deliveries_given_up.sql"), &[&endpoint, &after, &rows_max]).await
            }
        }
    }

    /// Whom a message is told.
    pub async fn deliveries_of(&self, message: Uuid) -> Result<Vec<Delivery>, Error> {
        self.documents(include_str!("views/deliveries_of_message.sql"), &[&message]).await
    }

    /// Tries to tell a message, the last first: to one endpoint, or to all.
    pub async fn attempts_shown(
        &self,
        message: Uuid,
        endpoint: Option<&str>,
        rows_max: i64,
    ) -> Result<Vec<Attempt>, Error> {
        self.documents(include_str!("views/attempts_shown.sql"), &[&message, &endpoint, &rows_max]).await
    }

    /// How much an endpoint was not told since then, counted to `rows_max`.
    pub async fn given_up_since(&self, endpoint: &str, since: OffsetDateTime, rows_max: i64) -> Result<i64, Error> {
        let sql = include_str!("views/given_up_since.sql");
        let rows = self.views.request(sql, &[&endpoint, &since, &rows_max]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    /// Makes an endpoint. Returns false if its name is taken.
    pub async fn create_endpoint(
        &self,
        by: By<'_>,
        new: &Described,
        secret: &str,
        headers: &Headers,
    ) -> Result<bool, Error> {
        let (filter, settings) = json(new);
        let (names, values): (Vec<&str>, Vec<&str>) = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).unzip();
        let Described { name, tenant, url, topics, is_ordered, .. } = new;
        let sql = include_str!("operate/create_endpoint.sql");
        let rows = self
            .views
            .request(
                sql,
                &[
                    &by.who, &by.why, name, tenant, url, topics, &filter, is_ordered, &settings, &secret, &names,
                    &values,
                ],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// Describes an endpoint of the API anew; without headers, those that are sent along stay. Returns false if there is none.
    pub async fn change_endpoint(&self, by: By<'_>, new: &Described, headers: Option<&Headers>) -> Result<bool, Error> {
        let (filter, settings) = json(new);
        let names = headers.map(|h| h.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        let values = headers.map(|h| h.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>());
        let Described { name, tenant, url, topics, is_ordered, .. } = new;
        let sql = include_str!("operate/change_endpoint.sql");
        let rows = self
            .views
            .request(
                sql,
                &[&by.who, &by.why, name, tenant, url, topics, &filter, is_ordered, &settings, &names, &values],
            )
            .await?;
        Ok(!rows.is_empty())
    }

    /// Lets another secret sign, for a time beside those that did. Returns false if there is no such endpoint of the API.
    pub async fn rotate_secret(&self, by: By<'_>, endpoint: &str, secret: &str, overlap_s: i32) -> Result<bool, Error> {
        let sql = include_str!("operate/rotate_secret.sql");
        Ok(!self.views.request(sql, &[&by.who, &by.why, &endpoint, &secret, &overlap_s]).await?.is_empty())
    }

    /// Keeps what a receiver may ask with, for so many days or for good. Returns false if there is no such endpoint.
    pub async fn create_endpoint_token(
        &self,
        by: By<'_>,
        endpoint: &str,
        hash: &Hash,
        days: Option<i32>,
    ) -> Result<bool, Error> {
        let sql = include_str!("operate/create_endpoint_token.sql");
        Ok(!self.views.request(sql, &[&by.who, &by.why, &endpoint, &&hash[..], &days]).await?.is_empty())
    }

    /// Revokes all that a receiver asks with. Returns how many.
    pub async fn revoke_endpoint_tokens(&self, by: By<'_>, endpoint: &str) -> Result<i64, Error> {
        let sql = include_str!("operate/revoke_endpoint_tokens.sql");
        let rows = self.views.request(sql, &[&by.who, &by.why, &endpoint]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    /// Enables or disables an endpoint: `enabled`, `disabled`. Returns false if it is so already.
    pub async fn set_endpoint(&self, by: By<'_>, endpoint: &str, state: &str) -> Result<bool, Error> {
        let sql = include_str!("operate/set_endpoint.sql");
        let rows = self.views.request(sql, &[&by.who, &by.why, &endpoint, &state]).await?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// Ends an endpoint for good. Returns false if it is removed already.
    pub async fn remove_endpoint(&self, by: By<'_>, endpoint: &str) -> Result<bool, Error> {
        let sql = include_str!("operate/remove_endpoint.sql");
        let rows = self.views.request(sql, &[&by.who, &by.why, &endpoint]).await?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// Tells an endpoint a message that means nothing. Returns its id; none: there is no endpoint that is enabled.
    pub async fn ping_endpoint(&self, by: By<'_>, endpoint: &str) -> Result<Option<Uuid>, Error> {
        let sql = include_str!("operate/ping_endpoint.sql");
        Ok(self.views.request(sql, &[&by.who, &by.why, &endpoint]).await?.first().map(|row| row.get(0)))
    }

    /// Tells an endpoint these messages once more. Returns those that it will be told.
    pub async fn notify_again(&self, by: By<'_>, endpoint: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let sql = include_str!("operate/notify_again.sql");
        let rows = self.views.request(sql, &[&by.who, &by.why, &endpoint, &ids]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Tells an endpoint what was given up since then once more, at most so many. Returns how many.
    pub async fn notify_given_up_again(
        &self,
        by: By<'_>,
        endpoint: &str,
        since: OffsetDateTime,
        rows_max: i32,
    ) -> Result<i64, Error> {
        let sql = include_str!("operate/notify_given_up_again.sql");
        let rows = self.views.request(sql, &[&by.who, &by.why, &endpoint, &since, &rows_max]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }
}

/// The filter and the settings, as texts.
fn json(described: &Described) -> (String, String) {
    (serde_json::json!(described.filter).to_string(), serde_json::json!(described.settings).to_string())
}
