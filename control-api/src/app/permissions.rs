//! The permissions there are: what routes ask for and the control API itself; and the copies of who holds them.

use std::collections::BTreeMap;

use authz::action::{ManagePermissionCache, ManageRoles};
use domain::{
    Permission,
    audit::{AuditEntry, Crud, Target},
};
use store::{Commit, read::*};

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
    let (store, of) = match principal.is_system() {
        true => (app.store.clone(), None),
        false => (app.store.within(site.scope()), Some(site.tenant)),
    };
    let found = store.route_permissions(of).await?.into_iter();
    let context = |is_staffs| if is_staffs { PermissionContext::Sys } else { PermissionContext::Tenant };
    let seen = found.filter(|(_, is_staffs)| principal.is_system() || !is_staffs);
    Ok(seen.map(|(permission, is_staffs)| (permission, context(is_staffs))).collect())
}
