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
    nonces::{Nonces, RedisNonces},
    redis::{self, Role},
    redis_record::RedisRecord,
    rpc::{RpcClient, Target},
    shared_limits::SharedLimits,
};

use super::{EdgeParts, Source};
use crate::{
    config::{ControlApiConfig, GatewayConfig, IdentityConfig, Revocations},
    control_tls::{ControlTls, NotPem},
    enrolment::{Enrolled, EnrolmentError, Place},
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
    /// This gateway has no certificate to be known by.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// Redis or the control API cannot be used as configured.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl EdgeParts {
    /// The parts that a configuration asks for. Needs a tokio runtime that outlives the edge. Joins the control API where
    /// there is no certificate yet; who this gateway is, its certificate says.
    ///
    /// # Errors
    /// [`SetupError`]. A Redis that does not answer yet is no error: facts are fetched with each proof until it does.
    pub async fn from_config(mut config: GatewayConfig, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let revocation = match (&config.redis.revocation, config.revocations) {
            (Some(url), _) => Some(redis::connect_late(url, Role::Revocation).await?),
            // Without its record a gateway on its own could prove nothing, ever.
            (None, Revocations::Redis) => return Err(SetupError::Missing { key: "redis.revocation" }),
            (None, Revocations::None) => None,
        };
        if let Some(redis) = &revocation {
            unless_away(RedisCarrier::new(redis.clone(), Arc::clone(&clock)).check_rights(false).await)?;
        }
        let record = (config.revocations == Revocations::Redis).then_some(revocation.as_ref()).flatten();
        let record = record.map(|redis| RedisRecord::new(redis.clone(), Arc::clone(&clock)));
        let nonces = match &config.redis.nonces {
            Some(url) => Some(redis::connect_late(url, Role::Nonces).await?),
            None => revocation.clone(),
        };
        let nonces = nonces.map(|redis| Arc::new(RedisNonces::new(redis, Arc::clone(&clock))));
        if let Some(nonces) = &nonces
            && let Err(error) = nonces.begin().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "nonces are not remembered yet");
        }
        let nonces = nonces.map(|nonces| nonces as Arc<dyn Nonces>);
        let carrier = revocation.map(|redis| RedisCarrier::new(redis, Arc::clone(&clock)));
        let (cache, bindings) = match (&config.redis.cache, &config.redis.cache_key) {
            (Some(url), Some(key)) => {
                let key = Secret::new(key.resolve(Path::new(""))?.expose().clone().into_bytes());
                let redis = redis::connect_late(url, Role::Cache).await?;
                let bindings = BindingsCache::new(redis.clone(), &key, SHARED_FOR);
                unless_away(bindings.check_rights().await)?;
                (Some(redis), Some(bindings))
            }
            (Some(_), None) => return Err(SetupError::Missing { key: "redis.cache_key" }),
            (None, _) => (None, None),
        };
        let control_tls = Arc::new(ControlTls::default());
        let mut renewal = None;
        let source = match (&config.feed.control_api, &config.feed.file) {
            (Some(control_api), _) => {
                let facts: Arc<dyn FactCarrier> = match &carrier {
                    Some(carrier) => Arc::new(carrier.clone()),
                    None => Arc::new(NoCarrier),
                };
                let client = match target(control_api)? {
                    Some(target) => RpcClient::new(&target)?,
                    None => {
                        let enrolled = place(control_api, config.data_dir.as_deref())?.enrolled(&*clock).await?;
                        config.gateway = identity(&enrolled)?;
                        control_tls.replace(&enrolled.files())?;
                        let client = RpcClient::new(&enrolled.target())?;
                        renewal = Some((enrolled, client.clone()));
                        client
                    }
                };
                Source::ControlPlane { plane: Arc::new(client), carrier: facts }
            }
            (None, Some(path)) => Source::File(path.clone()),
            (None, None) => return Err(SetupError::NoFeed),
        };
        // After who this gateway is was found out: its fleet is part of it.
        let limits = cache.filter(|_| config.limits.shared);
        let limits = limits.map(|redis| SharedLimits::new(redis, config.gateway.fleet.clone()));
        if let Some(limits) = &limits {
            unless_away(limits.check_rights().await)?;
        }
        Ok(Self {
            config,
            source,
            clock,
            revocations: carrier,
            record,
            bindings,
            nonces,
            limits,
            control_tls,
            renewal,
            inherited: None,
        })
    }
}

/// A Redis that does not answer yet has refused nothing.
fn unless_away(checked: Result<(), LinkError>) -> Result<(), LinkError> {
    match checked {
        Err(error) if error.is_unreachable() => Ok(()),
        checked => checked,
    }
}

/// A control API that is reached on this machine; none for one that is reached with a certificate.
fn target(control_api: &ControlApiConfig) -> Result<Option<Target>, SetupError> {
    let url = &control_api.url;
    if let Some(path) = url.strip_prefix("unix:") {
        return Ok(Some(Target::Unix(path.into())));
    }
    let Some(address) = url.strip_prefix("http://") else { return Ok(None) };
    let address = address.parse().map_err(|_| SetupError::Url { url: url.clone() })?;
    Ok(Some(Target::Loopback(address)))
}

fn place(control_api: &ControlApiConfig, folder: Option<&Path>) -> Result<Place, SetupError> {
    Ok(Place {
        url: control_api.url.clone(),
        ca: read("feed.control_api.ca", control_api.ca.as_deref())?,
        join_token: control_api.join_token.clone(),
        folder: folder.ok_or(SetupError::Missing { key: "data_dir" })?.into(),
    })
}

fn identity(enrolled: &Enrolled) -> Result<IdentityConfig, EnrolmentError> {
    let gateway = enrolled.gateway();
    let fleet = gateway.fleet.parse().map_err(|_| EnrolmentError::Certificate)?;
    Ok(IdentityConfig { id: Some(gateway.id), name: gateway.name.clone(), fleet })
}

fn read(key: &'static str, path: Option<&Path>) -> Result<String, SetupError> {
    let path = path.ok_or(SetupError::Missing { key })?;
    fs::read_to_string(path).map_err(|source| SetupError::File { key, path: path.into(), source })
}
