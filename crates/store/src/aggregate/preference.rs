//! What users prefer in a tenant. Which unit they work in by default stands with the membership.

use authz::{Authorized, action::ManageOwnAccount};
use domain::{
    OrgUnitId, TenantId, Timestamp, UserId,
    model::{Membership, Preferences, Version},
};

use super::{membership::Memberships, needed, one};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

fn read(row: &Row) -> Result<Preferences, StoreError> {
    Ok(Preferences {
        user_id: row.at("user_id")?,
        tenant_id: row.at("tenant_id")?,
        project_id: row.at("project_id")?,
        values: row.json("body")?,
        updated_at: Some(row.at::<Timestamp>("updated_at")?),
        version: Version(row.at("version")?),
    })
}

/// Reads of preferences.
pub trait PreferencesOf: Reader {
    /// What a user prefers in a tenant; none where they never said.
    fn preferences(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> impl Future<Output = Result<Option<Preferences>, StoreError>> + Send {
        async move {
            let sql = "SELECT * FROM preferences WHERE tenant_id = $1 AND user_id = $2";
            self.view().await?.first(sql, values![tenant, user], read).await
        }
    }
}
impl<R: Reader> PreferencesOf for R {}

impl Tx {
    /// Replaces what whoever `by` is prefers in a tenant of theirs.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for anybody else; [`StoreError::VersionMismatch`]; [`StoreError::NotFound`] for who is no
    /// member.
    pub async fn put_preferences(
        &self,
        by: &Authorized<ManageOwnAccount>,
        wanted: Preferences,
    ) -> Result<Unaudited<Preferences>, StoreError> {
        let membership = self.own_membership(by, wanted.tenant_id, wanted.user_id).await?;
        let found = self.preferences(wanted.tenant_id, wanted.user_id).await?.map_or(Version(0), |it| it.version);
        if found != wanted.version {
            return Err(StoreError::VersionMismatch { what: "preferences", expected: wanted.version, found });
        }
        let kept = Preferences {
            project_id: membership.project_id,
            updated_at: Some(self.work.now),
            version: Version(found.0 + 1),
            ..wanted
        };
        let sql = "INSERT INTO preferences (tenant_id, user_id, project_id, body, updated_at, version)
                   VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (tenant_id, user_id) DO UPDATE
                       SET body = excluded.body, updated_at = excluded.updated_at, version = excluded.version";
        let mut all = values![kept.tenant_id, kept.user_id, kept.project_id];
        all.extend([Value::json(&kept.values)?, self.work.now.into(), kept.version.0.into()]);
        self.work.view.execute(sql, all).await?;
        Ok(self.unaudited(kept))
    }

    /// Says in which unit whoever `by` is works by default in a tenant of theirs: one in which they hold a role, or none.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for anybody else; [`StoreError::NotFound`] for who is no member.
    pub async fn set_default_org_unit(
        &self,
        by: &Authorized<ManageOwnAccount>,
        (tenant, user): (TenantId, UserId),
        unit: Option<OrgUnitId>,
    ) -> Result<Unaudited<Membership>, StoreError> {
        let membership = self.own_membership(by, tenant, user).await?;
        let sql = "UPDATE memberships SET default_ou_id = $2 WHERE id = $1";
        one(&self.work.view, "membership", sql, values![membership.id, unit]).await?;
        Ok(self.unaudited(Membership { default_ou_id: unit, ..membership }))
    }

    async fn own_membership(
        &self,
        by: &Authorized<ManageOwnAccount>,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Membership, StoreError> {
        if by.actor().id != Some(user.uuid()) {
            return Err(StoreError::OutOfScope);
        }
        needed(self.membership(tenant, user).await?, "membership")
    }
}
