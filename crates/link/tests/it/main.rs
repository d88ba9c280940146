//! The log over every transport, gRPC over mTLS, and Redis as it is.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod auth;
mod cache_rights;
mod conformance;
mod fake;
mod faulty;
mod foreign_keys;
mod nonces;
mod redis;
mod redis_rights;
mod rpc;
