//! How PostgreSQL is reached.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use deadpool_postgres::{Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod, Runtime};
use domain::Secret;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::convert;
use crate::StoreError;

/// How PostgreSQL is reached.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// `postgres://user:password@host/database?…` or `host=… dbname=…`, as libpq reads it. With `sslmode=require` the
    /// server's certificate and name are verified.
    pub url: Secret<String>,
    /// PEM of the authorities trusted for the server's certificate. Needed with `sslmode=require`.
    pub ca_pem: Option<String>,
    /// Connections at once. Default 25.
    pub connections: usize,
    /// Longest wait for a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest a statement may run, and longest an idle transaction may hold its locks. Default 10 s.
    pub statement_timeout: Duration,
}

impl PostgresConfig {
    /// This address, and for everything else the defaults.
    pub fn new(url: Secret<String>) -> Self {
        Self {
            url,
            ca_pem: None,
            connections: 25,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
        }
    }

    /// The driver's settings. Its text is not repeated in errors: it holds a password.
    fn parsed(&self) -> Result<Config, StoreError> {
        let wrong = |_| StoreError::Configuration { reason: "the address is not one of PostgreSQL".into() };
        let mut config: Config = self.url.expose().parse().map_err(wrong)?;
        config.connect_timeout(self.connect_timeout).application_name("portcullis");
        Ok(config)
    }

    /// TLS, where the address asks for it.
    fn tls(&self, config: &Config) -> Result<Option<MakeRustlsConnect>, StoreError> {
        if !matches!(config.get_ssl_mode(), SslMode::Require) {
            return Ok(None);
        }
        let wrong = |reason: String| StoreError::Configuration { reason };
        let pem = self.ca_pem.as_deref().ok_or_else(|| wrong("`sslmode=require` needs `ca_pem`".into()))?;
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let authority = authority.map_err(|e| wrong(format!("`ca_pem` is not PEM: {e}")))?;
            roots.add(authority).map_err(|e| wrong(format!("`ca_pem` holds an unusable certificate: {e}")))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(format!("TLS cannot be set up: {e}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(MakeRustlsConnect::new(client)))
    }

    pub(super) fn pool(&self) -> Result<Pool, StoreError> {
        let mut config = self.parsed()?;
        let tls = self.tls(&config)?;
        let millis = self.statement_timeout.as_millis();
        let given = config.get_options().unwrap_or_default().to_owned();
        config
            .options(format!("{given} -c statement_timeout={millis} -c idle_in_transaction_session_timeout={millis}"));
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match tls {
            Some(tls) => Manager::from_config(config, tls, recycling),
            None => Manager::from_config(config, NoTls, recycling),
        };
        Pool::builder(manager)
            .max_size(self.connections)
            // What was used last has its statements prepared.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(self.connect_timeout))
            .create_timeout(Some(self.connect_timeout))
            .build()
            .map_err(|e| StoreError::Configuration { reason: e.to_string() })
    }

    /// A connection of its own, without statement timeout: for migrations.
    pub(super) async fn connect(&self) -> Result<Dedicated, StoreError> {
        let config = self.parsed()?;
        let (client, driving) = match self.tls(&config)? {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.map_err(convert::error)?;
                (client, tokio::spawn(connection))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(convert::error)?;
                (client, tokio::spawn(connection))
            }
        };
        Ok(Dedicated { client, driving })
    }
}

/// A connection outside the pool; closed when dropped.
pub(super) struct Dedicated {
    client: Client,
    driving: JoinHandle<Result<(), tokio_postgres::Error>>,
}

impl Deref for Dedicated {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}
impl DerefMut for Dedicated {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
impl Drop for Dedicated {
    fn drop(&mut self) {
        self.driving.abort();
    }
}
