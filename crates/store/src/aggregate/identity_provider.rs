//! Identity providers, of tenants and of projects. Their secrets are sealed. One that is deleted is nobody's any more at once; the
//! row goes when the last of its identities has gone.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageIdentityProviders};
use domain::{
    IdentityProviderId, ProjectId, Secret, TenantId, Timestamp,
    model::{
        IdentityProvider, NewIdentityProvider, ProviderKey, ProviderKind, Version, identity_provider::MAX_PROVIDERS,
    },
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, scope_of, swap, within,
};
use crate::{
    SessionTx, Store, StoreError, Tx, Unaudited, View,
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, Value, values},
};

/// By less than this the clocks of two replicas differ: what one opened a moment after another changed a provider may have been opened before.
const CLOCKS: Duration = Duration::from_secs(5);

const SELECT: &str = "SELECT * FROM identity_providers WHERE deleted_at IS NULL";

fn place(id: IdentityProviderId) -> String {
    format!("identity_providers.secret_enc:{id}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "identity_providers",
    column: "secret_enc",
    key: &["id"],
    place: |row| Ok(place(row.at("id")?)),
};

fn read(row: &Row) -> Result<IdentityProvider, StoreError> {
    Ok(IdentityProvider {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        key: row.parsed("key")?,
        kind: row.word("kind")?,
        name: row.at("name")?,
        display_order: row.at("display_order")?,
        enabled: row.at("enabled")?,
        client_id: row.at("client_id")?,
        has_secret: row.at::<Option<Vec<u8>>>("secret_enc")?.is_some(),
        options: row.json("options")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

const KINDS: [&str; 5] = [
    ProviderKind::Google.name(),
    ProviderKind::Microsoft.name(),
    ProviderKind::Github.name(),
    ProviderKind::Apple.name(),
    ProviderKind::Oidc.name(),
];

const FILTERS: &[Filter] = &[
    Filter::new("kind", "That speak this.", Takes::Word(&KINDS), "kind = ?"),
    Filter::new("enabled", "Whether people sign in through them.", Takes::Flag, "enabled = ?"),
    Filter::since("created_at >= ?"),
    Filter::until("created_at < ?"),
];

const SORTS: &[Sortable] =
    &[Sortable::time("display_order", "display_order"), Sortable::time("created_at", "created_at")];

/// The list of a tenant's identity providers.
#[derive(Debug)]
pub enum TenantProviderList {}

impl Listing for TenantProviderList {
    type Item = IdentityProvider;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = FILTERS;
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!("{SELECT} AND tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<IdentityProvider, StoreError> {
        read(row.0)
    }
}

/// The list of those that a project has for all its tenants.
#[derive(Debug)]
pub enum ProjectProviderList {}

impl Listing for ProjectProviderList {
    type Item = IdentityProvider;
    type Of = ProjectId;
    const FILTERS: &'static [Filter] = FILTERS;
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!("{SELECT} AND project_id = $1 AND tenant_id IS NULL")
    }
    fn item(row: &Cells<'_>) -> Result<IdentityProvider, StoreError> {
        read(row.0)
    }
}

/// Reads of identity providers.
pub trait IdentityProviders: Reader {
    /// The provider of this id.
    fn identity_provider(
        &self,
        id: IdentityProviderId,
    ) -> impl Future<Output = Result<Option<IdentityProvider>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} AND id = $1"), values![id], read).await }
    }

    /// A tenant's provider of this key, or without a tenant the project's own.
    fn identity_provider_by_key(
        &self,
        project: ProjectId,
        tenant: Option<TenantId>,
        key: &ProviderKey,
    ) -> impl Future<Output = Result<Option<IdentityProvider>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            match tenant {
                Some(tenant) => {
                    let sql = format!("{SELECT} AND project_id = $1 AND tenant_id = $2 AND key = $3");
                    view.first(&sql, values![project, tenant, key.as_str()], read).await
                }
                None => {
                    let sql = format!("{SELECT} AND project_id = $1 AND tenant_id IS NULL AND key = $2");
                    view.first(&sql, values![project, key.as_str()], read).await
                }
            }
        }
    }

    /// Its secret.
    fn identity_provider_secret(
        &self,
        id: IdentityProviderId,
    ) -> impl Future<Output = Result<Option<Secret<String>>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let sql = format!("{SELECT} AND id = $1");
            let sealed = view.first(&sql, values![id], |row| row.at::<Option<Vec<u8>>>("secret_enc")).await?.flatten();
            let Some(sealed) = sealed else { return Ok(None) };
            let plain = view.sealer().open(&place(id), &sealed)?;
            let text = String::from_utf8(plain.expose().clone()).map_err(|e| StoreError::corrupt("secret_enc", e))?;
            Ok(Some(Secret::new(text)))
        }
    }
}
impl<R: Reader> IdentityProviders for R {}

impl Tx {
    /// Makes a provider.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a key that is taken; [`StoreError::Rule`] (`identity_provider_limit`) where there are
    /// [`MAX_PROVIDERS`]; [`StoreError::OutOfScope`].
    pub async fn insert_identity_provider(
        &self,
        by: &Authorized<ManageIdentityProviders>,
        new: NewIdentityProvider,
    ) -> Result<Unaudited<IdentityProvider>, StoreError> {
        within(by, scope_of(Some(new.project_id), new.tenant_id))?;
        let view = &self.work.view;
        // One after the other: of those who count at once none would see the other.
        view.query(&view.locking("SELECT id FROM projects WHERE id = $1"), values![new.project_id]).await?;
        let sql = "SELECT COUNT(*) AS there FROM identity_providers
                   WHERE project_id = $1 AND deleted_at IS NULL AND COALESCE(tenant_id, project_id) = $2";
        let owner = new.tenant_id.map_or(new.project_id.uuid(), TenantId::uuid);
        let there = view.first(sql, values![new.project_id, owner], |row| row.at::<u64>("there")).await?.unwrap_or(0);
        if there >= MAX_PROVIDERS {
            let detail = format!("there are {MAX_PROVIDERS} identity providers at most");
            return Err(StoreError::rule("identity_provider_limit", detail));
        }
        let secret = self.sealed(new.id, new.secret.as_ref())?;
        let mut all = values![new.id, new.project_id, new.tenant_id, new.key.as_str()];
        all.push(Value::word(&new.kind));
        all.extend(values![new.name, new.display_order, new.enabled, new.client_id, secret]);
        all.extend([Value::json(&new.options)?, self.work.now.into()]);
        let sql = "INSERT INTO identity_providers (id, project_id, tenant_id, key, kind, name, display_order, enabled,
                       client_id, secret_enc, options, created_at, updated_at, version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, 1)";
        view.execute(sql, all).await?;
        Ok(self.unaudited(needed(self.identity_provider(new.id).await?, "identity-provider")?))
    }

    /// Changes what people are shown, the client, and what is asked of it; with `secret`, that too. Key, kind and place stay.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::OutOfScope`].
    pub async fn update_identity_provider(
        &self,
        by: &Authorized<ManageIdentityProviders>,
        changed: IdentityProvider,
        secret: Option<&Secret<String>>,
    ) -> Result<Unaudited<IdentityProvider>, StoreError> {
        let before = needed(self.identity_provider(changed.id).await?, "identity-provider")?;
        within(by, scope_of(Some(before.project_id), before.tenant_id))?;
        let mut all = values![&changed.name, changed.display_order, changed.enabled, &changed.client_id];
        all.extend([Value::json(&changed.options)?, self.work.now.into()]);
        all.push(self.sealed(changed.id, secret)?.into());
        let assignments = "name = $3, display_order = $4, enabled = $5, client_id = $6, options = $7, updated_at = $8,
                           secret_enc = COALESCE($9, secret_enc)";
        let key = (changed.id.uuid(), changed.version);
        swap(&self.work.view, "identity-provider", "identity_providers", key, assignments, all).await?;
        if serves_others(&before, &changed) {
            let sql = "UPDATE identity_providers SET ends_before = $2 WHERE id = $1";
            self.work.view.execute(sql, values![changed.id, self.work.now + CLOCKS]).await?;
            drop_waiting(&self.work.view, changed.id).await?;
        }
        Ok(self.unaudited(needed(self.identity_provider(changed.id).await?, "identity-provider")?))
    }

    /// Deletes a provider. Nobody signs in through it from then on; its identities go by and by.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::OutOfScope`].
    pub async fn delete_identity_provider(
        &self,
        by: &Authorized<ManageIdentityProviders>,
        (id, seen): (IdentityProviderId, Option<Version>),
    ) -> Result<Unaudited<IdentityProvider>, StoreError> {
        let provider = needed(self.identity_provider(id).await?, "identity-provider")?;
        within(by, scope_of(Some(provider.project_id), provider.tenant_id))?;
        let view = &self.work.view;
        let key = (id.uuid(), seen.unwrap_or(provider.version));
        let assignments = "deleted_at = $3, ends_before = $4, enabled = FALSE, secret_enc = NULL";
        let all = values![self.work.now, self.work.now + CLOCKS];
        swap(view, "identity-provider", "identity_providers", key, assignments, all).await?;
        drop_waiting(view, id).await?;
        Ok(self.unaudited(provider))
    }

    fn sealed(&self, id: IdentityProviderId, secret: Option<&Secret<String>>) -> Result<Option<Vec<u8>>, StoreError> {
        let seal = |secret: &Secret<String>| self.work.view.sealer().seal(&place(id), secret.expose().as_bytes());
        Ok(secret.map(seal).transpose()?)
    }
}

/// Whether who signed in through it before a change might not after it.
pub fn serves_others(before: &IdentityProvider, changed: &IdentityProvider) -> bool {
    !changed.enabled
        || changed.client_id != before.client_id
        || changed.options.hosted_domain != before.options.hosted_domain
}

/// Ends what waits for a provider, or on its word.
async fn drop_waiting(view: &View, id: IdentityProviderId) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM oauth_states WHERE provider_id = $1",
        "DELETE FROM oauth_codes WHERE identity_id IN (SELECT id FROM federated_identities WHERE provider_id = $1)",
        "DELETE FROM login_challenges WHERE provider_id = $1",
    ] {
        view.execute(sql, values![id]).await?;
    }
    Ok(())
}

impl SessionTx {
    /// Whether a provider serves people of a tenant by what it said of somebody in a sign-in that was begun `since`, and goes on to
    /// until this transaction ends.
    ///
    /// # Errors
    /// Of the database.
    pub async fn provider_serves(
        &self,
        id: IdentityProviderId,
        tenant: TenantId,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        let view = &self.work.view;
        let sql = view.holding(
            "SELECT id FROM identity_providers WHERE id = $1 AND enabled = TRUE AND deleted_at IS NULL
                 AND (tenant_id IS NULL OR tenant_id = $2) AND (ends_before IS NULL OR ends_before < $3)",
        );
        Ok(!view.query(&sql, values![id, tenant, since]).await?.is_empty())
    }

    /// Ends up to `limit` sessions that a provider opened before it served others, or nobody; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn end_provider_sessions(&self, id: IdentityProviderId, limit: u32) -> Result<u32, StoreError> {
        let sql = "SELECT sid FROM sessions WHERE provider_id = $1 AND ended_at IS NULL
                       AND (expires_at > $2 OR token_exp > $2)
                       AND created_at <= (SELECT ends_before FROM identity_providers WHERE id = $1)
                   ORDER BY sid LIMIT $3";
        let open = self.work.view.all(sql, values![id, self.work.now, limit], |row| row.at("sid")).await?;
        let mut ended = 0;
        for sid in open {
            self.end_session(sid, "identity_provider_changed").await?;
            ended += 1;
        }
        Ok(ended)
    }
}

impl Store {
    /// Providers with open sessions of before they served others, or nobody.
    ///
    /// # Errors
    /// Of the database.
    pub async fn providers_with_strays(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<IdentityProviderId>, StoreError> {
        let sql = "SELECT id FROM identity_providers WHERE ends_before IS NOT NULL AND EXISTS (
                       SELECT 1 FROM sessions WHERE provider_id = identity_providers.id AND ended_at IS NULL
                           AND created_at <= identity_providers.ends_before
                           AND (expires_at > $1 OR token_exp > $1)) ORDER BY id LIMIT $2";
        Reader::view(self).await?.all(sql, values![now, limit], |row| row.at("id")).await
    }

    /// Takes away up to `limit` identities of providers that were deleted, and providers that have none left; answers how many
    /// rows there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sweep_deleted_providers(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write_session(Scope::Platform, now, |tx| async move {
            let view = &tx.work.view;
            let sql = "DELETE FROM federated_identities WHERE id IN (
                           SELECT federated_identities.id FROM federated_identities
                           JOIN identity_providers ON identity_providers.id = federated_identities.provider_id
                           WHERE identity_providers.deleted_at IS NOT NULL LIMIT $1)";
            let identities = view.execute(sql, values![limit]).await?;
            let sql = "DELETE FROM identity_providers WHERE id IN (
                           SELECT id FROM identity_providers WHERE deleted_at IS NOT NULL AND NOT EXISTS (
                               SELECT 1 FROM federated_identities WHERE provider_id = identity_providers.id)
                           AND NOT EXISTS (
                               SELECT 1 FROM sessions WHERE provider_id = identity_providers.id AND ended_at IS NULL
                                   AND (expires_at > $2 OR token_exp > $2)) LIMIT $1)";
            Ok(identities + view.execute(sql, values![limit, now]).await?)
        })
        .await
    }
}
