//! The audit trail: appended in the transaction of the change, read newest first.

use authz::{Authorized, action::AppendAudit};
use domain::{
    AuditEventId, ProjectId, TenantId, Timestamp,
    audit::{Actor, AuditEntry, AuditEvent, ChainLink, Origin},
};
use uuid::Uuid;

use super::page::MAX_LIMIT;
use crate::{
    Audited, StoreError, Tx,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

/// The chain of what belongs to no tenant.
pub(crate) const PLATFORM: &str = "platform";

pub(crate) const SELECT: &str = "SELECT * FROM audit_events";

/// Which chain a tenant's events are in.
pub(crate) fn chain_of(tenant: Option<TenantId>) -> String {
    tenant.map_or_else(|| PLATFORM.into(), |id| id.to_string())
}

/// Appends an event.
pub(crate) async fn insert(
    work: &Work,
    actor: &Actor,
    origin: &Origin,
    entry: &AuditEntry,
) -> Result<AuditEventId, StoreError> {
    let id = fresh_id(work.now);
    work.view
        .execute(
            "INSERT INTO audit_events (id, chain, project_id, tenant_id, action, crud, target, actor, origin,
                 is_failure, fields, received)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            vec![
                id.into(),
                chain_of(entry.tenant_id).into(),
                entry.project_id.into(),
                entry.tenant_id.into(),
                (&entry.action).into(),
                Value::word(&entry.crud),
                Value::json(&entry.target)?,
                Value::json(actor)?,
                Value::json(origin)?,
                entry.is_failure.into(),
                Value::json(&entry.fields)?,
                work.now.into(),
            ],
        )
        .await?;
    Ok(id)
}

/// A UUIDv7 of this instant (RFC 9562 §5.7): ids sort as events do.
pub(crate) fn fresh_id(now: Timestamp) -> AuditEventId {
    let secs = u64::try_from(now.secs()).unwrap_or(0);
    let nanos = u32::try_from(now.millis().rem_euclid(1000)).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, secs, nanos)).into()
}

pub(crate) fn event(row: &Row) -> Result<AuditEvent, StoreError> {
    let link = match (row.at("chain_seq")?, row.at("prev_hash")?, row.at("hash")?) {
        (Some(seq), Some(prev_hash), Some(hash)) => Some(ChainLink { seq, prev_hash, hash }),
        _ => None,
    };
    Ok(AuditEvent {
        id: row.at("id")?,
        entry: AuditEntry {
            action: row.at("action")?,
            crud: row.word("crud")?,
            target: row.json("target")?,
            project_id: row.at("project_id")?,
            tenant_id: row.at("tenant_id")?,
            is_failure: row.at("is_failure")?,
            fields: row.at("fields")?,
        },
        actor: row.json("actor")?,
        origin: row.json("origin")?,
        received: row.at("received")?,
        chain: link,
    })
}

/// Which events.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditQuery {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of this project.
    pub project: Option<ProjectId>,
    /// With this action.
    pub action: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Only older than this event: the cursor.
    pub before: Option<(Timestamp, AuditEventId)>,
    /// At most this many, up to 500.
    pub limit: u32,
}

/// Reads of the audit trail.
pub trait AuditTrail: Reader {
    /// Events, newest first.
    fn audit_events(&self, query: &AuditQuery) -> impl Future<Output = Result<Vec<AuditEvent>, StoreError>> + Send {
        async move {
            let mut conditions = vec![String::from("TRUE")];
            let mut all: Vec<Value> = Vec::new();
            let mut add = |condition: &str, value: Option<Value>| {
                if let Some(value) = value {
                    all.push(value);
                    conditions.push(condition.replace('?', &format!("${}", all.len())));
                }
            };
            add("tenant_id = ?", query.tenant.map(Value::from));
            add("project_id = ?", query.project.map(Value::from));
            add("action = ?", query.action.as_ref().map(Value::from));
            add("received >= ?", query.since.map(Value::from));
            if let Some((received, id)) = query.before {
                all.extend(values![received, id]);
                let (at, tie) = (all.len() - 1, all.len());
                conditions.push(format!("(received < ${at} OR (received = ${at} AND id < ${tie}))"));
            }
            all.push(query.limit.clamp(1, MAX_LIMIT).into());
            let sql = format!(
                "{SELECT} WHERE {} ORDER BY received DESC, id DESC LIMIT ${}",
                conditions.join(" AND "),
                all.len()
            );
            self.view().await?.all(&sql, all, event).await
        }
    }
}
impl<R: Reader> AuditTrail for R {}

impl Tx {
    /// Appends an event that somebody else reports (`POST /v1/audit`).
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for an event of another tenant or project.
    pub async fn append_audit(
        &self,
        by: &Authorized<AppendAudit>,
        entry: &AuditEntry,
    ) -> Result<Audited<AuditEventId>, StoreError> {
        super::within(by, super::scope_of(entry.project_id, entry.tenant_id))?;
        insert(&self.work, by.actor(), by.origin(), entry).await.map(Audited::unchanged)
    }
}
