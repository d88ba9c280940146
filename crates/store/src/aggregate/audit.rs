//! The audit trail: appended in the transaction of the change, read newest first.

use authz::{Authorized, action::AppendAudit};
use domain::{
    AuditEventId, Id, ProjectId, TenantId, Timestamp,
    audit::{Actor, AuditEntry, AuditEvent, ChainLink, Crud, Origin, Report, ReportedActor},
    model::EventPattern,
};
use uuid::Uuid;

use super::{needed, page::MAX_LIMIT};
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
    insert_into(work, &chain_of(entry.tenant_id), actor, origin, entry).await
}

/// Appends an event to a chain, also that of a tenant that is gone.
pub(crate) async fn insert_into(
    work: &Work,
    chain: &str,
    actor: &Actor,
    origin: &Origin,
    entry: &AuditEntry,
) -> Result<AuditEventId, StoreError> {
    let id = fresh_id(work.now);
    let sql = format!("INSERT INTO audit_events ({COLUMNS}) VALUES ({PLACES})");
    work.view.execute(&sql, columns(work.now, (id, chain), Value::json(actor)?, origin, entry)?).await?;
    Ok(id)
}

/// What every event has.
const COLUMNS: &str =
    "id, chain, project_id, tenant_id, action, crud, target, actor, origin, is_failure, fields, received";

/// Their places in a statement. What is in a tenant is in its project, whether or not it was said.
const PLACES: &str =
    "$1, $2, COALESCE($3, (SELECT project_id FROM tenants WHERE id = $4)), $4, $5, $6, $7, $8, $9, $10,
                      $11, $12";

/// The values of [`COLUMNS`].
fn columns(
    now: Timestamp,
    (id, chain): (AuditEventId, &str),
    actor: Value,
    origin: &Origin,
    entry: &AuditEntry,
) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        id.into(),
        chain.into(),
        entry.project_id.into(),
        entry.tenant_id.into(),
        (&entry.action).into(),
        Value::word(&entry.crud),
        Value::json(&entry.target)?,
        actor,
        Value::json(origin)?,
        entry.is_failure.into(),
        Value::json(&entry.fields)?,
        now.into(),
    ])
}

/// A UUIDv7 of this instant (RFC 9562 §5.7): ids sort as what they name.
pub(crate) fn fresh_id<K>(now: Timestamp) -> Id<K> {
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
        actor: row.json::<ReportedActor>("actor")?,
        origin: row.json("origin")?,
        reporter: row.at("reporter")?,
        external_id: row.at("external_id")?,
        report: row.json_opt("report")?,
        erased_at: row.at("erased_at")?,
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
    /// With an action of this pattern.
    pub pattern: Option<EventPattern>,
    /// Of this kind of the four.
    pub crud: Option<Crud>,
    /// Done by this one: an id.
    pub actor: Option<String>,
    /// Done to this one: an id.
    pub target: Option<String>,
    /// Done to things of this kind.
    pub target_kind: Option<String>,
    /// Failed, or not.
    pub is_failure: Option<bool>,
    /// Reported by this service or API key.
    pub reporter: Option<String>,
    /// With this id of the reporter's.
    pub external_id: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// The oldest first, and not the newest.
    pub ascending: bool,
    /// Only behind this event, in that order: the cursor.
    pub before: Option<(Timestamp, AuditEventId)>,
    /// At most this many, up to 500.
    pub limit: u32,
}

impl AuditQuery {
    /// As conditions and their values.
    fn conditions(&self) -> (String, Vec<Value>) {
        let (mut sql, mut all) = (String::from("TRUE"), Vec::new());
        let mut add = |condition: &str, value: Option<Value>| {
            if let Some(value) = value {
                all.push(value);
                sql.push_str(" AND ");
                sql.push_str(&condition.replace('?', &format!("${}", all.len())));
            }
        };
        add("tenant_id = ?", self.tenant.map(Value::from));
        add("project_id = ?", self.project.map(Value::from));
        add("action = ?", self.action.as_ref().map(Value::from));
        let beginning = self.pattern.as_ref().map(EventPattern::beginning);
        match beginning {
            Some((text, true)) => add("action = ?", Some(text.into())),
            Some((text, false)) if !text.is_empty() => {
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                add(&format!("substr(action, 1, {length}) = ?"), Some(text.into()));
            }
            _ => {}
        }
        add("crud = ?", self.crud.map(|crud| Value::word(&crud)));
        add("actor ->> 'id' = ?", self.actor.as_ref().map(Value::from));
        add("target ->> 'id' = ?", self.target.as_ref().map(Value::from));
        add("target ->> 'kind' = ?", self.target_kind.as_ref().map(Value::from));
        add("is_failure = ?", self.is_failure.map(Value::from));
        add("reporter = ?", self.reporter.as_ref().map(Value::from));
        add("external_id = ?", self.external_id.as_ref().map(Value::from));
        add("received >= ?", self.since.map(Value::from));
        add("received < ?", self.until.map(Value::from));
        if let Some((received, id)) = self.before {
            let behind = if self.ascending { '>' } else { '<' };
            all.extend(values![received, id]);
            let (at, tie) = (all.len() - 1, all.len());
            sql.push_str(&format!(" AND (received {behind} ${at} OR (received = ${at} AND id {behind} ${tie}))"));
        }
        (sql, all)
    }
}

/// Reads of the audit trail.
pub trait AuditTrail: Reader {
    /// Events in the order that is asked for.
    fn audit_events(&self, query: &AuditQuery) -> impl Future<Output = Result<Vec<AuditEvent>, StoreError>> + Send {
        async move {
            let (conditions, mut all) = query.conditions();
            all.push(query.limit.clamp(1, MAX_LIMIT).into());
            let order = if query.ascending { "ASC" } else { "DESC" };
            let sql = format!("{SELECT} WHERE {conditions} ORDER BY received {order}, id {order} LIMIT ${}", all.len());
            self.view().await?.all(&sql, all, event).await
        }
    }

    /// The event of this id.
    fn audit_event(&self, id: AuditEventId) -> impl Future<Output = Result<Option<AuditEvent>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], event).await }
    }
}
impl<R: Reader> AuditTrail for R {}

/// An event that somebody else reports.
#[derive(Clone, Debug)]
pub struct Reported {
    /// What happened.
    pub entry: AuditEntry,
    /// Who did it.
    pub actor: ReportedActor,
    /// From where.
    pub origin: Origin,
    /// What else is said of it.
    pub report: Report,
    /// Who reports it: a service's name, or an API key's public part.
    pub reporter: String,
    /// The event's id there.
    pub external_id: Option<String>,
}

impl Reported {
    /// Whether an event that is there is this one.
    fn is(&self, there: &AuditEvent) -> bool {
        there.entry == self.entry && there.actor == self.actor && there.report.as_ref() == Some(&self.report)
    }
}

impl Tx {
    /// Appends an event that somebody else reports; one that was reported before is answered as it is, under its own id.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for an event of another tenant or project; [`StoreError::Rule`]
    /// (`external_id_reused`) when that id was another event's.
    pub async fn append_audit(
        &self,
        by: &Authorized<AppendAudit>,
        id: AuditEventId,
        reported: &Reported,
    ) -> Result<Audited<AuditEvent>, StoreError> {
        let entry = &reported.entry;
        super::within(by, super::scope_of(entry.project_id, entry.tenant_id))?;
        let (view, chain) = (&self.work.view, chain_of(entry.tenant_id));
        let actor = Value::json(&reported.actor)?;
        let mut all = columns(self.work.now, (id, &chain), actor, &reported.origin, entry)?;
        all.extend([Value::json(&reported.report)?, (&reported.reporter).into()]);
        all.push(reported.external_id.as_ref().into());
        let sql = format!(
            "INSERT INTO audit_events ({COLUMNS}, report, reporter, external_id)
             VALUES ({PLACES}, $13, $14, $15)
             ON CONFLICT (chain, reporter, external_id) WHERE external_id IS NOT NULL DO NOTHING"
        );
        if view.execute(&sql, all).await? == 1 {
            return Ok(Audited::unchanged(needed(self.audit_event(id).await?, "audit-event")?));
        }
        let sql = format!("{SELECT} WHERE chain = $1 AND reporter = $2 AND external_id = $3");
        let known = values![chain, &reported.reporter, reported.external_id.as_ref()];
        let there = needed(view.first(&sql, known, event).await?, "audit-event")?;
        if !reported.is(&there) {
            return Err(StoreError::rule("external_id_reused", "another event was reported by that id"));
        }
        Ok(Audited::unchanged(there))
    }
}
