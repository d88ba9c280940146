//! Menus as they are administered: a tenant's by its administrators and by staff, the staff's own by staff.

use authz::{Authorized, action::ManageMenus};
use domain::{
    MenuId, Permission, TenantId,
    model::{Menu, MenuKey, MenuOwner, MenuPath, NewMenu, Version},
};
use store::{
    Commit,
    list::{MenuList, Selection, Slice},
    read::*,
};

use crate::{App, caller::Principal, context::new_id, error::AppError};

/// Whose tree a request is about.
#[derive(Clone, Copy, Debug)]
pub struct MenuSite(MenuOwner);

/// An entry as it is asked for.
#[derive(Clone, Debug)]
pub struct MenuDraft {
    /// Its name in the tree.
    pub key: MenuKey,
    /// The entry it stands under.
    pub parent_id: Option<MenuId>,
    /// What is shown.
    pub title: String,
    /// Where it leads.
    pub path: Option<MenuPath>,
    /// What one must hold to see it.
    pub permission: Option<Permission>,
    /// Its place among its siblings.
    pub order: u32,
}

impl MenuSite {
    /// A tenant's principal means its own tenant's tree; staff that of the tenant it names, else the staff's own.
    ///
    /// # Errors
    /// Another tenant than one's own does not exist.
    pub async fn of(app: &App, principal: &Principal, named: Option<TenantId>) -> Result<Self, AppError> {
        if principal.is_system() && named.is_none() {
            return Ok(Self(MenuOwner::System));
        }
        let site = principal.site(app, named).await?;
        Ok(Self(MenuOwner::Tenant(site.project, site.tenant)))
    }

    fn authorize(self, principal: &Principal, verb: &str) -> Result<Authorized<ManageMenus>, AppError> {
        match self.0 {
            MenuOwner::System => principal.may::<ManageMenus>(verb),
            MenuOwner::Tenant(project, tenant) => {
                principal.may_in::<ManageMenus>(crate::caller::Site { project, tenant }, verb)
            }
        }
    }
}

/// The entries of a tree, as they are kept.
pub async fn list_menus(
    app: &App,
    principal: &Principal,
    site: MenuSite,
    asked: &Selection<MenuList>,
) -> Result<Slice<Menu>, AppError> {
    let by = site.authorize(principal, "list")?;
    Ok(app.store.within(by.scope()).list(site.0, asked).await?)
}

/// One entry.
pub async fn read_menu(app: &App, principal: &Principal, site: MenuSite, id: MenuId) -> Result<Menu, AppError> {
    let by = site.authorize(principal, "get")?;
    own(app.store.within(by.scope()).menu(id).await?, site)
}

/// Makes an entry.
pub async fn create_menu(
    app: &App,
    principal: &Principal,
    site: MenuSite,
    draft: MenuDraft,
) -> Result<(Menu, Commit), AppError> {
    let by = site.authorize(principal, "create")?;
    let new = NewMenu {
        id: new_id(&*app.clock),
        owner: site.0,
        key: draft.key,
        parent_id: draft.parent_id,
        title: draft.title,
        path: draft.path,
        permission: draft.permission,
        order: draft.order,
    };
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_menu(&by, new).await?).await?) }
        })
        .await
}

/// Replaces an entry; its key stays.
pub async fn replace_menu(
    app: &App,
    principal: &Principal,
    site: MenuSite,
    id: MenuId,
    version: Option<Version>,
    draft: MenuDraft,
) -> Result<(Menu, Commit), AppError> {
    let by = site.authorize(principal, "update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, draft) = (by.clone(), draft.clone());
            async move {
                let mut menu = own(tx.menu(id).await?, site)?;
                if menu.key != draft.key {
                    return Err(AppError::field("/key", "immutable", "a key never changes: favorites know it"));
                }
                menu.version = version.unwrap_or(menu.version);
                menu.parent_id = draft.parent_id;
                menu.title = draft.title;
                menu.path = draft.path;
                menu.permission = draft.permission;
                menu.order = draft.order;
                Ok(tx.updated(tx.update_menu(&by, menu).await?).await?)
            }
        })
        .await
}

/// Deletes an entry under which nothing stands.
pub async fn delete_menu(app: &App, principal: &Principal, site: MenuSite, id: MenuId) -> Result<Commit, AppError> {
    let by = site.authorize(principal, "delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            own(tx.menu(id).await?, site)?;
            Ok::<_, AppError>(tx.deleted(tx.delete_menu(&by, id).await?).await?)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// An entry of this tree; any other does not exist here.
fn own(found: Option<Menu>, site: MenuSite) -> Result<Menu, AppError> {
    found.filter(|menu| menu.owner == site.0).ok_or(AppError::NotFound("menu"))
}
