//! What `portcullis serve` reads: a data folder and the settings of both planes.
//!
//! ```yaml
//! data_dir: /var/lib/portcullis
//! gateway: { listen: { https: "0.0.0.0:443", http: "0.0.0.0:80" } }
//! control_api: { environment: prod, bootstrap: { console_hostname: console.example.com } }
//! ```

use std::path::{Path, PathBuf};

use control_api::config::{Config as ControlApiConfig, ProcessRole};
use gateway::{GatewayConfig, config::Revocations};
use link::file::{Document, Mistakes, Overrides};
use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration file of one node.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// Folder for the database, the master key and, in development, the authority. Made when it is not there.
    pub data_dir: PathBuf,
    /// The data plane. Its feed is this process's own control plane.
    pub gateway: GatewayConfig,
    /// The control plane. Its database is in the data folder.
    pub control_api: ControlApiConfig,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".portcullis"),
            gateway: GatewayConfig::default(),
            control_api: ControlApiConfig::default(),
        }
    }
}

impl NodeConfig {
    /// Reads and checks a file. Relative paths in it, and `file:` references, start at its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let mut config = Self::read(Document::open(path)?, &Overrides::from_env(&[]))?;
        let base = path.parent().unwrap_or(Path::new(""));
        config.data_dir = base.join(&config.data_dir);
        config.gateway.paths_from(base);
        config.control_api = config.control_api.rebased(base);
        Ok(config)
    }

    /// The defaults with what `PORTCULLIS_GATEWAY__…` and `PORTCULLIS_CONTROL_API__…` set: where there is no file.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn from_env() -> Result<Self, Mistakes> {
        let ours =
            |name: &str| name.starts_with("PORTCULLIS_GATEWAY__") || name.starts_with("PORTCULLIS_CONTROL_API__");
        let variables = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let overrides = Overrides::new(variables.filter(|(name, _)| ours(name)), &[]);
        Self::read(Document::parse("the environment", "{}")?, &overrides)
    }

    fn read(document: Document, overrides: &Overrides) -> Result<Self, Mistakes> {
        link::file::load::<Self>(document, overrides)?.checked(|config, checks| {
            if config.gateway.feed.file.is_some() || config.gateway.feed.control_api.is_some() {
                checks.refuse("/gateway/feed", "is this process's own control plane; leave it out");
            }
            if config.gateway.revocations == Revocations::Redis {
                checks.refuse("/gateway/revocations", "come from this process's own control plane; leave it out");
            }
            let database = &config.control_api.database;
            if !database.url.is_empty() {
                checks.refuse("/control_api/database/url", "is in the data folder; leave it out");
            }
            if database.master_key.is_some() || !database.older_master_keys.is_empty() {
                checks.refuse("/control_api/database/master_key", "is in the data folder; leave it out");
            }
            if !ProcessRole::ALL.iter().all(|role| config.control_api.roles.contains(role)) {
                checks.refuse("/control_api/roles", "are all taken by a node; leave it out");
            }
            checks.within("/gateway", |checks| config.gateway.check_fed(checks));
            checks.within("/control_api", |checks| config.control_api.check(checks));
        })
    }
}

#[cfg(test)]
mod tests {
    use link::file::SecretRef;

    use super::*;

    #[test]
    fn paths_of_a_file_start_at_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");
        let text = "data_dir: data\ngateway: { upstreams: { ca: ca.pem } }\n\
                    control_api: { environment: dev, bootstrap: { admin_password: \"file:admin.password\" } }\n";
        std::fs::write(&path, text).unwrap();
        let config = NodeConfig::load(&path).unwrap();
        assert_eq!(config.data_dir, folder.path().join("data"));
        assert_eq!(config.gateway.upstreams.ca, Some(folder.path().join("ca.pem")));
        let password = config.control_api.bootstrap.admin_password;
        assert!(matches!(password, Some(SecretRef::File(path)) if path == folder.path().join("admin.password")));
    }

    #[test]
    fn a_node_is_held_to_the_rules_of_both_planes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");
        let text = "gateway:\n  listen: { https: \"127.0.0.1:8443\", metrics: \"127.0.0.1:8443\" }\n  revocations: redis\n\
                    control_api:\n  environment: prod\n  database: { url: \"sqlite:other.db\", master_key: \"env:KEY\" }\n  \
                    listeners: { admin: \"0.0.0.0:9080\", public: \"0.0.0.0:9081\", internal: \"0.0.0.0:9090\", \
                    internal_plaintext: true }\n  sessions: { access_token: 1h, lock_after: 0 }\n  \
                    upstreams: { plaintext_on_loopback: true }\n";
        std::fs::write(&path, text).unwrap();
        let mistakes = NodeConfig::load(&path).unwrap_err().to_string();
        for key in [
            "gateway.listen.metrics",
            "gateway.redis.revocation",
            "gateway.revocations",
            "control_api.database.url",
            "control_api.database.master_key",
            "control_api.listeners.admin",
            "control_api.listeners.public",
            "control_api.listeners.internal",
            "control_api.listeners.internal_plaintext",
            "control_api.sessions.access_token",
            "control_api.sessions.lock_after",
            "control_api.upstreams.plaintext_on_loopback",
        ] {
            assert!(mistakes.contains(key), "{key} in {mistakes}");
        }
    }

    #[test]
    fn a_node_needs_no_database_and_no_certificate_for_gateways() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.yaml");
        std::fs::write(&path, "control_api: { environment: prod }\n").unwrap();
        NodeConfig::load(&path).unwrap();
    }
}
