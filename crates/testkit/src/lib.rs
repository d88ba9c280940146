//! What tests stand on: a clock turned by hand, an issuer that mints good and hostile tokens, an upstream that keeps
//! the exact bytes it received, raw clients, a certificate authority, a name server, a mail server, and an
//! identity provider.
//!
//! ```
//! use testkit::{FixedClock, TestIssuer};
//! use domain::{Clock as _, snapshot::Algorithm};
//!
//! let clock = FixedClock::default();
//! let issuer = TestIssuer::new("https://acme.localhost", Algorithm::Es256);
//! let token = issuer.mint(issuer.claims(clock.unix_now()).set("username", "ada"));
//! let forged = testkit::hostile::alg_none(&issuer, issuer.claims(clock.unix_now()));
//! assert_ne!(token, forged);
//! ```
//!
//! Nothing here shares code with what it tests: tokens are minted by `jsonwebtoken`, requests are bytes on a socket,
//! HTTP/2 is frames written by hand, so that a mistake of ours is not made twice. It is a dev-dependency only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "used by tests only: a step that fails is a test that fails, and says where"
)]

pub mod ca;
pub mod canary;
pub mod claims;
pub mod clock;
pub mod dns;
pub mod hostile;
pub mod issuer;
pub mod key;
pub mod mail;
pub mod oidc;
pub mod passkey;
pub mod raw;

mod frames;
mod http1;
mod wait;

pub use ca::{Leaf, TestCa, client_config};
pub use canary::{Canary, Recorded};
pub use claims::Claims;
pub use clock::FixedClock;
pub use dns::DnsServer;
pub use issuer::TestIssuer;
pub use key::TestKey;
pub use oidc::OidcProvider;
pub use passkey::SoftPasskey;
pub use wait::{PATIENCE, eventually};
