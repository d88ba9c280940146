//! Client certificates for gateways (`proto/portcullis/v1/enrolment.proto`): the first for a join token, the next ones
//! for the one before.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::Secret;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::{
    identity::Peer,
    proto::{self, enrolment_client::EnrolmentClient, enrolment_server},
    server,
};
use crate::{LinkError, log::GatewayIdentity};

/// Longest certificate request that is read, in bytes.
const MAX_CSR: usize = 8 * 1024;

/// Longest wait for a certificate.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives gateways their certificates.
#[async_trait]
pub trait Enroller: Send + Sync {
    /// The first certificate (PEM, leaf first) of who shows a join token, for the key of a request (PKCS #10, DER).
    ///
    /// # Errors
    /// [`LinkError::Refused`] for a token that is not good, or not for this key.
    async fn join(&self, token: &Secret<String>, csr: &[u8]) -> Result<String, LinkError>;

    /// The next certificate of a gateway that was let in.
    ///
    /// # Errors
    /// [`LinkError::Refused`] for one that may not ask any more, or another key.
    async fn renew(&self, gateway: &GatewayIdentity, csr: &[u8]) -> Result<String, LinkError>;
}

/// An [`Enroller`] as a gRPC service.
#[derive(Clone)]
pub(super) struct EnrolmentServer {
    pub(super) enroller: Arc<dyn Enroller>,
    pub(super) admit: Arc<dyn super::Admit>,
}

#[async_trait]
impl enrolment_server::Enrolment for EnrolmentServer {
    async fn join(&self, request: Request<proto::JoinRequest>) -> Result<Response<proto::CertificateReply>, Status> {
        let proto::JoinRequest { join_token, csr } = request.into_inner();
        let chain_pem = self.enroller.join(&Secret::new(join_token), bounded(&csr)?).await?;
        Ok(Response::new(proto::CertificateReply { chain_pem }))
    }

    async fn renew(&self, request: Request<proto::RenewRequest>) -> Result<Response<proto::CertificateReply>, Status> {
        let peer = server::peer(&request)?;
        self.admit.admit(&peer).await?;
        let Peer::Gateway { gateway, .. } = peer else {
            return Err(Status::permission_denied("only who has a certificate can renew it"));
        };
        let chain_pem = self.enroller.renew(&gateway, bounded(&request.into_inner().csr)?).await?;
        Ok(Response::new(proto::CertificateReply { chain_pem }))
    }
}

fn bounded(csr: &[u8]) -> Result<&[u8], Status> {
    if csr.len() > MAX_CSR { Err(Status::invalid_argument("the certificate request is too long")) } else { Ok(csr) }
}

/// Trades a join token for a certificate, over TLS to a control API whose certificate `ca` (PEM) signed.
///
/// # Errors
/// [`LinkError::Refused`] when the token is not good; [`LinkError::Unreachable`] and [`LinkError::TimedOut`] when it is
/// worth another try.
pub async fn join(url: &str, ca: &str, token: &Secret<String>, csr: Vec<u8>) -> Result<String, LinkError> {
    super::install_crypto();
    let unfit = |error: tonic::transport::Error| LinkError::Unfit { peer: WHO, reason: crate::error::chain(&error) };
    if !url.starts_with("https://") {
        return Err(LinkError::Unfit { peer: WHO, reason: format!("`{url}` is not an https URL") });
    }
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    let endpoint = Endpoint::from_shared(url.to_owned()).and_then(|e| e.tls_config(tls)).map_err(unfit)?;
    let channel = endpoint.connect_timeout(PATIENCE).connect_lazy();
    let question = proto::JoinRequest { join_token: token.expose().clone(), csr };
    certificate(EnrolmentClient::new(channel).join(question)).await
}

const WHO: &str = "the control API";

/// The certificate of an answer that does not take too long.
pub(super) async fn certificate(
    answer: impl Future<Output = Result<Response<proto::CertificateReply>, Status>>,
) -> Result<String, LinkError> {
    let answered = tokio::time::timeout(PATIENCE, answer).await;
    let reply = answered.map_err(|_| LinkError::TimedOut { peer: WHO, after: PATIENCE })?;
    reply.map(|reply| reply.into_inner().chain_pem).map_err(|status| super::wire::from_grpc(status, WHO))
}
