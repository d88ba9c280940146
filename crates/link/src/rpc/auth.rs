//! The auth RPC (`proto/portcullis/v1/auth.proto`): its server over whatever answers, and reflection and health beside
//! it.

use std::sync::Arc;

use async_trait::async_trait;
use tonic::{Code, Extensions, Request, Response, Status, service::Routes};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::proto::{self, auth_server};
use crate::LinkError;

/// `domain` of the ErrorInfo of refusals.
pub const DOMAIN: &str = "portcullis";

/// The description of the auth RPC, for reflection.
const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/auth.binpb"));

/// Why a question is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The class of it, as gRPC says it.
    pub kind: RefusalKind,
    /// Stable public code.
    pub code: &'static str,
    /// What the caller is told in words.
    pub detail: String,
}

/// The class of a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusalKind {
    /// The question is wrong.
    Invalid,
    /// Whoever asks, or the token that is asked about, is not known.
    Unauthenticated,
    /// It may not be asked, or not there.
    Denied,
    /// There is no such thing.
    NotFound,
    /// State forbids it.
    Precondition,
    /// Too often.
    Exhausted,
    /// Not now.
    Unavailable,
    /// A failure of ours.
    Internal,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.kind {
            RefusalKind::Invalid => Code::InvalidArgument,
            RefusalKind::Unauthenticated => Code::Unauthenticated,
            RefusalKind::Denied => Code::PermissionDenied,
            RefusalKind::NotFound => Code::NotFound,
            RefusalKind::Precondition => Code::FailedPrecondition,
            RefusalKind::Exhausted => Code::ResourceExhausted,
            RefusalKind::Unavailable => Code::Unavailable,
            RefusalKind::Internal => Code::Internal,
        };
        let details = ErrorDetails::with_error_info(refusal.code, DOMAIN, std::collections::HashMap::new());
        Self::with_error_details(code, refusal.detail, details)
    }
}

macro_rules! questions {
    ($($(#[$doc:meta])* $method:ident: $asked:ident -> $answer:ident;)*) => {
        /// What answers the auth RPC. `about` is what the layers around the service noted of the request.
        #[async_trait]
        pub trait AuthQuestions: Send + Sync + 'static {
            $($(#[$doc])*
            async fn $method(&self, about: &Extensions, asked: proto::$asked) -> Result<proto::$answer, Refusal>;)*
        }

        #[async_trait]
        impl auth_server::Auth for AuthServer {
            $(async fn $method(
                &self,
                request: Request<proto::$asked>,
            ) -> Result<Response<proto::$answer>, Status> {
                let (_, about, asked) = request.into_parts();
                Ok(Response::new(self.0.$method(&about, asked).await?))
            })*
        }
    };
}

questions! {
    /// Whether an access token holds.
    verify_token: VerifyTokenRequest -> VerifyTokenReply;
    /// What a user may do in a tenant.
    get_user_permissions: GetUserPermissionsRequest -> GetUserPermissionsReply;
    /// Whether a user holds a permission.
    check_permission: CheckPermissionRequest -> CheckPermissionReply;
    /// The same for several.
    batch_check_permission: BatchCheckPermissionRequest -> BatchCheckPermissionReply;
    /// A new pair for a refresh token.
    refresh_token: RefreshTokenRequest -> RefreshTokenReply;
    /// Ends a token and its session.
    invalidate_token: InvalidateTokenRequest -> InvalidateTokenReply;
}

/// [`AuthQuestions`] as a gRPC service.
#[derive(Clone)]
pub struct AuthServer(Arc<dyn AuthQuestions>);

impl AuthServer {
    /// Over what answers.
    pub fn new(answers: Arc<dyn AuthQuestions>) -> Self {
        Self(answers)
    }

    /// The service, beside what is there.
    pub fn onto(self, routes: Routes) -> Routes {
        routes.add_service(auth_server::AuthServer::new(self))
    }
}

/// Adds what tells programs about the auth RPC: health (`grpc.health.v1`) and reflection (`grpc.reflection.v1`). Both
/// answer anybody who reaches the listener and say nothing that is not in this repository.
///
/// # Errors
/// [`LinkError::Failed`] when the description cannot be used.
pub async fn described(routes: Routes) -> Result<Routes, LinkError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| LinkError::failed("the auth RPC", &error))?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<auth_server::AuthServer<AuthServer>>().await;
    Ok(routes.add_service(reflection).add_service(health))
}
