//! The claims of our own access tokens (RFC 9068), as they are minted and as they are read.

use aws_lc_rs::digest;
use domain::{ProjectId, RoleId, SessionId, TenantId, TokenId, UserId};
use serde::{Deserialize, Serialize};

/// `typ` of our access tokens (RFC 9068 §2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// The id of a token by the text of its `jti`. One that is no UUID stands for a UUID made of its SHA-256 (version 8,
/// RFC 9562 §5.8), so that it can be refused like any other.
pub fn token_id(jti: &str) -> TokenId {
    jti.parse().unwrap_or_else(|_| {
        let digest = digest::digest(&digest::SHA256, jti.as_bytes());
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
        TokenId::new(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    })
}

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

#[test]
fn every_text_of_a_token_id_names_one_token() {
    let uuid = "6f1b2c3d-0000-4000-8000-00000000abcd";
    assert_eq!(token_id(uuid).to_string(), uuid);
    assert_eq!(token_id(&uuid.to_uppercase()), token_id(uuid));
    assert_eq!(token_id("not-a-uuid"), token_id("not-a-uuid"));
    assert_ne!(token_id("not-a-uuid"), token_id("not-a-uuid-either"));
    assert_eq!(token_id("not-a-uuid").uuid().get_version_num(), 8);
}
