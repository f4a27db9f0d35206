//! Where the hosts of a measurement have their logs.

use std::cell::Cell;

use cairn_servers::Postgres;
use cairn_tests::TestHost;

/// The database that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Database {
    /// SQLite in the host's data folder.
    Sqlite,
    /// A private PostgreSQL server, as durable as it is by default.
    Postgres,
}

/// Where logs are made.
pub struct Home {
    server: Option<Postgres>,
    databases: Cell<usize>,
}

impl Home {
    /// Starts what the database needs. Its files are where temporary files are: for a measurement, on a disk.
    pub fn new(database: Database) -> Self {
        let server = (database == Database::Postgres).then(|| Postgres::start_with(&["max_connections=300"]));
        Self { server, databases: Cell::new(0) }
    }

    /// The URL of a new database; `None` for SQLite.
    pub fn database(&self) -> Option<String> {
        let number = self.databases.replace(self.databases.get() + 1);
        self.server.as_ref().map(|server| server.database(&format!("bench_{number}")))
    }

    /// A host with an empty log of its own.
    pub async fn host(&self) -> TestHost {
        host_on(self.database().as_deref()).await
    }
}

/// A host on this database, or on SQLite.
pub async fn host_on(url: Option<&str>) -> TestHost {
    let builder = TestHost::builder();
    match url {
        Some(url) => builder.argument("--database").argument(url).start().await,
        None => builder.start().await,
    }
}
