//! What both planes speak: files, the log, gRPC, Redis, clocks and telemetry.
//!
//! | Module | Holds |
//! |---|---|
//! | [`mod@file`] | YAML and JSON files read so that every mistake is named at once, with its line |
//! | [`declarative`] | the declarative file of hostnames, routes and roles, read from disk |
//! | [`log`] | the gateway's side of the log of restrictions: proof, carriage, lease |
//! | [`rpc`] | the same over gRPC |
//! | [`redis`], [`redis_keys`], [`bindings_cache`], [`shared_limits`], [`shared_rates`] | Redis: connections, names of keys, the shared cache of bindings, limits of a fleet, rates of the control APIs |
//! | [`nonces`] | nonces of signed requests, each used once |
//! | [`foreign_keys`] | what other services refuse in Redis, on its way into the log |
//! | [`redis_record`] | Redis as the record of revocations, for a gateway on its own |
//! | [`clock`], [`telemetry`] | what only `main` makes: the real clock, logs and traces |
//! | [`priority`] | threads that wait for others |
//! | [`private_file`] | files that hold secrets |

pub mod bindings_cache;
pub mod clock;
pub mod declarative;
pub mod file;
pub mod foreign_keys;
pub mod log;
pub mod nonces;
pub mod priority;
pub mod private_file;
pub mod redis;
pub mod redis_keys;
pub mod redis_record;
pub mod rpc;
pub mod shared_limits;
pub mod shared_rates;
pub mod shared_usage;
pub mod telemetry;

mod error;

pub use error::LinkError;
