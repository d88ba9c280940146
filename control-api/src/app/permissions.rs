//! The permissions there are: what routes ask for and the control API itself; and the copies of who holds them.

use std::collections::BTreeMap;

use authz::action::{ManagePermissionCache, ManageRoles};
use domain::{
    Permission,
    audit::{AuditEntry, Crud, Target},
    snapshot::Access,
};
use store::{Commit, Page, read::*};

use crate::{
    App,
    caller::{Principal, Site},
    error::AppError,
};

/// Where a permission counts.
#[derive(
    Clone,
    Copy,
    Debug,
    Eq,
    Ord,
    PartialEq,
    PartialOrd,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PermissionContext {
    /// For a tenant's principals.
    Tenant,
    /// For the platform's staff.
    Sys,
}

impl PermissionContext {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Sys => "sys",
        }
    }
}

/// Drops every gateway's cached bindings.
pub async fn drop_permission_cache(app: &App, principal: &Principal) -> Result<Commit, AppError> {
    let by = principal.may::<ManagePermissionCache>("delete")?;
    let dropped = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            let entry = AuditEntry {
                action: "permission_cache.dropped".into(),
                crud: Crud::D,
                target: Target { kind: "permission_cache".into(), id: "all".into(), name: "all".into() },
                project_id: None,
                tenant_id: None,
                is_failure: false,
                fields: serde_json::Value::Null,
            };
            Ok::<_, AppError>(tx.audit(entry, tx.drop_cached_bindings(&by).await?).await?)
        }
    });
    let ((), commit): ((), Commit) = dropped.await?;
    Ok(commit)
}

/// What routes ask for, with its context. Staff sees both contexts, a tenant's principals their own.
pub async fn list_permissions(
    app: &App,
    principal: &Principal,
    site: Site,
) -> Result<BTreeMap<Permission, PermissionContext>, AppError> {
    principal.may_in::<ManageRoles>(site, "list")?;
    asked(app, principal, site).await
}

/// What routes ask for. Who may know is the caller's to say.
pub(super) async fn asked(
    app: &App,
    principal: &Principal,
    site: Site,
) -> Result<BTreeMap<Permission, PermissionContext>, AppError> {
    let store = if principal.is_system() { app.store.clone() } else { app.store.within(site.scope()) };
    let (mut found, mut page) = (BTreeMap::new(), Page::WIDEST);
    loop {
        let routes = store.all_routes(page).await?;
        let full = routes.len() >= usize::try_from(page.limit).unwrap_or(usize::MAX);
        page.after = routes.last().map(|route| route.rule.id.uuid());
        for route in routes {
            match route.rule.access {
                Access::Permission(permission) => _ = found.insert(permission, PermissionContext::Tenant),
                Access::Platform(permission) if principal.is_system() => {
                    found.insert(permission, PermissionContext::Sys);
                }
                Access::Platform(_) | Access::Public | Access::Optional | Access::Authenticated => {}
            }
        }
        if !full {
            return Ok(found);
        }
    }
}
