//! The form of the file. Outside programs write it: fields are added, never renamed.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Admission, ByteSize, CertificateMode, Cors, Credentials, HumanDuration, NameKind, OrgUnitId, ProductQuota,
    Requirement, Timestamp,
    response::ResponsePolicy,
    snapshot::{
        Algorithm, HostPolicy, KycStatus, OnUnproven, PaymentStatus, Purpose, RateLimit, RoleScope, TenantStatus,
    },
};

/// A declarative file, or several read as one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawFile {
    /// Hostnames served at the edge.
    pub hostnames: Vec<RawHostname>,
    /// Tenants.
    pub tenants: Vec<RawTenant>,
    /// Identity shards. A file without any has one, named `default`.
    pub projects: Vec<RawProject>,
    /// Token issuers.
    pub issuers: Vec<RawIssuer>,
    /// Roles.
    pub roles: Vec<RawRole>,
    /// Where requests go.
    pub upstreams: Vec<RawUpstream>,
    /// Named sets of routes.
    pub services: Vec<RawService>,
}

/// A hostname.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHostname {
    /// The name.
    pub hostname: String,
    /// Its id. Default: made of the name.
    pub id: Option<String>,
    /// Slug of its tenant. Without one, the token names a tenant of the project.
    pub tenant: Option<String>,
    /// Slug of its project. Default: its tenant's, else `default`.
    pub project: Option<String>,
    /// What it is for. Default: `app`.
    #[serde(default)]
    pub purpose: Purpose,
    /// A hostname of the platform's staff.
    #[serde(default)]
    pub platform: bool,
    /// Its certificate. Without one no TLS handshake succeeds for it.
    pub certificate: Option<RawCertificate>,
    /// Names of the services it offers.
    #[serde(default)]
    pub services: Vec<String>,
    /// Routes of its own, each with its upstream. They win over routes of the same shape and method of its services.
    #[serde(default)]
    pub routes: Vec<RawRoute>,
    /// Largest request body, such as `10MiB`, where the route says nothing. Default: the gateway's.
    pub max_body: Option<ByteSize>,
    /// What its responses say beside what its upstreams say: security headers, a page for refusals.
    #[serde(default)]
    pub response: ResponsePolicy,
    /// Who is let in, and how much at once, beside what its tenant says.
    #[serde(default)]
    pub admission: Admission,
    /// Which pages of other origins may call it. Default: none.
    #[serde(default)]
    pub cors: Cors,
    /// Whose client certificates it believes. Default: it asks for none. Where their files cannot be used, a gateway of its
    /// own does not serve the hostname, and serves the others.
    pub client_certificates: Option<RawClientCertificates>,
}

/// Which client certificates a hostname believes, in files relative to the file that names them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawClientCertificates {
    /// Whether a client must show one.
    pub mode: CertificateMode,
    /// PEM file of the authorities whose certificates are believed, and of no others.
    pub ca: String,
    /// Files of revocation lists, PEM or DER, at most 32. Where there is one, each certificate of a chain must be covered
    /// by a list that is not out of date.
    #[serde(default)]
    pub crl: Vec<String>,
    /// As whom their holders act, at most 1000, where a route takes `certificate`. Of a gateway of its own only; the control
    /// API binds users.
    #[serde(default)]
    pub bindings: Vec<RawCertificateBinding>,
}

/// As whom the holder of a client certificate acts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCertificateBinding {
    /// What of the certificate is compared.
    pub kind: NameKind,
    /// With what.
    pub value: String,
    /// What upstreams are told as the user's id.
    pub subject: String,
    /// Names of its roles.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A certificate in files, relative to the file that names them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCertificate {
    /// PEM file of the chain, leaf first.
    pub chain: String,
    /// PEM file of the private key.
    pub key: String,
}

/// A tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTenant {
    /// Its name.
    pub slug: String,
    /// Its id. Default: made of the slug.
    pub id: Option<String>,
    /// Slug of its project. Default: `default`.
    pub project: Option<String>,
    /// Life cycle. Default: `active`.
    #[serde(default)]
    pub status: TenantStatus,
    /// The customer's KYC state. Default: `completed`.
    #[serde(default)]
    pub kyc: KycStatus,
    /// The customer's payment state. Default: `ok`.
    #[serde(default)]
    pub payment: PaymentStatus,
    /// Plan.
    pub plan: Option<String>,
    /// Products it is entitled to, each with its end, or `null` for no end.
    #[serde(default)]
    pub products: BTreeMap<String, Option<Timestamp>>,
    /// How many requests it may send through routes that demand a product, by product, in a day and in a month of UTC.
    /// Default: any number.
    #[serde(default)]
    pub quotas: BTreeMap<String, ProductQuota>,
    /// Requests a second. Default: the gateway's.
    pub rate_limit: Option<RateLimit>,
    /// Requests a second of each of its principals. Default: the gateway's.
    pub principal_rate_limit: Option<RateLimit>,
    /// Who is let in, and how much at once.
    #[serde(default)]
    pub admission: Admission,
    /// Ids of its organisational units, at most 1000: routes of units serve no others.
    #[serde(default)]
    pub org_units: BTreeSet<OrgUnitId>,
}

/// An identity shard.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawProject {
    /// Its name.
    pub slug: String,
    /// Its id. Default: made of the slug.
    pub id: Option<String>,
    /// The project of the platform's staff. At most one.
    #[serde(default)]
    pub root: bool,
    /// Serves nothing.
    #[serde(default)]
    pub suspended: bool,
}

/// A token issuer: exactly one of `tenant` and `tenant_claim`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawIssuer {
    /// The `iss` claim, byte for byte.
    pub issuer: String,
    /// Its id. Default: made of the issuer, its project and audiences.
    pub id: Option<String>,
    /// Its key set.
    pub jwks: RawJwks,
    /// Accepted `aud` values.
    pub audiences: Vec<String>,
    /// Accepted algorithms.
    pub algorithms: Vec<Algorithm>,
    /// Slug of the tenant in which its subjects act.
    pub tenant: Option<String>,
    /// Claim that holds the id or slug of the tenant.
    pub tenant_claim: Option<String>,
    /// Claim that names the subject. Default: `sub`.
    pub subject_claim: Option<String>,
    /// Claim that holds names of roles: a list, or a text with spaces between them.
    pub roles_claim: Option<String>,
    /// Claims that must be there with these values.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Value>,
    /// Slug of the project whose tenants its tokens may name. Default: the tenant's, else `default`.
    pub project: Option<String>,
}

/// Where a key set (RFC 7517 §5) comes from: exactly one of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawJwks {
    /// A file. For a gateway on its own.
    pub file: Option<String>,
    /// An https URL. For the control API, which fetches it.
    pub url: Option<String>,
}

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRole {
    /// Its name, unique in its tenant and scope.
    pub name: String,
    /// Its id. Default: made of name, scope and tenant.
    pub id: Option<String>,
    /// Where it counts. Default: `tenant`.
    pub scope: Option<RoleScope>,
    /// Slug of the tenant whose own it is. Default: a role of all tenants.
    pub tenant: Option<String>,
    /// What it grants: `module:resource:action`, `module:resource:*`, `module:*`.
    pub permissions: Vec<String>,
    /// Its holders administer their tenant; in scope `platform`, the platform.
    #[serde(default)]
    pub admin: bool,
}

/// Where requests go. Either `plaintext: true` or `tls`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawUpstream {
    /// Its name; the audience of the assertion.
    pub name: String,
    /// Its id. Default: made of the name.
    pub id: Option<String>,
    /// Its addresses: `IP:PORT`, `[IP]:PORT`, `NAME:PORT` or `unix:/PATH`.
    pub peers: Vec<String>,
    /// Speak plain HTTP to it.
    #[serde(default)]
    pub plaintext: bool,
    /// Speak TLS to it, and verify its certificate.
    pub tls: Option<RawUpstreamTls>,
    /// Speak HTTP/2 to it.
    #[serde(default)]
    pub http2: bool,
    /// How identity is proven to it, beside the headers. Default: `off`.
    #[serde(default)]
    pub assertion: RawAssertion,
    /// File of the assertion's key, for a gateway on its own: 32 bytes as base64url for `hmac`, an Ed25519 key as
    /// PKCS #8 PEM for `eddsa`.
    pub assertion_key: Option<String>,
    /// Name of that key in the assertion's header. Default: the upstream's name.
    pub assertion_kid: Option<String>,
    /// Which identity headers it gets. Default: all.
    pub headers: Option<Vec<String>>,
    /// The Host it gets: `preserve`, or `{rewrite: NAME}`. Default: `preserve`.
    #[serde(default)]
    pub host: HostPolicy,
    /// Forward `Authorization` and the session cookie.
    #[serde(default)]
    pub forward_credentials: bool,
    /// How long is waited for it.
    #[serde(default)]
    pub timeouts: RawTimeouts,
}

/// TLS to an upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawUpstreamTls {
    /// Name sent as SNI and required in the certificate.
    pub sni: String,
    /// PEM file of the authorities trusted for it. Default: the system's.
    pub ca: Option<String>,
}

/// Waits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawTimeouts {
    /// For a connection. Default: 5s.
    pub connect: HumanDuration,
    /// Between two reads. Default: 60s.
    pub read: HumanDuration,
    /// Between two writes. Default: 60s.
    pub write: HumanDuration,
}

impl Default for RawTimeouts {
    fn default() -> Self {
        let minute = HumanDuration::from_secs(60);
        Self { connect: HumanDuration::from_secs(5), read: minute, write: minute }
    }
}

/// How identity is proven to an upstream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawAssertion {
    /// Not at all.
    #[default]
    Off,
    /// HS256 with a key that only this upstream and the platform hold.
    Hmac,
    /// EdDSA with the fleet's key.
    Eddsa,
}

/// A named set of routes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawService {
    /// Its name.
    pub name: String,
    /// Its id. Default: made of the name.
    pub id: Option<String>,
    /// Name of the upstream its routes go to, unless they say otherwise.
    pub upstream: String,
    /// Its routes.
    #[serde(default)]
    pub routes: Vec<RawRoute>,
}

/// A route: exactly one of `access`, `permission` and `platform`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRoute {
    /// Paths it serves: literals, `{name}` for one segment, `**` at the end for the rest.
    pub path: String,
    /// Methods it serves. Default: all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Who may pass.
    pub access: Option<RawAccess>,
    /// Principals of the tenant that hold this permission may pass.
    pub permission: Option<String>,
    /// The platform's staff that hold this permission may pass.
    pub platform: Option<String>,
    /// Which kinds of credentials it takes, of `token`, `api_key`, `signature` and `certificate`. Default: all but
    /// `certificate`.
    pub credentials: Option<Credentials>,
    /// What it demands of its callers' sign-in: `acr`, `amr` or `max_age`, and of which kinds of credentials (`exempt`)
    /// nothing.
    pub require: Option<Requirement>,
    /// Name of another upstream than the service's; needed on a hostname's own route.
    pub upstream: Option<String>,
    /// Product the tenant must be entitled to.
    pub product: Option<String>,
    /// Name of the path parameter that holds the organisational unit.
    pub ou_parameter: Option<String>,
    /// Name of the header field that holds it instead, such as `x-workspace-id`.
    pub ou_header: Option<String>,
    /// What it does while freshness of revocations is not proven: `refuse`, `read_only` or `{serve: 5m}`.
    pub on_unproven: Option<OnUnproven>,
    /// Requests a second, for each tenant.
    pub rate_limit: Option<RateLimit>,
    /// Largest request body, such as `10MiB`. Default: the hostname's, else the gateway's.
    pub max_body: Option<ByteSize>,
    /// Longest time that a response or WebSocket goes on, `1s` to `30d`. Default: as long as its caller's token is good.
    pub max_stream: Option<HumanDuration>,
    /// One of sign-in, refresh and sign-out, which a frozen tenant keeps.
    #[serde(default)]
    pub session: bool,
    /// An API of the tenant itself, which its administrators may use without the permission.
    #[serde(default)]
    pub tenant_api: bool,
}

/// Who may pass without a permission.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawAccess {
    /// Anyone; credentials are not looked at.
    Public,
    /// Anyone; who shows a credential shows a good one.
    Optional,
    /// Any principal of the tenant.
    Authenticated,
}
