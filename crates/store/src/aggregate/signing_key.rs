//! Signing keys: pending, active, retiring, retired. One is active per project and purpose.

use authz::{Authorized, Scope, action::ManageSigningKeys};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    ProjectId, Secret, SigningKeyId, Slug, Timestamp, UpstreamId,
    model::{ASSERTION_KEY_LEAD, KeyPurpose, KeyState, NewSigningKey, SigningKey},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one,
    project::Projects,
    within,
};
use crate::{
    StoreError, Tx, Unaudited, View,
    log::publish::{self, Effect},
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT kid, project_id, purpose, algorithm, public_jwk, state, source, signer, not_before,
                          expires_at, created_at, changed_at
                      FROM signing_keys";

fn read(row: &Row) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        kid: row.at("kid")?,
        project_id: row.at("project_id")?,
        purpose: row.word("purpose")?,
        algorithm: row.word("algorithm")?,
        public_jwk: row.at("public_jwk")?,
        state: row.word("state")?,
        source: row.word("source")?,
        signer: row.word("signer")?,
        not_before: row.at("not_before")?,
        expires_at: row.at("expires_at")?,
        created_at: row.at("created_at")?,
        changed_at: row.at("changed_at")?,
    })
}

fn place(kid: SigningKeyId) -> String {
    format!("signing_keys.private_enc:{kid}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "signing_keys",
    column: "private_enc",
    key: &["kid"],
    place: |row| Ok(place(row.at("kid")?)),
};

/// The fleet's active assertion key: its id and PKCS #8, base64url.
pub(crate) async fn fleet_key(view: &View) -> Result<(SigningKeyId, Secret<String>), StoreError> {
    let root = needed(view.root_project().await?, "project")?;
    let (key, private) = needed(view.active_key(root.id, KeyPurpose::Assertions).await?, "assertion signing key")?;
    Ok((key.kid, Secret::new(URL_SAFE_NO_PAD.encode(private.expose()))))
}

/// The list of a project's signing keys.
#[derive(Debug)]
pub enum SigningKeyList {}

impl Listing for SigningKeyList {
    type Item = SigningKey;
    type Of = ProjectId;
    const FILTERS: &'static [Filter] = &[
        Filter::new("purpose", "That sign this.", Takes::Word(&["tokens", "assertions"]), "purpose = ?"),
        Filter::new("state", "In this state.", Takes::Word(&["pending", "active", "retiring", "retired"]), "state = ?"),
        Filter::new("algorithm", "Of this algorithm.", Takes::Word(&["ES256", "RS256", "EdDSA"]), "algorithm = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::time("created_at", "created_at"), Sortable::time("changed_at", "changed_at")];
    const ID: &'static str = "kid";
    fn sql() -> String {
        format!("{SELECT} WHERE project_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<SigningKey, StoreError> {
        read(row.0)
    }
}

/// Reads of signing keys.
pub trait SigningKeys: Reader {
    /// The key of this id.
    fn signing_key(&self, kid: SigningKeyId) -> impl Future<Output = Result<Option<SigningKey>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE kid = $1"), values![kid], read).await }
    }

    /// The keys that stand in a project's key set: all but the retired, oldest first.
    fn published_keys(
        &self,
        project: ProjectId,
        purpose: KeyPurpose,
    ) -> impl Future<Output = Result<Vec<SigningKey>, StoreError>> + Send {
        async move {
            let sql = format!(
                "{SELECT} WHERE project_id = $1 AND purpose = $2 AND state <> 'retired' ORDER BY created_at, kid"
            );
            self.view().await?.all(&sql, vec![project.into(), Value::word(&purpose)], read).await
        }
    }

    /// The keys of all projects about which something may be due: those not retired, but of the active ones only those
    /// that sign since before `aged`, expire by `now`, or have a pending key whose time has come.
    fn keys_in_motion(
        &self,
        now: Timestamp,
        aged: Timestamp,
    ) -> impl Future<Output = Result<Vec<SigningKey>, StoreError>> + Send {
        async move {
            let sql = format!(
                "{SELECT} AS mine WHERE state IN ('pending', 'retiring') OR (state = 'active' AND (
                     changed_at <= $2 OR expires_at <= $1 OR EXISTS (
                         SELECT 1 FROM signing_keys AS other WHERE other.project_id = mine.project_id
                             AND other.purpose = mine.purpose AND other.state = 'pending' AND other.not_before <= $1)))
                 ORDER BY project_id, purpose, created_at, kid"
            );
            self.view().await?.all(&sql, values![now, aged], read).await
        }
    }

    /// Projects without a key that signs their tokens.
    fn projects_without_key(&self) -> impl Future<Output = Result<Vec<Slug>, StoreError>> + Send {
        async move {
            let sql = "SELECT slug FROM projects WHERE NOT EXISTS (
                           SELECT 1 FROM signing_keys WHERE project_id = projects.id AND purpose = 'tokens'
                               AND state = 'active')
                       ORDER BY slug";
            self.view().await?.all(sql, Vec::new(), |row| row.parsed("slug")).await
        }
    }

    /// The key that signs, with its private part (PKCS #8 DER; what [`NewSigningKey::material`] was).
    #[expect(clippy::type_complexity, reason = "a key and its secret, kept apart so that the key can be logged")]
    fn active_key(
        &self,
        project: ProjectId,
        purpose: KeyPurpose,
    ) -> impl Future<Output = Result<Option<(SigningKey, Secret<Vec<u8>>)>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let sql = "SELECT * FROM signing_keys WHERE project_id = $1 AND purpose = $2 AND state = 'active'";
            let read = |row: &Row| Ok((read(row)?, row.at::<Vec<u8>>("private_enc")?));
            let found = view.first(sql, vec![project.into(), Value::word(&purpose)], read).await?;
            let Some((key, sealed)) = found else { return Ok(None) };
            let private = view.sealer().open(&place(key.kid), &sealed)?;
            Ok(Some((key, private)))
        }
    }
}
impl<R: Reader> SigningKeys for R {}

impl Tx {
    /// Stores a key, pending: published, not yet signing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `signing_keys(kid)`; [`StoreError::Rule`] (`signing_key_purpose`) for an assertion
    /// key outside the root project.
    pub async fn insert_signing_key(
        &self,
        by: &Authorized<ManageSigningKeys>,
        new: NewSigningKey,
    ) -> Result<Unaudited<SigningKey>, StoreError> {
        within(by, Scope::Project(new.project_id))?;
        let project = needed(self.project(new.project_id).await?, "project")?;
        if new.purpose == KeyPurpose::Assertions && !project.is_root() {
            return Err(StoreError::rule("signing_key_purpose", "the fleet's keys are the root project's"));
        }
        let now = self.work.now;
        let key = SigningKey {
            kid: new.kid,
            project_id: new.project_id,
            purpose: new.purpose,
            algorithm: new.algorithm,
            public_jwk: new.public_jwk,
            state: KeyState::Pending,
            source: new.source,
            signer: new.signer,
            not_before: new.not_before,
            expires_at: new.expires_at,
            created_at: now,
            changed_at: now,
        };
        let view = &self.work.view;
        view.execute(
            "INSERT INTO signing_keys (kid, project_id, purpose, algorithm, private_enc, public_jwk, state, created_at,
                 changed_at, source, signer, not_before, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11, $12)",
            vec![
                key.kid.into(),
                key.project_id.into(),
                Value::word(&key.purpose),
                Value::word(&key.algorithm),
                view.sealer().seal(&place(key.kid), new.material.expose())?.into(),
                Value::json(&key.public_jwk)?,
                Value::word(&key.state),
                now.into(),
                Value::word(&key.source),
                Value::word(&key.signer),
                key.not_before.into(),
                key.expires_at.into(),
            ],
        )
        .await?;
        self.publish_keys(&key, Effect::Widens).await?;
        Ok(self.unaudited(key))
    }

    /// Lets a key sign; the one that did retires. Activating the active key changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`signing_key_state`) for a key that was active before, (`signing_key_unpublished`) for one of
    /// the fleet's that upstreams may not know yet; [`StoreError::NotFound`].
    pub async fn activate_signing_key(
        &self,
        by: &Authorized<ManageSigningKeys>,
        kid: SigningKeyId,
    ) -> Result<Unaudited<SigningKey>, StoreError> {
        let mut key = self.own_key(by, kid).await?;
        if matches!(key.state, KeyState::Retiring | KeyState::Retired) {
            return Err(StoreError::rule("signing_key_state", "a key that was retired does not sign again"));
        }
        let (view, now) = (&self.work.view, self.work.now);
        if key.purpose == KeyPurpose::Assertions && now < key.created_at + ASSERTION_KEY_LEAD {
            // The first one may sign at once: nobody has read a key set without it.
            let known = view.published_keys(key.project_id, KeyPurpose::Assertions).await?;
            if known.iter().any(|other| matches!(other.state, KeyState::Active | KeyState::Retiring)) {
                let detail = "a key for assertions is published for 24 hours before it signs";
                return Err(StoreError::rule("signing_key_unpublished", detail));
            }
        }
        // Two activations at once meet at this row: one of them is tried again.
        view.execute("UPDATE projects SET updated_at = $2 WHERE id = $1", values![key.project_id, now]).await?;
        let sql = "UPDATE signing_keys SET state = 'retiring', changed_at = $3
                   WHERE project_id = $1 AND purpose = $2 AND state = 'active' AND kid <> $4";
        let values = vec![key.project_id.into(), Value::word(&key.purpose), now.into(), kid.into()];
        view.execute(sql, values).await?;
        self.set_state(&mut key, KeyState::Active).await?;
        self.publish_keys(&key, Effect::Widens).await?;
        Ok(self.unaudited(key))
    }

    /// Ends the signing of an active key that has expired, though no other takes its place.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`signing_key_state`) for a key that is not active or not expired; [`StoreError::NotFound`].
    pub async fn expire_signing_key(
        &self,
        by: &Authorized<ManageSigningKeys>,
        kid: SigningKeyId,
    ) -> Result<Unaudited<SigningKey>, StoreError> {
        let mut key = self.own_key(by, kid).await?;
        if key.state != KeyState::Active || key.expires_at.is_none_or(|at| at > self.work.now) {
            return Err(StoreError::rule("signing_key_state", "only an active key that has expired stops by itself"));
        }
        self.set_state(&mut key, KeyState::Retiring).await?;
        self.publish_keys(&key, Effect::Widens).await?;
        Ok(self.unaudited(key))
    }

    /// Changes from when to when a key signs.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`signing_key_state`) for a key that signs no more; [`StoreError::NotFound`].
    pub async fn reschedule_signing_key(
        &self,
        by: &Authorized<ManageSigningKeys>,
        kid: SigningKeyId,
        (not_before, expires_at): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<Unaudited<SigningKey>, StoreError> {
        let mut key = self.own_key(by, kid).await?;
        if matches!(key.state, KeyState::Retiring | KeyState::Retired) {
            return Err(StoreError::rule("signing_key_state", "a key that was retired does not sign again"));
        }
        let sql = "UPDATE signing_keys SET not_before = $2, expires_at = $3 WHERE kid = $1";
        one(&self.work.view, "signing-key", sql, values![kid, not_before, expires_at]).await?;
        (key.not_before, key.expires_at) = (not_before, expires_at);
        Ok(self.unaudited(key))
    }

    /// Takes a key out of the key set: its tokens are refused from then on.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`signing_key_state`) for the active key; [`StoreError::NotFound`].
    pub async fn retire_signing_key(
        &self,
        by: &Authorized<ManageSigningKeys>,
        kid: SigningKeyId,
    ) -> Result<Unaudited<SigningKey>, StoreError> {
        let mut key = self.own_key(by, kid).await?;
        if key.state == KeyState::Active {
            return Err(StoreError::rule("signing_key_state", "activate another key before retiring the active one"));
        }
        self.set_state(&mut key, KeyState::Retired).await?;
        self.publish_keys(&key, Effect::Narrows).await?;
        Ok(self.unaudited(key))
    }

    async fn set_state(&self, key: &mut SigningKey, state: KeyState) -> Result<(), StoreError> {
        let sql = "UPDATE signing_keys SET state = $2, changed_at = $3 WHERE kid = $1";
        let values = vec![key.kid.into(), Value::word(&state), self.work.now.into()];
        one(&self.work.view, "signing-key", sql, values).await?;
        (key.state, key.changed_at) = (state, self.work.now);
        Ok(())
    }

    async fn own_key(&self, by: &Authorized<ManageSigningKeys>, kid: SigningKeyId) -> Result<SigningKey, StoreError> {
        let key = needed(self.signing_key(kid).await?, "signing-key")?;
        within(by, Scope::Project(key.project_id))?;
        Ok(key)
    }

    /// The project's issuer, or the upstreams that are proven to with the fleet's key.
    async fn publish_keys(&self, key: &SigningKey, effect: Effect) -> Result<(), StoreError> {
        match (key.purpose, key.state) {
            (KeyPurpose::Tokens, _) => publish::own_issuer(&self.work, key.project_id, effect).await,
            (KeyPurpose::Assertions, KeyState::Active) => {
                let sql = "SELECT id FROM upstreams WHERE assertion = 'eddsa' ORDER BY id";
                for id in self.work.view.all(sql, Vec::new(), |row| row.at::<UpstreamId>("id")).await? {
                    publish::upstream(&self.work, id, effect).await?;
                }
                Ok(())
            }
            (KeyPurpose::Assertions, KeyState::Pending | KeyState::Retiring | KeyState::Retired) => Ok(()),
        }
    }
}
