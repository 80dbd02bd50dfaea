//! What keeps tables from growing, and how it went.

use uuid::Uuid;

use super::{Error, Store};

impl Store {
    /// Deletes up to `rows_max` ended messages with `from ≤ id < before`. Returns how many, and the last one's id.
    pub async fn retire(&self, from: Uuid, before: Uuid, rows_max: i64) -> Result<(usize, Option<Uuid>), Error> {
        let rows = self.control.query(include_str!("retire.sql"), &[&from, &before, &rows_max]).await?;
        Ok((rows.len(), rows.first().map(|r| r.get(0))))
    }

    /// Deletes events that are older than so many hours, of messages and transactions that are gone: `rows_max` behind `after` are looked
    /// at. Returns where to go on; 0, at the first one, when there is nothing older left.
    pub async fn forget_events(&self, hours: i64, rows_max: i64, after: i64) -> Result<i64, Error> {
        let rows = self.control.query(include_str!("forget_events.sql"), &[&hours, &rows_max, &after]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    /// Writes down how it goes, unless somebody just did.
    pub async fn sample(&self) -> Result<(), Error> {
        self.control.execute(include_str!("sample.sql"), &[]).await.map(drop)
    }
}
