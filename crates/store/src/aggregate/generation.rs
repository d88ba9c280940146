//! Generations: "issued before", without a clock.
//!
//! Tokens of ours carry the generation of their user in their tenant (`ug`) and of the tenant (`tg`). Raising one refuses
//! everything older. Both are read under a lock in the transaction that mints, so no token is minted with a generation
//! that was already raised. Foreign tokens carry none; for them, the moment of the last raise is kept beside it.

use authz::{Authorized, Scope, action::ManageSessions};
use domain::{Fact, ProjectId, TenantId, Timestamp, UserId, model::Membership};
use futures::try_join;

use super::{membership::Memberships, needed, user::Users, within};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    tx::Work,
    value::{Row, values},
};

/// Raises a user's generation in one tenant, ends their sessions there, and leaves the fact.
pub(crate) async fn raise(work: &Work, project: ProjectId, tenant: TenantId, user: UserId) -> Result<u64, StoreError> {
    let sql = "INSERT INTO user_generations (tenant_id, user_id, project_id, generation, cutoff)
               VALUES ($1, $2, $3, 1, $4)
               ON CONFLICT (tenant_id, user_id) DO UPDATE
                   SET generation = user_generations.generation + 1, cutoff = excluded.cutoff
               RETURNING generation";
    let raised = work.view.first(sql, values![tenant, user, project, work.now], |row| row.at("generation")).await?;
    let generation = needed(raised, "user")?;
    work.view
        .execute(
            "UPDATE sessions SET ended_at = $3, end_reason = 'signed_out_everywhere'
             WHERE tenant_id = $1 AND user_id = $2 AND ended_at IS NULL",
            values![tenant, user, work.now],
        )
        .await?;
    let external_id = work.view.user(user).await?.and_then(|user| user.external_id);
    let raised = Raised { tenant, user, generation, cutoff: Some(work.now), external_id };
    for fact in raised.facts() {
        work.insert_fact(&fact).await?;
    }
    Ok(generation)
}

/// A user's raised generation.
pub(crate) struct Raised {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) generation: u64,
    pub(crate) cutoff: Option<Timestamp>,
    /// Who the user is to an external issuer.
    pub(crate) external_id: Option<String>,
}

impl Raised {
    /// What the log says of it: of the user, and of the subject that an external issuer's tokens name in their place.
    pub(crate) fn facts(self) -> impl Iterator<Item = Fact> {
        let Self { tenant, user, generation, cutoff, external_id } = self;
        let subject = external_id.and_then(|id| id.parse().ok()).filter(|subject| *subject != user);
        let foreign = subject.map(|user| Fact::UserGeneration { tenant, user, generation: 0, cutoff });
        std::iter::once(Fact::UserGeneration { tenant, user, generation, cutoff }).chain(foreign)
    }
}

/// The same in every tenant of the user's. What was sent and waits to be shown is void, too: whoever takes an account back
/// takes back what somebody else asked for meanwhile, such as another address.
pub(crate) async fn raise_everywhere(work: &Work, user: UserId) -> Result<(), StoreError> {
    work.view.execute("DELETE FROM one_time_tokens WHERE user_id = $1", values![user]).await?;
    work.view.execute("DELETE FROM oauth_codes WHERE user_id = $1", values![user]).await?;
    for membership in work.view.memberships_of_user(user).await? {
        raise(work, membership.project_id, membership.tenant_id, user).await?;
    }
    Ok(())
}

/// Says in every tenant of the user's that cached bindings are out of date.
pub(crate) async fn bindings_changed_everywhere(work: &Work, user: UserId) -> Result<(), StoreError> {
    for membership in work.view.memberships_of_user(user).await? {
        work.insert_fact(&Fact::BindingsChanged { tenant: membership.tenant_id, user }).await?;
    }
    Ok(())
}

impl SessionTx {
    /// The generations `(ug, tg)` a token minted in this transaction carries. Locks them against being raised before
    /// the transaction ends: read what decides about the sign-in (status, bindings) after this.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a tenant; [`StoreError::Reference`] without such a user.
    pub async fn generations(
        &self,
        project: ProjectId,
        tenant: TenantId,
        user: UserId,
    ) -> Result<(u64, u64), StoreError> {
        let view = &self.work.view;
        let sql = view.holding("SELECT generation FROM user_generations WHERE tenant_id = $1 AND user_id = $2");
        let of_tenant = view.holding("SELECT generation FROM tenants WHERE id = $1");
        let generation = |row: &Row| row.at("generation");
        let (mut own, tenants) = try_join!(
            view.first(&sql, values![tenant, user], generation),
            view.first(&of_tenant, values![tenant], generation)
        )?;
        if own.is_none() {
            view.execute(
                "INSERT INTO user_generations (tenant_id, user_id, project_id, generation) VALUES ($1, $2, $3, 0)
                 ON CONFLICT (tenant_id, user_id) DO NOTHING",
                values![tenant, user, project],
            )
            .await?;
            own = view.first(&sql, values![tenant, user], generation).await?;
        }
        Ok((needed(own, "user")?, needed(tenants, "tenant")?))
    }

    /// Refuses every token and session of the user in a tenant that was issued before; answers the new generation.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without such a user or tenant.
    pub async fn sign_out_everywhere(
        &self,
        project: ProjectId,
        tenant: TenantId,
        user: UserId,
    ) -> Result<u64, StoreError> {
        raise(&self.work, project, tenant, user).await
    }

    /// The same in every tenant of the user's: the answer to a replayed refresh token.
    ///
    /// # Errors
    /// Of the database.
    pub async fn revoke_all_sessions(&self, user: UserId) -> Result<(), StoreError> {
        raise_everywhere(&self.work, user).await
    }
}

impl Tx {
    /// Signs a member out everywhere in a tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when they are no member.
    pub async fn sign_out_member(
        &self,
        by: &Authorized<ManageSessions>,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Unaudited<Membership>, StoreError> {
        let membership = needed(self.membership(tenant, user).await?, "membership")?;
        within(by, Scope::Tenant(membership.project_id, tenant))?;
        raise(&self.work, membership.project_id, tenant, user).await?;
        Ok(self.unaudited(membership))
    }
}
