//! `/v1/menus`: menus as they are administered, entry by entry.

use axum::{Json, extract::State};
use domain::{
    MenuId, Permission, TenantId, Timestamp,
    model::{Menu, MenuKey, MenuPath},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::MenuList;

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{
    App, app,
    app::menus::{MenuDraft, MenuSite},
    caller::Principal,
    envelope::Settle,
    error::AppError,
};

/// Longest title, in characters.
const MAX_TITLE: usize = 128;

/// An entry of a menu.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Menu")]
#[expect(missing_docs, reason = "as in `domain::model::Menu`")]
pub struct MenuView {
    pub id: MenuId,
    pub tenant_id: Option<TenantId>,
    pub key: MenuKey,
    pub parent_id: Option<MenuId>,
    pub title: String,
    pub path: Option<MenuPath>,
    pub permission: Option<Permission>,
    pub order: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Menu> for MenuView {
    fn from(it: Menu) -> Self {
        Self {
            id: it.id,
            tenant_id: it.owner.tenant(),
            key: it.key,
            parent_id: it.parent_id,
            title: it.title,
            path: it.path,
            permission: it.permission,
            order: it.order,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// An entry of a menu.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteMenu {
    /// Its name, unique in the tree. Cannot be changed later.
    key: MenuKey,
    /// The entry it stands under; none for the top. A tree has at most 8 levels.
    parent_id: Option<MenuId>,
    /// What is shown, 1 to 128 characters.
    title: String,
    /// Where it leads: a path of the front-end, `/orders`. None for one that only holds others.
    path: Option<MenuPath>,
    /// What one must hold to see it and what stands under it; none: everybody does.
    permission: Option<Permission>,
    /// Its place among its siblings, small ones first. Default 0.
    #[serde(default)]
    order: u32,
}

wire!(MenuView, WriteMenu);

impl TryFrom<WriteMenu> for MenuDraft {
    type Error = AppError;
    fn try_from(body: WriteMenu) -> Result<Self, AppError> {
        if !(1..=MAX_TITLE).contains(&body.title.chars().count()) || body.title.chars().any(char::is_control) {
            return Err(AppError::field("/title", "invalid", "1 to 128 characters, none of control"));
        }
        if body.permission.as_ref().is_some_and(Permission::is_wildcard) {
            return Err(AppError::field("/permission", "wildcard", "an entry asks for one permission"));
        }
        Ok(Self {
            key: body.key,
            parent_id: body.parent_id,
            title: body.title,
            path: body.path,
            permission: body.permission,
            order: body.order,
        })
    }
}

/// Lists a tenant's menu; for staff that names no tenant, the staff's own.
#[utoipa::path(get, path = "/v1/menus", tag = "menus", params(TenantQuery, ListQuery<MenuList>),
    responses((status = 200, body = List<MenuView>)), security(("bearer" = [])))]
pub async fn list_menus(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<MenuList>,
) -> Result<Json<List<MenuView>>, AppError> {
    let site = MenuSite::of(&app, &principal, query.tenant_id).await?;
    let found = app::menus::list_menus(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes an entry.
#[utoipa::path(post, path = "/v1/menus", tag = "menus", params(TenantQuery, WaitQuery), request_body = WriteMenu,
    responses((status = 201, body = MenuView)), security(("bearer" = [])))]
pub async fn create_menu(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<WriteMenu>,
) -> Result<Created<MenuView>, AppError> {
    let site = MenuSite::of(&app, &principal, query.tenant_id).await?;
    let (made, commit) = app::menus::create_menu(&app, &principal, site, body.try_into()?).await?;
    let location = format!("/v1/menus/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads an entry.
#[utoipa::path(get, path = "/v1/menus/{id}", tag = "menus", params(("id" = String, Path), TenantQuery),
    responses((status = 200, body = MenuView)), security(("bearer" = [])))]
pub async fn read_menu(
    principal: Principal,
    State(app): State<App>,
    At(id): At<MenuId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<One<MenuView>, AppError> {
    let site = MenuSite::of(&app, &principal, query.tenant_id).await?;
    let found = app::menus::read_menu(&app, &principal, site, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Replaces an entry; its key stays.
#[utoipa::path(put, path = "/v1/menus/{id}", tag = "menus", params(("id" = String, Path), TenantQuery, WaitQuery, IfMatch),
    request_body = WriteMenu, responses((status = 200, body = MenuView)), security(("bearer" = [])))]
pub async fn replace_menu(
    principal: Principal,
    State(app): State<App>,
    At(id): At<MenuId>,
    Asked(query): Asked<TenantQuery>,
    IfMatch(version): IfMatch,
    Body(body): Body<WriteMenu>,
) -> Result<Changed<MenuView>, AppError> {
    let site = MenuSite::of(&app, &principal, query.tenant_id).await?;
    let (changed, commit) = app::menus::replace_menu(&app, &principal, site, id, version, body.try_into()?).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Deletes an entry under which nothing stands.
#[utoipa::path(delete, path = "/v1/menus/{id}", tag = "menus",
    params(("id" = String, Path), TenantQuery, WaitQuery), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_menu(
    principal: Principal,
    State(app): State<App>,
    At(id): At<MenuId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Gone, AppError> {
    let site = MenuSite::of(&app, &principal, query.tenant_id).await?;
    let commit = app::menus::delete_menu(&app, &principal, site, id).await?;
    // The edge knows nothing of menus: nobody is waited for.
    Ok(Gone(Settle { commit: Some(commit), revokes: false }))
}
