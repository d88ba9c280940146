//! `/v1/me/…`: the organisational units one works in, and what one prefers.

use axum::{Json, extract::State};
use domain::{OrgUnitId, Timestamp, model::Preferences};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::list::UserUnitList;

use super::{
    answer::{Changed, Gone, List, One},
    extract::{Body, IfMatch, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{App, app, app::my_units::UnitOfUser, caller::Principal, envelope::Settle, error::AppError};

/// An organisational unit in which somebody holds a role.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OrgUnitOfUser")]
pub struct UnitOfUserView {
    /// Its id.
    pub id: OrgUnitId,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Names of the roles they hold in it, of their own and by groups.
    pub roles: Vec<String>,
    /// Whether they work in it where nothing else is said.
    pub is_default: bool,
}

impl From<UnitOfUser> for UnitOfUserView {
    fn from(it: UnitOfUser) -> Self {
        let UnitOfUser { unit, roles, is_default } = it;
        Self { id: unit.id, name: unit.name, description: unit.description, roles, is_default }
    }
}

/// In which unit one works where nothing else is said.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultOrgUnit {
    /// One of one's own; `null` for none.
    ou_id: Option<OrgUnitId>,
}

/// What one prefers.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Preferences")]
pub struct PreferencesView {
    /// Names and values that mean something to one's programs.
    pub values: Map<String, Value>,
    /// When they were last changed; none for never.
    pub updated_at: Option<Timestamp>,
}

impl From<Preferences> for PreferencesView {
    fn from(it: Preferences) -> Self {
        Self { values: it.values, updated_at: it.updated_at }
    }
}

/// What one prefers from now on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutPreferences {
    /// All of it, up to 16 KiB.
    values: Map<String, Value>,
}

wire!(UnitOfUserView, DefaultOrgUnit, PreferencesView, PutPreferences);

/// Lists the organisational units in which one holds a role.
#[utoipa::path(get, path = "/v1/me/org-units", tag = "me", params(ListQuery<UserUnitList>),
    responses((status = 200, body = List<UnitOfUserView>)), security(("bearer" = [])))]
pub async fn list_my_org_units(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<UserUnitList>,
) -> Result<Json<List<UnitOfUserView>>, AppError> {
    let found = app::my_units::list_my_org_units(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Says in which organisational unit one works where nothing else is said. Tokens say so from the next on.
#[utoipa::path(put, path = "/v1/me/default-org-unit", tag = "me", request_body = DefaultOrgUnit,
    responses((status = 204)), security(("bearer" = [])))]
pub async fn set_my_default_org_unit(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<DefaultOrgUnit>,
) -> Result<Gone, AppError> {
    let commit = app::my_units::set_my_default_org_unit(&app, &principal, body.ou_id).await?;
    Ok(Gone(Settle { commit: Some(commit), revokes: false }))
}

/// Reads what one prefers in the tenant.
#[utoipa::path(get, path = "/v1/me/preferences", tag = "me", responses((status = 200, body = PreferencesView)),
    security(("bearer" = [])))]
pub async fn read_my_preferences(
    principal: Principal,
    State(app): State<App>,
) -> Result<One<PreferencesView>, AppError> {
    let found = app::my_units::read_my_preferences(&app, &principal).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Replaces what one prefers in the tenant.
#[utoipa::path(put, path = "/v1/me/preferences", tag = "me", params(WaitQuery, IfMatch), request_body = PutPreferences,
    responses((status = 200, body = PreferencesView)), security(("bearer" = [])))]
pub async fn put_my_preferences(
    principal: Principal,
    State(app): State<App>,
    IfMatch(version): IfMatch,
    Body(body): Body<PutPreferences>,
) -> Result<Changed<PreferencesView>, AppError> {
    let (changed, commit) = app::my_units::put_my_preferences(&app, &principal, version, body.values).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}
