//! A database for one test.

use std::{path::Path, process::Command};

/// A database of its own on the server that the tests were given, dropped at the end.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
    server: String,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let server = std::env::var("DATABASE_URL");
        Self::on(server.expect("DATABASE_URL is not set: run `make test`, which starts PostgreSQL")).await
    }

    /// On another server.
    pub(crate) async fn on(server: String) -> Self {
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        run_sql(&server, &format!("CREATE DATABASE {name}")).await;
        let (base, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{base}/{name}"), name, server }
    }

    /// Writes what is in it to a file, as an operator would.
    pub(crate) fn dump(&self, file: &Path) {
        run("pg_dump", &["--format=custom", "--file", &file.display().to_string(), &self.url]);
    }

    /// Makes it what the file says.
    pub(crate) async fn restore(&self, file: &Path) {
        run_sql(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
        run_sql(&self.server, &format!("CREATE DATABASE {}", self.name)).await;
        run("pg_restore", &["--exit-on-error", "--dbname", &self.url, &file.display().to_string()]);
    }

    pub(crate) async fn drop(self) {
        run_sql(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn run_sql(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}
