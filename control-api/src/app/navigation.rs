//! What a front-end starts with: the caller's menu and favorites.

use domain::{
    audit::{AuditEntry, Crud, Target},
    model::{Menu, MenuKey, MenuNode, MenuOwner, menu},
};
use serde_json::json;
use store::read::*;

use crate::{App, caller::Principal, error::AppError};

/// The menu of the caller's context, as far as the caller may see it.
pub async fn list_my_menus(app: &App, principal: &Principal) -> Result<Vec<MenuNode>, AppError> {
    let entries = entries(app, principal).await?;
    Ok(menu::tree(&entries, |permission| principal.caller.may(permission)))
}

/// The caller's favorites, as far as the menu still shows them.
pub async fn list_favorites(app: &App, principal: &Principal) -> Result<Vec<MenuKey>, AppError> {
    let site = principal.own_site()?;
    let shown = keys(&list_my_menus(app, principal).await?);
    let mut favorites = app.store.within(site.scope()).favorites(site.tenant, principal.user).await?;
    favorites.retain(|key| shown.contains(key));
    Ok(favorites)
}

/// Adds an entry to the caller's favorites, or takes it off. What the menu does not show the caller does not exist.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn set_favorite(app: &App, principal: &Principal, key: &MenuKey, on: bool) -> Result<(), AppError> {
    let site = principal.own_site()?;
    let entries = entries(app, principal).await?;
    let shown = keys(&menu::tree(&entries, |permission| principal.caller.may(permission)));
    let entry = entries.iter().find(|entry| entry.key == *key && shown.contains(key));
    let id = entry.ok_or(AppError::NotFound("menu"))?.id;
    let (verb, crud) = if on { ("favorite.created", Crud::C) } else { ("favorite.deleted", Crud::D) };
    let audit = AuditEntry {
        action: verb.into(),
        crud,
        target: Target { kind: "menu".into(), id: id.to_string(), name: key.to_string() },
        project_id: Some(site.project),
        tenant_id: Some(site.tenant),
        is_failure: false,
        fields: json!({}),
    };
    let (actor, origin, audit) = (&principal.caller.actor, &principal.caller.origin, &audit);
    let set = app.store.write_session(site.scope(), app.now(), |tx| async move {
        let changed = match on {
            true => tx.insert_favorite(site.project, site.tenant, principal.user, id).await?,
            false => tx.delete_favorite(site.tenant, principal.user, id).await?,
        };
        if changed {
            tx.record(actor, origin, audit).await?;
        }
        Ok::<_, AppError>(())
    });
    set.await
}

/// All entries of the caller's context.
async fn entries(app: &App, principal: &Principal) -> Result<Vec<Menu>, AppError> {
    if principal.is_system() {
        return Ok(app.store.menus(MenuOwner::System).await?);
    }
    let site = principal.own_site()?;
    Ok(app.store.within(site.scope()).menus(MenuOwner::Tenant(site.project, site.tenant)).await?)
}

fn keys(nodes: &[MenuNode]) -> Vec<MenuKey> {
    nodes.iter().flat_map(|node| std::iter::once(node.key.clone()).chain(keys(&node.children))).collect()
}
