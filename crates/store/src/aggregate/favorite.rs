//! Favorites: entries of a tenant's menu that a member keeps at hand.

use domain::{MenuId, ProjectId, TenantId, UserId, model::MenuKey};

use crate::{SessionTx, StoreError, tx::Reader, value::values};

/// Reads of favorites.
pub trait Favorites: Reader {
    /// A member's favorites in a tenant, in the order in which they were added.
    fn favorites(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> impl Future<Output = Result<Vec<MenuKey>, StoreError>> + Send {
        async move {
            let sql = "SELECT menus.key FROM menu_favorites JOIN menus ON menus.id = menu_favorites.menu_id
                       WHERE menu_favorites.tenant_id = $1 AND menu_favorites.user_id = $2
                       ORDER BY menu_favorites.created_at, menus.key";
            self.view().await?.all(sql, values![tenant, user], |row| row.parsed("key")).await
        }
    }
}
impl<R: Reader> Favorites for R {}

impl SessionTx {
    /// Adds an entry to a member's favorites; false when it was one.
    ///
    /// # Errors
    /// [`StoreError::Reference`] for an entry of another tenant's, or a user who is no member.
    pub async fn insert_favorite(
        &self,
        project: ProjectId,
        tenant: TenantId,
        user: UserId,
        menu: MenuId,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO menu_favorites (project_id, tenant_id, user_id, menu_id, created_at)
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, user_id, menu_id) DO NOTHING";
        let values = values![project, tenant, user, menu, self.work.now];
        Ok(self.work.view.execute(sql, values).await? == 1)
    }

    /// Takes an entry off a member's favorites; false when it was none.
    ///
    /// # Errors
    /// Of the database.
    pub async fn delete_favorite(&self, tenant: TenantId, user: UserId, menu: MenuId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM menu_favorites WHERE tenant_id = $1 AND user_id = $2 AND menu_id = $3";
        Ok(self.work.view.execute(sql, values![tenant, user, menu]).await? == 1)
    }
}
