//! Memberships: who belongs to which tenant.

use authz::{Action, Authorized, Scope, action::ManageUsers};
use domain::{
    Fact, TenantId, UserId,
    model::{Membership, MembershipStatus},
};

use super::{
    api_key, break_glass, certificate_binding, generation,
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one,
    page::Page,
    user, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM memberships";

fn read(row: &Row) -> Result<Membership, StoreError> {
    Ok(Membership {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        user_id: row.at("user_id")?,
        source: row.word("source")?,
        status: row.word("status")?,
        default_ou_id: row.at("default_ou_id")?,
        created_at: row.at("created_at")?,
    })
}

/// The list of a tenant's members.
#[derive(Debug)]
pub enum MemberList {}

impl Listing for MemberList {
    type Item = Membership;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        user::CALLED,
        Filter::new("user_id", "This user.", Takes::Id, "memberships.user_id = ?"),
        Filter::new(
            "status",
            "In this state.",
            Takes::Word(&["active", "pending", "inactive"]),
            "memberships.status = ?",
        ),
        Filter::new(
            "source",
            "Who came in this way.",
            Takes::Word(&["domain", "invited", "added", "bootstrap"]),
            "memberships.source = ?",
        ),
        Filter::since("memberships.created_at >= ?"),
        Filter::until("memberships.created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("name", "users.name_fold"), Sortable::time("created_at", "memberships.created_at")];
    const ID: &'static str = "memberships.id";
    fn sql() -> String {
        "SELECT memberships.*, users.name_fold FROM memberships JOIN users ON users.id = memberships.user_id
         WHERE memberships.tenant_id = $1"
            .into()
    }
    fn item(row: &Cells<'_>) -> Result<Membership, StoreError> {
        read(row.0)
    }
}

/// Reads of memberships.
pub trait Memberships: Reader {
    /// A user's membership in a tenant.
    fn membership(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> impl Future<Output = Result<Option<Membership>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND user_id = $2");
            self.view().await?.first(&sql, values![tenant, user], read).await
        }
    }

    /// All memberships of a user.
    fn memberships_of_user(&self, user: UserId) -> impl Future<Output = Result<Vec<Membership>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE user_id = $1 ORDER BY created_at, id");
            self.view().await?.all(&sql, values![user], read).await
        }
    }

    /// Members of a tenant.
    fn memberships(
        &self,
        tenant: TenantId,
        page: Page,
    ) -> impl Future<Output = Result<Vec<Membership>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
            self.view().await?.all(&sql, values![tenant, page.start(), page.limit()], read).await
        }
    }

    /// Whether somebody took a user out of a tenant, and nobody took them in again.
    fn was_taken_out(&self, tenant: TenantId, user: UserId) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let sql = "SELECT user_id FROM left_memberships WHERE tenant_id = $1 AND user_id = $2";
            Ok(!self.view().await?.query(sql, values![tenant, user]).await?.is_empty())
        }
    }
}
impl<R: Reader> Memberships for R {}

impl Tx {
    /// Makes somebody a member. `created_at` is set here.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `memberships(user_id)`; [`StoreError::Reference`] unless user and tenant are of one
    /// project.
    pub async fn insert_membership(
        &self,
        by: &Authorized<ManageUsers>,
        new: Membership,
    ) -> Result<Unaudited<Membership>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let it = Membership { created_at: self.work.now, ..new };
        self.work
            .view
            .execute(
                "INSERT INTO memberships (id, project_id, tenant_id, user_id, source, status, default_ou_id, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                vec![
                    it.id.into(),
                    it.project_id.into(),
                    it.tenant_id.into(),
                    it.user_id.into(),
                    Value::word(&it.source),
                    Value::word(&it.status),
                    it.default_ou_id.into(),
                    it.created_at.into(),
                ],
            )
            .await?;
        let sql = "DELETE FROM left_memberships WHERE tenant_id = $1 AND user_id = $2";
        self.work.view.execute(sql, values![it.tenant_id, it.user_id]).await?;
        self.work.insert_fact(&Fact::BindingsChanged { tenant: it.tenant_id, user: it.user_id }).await?;
        Ok(self.unaudited(it))
    }

    /// Changes a membership's status. One that no longer counts takes tokens and sessions with it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn update_membership(
        &self,
        by: &Authorized<ManageUsers>,
        tenant: TenantId,
        user: UserId,
        status: MembershipStatus,
    ) -> Result<Unaudited<Membership>, StoreError> {
        let before = needed(self.membership(tenant, user).await?, "membership")?;
        within(by, Scope::Tenant(before.project_id, tenant))?;
        break_glass::keep(&self.work.view, user).await?;
        let sql = "UPDATE memberships SET status = $2 WHERE id = $1";
        one(&self.work.view, "membership", sql, vec![before.id.into(), Value::word(&status)]).await?;
        if status != MembershipStatus::Active {
            generation::raise(&self.work, before.project_id, tenant, user).await?;
        }
        self.work.insert_fact(&Fact::BindingsChanged { tenant, user }).await?;
        Ok(self.unaudited(Membership { status, ..before }))
    }

    /// Ends a membership, with the role bindings, tokens, sessions and API keys the user has in the tenant. The user does not
    /// come back by the domain of their address.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_membership(
        &self,
        by: &Authorized<ManageUsers>,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Unaudited<Membership>, StoreError> {
        let membership = needed(self.membership(tenant, user).await?, "membership")?;
        within(by, Scope::Tenant(membership.project_id, tenant))?;
        break_glass::keep(&self.work.view, user).await?;
        self.end_membership(by, &membership).await?;
        let sql = "INSERT INTO left_memberships (project_id, tenant_id, user_id) VALUES ($1, $2, $3)
                   ON CONFLICT (tenant_id, user_id) DO NOTHING";
        self.work.view.execute(sql, values![membership.project_id, tenant, user]).await?;
        Ok(self.unaudited(membership))
    }
}

impl Tx {
    /// Ends a membership with all that hangs on it.
    pub(super) async fn end_membership<A: Action>(
        &self,
        by: &Authorized<A>,
        membership: &Membership,
    ) -> Result<(), StoreError> {
        let (work, tenant, user) = (&self.work, membership.tenant_id, membership.user_id);
        generation::raise(work, membership.project_id, tenant, user).await?;
        let view = &work.view;
        // Who comes back shows who they are again.
        self.void_identity_verifications(by, (user, Some(tenant)), "they left the tenant").await?;
        let sql = "DELETE FROM role_bindings WHERE tenant_id = $1 AND subject_kind = 'user' AND subject_id = $2";
        view.execute(sql, values![tenant, user]).await?;
        api_key::revoke_all_of(work, tenant, user).await?;
        certificate_binding::delete_all_of(work, tenant, user).await?;
        one(view, "membership", "DELETE FROM memberships WHERE id = $1", values![membership.id]).await?;
        work.insert_fact(&Fact::BindingsChanged { tenant, user }).await
    }
}
