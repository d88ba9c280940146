//! The demo's menus: one for each demo tenant, one for the platform's staff.

use authz::{Authorized, action::ManageMenus};
use control_api::{App, AppError};
use domain::{
    Id, MenuId,
    model::{MenuOwner, NewMenu},
};
use store::{Audited, StoreError, read::*};
use uuid::Uuid;

use super::{JOB, SeedError};

/// An entry: its key, the key of the one it stands under, what is shown, where it leads, what one must hold to see it.
/// Siblings stand in the order of these lists.
struct Entry(&'static str, Option<&'static str>, &'static str, Option<&'static str>, Option<&'static str>);

/// Of a tenant's front-end.
const TENANT: [Entry; 8] = [
    Entry("home", None, "Home", Some("/"), None),
    Entry("orders", None, "Orders", None, None),
    Entry("orders.list", Some("orders"), "All orders", Some("/demo/orders"), Some("demo:order:list")),
    Entry("orders.new", Some("orders"), "New order", Some("/demo/orders?new"), Some("demo:order:create")),
    Entry("team", None, "Team", None, None),
    Entry("team.users", Some("team"), "Users", Some("/team/users"), Some("tenant:user:list")),
    Entry("team.roles", Some("team"), "Roles", Some("/team/roles"), Some("tenant:role:list")),
    Entry("team.audit", Some("team"), "Audit trail", Some("/team/audit"), Some("tenant:audit:list")),
];

/// Of the staff's console.
const STAFF: [Entry; 4] = [
    Entry("tenants", None, "Tenants", Some("/tenants"), Some("platform:tenant:list")),
    Entry("edge", None, "Edge", None, None),
    Entry("edge.hostnames", Some("edge"), "Hostnames", Some("/hostnames"), Some("platform:hostname:list")),
    Entry("edge.gateways", Some("edge"), "Gateways", Some("/gateways"), Some("platform:gateway:list")),
];

/// Gives a demo tenant its menu.
pub(super) async fn ensure_tenants(app: &App, slug: &str) -> Result<(), SeedError> {
    let tenant = app.store.tenant_by_slug(slug).await?.ok_or(AppError::NotFound("tenant"))?;
    ensure(app, MenuOwner::Tenant(tenant.project_id, tenant.id), &TENANT).await
}

/// Gives the staff its menu.
pub(super) async fn ensure_staffs(app: &App) -> Result<(), SeedError> {
    ensure(app, MenuOwner::System, &STAFF).await
}

/// All of it or nothing, and nothing where there is a menu already.
async fn ensure(app: &App, owner: MenuOwner, entries: &[Entry]) -> Result<(), SeedError> {
    if !app.store.menus(owner).await?.is_empty() {
        return Ok(());
    }
    let mut news: Vec<NewMenu> = Vec::with_capacity(entries.len());
    for (order, Entry(key, parent, title, path, permission)) in (0_u32..).zip(entries) {
        let id: MenuId = Id::new(Uuid::new_v4());
        let parent_id = news.iter().find(|it| Some(it.key.as_str()) == *parent).map(|it| it.id);
        news.push(NewMenu {
            id,
            owner,
            key: key.parse().map_err(unreadable)?,
            parent_id,
            title: (*title).into(),
            path: path.map(str::parse).transpose().map_err(unreadable)?,
            permission: permission.map(str::parse).transpose().map_err(unreadable)?,
            order,
        });
    }
    let by: Authorized<ManageMenus> = Authorized::system(JOB);
    let (by, news) = (&by, &news);
    app.store
        .write(by, app.now(), |tx| async move {
            for new in news {
                tx.created(tx.insert_menu(by, new.clone()).await?).await?;
            }
            Ok::<_, StoreError>(Audited::unchanged(()))
        })
        .await?;
    Ok(())
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> SeedError {
    AppError::internal("an entry of the demo's menus cannot be read", error).into()
}
