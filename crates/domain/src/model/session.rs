//! Sessions and refresh tokens.

use serde::{Deserialize, Serialize};

use crate::{Amr, AmrSet, ProjectId, SessionId, TenantId, Timestamp, TokenId, UserId};

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
    /// With a machine client's secret.
    ClientCredentials,
    /// With a passkey.
    Passkey,
    /// With an emergency administrator's password and a code.
    BreakGlass,
}

impl AuthMethod {
    /// What it shows of its user.
    pub const fn amr(self) -> AmrSet {
        match self {
            Self::Password => AmrSet::of(&[Amr::Pwd]),
            // That an address is read is no word of RFC 8176: `otp` is an authenticator's.
            Self::EmailCode | Self::MagicLink => AmrSet::of(&[]),
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
    /// When it was opened.
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
    pub amr: AmrSet,
    pub auth_time: Timestamp,
    pub ip: Option<std::net::IpAddr>,
    pub user_agent: Option<String>,
    pub user_generation: u64,
    pub tenant_generation: u64,
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
