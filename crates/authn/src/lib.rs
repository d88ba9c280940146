//! Who is calling: credentials, key sets, token verification, and the mirror of what was revoked.
//!
//! The chain of types starts here: a [`verify::Presented`] bearer token becomes a [`VerifiedToken`] when its signature
//! and claims hold; whether it was revoked since is asked of the [`Mirror`].

pub mod api_key;
pub mod certificate;
pub mod claims;
pub mod id_token;
pub mod issuer;
pub mod jwks;
pub mod jws;
pub mod mint;
pub mod mirror;
pub mod signature;
pub mod verify;

pub use api_key::KeyError;
pub use certificate::{Authorities, AuthoritiesError, CertificateError, ClientCertificate};
pub use claims::{AccessClaims, ContextKind};
pub use id_token::IdToken;
pub use issuer::{Issuer, IssuerError};
pub use jwks::{Jwks, JwksError, KeyId, PublicKey};
pub use mint::{MintError, SigningKey};
pub use mirror::{Applied, Lease, Mirror, Refusal};
pub use verify::{TokenError, TokenKind, VerifiedToken};
