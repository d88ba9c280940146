//! A decision of a gateway as it is told afterwards: what was asked, what each stage found, and why it ended as it did.
//!
//! The gate makes one when the decision is over, the control plane keeps it for a while, and who administers the tenant
//! reads it. It never holds a token or a part of one, a header's value, a query, a body or a name of a person: ids that
//! are UUIDs stand as they are, every other text that may name somebody stands as its fingerprint, and what callers
//! wrote is a [`Shown`].

use std::{fmt, ops::Deref};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CertificateBindingId, OrgUnitId, ProjectId, RequestId, Requirement, RouteId, TenantId, Timestamp};

/// Longest JSON of a decision, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;

/// Most decisions told at once.
pub const MAX_BATCH: usize = 256;

/// The code of what was permitted.
pub const PERMIT: &str = "permit";

/// A text of any origin that a terminal, a log and a page may show: letters, digits, space and ASCII punctuation, at most
/// 512 bytes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", inline)]
pub struct Shown(Box<str>);

impl Shown {
    /// Longest text, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// What stands where a text was cut.
    const CUT: &str = "...";

    /// As much of a text as `limit` bytes hold; what cannot be shown becomes `?`.
    pub fn cut(text: &str, limit: usize) -> Self {
        let limit = limit.min(Self::MAX_BYTES);
        let shown = |c: char| if is_shown(c) { c } else { '?' };
        if text.len() <= limit {
            return Self(text.chars().map(shown).collect());
        }
        let room = limit.saturating_sub(Self::CUT.len());
        let whole = text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= room);
        let mut out: String = whole.map(|(_, c)| shown(c)).collect();
        out.push_str(Self::CUT);
        Self(out.into())
    }
}

fn is_shown(c: char) -> bool {
    matches!(c, ' '..='~') || c.is_alphanumeric()
}

impl Deref for Shown {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl TryFrom<String> for Shown {
    type Error = ShownError;
    fn try_from(text: String) -> Result<Self, ShownError> {
        if text.len() > Self::MAX_BYTES {
            return Err(ShownError::Length { bytes: text.len() });
        }
        match text.chars().find(|c| !is_shown(*c)) {
            Some(found) => Err(ShownError::Character { found }),
            None => Ok(Self(text.into())),
        }
    }
}
impl From<Shown> for String {
    fn from(text: Shown) -> Self {
        text.0.into()
    }
}

/// Why a text is not a [`Shown`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum ShownError {
    #[error("a text of {bytes} bytes; at most {} are shown", Shown::MAX_BYTES)]
    Length { bytes: usize },
    #[error("a text with {found:?}, which is not shown")]
    Character { found: char },
}

/// One decision.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The request: what its caller was told as `x-request-id`.
    pub request_id: RequestId,
    /// When the account was made, on the gateway's clock.
    pub at: Timestamp,
    /// The hostname's project; none where no such hostname is served.
    pub project_id: Option<ProjectId>,
    /// The tenant it ran as, or the hostname's. What was refused before a tenant was known belongs to none.
    pub tenant_id: Option<TenantId>,
    /// `permit`, or the refusal's stable code.
    pub code: Shown,
    /// The refusal's status; none for a permit.
    pub status: Option<u16>,
    /// Why it was refused, in words for operators.
    pub reason: Option<Shown>,
    /// The stage that refused; none for a permit. The stages before it were passed, those after it not reached.
    pub stopped_at: Option<Stage>,
    /// The method, as sent.
    pub method: Shown,
    /// The hostname, in canonical form; none where the request had no single reading.
    pub host: Option<Shown>,
    /// The path, in canonical form and without its query; none where the request had no single reading.
    pub path: Option<Shown>,
    /// The route, once it was found.
    pub route: Option<DecidedRoute>,
    /// What the caller showed; none where nothing had been looked at.
    pub credential: Option<ShownCredential>,
    /// Who acted, once bound to the tenant.
    pub principal: Option<BoundPrincipal>,
    /// The product that the route asked for.
    pub product: Option<AskedProduct>,
    /// The permission that the route asked for.
    pub permission: Option<AskedPermission>,
    /// How current the gateway was.
    pub freshness: Freshness,
}

/// The stages of a decision, in their order; each is explained in `docs/architecture.md`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the stage of its name")]
pub enum Stage {
    Canonical,
    Tenant,
    Admit,
    Route,
    Credential,
    Verify,
    Revoke,
    Bind,
    Limit,
    Authorize,
    Forward,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Canonical,
        Self::Tenant,
        Self::Admit,
        Self::Route,
        Self::Credential,
        Self::Verify,
        Self::Revoke,
        Self::Bind,
        Self::Limit,
        Self::Authorize,
        Self::Forward,
    ];

    /// Those in which the gate judges: all but the last.
    pub const fn judging() -> &'static [Self] {
        let all: &'static [Self] = &Self::ALL;
        match all.split_last() {
            Some((_, judging)) => judging,
            None => all,
        }
    }

    /// The one that follows; nothing follows the last.
    pub fn next(self) -> Self {
        Self::ALL.get(self as usize + 1).copied().unwrap_or(self)
    }

    /// Its name, in metrics too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Tenant => "tenant",
            Self::Admit => "admit",
            Self::Route => "route",
            Self::Credential => "credential",
            Self::Verify => "verify",
            Self::Revoke => "revoke",
            Self::Bind => "bind",
            Self::Limit => "limit",
            Self::Authorize => "authorize",
            Self::Forward => "forward",
        }
    }
}

/// A route, as far as it explains a decision.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecidedRoute {
    /// Its id.
    pub id: RouteId,
    /// The service it belongs to; none for a hostname's own.
    pub service: Option<Shown>,
    /// Its pattern.
    pub pattern: Shown,
    /// Its methods; none for all.
    pub methods: Vec<Shown>,
    /// Who may pass.
    pub access: DemandedAccess,
    /// What it demands of its callers' sign-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<Requirement>,
}

/// Who may pass a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DemandedAccess {
    /// Anyone; credentials are not looked at.
    Public,
    /// Anyone; who shows a credential shows a good one.
    Optional,
    /// Any principal of the tenant.
    Authenticated,
    /// Principals of the tenant that hold a permission.
    Permission,
    /// The platform's staff that hold a permission.
    Platform,
}

/// What the caller showed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShownCredential {
    /// Its kind.
    pub kind: ShownKind,
    /// Whether signature, issuer, audience and times held. Until then everything below is what the caller claims.
    pub believed: bool,
    /// `iss`
    pub issuer: Option<Shown>,
    /// `kid`
    pub key_id: Option<Shown>,
    /// `typ`
    #[serde(rename = "typ")]
    pub media_type: Option<Shown>,
    /// `alg`
    pub algorithm: Option<Shown>,
    /// Whether the gateway had verified this very token before.
    pub seen_before: Option<bool>,
    /// How long ago it verified it, in milliseconds.
    pub verified_age_ms: Option<u64>,
    /// The client certificate, where it is one that was believed.
    #[serde(default)]
    pub certificate: Option<ShownCertificate>,
    /// The claims that were considered.
    pub claims: Option<ShownClaims>,
    /// Whether claims that name somebody were left out: the token is not one of this tenant's, or may be another's.
    pub withheld: bool,
}

/// Kinds of credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShownKind {
    /// None was shown, or none was looked at.
    None,
    /// A bearer token (RFC 6750).
    Bearer,
    /// An API key, sent.
    ApiKey,
    /// A request signed with an API key.
    Signature,
    /// The client certificate of the connection.
    Certificate,
    /// More than one.
    Several,
    /// One of a kind the route does not take.
    Other,
}

/// A client certificate by which somebody acted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShownCertificate {
    /// Its SHA-256, in hexadecimal.
    pub sha256: Shown,
    /// The binding that says who acts; none where a declarative file says it.
    pub binding_id: Option<CertificateBindingId>,
}

/// The claims of a token that decisions look at. No others are ever told.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShownClaims {
    /// Subject: a UUID, or the fingerprint of another text (`sha256:` and 16 hexadecimal digits).
    pub sub: Option<Shown>,
    /// Tenant.
    pub tid: Option<Shown>,
    /// Session, as `sub`.
    pub sid: Option<Shown>,
    /// The token's own id, as `sub`.
    pub jti: Option<Shown>,
    /// Audiences, eight at most.
    pub aud: Vec<Shown>,
    /// Expiry.
    pub exp: Option<Timestamp>,
    /// Time of issue.
    pub iat: Option<Timestamp>,
    /// The user's generation.
    pub ug: Option<u64>,
    /// The tenant's generation.
    pub tg: Option<u64>,
    /// Context: `tenant` or `sys`.
    pub ctx: Option<Shown>,
    /// When its user signed in.
    #[serde(default)]
    pub auth_time: Option<Timestamp>,
    /// How surely.
    #[serde(default)]
    pub acr: Option<Shown>,
    /// By which means, eight at most.
    #[serde(default)]
    pub amr: Vec<Shown>,
}

/// Who acted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BoundPrincipal {
    /// The subject, as `sub` of [`ShownClaims`].
    pub subject: Shown,
    /// Whether it acted as the platform's staff.
    pub system: bool,
    /// Whether it administers its tenant.
    pub is_admin: bool,
    /// Whether it administers the platform.
    pub is_super_admin: bool,
    /// Roles it holds in the whole context, sixteen at most.
    pub roles: Vec<Shown>,
    /// Where its roles were read; none for tokens of external issuers, which carry them.
    pub bindings: Option<KnownBindings>,
}

/// Where a principal's roles were read, and how old that reading was.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KnownBindings {
    /// Which cache answered.
    pub level: BindingsLevel,
    /// How long ago the gateway had read them, in milliseconds.
    pub age_ms: u64,
    /// How far the log of restrictions went in the state they were read from.
    pub as_of_seq: u64,
    /// Whether they say that the principal is an active member.
    pub active: bool,
}

/// Where role bindings came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BindingsLevel {
    /// They were kept with the token.
    Token,
    /// The gateway's memory (L1).
    Memory,
    /// The fleet's cache in Redis (L2).
    Shared,
    /// The control API (L3).
    ControlApi,
}

/// The product a route asked for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AskedProduct {
    /// Its name.
    pub name: Shown,
    /// Whether the tenant is entitled to it; none where that was not judged.
    pub held: Option<bool>,
}

/// The permission a route asked for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AskedPermission {
    /// Its code.
    pub code: Shown,
    /// The organisational unit that the path names.
    pub unit: Option<OrgUnitId>,
    /// Whether it was held; none where that was not judged.
    pub held: Option<bool>,
    /// By which roles, sixteen at most.
    pub by: Vec<HoldingRole>,
    /// Whether an administrator's bypass held it, whatever the roles.
    pub bypass: bool,
}

/// A role that grants what was asked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HoldingRole {
    /// Its name.
    pub role: Shown,
    /// The organisational unit it is held in; none for the whole tenant.
    pub unit: Option<OrgUnitId>,
}

/// How current a gateway was.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Freshness {
    /// The revision of its snapshot.
    pub revision: u64,
    /// How far it had applied the log of restrictions.
    pub applied_seq: u64,
    /// Whether it held a lease: it had proven that it knew of every revocation.
    pub proven: bool,
    /// How long ago that was last proven, in milliseconds; none for never.
    pub proof_age_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_shown_becomes_a_question_mark_and_what_is_too_long_is_cut() {
        assert_eq!(&*Shown::cut("/orders/7", 64), "/orders/7");
        assert_eq!(&*Shown::cut("a\x1b[31mb\u{202e}c\n", 64), "a?[31mb?c?");
        assert_eq!(&*Shown::cut("abcdefghij", 8), "abcde...");
        assert_eq!(&*Shown::cut("Büro", 64), "Büro");
        assert_eq!(Shown::cut(&"ü".repeat(1000), usize::MAX).len(), Shown::MAX_BYTES - 1);
    }

    #[test]
    fn a_text_that_was_not_made_to_be_shown_is_not_read() {
        let read = |text: &str| serde_json::from_value::<Shown>(text.into()).map_err(|error| error.to_string());
        assert_eq!(&*read("GET").unwrap(), "GET");
        assert!(read("a\u{9b}b").unwrap_err().contains("is not shown"));
        assert!(read(&"x".repeat(Shown::MAX_BYTES + 1)).unwrap_err().contains("at most"));
    }
}
