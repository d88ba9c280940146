//! The change log as the feed reads it.

use domain::{
    FleetName, History, Secret, SnapshotVersion,
    snapshot::{Change, Entity, EntityKey, EntityKind},
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::audience;
use crate::{
    StoreError, View,
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, Value, values},
};

/// Everything a gateway is told, at one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The version it is complete at.
    pub version: SnapshotVersion,
    /// The lowest revision that may be served.
    pub min_revision: u64,
    /// Every entity that exists, in the order of their revisions.
    pub changes: Vec<Change>,
}

/// What came after a revision.
#[derive(Clone, Debug)]
pub enum Delta {
    /// These changes, in order; the last ones when `complete`.
    Changes {
        /// The changes.
        changes: Vec<Change>,
        /// Whether there are no more up to `head`.
        complete: bool,
        /// The newest revision.
        head: u64,
    },
    /// The revision is not of this history, or tombstones since then are gone: the reader needs the whole snapshot.
    Resync,
}

/// Reads of the change log.
pub trait Feed: Reader {
    /// All live entities, consistent.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let head = head(&view).await?;
            let sql = format!("{CHANGE} WHERE body IS NOT NULL OR sealed IS NOT NULL ORDER BY revision");
            let changes = view.all(&sql, Vec::new(), |row| change(&view, row)).await?;
            Ok(Snapshot { version: head.version, min_revision: head.min_revision, changes })
        }
    }

    /// The same, of what a fleet is told.
    fn snapshot_of(&self, fleet: &FleetName) -> impl Future<Output = Result<Snapshot, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let head = head(&view).await?;
            let told = audience::IS_TOLD;
            let sql = format!("{CHANGE} WHERE (body IS NOT NULL OR sealed IS NOT NULL) AND {told} ORDER BY revision");
            let changes = view.all(&sql, values![fleet.as_str()], |row| change(&view, row)).await?;
            Ok(Snapshot { version: head.version, min_revision: head.min_revision, changes })
        }
    }

    /// Up to `limit` changes after `version`, in order.
    fn changes_after(
        &self,
        version: SnapshotVersion,
        limit: u32,
    ) -> impl Future<Output = Result<Delta, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let (head, revision) = (head(&view).await?, version.revision);
            if !head.knows(version) {
                return Ok(Delta::Resync);
            }
            let sql = format!("{CHANGE} WHERE revision > $1 ORDER BY revision LIMIT $2");
            let changes = view.all(&sql, values![revision, limit], |row| change(&view, row)).await?;
            Ok(head.delta(changes, limit))
        }
    }

    /// The same, of what a fleet is told: of anything else it learns that it is gone, which it may have been.
    fn changes_of(
        &self,
        fleet: &FleetName,
        version: SnapshotVersion,
        limit: u32,
    ) -> impl Future<Output = Result<Delta, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let (head, revision) = (head(&view).await?, version.revision);
            if !head.knows(version) {
                return Ok(Delta::Resync);
            }
            let told = audience::IS_TOLD;
            let sql = format!(
                "SELECT kind, entity_id, revision, min_reader,
                     CASE WHEN {told} THEN TRUE ELSE FALSE END AS told,
                     CASE WHEN {told} THEN body END AS body, CASE WHEN {told} THEN sealed END AS sealed
                 FROM change_log AS log WHERE revision > $2 ORDER BY revision LIMIT $3"
            );
            let read = |row: &Row| if row.at("told")? { change(&view, row) } else { audience::tombstone(row) };
            let changes = view.all(&sql, values![fleet.as_str(), revision, limit], read).await?;
            Ok(head.delta(changes, limit))
        }
    }

    /// The newest version.
    fn version(&self) -> impl Future<Output = Result<SnapshotVersion, StoreError>> + Send {
        async move { Ok(head(&self.view().await?).await?.version) }
    }

    /// The newest revision, and the lowest that may be served.
    fn revisions(&self) -> impl Future<Output = Result<(u64, u64), StoreError>> + Send {
        async move {
            let head = head(&self.view().await?).await?;
            Ok((head.version.revision, head.min_revision))
        }
    }
}
impl<R: Reader> Feed for R {}

const CHANGE: &str = "SELECT kind, entity_id, revision, min_reader, body, sealed FROM change_log AS log";

struct Head {
    version: SnapshotVersion,
    min_revision: u64,
    forgotten: u64,
}

impl Head {
    /// Whether everything after a version can still be told.
    fn knows(&self, SnapshotVersion { history, revision }: SnapshotVersion) -> bool {
        history == self.version.history && revision <= self.version.revision && revision >= self.forgotten
    }

    fn delta(&self, changes: Vec<Change>, limit: u32) -> Delta {
        let complete = changes.len() < usize::try_from(limit).unwrap_or(usize::MAX)
            || changes.last().is_some_and(|last| last.revision == self.version.revision);
        Delta::Changes { changes, complete, head: self.version.revision }
    }
}

async fn head(view: &View) -> Result<Head, StoreError> {
    let sql = "SELECT history, revision, min_revision, forgotten_revision FROM log_head WHERE id = 1";
    let read = |row: &Row| {
        Ok(Head {
            version: SnapshotVersion { history: History(row.at("history")?), revision: row.at("revision")? },
            min_revision: row.at("min_revision")?,
            forgotten: row.at("forgotten_revision")?,
        })
    };
    view.first(sql, Vec::new(), read).await?.ok_or_else(|| StoreError::corrupt("log_head", "no row"))
}

/// Reads a row of `change_log`, or a numbered one of `pending_changes`.
pub(super) fn change(view: &View, row: &Row) -> Result<Change, StoreError> {
    let key = EntityKey { kind: row.word("kind")?, id: row.at("entity_id")? };
    let entity = match row.at::<Option<Vec<u8>>>("sealed")? {
        Some(sealed) => {
            let plain = view.sealer().open(&place(&key), &sealed)?;
            Some(from_slice(&plain)?)
        }
        None => row.json_opt::<Entity>("body")?,
    };
    Ok(Change { revision: row.at("revision")?, key, min_reader: row.at("min_reader")?, entity })
}

fn from_slice<T: DeserializeOwned>(plain: &Secret<Vec<u8>>) -> Result<T, StoreError> {
    serde_json::from_slice(plain.expose()).map_err(|e| StoreError::corrupt("sealed", e))
}

/// What an entity's secret body is bound to.
pub(super) fn place(key: &EntityKey) -> String {
    format!("change_log:{}:{}", key.kind.as_str(), key.id)
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED_CHANGES: SealedColumn = SealedColumn {
    table: "change_log",
    column: "sealed",
    key: &["kind", "entity_id"],
    place: |row| Ok(place(&EntityKey { kind: row.word("kind")?, id: row.at("entity_id")? })),
};

/// The same of what waits for the tick.
pub(crate) const SEALED_PENDING: SealedColumn =
    SealedColumn { table: "pending_changes", key: &["id", "kind", "entity_id"], ..SEALED_CHANGES };

/// How an entity is stored: `(body, sealed)`. Kinds that hold secrets are sealed whole.
pub(super) fn stored(view: &View, key: &EntityKey, entity: &Entity) -> Result<(Value, Value), StoreError> {
    match key.kind {
        EntityKind::Certificate | EntityKind::Upstream => {
            let plain = serde_json::to_vec(entity).map_err(|e| StoreError::corrupt("sealed", e))?;
            let plain = Secret::new(plain);
            Ok((Value::Null, view.sealer().seal(&place(key), plain.expose())?.into()))
        }
        EntityKind::Project
        | EntityKind::Tenant
        | EntityKind::Role
        | EntityKind::Service
        | EntityKind::Issuer
        | EntityKind::Hostname => Ok((Value::json(entity)?, Value::Null)),
    }
}

/// Whether a row with this key is in the change log or on its way to it.
pub(super) async fn is_published(view: &View, kind: EntityKind, id: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT 1 AS found FROM change_log
               WHERE kind = $1 AND entity_id = $2 AND (body IS NOT NULL OR sealed IS NOT NULL)
               UNION ALL SELECT 1 FROM pending_changes WHERE kind = $1 AND entity_id = $2 LIMIT 1";
    Ok(!view.query(sql, values![kind.as_str(), id]).await?.is_empty())
}

/// The oldest reader of an entity as gateways know it, also by the rules of this release; 0 for one they do not.
pub(super) async fn min_reader(view: &View, key: &EntityKey) -> Result<u32, StoreError> {
    let sql = format!("{CHANGE} WHERE log.kind = $1 AND log.entity_id = $2");
    let known = view.first(&sql, values![key.kind.as_str(), key.id], |row| change(view, row)).await?;
    let of = |it: Change| it.entity.map(|entity| entity.min_reader().max(it.min_reader));
    Ok(known.and_then(of).unwrap_or_default())
}
