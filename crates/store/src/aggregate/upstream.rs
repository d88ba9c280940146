//! Upstreams and the keys that prove identity to them.

use authz::{Authorized, Scope, action::ManageUpstreams};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Secret, UpstreamId,
    model::{AssertionKey, AssertionKeys, NewUpstream, OtherKey, Upstream, Version},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one,
    page::Page,
    swap, within,
};
use crate::{
    StoreError, Tx, Unaudited, View,
    log::publish::{self, Effect},
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT id, name, assertion, spec, created_at, updated_at, version FROM upstreams";

fn read(row: &Row) -> Result<Upstream, StoreError> {
    Ok(Upstream {
        id: row.at("id")?,
        name: row.at("name")?,
        assertion: row.word("assertion")?,
        spec: row.json("spec")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

fn place(id: UpstreamId) -> String {
    format!("upstreams.assertion_key_enc:{id}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED_ACTIVE: SealedColumn = SealedColumn {
    table: "upstreams",
    column: "assertion_key_enc",
    key: &["id"],
    place: |row| Ok(place(row.at("id")?)),
};

/// The same of the other key.
pub(crate) const SEALED_OTHER: SealedColumn = SealedColumn {
    table: "upstreams",
    column: "other_key_enc",
    key: &["id"],
    place: |row| Ok(other_place(row.at("id")?)),
};

fn other_place(id: UpstreamId) -> String {
    format!("upstreams.other_key_enc:{id}")
}

/// The keys of an upstream's HMAC assertions.
pub(crate) async fn assertion_keys(view: &View, id: UpstreamId) -> Result<AssertionKeys, StoreError> {
    let sql = "SELECT assertion_kid, assertion_key_enc, other_kid, other_key_enc, other_state FROM upstreams
               WHERE id = $1";
    let rows = view.query(sql, values![id]).await?;
    let row = needed(rows.first(), "upstream")?;
    let open = |place: String, kid: String, sealed: Vec<u8>| {
        let plain = view.sealer().open(&place, &sealed)?;
        Ok::<_, StoreError>(AssertionKey { kid, key: Secret::new(URL_SAFE_NO_PAD.encode(plain.expose())) })
    };
    let active = open(place(id), row.at("assertion_kid")?, row.at("assertion_key_enc")?)?;
    let other = match row.at::<Option<String>>("other_kid")? {
        Some(kid) => Some((row.word("other_state")?, open(other_place(id), kid, row.at("other_key_enc")?)?)),
        None => None,
    };
    Ok(AssertionKeys { active, other })
}

fn fresh_kid(view: &View, name: &str) -> Result<String, StoreError> {
    let [a, b, c, d]: [u8; 4] = view.sealer().bytes()?;
    Ok(format!("{name}-{a:02x}{b:02x}{c:02x}{d:02x}"))
}

/// The list of upstreams.
#[derive(Debug)]
pub enum UpstreamList {}

impl Listing for UpstreamList {
    type Item = Upstream;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose name holds this, in any case.", "LOWER(name) LIKE ? ESCAPE '!'"),
        Filter::new("assertion", "With this assertion.", Takes::Word(&["hmac", "eddsa", "off"]), "assertion = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::new("name", "name"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE TRUE")
    }
    fn item(row: &Cells<'_>) -> Result<Upstream, StoreError> {
        read(row.0)
    }
}

/// Reads of upstreams.
pub trait Upstreams: Reader {
    /// The upstream of this id.
    fn upstream(&self, id: UpstreamId) -> impl Future<Output = Result<Option<Upstream>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// The upstream of this name.
    fn upstream_by_name(&self, name: &str) -> impl Future<Output = Result<Option<Upstream>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE name = $1"), values![name], read).await }
    }

    /// Upstreams.
    fn upstreams(&self, page: Page) -> impl Future<Output = Result<Vec<Upstream>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE id > $1 ORDER BY id LIMIT $2");
            self.view().await?.all(&sql, values![page.start(), page.limit()], read).await
        }
    }

    /// The keys that an upstream's operator checks HMAC assertions with.
    fn upstream_assertion_keys(
        &self,
        id: UpstreamId,
    ) -> impl Future<Output = Result<AssertionKeys, StoreError>> + Send {
        async move { assertion_keys(&self.view().await?, id).await }
    }
}
impl<R: Reader> Upstreams for R {}

impl Tx {
    /// Makes an upstream, with a random key for HMAC assertions.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `upstreams(name)`; [`StoreError::NotFound`] when it wants EdDSA assertions and the
    /// fleet has no active key.
    pub async fn insert_upstream(
        &self,
        by: &Authorized<ManageUpstreams>,
        new: NewUpstream,
    ) -> Result<Unaudited<Upstream>, StoreError> {
        within(by, Scope::Platform)?;
        let (view, now) = (&self.work.view, self.work.now);
        let key: [u8; 32] = view.sealer().bytes()?;
        let kid = fresh_kid(view, &new.name)?;
        let upstream = Upstream {
            id: new.id,
            name: new.name,
            assertion: new.assertion,
            spec: new.spec,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        view.execute(
            "INSERT INTO upstreams (id, name, assertion, assertion_key_enc, assertion_kid, spec, created_at, updated_at,
                 version)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 1)",
            vec![
                upstream.id.into(),
                (&upstream.name).into(),
                Value::word(&upstream.assertion),
                view.sealer().seal(&place(upstream.id), &key)?.into(),
                kid.into(),
                Value::json(&upstream.spec)?,
                now.into(),
            ],
        )
        .await?;
        publish::upstream(&self.work, upstream.id, Effect::Widens).await?;
        Ok(self.unaudited(upstream))
    }

    /// Changes an upstream. Its HMAC key stays.
    ///
    /// # Errors
    /// As [`Tx::insert_upstream`]; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_upstream(
        &self,
        by: &Authorized<ManageUpstreams>,
        mut changed: Upstream,
    ) -> Result<Unaudited<Upstream>, StoreError> {
        within(by, Scope::Platform)?;
        let values = vec![
            (&changed.name).into(),
            Value::word(&changed.assertion),
            Value::json(&changed.spec)?,
            self.work.now.into(),
        ];
        let assignments = "name = $3, assertion = $4, spec = $5, updated_at = $6";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "upstream", "upstreams", key, assignments, values).await?;
        changed.updated_at = self.work.now;
        publish::upstream(&self.work, changed.id, Effect::Widens).await?;
        Ok(self.unaudited(changed))
    }

    /// Makes the key that will sign an upstream's HMAC assertions next. Until it does, gateways sign with the old one and
    /// the upstream's operator checks with both.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`assertion_key_overlap`) while there are two already; [`StoreError::NotFound`].
    pub async fn prepare_assertion_key(
        &self,
        by: &Authorized<ManageUpstreams>,
        id: UpstreamId,
    ) -> Result<Unaudited<Upstream>, StoreError> {
        let upstream = self.keyed_upstream(by, id).await?;
        let view = &self.work.view;
        let key: [u8; 32] = view.sealer().bytes()?;
        let sql = "UPDATE upstreams SET other_key_enc = $2, other_kid = $3, other_state = 'next'
                   WHERE id = $1 AND other_kid IS NULL";
        let sealed = view.sealer().seal(&other_place(id), &key)?;
        if view.execute(sql, values![id, sealed, fresh_kid(view, &upstream.name)?]).await? == 0 {
            return Err(StoreError::rule("assertion_key_overlap", "two keys are valid already; remove one first"));
        }
        Ok(self.unaudited(upstream))
    }

    /// Lets the next key sign; the one that did stays valid until it is removed.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`assertion_key_state`) when there is no next key; [`StoreError::NotFound`].
    pub async fn activate_assertion_key(
        &self,
        by: &Authorized<ManageUpstreams>,
        id: UpstreamId,
    ) -> Result<Unaudited<Upstream>, StoreError> {
        let upstream = self.keyed_upstream(by, id).await?;
        let view = &self.work.view;
        let keys = assertion_keys(view, id).await?;
        let Some((OtherKey::Next, next)) = keys.other else {
            return Err(StoreError::rule("assertion_key_state", "there is no next key; make one first"));
        };
        let seal = |place: String, key: &Secret<String>| {
            let plain = URL_SAFE_NO_PAD.decode(key.expose()).map(Secret::new);
            let plain = plain.map_err(|error| StoreError::corrupt("assertion_key_enc", error))?;
            Ok::<_, StoreError>(view.sealer().seal(&place, plain.expose())?)
        };
        let sql = "UPDATE upstreams SET assertion_key_enc = $2, assertion_kid = $3, other_key_enc = $4, other_kid = $5,
                       other_state = 'previous'
                   WHERE id = $1 AND other_kid = $3";
        let (next_sealed, previous_sealed) = (seal(place(id), &next.key)?, seal(other_place(id), &keys.active.key)?);
        one(view, "upstream", sql, values![id, next_sealed, next.kid, previous_sealed, keys.active.kid]).await?;
        publish::upstream(&self.work, id, Effect::Widens).await?;
        Ok(self.unaudited(upstream))
    }

    /// Removes the key that does not sign.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`assertion_key_state`) for the one that signs; [`StoreError::NotFound`].
    pub async fn remove_assertion_key(
        &self,
        by: &Authorized<ManageUpstreams>,
        id: UpstreamId,
        kid: &str,
    ) -> Result<Unaudited<Upstream>, StoreError> {
        let upstream = self.keyed_upstream(by, id).await?;
        let view = &self.work.view;
        if assertion_keys(view, id).await?.active.kid == kid {
            return Err(StoreError::rule("assertion_key_state", "the key signs; let another sign first"));
        }
        let sql = "UPDATE upstreams SET other_key_enc = NULL, other_kid = NULL, other_state = NULL
                   WHERE id = $1 AND other_kid = $2";
        one(view, "assertion-key", sql, values![id, kid]).await?;
        Ok(self.unaudited(upstream))
    }

    /// An upstream whose keys are about to change.
    async fn keyed_upstream(&self, by: &Authorized<ManageUpstreams>, id: UpstreamId) -> Result<Upstream, StoreError> {
        within(by, Scope::Platform)?;
        needed(self.upstream(id).await?, "upstream")
    }

    /// Deletes an upstream that nothing goes to.
    ///
    /// # Errors
    /// [`StoreError::Reference`] while a service or route goes to it; [`StoreError::NotFound`].
    pub async fn delete_upstream(
        &self,
        by: &Authorized<ManageUpstreams>,
        id: UpstreamId,
    ) -> Result<Unaudited<Upstream>, StoreError> {
        within(by, Scope::Platform)?;
        let upstream = needed(self.upstream(id).await?, "upstream")?;
        one(&self.work.view, "upstream", "DELETE FROM upstreams WHERE id = $1", values![id]).await?;
        publish::upstream(&self.work, id, Effect::Narrows).await?;
        Ok(self.unaudited(upstream))
    }
}
