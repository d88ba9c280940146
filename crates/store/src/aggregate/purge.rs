//! The end of a tenant: after its hold, everything of it goes but its audit chain.
//!
//! ```text
//! on hold ─▶ announced, a day ahead ─▶ claimed ─▶ emptied of what is many, some at a time ─▶ the rest at once
//!                                        ▲                                              └─▶ failed: after a pause
//!                                        └── cut off, or not all in one go ◀───────────────────────┘
//! ```
//!
//! A deleted tenant does not come back, so what is many goes row by row before the tenant itself does: a purge that is cut
//! off goes on where it was.

use authz::{Authorized, Scope, action::ManageTenants};
use domain::{
    HostnameId, ProjectId, RoleId, TenantId, Timestamp, UserId,
    audit::AuditEntry,
    model::{ProjectKind, ProofRules, Tenant},
};

use super::{hostname::Hostnames, hostname_claim, needed, project::Projects, tenant::Tenants, within};
use crate::{
    Audited, SessionTx, Store, StoreError, Tx, Unaudited, View,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Value, values},
};

/// Rows that are deleted in one transaction.
const BATCH: u32 = 1000;

/// Tables of tenants that may hold many rows of one, each with its key; what refers before what is referred to.
const LONG: [(&str, &str); 18] = [
    ("webhook_deliveries", "id"),
    ("outbox_events", "id"),
    ("access_log", "request_id"),
    ("unit_usage", "tenant_id, ou_id, day, counter"),
    ("invitations", "id"),
    ("group_members", "group_id, user_id"),
    ("preferences", "tenant_id, user_id"),
    ("menu_favorites", "tenant_id, user_id, menu_id"),
    ("certificate_bindings", "id"),
    ("federated_identities", "id"),
    ("api_keys", "id"),
    ("product_usage", "tenant_id, product_id, span, counter"),
    ("product_requests", "id"),
    ("decisions", "request_id"),
    ("refresh_tokens", "hash"),
    ("sessions", "sid"),
    ("user_generations", "tenant_id, user_id"),
    ("role_bindings", "id"),
];

/// Tables with rows of tenants, in the order in which they are emptied: what refers before what is referred to. A test
/// looks for tables that are missing here. `hostnames` go one by one before, by whoever purges; `audit_events` stay.
const OF_TENANTS: [&str; 41] = [
    "login_policies",
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
    "machine_clients",
    "help_requests",
    "identity_steps",
    "identity_verifications",
    "login_challenges",
    "qr_logins",
    "oauth_codes",
    "oauth_states",
    "federated_identities",
    "identity_providers",
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
const OF_PROJECTS: [&str; 21] = [
    "login_failures",
    "used_passkey_challenges",
    "passkeys",
    "oauth_codes",
    "oauth_states",
    "oauth_waiting",
    "federated_identities",
    "identity_providers",
    "one_time_tokens",
    "one_time_codes",
    "mail_requests",
    "password_history",
    "account_deletions",
    "recovery_codes",
    "totp_secrets",
    "phone_numbers",
    "users",
    "project_credentials",
    "signing_keys",
    "issuers",
    "certificates",
];

/// Every table that a purge empties.
pub fn purged_tables() -> impl Iterator<Item = &'static str> {
    tenant_tables().chain(OF_PROJECTS)
}

/// Those of them with rows of tenants.
pub fn tenant_tables() -> impl Iterator<Item = &'static str> {
    OF_TENANTS.into_iter()
}

/// Which deleted tenants are to be purged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PurgeDue {
    /// Deleted at or before.
    pub deleted: Timestamp,
    /// Announced at or before.
    pub announced: Timestamp,
    /// It is now.
    pub now: Timestamp,
}

/// Reads of what is to be purged.
pub trait Purges: Reader {
    /// Tenants that were deleted at or before `then`, and of which nobody was told yet that they will be purged.
    fn unannounced_purges(
        &self,
        (then, now): (Timestamp, Timestamp),
        limit: u32,
    ) -> impl Future<Output = Result<Vec<TenantId>, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM tenants WHERE deleted_at IS NOT NULL AND deleted_at <= $1
                           AND purge_announced_at IS NULL AND (left_alone_until IS NULL OR left_alone_until <= $2)
                       ORDER BY deleted_at, id LIMIT $3";
            self.view().await?.all(sql, values![then, now, limit], |row| row.at("id")).await
        }
    }

    /// Tenants to be purged, those first whose turn it has been for longest, each with how often that failed.
    fn due_purges(
        &self,
        due: PurgeDue,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<(TenantId, u32)>, StoreError>> + Send {
        async move {
            let sql = "SELECT id, purge_failures FROM tenants WHERE deleted_at IS NOT NULL AND deleted_at <= $1
                           AND purge_announced_at <= $2 AND (left_alone_until IS NULL OR left_alone_until <= $3)
                           AND (purge_at IS NULL OR purge_at <= $3)
                       ORDER BY COALESCE(purge_at, deleted_at), id LIMIT $4";
            let all = values![due.deleted, due.announced, due.now, limit];
            self.view().await?.all(sql, all, |row| Ok((row.at("id")?, row.at("purge_failures")?))).await
        }
    }

    /// How many purges were begun since, or ended since.
    fn purged_since(&self, since: Timestamp) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async move {
            let sql = "SELECT (SELECT COUNT(*) FROM released_slugs WHERE at > $1)
                           + (SELECT COUNT(*) FROM tenants WHERE purge_begun_at > $1) AS purged";
            let read = self.view().await?.first(sql, values![since], |row| row.at("purged")).await?;
            Ok(read.unwrap_or_default())
        }
    }
}
impl<R: Reader> Purges for R {}

impl SessionTx {
    /// Takes a purge on that is due; nobody else does until `until`. Of any number who try at once one succeeds; none does
    /// that would begin one more than `most` since then.
    ///
    /// # Errors
    /// Of the database.
    pub async fn claim_purge(
        &self,
        id: TenantId,
        due: PurgeDue,
        until: Timestamp,
        (since, most): (Timestamp, u64),
    ) -> Result<bool, StoreError> {
        let view = &self.work.view;
        // One after the other: of those who count at once none would see the other.
        let sql = "INSERT INTO turns (job, next_at) VALUES ('purge', 0) ON CONFLICT (job) DO UPDATE SET next_at = 0";
        view.execute(sql, Vec::new()).await?;
        let room = view.purged_since(since).await? < most;
        let sql = "UPDATE tenants SET purge_at = $2, purge_begun_at = COALESCE(purge_begun_at, $3)
                   WHERE id = $1 AND deleted_at <= $4 AND purge_announced_at <= $5
                       AND (left_alone_until IS NULL OR left_alone_until <= $3)
                       AND (purge_at IS NULL OR purge_at <= $3) AND (purge_begun_at IS NOT NULL OR $6)";
        let all = values![id, until, due.now, due.deleted, due.announced, room];
        Ok(view.execute(sql, all).await? == 1)
    }

    /// Has a purge that was taken on, and is not over, go on at `at`; it has failed so often in a row.
    ///
    /// # Errors
    /// Of the database.
    pub async fn put_off_purge(&self, id: TenantId, at: Timestamp, failures: u32) -> Result<(), StoreError> {
        let sql = "UPDATE tenants SET purge_at = $2, purge_failures = $3 WHERE id = $1";
        self.work.view.execute(sql, values![id, at, failures]).await.map(drop)
    }
}

impl Store {
    /// Takes away what is many of a tenant that was deleted at or before `then`, in at most so many transactions of 1000
    /// rows each; whoever does has [claimed](SessionTx::claim_purge) the purge. Whether nothing of it is left.
    ///
    /// # Errors
    /// Of the database. What was deleted until then stays deleted.
    pub async fn empty_tenant(&self, id: TenantId, then: Timestamp, mut batches: u32) -> Result<bool, StoreError> {
        // A deleted tenant does not come back: it is enough to look once.
        if self.tenant(id).await?.is_some_and(|tenant| tenant.deleted_at.is_none_or(|at| at > then)) {
            return Ok(false);
        }
        for (table, key) in LONG {
            let sql = format!(
                "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE tenant_id = $1 LIMIT {BATCH})"
            );
            loop {
                let Some(left) = batches.checked_sub(1) else { return Ok(false) };
                batches = left;
                let view = self.begin_state().await?;
                let deleted = view.execute(&sql, values![id]).await?;
                view.commit().await?;
                if deleted < u64::from(BATCH) {
                    break;
                }
            }
        }
        loop {
            let Some(left) = batches.checked_sub(1) else { return Ok(false) };
            batches = left;
            let view = self.begin_state().await?;
            let found = purge_users(&view, id).await?;
            view.commit().await?;
            if found == 0 {
                return Ok(true);
            }
        }
    }
}

/// Deletes some users who are members of this tenant and of no other; says how many there were. Emergency administrators
/// stay as long as they are one.
async fn purge_users(view: &View, tenant: TenantId) -> Result<usize, StoreError> {
    // First the lock, without which somebody may become a member elsewhere; then what is so under it.
    let alone =
        "NOT EXISTS (SELECT 1 FROM memberships AS other WHERE other.user_id = users.id AND other.tenant_id <> $1)";
    let sql = view.locking(&format!(
        "SELECT id FROM users WHERE id IN (SELECT user_id FROM memberships WHERE tenant_id = $1) AND {alone}
             AND NOT EXISTS (SELECT 1 FROM break_glass WHERE break_glass.user_id = users.id)
         ORDER BY id LIMIT {BATCH}"
    ));
    let users: Vec<UserId> = view.all(&sql, values![tenant], |row| row.at("id")).await?;
    if users.is_empty() {
        return Ok(0);
    }
    let numbers: Vec<String> = (2..2 + users.len()).map(|number| format!("${number}")).collect();
    let sql = format!("DELETE FROM users WHERE id IN ({}) AND {alone}", numbers.join(", "));
    let all = values![tenant].into_iter().chain(users.iter().copied().map(Value::from)).collect();
    view.execute(&sql, all).await?;
    Ok(users.len())
}

impl Tx {
    /// Says of a tenant that was deleted at or before `then` that it will be purged. None when another did.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`].
    pub async fn announce_purge(
        &self,
        by: &Authorized<ManageTenants>,
        id: TenantId,
        then: Timestamp,
    ) -> Result<Option<Unaudited<Tenant>>, StoreError> {
        let Some(tenant) = self.tenant(id).await? else { return Ok(None) };
        within(by, Scope::Project(tenant.project_id))?;
        let sql = "UPDATE tenants SET purge_announced_at = $3
                   WHERE id = $1 AND deleted_at <= $2 AND purge_announced_at IS NULL";
        let announced = self.work.view.execute(sql, values![id, then, self.work.now]).await? == 1;
        Ok(announced.then(|| self.unaudited(tenant)))
    }

    /// Ends a tenant that was deleted at or before `then`, with its users who belong to no other, and a dedicated project
    /// that was its alone, whose hostnames are nobody else's for as long as `rules` say. Its own hostnames were deleted
    /// before. Its audit chain stays, and the last row in it is this. None when another did, or it is not on hold for so
    /// long.
    ///
    /// # Errors
    /// [`StoreError::Reference`] while it has hostnames; [`StoreError::OutOfScope`].
    pub async fn purge_tenant(
        &self,
        by: &Authorized<ManageTenants>,
        id: TenantId,
        then: Timestamp,
        rules: &ProofRules,
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
        self.purge_project(by.scope(), project, rules).await?;
        Ok(Some(gone))
    }

    /// A dedicated project goes with its last tenant.
    async fn purge_project(&self, scope: Scope, id: ProjectId, rules: &ProofRules) -> Result<(), StoreError> {
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
            let hostname = needed(self.hostname(hostname).await?, "hostname")?;
            hostname_claim::release(&self.work, scope, &hostname, rules).await?;
            self.deleted(self.unaudited(hostname)).await?;
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
