//! The control API's side.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{History, Secret, SnapshotVersion};
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Extensions, Request, Response, Status,
    service::Routes,
    transport::{
        Certificate, Identity, Server, ServerTlsConfig,
        server::{TcpConnectInfo, TlsConnectInfo, UdsConnectInfo},
    },
};

use super::{
    enrolment::{Enroller, EnrolmentServer},
    identity::{self, Peer, Proven},
    proto::{self, enrolment_server, gateway_link_server},
    wire,
};
use crate::{
    LinkError,
    log::{ControlPlane, GatewayIdentity},
};

const WHO: &str = "the control API";
const GATEWAY: &str = "the gateway";

/// Longest a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Decides what a peer may ask, and who answers it.
#[async_trait]
pub trait Admit: Send + Sync {
    /// What answers this peer, for one call: a gateway sees its own fleet only.
    ///
    /// # Errors
    /// [`LinkError::Refused`] for a gateway that is unknown or was removed.
    async fn admit(&self, peer: &Peer) -> Result<Arc<dyn ControlPlane>, LinkError>;
}

/// Lets everybody in whom the transport lets in.
pub struct AdmitAll(pub Arc<dyn ControlPlane>);

#[async_trait]
impl Admit for AdmitAll {
    async fn admit(&self, _: &Peer) -> Result<Arc<dyn ControlPlane>, LinkError> {
        Ok(self.0.clone())
    }
}

/// A [`ControlPlane`] as a gRPC service. An HTTP server of its own may put a [`Peer`] into the request's extensions;
/// otherwise tonic's connection information decides.
#[derive(Clone)]
pub struct RpcServer {
    admit: Arc<dyn Admit>,
    enroller: Option<Arc<dyn Enroller>>,
}

impl RpcServer {
    /// Serves whom `admit` lets in.
    pub fn new(admit: Arc<dyn Admit>) -> Self {
        Self { admit, enroller: None }
    }

    /// Gives out certificates too.
    #[must_use]
    pub fn enrolling(self, enroller: Arc<dyn Enroller>) -> Self {
        Self { enroller: Some(enroller), ..self }
    }

    /// The service, beside what is there.
    pub fn onto(self, mut routes: Routes) -> Routes {
        if let Some(enrolment) = self.enrolment_service() {
            routes = routes.add_service(enrolment);
        }
        routes.add_service(gateway_link_server::GatewayLinkServer::new(self))
    }

    /// Who decides which gateways are let in.
    pub fn admit(&self) -> Arc<dyn Admit> {
        Arc::clone(&self.admit)
    }

    fn enrolment_service(&self) -> Option<enrolment_server::EnrolmentServer<EnrolmentServer>> {
        let (enroller, admit) = (self.enroller.clone()?, Arc::clone(&self.admit));
        Some(enrolment_server::EnrolmentServer::new(EnrolmentServer { enroller, admit }))
    }

    async fn plane<T>(&self, request: &Request<T>) -> Result<(Peer, Arc<dyn ControlPlane>), Status> {
        let peer = peer(request)?;
        let plane = self.admit.admit(&peer).await?;
        Ok((peer, plane))
    }
}

/// PEM texts of the control API's internal listener.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Its certificate chain, leaf first.
    pub chain: String,
    /// Its key.
    pub key: Secret<String>,
    /// Authorities trusted for gateways' certificates. Who shows none is no gateway: it may join, or ask with a key.
    pub client_ca: String,
}

/// Serves gateways and services on a listener until `shutdown` is ready; then finishes what was begun. Without TLS, only
/// callers on this machine are answered as gateways.
///
/// # Errors
/// When the certificates cannot be used, or the listener fails.
pub async fn serve(
    listener: TcpListener,
    tls: Option<&ServerTls>,
    routes: Routes,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LinkError> {
    let failed = |error: tonic::transport::Error| LinkError::failed(WHO, &error);
    let mut builder = Server::builder().tcp_nodelay(true).accept_http1(true);
    if let Some(tls) = tls {
        super::install_crypto();
        let config = ServerTlsConfig::new()
            .identity(Identity::from_pem(&tls.chain, tls.key.expose()))
            .client_ca_root(Certificate::from_pem(&tls.client_ca))
            // Who joins has none yet, and services come with a key of theirs. Every other method asks for it.
            .client_auth_optional(true)
            .timeout(HANDSHAKE);
        builder = builder.tls_config(config).map_err(failed)?;
    }
    let router = builder.add_routes(routes.prepare());
    router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown).await.map_err(failed)
}

/// The gateway that the client certificate of a request's connection names, if there is one.
pub fn certified(extensions: &Extensions) -> Option<Peer> {
    let proven = proven(extensions)?;
    let leaf = proven.der();
    Some(Peer::Gateway { gateway: identity::of_certificate(leaf)?, expires: identity::expiry(leaf)? })
}

/// The certificate that the client of a request's connection proved to be its own, whomever it names, if it showed one. It was in
/// time when the connection was made.
pub fn proven(extensions: &Extensions) -> Option<Proven> {
    Proven::of_chain(extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?.peer_certs()?)
}

/// Where a request's connection comes from.
pub fn address_of(extensions: &Extensions) -> Option<SocketAddr> {
    match extensions.get::<TlsConnectInfo<TcpConnectInfo>>() {
        Some(info) => info.get_ref().remote_addr(),
        None => extensions.get::<TcpConnectInfo>()?.remote_addr(),
    }
}

/// Who asks. A connection that proves nothing is nobody's.
pub(super) fn peer<T>(request: &Request<T>) -> Result<Peer, Status> {
    let refused = |reason: &str| Status::unauthenticated(reason);
    let extensions = request.extensions();
    if let Some(peer) = extensions.get::<Peer>() {
        return Ok(peer.clone());
    }
    if let Some(info) = extensions.get::<TlsConnectInfo<TcpConnectInfo>>() {
        let certificates = info.peer_certs().ok_or_else(|| refused("a client certificate is needed"))?;
        let leaf = certificates.first().ok_or_else(|| refused("a client certificate is needed"))?;
        let gateway = identity::of_certificate(leaf).ok_or_else(|| refused("the certificate names no gateway"))?;
        let expires = identity::expiry(leaf).ok_or_else(|| refused("the certificate names no end"))?;
        return Ok(Peer::Gateway { gateway, expires });
    }
    let local = extensions.get::<UdsConnectInfo>().is_some()
        || extensions
            .get::<TcpConnectInfo>()
            .and_then(TcpConnectInfo::remote_addr)
            .is_some_and(|address| address.ip().to_canonical().is_loopback());
    if local { Ok(Peer::Local) } else { Err(refused("a client certificate is needed")) }
}

/// Nobody speaks for a gateway that its certificate does not name.
fn is_itself(peer: &Peer, gateway: &GatewayIdentity) -> Result<(), Status> {
    match peer {
        Peer::Gateway { gateway: named, .. } if named != gateway => {
            Err(Status::permission_denied("the certificate names another gateway"))
        }
        Peer::Gateway { .. } | Peer::Local => Ok(()),
    }
}

/// Answers in parts of about [`wire::PART_BYTES`].
fn in_parts<T>(items: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for item in items {
        let next = size(&item) + 32;
        if bytes + next > wire::PART_BYTES && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += next;
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    parts
}

type Parts<T> = BoxStream<'static, Result<T, Status>>;

#[async_trait]
impl gateway_link_server::GatewayLink for RpcServer {
    type FactsAfterStream = Parts<proto::FactsAfterReply>;
    type LiveFactsStream = Parts<proto::LiveFactsReply>;
    type FeedStream = Parts<proto::FeedReply>;

    async fn prove(&self, request: Request<proto::ProveRequest>) -> Result<Response<proto::ProveReply>, Status> {
        let (peer, plane) = self.plane(&request).await?;
        let asked = request.into_inner();
        let (at, gateway) = (wire::to_position(asked.at, GATEWAY)?, wire::to_gateway(asked.gateway)?);
        is_itself(&peer, &gateway)?;
        Ok(Response::new(wire::from_proof(plane.prove(at, &gateway).await?)))
    }

    async fn facts_after(
        &self,
        request: Request<proto::FactsAfterRequest>,
    ) -> Result<Response<Self::FactsAfterStream>, Status> {
        let (_, plane) = self.plane(&request).await?;
        let at = wire::to_position(request.into_inner().at, GATEWAY)?;
        let facts = plane.facts_after(at).await?;
        let facts = facts.iter().map(wire::from_numbered).collect::<Result<Vec<_>, LinkError>>()?;
        let parts = in_parts(facts, |fact| fact.fact.len());
        let replies = parts.into_iter().map(|facts| Ok(proto::FactsAfterReply { facts }));
        Ok(Response::new(stream::iter(replies).boxed()))
    }

    async fn live_facts(
        &self,
        request: Request<proto::LiveFactsRequest>,
    ) -> Result<Response<Self::LiveFactsStream>, Status> {
        let (_, plane) = self.plane(&request).await?;
        let live = plane.live_facts().await?;
        let head = Some(wire::from_position(live.head));
        let facts = live.facts.iter().map(wire::from_fact).collect::<Result<Vec<_>, LinkError>>()?;
        let replies = in_parts(facts, Vec::len).into_iter().map(move |facts| Ok(proto::LiveFactsReply { head, facts }));
        Ok(Response::new(stream::iter(replies.collect::<Vec<_>>()).boxed()))
    }

    async fn bindings(
        &self,
        request: Request<proto::BindingsRequest>,
    ) -> Result<Response<proto::BindingsReply>, Status> {
        let (_, plane) = self.plane(&request).await?;
        let asked = request.into_inner();
        let (tenant, user) = (wire::to_id(&asked.tenant, GATEWAY)?, wire::to_id(&asked.user, GATEWAY)?);
        Ok(Response::new(wire::from_bindings(&plane.bindings(tenant, user).await?)))
    }

    async fn api_key(&self, request: Request<proto::ApiKeyRequest>) -> Result<Response<proto::ApiKeyReply>, Status> {
        let (_, plane) = self.plane(&request).await?;
        // What cannot be a key's public part is not that of any.
        let found = match request.into_inner().prefix.parse() {
            Ok(prefix) => plane.api_key(&prefix).await?,
            Err(_) => None,
        };
        Ok(Response::new(wire::from_api_key(found.as_ref())?))
    }

    async fn keys_used(
        &self,
        request: Request<proto::KeysUsedRequest>,
    ) -> Result<Response<proto::KeysUsedReply>, Status> {
        let (_, plane) = self.plane(&request).await?;
        plane.keys_used(wire::to_key_uses(&request.into_inner())?).await?;
        Ok(Response::new(proto::KeysUsedReply {}))
    }

    async fn feed(&self, request: Request<proto::FeedRequest>) -> Result<Response<Self::FeedStream>, Status> {
        let (_, plane) = self.plane(&request).await?;
        let proto::FeedRequest { from, history } = request.into_inner();
        let from = from.map(|revision| SnapshotVersion { history: History(history), revision });
        let messages = plane.feed(from).await?;
        let parts = messages.flat_map(|message| {
            let parts = match message.and_then(wire::from_feed) {
                Ok(parts) => parts.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(Status::from(error))],
            };
            stream::iter(parts)
        });
        Ok(Response::new(parts.boxed()))
    }

    async fn refresh_issuer(
        &self,
        request: Request<proto::RefreshIssuerRequest>,
    ) -> Result<Response<proto::RefreshIssuerReply>, Status> {
        let (_, plane) = self.plane(&request).await?;
        plane.refresh_issuer(wire::to_id(&request.into_inner().issuer, GATEWAY)?).await?;
        Ok(Response::new(proto::RefreshIssuerReply {}))
    }

    async fn report(&self, request: Request<proto::ReportRequest>) -> Result<Response<proto::ReportReply>, Status> {
        let (peer, plane) = self.plane(&request).await?;
        let status = wire::to_status(request.into_inner())?;
        is_itself(&peer, &status.gateway)?;
        plane.report(status).await?;
        Ok(Response::new(proto::ReportReply {}))
    }

    async fn record_decisions(
        &self,
        request: Request<proto::RecordDecisionsRequest>,
    ) -> Result<Response<proto::RecordDecisionsReply>, Status> {
        let (_, plane) = self.plane(&request).await?;
        plane.record(wire::to_decisions(&request.into_inner().decisions)?).await?;
        Ok(Response::new(proto::RecordDecisionsReply {}))
    }

    async fn record_usage(
        &self,
        request: Request<proto::RecordUsageRequest>,
    ) -> Result<Response<proto::RecordUsageReply>, Status> {
        let (_, plane) = self.plane(&request).await?;
        let (counter, counts) = wire::to_usage(&request.into_inner())?;
        Ok(Response::new(wire::from_recorded(&plane.record_usage(counter, counts).await?)))
    }

    async fn record_access(
        &self,
        request: Request<proto::RecordAccessRequest>,
    ) -> Result<Response<proto::RecordAccessReply>, Status> {
        let (_, plane) = self.plane(&request).await?;
        plane.record_access(wire::to_access(&request.into_inner().report)?).await?;
        Ok(Response::new(proto::RecordAccessReply {}))
    }
}
