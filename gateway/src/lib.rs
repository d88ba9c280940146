//! The data plane (PEP): Pingora's phases around the gate, listeners, feeds and caches.
//!
//! | Module | Holds |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`edge`] | a whole gateway in this process: what `gateway` runs, and `portcullis` |
//! | `permissions` | what the gate asks of the outside: bindings, the lease, the revocation store |
//! | `listen`, `entrance`, `connection`, `tls`, `proxy` | sockets, whose a connection is and how long, certificates by SNI, a request's way through Pingora |
//! | `feed` | where the snapshot comes from: control API, file, disk |
//! | `handover` | a new process takes this one's place |
//! | `limits` | what gateways of a fleet tell each other about limits |
//! | `record` | revocations of a gateway without a control plane |
//! | `explain` | which decisions are told to the control API |
//! | `status`, `metrics` | `/metrics`, `/healthz`, `/readyz` |

pub mod config;
pub mod control_tls;
pub mod edge;

mod api_keys;
mod connection;
mod enrolment;
mod entrance;
mod explain;
mod feed;
mod handover;
mod issuer_keys;
mod limits;
mod listen;
mod metrics;
mod permissions;
mod proxy;
mod record;
mod status;
mod tls;
mod units;
mod usage;

pub use config::GatewayConfig;
pub use edge::{Edge, EdgeError, EdgeParts, RunningEdge, SetupError, Source};
pub use enrolment::EnrolmentError;
pub use feed::disk::DiskError;
pub use handover::{HandoverError, Inherited};
pub use listen::ListenError;

/// Makes aws-lc-rs the process's crypto provider. Pingora installs another where there is none when it is first used.
pub fn install_crypto() {
    // Fails only where one is installed already, by an earlier call or by the program we are part of.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
