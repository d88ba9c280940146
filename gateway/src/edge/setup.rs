//! From a configuration to the parts of an edge: who is asked, and over what.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{Clock, Secret};
use link::{
    LinkError,
    bindings_cache::BindingsCache,
    file::SecretRefError,
    log::{FactCarrier, NoCarrier, RedisCarrier},
    redis::{self, Role},
    redis_record::RedisRecord,
    rpc::{RpcClient, Target, TlsFiles},
};

use super::{EdgeParts, Source};
use crate::{
    config::{ControlApiConfig, GatewayConfig, Revocations},
    control_tls::{ControlTls, NotPem},
};

/// How long the fleet shares a copy of somebody's bindings.
const SHARED_FOR: Duration = Duration::from_secs(3600);

/// Why a configuration does not lead to an edge.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Neither kind of feed is configured.
    #[error("one of `feed.control_api` and `feed.file` is needed")]
    NoFeed,
    /// The address of the control API is none.
    #[error("`{url}` (`feed.control_api.url`) is no address of a control API")]
    Url {
        /// What the configuration says.
        url: String,
    },
    /// A file of the configuration cannot be read.
    #[error("`{}` (`{key}`) cannot be read", path.display())]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is needed is not configured.
    #[error("`{key}` is needed")]
    Missing {
        /// The key of the configuration.
        key: &'static str,
    },
    /// A secret is not where the configuration says.
    #[error("`redis.cache_key` cannot be read")]
    Secret(#[from] SecretRefError),
    /// What the files of `feed.control_api` hold.
    #[error("the files of `feed.control_api` cannot be used")]
    ControlTls(#[from] NotPem),
    /// Redis or the control API cannot be used as configured.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl EdgeParts {
    /// The parts that a configuration asks for. Needs a tokio runtime that outlives the edge.
    ///
    /// # Errors
    /// [`SetupError`]. A Redis that does not answer is no error: facts are then fetched with each proof.
    pub async fn from_config(config: GatewayConfig, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let revocation = match (&config.redis.revocation, config.revocations) {
            // Without its record a gateway on its own could prove nothing, ever.
            (Some(url), Revocations::Redis) => Some(redis::connect(url, Role::Revocation).await?),
            (None, Revocations::Redis) => return Err(SetupError::Missing { key: "redis.revocation" }),
            (Some(url), Revocations::None) => reachable(redis::connect(url, Role::Revocation).await)?,
            (None, Revocations::None) => None,
        };
        let record = (config.revocations == Revocations::Redis).then_some(revocation.as_ref()).flatten();
        let record = record.map(|redis| RedisRecord::new(redis.clone(), Arc::clone(&clock)));
        let carrier = revocation.map(|redis| RedisCarrier::new(redis, Arc::clone(&clock)));
        let bindings = match (&config.redis.cache, &config.redis.cache_key) {
            (Some(url), Some(key)) => {
                let key = Secret::new(key.resolve(Path::new(""))?.expose().clone().into_bytes());
                let redis = reachable(redis::connect(url, Role::Cache).await)?;
                redis.map(|redis| BindingsCache::new(redis, &key, SHARED_FOR))
            }
            (Some(_), None) => return Err(SetupError::Missing { key: "redis.cache_key" }),
            (None, _) => None,
        };
        let control_tls = Arc::new(ControlTls::default());
        let source = match (&config.feed.control_api, &config.feed.file) {
            (Some(control_api), _) => {
                let facts: Arc<dyn FactCarrier> = match &carrier {
                    Some(carrier) => Arc::new(carrier.clone()),
                    None => Arc::new(NoCarrier),
                };
                let target = target(control_api)?;
                if let Target::Tls { files, .. } = &target {
                    control_tls.replace(files)?;
                }
                Source::ControlPlane { plane: Arc::new(RpcClient::new(&target)?), carrier: facts }
            }
            (None, Some(path)) => Source::File(path.clone()),
            (None, None) => return Err(SetupError::NoFeed),
        };
        Ok(Self { config, source, clock, revocations: carrier, record, bindings, control_tls })
    }
}

/// A Redis that is down is done without; one that loses facts is refused.
fn reachable<T>(connected: Result<T, LinkError>) -> Result<Option<T>, LinkError> {
    match connected {
        Ok(redis) => Ok(Some(redis)),
        Err(error @ LinkError::Unfit { .. }) => Err(error),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "doing without Redis until the next start");
            Ok(None)
        }
    }
}

fn target(control_api: &ControlApiConfig) -> Result<Target, SetupError> {
    let url = &control_api.url;
    if let Some(path) = url.strip_prefix("unix:") {
        return Ok(Target::Unix(path.into()));
    }
    if let Some(address) = url.strip_prefix("http://") {
        let address = address.parse().map_err(|_| SetupError::Url { url: url.clone() })?;
        return Ok(Target::Loopback(address));
    }
    let files = TlsFiles {
        ca: read("feed.control_api.ca", control_api.ca.as_deref())?,
        chain: read("feed.control_api.certificate", control_api.certificate.as_deref())?,
        key: Secret::new(read("feed.control_api.key", control_api.key.as_deref())?),
    };
    Ok(Target::Tls { url: url.clone(), files })
}

fn read(key: &'static str, path: Option<&Path>) -> Result<String, SetupError> {
    let path = path.ok_or(SetupError::Missing { key })?;
    fs::read_to_string(path).map_err(|source| SetupError::File { key, path: path.into(), source })
}
