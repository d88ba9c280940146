//! What `portcullis serve` reads: a data folder and the settings of both planes.
//!
//! ```yaml
//! data_dir: /var/lib/portcullis
//! gateway: { listen: { https: "0.0.0.0:443", http: "0.0.0.0:80" } }
//! control_api: { environment: prod, bootstrap: { console_hostname: console.example.com } }
//! ```

use std::path::{Path, PathBuf};

use control_api::config::Config as ControlApiConfig;
use gateway::GatewayConfig;
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
    /// Reads and checks a file. A relative `data_dir` starts at the file's folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let loaded = link::file::load::<Self>(Document::open(path)?, &Overrides::from_env(&[]))?;
        let mut config = loaded.checked(|config, checks| {
            if config.gateway.feed.file.is_some() || config.gateway.feed.control_api.is_some() {
                checks.refuse("/gateway/feed", "is this process's own control plane; leave it out");
            }
            if !config.control_api.database.url.is_empty() {
                checks.refuse("/control_api/database/url", "is in the data folder; leave it out");
            }
        })?;
        config.data_dir = path.parent().unwrap_or(Path::new("")).join(&config.data_dir);
        Ok(config)
    }
}
