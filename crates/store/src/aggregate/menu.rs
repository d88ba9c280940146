//! Menus: one tree for each tenant, one for the platform's staff.

use authz::{Authorized, Scope, action::ManageMenus};
use domain::{
    MenuId,
    model::{
        Menu, MenuOwner, MenuPlaceError, NewMenu, Version,
        menu::{MAX_ENTRIES, check_place},
    },
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one, scope_of, swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM menus";

fn read(row: &Row) -> Result<Menu, StoreError> {
    let owner = match (row.at("project_id")?, row.at("tenant_id")?) {
        (Some(project), Some(tenant)) => MenuOwner::Tenant(project, tenant),
        (None, None) => MenuOwner::System,
        _ => return Err(StoreError::corrupt("tenant_id", "project and tenant are there or absent together")),
    };
    Ok(Menu {
        id: row.at("id")?,
        owner,
        key: row.parsed("key")?,
        parent_id: row.at("parent_id")?,
        title: row.at("title")?,
        path: row.word_opt("path")?,
        permission: row.word_opt("permission")?,
        order: row.at("place")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of the entries of one tree.
#[derive(Debug)]
pub enum MenuList {}

impl Listing for MenuList {
    type Item = Menu;
    type Of = MenuOwner;
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose key holds this, in any case.", "key LIKE ? ESCAPE '!'"),
        Filter::new("parent_id", "That stand under this entry.", Takes::Id, "parent_id = ?"),
        Filter::new("permission", "That ask for this permission.", Takes::Text, "permission = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("key", "key"), Sortable::number("order", "place"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE (tenant_id = $1 OR ($1 IS NULL AND tenant_id IS NULL))")
    }
    fn item(row: &Cells<'_>) -> Result<Menu, StoreError> {
        read(row.0)
    }
}

/// Reads of menus.
pub trait Menus: Reader {
    /// The entry of this id.
    fn menu(&self, id: MenuId) -> impl Future<Output = Result<Option<Menu>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// A whole tree, in the order of ids; at most [`MAX_ENTRIES`].
    fn menus(&self, owner: MenuOwner) -> impl Future<Output = Result<Vec<Menu>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            match owner.tenant() {
                Some(tenant) => {
                    view.all(&format!("{SELECT} WHERE tenant_id = $1 ORDER BY id"), values![tenant], read).await
                }
                None => view.all(&format!("{SELECT} WHERE tenant_id IS NULL ORDER BY id"), Vec::new(), read).await,
            }
        }
    }
}
impl<R: Reader> Menus for R {}

impl Tx {
    /// Makes an entry.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `menus(key)`; [`StoreError::Rule`] (`menu_depth`, `menu_parent`, `menu_full`) where
    /// the tree does not take it; [`StoreError::OutOfScope`] for another's tree.
    pub async fn insert_menu(&self, by: &Authorized<ManageMenus>, new: NewMenu) -> Result<Unaudited<Menu>, StoreError> {
        within(by, scope(new.owner))?;
        let tree = self.menus(new.owner).await?;
        if tree.len() >= MAX_ENTRIES {
            return Err(StoreError::rule("menu_full", format!("a tree has at most {MAX_ENTRIES} entries")));
        }
        check_place(&tree, new.id, new.parent_id).map_err(misplaced)?;
        let now = self.work.now;
        let menu = Menu {
            id: new.id,
            owner: new.owner,
            key: new.key,
            parent_id: new.parent_id,
            title: new.title,
            path: new.path,
            permission: new.permission,
            order: new.order,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let mut all = values![menu.id, menu.owner.project(), menu.owner.tenant(), menu.key.as_str(), now];
        all.extend(columns(&menu));
        self.work
            .view
            .execute(
                "INSERT INTO menus (id, project_id, tenant_id, key, created_at, updated_at, parent_id, title, path,
                     permission, place, version)
                 VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10, 1)",
                all,
            )
            .await?;
        Ok(self.unaudited(menu))
    }

    /// Changes an entry: all but whose it is and its key.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`menu_cycle`, `menu_depth`, `menu_parent`); [`StoreError::VersionMismatch`],
    /// [`StoreError::NotFound`], [`StoreError::OutOfScope`].
    pub async fn update_menu(
        &self,
        by: &Authorized<ManageMenus>,
        changed: Menu,
    ) -> Result<Unaudited<Menu>, StoreError> {
        let before = needed(self.menu(changed.id).await?, "menu")?;
        within(by, scope(before.owner))?;
        check_place(&self.menus(before.owner).await?, before.id, changed.parent_id).map_err(misplaced)?;
        let mut changed = Menu { owner: before.owner, key: before.key, ..changed };
        let mut all = columns(&changed);
        all.push(self.work.now.into());
        let assignments = "parent_id = $3, title = $4, path = $5, permission = $6, place = $7, updated_at = $8";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "menu", "menus", key, assignments, all).await?;
        changed.updated_at = self.work.now;
        Ok(self.unaudited(changed))
    }

    /// Deletes an entry under which nothing stands, and its place among favorites.
    ///
    /// # Errors
    /// [`StoreError::Reference`] while something stands under it; [`StoreError::NotFound`],
    /// [`StoreError::OutOfScope`].
    pub async fn delete_menu(&self, by: &Authorized<ManageMenus>, id: MenuId) -> Result<Unaudited<Menu>, StoreError> {
        let menu = needed(self.menu(id).await?, "menu")?;
        within(by, scope(menu.owner))?;
        one(&self.work.view, "menu", "DELETE FROM menus WHERE id = $1", values![id]).await?;
        Ok(self.unaudited(menu))
    }
}

fn scope(owner: MenuOwner) -> Scope {
    scope_of(owner.project(), owner.tenant())
}

fn misplaced(error: MenuPlaceError) -> StoreError {
    let code = match error {
        MenuPlaceError::Cycle => "menu_cycle",
        MenuPlaceError::TooDeep => "menu_depth",
        MenuPlaceError::ParentUnknown => "menu_parent",
    };
    StoreError::rule(code, error.to_string())
}

/// From `parent_id` to `place`, in the order of the statements above.
fn columns(it: &Menu) -> Vec<Value> {
    vec![
        it.parent_id.into(),
        (&it.title).into(),
        it.path.as_ref().map(ToString::to_string).into(),
        it.permission.as_ref().map(ToString::to_string).into(),
        it.order.into(),
    ]
}
