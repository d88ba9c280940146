//! DNS by hickory-resolver: the configured resolvers, or the system's, each asked afresh.
//!
//! Nothing is cached here: a proof that was written a moment ago counts now, and one that was taken away does no more.
//! Resolvers are believed; they cache for as long as the zone says.

use std::{fmt, net::IpAddr};

use async_trait::async_trait;
use hickory_resolver::{
    Resolver as Hickory, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError as Negative, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{RData, Record, RecordType},
    },
};

use super::{Dns, DnsError, MAX_RECORDS};
use crate::config::DnsConfig;

/// Resolvers to ask. Without any (a system that names none) nothing is ever known.
pub struct Resolver {
    hickory: Option<TokioResolver>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("usable", &self.hickory.is_some()).finish_non_exhaustive()
    }
}

impl Resolver {
    /// As configured.
    pub fn new(config: &DnsConfig) -> Self {
        let hickory = match build(config) {
            Ok(hickory) => Some(hickory),
            Err(error) => {
                tracing::warn!(error = %error, "no resolver can be used: hostnames and domains cannot be proven");
                None
            }
        };
        Self { hickory }
    }

    /// The records of this kind; none when the name does not exist or has none.
    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, DnsError> {
        let unknown = |reason: String| DnsError { name: name.to_owned(), reason };
        let hickory = self.hickory.as_ref().ok_or_else(|| unknown("there is no resolver".into()))?;
        // With its last dot: no search list is tried.
        match hickory.lookup(format!("{name}."), kind).await {
            Ok(found) => Ok(found.answers().iter().take(MAX_RECORDS).cloned().collect()),
            Err(NetError::Dns(Negative::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(unknown(error.to_string())),
        }
    }
}

fn build(config: &DnsConfig) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if config.resolvers.is_empty() {
        Hickory::builder(provider)?
    } else {
        let servers = config.resolvers.iter().map(|resolver| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].into_iter().map(|mut connection| {
                connection.port = resolver.port();
                connection
            });
            NameServerConfig::new(resolver.ip(), true, connections.collect())
        });
        Hickory::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers.collect()), provider)
    };
    set(builder.options_mut(), config);
    builder.build()
}

fn set(options: &mut ResolverOpts, config: &DnsConfig) {
    options.timeout = config.timeout.get();
    options.attempts = usize::try_from(config.attempts).unwrap_or(1);
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = false;
}

#[async_trait]
impl Dns for Resolver {
    async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let records = self.records(name, RecordType::TXT).await?;
        Ok(records
            .iter()
            .filter_map(|record| match &record.data {
                RData::TXT(text) => {
                    let bytes: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
                    Some(String::from_utf8_lossy(&bytes).into_owned())
                }
                _ => None,
            })
            .collect())
    }

    async fn alias(&self, name: &str) -> Result<Option<String>, DnsError> {
        let records = self.records(name, RecordType::CNAME).await?;
        Ok(records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) => Some(target.0.to_ascii().trim_end_matches('.').to_ascii_lowercase()),
            _ => None,
        }))
    }

    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let (four, six) = tokio::try_join!(self.records(name, RecordType::A), self.records(name, RecordType::AAAA))?;
        Ok(four
            .iter()
            .chain(&six)
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            })
            .collect())
    }
}
