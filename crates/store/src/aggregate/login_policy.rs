//! How people sign in to tenants.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageLoginPolicies};
use domain::{
    ProjectId, TenantId, UserId,
    model::{LoginPolicy, Version},
};

use super::{binding, within};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

fn read(row: &Row) -> Result<LoginPolicy, StoreError> {
    let said: LoginPolicy = row.json("body")?;
    Ok(LoginPolicy {
        tenant_id: row.at("tenant_id")?,
        project_id: row.at("project_id")?,
        updated_at: Some(row.at("updated_at")?),
        version: Version(row.at("version")?),
        ..said
    })
}

/// When sign-in is locked, as far as anybody says more than the platform.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StrictestLock {
    /// After so few failures.
    pub after: Option<u32>,
    /// For so long.
    pub lock_for: Option<Duration>,
}

/// Reads of login policies.
pub trait LoginPolicies: Reader {
    /// A tenant's; none where it never said.
    fn login_policy(&self, tenant: TenantId) -> impl Future<Output = Result<Option<LoginPolicy>, StoreError>> + Send {
        async move {
            let sql = "SELECT * FROM login_policies WHERE tenant_id = $1";
            self.view().await?.first(sql, values![tenant], read).await
        }
    }

    /// What is strictest of what a project's tenants say of locks.
    fn strictest_lock(&self, project: ProjectId) -> impl Future<Output = Result<StrictestLock, StoreError>> + Send {
        async move {
            let sql = "SELECT (SELECT MIN(lock_after) FROM login_policies WHERE project_id = $1) AS lock_after,
                           (SELECT MAX(lock_s) FROM login_policies WHERE project_id = $1) AS lock_s";
            let read = |row: &Row| {
                let lock_for = row.at::<Option<u64>>("lock_s")?.map(Duration::from_secs);
                Ok(StrictestLock { after: row.at("lock_after")?, lock_for })
            };
            Ok(self.view().await?.first(sql, values![project], read).await?.unwrap_or_default())
        }
    }

    /// Those of all tenants that a user is a member of.
    fn login_policies_of_user(
        &self,
        user: UserId,
    ) -> impl Future<Output = Result<Vec<LoginPolicy>, StoreError>> + Send {
        async move {
            let sql = "SELECT login_policies.* FROM login_policies
                       JOIN memberships ON memberships.tenant_id = login_policies.tenant_id WHERE memberships.user_id = $1";
            self.view().await?.all(sql, values![user], read).await
        }
    }
}
impl<R: Reader> LoginPolicies for R {}

impl Tx {
    /// Says how people sign in to a tenant. `wanted.version` is the one that was seen; 0 for none.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`]; [`StoreError::OutOfScope`].
    pub async fn put_login_policy(
        &self,
        by: &Authorized<ManageLoginPolicies>,
        wanted: LoginPolicy,
    ) -> Result<Unaudited<LoginPolicy>, StoreError> {
        within(by, Scope::Tenant(wanted.project_id, wanted.tenant_id))?;
        let said = self.login_policy(wanted.tenant_id).await?;
        let (found, demanded) = said.map_or((Version(0), false), |it| (it.version, it.require_verified_identity));
        if found != wanted.version {
            return Err(StoreError::VersionMismatch { what: "login-policy", expected: wanted.version, found });
        }
        let kept = LoginPolicy { updated_at: Some(self.work.now), version: Version(found.0 + 1), ..wanted };
        let mut all = values![kept.tenant_id, kept.project_id, self.work.now, kept.version.0];
        all.push(Value::json(&kept)?);
        all.extend(values![kept.lock_after, kept.lock_s]);
        let sql = "INSERT INTO login_policies (tenant_id, project_id, updated_at, version, body, lock_after, lock_s)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)
                   ON CONFLICT (tenant_id) DO UPDATE
                       SET body = excluded.body, updated_at = excluded.updated_at, version = excluded.version,
                           lock_after = excluded.lock_after, lock_s = excluded.lock_s";
        self.work.view.execute(sql, all).await?;
        if kept.require_verified_identity != demanded {
            binding::tenant_changed(&self.work, kept.tenant_id).await?;
        }
        Ok(self.unaudited(kept))
    }

    /// A tenant says nothing any more. `seen` is the version that was seen, where one was.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::VersionMismatch`]; [`StoreError::OutOfScope`].
    pub async fn delete_login_policy(
        &self,
        by: &Authorized<ManageLoginPolicies>,
        tenant: TenantId,
        seen: Option<Version>,
    ) -> Result<Unaudited<LoginPolicy>, StoreError> {
        let found = self.login_policy(tenant).await?.ok_or(StoreError::NotFound { what: "login-policy" })?;
        within(by, Scope::Tenant(found.project_id, tenant))?;
        if let Some(expected) = seen.filter(|seen| *seen != found.version) {
            return Err(StoreError::VersionMismatch { what: "login-policy", expected, found: found.version });
        }
        self.work.view.execute("DELETE FROM login_policies WHERE tenant_id = $1", values![tenant]).await?;
        if found.require_verified_identity {
            binding::tenant_changed(&self.work, tenant).await?;
        }
        Ok(self.unaudited(found))
    }
}
