//! A token that was verified, as a gateway keeps it.

use std::sync::Arc;

use domain::{Assurance, OrgUnitId, SessionId, TenantId, Timestamp, TokenId, UserId};

use super::{TokenError, in_time};
use crate::{
    claims::ContextKind,
    issuer::Issuer,
    jwks::{PublicKey, Thumbprint},
    mirror::Identity,
};

/// Whose kind of token it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenKind {
    /// Minted by this control plane.
    Own,
    /// By an external issuer.
    External,
}

/// Which tenant a token names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TenantClaim<'t> {
    /// By id.
    Id(TenantId),
    /// By id or slug, as an external issuer writes it.
    Name(&'t str),
    /// None: system context.
    None,
}

/// A token whose signature, issuer, audience and times held when it was verified. Whether it has expired or was
/// revoked since is not said by holding one.
///
/// A gateway keeps a million of them: each thing stands once, and what only some tokens say is behind a pointer.
#[derive(Debug)]
pub struct VerifiedToken {
    /// The issuer, as it was compiled then.
    pub issuer: Arc<Issuer>,
    /// The subject's text.
    pub subject: Box<str>,
    /// Name to show.
    pub username: Option<Box<str>>,
    /// `exp`
    pub expires_at: Timestamp,
    /// The later of `nbf` and `iat`, else the epoch.
    pub(super) not_before: Timestamp,
    pub(super) key: Arc<PublicKey>,
    pub(super) says: Says,
}

/// What a token says, by whose kind it is.
#[derive(Debug)]
pub(super) enum Says {
    Own(Own),
    External(Box<External>),
}

/// What a token of ours says.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) token: TokenId,
    pub(super) session: SessionId,
    pub(super) user: UserId,
    pub(super) tenant: Option<TenantId>,
    pub(super) context: ContextKind,
    pub(super) org_unit: Option<OrgUnitId>,
    pub(super) user_generation: u64,
    pub(super) tenant_generation: u64,
    pub(super) assurance: Assurance,
}

/// What a token of an external issuer says.
#[derive(Debug)]
pub(super) struct External {
    pub(super) token: Option<TokenId>,
    /// The subject, where it can be named by a UUID.
    pub(super) user: Option<UserId>,
    pub(super) tenant: NamedTenant,
    pub(super) issued_at: Timestamp,
    pub(super) roles: Box<[Box<str>]>,
}

/// The tenant of a foreign token.
#[derive(Debug)]
pub(super) enum NamedTenant {
    /// As the issuer is bound.
    Id(TenantId),
    /// As the token says.
    Name(Box<str>),
}

impl VerifiedToken {
    /// Whether it is within its times at `now`, give or take [`super::CLOCK_SKEW`].
    ///
    /// # Errors
    /// [`TokenError::Expired`] or [`TokenError::NotYetValid`].
    pub fn in_time(&self, now: Timestamp) -> Result<(), TokenError> {
        in_time(self.expires_at, Some(self.not_before), now)
    }

    /// Whose kind.
    pub const fn kind(&self) -> TokenKind {
        match self.says {
            Says::Own(_) => TokenKind::Own,
            Says::External(_) => TokenKind::External,
        }
    }

    /// The key that signed it.
    pub fn key(&self) -> &Thumbprint {
        self.key.thumbprint()
    }

    /// The tenant it names.
    pub fn tenant(&self) -> TenantClaim<'_> {
        match &self.says {
            Says::Own(own) => own.tenant.map_or(TenantClaim::None, TenantClaim::Id),
            Says::External(external) => match &external.tenant {
                NamedTenant::Id(id) => TenantClaim::Id(*id),
                NamedTenant::Name(name) => TenantClaim::Name(name),
            },
        }
    }

    /// Its context.
    pub const fn context(&self) -> ContextKind {
        match &self.says {
            Says::Own(own) => own.context,
            Says::External(_) => ContextKind::Tenant,
        }
    }

    /// What the mirror is asked.
    pub fn identity(&self) -> Identity {
        match &self.says {
            Says::Own(own) => Identity {
                token: Some(own.token),
                session: Some(own.session),
                tenant: own.tenant,
                user: Some(own.user),
                user_generation: own.user_generation,
                tenant_generation: own.tenant_generation,
                foreign_iat: None,
                key: None,
            },
            // Generations are ours: a foreign token carries none and is judged by when it was issued.
            Says::External(external) => Identity {
                token: external.token,
                tenant: match &external.tenant {
                    NamedTenant::Id(id) => Some(*id),
                    NamedTenant::Name(name) => name.parse().ok(),
                },
                user: external.user,
                foreign_iat: Some(external.issued_at),
                ..Identity::default()
            },
        }
    }

    /// The user of ours, with the tenant it names.
    pub fn own_user(&self) -> Option<(TenantId, UserId)> {
        match &self.says {
            Says::Own(own) => Some((own.tenant?, own.user)),
            Says::External(_) => None,
        }
    }

    /// Role names the token carries: what an external issuer's `roles_claim` says; of our own, nothing.
    pub fn roles(&self) -> &[Box<str>] {
        match &self.says {
            Says::Own(_) => &[],
            Says::External(external) => &external.roles,
        }
    }

    /// Default organisational unit, for own tokens.
    pub const fn org_unit(&self) -> Option<OrgUnitId> {
        match &self.says {
            Says::Own(own) => own.org_unit,
            Says::External(_) => None,
        }
    }

    /// What it says of its user's sign-in, for own tokens: what an external issuer means by the same words is not known.
    pub const fn assurance(&self) -> Option<&Assurance> {
        match &self.says {
            Says::Own(own) => Some(&own.assurance),
            Says::External(_) => None,
        }
    }

    /// The session, for own tokens.
    pub const fn session(&self) -> Option<SessionId> {
        match &self.says {
            Says::Own(own) => Some(own.session),
            Says::External(_) => None,
        }
    }

    /// The token's own id; of a foreign one that is no UUID, the one it stands for ([`crate::claims::token_id`]).
    pub fn token_id(&self) -> Option<TokenId> {
        match &self.says {
            Says::Own(own) => Some(own.token),
            Says::External(external) => external.token,
        }
    }
}
