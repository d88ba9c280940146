//! The control plane: who the customers, tenants and users are, who may do what, which routes exist; signing in; the
//! audit trail; and what gateways are told of all this.
//!
//! ```text
//! router ─▶ api (parse, call, map) ─▶ app (authorize, transact, audit) ─▶ store
//!             ▲ caller: who asks, judged before the body is read
//! envelope: request context, time limit, problem bodies, waiting for the gateways
//! internal: tick, proofs, feed ─▶ gateways, in this process or over gRPC; tokens and rights ─▶ services
//! ```
//!
//! [`ControlApi::start`] runs it inside another process; `main` is the same with a file for configuration.

pub mod api;
pub mod app;
pub mod audit_upkeep;
pub mod authority;
pub mod bootstrap;
pub mod caller;
pub mod config;
pub mod context;
pub mod database;
pub mod dns;
pub mod emergency;
pub mod envelope;
pub mod error;
pub mod identity_events;
pub mod imported_hash;
pub mod internal;
pub mod issuer_keys;
pub mod key_caller;
pub mod keys_file;
pub mod mail;
pub mod metrics;
pub(crate) mod oauth;
pub mod outbound;
pub mod outbox;
pub mod passwords;
pub mod problem;
pub mod provisioning;
pub mod rates;
pub mod reproof;
pub mod router;
pub mod service_caller;
pub mod signer;
pub mod sms;
pub mod totp;
pub mod webhooks;

mod admin_secret;
mod known_programs;
mod last_made;
mod listeners;
mod mutual_tls;
mod state;
mod turns;
mod unread;
mod upkeep;
pub(crate) mod webauthn;

pub use config::Config;
pub use error::AppError;
pub use listeners::{ControlApi, RunningControlApi, StartError};
pub use state::App;
