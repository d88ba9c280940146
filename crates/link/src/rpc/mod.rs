//! [`ControlPlane`](crate::log::ControlPlane) over gRPC (`proto/portcullis/v1/gateway.proto`).
//!
//! A gateway has an [`RpcClient`]; the control API wraps what answers in an [`RpcServer`]. Who asks is decided by the
//! client certificate: its URI name holds the [`GatewayIdentity`](crate::log::GatewayIdentity), see [`identity`]. An
//! [`Enroller`] gives gateways their certificates.
//!
//! Beside it, on the same listener, [`auth`] answers services (`proto/portcullis/v1/auth.proto`).

pub mod auth;
mod auth_client;
mod client;
mod enrolment;
pub mod identity;
mod server;
mod wire;

pub use tonic::service::Routes;

pub use self::{
    auth_client::{AuthClient, CallError},
    client::{RpcClient, Target, TlsFiles},
    enrolment::{Enroller, join},
    server::{Admit, AdmitAll, RpcServer, ServerTls, address_of, certified, proven, serve},
};

/// What `build.rs` made of the `.proto` files.
#[expect(missing_docs, reason = "generated")]
pub mod proto {
    tonic::include_proto!("portcullis.v1");
}

/// Makes aws-lc-rs the process's crypto provider where there is none yet: tonic takes the process's, and rustls cannot
/// choose where two are linked.
fn install_crypto() {
    // Fails only where one is installed already, which is then used.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
