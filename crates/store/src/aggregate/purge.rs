//! The end of a tenant: after its hold, everything of it goes but its audit chain.

use authz::{Authorized, Scope, action::ManageTenants};
use domain::{
    HostnameId, ProjectId, RoleId, TenantId, Timestamp,
    audit::AuditEntry,
    model::{ProjectKind, Tenant},
};

use super::{needed, project::Projects, tenant::Tenants, within};
use crate::{
    Audited, StoreError, Tx,
    log::{
        audience,
        publish::{self, Effect},
    },
    value::values,
};

/// Tables with rows of tenants, in the order in which they are emptied: what refers before what is referred to. A test
/// looks for tables that are missing here. `hostnames` go one by one before, by whoever purges; `audit_events` stay.
const OF_TENANTS: [&str; 31] = [
    "webhook_deliveries",
    "webhooks",
    "outbox_events",
    "access_log",
    "unit_usage",
    "invitations",
    "group_members",
    "user_groups",
    "preferences",
    "break_glass",
    "provisionings",
    "menu_favorites",
    "menus",
    "certificate_bindings",
    "api_keys",
    "product_usage",
    "product_requests",
    "entitlements",
    "decisions",
    "login_challenges",
    "refresh_tokens",
    "sessions",
    "user_generations",
    "role_bindings",
    "roles",
    "left_memberships",
    "email_domain_proofs",
    "email_domains",
    "memberships",
    "org_units",
    "routes",
];

/// Tables with rows of projects that are no tenant's, in that order.
const OF_PROJECTS: [&str; 7] =
    ["login_failures", "recovery_codes", "totp_secrets", "users", "signing_keys", "issuers", "certificates"];

/// Every table that a purge empties.
pub fn purged_tables() -> impl Iterator<Item = &'static str> {
    OF_TENANTS.into_iter().chain(OF_PROJECTS)
}

impl Tx {
    /// Ends a tenant that was deleted at or before `then`, with its users who belong to no other, and a dedicated project
    /// that was its alone. Its hostnames were deleted before, in this transaction. Its audit chain stays, and the last row
    /// in it is this. None when another did, or it is not on hold for so long.
    ///
    /// # Errors
    /// [`StoreError::Reference`] while it has hostnames; [`StoreError::OutOfScope`].
    pub async fn purge_tenant(
        &self,
        by: &Authorized<ManageTenants>,
        id: TenantId,
        then: Timestamp,
    ) -> Result<Option<Audited<Tenant>>, StoreError> {
        let due = |tenant: &Tenant| tenant.deleted_at.is_some_and(|at| at <= then);
        let Some(tenant) = self.tenant(id).await?.filter(due) else { return Ok(None) };
        within(by, Scope::Project(tenant.project_id))?;
        // Before the tenant goes, so that it stands in the tenant's chain; the row's reference goes with the tenant.
        let gone = self.unaudited(tenant);
        let entry = AuditEntry { crud: domain::audit::Crud::D, ..AuditEntry::done(gone.peek(), "purged") };
        let gone = self.audit(entry, gone).await?;
        let project = gone.peek().project_id;

        let view = &self.work.view;
        let sql = "SELECT id FROM roles WHERE tenant_id = $1";
        let roles: Vec<RoleId> = view.all(sql, values![id], |row| row.at("id")).await?;
        let sql = "UPDATE customers SET break_glass_user_id = NULL
                   WHERE break_glass_user_id IN (SELECT user_id FROM break_glass WHERE tenant_id = $1)";
        view.execute(sql, values![id]).await?;
        // An entry of a menu refers to the one above it.
        view.execute("UPDATE menus SET parent_id = NULL WHERE tenant_id = $1", values![id]).await?;
        let sql = "INSERT INTO released_slugs (slug, issuer, customer_id, at)
                   SELECT tenants.slug, CASE WHEN projects.kind = 'dedicated' THEN projects.issuer END,
                       tenants.customer_id, $2
                   FROM tenants JOIN projects ON projects.id = tenants.project_id WHERE tenants.id = $1
                   ON CONFLICT (slug) DO UPDATE SET issuer = excluded.issuer, customer_id = excluded.customer_id,
                       at = excluded.at";
        view.execute(sql, values![id, self.work.now]).await?;
        // Emergency administrators stay as long as they are one.
        view.execute("DELETE FROM break_glass WHERE tenant_id = $1", values![id]).await?;
        let sql = "DELETE FROM users WHERE id IN (
                       SELECT user_id FROM memberships AS own WHERE own.tenant_id = $1
                           AND NOT EXISTS (SELECT 1 FROM memberships AS other
                                           WHERE other.user_id = own.user_id AND other.tenant_id <> $1))";
        view.execute(sql, values![id]).await?;
        for table in OF_TENANTS {
            view.execute(&format!("DELETE FROM {table} WHERE tenant_id = $1"), values![id]).await?;
        }
        view.execute("DELETE FROM tenants WHERE id = $1", values![id]).await?;
        for role in roles {
            publish::role(&self.work, role, Effect::Narrows).await?;
        }
        publish::purged_tenant(&self.work, id).await?;
        self.purge_project(by.scope(), project).await?;
        Ok(Some(gone))
    }

    /// A dedicated project goes with its last tenant.
    async fn purge_project(&self, scope: Scope, id: ProjectId) -> Result<(), StoreError> {
        let project = needed(self.project(id).await?, "project")?;
        let view = &self.work.view;
        let left = view.query("SELECT 1 AS one FROM tenants WHERE project_id = $1 LIMIT 1", values![id]).await?;
        if project.kind != ProjectKind::Dedicated || !left.is_empty() {
            return Ok(());
        }
        let sql = "SELECT id FROM issuers WHERE project_id = $1";
        let issuers = view.all(sql, values![id], |row| row.at("id")).await?;
        let sql = "SELECT id FROM certificates WHERE project_id = $1";
        let certificates = view.all(sql, values![id], |row| row.at("id")).await?;
        let sql = "SELECT id FROM hostnames WHERE project_id = $1";
        let hostnames: Vec<HostnameId> = view.all(sql, values![id], |row| row.at("id")).await?;
        for hostname in hostnames {
            let told = audience::of_hostname(view, hostname).await?;
            view.execute("DELETE FROM hostnames WHERE id = $1", values![hostname]).await?;
            audience::shift(&self.work, scope, &told, &audience::Told::new()).await?;
            publish::hostname(&self.work, hostname, Effect::Narrows).await?;
        }
        for table in OF_PROJECTS {
            view.execute(&format!("DELETE FROM {table} WHERE project_id = $1"), values![id]).await?;
        }
        view.execute("DELETE FROM projects WHERE id = $1", values![id]).await?;
        for issuer in issuers {
            publish::external_issuer(&self.work, issuer, Effect::Narrows).await?;
        }
        for certificate in certificates {
            publish::certificate(&self.work, certificate, Effect::Narrows).await?;
        }
        publish::purged_project(&self.work, id).await
    }
}
