//! The tick: gives numbers, without gaps, to what was committed before it.

use std::collections::BTreeMap;

use domain::{
    History, NumberedFact, Position, Seq, Timestamp,
    snapshot::{Change, EntityKey},
};

use super::{facts, feed};
use crate::{Commit, Store, StoreError, View, tx::Reader, value::values};

/// What a tick found.
#[derive(Clone, Debug)]
pub struct Tick {
    /// How far the log is numbered now.
    pub head: Position,
    /// The newest revision.
    pub revision: u64,
    /// The lowest revision that may be served.
    pub min_revision: u64,
    /// The facts this tick numbered, in order.
    pub facts: Vec<NumberedFact>,
    /// The changes this tick numbered, in order: the latest of each entity.
    pub changes: Vec<Change>,
}

impl Store {
    /// Numbers every fact and change that was committed before the call. Any replica may tick at any time; ticks wait
    /// for each other.
    ///
    /// # Errors
    /// Of the database. Nothing is numbered then.
    pub async fn tick(&self, now: Timestamp) -> Result<Tick, StoreError> {
        let view = self.begin_state().await?;
        let tick = number(&view, now).await?;
        view.commit().await?;
        Ok(tick)
    }

    /// Says that this database goes on with another history than `lost`, from which it was taken: it was restored from
    /// a backup. What gateways reported of the lost one counts for nothing any more. False when somebody else has said
    /// so already.
    ///
    /// # Errors
    /// Of the database.
    pub async fn begin_history(&self, lost: History) -> Result<bool, StoreError> {
        let view = self.begin_state().await?;
        let history = u64::from_ne_bytes(view.sealer().bytes()?);
        let sql = "UPDATE log_head SET history = $1 WHERE id = 1 AND history = $2";
        let begun = view.execute(sql, values![history, lost.0]).await? == 1;
        if begun {
            view.execute("UPDATE gateways SET revision = 0, applied = 0", Vec::new()).await?;
        }
        view.commit().await?;
        Ok(begun)
    }

    /// Which revision carries a commit's changes: none until the next tick. For a commit without changes, the newest.
    ///
    /// # Errors
    /// Of the database.
    pub async fn revision_of(&self, commit: Commit) -> Result<Option<u64>, StoreError> {
        let view = Reader::view(self).await?;
        let (sql, values) = if commit.changes_snapshot() {
            ("SELECT revision FROM commits WHERE tag = $1", values![commit.tag.0])
        } else {
            ("SELECT revision FROM log_head WHERE id = 1", Vec::new())
        };
        view.first(sql, values, |row| row.at("revision")).await
    }
}

async fn number(view: &View, now: Timestamp) -> Result<Tick, StoreError> {
    // First the lock, then, in later statements, whatever is visible by then.
    let sql = view.locking("SELECT history, seq, tag, revision, min_revision FROM log_head WHERE id = 1");
    let locked = view.query(&sql, Vec::new()).await?;
    let row = locked.first().ok_or_else(|| StoreError::corrupt("log_head", "no row"))?;
    let before = facts::position(row)?;
    let (revision, min_revision): (u64, u64) = (row.at("revision")?, row.at("min_revision")?);

    let facts = number_facts(view, before.seq).await?;
    let head = facts.last().map_or(before, |last| Position { seq: last.seq, tag: last.tag, ..before });
    let numbered = number_changes(view, revision, now).await?;
    let tick = Tick {
        head,
        revision: numbered.revision,
        min_revision: min_revision.max(numbered.narrowed),
        facts,
        changes: numbered.changes,
    };
    if head != before || tick.revision != revision {
        view.execute(
            "UPDATE log_head SET seq = $1, tag = $2, revision = $3, min_revision = $4 WHERE id = 1",
            values![head.seq.0, head.tag.0, tick.revision, tick.min_revision],
        )
        .await?;
    }
    Ok(tick)
}

async fn number_facts(view: &View, after: Seq) -> Result<Vec<NumberedFact>, StoreError> {
    let sql = "UPDATE facts SET seq = fresh.seq
               FROM (SELECT id, $1 + ROW_NUMBER() OVER (ORDER BY id) AS seq FROM facts WHERE seq IS NULL) AS fresh
               WHERE facts.id = fresh.id
               RETURNING facts.seq, facts.tag, facts.body";
    let mut numbered = view.all(sql, values![after.0], facts::numbered).await?;
    numbered.sort_by_key(|fact| fact.seq);
    Ok(numbered)
}

struct Numbered {
    revision: u64,
    /// The newest revision that narrows; 0 for none.
    narrowed: u64,
    changes: Vec<Change>,
}

/// Numbers what is pending, moves the latest of each entity to the change log, and notes which revision carries which
/// commit. Only rows numbered here have a revision, so the later statements touch no others.
async fn number_changes(view: &View, after: u64, now: Timestamp) -> Result<Numbered, StoreError> {
    let sql = "UPDATE pending_changes SET revision = fresh.revision
               FROM (SELECT id, $1 + ROW_NUMBER() OVER (ORDER BY id) AS revision
                     FROM pending_changes WHERE revision IS NULL) AS fresh
               WHERE pending_changes.id = fresh.id
               RETURNING pending_changes.revision, narrows, kind, entity_id, min_reader, body, sealed";
    let rows = view.query(sql, values![after]).await?;
    if rows.is_empty() {
        return Ok(Numbered { revision: after, narrowed: 0, changes: Vec::new() });
    }
    let (mut revision, mut narrowed) = (after, 0);
    let mut latest: BTreeMap<EntityKey, Change> = BTreeMap::new();
    for row in &rows {
        let change = feed::change(view, row)?;
        revision = revision.max(change.revision);
        if row.at("narrows")? {
            narrowed = narrowed.max(change.revision);
        }
        if latest.get(&change.key).is_none_or(|held| held.revision < change.revision) {
            latest.insert(change.key.clone(), change);
        }
    }
    view.execute(
        "INSERT INTO change_log (kind, entity_id, revision, min_reader, body, sealed, at)
         SELECT kind, entity_id, revision, min_reader, body, sealed, $1 FROM pending_changes AS mine
         WHERE revision IS NOT NULL AND NOT EXISTS (
             SELECT 1 FROM pending_changes AS later
             WHERE later.kind = mine.kind AND later.entity_id = mine.entity_id AND later.revision > mine.revision)
         ON CONFLICT (kind, entity_id) DO UPDATE SET revision = excluded.revision, min_reader = excluded.min_reader,
             body = excluded.body, sealed = excluded.sealed, at = excluded.at",
        values![now],
    )
    .await?;
    view.execute(
        "INSERT INTO commits (tag, revision, at)
         SELECT tag, MAX(revision), $1 FROM pending_changes WHERE revision IS NOT NULL GROUP BY tag",
        values![now],
    )
    .await?;
    view.execute("DELETE FROM pending_changes WHERE revision IS NOT NULL", Vec::new()).await?;
    let mut changes: Vec<Change> = latest.into_values().collect();
    changes.sort_by_key(|change| change.revision);
    Ok(Numbered { revision, narrowed, changes })
}
