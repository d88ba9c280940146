//! What a front-end starts with, on S3's paths: menus for both contexts, favorites and everything at once for tenants.

use axum::{Json, extract::State};
use domain::model::{MenuKey, MenuNode, ProductKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    extract::Body,
    schema::wire,
    sessions::{Info, at_door, who},
};
use crate::{App, app, app::login::Door, caller::Principal, error::AppError};

/// A menu as the caller sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MyMenus {
    /// The entries at the top, in order.
    menus: Vec<MenuNode>,
}

/// The caller's favorites.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MyFavorites {
    /// Keys of entries, in the order in which they were added.
    favorites: Vec<MenuKey>,
}

/// An entry that becomes a favorite, or is none any more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetFavorite {
    /// Key of the entry.
    menu_key: MenuKey,
    /// Whether it is one from now on.
    favorite: bool,
}

/// Everything a front-end starts with.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Init {
    /// Who the caller is and what it may do.
    info: Info,
    /// The menu as the caller sees it.
    menus: Vec<MenuNode>,
    /// Keys of the caller's favorites.
    favorites: Vec<MenuKey>,
    /// Products that the tenant may use now, sorted.
    products: Vec<ProductKey>,
}

wire!(MyMenus, MyFavorites, SetFavorite, Init);

async fn menus(app: App, principal: Principal, door: Door) -> Result<Json<MyMenus>, AppError> {
    at_door(&principal, door)?;
    let menus = app::navigation::list_my_menus(&app, &principal).await?;
    Ok(Json(MyMenus { menus }))
}

/// The tenant's menu, as far as the caller may see it.
#[utoipa::path(get, path = "/api/v1/tenant/auth/menus", tag = "tenant session",
    responses((status = 200, body = MyMenus)), security(("bearer" = [])))]
pub async fn tenant_menus(principal: Principal, State(app): State<App>) -> Result<Json<MyMenus>, AppError> {
    menus(app, principal, Door::Tenant).await
}

/// The staff's menu, as far as the caller may see it.
#[utoipa::path(get, path = "/api/v1/auth/menus", tag = "system session",
    responses((status = 200, body = MyMenus)), security(("bearer" = [])))]
pub async fn system_menus(principal: Principal, State(app): State<App>) -> Result<Json<MyMenus>, AppError> {
    menus(app, principal, Door::System).await
}

/// The caller's favorites.
#[utoipa::path(get, path = "/api/v1/tenant/auth/favorite", tag = "tenant session",
    responses((status = 200, body = MyFavorites)), security(("bearer" = [])))]
pub async fn list_favorites(principal: Principal, State(app): State<App>) -> Result<Json<MyFavorites>, AppError> {
    let favorites = app::navigation::list_favorites(&app, &principal).await?;
    Ok(Json(MyFavorites { favorites }))
}

/// Adds an entry of the menu to the caller's favorites, or takes it off.
#[utoipa::path(post, path = "/api/v1/tenant/auth/favorite", tag = "tenant session", request_body = SetFavorite,
    responses((status = 200, body = MyFavorites)), security(("bearer" = [])))]
pub async fn set_favorite(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<SetFavorite>,
) -> Result<Json<MyFavorites>, AppError> {
    app::navigation::set_favorite(&app, &principal, &body.menu_key, body.favorite).await?;
    let favorites = app::navigation::list_favorites(&app, &principal).await?;
    Ok(Json(MyFavorites { favorites }))
}

/// Everything a front-end starts with.
#[utoipa::path(get, path = "/api/v1/tenant/auth/init", tag = "tenant session",
    responses((status = 200, body = Init)), security(("bearer" = [])))]
pub async fn tenant_init(principal: Principal, State(app): State<App>) -> Result<Json<Init>, AppError> {
    let menus = app::navigation::list_my_menus(&app, &principal).await?;
    let favorites = app::navigation::list_favorites(&app, &principal).await?;
    let products = app::products::entitled(&app, principal.own_site()?).await?;
    let Json(info) = who(app, principal, Door::Tenant).await?;
    Ok(Json(Init { info, menus, favorites, products }))
}
