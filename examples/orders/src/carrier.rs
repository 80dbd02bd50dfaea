//! The carrier: a database of its own, where parcels are booked with a token.

use std::collections::HashMap;

use anyhow::Context as _;
use avouch_example_stage::connect;
use tokio_postgres::Client;

const NAME: &str = "carrier";

/// The carrier's books, as the demo looks at them.
pub struct Carrier {
    client: Client,
    /// For whoever books parcels.
    pub url: String,
}

/// What the carrier knows.
#[derive(Debug, Default)]
pub struct Booked {
    /// By order: the token that counts.
    pub parcels: HashMap<Box<str>, i64>,
    /// Bookings that were accepted.
    pub accepted: i64,
    /// Bookings that came with an older token than another one before.
    pub refused: i64,
}

impl Carrier {
    /// Makes its role, its database and its tables, in the server of this database.
    pub async fn open(database_url: &str) -> anyhow::Result<Self> {
        let admin = connect(database_url).await?;
        admin.batch_execute(&format!("create role {NAME} login")).await?;
        admin.batch_execute(&format!("create database {NAME} owner {NAME}")).await?;
        let (server, _) = database_url.rsplit_once('/').context("a URL ends with its database")?;
        let url = format!("{server}/{NAME}").replacen("postgres@", &format!("{NAME}@"), 1);
        let client = connect(&url).await?;
        client.batch_execute(include_str!("carrier.sql")).await.context("making the carrier's tables")?;
        Ok(Self { client, url })
    }

    /// How many parcels there are.
    pub async fn parcels(&self) -> anyhow::Result<i64> {
        Ok(self.client.query_one("select count(*) from parcels", &[]).await?.get(0))
    }

    /// Everything, for the books.
    pub async fn read_all(&self) -> anyhow::Result<Booked> {
        let parcels = self.client.query("select order_id, token from parcels", &[]).await?;
        let sql = "select count(*) filter (where is_accepted), count(*) filter (where not is_accepted) from calls";
        let calls = self.client.query_one(sql, &[]).await?;
        Ok(Booked {
            parcels: parcels.iter().map(|r| (r.get::<_, &str>(0).into(), r.get(1))).collect(),
            accepted: calls.get(0),
            refused: calls.get(1),
        })
    }
}
