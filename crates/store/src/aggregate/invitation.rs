//! Invitations. Of a token only its hash is kept, and of those who show it at once one joins.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageInvitations};
use domain::{
    InvitationId, TenantId, UserId,
    model::{
        Invitation, InvitationStatus, NewInvitation, Version, fold,
        invitation::{MAX_A_DAY, MAX_PENDING},
    },
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM invitations";

const DAY: Duration = Duration::from_secs(24 * 3600);

fn read(row: &Row) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        email: row.at("email")?,
        roles: row.json("roles")?,
        invited_by: row.at("invited_by")?,
        by_staff: row.at("by_staff")?,
        noted: row.word("status")?,
        accepted_by: row.at("accepted_by")?,
        expires_at: row.at("expires_at")?,
        created_at: row.at("created_at")?,
        settled_at: row.at("settled_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of a tenant's invitations, whatever became of them.
#[derive(Debug)]
pub enum InvitationList {}

impl Listing for InvitationList {
    type Item = Invitation;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose email holds this, in any case.", "email_fold LIKE ? ESCAPE '!'"),
        Filter::new("status", "In this state.", Takes::Word(&["pending", "accepted", "revoked"]), "status = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<Invitation, StoreError> {
        read(row.0)
    }
}

/// Reads of invitations.
pub trait Invitations: Reader {
    /// A tenant's invitation.
    fn invitation(
        &self,
        tenant: TenantId,
        id: InvitationId,
    ) -> impl Future<Output = Result<Option<Invitation>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND id = $2");
            self.view().await?.first(&sql, values![tenant, id], read).await
        }
    }

    /// The invitation whose token has this hash.
    fn invitation_by_token(
        &self,
        hash: [u8; 32],
    ) -> impl Future<Output = Result<Option<Invitation>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE token_hash = $1");
            self.view().await?.first(&sql, values![hash], read).await
        }
    }
}
impl<R: Reader> Invitations for R {}

impl Tx {
    /// Invites. One for the same address that nobody accepted in time is out of the way.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `invitations(email_fold)` while another waits; [`StoreError::Rule`] (`invitation_limit`)
    /// while [`MAX_PENDING`] do or were made within a day, and for an address that was invited [`MAX_A_DAY`] times in one; [`StoreError::Reference`] without its tenant.
    pub async fn insert_invitation(
        &self,
        by: &Authorized<ManageInvitations>,
        new: NewInvitation,
    ) -> Result<Unaudited<Invitation>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let now = self.work.now;
        let view = &self.work.view;
        let folded = fold(&new.email);
        let sql = "UPDATE invitations SET status = 'expired', version = version + 1
                   WHERE tenant_id = $1 AND email_fold = $2 AND status = 'pending' AND expires_at <= $3";
        view.execute(sql, values![new.tenant_id, folded.clone(), now]).await?;
        let sql = "SELECT COUNT(*) AS waiting FROM invitations
                   WHERE tenant_id = $1 AND (created_at > $3 OR (status = 'pending' AND expires_at > $2))";
        let waiting = view.first(sql, values![new.tenant_id, now, now - DAY], |row| row.at::<u64>("waiting")).await?;
        if waiting.is_some_and(|waiting| waiting >= MAX_PENDING) {
            let detail = format!("{MAX_PENDING} invitations to the tenant wait, or were made within a day, already");
            return Err(StoreError::rule("invitation_limit", detail));
        }
        // Taken back or not: each is a letter to somebody.
        let sql =
            "SELECT COUNT(*) AS made FROM invitations WHERE tenant_id = $1 AND email_fold = $2 AND created_at > $3";
        let made =
            view.first(sql, values![new.tenant_id, folded.clone(), now - DAY], |row| row.at::<u64>("made")).await?;
        if made.is_some_and(|made| made >= MAX_A_DAY) {
            let detail = format!("the address was invited {MAX_A_DAY} times within a day already");
            return Err(StoreError::rule("invitation_limit", detail));
        }
        let invitation = Invitation {
            id: new.id,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            email: new.email,
            roles: new.roles,
            invited_by: new.invited_by,
            by_staff: new.by_staff,
            noted: InvitationStatus::Pending,
            accepted_by: None,
            expires_at: new.expires_at,
            created_at: now,
            settled_at: None,
            version: Version(1),
        };
        let mut all = values![invitation.id, invitation.project_id, invitation.tenant_id, &invitation.email, folded];
        all.push(Value::json(&invitation.roles)?);
        all.extend(values![invitation.invited_by, invitation.by_staff, new.token_hash, invitation.expires_at, now]);
        let sql = "INSERT INTO invitations (id, project_id, tenant_id, email, email_fold, roles, invited_by, by_staff,
                       token_hash, status, expires_at, created_at, version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', $10, $11, 1)";
        view.execute(sql, all).await?;
        Ok(self.unaudited(invitation))
    }

    /// Takes an invitation back that waits.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for one that was accepted, taken back or not accepted in time.
    pub async fn revoke_invitation(
        &self,
        by: &Authorized<ManageInvitations>,
        tenant: TenantId,
        id: InvitationId,
    ) -> Result<Unaudited<Invitation>, StoreError> {
        let invitation = needed(self.invitation(tenant, id).await?, "invitation")?;
        within(by, Scope::Tenant(invitation.project_id, tenant))?;
        self.settle_invitation(invitation, InvitationStatus::Revoked, None).await
    }

    /// Notes that somebody joins by an invitation: of those who do so at once, one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for one that does not wait any more.
    pub async fn accept_invitation(
        &self,
        by: &Authorized<ManageInvitations>,
        (tenant, id): (TenantId, InvitationId),
        user: UserId,
    ) -> Result<Unaudited<Invitation>, StoreError> {
        let invitation = needed(self.invitation(tenant, id).await?, "invitation")?;
        within(by, Scope::Tenant(invitation.project_id, tenant))?;
        self.settle_invitation(invitation, InvitationStatus::Accepted, Some(user)).await
    }

    async fn settle_invitation(
        &self,
        invitation: Invitation,
        status: InvitationStatus,
        accepted_by: Option<UserId>,
    ) -> Result<Unaudited<Invitation>, StoreError> {
        let now = self.work.now;
        let sql = "UPDATE invitations SET status = $2, accepted_by = $3, settled_at = $4, version = version + 1
                   WHERE id = $1 AND status = 'pending' AND expires_at > $4 RETURNING *";
        let values = vec![invitation.id.into(), Value::word(&status), accepted_by.into(), now.into()];
        let settled = needed(self.work.view.first(sql, values, read).await?, "invitation")?;
        Ok(self.unaudited(settled))
    }
}
