//! The declarative file: hostnames, tenants, issuers, roles, upstreams and services as people write them.
//!
//! ```yaml
//! hostnames:
//!   - { hostname: acme.example.test, tenant: acme, services: [orders] }
//! tenants:
//!   - { slug: acme }
//! upstreams:
//!   - { name: orders, peers: ["127.0.0.1:3000"], plaintext: true }
//! services:
//!   - { name: orders, upstream: orders, routes: [{ path: /orders, methods: [GET], permission: "orders:order:list" }] }
//! ```
//!
//! [`RawFile`] is its form, which is API; [`compile`] turns it into [`Entity`]s and names
//! **all** problems. Things refer to each other by name. An id that the file does not give is derived from kind and
//! name ([`ids`]), so that reading a file twice gives the same entities.
//!
//! What needs more than this crate is checked by the reader in `link`: ties between routes and the keys of issuers.

mod client_certificate;
mod compile;
pub mod ids;
mod issuer;
mod raw;
mod route;
mod upstream;

pub use self::{
    compile::{compile, examine},
    raw::{
        RawAccess, RawAssertion, RawCertificate, RawCertificateBinding, RawClientCertificates, RawFile, RawHostname,
        RawIssuer, RawJwks, RawProject, RawRole, RawRoute, RawService, RawTenant, RawTimeouts, RawUpstream,
        RawUpstreamTls,
    },
    route::METHODS,
    upstream::{IDENTITY_HEADERS, peer},
};
use crate::{IssuerId, snapshot::Entity};

/// For whom a file is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadAs {
    /// A gateway on its own: key sets and assertion keys come from files.
    EdgeFile,
    /// The control API, which fetches key sets and makes assertion keys itself.
    Apply,
}

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Its entities, those that others refer to first.
    pub entities: Vec<Entity>,
    /// Where the key sets of issuers are fetched ([`ReadAs::Apply`] only); their entities have an empty set.
    pub jwks_urls: Vec<(IssuerId, String)>,
}

/// A file with all that is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Examined {
    /// What could be made of it; good for use only where nothing is wrong.
    pub declared: Declared,
    /// Where each entity of `declared` stands.
    pub places: Vec<Place>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is wrong with files that only one hostname needs: a gateway of its own does not serve that one.
    pub unserved: Vec<Problem>,
}

/// Where an entity stands, and the parts of it that could be read.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// A JSON pointer (RFC 6901) such as `/hostnames/0`.
    pub pointer: String,
    /// For each of its routes, its number in the file.
    pub routes: Vec<usize>,
    /// For each of its services, its number in the file.
    pub services: Vec<usize>,
}

impl Place {
    /// The pointer of one of the entity's routes.
    pub fn route(&self, at: usize) -> String {
        format!("{}/routes/{}", self.pointer, self.routes.get(at).copied().unwrap_or(at))
    }

    /// The pointer of one of the entity's services.
    pub fn service(&self, at: usize) -> String {
        format!("{}/services/{}", self.pointer, self.services.get(at).copied().unwrap_or(at))
    }
}

/// Something wrong with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where, as a JSON pointer (RFC 6901) such as `/hostnames/0/tenant`.
    pub pointer: String,
    /// What.
    pub message: String,
    /// The list, such as `tenants`, in which a name was looked for and not found.
    pub sought_in: Option<&'static str>,
}

impl Problem {
    /// Something wrong at a place.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), sought_in: None }
    }
}

#[cfg(test)]
mod tests;
