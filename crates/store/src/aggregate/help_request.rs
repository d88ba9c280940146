//! What people ask administrators for who cannot sign in.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageHelpRequests};
use domain::{
    HelpRequestId, TenantId, UserId,
    model::{HelpRequest, HelpStatus, NewHelpRequest, Version, help_request::MAX_PENDING},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, swap, within,
};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM help_requests";

/// For how long one that was answered is kept.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// For how long one that nobody answers is.
const UNANSWERED: Duration = Duration::from_secs(180 * 24 * 3600);

/// How many old ones go at once.
const BATCH: u32 = 1000;

fn read(row: &Row) -> Result<HelpRequest, StoreError> {
    Ok(HelpRequest {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        email: row.at("email")?,
        message: row.at("message")?,
        known: row.at("known")?,
        status: row.word("status")?,
        note: row.at("note")?,
        settled_by: row.at("settled_by")?,
        settled_at: row.at("settled_at")?,
        created_at: row.at("created_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of a tenant's requests.
#[derive(Debug)]
pub enum HelpRequestList {}

impl Listing for HelpRequestList {
    type Item = HelpRequest;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::new("status", "In this state.", Takes::Word(&["pending", "resolved", "rejected"]), "status = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<HelpRequest, StoreError> {
        read(row.0)
    }
}

/// Reads of requests for help.
pub trait HelpRequests: Reader {
    /// The request of this id.
    fn help_request(&self, id: HelpRequestId) -> impl Future<Output = Result<Option<HelpRequest>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }
}
impl<R: Reader> HelpRequests for R {}

impl SessionTx {
    /// Keeps a request. Where as many wait as may, the oldest of those goes whose address was no member's; where there is none, the
    /// oldest of all, but never one of a member's for a stranger's. None when it is not kept. What is old goes. Whoever calls this
    /// holds a row of the tenant's, so that those who ask at once are counted one by one.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without the tenant.
    pub async fn insert_help_request(&self, new: &NewHelpRequest) -> Result<Option<HelpRequest>, StoreError> {
        let (view, now) = (&self.work.view, self.work.now);
        let sql = "DELETE FROM help_requests WHERE id IN (
                       SELECT id FROM help_requests WHERE tenant_id = $1 AND (settled_at < $2 OR created_at < $3) LIMIT $4)";
        view.execute(sql, values![new.tenant_id, now - KEPT, now - UNANSWERED, BATCH]).await?;
        let sql = "SELECT COUNT(*) AS waiting FROM help_requests WHERE tenant_id = $1 AND status = 'pending'";
        let waiting = view.first(sql, values![new.tenant_id], |row| row.at::<u64>("waiting")).await?.unwrap_or(0);
        if waiting >= MAX_PENDING {
            let sql = "DELETE FROM help_requests WHERE id IN (
                           SELECT id FROM help_requests WHERE tenant_id = $1 AND status = 'pending' AND (known = FALSE OR $2)
                           ORDER BY known, created_at, id LIMIT 1)";
            if view.execute(sql, values![new.tenant_id, new.known]).await? == 0 {
                return Ok(None);
            }
        }
        let sql =
            "INSERT INTO help_requests (id, project_id, tenant_id, email, message, known, status, note, created_at,
                       version)
                   VALUES ($1, $2, $3, $4, $5, $6, 'pending', '', $7, 1) RETURNING *";
        let all = values![new.id, new.project_id, new.tenant_id, &new.email, &new.message, new.known, now];
        view.first(sql, all, read).await
    }
}

impl SessionTx {
    /// Removes up to `limit` requests that are old, of all tenants; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sweep_help_requests(&self, limit: u32) -> Result<u64, StoreError> {
        let Work { view, now, .. } = &self.work;
        let mut swept = 0;
        for (condition, before) in [("settled_at < $1", *now - KEPT), ("created_at < $1", *now - UNANSWERED)] {
            let sql = format!(
                "DELETE FROM help_requests WHERE id IN (SELECT id FROM help_requests WHERE {condition} LIMIT $2)"
            );
            swept += view.execute(&sql, values![before, limit]).await?;
        }
        Ok(swept)
    }
}

impl Tx {
    /// Answers a request. Of those who answer it at once, one does.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::VersionMismatch`]; [`StoreError::Rule`] (`help_request_settled`).
    pub async fn settle_help_request(
        &self,
        by: &Authorized<ManageHelpRequests>,
        (id, version): (HelpRequestId, Version),
        (status, note, who): (HelpStatus, &str, Option<UserId>),
    ) -> Result<Unaudited<HelpRequest>, StoreError> {
        let found = needed(self.help_request(id).await?, "help-request")?;
        within(by, Scope::Tenant(found.project_id, found.tenant_id))?;
        if found.status != HelpStatus::Pending {
            return Err(StoreError::rule("help_request_settled", "the request was answered"));
        }
        let mut all = vec![Value::word(&status)];
        all.extend(values![note, who, self.work.now]);
        let assignments = "status = $3, note = $4, settled_by = $5, settled_at = $6";
        swap(&self.work.view, "help-request", "help_requests", (id.uuid(), version), assignments, all).await?;
        Ok(self.unaudited(needed(self.help_request(id).await?, "help-request")?))
    }
}
