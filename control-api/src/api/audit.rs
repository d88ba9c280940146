//! `/v1/audit`: the audit trail.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    AuditErasureId, AuditEventId, ProjectId, RequestId, TenantId, Timestamp, UserId,
    audit::{ActorKind, AuditEvent, Crud, Flaw, ReportedGroup},
    model::EventPattern,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{AuditErasure, AuditQuery, ChainReport, Checkpoint, list::AuditErasureList};

use super::{
    answer::List,
    audit_report::ReportEvent,
    extract::{Asked, At, Body, ListQuery, Listed, TenantQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError, key_caller::Reporter, service_caller::ServiceCaller};

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
    pub group: Option<GroupView>,
    pub project_id: Option<ProjectId>,
    pub tenant_id: Option<TenantId>,
    pub source_ip: Option<String>,
    pub user_agent: Option<String>,
    pub request_id: Option<RequestId>,
    pub is_failure: bool,
    pub is_anonymous: bool,
    pub description: Option<String>,
    pub fields: serde_json::Value,
    pub component: Option<String>,
    pub version: Option<String>,
    /// Who reported it; none for events of ours.
    pub reporter: Option<String>,
    pub external_id: Option<String>,
    /// When it happened, as its reporter says.
    pub created: Timestamp,
    pub received: Timestamp,
    /// Since when personal data is gone from it.
    pub erased_at: Option<Timestamp>,
    pub chain_seq: Option<u64>,
    pub hash: Option<String>,
    pub prev_hash: Option<String>,
}

/// Who did it.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::audit::ReportedActor`")]
pub struct ActorView {
    #[serde(rename = "type")]
    pub kind: ActorKind,
    pub id: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
}

/// To what.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::audit::Target`")]
pub struct TargetView {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: String,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
}

/// Where, as the reporter names it.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::audit::ReportedGroup`")]
pub struct GroupView {
    pub id: String,
    pub name: String,
}

/// What was made of a reported event.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AppendedEvent {
    /// Its id here.
    id: AuditEventId,
    /// Its hash, once it is in its chain: about a second later.
    hash: Option<String>,
}

/// Whether a chain holds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChainView {
    /// The tenant's id, or `platform`.
    chain: String,
    /// Whether it holds.
    intact: bool,
    /// Where it does not.
    broken_at: Option<u64>,
    /// What is wrong there.
    flaw: Option<Flaw>,
    /// Rows there are.
    rows: u64,
    /// Rows of them from which personal data was erased.
    erased: u64,
    /// The last row. Kept elsewhere, it shows later whether anything before it was changed.
    head: ChainEnd,
    /// Whether the head is the one that was sealed under the master key.
    sealed: bool,
    /// Where the rows begin, if older ones were removed.
    checkpoint: Option<CheckpointView>,
}

/// A row of a chain.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ChainEnd {
    /// Its number; 0 for none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

/// Where a chain begins whose older rows are gone.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CheckpointView {
    /// Number of the last row that is gone.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// How many rows are gone.
    pub removed: u64,
    /// When the last of them was removed.
    pub cut_at: Timestamp,
}

/// Whose personal data is to be taken out of the trail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestErasure {
    /// The user, who must be gone.
    user_id: UserId,
}

/// That a user's personal data is taken out of the trail.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditErasure")]
#[expect(missing_docs, reason = "as in `store::AuditErasure`")]
pub struct ErasureView {
    pub id: AuditErasureId,
    pub user_id: UserId,
    /// From how many events something was taken until now.
    pub erased: u64,
    pub requested_at: Timestamp,
    pub done_at: Option<Timestamp>,
}

wire!(AuditView, AppendedEvent, ChainView, RequestErasure, ErasureView);

impl From<AuditEvent> for AuditView {
    fn from(it: AuditEvent) -> Self {
        let (chain, report) = (it.chain, it.report);
        let said = report.unwrap_or_default();
        let reported = it.reporter.is_some();
        Self {
            id: it.id,
            action: it.entry.action,
            crud: it.entry.crud,
            is_anonymous: it.actor.kind == ActorKind::Anonymous,
            actor: ActorView { kind: it.actor.kind, id: it.actor.id, name: it.actor.name, href: it.actor.href },
            target: TargetView {
                kind: it.entry.target.kind,
                id: it.entry.target.id,
                name: it.entry.target.name,
                href: said.target_href,
            },
            group: said.group.map(|ReportedGroup { id, name }| GroupView { id, name }),
            project_id: it.entry.project_id,
            tenant_id: it.entry.tenant_id,
            source_ip: it.origin.source_ip.map(|ip| ip.to_string()),
            user_agent: it.origin.user_agent,
            request_id: it.origin.request_id,
            is_failure: it.entry.is_failure,
            description: Some(said.description).filter(|text| !text.is_empty()),
            fields: it.entry.fields,
            component: said.component,
            version: said.version,
            created: if reported && it.erased_at.is_none() { said.created } else { it.received },
            reporter: it.reporter,
            external_id: it.external_id,
            received: it.received,
            erased_at: it.erased_at,
            chain_seq: chain.as_ref().map(|link| link.seq),
            hash: chain.as_ref().map(|link| link.hash.clone()),
            prev_hash: chain.map(|link| link.prev_hash),
        }
    }
}

impl From<Checkpoint> for CheckpointView {
    fn from(it: Checkpoint) -> Self {
        Self { seq: it.seq, hash: it.hash, removed: it.removed, cut_at: it.cut_at }
    }
}

impl From<ChainReport> for ChainView {
    fn from(it: ChainReport) -> Self {
        let (seq, hash) = it.head;
        Self {
            chain: it.chain,
            intact: it.broken.is_none(),
            broken_at: it.broken.map(|broken| broken.seq),
            flaw: it.broken.map(|broken| broken.flaw),
            rows: it.rows,
            erased: it.erased,
            head: ChainEnd { seq, hash },
            sealed: it.sealed,
            checkpoint: it.checkpoint.map(Into::into),
        }
    }
}

impl From<AuditErasure> for ErasureView {
    fn from(it: AuditErasure) -> Self {
        Self { id: it.id, user_id: it.user_id, erased: it.erased, requested_at: it.requested_at, done_at: it.done_at }
    }
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditFilter {
    /// Of this tenant.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// With this action, such as `route.created`, or with those of a kind, such as `route.*`.
    #[param(value_type = Option<String>)]
    action: Option<EventPattern>,
    /// Of this kind: `c`, `r`, `u` or `d`.
    #[param(value_type = Option<String>)]
    crud: Option<Crud>,
    /// Done by this one: its id.
    actor_id: Option<String>,
    /// Done to this one: its id.
    target_id: Option<String>,
    /// Done to things of this kind, such as `route`.
    target_type: Option<String>,
    /// Failed, or not.
    is_failure: Option<bool>,
    /// Reported by this service, API key or user.
    reporter: Option<String>,
    /// With this id of the reporter's.
    external_id: Option<String>,
    /// Received then or later.
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Received before then.
    #[param(value_type = Option<String>)]
    until: Option<Timestamp>,
    /// `newest` first, which is the default, or `oldest`.
    #[param(value_type = Option<String>)]
    order: Option<Order>,
    /// At most so many, 1 to 500. Default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before, with the same filters.
    cursor: Option<String>,
}

/// Lists events.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditFilter),
    responses((status = 200, body = List<AuditView>)), security(("bearer" = [])))]
pub async fn list_audit(
    principal: Principal,
    State(app): State<App>,
    Asked(filter): Asked<AuditFilter>,
) -> Result<Json<List<AuditView>>, AppError> {
    let limit = filter.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(AppError::parameter("limit", "range", "1 to 500 are allowed"));
    }
    let query = AuditQuery {
        pattern: filter.action,
        crud: filter.crud,
        actor: filter.actor_id,
        target: filter.target_id,
        target_kind: filter.target_type,
        is_failure: filter.is_failure,
        reporter: filter.reporter,
        external_id: filter.external_id,
        since: filter.since,
        until: filter.until,
        ascending: filter.order == Some(Order::Oldest),
        before: filter.cursor.as_deref().map(uncursor).transpose()?,
        limit,
        ..AuditQuery::default()
    };
    let rows = app::audit::list_audit(&app, &principal, filter.tenant_id, query).await?;
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = rows.last().filter(|_| full).map(|last| cursor(last.received, last.id));
    Ok(Json(List { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
}

/// Reads an event.
#[utoipa::path(get, path = "/v1/audit/{id}", tag = "audit", params(("id" = String, Path)),
    responses((status = 200, body = AuditView)), security(("bearer" = [])))]
pub async fn read_audit_event(
    principal: Principal,
    State(app): State<App>,
    At(id): At<AuditEventId>,
) -> Result<Json<AuditView>, AppError> {
    app::audit::read_audit_event(&app, &principal, id).await.map(|event| Json(event.into()))
}

/// Appends an event of the caller's own tenant. The same `external_id` twice is one event.
#[utoipa::path(post, path = "/v1/audit", tag = "audit", request_body = ReportEvent,
    responses((status = 201, body = AppendedEvent), (status = 200, body = AppendedEvent)), security(("bearer" = [])))]
pub async fn append_audit(
    reporter: Reporter,
    State(app): State<App>,
    Body(body): Body<ReportEvent>,
) -> Result<Response, AppError> {
    let (named, draft) = body.draft(app.now())?;
    app::audit::append_audit(&app, &reporter, named, draft).await.map(appended)
}

/// Appends an event that a service reports of a tenant. The same `external_id` twice is one event.
#[utoipa::path(post, path = "/v1/audit", tag = "audit", request_body = ReportEvent,
    responses((status = 201, body = AppendedEvent), (status = 200, body = AppendedEvent)),
    security(("service_key" = [])))]
pub async fn report_audit(
    caller: ServiceCaller,
    State(app): State<App>,
    Body(body): Body<ReportEvent>,
) -> Result<Response, AppError> {
    let named = body.tenant_or_group();
    let (_, draft) = body.draft(app.now())?;
    let tenant = named.ok_or_else(|| AppError::field("/tenant_id", "required", "a service names the tenant"))?;
    app::audit::report_audit(&app, &caller, tenant, draft).await.map(appended)
}

fn appended((event, fresh): (AuditEvent, bool)) -> Response {
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(http::header::LOCATION, format!("/v1/audit/{}", event.id))];
    let body = AppendedEvent { id: event.id, hash: event.chain.map(|link| link.hash) };
    (status, location, Json(body)).into_response()
}

/// Checks a chain from beginning to end: the caller's own tenant's; for staff the platform's, or that of a tenant, also of
/// one that is gone.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit", params(TenantQuery),
    responses((status = 200, body = ChainView)), security(("bearer" = [])))]
pub async fn verify_audit(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Json<ChainView>, AppError> {
    app::audit::verify_audit(&app, &principal, query.tenant_id).await.map(|report| Json(report.into()))
}

/// Has what is known of a user who is gone taken out of the trail.
#[utoipa::path(post, path = "/v1/audit/erasures", tag = "audit", request_body = RequestErasure,
    responses((status = 202, body = ErasureView)), security(("bearer" = [])))]
pub async fn request_erasure(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<RequestErasure>,
) -> Result<Response, AppError> {
    let erasure = app::audit::request_erasure(&app, &principal, body.user_id).await?;
    Ok((StatusCode::ACCEPTED, Json(ErasureView::from(erasure))).into_response())
}

/// Lists what was taken out of the trail.
#[utoipa::path(get, path = "/v1/audit/erasures", tag = "audit", params(ListQuery<AuditErasureList>),
    responses((status = 200, body = List<ErasureView>)), security(("bearer" = [])))]
pub async fn list_erasures(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<AuditErasureList>,
) -> Result<Json<List<ErasureView>>, AppError> {
    let found = app::audit::list_erasures(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
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
    read().ok_or_else(|| AppError::parameter("cursor", "invalid", "is no `next_cursor` of a page"))
}

#[test]
fn a_cursor_reads_back_what_it_wrote() {
    let place = (Timestamp::from_millis(1_700_000_000_123), AuditEventId::new(uuid::Uuid::from_u128(9)));
    assert_eq!(uncursor(&cursor(place.0, place.1)).unwrap(), place);
    assert!(uncursor("x").is_err());
}
