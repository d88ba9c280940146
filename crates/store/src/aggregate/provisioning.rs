//! What becomes of new tenants in the directory of their people. The row is the schedule and the lease: whoever moves
//! `next_at` on takes the steps, and what it found is noted only while its attempt is the last.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageTenants};
use domain::{TenantId, Timestamp, model::Provisioning};

use super::{needed, within};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM provisionings";

fn read(row: &Row) -> Result<Provisioning, StoreError> {
    Ok(Provisioning {
        tenant_id: row.at("tenant_id")?,
        project_id: row.at("project_id")?,
        steps: row.json("steps")?,
        attempts: row.at("attempts")?,
        next_at: row.at("next_at")?,
    })
}

/// Reads of provisionings.
pub trait Provisionings: Reader {
    /// A tenant's provisioning; none for one that nobody asked it for.
    fn provisioning(&self, tenant: TenantId) -> impl Future<Output = Result<Option<Provisioning>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE tenant_id = $1"), values![tenant], read).await }
    }

    /// Those that may be claimed now, the longest due first.
    fn due_provisionings(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Provisioning>, StoreError>> + Send {
        async move {
            let sql =
                format!("{SELECT} WHERE next_at IS NOT NULL AND next_at <= $1 ORDER BY next_at, tenant_id LIMIT $2");
            self.view().await?.all(&sql, values![now, limit], read).await
        }
    }
}
impl<R: Reader> Provisionings for R {}

impl Tx {
    /// Has a tenant provisioned, or the steps that are left taken at once.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without the tenant; [`StoreError::OutOfScope`].
    pub async fn begin_provisioning(
        &self,
        by: &Authorized<ManageTenants>,
        begun: Provisioning,
    ) -> Result<Unaudited<Provisioning>, StoreError> {
        within(by, Scope::Tenant(begun.project_id, begun.tenant_id))?;
        let sql = "INSERT INTO provisionings (tenant_id, project_id, steps, attempts, next_at)
                   VALUES ($1, $2, $3, 0, $4)
                   ON CONFLICT (tenant_id) DO UPDATE SET next_at = excluded.next_at
                   RETURNING *";
        let values =
            vec![begun.tenant_id.into(), begun.project_id.into(), Value::json(&begun.steps)?, self.work.now.into()];
        let row = needed(self.work.view.first(sql, values, read).await?, "provisioning")?;
        Ok(self.unaudited(row))
    }

    /// Notes what became of a claimed attempt, and when the next one is due. None when it was begun anew since: then
    /// nothing is written.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub async fn note_provisioning(
        &self,
        by: &Authorized<ManageTenants>,
        found: Provisioning,
    ) -> Result<Option<Unaudited<Provisioning>>, StoreError> {
        within(by, Scope::Tenant(found.project_id, found.tenant_id))?;
        let sql = "UPDATE provisionings SET steps = $3, next_at = $4 WHERE tenant_id = $1 AND attempts = $2";
        let values =
            vec![found.tenant_id.into(), found.attempts.into(), Value::json(&found.steps)?, found.next_at.into()];
        let noted = self.work.view.execute(sql, values).await? == 1;
        Ok(noted.then(|| self.unaudited(found)))
    }
}

impl SessionTx {
    /// Takes it on oneself to take a tenant's steps; none when another did, or it is not due. Nobody else claims it
    /// within `lease`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn claim_provisioning(
        &self,
        seen: &Provisioning,
        lease: Duration,
    ) -> Result<Option<Provisioning>, StoreError> {
        let now = self.work.now;
        let sql = "UPDATE provisionings SET attempts = attempts + 1, next_at = $4
                   WHERE tenant_id = $1 AND attempts = $2 AND next_at <= $3 RETURNING *";
        let values = values![seen.tenant_id, seen.attempts, now, now + lease];
        self.work.view.first(sql, values, read).await
    }
}
