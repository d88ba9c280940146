//! Sessions: sign-ins, and how they end.

use authz::{Authorized, Scope, action::ManageSessions};
use domain::{
    AmrSet, Fact, SessionId, TenantId, Timestamp, TokenId, UserId,
    model::{AuthMethod, NewSession, Session},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one,
    page::Page,
    within,
};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM sessions";

fn read(row: &Row) -> Result<Session, StoreError> {
    let ip = row.at::<Option<String>>("ip")?.map(|text| text.parse()).transpose();
    let method: AuthMethod = row.word("method")?;
    // Sessions of an older release say no more than how they were opened.
    let amr = row.at::<Option<String>>("amr")?.map_or(method.amr(), |words| AmrSet::read(words.split(' ')));
    Ok(Session {
        sid: row.at("sid")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        user_id: row.at("user_id")?,
        system: row.at("is_system")?,
        method,
        approved_by: row.word_opt("approved_by")?,
        provider_id: row.at("provider_id")?,
        lent: row.at("lent")?,
        amr,
        auth_time: row.at("auth_time")?,
        ip: ip.map_err(|e| StoreError::corrupt("ip", e))?,
        user_agent: row.at("user_agent")?,
        user_generation: row.at("user_generation")?,
        tenant_generation: row.at("tenant_generation")?,
        created_at: row.at("created_at")?,
        last_used_at: row.at("last_used_at")?,
        expires_at: row.at("expires_at")?,
        token_exp: row.at("token_exp")?,
        ended_at: row.at("ended_at")?,
        end_reason: row.at("end_reason")?,
    })
}

/// The list of a user's open sessions in a tenant at an instant.
#[derive(Debug)]
pub enum SessionList {}

impl Listing for SessionList {
    type Item = Session;
    type Of = (TenantId, UserId, Timestamp);
    const FILTERS: &'static [Filter] = &[
        Filter::new("method", "Opened in this way, such as `password`.", Takes::Text, "method = ?"),
        Filter::new("ip", "Opened from this address.", Takes::Text, "ip = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[
        Sortable::time("created_at", "created_at"),
        Sortable::time("last_used_at", "last_used_at"),
        Sortable::time("expires_at", "expires_at"),
    ];
    const ID: &'static str = "sid";
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3")
    }
    fn item(row: &Cells<'_>) -> Result<Session, StoreError> {
        read(row.0)
    }
}

/// Reads of sessions.
pub trait Sessions: Reader {
    /// The session of this id.
    fn session(&self, sid: SessionId) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE sid = $1"), values![sid], read).await }
    }

    /// The session of a refresh token, by its hash; the token may have been used.
    fn session_of_refresh(&self, hash: [u8; 32]) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send {
        async move {
            let sql = "SELECT sessions.* FROM refresh_tokens JOIN sessions ON sessions.sid = refresh_tokens.sid
                       WHERE refresh_tokens.hash = $1";
            self.view().await?.first(sql, values![hash], read).await
        }
    }

    /// A user's open sessions in a tenant.
    fn open_sessions(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
        page: Page,
    ) -> impl Future<Output = Result<Vec<Session>, StoreError>> + Send {
        async move {
            let sql = format!(
                "{SELECT} WHERE tenant_id = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > $3 AND sid > $4
                 ORDER BY sid LIMIT $5"
            );
            self.view().await?.all(&sql, values![tenant, user, now, page.start(), page.limit()], read).await
        }
    }
}
impl<R: Reader> Sessions for R {}

/// Ends a session and leaves the fact; ending it again changes nothing.
async fn end(work: &Work, sid: SessionId, reason: &str) -> Result<Option<Session>, StoreError> {
    let sql = "UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE sid = $1 AND ended_at IS NULL RETURNING *";
    let ended = work.view.first(sql, values![sid, work.now, reason], read).await?;
    if let Some(session) = &ended {
        work.insert_fact(&Fact::SessionEnded { sid, exp: session.token_exp }).await?;
    }
    Ok(ended)
}

impl SessionTx {
    /// Opens a session.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without its user or tenant.
    pub async fn open_session(&self, new: NewSession) -> Result<Session, StoreError> {
        let now = self.work.now;
        let session = Session {
            sid: new.sid,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            user_id: new.user_id,
            system: new.system,
            method: new.method,
            approved_by: new.approved_by,
            provider_id: new.provider_id,
            lent: new.lent,
            amr: new.amr,
            auth_time: new.auth_time,
            ip: new.ip,
            user_agent: new.user_agent,
            user_generation: new.user_generation,
            tenant_generation: new.tenant_generation,
            created_at: new.created_at,
            last_used_at: now,
            expires_at: new.expires_at,
            token_exp: new.token_exp,
            ended_at: None,
            end_reason: None,
        };
        let it = &session;
        self.work
            .view
            .execute(
                "INSERT INTO sessions (sid, project_id, tenant_id, user_id, is_system, method, auth_time, ip, user_agent,
                     user_generation, tenant_generation, created_at, last_used_at, expires_at, token_exp, amr,
                     approved_by, provider_id, lent)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
                vec![
                    it.sid.into(),
                    it.project_id.into(),
                    it.tenant_id.into(),
                    it.user_id.into(),
                    it.system.into(),
                    Value::word(&it.method),
                    it.auth_time.into(),
                    it.ip.map(|ip| ip.to_string()).into(),
                    it.user_agent.as_ref().into(),
                    it.user_generation.into(),
                    it.tenant_generation.into(),
                    it.created_at.into(),
                    now.into(),
                    it.expires_at.into(),
                    it.token_exp.into(),
                    it.amr.to_string().into(),
                    Value::word(&it.approved_by),
                    it.provider_id.into(),
                    it.lent.into(),
                ],
            )
            .await?;
        Ok(session)
    }

    /// Notes that a session was refreshed: what its new tokens carry, and until when they live.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has ended.
    pub async fn extend_session(
        &self,
        sid: SessionId,
        (user_generation, tenant_generation): (u64, u64),
        token_exp: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE sessions SET last_used_at = $2, user_generation = $3, tenant_generation = $4,
                       token_exp = CASE WHEN token_exp > $5 THEN token_exp ELSE $5 END
                   WHERE sid = $1 AND ended_at IS NULL";
        let values = values![sid, self.work.now, user_generation, tenant_generation, token_exp];
        one(&self.work.view, "session", sql, values).await
    }

    /// Notes that a session's user signed in anew, and what they showed: in the place of what they showed before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has ended.
    pub async fn raise_session(
        &self,
        sid: SessionId,
        amr: AmrSet,
        auth_time: Timestamp,
    ) -> Result<Session, StoreError> {
        let sql = "UPDATE sessions SET amr = $2, auth_time = $3, lent = FALSE
                   WHERE sid = $1 AND ended_at IS NULL AND expires_at > $4 RETURNING *";
        let values = values![sid, amr.to_string(), auth_time, self.work.now];
        needed(self.work.view.first(sql, values, read).await?, "session")
    }

    /// Ends a session, for sign-out; none when it was not open.
    ///
    /// # Errors
    /// Of the database.
    pub async fn end_session(&self, sid: SessionId, reason: &str) -> Result<Option<Session>, StoreError> {
        end(&self.work, sid, reason).await
    }

    /// Ends every session of a user's but one, in all their tenants; answers the ones that were open.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the one that is to stay was ended meanwhile: then nothing is left to be kept.
    pub async fn end_other_sessions(
        &self,
        user: UserId,
        kept: SessionId,
        reason: &str,
    ) -> Result<Vec<Session>, StoreError> {
        let (view, now) = (&self.work.view, self.work.now);
        // Whatever opens or extends a session holds its generations. Waiting for them here lets the statements below
        // see what was under way, and keeps out what comes after.
        let sql = view.locking("SELECT generation FROM user_generations WHERE user_id = $1 ORDER BY tenant_id");
        view.query(&sql, values![user]).await?;
        let stays = self.session(kept).await?.filter(|session| session.user_id == user && session.is_open(now));
        needed(stays, "session")?;
        let sql = "UPDATE sessions SET ended_at = $3, end_reason = $4
                   WHERE user_id = $1 AND sid <> $2 AND ended_at IS NULL AND (expires_at > $3 OR token_exp > $3)
                   RETURNING *";
        let ended = view.all(sql, values![user, kept, now, reason], read).await?;
        for session in &ended {
            self.work.insert_fact(&Fact::SessionEnded { sid: session.sid, exp: session.token_exp }).await?;
        }
        Ok(ended)
    }

    /// Refuses one access token until it expires.
    ///
    /// # Errors
    /// Of the database.
    pub async fn refuse_token(&self, jti: TokenId, exp: Timestamp) -> Result<(), StoreError> {
        self.work.insert_fact(&Fact::TokenRefused { jti, exp }).await
    }
}

impl Tx {
    /// Ends somebody's session.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none that is open.
    pub async fn end_session(
        &self,
        by: &Authorized<ManageSessions>,
        sid: SessionId,
        reason: &str,
    ) -> Result<Unaudited<Session>, StoreError> {
        let session = needed(self.session(sid).await?, "session")?;
        within(by, Scope::Tenant(session.project_id, session.tenant_id))?;
        let ended = needed(end(&self.work, sid, reason).await?, "session")?;
        Ok(self.unaudited(ended))
    }
}
