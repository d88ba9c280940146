//! A gateway's side.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    ApiKeyId, ApiKeyState, Decision, History, IssuerId, KeyPrefix, NumberedFact, Position, Secret, SnapshotVersion,
    TenantId, Timestamp, UserId,
    access::AccessReport,
    fact::{Bindings, Proof},
    quota::{UsageCount, UsagePart},
};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use uuid::Uuid;

use super::{
    enrolment,
    proto::{self, enrolment_client::EnrolmentClient, feed_reply::Kind, gateway_link_client::GatewayLinkClient},
    wire,
};
use crate::{
    LinkError,
    log::{ControlPlane, FeedMessage, GatewayIdentity, GatewayStatus, LiveFacts},
};

const WHO: &str = "the control API";

/// Longest message that is read. Parts are about 1 MiB; one entity may be larger.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Longest wait for a connection; a proof is worthless after two seconds.
const CONNECT: Duration = Duration::from_secs(1);

/// A connection that is silent this long is asked whether it lives, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Where the control API is.
#[derive(Clone, Debug)]
pub enum Target {
    /// `https://HOST:PORT`, with a client certificate.
    Tls {
        /// The URL.
        url: String,
        /// What to trust, and who we are.
        files: TlsFiles,
    },
    /// Plain, on the loopback interface only.
    Loopback(SocketAddr),
    /// Plain, over a Unix socket.
    Unix(PathBuf),
}

/// PEM texts of a gateway.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Authorities trusted for the control API's certificate.
    pub ca: String,
    /// Our certificate chain, leaf first.
    pub chain: String,
    /// Its key.
    pub key: Secret<String>,
}

/// A [`ControlPlane`] at the other end of a connection. Connects when first used, and again whenever it must.
#[derive(Clone, Debug)]
pub struct RpcClient {
    /// Replaced as a whole when there is a new certificate to show.
    channel: Arc<RwLock<Channel>>,
}

impl RpcClient {
    /// A client for a target. Needs a tokio runtime; does not connect yet.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] when the target or the certificates cannot be used.
    pub fn new(target: &Target) -> Result<Self, LinkError> {
        Ok(Self { channel: Arc::new(RwLock::new(channel(target)?)) })
    }

    /// Connects anew for every later call, with another certificate. Calls that are under way end as they began.
    ///
    /// # Errors
    /// As [`RpcClient::new`]; the connection there is stays.
    pub fn reconnect(&self, target: &Target) -> Result<(), LinkError> {
        let channel = channel(target)?;
        *self.channel.write().unwrap_or_else(PoisonError::into_inner) = channel;
        Ok(())
    }

    /// Our next certificate (PEM, leaf first), for a request (PKCS #10, DER) of the same key.
    ///
    /// # Errors
    /// [`LinkError::Refused`] when this gateway was revoked or its certificate has expired.
    pub async fn renew(&self, csr: Vec<u8>) -> Result<String, LinkError> {
        let mut client = EnrolmentClient::new(self.channel());
        enrolment::certificate(client.renew(proto::RenewRequest { csr })).await
    }

    fn channel(&self) -> Channel {
        self.channel.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn grpc(&self) -> GatewayLinkClient<Channel> {
        GatewayLinkClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}

fn channel(target: &Target) -> Result<Channel, LinkError> {
    let unfit = |error: tonic::transport::Error| LinkError::Unfit { peer: WHO, reason: crate::error::chain(&error) };
    let endpoint = match target {
        Target::Tls { url, files } => {
            if !url.starts_with("https://") {
                return Err(LinkError::Unfit { peer: WHO, reason: format!("`{url}` is not an https URL") });
            }
            super::install_crypto();
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(&files.ca))
                .identity(Identity::from_pem(&files.chain, files.key.expose()));
            Endpoint::from_shared(url.clone()).and_then(|e| e.tls_config(tls)).map_err(unfit)?
        }
        Target::Loopback(address) if !address.ip().is_loopback() => {
            let reason = format!("{address} is not on this machine and needs TLS");
            return Err(LinkError::Unfit { peer: WHO, reason });
        }
        Target::Loopback(address) => Endpoint::from_shared(format!("http://{address}")).map_err(unfit)?,
        Target::Unix(path) => Endpoint::from_shared(format!("unix://{}", path.display())).map_err(unfit)?,
    };
    Ok(endpoint
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
}

fn answer<T>(reply: Result<tonic::Response<T>, tonic::Status>) -> Result<T, LinkError> {
    reply.map(tonic::Response::into_inner).map_err(|status| wire::from_grpc(status, WHO))
}

#[async_trait]
impl ControlPlane for RpcClient {
    async fn prove(&self, at: Position, gateway: &GatewayIdentity) -> Result<Proof, LinkError> {
        let gateway = Some(wire::from_gateway(gateway.clone()));
        let question = proto::ProveRequest { at: Some(wire::from_position(at)), gateway };
        wire::to_proof(answer(self.grpc().prove(question).await)?, WHO)
    }

    async fn facts_after(&self, at: Position) -> Result<Vec<NumberedFact>, LinkError> {
        let question = proto::FactsAfterRequest { at: Some(wire::from_position(at)) };
        let mut parts = answer(self.grpc().facts_after(question).await)?;
        let mut facts = Vec::new();
        while let Some(part) = parts.message().await.map_err(|status| wire::from_grpc(status, WHO))? {
            for fact in part.facts {
                facts.push(wire::to_numbered(fact, WHO)?);
            }
        }
        Ok(facts)
    }

    async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
        let mut parts = answer(self.grpc().live_facts(proto::LiveFactsRequest {}).await)?;
        let mut live: Option<LiveFacts> = None;
        while let Some(part) = parts.message().await.map_err(|status| wire::from_grpc(status, WHO))? {
            let head = wire::to_position(part.head, WHO)?;
            let live = live.get_or_insert_with(|| LiveFacts { head, facts: Vec::new() });
            if live.head != head {
                return Err(LinkError::unreadable(WHO, "the parts of one reading have different heads"));
            }
            for fact in part.facts {
                live.facts.push(wire::to_fact(&fact, WHO)?);
            }
        }
        live.ok_or_else(|| LinkError::unreadable(WHO, "a reading without a head"))
    }

    async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Bindings, LinkError> {
        let question = proto::BindingsRequest { tenant: tenant.to_string(), user: user.to_string() };
        wire::to_bindings(answer(self.grpc().bindings(question).await)?, WHO)
    }

    async fn api_key(&self, prefix: &KeyPrefix) -> Result<Option<ApiKeyState>, LinkError> {
        let question = proto::ApiKeyRequest { prefix: prefix.to_string() };
        wire::to_api_key(answer(self.grpc().api_key(question).await)?, WHO)
    }

    async fn keys_used(&self, uses: Vec<(ApiKeyId, Timestamp)>) -> Result<(), LinkError> {
        answer(self.grpc().keys_used(wire::from_key_uses(&uses)).await).map(|_| ())
    }

    async fn feed(
        &self,
        from: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
        let history = from.map_or(0, |held| held.history.0);
        let question = proto::FeedRequest { from: from.map(|held| held.revision), history };
        let parts = answer(self.grpc().feed(question).await)?;
        let parts = parts.map_err(|status| wire::from_grpc(status, WHO));
        // Parts of a delta are put together; those of a full state are handed on one by one.
        let whole = parts.scan(Vec::new(), |delta, part| {
            let message = part.and_then(|part| assemble(delta, part));
            async { Some(message.transpose()) }
        });
        Ok(whole.filter_map(|message| async { message }).boxed())
    }

    async fn refresh_issuer(&self, issuer: IssuerId) -> Result<(), LinkError> {
        let request = proto::RefreshIssuerRequest { issuer: issuer.to_string() };
        answer(self.grpc().refresh_issuer(request).await).map(|_| ())
    }

    async fn report(&self, status: GatewayStatus) -> Result<(), LinkError> {
        answer(self.grpc().report(wire::from_status(status)).await).map(|_| ())
    }

    async fn record(&self, decisions: Vec<Decision>) -> Result<(), LinkError> {
        let decisions = decisions.iter().map(wire::from_decision).collect::<Result<_, LinkError>>()?;
        answer(self.grpc().record_decisions(proto::RecordDecisionsRequest { decisions }).await).map(|_| ())
    }

    async fn record_usage(&self, counter: Uuid, counts: Vec<UsageCount>) -> Result<Vec<Vec<UsagePart>>, LinkError> {
        let reply = answer(self.grpc().record_usage(wire::from_usage(counter, &counts)).await)?;
        wire::to_recorded(&reply, WHO)
    }

    async fn record_access(&self, report: AccessReport) -> Result<(), LinkError> {
        let report = wire::from_access(&report)?;
        answer(self.grpc().record_access(proto::RecordAccessRequest { report }).await).map(|_| ())
    }
}

fn assemble(
    delta: &mut Vec<domain::snapshot::Change>,
    part: proto::FeedReply,
) -> Result<Option<FeedMessage>, LinkError> {
    let (kind, revision, last) = (part.kind(), part.revision, part.last);
    let version = SnapshotVersion { history: History(part.history), revision };
    let mut changes = Vec::with_capacity(part.changes.len());
    for change in part.changes {
        changes.push(wire::to_change(change, WHO)?);
    }
    match kind {
        Kind::Full => Ok(Some(FeedMessage::Full { changes, last, version })),
        Kind::Heartbeat => Ok(Some(FeedMessage::Heartbeat { revision })),
        Kind::Delta => {
            delta.append(&mut changes);
            Ok(last.then(|| FeedMessage::Delta { changes: std::mem::take(delta), revision }))
        }
        Kind::Unspecified => Err(LinkError::unreadable(WHO, "a feed message of no known kind")),
    }
}
