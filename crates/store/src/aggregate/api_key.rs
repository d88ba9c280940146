//! API keys. What gateways know of one is stale from the commit of its change on: each leaves a fact that names it.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageApiKeys};
use domain::{
    ApiKeyId, ApiKeyScheme, ApiKeyState, Fact, FleetName, KeyPrefix, Position, Secret, TenantId, Timestamp, UserId,
    api_key::Verifier,
    model::{
        ApiKey, NewApiKey, Version,
        api_key::{MAX_KEYS, USE_NOTED_EVERY},
    },
};

use super::{
    list::{Filter, Listing, Sortable, Takes, folded, sealed::Cells},
    machine_client::{self, MachineClients},
    membership::Memberships,
    needed,
    page::Page,
    swap,
    user::Users,
    within,
};
use crate::{
    SessionTx, StoreError, Tx, Unaudited, View,
    log::facts,
    reseal::SealedColumn,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM api_keys";

/// A hash, or a sealed secret.
type Kept = (Option<Vec<u8>>, Option<Vec<u8>>);

fn read(row: &Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        owner_id: row.at("owner_id")?,
        name: row.at("name")?,
        prefix: row.parsed("prefix")?,
        scopes: row.json("scopes")?,
        networks: row.json("networks")?,
        rate_limit: row.json_opt("rate_limit")?,
        expires_at: row.at("expires_at")?,
        disabled_at: row.at("disabled_at")?,
        revoked_at: row.at("revoked_at")?,
        previous_until: row.at("previous_until")?,
        last_used_at: row.at("last_used_at")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The same place for a secret and for the one before it: rotating moves it.
fn place(id: ApiKeyId) -> String {
    format!("api_keys.secret_enc:{id}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn =
    SealedColumn { table: "api_keys", column: "secret_enc", key: &["id"], place: |row| Ok(place(row.at("id")?)) };

/// The same of secrets that are being replaced.
pub(crate) const SEALED_PREVIOUS: SealedColumn = SealedColumn { column: "previous_enc", ..SEALED };

/// The list of a tenant's keys, whatever became of them.
#[derive(Debug)]
pub enum ApiKeyList {}

impl Listing for ApiKeyList {
    type Item = ApiKey;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::search(
            "Whose name or prefix holds this, in any case.",
            "(LOWER(prefix) LIKE ? ESCAPE '!' OR name_fold LIKE ? ESCAPE '!'
                 OR name_fold = '' AND LOWER(name) LIKE ? ESCAPE '!')",
        ),
        Filter::new("owner_id", "Of this user.", Takes::Id, "owner_id = ?"),
        Filter::new(
            "state",
            "In this state; one that has expired is in none of its own.",
            Takes::Word(&["active", "disabled", "revoked"]),
            "CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN disabled_at IS NOT NULL THEN 'disabled'
                 ELSE 'active' END = ?",
        ),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("name", "name_fold"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<ApiKey, StoreError> {
        read(row.0)
    }
}

/// Reads of API keys.
pub trait ApiKeys: Reader {
    /// The key of this id.
    fn api_key(&self, id: ApiKeyId) -> impl Future<Output = Result<Option<ApiKey>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// A tenant's keys, of everybody or of one owner, whatever became of them.
    fn api_keys(
        &self,
        tenant: TenantId,
        owner: Option<UserId>,
        page: Page,
    ) -> impl Future<Output = Result<Vec<ApiKey>, StoreError>> + Send {
        async move {
            let of_owner = if owner.is_some() { "AND owner_id = $4" } else { "" };
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND id > $2 {of_owner} ORDER BY id LIMIT $3");
            let mut all = values![tenant, page.start(), page.limit()];
            all.extend(owner.map(Value::from));
            self.view().await?.all(&sql, all, read).await
        }
    }

    /// What the key with this public part is verified by, with the log's head of the state it was read from; none for
    /// one that is not there or was revoked. A fleet is told of keys of projects only that it serves a hostname of.
    fn api_key_state(
        &self,
        prefix: &KeyPrefix,
        fleet: Option<&FleetName>,
    ) -> impl Future<Output = Result<Option<ApiKeyState>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let Position { history, seq: as_of, .. } = facts::head(&view).await?;
            let served = served_by(fleet, "$2");
            let sql = format!("{SELECT} WHERE prefix = $1 AND revoked_at IS NULL {served}");
            let mut asked = values![&**prefix];
            asked.extend(fleet.map(|fleet| Value::from(fleet.as_str())));
            let found = view.first(&sql, asked, |row| Ok((read(row)?, verifiers(&view, row)?))).await?;
            let Some((key, verifiers)) = found else { return Ok(None) };
            let owner = view.user(key.owner_id).await?;
            Ok(Some(ApiKeyState {
                history,
                as_of,
                id: key.id,
                prefix: key.prefix,
                project: key.project_id,
                tenant: key.tenant_id,
                owner: key.owner_id,
                owner_name: owner.map(|owner| owner.display_name()),
                verifiers,
                scopes: key.scopes,
                networks: key.networks,
                rate_limit: key.rate_limit,
                expires_at: key.expires_at,
                disabled: key.disabled_at.is_some(),
            }))
        }
    }
}
impl<R: Reader> ApiKeys for R {}

/// Only keys of projects that a fleet serves a hostname of; who is of no fleet is this process itself.
fn served_by(fleet: Option<&FleetName>, parameter: &str) -> String {
    let served = format!(
        "AND EXISTS (SELECT 1 FROM hostnames WHERE hostnames.project_id = api_keys.project_id
                         AND fleet = {parameter} AND verify_state = 'verified')"
    );
    fleet.map(|_| served).unwrap_or_default()
}

/// The newest first.
fn verifiers(view: &View, row: &Row) -> Result<Vec<Verifier>, StoreError> {
    let id: ApiKeyId = row.at("id")?;
    let secret = |hash: &str, sealed: &str| -> Result<Option<Secret<Vec<u8>>>, StoreError> {
        if let Some(hash) = row.at::<Option<Vec<u8>>>(hash)? {
            return Ok(Some(Secret::new(hash)));
        }
        let sealed = row.at::<Option<Vec<u8>>>(sealed)?;
        Ok(sealed.map(|sealed| view.sealer().open(&place(id), &sealed)).transpose()?)
    };
    let newest = secret("secret_hash", "secret_enc")?;
    let newest = newest.ok_or_else(|| StoreError::corrupt("secret_hash", "a key without a secret"))?;
    let mut all = vec![Verifier { secret: newest, until: None }];
    let until: Option<Timestamp> = row.at("previous_until")?;
    if let (Some(until), Some(secret)) = (until, secret("previous_hash", "previous_enc")?) {
        all.push(Verifier { secret, until: Some(until) });
    }
    Ok(all)
}

impl Tx {
    /// Makes a key.
    ///
    /// # Errors
    /// [`StoreError::Rule`]: `api_key_limit` for a tenant that has [`MAX_KEYS`], with those revoked in the last day,
    /// `api_key_owner` for who is no member; [`StoreError::Conflict`] on
    /// `api_keys(prefix)`; [`StoreError::Reference`] without the tenant or the owner.
    pub async fn insert_api_key(
        &self,
        by: &Authorized<ManageApiKeys>,
        new: NewApiKey,
    ) -> Result<Unaudited<ApiKey>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let view = &self.work.view;
        // Those of the last day as well: making and ending keys is no way around it.
        let sql = "SELECT COUNT(*) AS keys FROM api_keys
                   WHERE tenant_id = $1 AND (revoked_at IS NULL OR revoked_at > $2)";
        let yesterday = self.work.now - Duration::from_secs(24 * 3600);
        let keys = view.first(sql, values![new.tenant_id, yesterday], |row| row.at::<u64>("keys")).await?.unwrap_or(0);
        if keys >= MAX_KEYS {
            return Err(StoreError::rule("api_key_limit", format!("a tenant has {MAX_KEYS} keys at most")));
        }
        // Looked at here, so that nobody who leaves at this moment leaves a key behind.
        if self.membership(new.tenant_id, new.owner_id).await?.is_none() {
            return Err(StoreError::rule("api_key_owner", "the owner is no member of the tenant"));
        }
        if self.is_of_machine(new.owner_id).await? {
            return Err(machine_client::nothing_beside());
        }
        let (hash, sealed) = self.kept(new.id, new.prefix.scheme(), &new.verifier)?;
        let now = self.work.now;
        let sql = "INSERT INTO api_keys (id, project_id, tenant_id, owner_id, name, prefix, secret_hash, secret_enc,
                       scopes, networks, rate_limit, expires_at, created_at, updated_at, name_fold, version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, 1)";
        let mut all =
            values![new.id, new.project_id, new.tenant_id, new.owner_id, &new.name, &*new.prefix, hash, sealed];
        all.extend([Value::json(&new.scopes)?, Value::json(&new.networks)?, Value::json_opt(new.rate_limit.as_ref())?]);
        all.extend(values![new.expires_at, now, folded(&new.name)]);
        view.execute(sql, all).await?;
        Ok(self.unaudited(needed(self.api_key(new.id).await?, "api-key")?))
    }

    /// Takes a key out of use, or back into it. One that is as asked stays so.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also for one that was revoked.
    pub async fn set_api_key_disabled(
        &self,
        by: &Authorized<ManageApiKeys>,
        id: ApiKeyId,
        disabled: bool,
    ) -> Result<Unaudited<ApiKey>, StoreError> {
        let before = self.live_api_key(by, id).await?;
        let disabled_at = disabled.then(|| before.disabled_at.unwrap_or(self.work.now));
        let changed = ApiKey { disabled_at, ..before };
        self.change_api_key(changed, "disabled_at = $4", values![disabled_at]).await
    }

    /// Ends a key for good.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also for one that was revoked.
    pub async fn revoke_api_key(
        &self,
        by: &Authorized<ManageApiKeys>,
        id: ApiKeyId,
    ) -> Result<Unaudited<ApiKey>, StoreError> {
        let before = self.live_api_key(by, id).await?;
        let changed = ApiKey { revoked_at: Some(self.work.now), ..before };
        let revoked_at = changed.revoked_at;
        self.change_api_key(changed, "revoked_at = $4, previous_until = NULL", values![revoked_at]).await
    }

    /// Gives a key another secret; the one it has is accepted until `until`, one before that no more.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`] when it was changed since: of two that rotate it at once, one does;
    /// [`StoreError::NotFound`], also for one that was revoked.
    pub async fn rotate_api_key(
        &self,
        by: &Authorized<ManageApiKeys>,
        (id, version): (ApiKeyId, Version),
        verifier: &Secret<Vec<u8>>,
        until: Timestamp,
    ) -> Result<Unaudited<ApiKey>, StoreError> {
        let before = self.live_api_key(by, id).await?;
        let (hash, sealed) = self.kept(id, before.scheme(), verifier)?;
        let changed = ApiKey { previous_until: Some(until), version, ..before };
        let assignments =
            "previous_hash = secret_hash, previous_enc = secret_enc, previous_until = $4, secret_hash = $5,
             secret_enc = $6";
        self.change_api_key(changed, assignments, values![until, hash, sealed]).await
    }

    async fn live_api_key(&self, by: &Authorized<ManageApiKeys>, id: ApiKeyId) -> Result<ApiKey, StoreError> {
        let key = needed(self.api_key(id).await?.filter(|key| key.revoked_at.is_none()), "api-key")?;
        within(by, Scope::Tenant(key.project_id, key.tenant_id))?;
        Ok(key)
    }

    /// `values` are `$4` and on.
    async fn change_api_key(
        &self,
        mut changed: ApiKey,
        assignments: &str,
        mut values: Vec<Value>,
    ) -> Result<Unaudited<ApiKey>, StoreError> {
        let mut all = values![self.work.now];
        all.append(&mut values);
        let assignments = format!("updated_at = $3, {assignments}");
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "api-key", "api_keys", key, &assignments, all).await?;
        changed.updated_at = self.work.now;
        self.work.insert_fact(&Fact::KeyChanged { key: changed.id }).await?;
        Ok(self.unaudited(changed))
    }

    /// What is kept of a secret: its hash, or itself under seal.
    fn kept(&self, id: ApiKeyId, scheme: ApiKeyScheme, verifier: &Secret<Vec<u8>>) -> Result<Kept, StoreError> {
        match scheme {
            ApiKeyScheme::Bearer => Ok((Some(verifier.expose().clone()), None)),
            ApiKeyScheme::Hmac => Ok((None, Some(self.work.view.sealer().seal(&place(id), verifier.expose())?))),
        }
    }
}

impl SessionTx {
    /// Notes when keys were last used, of each to the minute. A fleet is believed of keys only that it is told of.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note_api_key_uses(
        &self,
        fleet: Option<&FleetName>,
        uses: &[(ApiKeyId, Timestamp)],
    ) -> Result<(), StoreError> {
        let sql = format!(
            "UPDATE api_keys SET last_used_at = $2
             WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3) {}",
            served_by(fleet, "$4")
        );
        for (id, at) in uses {
            // Nobody has used one tomorrow.
            let at = (*at).min(self.work.now);
            let mut all = values![*id, at, at - USE_NOTED_EVERY];
            all.extend(fleet.map(|fleet| Value::from(fleet.as_str())));
            self.work.view.execute(&sql, all).await?;
        }
        Ok(())
    }
}

/// Ends the keys of who leaves a tenant.
pub(crate) async fn revoke_all_of(work: &Work, tenant: TenantId, owner: UserId) -> Result<(), StoreError> {
    let sql = "SELECT id FROM api_keys WHERE tenant_id = $1 AND owner_id = $2 AND revoked_at IS NULL";
    let keys = work.view.all(sql, values![tenant, owner], |row| row.at::<ApiKeyId>("id")).await?;
    for key in keys {
        let sql = "UPDATE api_keys SET revoked_at = $2, updated_at = $2, version = version + 1 WHERE id = $1";
        work.view.execute(sql, values![key, work.now]).await?;
        work.insert_fact(&Fact::KeyChanged { key }).await?;
    }
    Ok(())
}
