//! Hostnames served at the edge.

use serde::{Deserialize, Serialize};

use super::{Challenge, Proof, Version};
use crate::{
    Admission, ByteSize, CertificateId, ClientCertificates, Cors, FleetName, HostName, HostnameId, ProjectId,
    ServiceId, TenantId, Timestamp, response::ResponsePolicy, snapshot::Purpose,
};

/// Whose domain a hostname is under.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostnameKind {
    /// The platform's.
    #[default]
    Platform,
    /// The customer's.
    Custom,
}

/// Whether control of a name was proven. Only verified hostnames are served.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifyState {
    /// Not yet.
    #[default]
    Pending,
    /// It was, and is looked after.
    Verified,
    /// The last try failed, or what was proven is so no more.
    Failed,
}

/// Where its certificate comes from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Uploaded.
    #[default]
    Manual,
    /// ACME (RFC 8555).
    Acme,
    /// A wildcard of the platform.
    Wildcard,
}

/// A hostname served at the edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hostname {
    /// Its id.
    pub id: HostnameId,
    /// The name. Several may claim it; at most one of them holds it ([`Hostname::holds`]).
    pub hostname: HostName,
    /// Its project.
    pub project_id: ProjectId,
    /// Its tenant; none where a token names any tenant of the project.
    pub tenant_id: Option<TenantId>,
    /// The fleet whose gateways serve it; no other is told of it.
    pub fleet: FleetName,
    /// What it is for.
    pub purpose: Purpose,
    /// Whose domain it is under.
    pub kind: HostnameKind,
    /// The one that links are made with; at most one per project and purpose.
    pub is_primary: bool,
    /// Whether control of it was proven.
    pub verify_state: VerifyState,
    /// When; set for as long as it holds the name.
    pub verified_at: Option<Timestamp>,
    /// Where its certificate comes from.
    pub tls_mode: TlsMode,
    /// Its certificate.
    pub certificate_id: Option<CertificateId>,
    /// Services it offers.
    pub services: Vec<ServiceId>,
    /// Largest request body where the route says nothing; none for the gateway's.
    #[serde(default)]
    pub max_body: Option<ByteSize>,
    /// What its responses say beside what its upstreams say.
    #[serde(default)]
    pub response: ResponsePolicy,
    /// Who is let in, and how much at once.
    pub admission: Admission,
    /// Which pages of other origins may call it.
    pub cors: Cors,
    /// Whose client certificates it believes; none where it asks for none.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificates>,
    /// Its proof by DNS; none for what is the platform's own.
    #[serde(default)]
    pub proof: Option<Proof>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

impl Hostname {
    /// Whether the name is its own: it was proven, be it that the proof was lost since, and nobody took it over.
    pub const fn holds(&self) -> bool {
        self.verified_at.is_some()
    }
}

/// A hostname to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Hostname`")]
pub struct NewHostname {
    pub id: HostnameId,
    pub hostname: HostName,
    pub project_id: ProjectId,
    pub tenant_id: Option<TenantId>,
    pub fleet: FleetName,
    pub purpose: Purpose,
    pub kind: HostnameKind,
    pub is_primary: bool,
    pub verify_state: VerifyState,
    pub tls_mode: TlsMode,
    pub certificate_id: Option<CertificateId>,
    pub services: Vec<ServiceId>,
    pub max_body: Option<ByteSize>,
    pub response: ResponsePolicy,
    pub admission: Admission,
    pub cors: Cors,
    pub client_certificates: Option<ClientCertificates>,
    /// What has to be found in DNS; none for what is the platform's own.
    pub challenge: Option<Challenge>,
}
