//! The kit tested against itself and, for HTTP/2, against a server that is not ours; and `authn` tested by the kit.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on fails")]

mod canary;
mod http2;
mod secrets;
mod tls;
mod tokens;
