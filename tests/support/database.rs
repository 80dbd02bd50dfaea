//! A fresh database with the schema for each test: a copy of a template that is installed once.

use std::time::Duration;

use avouch_runtime::schema;
use tokio::sync::OnceCell;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::servers::{OwnPostgres, shared};
use crate::wait::until;

/// How many shards the schema of the tests has.
pub const SHARDS: u16 = 8;
const TEMPLATE: &str = "avouch_template";
/// A copy waits for connections to the template that are just closing.
const COPY_MAX: Duration = Duration::from_secs(20);

/// A database of one test. Dropped, connections and all, when this is.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    home: Home,
}

#[derive(Debug, PartialEq, Eq)]
enum Home {
    Shared,
    Own,
}

impl Database {
    /// On the shared server, with the schema.
    pub async fn create() -> Database {
        static INSTALLED: OnceCell<()> = OnceCell::const_new();
        INSTALLED.get_or_init(install_template).await;
        Database::on_shared(&format!("template {TEMPLATE}")).await
    }

    /// On the shared server, with nothing in it.
    pub async fn create_empty() -> Database {
        Database::on_shared("template template0").await
    }

    /// On a server of the test's own, with the schema.
    pub async fn create_on(server: &OwnPostgres) -> Database {
        let name = unique_name();
        let url = server.url(&name);
        execute(&server.url("postgres"), &format!("create database {name}")).await;
        schema::install(&url, SHARDS).await.expect("the schema installs into an empty database");
        Database { name, url, home: Home::Own }
    }

    /// For the superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection of the superuser, served by the runtime of the test.
    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }

    async fn on_shared(template: &str) -> Database {
        let name = unique_name();
        let admin = connect(&shared().postgres.url("postgres")).await;
        let create = format!("create database {name} {template}");
        until("the template can be copied", COPY_MAX, async || match admin.batch_execute(&create).await {
            Ok(()) => Some(()),
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => None,
            Err(error) => panic!("{create}: {error:?}"),
        })
        .await;
        let url = shared().postgres.url(&name);
        Database { name, url, home: Home::Shared }
    }
}

impl Drop for Database {
    /// Best effort, and not waited for: the whole server goes at the end.
    fn drop(&mut self) {
        if self.home == Home::Shared {
            let admin = shared().postgres.url("postgres");
            let statement = format!("drop database if exists {} with (force)", self.name);
            shared().runtime.spawn(async move { execute(&admin, &statement).await });
        }
    }
}

async fn install_template() {
    let server = &shared().postgres;
    let admin = server.url("postgres");
    execute(&admin, &format!("create database {TEMPLATE} is_template true template template0")).await;
    schema::install(&server.url(TEMPLATE), SHARDS).await.expect("the schema installs into an empty database");
}

async fn execute(url: &str, statement: &str) {
    connect(url).await.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
}

async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.unwrap_or_else(|error| panic!("cannot connect to {url}: {error:?}"));
    tokio::spawn(async move {
        // Servers are killed by tests, and connections by the end of their database: the client sees that as an error too.
        if let Err(error) = connection.await {
            eprintln!("a connection ended: {error}");
        }
    });
    client
}

fn unique_name() -> String {
    format!("test_{}", Uuid::now_v7().simple())
}
