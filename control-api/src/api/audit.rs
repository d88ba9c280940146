//! `/v1/audit`: the audit trail.

use axum::{Json, extract::State};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    AuditEventId, ProjectId, RequestId, TenantId, Timestamp,
    audit::{ActorKind, AuditEvent, Crud},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::AuditQuery;

use super::{answer::List, extract::Asked, schema::wire};
use crate::{App, app, caller::Principal, error::AppError};

/// Something that happened.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditEvent")]
#[expect(missing_docs, reason = "as in `domain::audit::AuditEvent`")]
pub struct AuditView {
    pub id: AuditEventId,
    pub action: String,
    pub crud: Crud,
    pub actor: ActorView,
    pub target: TargetView,
    pub project_id: Option<ProjectId>,
    pub tenant_id: Option<TenantId>,
    pub source_ip: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<RequestId>,
    pub is_failure: bool,
    pub is_anonymous: bool,
    pub fields: serde_json::Value,
    pub received: Timestamp,
    pub chain_seq: Option<u64>,
    pub hash: Option<String>,
    pub prev_hash: Option<String>,
}

/// Who did it.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::audit::Actor`")]
pub struct ActorView {
    #[serde(rename = "type")]
    pub kind: ActorKind,
    pub id: Option<String>,
    pub name: String,
}

/// To what.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::audit::Target`")]
pub struct TargetView {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: String,
    pub name: String,
}

wire!(AuditView);

impl From<AuditEvent> for AuditView {
    fn from(it: AuditEvent) -> Self {
        let chain = it.chain;
        Self {
            id: it.id,
            action: it.entry.action,
            crud: it.entry.crud,
            is_anonymous: it.actor.kind == ActorKind::Anonymous,
            actor: ActorView { kind: it.actor.kind, id: it.actor.id.map(|id| id.to_string()), name: it.actor.name },
            target: TargetView { kind: it.entry.target.kind, id: it.entry.target.id, name: it.entry.target.name },
            project_id: it.entry.project_id,
            tenant_id: it.entry.tenant_id,
            source_ip: it.origin.source_ip.map(|ip| ip.to_string()),
            user_agent: it.origin.user_agent,
            request_id: it.origin.request_id,
            is_failure: it.entry.is_failure,
            fields: it.entry.fields,
            received: it.received,
            chain_seq: chain.as_ref().map(|link| link.seq),
            hash: chain.as_ref().map(|link| link.hash.clone()),
            prev_hash: chain.map(|link| link.prev_hash),
        }
    }
}

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditFilter {
    /// Of this tenant.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// With this action, such as `route.created`.
    action: Option<String>,
    /// At most so many, 1 to 500. Default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists events, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditFilter),
    responses((status = 200, body = List<AuditView>)), security(("bearer" = [])))]
pub async fn list_audit(
    principal: Principal,
    State(app): State<App>,
    Asked(filter): Asked<AuditFilter>,
) -> Result<Json<List<AuditView>>, AppError> {
    let limit = filter.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(AppError::field("?limit", "range", "1 to 500 are allowed"));
    }
    let query = AuditQuery {
        tenant: None,
        project: None,
        action: filter.action,
        since: None,
        before: filter.cursor.as_deref().map(uncursor).transpose()?,
        limit,
    };
    let rows = app::audit::list_audit(&app, &principal, filter.tenant_id, query).await?;
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = rows.last().filter(|_| full).map(|last| cursor(last.received, last.id));
    Ok(Json(List { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
}

fn cursor(received: Timestamp, id: AuditEventId) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{id}", received.millis()))
}

fn uncursor(text: &str) -> Result<(Timestamp, AuditEventId), AppError> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (millis, id) = text.split_once(':')?;
        Some((Timestamp::from_millis(millis.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| AppError::field("?cursor", "invalid", "is no `next_cursor` of a page"))
}

#[test]
fn a_cursor_reads_back_what_it_wrote() {
    let place = (Timestamp::from_millis(1_700_000_000_123), AuditEventId::new(uuid::Uuid::from_u128(9)));
    assert_eq!(uncursor(&cursor(place.0, place.1)).unwrap(), place);
    assert!(uncursor("x").is_err());
}
