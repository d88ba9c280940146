//! `/v1/org-units`: a tenant's organisational units.

use axum::{Json, extract::State};
use domain::{OrgUnitId, TenantId, Timestamp, UserId, model::OrgUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::{DeletedOrgUnitList, OrgUnitList};

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{App, app, app::org_units::UnitDraft, caller::Principal, error::AppError};

/// An organisational unit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OrgUnit")]
#[expect(missing_docs, reason = "as in `domain::model::OrgUnit`")]
pub struct OrgUnitView {
    pub id: OrgUnitId,
    pub tenant_id: TenantId,
    pub name: String,
    pub description: String,
    /// Whether it lives, or was deleted and can still be restored.
    pub status: OrgUnitStatus,
    pub created_by: Option<UserId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub purge_after: Option<Timestamp>,
}

/// Whether a unit lives.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrgUnitStatus {
    /// It does.
    Active,
    /// It was deleted: it is served no more, and removed for good once its hold is over.
    Deleted,
}

impl From<OrgUnit> for OrgUnitView {
    fn from(it: OrgUnit) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            name: it.name,
            description: it.description,
            status: if it.deleted_at.is_some() { OrgUnitStatus::Deleted } else { OrgUnitStatus::Active },
            created_by: it.created_by,
            created_at: it.created_at,
            updated_at: it.updated_at,
            deleted_at: it.deleted_at,
            purge_after: it.purge_after,
        }
    }
}

/// What a unit is called.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteOrgUnit {
    /// Its name, unique in the tenant while it lives: 1 to 128 characters.
    name: String,
    /// Free text, up to 1024 characters.
    #[serde(default)]
    description: String,
}

impl From<WriteOrgUnit> for UnitDraft {
    fn from(body: WriteOrgUnit) -> Self {
        Self { name: body.name, description: body.description }
    }
}

/// Which units.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrgUnitFilter {
    /// Those that were deleted and can still be restored, instead of those that live.
    #[serde(default)]
    deleted: bool,
}

wire!(OrgUnitView, OrgUnitStatus, WriteOrgUnit);

/// Lists a tenant's organisational units.
#[utoipa::path(get, path = "/v1/org-units", tag = "org units", params(TenantQuery, OrgUnitFilter, ListQuery<OrgUnitList>),
    responses((status = 200, body = List<OrgUnitView>)), security(("bearer" = [])))]
pub async fn list_org_units(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Asked(filter): Asked<OrgUnitFilter>,
    Listed(living): Listed<OrgUnitList>,
    Listed(deleted): Listed<DeletedOrgUnitList>,
) -> Result<Json<List<OrgUnitView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = match filter.deleted {
        true => app::org_units::list_org_units(&app, &principal, site, &deleted).await?,
        false => app::org_units::list_org_units(&app, &principal, site, &living).await?,
    };
    Ok(Json(List::of(found, Into::into)))
}

/// Makes an organisational unit.
#[utoipa::path(post, path = "/v1/org-units", tag = "org units", params(TenantQuery, WaitQuery),
    request_body = WriteOrgUnit, responses((status = 201, body = OrgUnitView)), security(("bearer" = [])))]
pub async fn create_org_unit(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<WriteOrgUnit>,
) -> Result<Created<OrgUnitView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let (made, commit) = app::org_units::create_org_unit(&app, &principal, site, body.into()).await?;
    let location = format!("/v1/org-units/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads an organisational unit that lives.
#[utoipa::path(get, path = "/v1/org-units/{ou}", tag = "org units", params(("ou" = String, Path), TenantQuery),
    responses((status = 200, body = OrgUnitView)), security(("bearer" = [])))]
pub async fn read_org_unit(
    principal: Principal,
    State(app): State<App>,
    At(id): At<OrgUnitId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<One<OrgUnitView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::org_units::read_org_unit(&app, &principal, site, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Changes what an organisational unit is called.
#[utoipa::path(put, path = "/v1/org-units/{ou}", tag = "org units",
    params(("ou" = String, Path), TenantQuery, WaitQuery, IfMatch), request_body = WriteOrgUnit,
    responses((status = 200, body = OrgUnitView)), security(("bearer" = [])))]
pub async fn replace_org_unit(
    principal: Principal,
    State(app): State<App>,
    At(id): At<OrgUnitId>,
    Asked(query): Asked<TenantQuery>,
    IfMatch(version): IfMatch,
    Body(body): Body<WriteOrgUnit>,
) -> Result<Changed<OrgUnitView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let changed = app::org_units::replace_org_unit(&app, &principal, site, (id, version), body.into());
    let (changed, commit) = changed.await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Deletes an organisational unit: no gateway serves it any more. It can be restored until its hold is over.
#[utoipa::path(delete, path = "/v1/org-units/{ou}", tag = "org units",
    params(("ou" = String, Path), TenantQuery, WaitQuery), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_org_unit(
    principal: Principal,
    State(app): State<App>,
    At(id): At<OrgUnitId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Gone, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    app::org_units::delete_org_unit(&app, &principal, site, id).await.map(Gone::by)
}

/// Takes a deleted organisational unit back, with the roles that were held in it.
#[utoipa::path(post, path = "/v1/org-units/{ou}/restore", tag = "org units",
    params(("ou" = String, Path), TenantQuery, WaitQuery), responses((status = 200, body = OrgUnitView)),
    security(("bearer" = [])))]
pub async fn restore_org_unit(
    principal: Principal,
    State(app): State<App>,
    At(id): At<OrgUnitId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Changed<OrgUnitView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let (restored, commit) = app::org_units::restore_org_unit(&app, &principal, site, id).await?;
    Ok(Changed { version: Some(restored.version), body: restored.into(), commit, revokes: false })
}
