//! Minting: an access token and the refresh token that follows it.

use std::{sync::Arc, time::Duration};

use authn::{AccessClaims, ContextKind, claims::ACCESS_TOKEN_TYPE};
use aws_lc_rs::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Clock, OrgUnitId, ProjectId, Secret, SessionId, TenantId, Timestamp, TokenId, UserId,
    model::{NewRefreshToken, Project, Role, Session, User},
};
use futures::try_join;
use store::View;

use super::login::{Door, held};
use crate::{
    App,
    context::new_id,
    error::AppError,
    signer::{self, Signer},
};

/// What a client gets.
#[derive(Debug)]
pub struct TokenPair {
    /// The access token.
    pub access_token: Secret<String>,
    /// The refresh token; we keep its hash only.
    pub refresh_token: Secret<String>,
    /// How long the access token lives.
    pub expires_in: Duration,
}

/// Everything of a pair that is decided before the transaction that opens or extends its session.
pub struct Draft {
    key: Arc<dyn Signer>,
    issuer: String,
    audience: String,
    /// Id of the access token.
    pub jti: TokenId,
    /// When it expires, in whole seconds.
    pub exp: Timestamp,
    issued_at: Timestamp,
    refresh: Secret<String>,
    refresh_expires: Timestamp,
    expires_in: Duration,
}

/// Who a token is for.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The user.
    pub user: UserId,
    /// Sign-in name.
    pub username: Option<String>,
    /// The project.
    pub project: ProjectId,
    /// The tenant.
    pub tenant: TenantId,
    /// Their roles in this context.
    pub roles: Vec<Role>,
    /// The organisational unit they work in where nothing else is said.
    pub unit: Option<OrgUnitId>,
}

/// All that goes into a pair for a user of a tenant, as one state has it: with the project's active key, and the roles that count at a
/// door; for a session that ends at `session_ends` at the latest.
///
/// # Errors
/// [`AppError::Internal`] without an active key.
pub async fn prepared(
    app: &App,
    at: &View,
    (project, tenant, user): (&Project, TenantId, &User),
    door: Door,
    session_ends: Timestamp,
) -> Result<(Draft, Holder), AppError> {
    let read = try_join!(signer::active(app, at, project.id), held(at, tenant, user.id, door))?;
    assembled(app, (project, tenant, user), read, session_ends)
}

/// The same of what was read already: the project's active key, and what [`held`] says.
pub(super) fn assembled(
    app: &App,
    (project, tenant, user): (&Project, TenantId, &User),
    (key, (roles, unit)): (Arc<dyn Signer>, (Vec<Role>, Option<OrgUnitId>)),
    session_ends: Timestamp,
) -> Result<(Draft, Holder), AppError> {
    let holder = Holder {
        user: user.id,
        username: user.username.clone().or_else(|| user.email.clone()),
        project: project.id,
        tenant,
        roles,
        unit,
    };
    Ok((Draft::new(app, key, project, session_ends)?, holder))
}

impl Draft {
    /// With the project's active key and fresh random, for a session that ends at `session_ends` at the latest.
    fn new(app: &App, key: Arc<dyn Signer>, project: &Project, session_ends: Timestamp) -> Result<Self, AppError> {
        let now = app.clock.unix_now();
        let issued_at = Timestamp::from_secs(now.secs());
        let exp = (issued_at + app.config.sessions.access_token.get()).min(Timestamp::from_secs(session_ends.secs()));
        Ok(Self {
            key,
            issuer: project.issuer.clone(),
            audience: project.audiences.first().cloned().unwrap_or_else(|| project.issuer.clone()),
            jti: new_id(&*app.clock),
            exp,
            issued_at,
            refresh: random_token()?,
            refresh_expires: now + app.config.sessions.refresh_token.get(),
            expires_in: exp.since(issued_at),
        })
    }

    /// The refresh token as it is stored.
    pub fn refresh_row(&self, sid: SessionId, session_ends: Timestamp) -> NewRefreshToken {
        NewRefreshToken {
            hash: hash(self.refresh.expose()),
            sid,
            expires_at: self.refresh_expires.min(session_ends),
            jti: self.jti,
            jti_exp: self.exp,
        }
    }

    /// Signs the access token of a session.
    ///
    /// # Errors
    /// [`AppError::Internal`].
    pub async fn sign(&self, session: &Session, holder: &Holder, (ug, tg): (u64, u64)) -> Result<TokenPair, AppError> {
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: holder.user,
            iat: self.issued_at.secs(),
            nbf: self.issued_at.secs(),
            exp: self.exp.secs(),
            jti: self.jti,
            sid: session.sid,
            pid: holder.project,
            tid: Some(holder.tenant),
            ctx: if session.system { ContextKind::System } else { ContextKind::Tenant },
            ug,
            tg,
            username: holder.username.clone(),
            roles: holder.roles.iter().map(|role| role.name.clone()).collect(),
            role_ids: holder.roles.iter().map(|role| role.id).collect(),
            is_admin: !session.system && holder.roles.iter().any(|role| role.admin),
            is_super_admin: session.system && holder.roles.iter().any(|role| role.super_admin),
            ou: holder.unit.filter(|_| !session.system),
            auth_time: session.auth_time.secs(),
            acr: Some(session.amr.acr().name().into()),
            amr: session.amr.iter().map(|word| word.name().into()).collect(),
        };
        let token = signer::sign(&*self.key, ACCESS_TOKEN_TYPE, &claims).await;
        let token = token.map_err(|error| AppError::internal("an access token cannot be signed", error))?;
        Ok(TokenPair {
            access_token: Secret::new(token),
            refresh_token: self.refresh.clone(),
            expires_in: self.expires_in,
        })
    }
}

/// What we keep of a refresh token.
pub fn hash(token: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

/// 256 random bits as base64url.
pub fn random_token() -> Result<Secret<String>, AppError> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(random::<32>()?)))
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], AppError> {
    let mut bytes = [0_u8; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| AppError::Internal { what: "no random bytes are to be had", source: None })?;
    Ok(bytes)
}
