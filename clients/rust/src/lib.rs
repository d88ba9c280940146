//! Verifies `x-md-global-assertion`, with which the Portcullis gateway proves to a service who is calling.
//!
//! The gateway signs one assertion a request: for this service (`aud`), this method, canonical path and host, this
//! tenant and subject, for 60 seconds. A request that carries none, or one made for anything else, did not come through
//! the gateway as it stands. A service that verifies need not trust its network.
//!
//! ```
//! use std::time::SystemTime;
//! use portcullis_assertion::{AssertionError, AssertionLayer, KeySet, Verifier};
//!
//! // The key of `GET /v1/upstreams/{id}/assertion-key`; for EdDSA the fleet's key set instead, see `KeySet::jwks`.
//! let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
//! let keys = KeySet::default().hmac("orders-1", key)?;
//! let verifier = Verifier::new("orders", keys);
//!
//! // In any server: method, target and header fields as they were received.
//! let (parts, ()) = http::Request::get("/orders").header("host", "acme.example").body(())?.into_parts();
//! let refused = verifier.verify(&parts.method, &parts.uri, &parts.headers, SystemTime::UNIX_EPOCH);
//! assert_eq!(refused.unwrap_err(), AssertionError::Missing);
//!
//! // With tower: requests without a valid assertion are answered 403, others carry an `Assertion` as extension.
//! let layer = AssertionLayer::new(verifier);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is proven is in [`Assertion`]. Other `x-md-global-*` headers (roles, plan, …) are removed from every inbound
//! request by the gateway and set by it, but not signed: they are as trustworthy as the way between gateway and service.
//! The id headers of tenant, user and request are compared with the assertion and may be relied on.
//!
//! Replays: within its 60 seconds the same assertion holds for the same method, path and host. A service for which
//! that matters keeps [`Assertion::request_id`] for that long and refuses one it has seen.

mod assertion;
mod canonical;
mod jws;
mod keys;
mod layer;
mod verifier;

pub use self::{
    assertion::{Assertion, AssertionError, HEADER},
    canonical::{PathError, canonical_path},
    keys::{Key, KeyError, KeySet, Keys},
    layer::{AssertionLayer, AssertionService},
    verifier::{HostCheck, SKEW, Verifier},
};
