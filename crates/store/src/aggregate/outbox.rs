//! The outbox: what has to be done after a commit. A job claims what is due; a claim is a lease, so that what a process took
//! on and did not finish is due again. Something may be done twice, and nothing is lost.

use std::time::Duration;

use domain::{
    OutboxEventId, Secret, Timestamp,
    outbox::{Attempted, NewOutboxEvent, OutboxEvent, OutboxKind},
};
use uuid::Uuid;

use crate::{
    SessionTx, StoreError, Tx, View,
    reseal::SealedColumn,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

/// How long what was given up is kept.
pub(crate) const GIVEN_UP: Duration = Duration::from_secs(30 * 24 * 3600);

fn place(id: OutboxEventId) -> String {
    format!("outbox_events.payload_enc:{id}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn =
    SealedColumn { table: "outbox_events", column: "payload_enc", key: &["id"], place: |row| Ok(place(row.at("id")?)) };

fn read(view: &View, row: &Row) -> Result<OutboxEvent, StoreError> {
    let id = row.at("id")?;
    let payload = view.sealer().open(&place(id), &row.at::<Vec<u8>>("payload_enc")?)?;
    let payload = String::from_utf8(payload.expose().clone()).map_err(|e| StoreError::corrupt("payload_enc", e))?;
    Ok(OutboxEvent {
        id,
        kind: row.word("kind")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        payload: Secret::new(payload),
        attempts: row.at("attempts")?,
        created_at: row.at("created_at")?,
        epoch: row.at("epoch")?,
    })
}

/// Reads of the outbox.
pub trait Outbox: Reader {
    /// How many events of this kind are waiting, and how many were given up.
    fn outbox_counts(&self, kind: OutboxKind) -> impl Future<Output = Result<(u64, u64), StoreError>> + Send {
        async move {
            let sql = "SELECT COUNT(*) AS events, COUNT(failed_at) AS failed FROM outbox_events WHERE kind = $1";
            let read = |row: &Row| Ok((row.at::<u64>("events")?, row.at::<u64>("failed")?));
            let found = self.view().await?.first(sql, vec![Value::word(&kind)], read).await?;
            let (events, failed) = found.unwrap_or_default();
            Ok((events.saturating_sub(failed), failed))
        }
    }
}
impl<R: Reader> Outbox for R {}

impl Tx {
    /// Leaves something to be done once this transaction is committed.
    ///
    /// # Errors
    /// Of the database, also for an event of another tenant than the transaction's.
    pub async fn leave(&self, event: &NewOutboxEvent) -> Result<(), StoreError> {
        insert(&self.work, event).await
    }
}

impl SessionTx {
    /// Leaves something to be done once this transaction is committed.
    ///
    /// # Errors
    /// Of the database, also for an event of another tenant than the transaction's.
    pub async fn leave(&self, event: &NewOutboxEvent) -> Result<(), StoreError> {
        insert(&self.work, event).await
    }

    /// Takes on up to `limit` events of a kind that are due: of each owner alike, first of those behind `after` and then
    /// around, and of one the longest due first; so one that leaves many keeps nobody else's waiting. Answers the last owner,
    /// too, behind whom to go on. Nobody else gets them for `lease`, within which they are to be
    /// [settled](Self::settle_outbox).
    ///
    /// # Errors
    /// Of the database.
    pub async fn claim_outbox(
        &self,
        kind: OutboxKind,
        limit: u32,
        lease: Duration,
        after: Uuid,
    ) -> Result<(Vec<OutboxEvent>, Uuid), StoreError> {
        let Work { view, now, .. } = &self.work;
        let mut claimed = Vec::new();
        let owners = owners(view, *now, (kind, after), limit).await?;
        let last = owners.last().copied().unwrap_or(after);
        for id in due(view, *now, (kind, &owners), limit).await? {
            // Whoever was first has moved it ahead.
            let sql = "UPDATE outbox_events SET epoch = epoch + 1, attempts = attempts + 1, next_at = $3
                       WHERE id = $1 AND failed_at IS NULL AND next_at <= $2 RETURNING *";
            for row in view.query(sql, values![id, *now, *now + lease]).await? {
                match read(view, &row) {
                    Ok(event) => claimed.push(event),
                    // One that cannot be read keeps no other waiting.
                    Err(error) => {
                        tracing::error!(outbox.id = %id, %error, "an event cannot be read and is given up");
                        let sql = "UPDATE outbox_events SET failed_at = $2, error = $3 WHERE id = $1";
                        view.execute(sql, values![id, *now, error.to_string()]).await?;
                    }
                }
            }
        }
        Ok((claimed, last))
    }

    /// Notes what became of an event that was claimed. False when somebody else has claimed it since: then it is theirs.
    ///
    /// # Errors
    /// Of the database.
    pub async fn settle_outbox(&self, claim: &OutboxEvent, attempted: &Attempted) -> Result<bool, StoreError> {
        let Work { view, now, .. } = &self.work;
        let (sql, mut all) = match attempted {
            Attempted::Done => ("DELETE FROM outbox_events WHERE id = $1 AND epoch = $2", Vec::new()),
            Attempted::Again { at, reason } => {
                ("UPDATE outbox_events SET next_at = $3, error = $4 WHERE id = $1 AND epoch = $2", values![*at, reason])
            }
            Attempted::GivenUp { reason } => (
                "UPDATE outbox_events SET failed_at = $3, error = $4 WHERE id = $1 AND epoch = $2",
                values![*now, reason],
            ),
        };
        let mut values = values![claim.id, claim.epoch];
        values.append(&mut all);
        Ok(view.execute(sql, values).await? == 1)
    }
}

/// Up to `limit` events that are due, of each of these owners alike.
async fn due(
    view: &View,
    now: Timestamp,
    (kind, owners): (OutboxKind, &[Uuid]),
    limit: u32,
) -> Result<Vec<OutboxEventId>, StoreError> {
    let mut queues = Vec::with_capacity(owners.len());
    for owner in owners {
        let sql = "SELECT id FROM outbox_events WHERE kind = $1 AND owner = $2 AND failed_at IS NULL AND next_at <= $3
                   ORDER BY next_at, id LIMIT $4";
        let all = vec![Value::word(&kind), (*owner).into(), now.into(), limit.into()];
        queues.push(view.all(sql, all, |row| row.at::<OutboxEventId>("id")).await?.into_iter());
    }
    let mut ids = Vec::new();
    // The first of each, then the second of each, and so on.
    loop {
        let before = ids.len();
        ids.extend(queues.iter_mut().filter_map(Iterator::next));
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        if ids.len() == before || ids.len() >= wanted {
            ids.truncate(wanted);
            return Ok(ids);
        }
    }
}

/// Up to `limit` owners of events that are due, first of those behind `after` and then around. Goes from owner to owner, not
/// through all of their events.
async fn owners(
    view: &View,
    now: Timestamp,
    (kind, after): (OutboxKind, Uuid),
    limit: u32,
) -> Result<Vec<Uuid>, StoreError> {
    let sql = "WITH RECURSIVE owners (owner) AS (
                   SELECT * FROM (SELECT owner FROM outbox_events WHERE kind = $1 AND failed_at IS NULL AND owner >= $3
                                  ORDER BY owner LIMIT 1) AS begun
                   UNION ALL
                   SELECT (SELECT later.owner FROM outbox_events AS later
                           WHERE later.kind = $1 AND later.failed_at IS NULL AND later.owner > owners.owner
                           ORDER BY later.owner LIMIT 1)
                   FROM owners WHERE owners.owner IS NOT NULL
               )
               SELECT owner FROM owners WHERE EXISTS (
                   SELECT 1 FROM outbox_events AS it
                   WHERE it.kind = $1 AND it.owner = owners.owner AND it.failed_at IS NULL AND it.next_at <= $2)
               LIMIT $4";
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found: Vec<Uuid> = Vec::new();
    for from in [Uuid::from_u128(after.as_u128().saturating_add(1)), Uuid::nil()] {
        let all = vec![Value::word(&kind), now.into(), from.into(), limit.into()];
        let owners = view.all(sql, all, |row| row.at::<Uuid>("owner")).await?;
        let fresh: Vec<Uuid> = owners.into_iter().filter(|owner| !found.contains(owner)).collect();
        found.extend(fresh);
        if found.len() >= wanted {
            break;
        }
    }
    found.truncate(wanted);
    Ok(found)
}

async fn insert(work: &Work, event: &NewOutboxEvent) -> Result<(), StoreError> {
    let sealed = work.view.sealer().seal(&place(event.id), event.payload.expose().as_bytes())?;
    let owner = event.tenant_id.map(|id| id.uuid()).or(event.project_id.map(|id| id.uuid()));
    let mut all = values![event.id, event.project_id, event.tenant_id, sealed, work.now, owner.unwrap_or(Uuid::nil())];
    all.push(Value::word(&event.kind));
    let sql = "INSERT INTO outbox_events (id, project_id, tenant_id, payload_enc, next_at, created_at, owner, kind,
                   attempts, epoch)
               VALUES ($1, $2, $3, $4, $5, $5, $6, $7, 0, 0)";
    work.view.execute(sql, all).await.map(drop)
}
