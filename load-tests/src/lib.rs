//! What the programs of this folder share: a node to load, clients of its edge, an upstream that answers as it is told,
//! and meters.
//!
//! Nothing of ours is linked: a program here knows a node as a customer's program does, from its JSON line on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "measuring programs: a step that fails ends them and says where; they read the real clock"
)]

pub mod client;
pub mod job;
pub mod latency;
pub mod node;
pub mod open;
pub mod process;
pub mod upstream;
pub mod world;

pub use client::{Alpn, Answer, Connection, Edge};
pub use latency::Latencies;
pub use node::Node;

/// Makes AWS-LC the one provider of cryptography: other crates of the workspace bring another one in.
pub fn install_crypto() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("nothing else has installed one");
}
