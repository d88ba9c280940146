//! The wire snapshot: everything a gateway is told, as one latest row per entity with a revision.
//!
//! It travels as a keyed, compacted change log ([`Change`]): the feed sends rows in the order of their revisions, and
//! applying them to nothing gives the full state. A row that a reader is too old for has a higher `min_reader`
//! and is compiled to "refuse" (`snapshot_unsupported`), never ignored.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::RangeInclusive,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Admission, ByteSize, CertificateBinding, CertificateId, ClientCertificates, Cors, CredentialKind, Credentials,
    HostName, HostnameId, HumanDuration, IssuerId, OrgUnitId, PathPattern, Permission, ProductQuota, ProjectId,
    Requirement, RoleId, RouteId, Secret, ServiceId, Slug, TenantId, Timestamp, UpstreamId, response::ResponsePolicy,
    secret,
};

/// The newest form of entities this build reads and writes. Raised when an old gateway could misread a new row.
///
/// 2: tenants and hostnames with an `admission`, tenants with a `principal_rate_limit`, hostnames with `cors`.
/// 3: routes that do not take tokens, routes with a `max_stream`, tenants with `quotas`, hostnames with
/// `client_certificates`.
/// 4: routes of organisational units, which must be there; tenants and hostnames whose `admission` bounds connections.
/// 5: routes that demand something of their callers' sign-in; the fact that the bindings of many in a tenant changed.
pub const READER: u32 = 5;

/// One change of one entity; the latest change of an entity is its state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// Number of the change: grows, unique over all entities.
    pub revision: u64,
    /// Which entity.
    pub key: EntityKey,
    /// Readers with a lower [`READER`] must treat the entity as unreadable.
    pub min_reader: u32,
    /// The entity's new state; none once it is deleted.
    pub entity: Option<Entity>,
}

/// Names one entity.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct EntityKey {
    /// Kind, such as `hostname`.
    pub kind: EntityKind,
    /// Its id.
    pub id: Uuid,
}

/// The kinds of entities.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the entity type of its name")]
pub enum EntityKind {
    Project,
    Tenant,
    Role,
    Certificate,
    Upstream,
    Service,
    Issuer,
    Hostname,
}

impl EntityKind {
    /// The text on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Tenant => "tenant",
            Self::Role => "role",
            Self::Certificate => "certificate",
            Self::Upstream => "upstream",
            Self::Service => "service",
            Self::Issuer => "issuer",
            Self::Hostname => "hostname",
        }
    }
}

/// The state of an entity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "rows are moved a few times in their life, and never in an array of kinds"
)]
#[expect(missing_docs, reason = "each is the entity type of its name")]
pub enum Entity {
    Project(Project),
    Tenant(Tenant),
    Role(Role),
    Certificate(Certificate),
    Upstream(Upstream),
    Service(Service),
    Issuer(Issuer),
    Hostname(Hostname),
}

impl Entity {
    /// The oldest [`READER`] that does not misread it: one that does not know a restriction must not serve without it.
    pub fn min_reader(&self) -> u32 {
        let nothing = Admission::default();
        let (routes, admission) = match self {
            Self::Hostname(it) => (it.routes.as_slice(), &it.admission),
            Self::Service(it) => (it.routes.as_slice(), &nothing),
            Self::Tenant(it) => (&[][..], &it.admission),
            Self::Project(_) | Self::Role(_) | Self::Certificate(_) | Self::Upstream(_) | Self::Issuer(_) => {
                (&[][..], &nothing)
            }
        };
        if routes.iter().any(|route| route.require.is_some()) {
            return 5;
        }
        if routes.iter().any(Route::is_of_unit) || admission.connections.is_some() {
            return 4;
        }
        let narrowed = |route: &Route| !route.credentials.contains(CredentialKind::Token) || route.max_stream.is_some();
        let three = match self {
            Self::Hostname(it) => it.routes.iter().any(narrowed) || it.client_certificates.is_some(),
            Self::Service(it) => it.routes.iter().any(narrowed),
            Self::Tenant(it) => !it.quotas.is_empty(),
            Self::Project(_) | Self::Role(_) | Self::Certificate(_) | Self::Upstream(_) | Self::Issuer(_) => false,
        };
        if three {
            return 3;
        }
        let restricted = match self {
            Self::Tenant(it) => !it.admission.is_open() || it.principal_rate_limit.is_some(),
            Self::Hostname(it) => {
                let limited = it.max_body.is_some() || it.routes.iter().any(|route| route.max_body.is_some());
                !it.admission.is_open() || it.cors.is_on() || limited || !it.response.is_empty()
            }
            Self::Service(it) => it.routes.iter().any(|route| route.max_body.is_some()),
            Self::Project(_) | Self::Role(_) | Self::Certificate(_) | Self::Upstream(_) | Self::Issuer(_) => false,
        };
        if restricted { 2 } else { 1 }
    }

    /// The entity's name in the change log.
    pub fn key(&self) -> EntityKey {
        let (kind, id) = match self {
            Self::Project(it) => (EntityKind::Project, it.id.uuid()),
            Self::Tenant(it) => (EntityKind::Tenant, it.id.uuid()),
            Self::Role(it) => (EntityKind::Role, it.id.uuid()),
            Self::Certificate(it) => (EntityKind::Certificate, it.id.uuid()),
            Self::Upstream(it) => (EntityKind::Upstream, it.id.uuid()),
            Self::Service(it) => (EntityKind::Service, it.id.uuid()),
            Self::Issuer(it) => (EntityKind::Issuer, it.id.uuid()),
            Self::Hostname(it) => (EntityKind::Hostname, it.id.uuid()),
        };
        EntityKey { kind, id }
    }
}

/// An identity shard.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub slug: Slug,
    /// The project of the platform's staff: its own tokens may carry `ctx: sys`.
    pub root: bool,
    /// Suspended projects serve nothing.
    pub suspended: bool,
}

/// A tenant's life cycle (`requirements.md` §6).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// Trying it out: as active.
    Trial,
    /// In service.
    #[default]
    Active,
    /// Readable: GET, HEAD, OPTIONS, and signing in, refreshing and out.
    Frozen,
    /// Nothing.
    Suspended,
    /// Nothing: on hold until it is purged.
    Deleted,
}

/// What is known of who the customer is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KycStatus {
    /// Nothing was asked for yet.
    None,
    /// Asked for.
    Pending,
    /// Some of it is there.
    Partial,
    /// Done: products may be used.
    #[default]
    Completed,
    /// Done, to be done again: products may be used.
    DueRekyc,
}

/// Whether the customer pays.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Yes.
    #[default]
    Ok,
    /// Late: allowed.
    Overdue,
    /// No: as suspended.
    Blocked,
}

/// A token bucket: refill per second and size.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests a second, 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rps: u32,
    /// Requests at once, 1 to 1,000,000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
}

/// What a request runs as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its name.
    pub slug: Slug,
    /// Life cycle.
    pub status: TenantStatus,
    /// The customer's KYC state.
    pub kyc: KycStatus,
    /// The customer's payment state.
    pub payment: PaymentStatus,
    /// Plan, if any.
    pub plan: Option<String>,
    /// Products it is entitled to, each with its end, if it ends.
    pub products: BTreeMap<String, Option<Timestamp>>,
    /// How much of each product it may use; those of any number are absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quotas: BTreeMap<String, ProductQuota>,
    /// Requests a second; none for the gateway's default.
    pub rate_limit: Option<RateLimit>,
    /// Requests a second of each of its principals; none for the gateway's default.
    #[serde(default)]
    pub principal_rate_limit: Option<RateLimit>,
    /// Who is let in, and how much at once.
    #[serde(default)]
    pub admission: Admission,
    /// Its organisational units: routes of units serve these and no others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub org_units: BTreeSet<OrgUnitId>,
    /// Tokens of a lower generation are refused. State, beside the fact of the same meaning, for a gateway that
    /// starts after the fact was forgotten.
    pub generation: u64,
    /// Tokens of external issuers that were issued until then are refused. State, as `generation` is.
    #[serde(default)]
    pub cutoff: Option<Timestamp>,
}

/// Where a role's permissions count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleScope {
    /// For the platform's staff (`ctx: sys`).
    Platform,
    /// Everywhere in the tenant.
    Tenant,
    /// In one organisational unit.
    Ou,
}

/// A named set of permissions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// The tenant whose own role it is; none for a built-in of all tenants.
    pub tenant_id: Option<TenantId>,
    /// Its name, unique in the tenant and scope.
    pub name: String,
    /// Where it counts.
    pub scope: RoleScope,
    /// What it grants.
    pub permissions: Vec<Permission>,
    /// Holders are the tenant's administrators (`is_admin`).
    pub admin: bool,
    /// Holders are the platform's administrators (`is_super_admin`). Platform scope only.
    pub super_admin: bool,
}

/// A certificate chain and its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// Its id.
    pub id: CertificateId,
    /// PEM, leaf first (RFC 7468).
    pub chain_pem: String,
    /// PEM, PKCS #8, PKCS #1 or SEC 1.
    #[serde(serialize_with = "secret::exposed")]
    pub key_pem: Secret<String>,
}

/// How the upstream is told who is calling, beside the headers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "assertion", rename_all = "snake_case")]
pub enum Assertion {
    /// HS256 with a key that only this upstream and the platform hold.
    Hmac {
        /// 32 bytes, base64url.
        #[serde(serialize_with = "secret::exposed")]
        key: Secret<String>,
        /// Names the key in the header of the assertion.
        kid: String,
    },
    /// EdDSA with the fleet's key (RFC 8037).
    Eddsa {
        /// PKCS #8 of an Ed25519 key, base64url.
        #[serde(serialize_with = "secret::exposed")]
        key: Secret<String>,
        /// Names the key in the header of the assertion.
        kid: String,
    },
    /// Not at all.
    #[default]
    Off,
}

/// What the edge does about the Host it forwards.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostPolicy {
    /// As the client sent it, in canonical form.
    #[default]
    Preserve,
    /// This one.
    Rewrite(HostName),
}

/// Where requests go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upstream {
    /// Its id.
    pub id: UpstreamId,
    /// Its name; the assertion's audience.
    pub name: String,
    /// Its addresses; requests are spread over them.
    pub peers: Vec<Peer>,
    /// TLS to the peers; none for plain HTTP.
    pub tls: Option<UpstreamTls>,
    /// Speak HTTP/2 to the peers.
    pub http2: bool,
    /// How identity is proven to it.
    #[serde(flatten)]
    pub assertion: Assertion,
    /// Which identity headers it gets; none for all.
    pub headers: Option<Vec<String>>,
    /// The Host it gets.
    pub host: HostPolicy,
    /// Whether `Authorization` and the session cookie are forwarded.
    pub forward_credentials: bool,
    /// Longest wait for a connection. Default 5 s.
    pub connect_timeout: HumanDuration,
    /// Longest wait between two reads. Default 60 s.
    pub read_timeout: HumanDuration,
    /// Longest wait between two writes. Default 60 s.
    pub write_timeout: HumanDuration,
}

/// One address of an upstream.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// An address and port.
    Socket(SocketAddr),
    /// A name and port, resolved at the gateway.
    Name(String, u16),
    /// A Unix domain socket.
    Unix(String),
}

/// TLS to an upstream. The peer's certificate is always verified.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct UpstreamTls {
    /// Name sent as SNI and required in the certificate.
    pub sni: HostName,
    /// PEM of the authorities trusted for it; none for the system's.
    pub ca_pem: Option<String>,
    /// The peer is the control plane: the gateway shows the certificate it was enrolled with, and trusts the
    /// authorities it trusts for its feed instead of `ca_pem`.
    #[serde(default)]
    pub control_plane: bool,
}

/// Who may pass.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Anyone; credentials are not looked at.
    Public,
    /// Anyone; who shows a credential shows a good one.
    Optional,
    /// Any principal of the tenant.
    Authenticated,
    /// Principals of the tenant that hold this permission.
    Permission(Permission),
    /// The platform's staff that hold this permission (`ctx: sys`).
    Platform(Permission),
}

/// What a route does when the gateway cannot prove that it has heard of every revocation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnproven {
    /// Nothing is served (503 `revocation_unproven`).
    Refuse,
    /// GET, HEAD and OPTIONS are served.
    ReadOnly,
    /// Everything is served for this long since the last proof.
    Serve(HumanDuration),
}

impl Default for OnUnproven {
    fn default() -> Self {
        Self::Serve(HumanDuration::from_secs(300))
    }
}

/// One route of a service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// Paths it serves.
    pub path: PathPattern,
    /// Methods it serves; empty for all that the edge lets through.
    pub methods: Vec<String>,
    /// Who may pass.
    pub access: Access,
    /// Which kinds of credentials it takes.
    #[serde(default)]
    pub credentials: Credentials,
    /// What it demands of its callers' sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Requirement>,
    /// Another upstream than the service's.
    pub upstream_id: Option<UpstreamId>,
    /// Product the tenant must be entitled to.
    pub product: Option<String>,
    /// Name of the path parameter that holds the organisational unit: it makes the route one of units.
    pub ou_parameter: Option<String>,
    /// Name of the header field that holds it instead, see [`org_unit::is_field`](crate::org_unit::is_field).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ou_header: Option<String>,
    /// Without proof of freshness; none for the default.
    pub on_unproven: Option<OnUnproven>,
    /// One of sign-in, refresh and sign-out, which a frozen tenant keeps.
    pub session: bool,
    /// An API of the tenant itself: its administrators pass without the permission (`requirements.md` §4.2).
    pub tenant_api: bool,
    /// Requests a second through this route, for each tenant.
    pub rate_limit: Option<RateLimit>,
    /// Largest request body; none for the hostname's or the gateway's.
    #[serde(default)]
    pub max_body: Option<ByteSize>,
    /// Longest time that a response or WebSocket of this route goes on, [`STREAM_TIMES`]; none for as long as its permit.
    #[serde(default)]
    pub max_stream: Option<HumanDuration>,
}

impl Route {
    /// Whether each of its requests is about one organisational unit of the tenant.
    pub const fn is_of_unit(&self) -> bool {
        self.ou_parameter.is_some() || self.ou_header.is_some()
    }
}

/// What a route's `max_stream` may be.
pub const STREAM_TIMES: RangeInclusive<HumanDuration> =
    HumanDuration::from_secs(1)..=HumanDuration::from_secs(30 * 24 * 3600);

/// A named set of routes, shared by the hostnames that offer it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// Where its routes go, unless they say otherwise.
    pub upstream_id: UpstreamId,
    /// Its routes.
    pub routes: Vec<Route>,
}

/// A signature algorithm of a token (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits or more.
    #[serde(rename = "RS256")]
    Rs256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// Whose tokens are believed, and for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issuer {
    /// Its id.
    pub id: IssuerId,
    /// The `iss` claim, compared byte for byte.
    pub issuer: String,
    /// The project whose tenants its tokens may name.
    pub project_id: ProjectId,
    /// Ours or another's.
    pub origin: Origin,
    /// Accepted `aud` values; never empty.
    pub audiences: Vec<String>,
    /// Accepted algorithms; never empty. A key of another algorithm is not used.
    pub algorithms: Vec<Algorithm>,
    /// The issuer's key set (RFC 7517 §5), as last fetched.
    pub jwks: serde_json::Value,
}

/// Whether an issuer is ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub enum Origin {
    /// This control plane's: `tid, ctx, sid, ug, tg, roles, …` have their meaning, `typ` is `at+jwt`.
    Own,
    /// Somebody else's: only the claims named here count.
    External(ExternalBinding),
}

/// How an external issuer's tokens are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalBinding {
    /// Which tenant its subjects act in.
    pub tenant: TenantBinding,
    /// Claim that names the subject. Default `sub`.
    pub subject_claim: String,
    /// Claim that names roles of the snapshot: a list or one space-separated string.
    pub roles_claim: Option<String>,
    /// Claims that must be present with these values.
    pub required_claims: BTreeMap<String, serde_json::Value>,
}

/// Which tenant an external issuer's subjects act in.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantBinding {
    /// Always this one.
    Tenant(TenantId),
    /// The one whose id or slug this claim holds.
    Claim(String),
}

/// What a hostname is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Products.
    #[default]
    App,
    /// Signing in.
    Auth,
    /// Machines.
    Api,
}

/// A hostname served at the edge. Only verified hostnames are here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hostname {
    /// Its id.
    pub id: HostnameId,
    /// The name.
    pub hostname: HostName,
    /// Its project.
    pub project_id: ProjectId,
    /// Its tenant; none where any tenant of the project may be named by the token.
    pub tenant_id: Option<TenantId>,
    /// What it is for.
    pub purpose: Purpose,
    /// A platform hostname: `ctx: sys` tokens of the root project work here and nowhere else.
    pub platform: bool,
    /// Its certificate; none and no TLS handshake succeeds for it.
    pub certificate_id: Option<CertificateId>,
    /// Services it offers.
    pub services: Vec<ServiceId>,
    /// Its own routes, each with its upstream; they win over services' routes of the same shape and method.
    pub routes: Vec<Route>,
    /// Largest request body where the route says nothing; none for the gateway's.
    #[serde(default)]
    pub max_body: Option<ByteSize>,
    /// What its responses say beside what its upstreams say.
    #[serde(default)]
    pub response: ResponsePolicy,
    /// Who is let in, and how much at once, beside what its tenant says.
    #[serde(default)]
    pub admission: Admission,
    /// Which pages of other origins may call it.
    #[serde(default)]
    pub cors: Cors,
    /// Whose client certificates it believes; none where it asks for none.
    #[serde(default)]
    pub client_certificates: Option<ClientAuthentication>,
}

/// The client certificates of a hostname.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ClientAuthentication {
    /// Whose are believed.
    pub certificates: ClientCertificates,
    /// As whom their holders act, at most 1000; no name stands twice.
    #[serde(default)]
    pub bindings: Vec<CertificateBinding>,
}
