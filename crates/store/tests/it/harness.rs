//! A fresh database for each case, gone when it ends, also when it fails.

use std::{future::Future, panic::AssertUnwindSafe, path::PathBuf};

use domain::{Secret, Timestamp};
use futures::FutureExt;
use store::{PostgresConfig, Sealer, Store};
use uuid::Uuid;

/// When the cases happen.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);

/// A database, and a way past the store to look at it.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) store: Store,
    behind: Behind,
}

#[derive(Clone)]
enum Behind {
    Sqlite(PathBuf),
    Postgres(String),
}

pub(crate) fn sealer() -> Sealer {
    sealer_of(7, &[])
}

/// A sealer with master keys that are one byte over and over.
pub(crate) fn sealer_of(current: u8, older: &[u8]) -> Sealer {
    let key = |byte: u8| Secret::new(vec![byte; 32]);
    let older: Vec<_> = older.iter().map(|byte| key(*byte)).collect();
    Sealer::new(&key(current), &older).unwrap()
}

pub(crate) async fn on_sqlite<F: Future<Output = ()>>(case: impl FnOnce(Database) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.sqlite");
    let store = Store::sqlite(&path, sealer()).unwrap();
    store.migrate().await.unwrap();
    case(Database { store, behind: Behind::Sqlite(path) }).await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()>>(case: impl FnOnce(Database) -> F) {
    on_postgres_made("", case).await;
}

/// The same in a database of a locale of ICU's.
pub(crate) async fn on_postgres_of<F: Future<Output = ()>>(locale: &str, case: impl FnOnce(Database) -> F) {
    let how = format!("TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE '{locale}'");
    on_postgres_made(&how, case).await;
}

async fn on_postgres_made<F: Future<Output = ()>>(how: &str, case: impl FnOnce(Database) -> F) {
    let server =
        std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run `make test`, which starts PostgreSQL");
    let name = format!("portcullis_test_{}", Uuid::new_v4().simple());
    execute(&server, &format!("CREATE DATABASE {name} {how}")).await;
    let url = with_database(&server, &name);
    let outcome = AssertUnwindSafe(async {
        let mut config = PostgresConfig::new(Secret::new(url.clone()));
        config.connections = 12;
        let store = Store::postgres(config, sealer()).unwrap();
        store.migrate().await.unwrap();
        case(Database { store, behind: Behind::Postgres(url) }).await;
    })
    .catch_unwind()
    .await;
    execute(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The same server, another database: in a URL the path, in a list of settings the last `dbname`.
fn with_database(server: &str, name: &str) -> String {
    if !server.starts_with("postgres") {
        return format!("{server} dbname={name}");
    }
    let (address, settings) = server.split_once('?').map_or((server, String::new()), |(a, s)| (a, format!("?{s}")));
    let (scheme, rest) = address.split_once("://").unwrap();
    let authority = rest.split('/').next().unwrap();
    format!("{scheme}://{authority}/{name}{settings}")
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn execute(url: &str, sql: &str) {
    connect(url).await.batch_execute(sql).await.unwrap();
}

impl Database {
    /// The same database, opened with other master keys.
    pub(crate) fn reopened(&self, sealer: Sealer) -> Store {
        match &self.behind {
            Behind::Sqlite(path) => Store::sqlite(path, sealer).unwrap(),
            Behind::Postgres(url) => Store::postgres(PostgresConfig::new(Secret::new(url.clone())), sealer).unwrap(),
        }
    }

    /// A database that was never migrated: this one without anything in it, or a file beside it.
    pub(crate) async fn emptied(&self) -> Self {
        let behind = match &self.behind {
            Behind::Sqlite(path) => Behind::Sqlite(path.with_file_name("empty.sqlite")),
            Behind::Postgres(url) => {
                execute(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
                Behind::Postgres(url.clone())
            }
        };
        Self { store: self.store.clone(), behind }
    }

    /// Runs a statement as the database's owner, without the store.
    pub(crate) async fn behind(&self, sql: &str) {
        match &self.behind {
            Behind::Sqlite(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            Behind::Postgres(url) => execute(url, sql).await,
        }
    }

    /// Asks for one number as the database's owner, without the store.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        match &self.behind {
            Behind::Sqlite(path) => {
                rusqlite::Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
            }
            Behind::Postgres(url) => connect(url).await.query_one(sql, &[]).await.unwrap().get(0),
        }
    }

    /// The same for one text.
    pub(crate) async fn text(&self, sql: &str) -> String {
        match &self.behind {
            Behind::Sqlite(path) => {
                rusqlite::Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
            }
            Behind::Postgres(url) => connect(url).await.query_one(sql, &[]).await.unwrap().get(0),
        }
    }

    /// A connection past the store, where the database is PostgreSQL.
    pub(crate) async fn postgres(&self) -> Option<tokio_postgres::Client> {
        match &self.behind {
            Behind::Sqlite(_) => None,
            Behind::Postgres(url) => Some(connect(url).await),
        }
    }
}
