//! Raw clients: what a test writes is what is sent, right or wrong.
//!
//! ```no_run
//! # async fn example(edge: std::net::SocketAddr, ca_pem: &str) -> std::io::Result<()> {
//! use testkit::raw::{self, Response};
//!
//! let bytes = raw::tls_http1(edge, "acme.localhost", ca_pem, b"GET /a/../b HTTP/1.1\r\nHost: acme.localhost\r\n\r\n").await?;
//! assert_eq!(Response::parse(&bytes).status, 400);
//!
//! let mut h2 = raw::Http2::connect(edge, "acme.localhost", ca_pem).await?;
//! let outcome = h2.request(&[(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "globex.localhost")], b"").await?;
//! assert_eq!(outcome.status(), Some(421));
//! # Ok(()) }
//! ```

mod http1;
mod http2;

pub use http1::{Connection, Response, http1, tls_connect, tls_http1};
pub use http2::{Http2, Http2Outcome, Http2Request, http2};
