//! The claims of our own access tokens (RFC 9068), as they are minted and as they are read.

use domain::{ProjectId, RoleId, SessionId, TenantId, TokenId, UserId};
use serde::{Deserialize, Serialize};

/// `typ` of our access tokens (RFC 9068 §2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// In which context a token was issued (`ctx`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum ContextKind {
    /// A tenant's principal.
    #[serde(rename = "tenant")]
    Tenant,
    /// The platform's staff.
    #[serde(rename = "sys")]
    System,
}

/// The claims of an access token of ours. Times are whole seconds since the epoch (RFC 7519 §2).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The project's issuer.
    pub iss: String,
    /// Accepted audience.
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// Issued at.
    pub iat: i64,
    /// Not valid before.
    pub nbf: i64,
    /// Not valid from then on.
    pub exp: i64,
    /// The token's own id.
    pub jti: TokenId,
    /// The session it belongs to.
    pub sid: SessionId,
    /// The project.
    pub pid: ProjectId,
    /// The tenant; none in system context without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<TenantId>,
    /// The context.
    pub ctx: ContextKind,
    /// The user's generation in the tenant.
    pub ug: u64,
    /// The tenant's generation.
    pub tg: u64,
    /// Sign-in name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Names of roles when it was minted. Informative: rights are read live.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Ids of roles when it was minted. Informative.
    #[serde(default)]
    pub role_ids: Vec<RoleId>,
    /// Administered its tenant when it was minted. Informative.
    #[serde(default)]
    pub is_admin: bool,
    /// Administered the platform when it was minted. Informative.
    #[serde(default)]
    pub is_super_admin: bool,
    /// Default organisational unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ou: Option<domain::OrgUnitId>,
    /// When the user last proved who they are.
    pub auth_time: i64,
    /// Assurance of that (OpenID Connect Core §2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// By which means (RFC 8176).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
}
