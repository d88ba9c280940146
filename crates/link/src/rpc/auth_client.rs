//! A client of the auth RPC that speaks JSON: for people, from a command line.

use domain::Secret;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt as _;

use super::proto::auth_client::AuthClient as Grpc;
use crate::LinkError;

const WHO: &str = "the control API";

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such method.
    #[error(
        "there is no method `{0}`; there are verify-token, get-user-permissions, check-permission, batch-check-permission, refresh-token and invalidate-token"
    )]
    Method(String),
    /// The JSON is not that of the method's request.
    #[error("the request is not one of this method")]
    Request(#[source] serde_json::Error),
    /// The answer has no form in JSON.
    #[error("the answer cannot be shown")]
    Answer(#[source] serde_json::Error),
    /// The call was refused.
    #[error("{status}: {code}: {detail}")]
    Refused {
        /// gRPC's word for it.
        status: String,
        /// Stable public code; empty where somebody else than the control API refused.
        code: String,
        /// In words.
        detail: String,
    },
    /// Not even asked.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// A connection to an `internal` listener, made when it is first used.
#[derive(Clone, Debug)]
pub struct AuthClient {
    grpc: Grpc<Channel>,
    key: MetadataValue<Ascii>,
}

impl AuthClient {
    /// For a URL: `https://…`, or `http://…` on this machine only, because the key and every token travel in the clear
    /// there. `ca` is the PEM of the authorities trusted for the certificate.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] when the URL, the key or the certificates cannot be used.
    pub fn new(url: &str, ca: Option<&str>, key: &Secret<String>) -> Result<Self, LinkError> {
        let unfit = |reason: String| LinkError::Unfit { peer: WHO, reason };
        let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| unfit(crate::error::chain(&error)))?;
        let host = endpoint.uri().host().unwrap_or_default().trim_matches(['[', ']']);
        let near = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        match (endpoint.uri().scheme_str(), ca) {
            (Some("https"), Some(ca)) => {
                super::install_crypto();
                let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
                endpoint = endpoint.tls_config(tls).map_err(|error| unfit(crate::error::chain(&error)))?;
            }
            (Some("https"), None) => return Err(unfit("the authority of its certificate is not given".into())),
            (Some("http"), _) if near => {}
            _ => return Err(unfit(format!("`{url}` is neither https nor on this machine"))),
        }
        let mut key: MetadataValue<Ascii> = format!("Bearer {}", key.expose())
            .parse()
            .map_err(|_| unfit("the service key has characters no header carries".into()))?;
        key.set_sensitive(true);
        Ok(Self { grpc: Grpc::new(endpoint.connect_lazy()), key })
    }

    /// Asks: the name of a method with dashes, and its request as JSON.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, method: &str, asked: Value) -> Result<Value, CallError> {
        let mut grpc = self.grpc.clone();
        match method {
            "verify-token" => shown(grpc.verify_token(self.request(asked)?).await),
            "get-user-permissions" => shown(grpc.get_user_permissions(self.request(asked)?).await),
            "check-permission" => shown(grpc.check_permission(self.request(asked)?).await),
            "batch-check-permission" => shown(grpc.batch_check_permission(self.request(asked)?).await),
            "refresh-token" => shown(grpc.refresh_token(self.request(asked)?).await),
            "invalidate-token" => shown(grpc.invalidate_token(self.request(asked)?).await),
            other => Err(CallError::Method(other.into())),
        }
    }

    fn request<T: DeserializeOwned>(&self, asked: Value) -> Result<Request<T>, CallError> {
        let mut request = Request::new(serde_json::from_value(asked).map_err(CallError::Request)?);
        request.metadata_mut().insert("authorization", self.key.clone());
        Ok(request)
    }
}

fn shown<T: Serialize>(answer: Result<tonic::Response<T>, Status>) -> Result<Value, CallError> {
    match answer {
        Ok(answer) => serde_json::to_value(answer.into_inner()).map_err(CallError::Answer),
        Err(status) => Err(CallError::Refused {
            status: format!("{:?}", status.code()),
            code: status.get_details_error_info().map(|info| info.reason).unwrap_or_default(),
            detail: status.message().to_owned(),
        }),
    }
}
