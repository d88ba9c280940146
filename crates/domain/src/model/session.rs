//! Sessions and refresh tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Amr, AmrSet, IdentityProviderId, ProjectId, SessionId, TenantId, Timestamp, TokenId, UserId};

/// How a session was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// With a password.
    #[default]
    Password,
    /// With a code that was sent by email.
    EmailCode,
    /// With a link that was sent by email.
    MagicLink,
    /// With a code that was sent to a phone.
    PhoneCode,
    /// With a machine client's secret.
    ClientCredentials,
    /// With a passkey.
    Passkey,
    /// By approving it in another session of theirs, by a QR code.
    Qr,
    /// Through an identity provider.
    Oauth,
    /// With an emergency administrator's password and a code.
    BreakGlass,
}

impl AuthMethod {
    /// What it shows of its user.
    pub const fn amr(self) -> AmrSet {
        match self {
            Self::Password => AmrSet::of(&[Amr::Pwd]),
            // That an address or a number is read is nothing of this release's words: `otp` is an authenticator's.
            // What a provider asked for is the provider's to say, in words that are its own.
            Self::EmailCode | Self::MagicLink | Self::PhoneCode | Self::Oauth => AmrSet::of(&[]),
            // What the approving session carries over, its sign-in says.
            Self::Qr => AmrSet::of(&[]),
            // Nobody was there.
            Self::ClientCredentials => AmrSet::of(&[]),
            // Which kind of key, the passkey says.
            Self::Passkey => AmrSet::of(&[Amr::User, Amr::Mfa]),
            Self::BreakGlass => AmrSet::of(&[Amr::Pwd, Amr::Otp, Amr::Mfa]),
        }
    }
}

/// One sign-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id, the `sid` of its tokens.
    pub sid: SessionId,
    /// Project of the user.
    pub project_id: ProjectId,
    /// Tenant it works in.
    pub tenant_id: TenantId,
    /// Whose.
    pub user_id: UserId,
    /// In the platform's context (`ctx: sys`).
    pub system: bool,
    /// How it was opened.
    pub method: AuthMethod,
    /// How the session was opened that approved it, of one that was ([`AuthMethod::Qr`]).
    pub approved_by: Option<AuthMethod>,
    /// Through which provider, where it was.
    pub provider_id: Option<IdentityProviderId>,
    /// Whether all it knows of its user was shown to the session that approved it: until its user signs in within it.
    pub lent: bool,
    /// What its user showed, when it was opened and since.
    pub amr: AmrSet,
    /// When the user last proved who they are.
    pub auth_time: Timestamp,
    /// Client address.
    pub ip: Option<std::net::IpAddr>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The user's generation its tokens carry.
    pub user_generation: u64,
    /// The tenant's generation its tokens carry.
    pub tenant_generation: u64,
    /// When it was opened; of one that goes on in another tenant, the first of them.
    pub created_at: Timestamp,
    /// When it was last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// When the last access token that carries its id expires.
    pub token_exp: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// Why.
    pub end_reason: Option<String>,
}

impl Session {
    /// Whether its user showed two factors.
    pub const fn is_sure(&self) -> bool {
        self.amr.contains(Amr::Mfa)
    }

    /// Whether its user signed in a moment ago, in this session: what another one was shown counts for nothing.
    pub fn is_recent(&self, now: Timestamp, within: Duration) -> bool {
        !self.lent && now <= self.auth_time + within
    }

    /// Whether it may still be refreshed.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }
}

/// A session to be opened. The generations are the ones that were read under lock in the same transaction.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Session`")]
pub struct NewSession {
    pub sid: SessionId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub system: bool,
    pub method: AuthMethod,
    pub approved_by: Option<AuthMethod>,
    pub provider_id: Option<IdentityProviderId>,
    pub lent: bool,
    pub amr: AmrSet,
    pub auth_time: Timestamp,
    pub ip: Option<std::net::IpAddr>,
    pub user_agent: Option<String>,
    pub user_generation: u64,
    pub tenant_generation: u64,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub token_exp: Timestamp,
}

/// A refresh token, of which only the hash is kept.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct RefreshToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Its session.
    pub sid: SessionId,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The access token that was issued with it.
    pub jti: TokenId,
    /// When that expires.
    pub jti_exp: Timestamp,
}

/// A refresh token to be stored.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as in `RefreshToken`")]
pub struct NewRefreshToken {
    pub hash: [u8; 32],
    pub sid: SessionId,
    pub expires_at: Timestamp,
    pub jti: TokenId,
    pub jti_exp: Timestamp,
}
