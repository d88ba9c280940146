//! Upstreams and the keys that prove identity to them.

use authz::{Authorized, Scope, action::ManageUpstreams};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Secret, UpstreamId,
    model::{NewUpstream, Upstream, Version},
};

use super::{needed, one, page::Page, swap, within};
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
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "upstreams",
    column: "assertion_key_enc",
    key: &["id"],
    place: |row| Ok(place(row.at("id")?)),
};

/// Key id and key (base64url, 32 bytes) of an upstream's HMAC assertions.
pub(crate) async fn assertion_key(view: &View, id: UpstreamId) -> Result<(String, Secret<String>), StoreError> {
    let sql = "SELECT assertion_kid, assertion_key_enc FROM upstreams WHERE id = $1";
    let read = |row: &Row| Ok((row.at::<String>("assertion_kid")?, row.at::<Vec<u8>>("assertion_key_enc")?));
    let (kid, sealed) = needed(view.first(sql, values![id], read).await?, "upstream")?;
    let plain = view.sealer().open(&place(id), &sealed)?;
    Ok((kid, Secret::new(URL_SAFE_NO_PAD.encode(plain.expose()))))
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

    /// Key id and key (base64url, 32 bytes) that an upstream's operator checks HMAC assertions with.
    fn upstream_assertion_key(
        &self,
        id: UpstreamId,
    ) -> impl Future<Output = Result<(String, Secret<String>), StoreError>> + Send {
        async move { assertion_key(&self.view().await?, id).await }
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
        let [a, b, c, d]: [u8; 4] = view.sealer().bytes()?;
        let kid = format!("{}-{a:02x}{b:02x}{c:02x}{d:02x}", new.name);
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
