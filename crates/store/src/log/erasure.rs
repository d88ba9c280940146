//! Erasure: what is known of a user is taken out of the trail, and its chains still hold.
//!
//! A part of a row goes together with the salt of its digest ([`chain_row`]). In the same transaction an event is appended to
//! the row's chain that names the row, and what is left of the row is sealed with it under the master key, so that nobody takes
//! parts away unseen. Rows join their chain
//! before anything of them is erased, so that the event always comes after them.

use std::collections::BTreeMap;

use authz::{Authorized, Scope, action::AppendAudit};
use domain::{
    AuditErasureId, AuditEventId, ProjectId, TenantId, Timestamp, UserId,
    audit::{AuditEntry, Crud, Target},
};
use serde_json::{Value as Json, json};

use super::chain_row::{self, ERASED, Vouched, no_origin, no_target, nobody};
use crate::{
    Store, StoreError, Tx, Unaudited, View,
    aggregate::{
        audit,
        list::{Filter, Listing, Sortable, Takes, sealed::Cells},
        user::Users,
        within,
    },
    reseal::SealedColumn,
    tx::Work,
    value::{Row, Value, values},
};

/// Rows erased in one transaction.
const ERASED_AT_ONCE: u32 = 200;

/// Rows a user acted in, or is what was acted on. `$1` is its id, as text.
const OF_USER: &str = "(actor ->> 'id' = $1 OR (target ->> 'id' = $1 AND target ->> 'kind' = 'user'))";

fn place(event: AuditEventId) -> String {
    format!("audit_attestations.proof_enc:{event}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "audit_attestations",
    column: "proof_enc",
    key: &["event_id"],
    place: |row| Ok(place(row.at("event_id")?)),
};

/// That a user's personal data is to be taken out of the trail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditErasure {
    /// Its id.
    pub id: AuditErasureId,
    /// Whose.
    pub user_id: UserId,
    /// From how many rows something was taken.
    pub erased: u64,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it was done.
    pub done_at: Option<Timestamp>,
}

fn read(row: &Row) -> Result<AuditErasure, StoreError> {
    Ok(AuditErasure {
        id: row.at("id")?,
        user_id: row.at("user_id")?,
        erased: row.at("erased")?,
        requested_at: row.at("requested_at")?,
        done_at: row.at("done_at")?,
    })
}

/// The list of erasures that were asked for.
#[derive(Debug)]
pub enum AuditErasureList {}

impl Listing for AuditErasureList {
    type Item = AuditErasure;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::new("user_id", "Of this user.", Takes::Id, "user_id = ?"),
        Filter::new("done", "Done, or not yet.", Takes::Flag, "(done_at IS NOT NULL) = ?"),
        Filter::new("requested_since", "Asked for at this instant or later.", Takes::Time, "requested_at >= ?"),
        Filter::new("requested_until", "Asked for before this instant.", Takes::Time, "requested_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("requested_at", "requested_at")];
    fn sql() -> String {
        "SELECT * FROM audit_erasures WHERE TRUE".into()
    }
    fn item(row: &Cells<'_>) -> Result<AuditErasure, StoreError> {
        read(row.0)
    }
}

impl Tx {
    /// Has a user's personal data taken out of the trail. Asked for again, it is looked again.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`user_exists`) while there is such a user: what somebody does is not to be hidden while they
    /// can do it; [`StoreError::OutOfScope`] for anybody but the platform.
    pub async fn request_audit_erasure(
        &self,
        by: &Authorized<AppendAudit>,
        id: AuditErasureId,
        user: UserId,
    ) -> Result<Unaudited<AuditErasure>, StoreError> {
        within(by, Scope::Platform)?;
        if self.user(user).await?.is_some() {
            return Err(StoreError::rule("user_exists", "there is such a user: delete it first"));
        }
        let sql = "INSERT INTO audit_erasures (id, user_id, erased, requested_at) VALUES ($1, $2, 0, $3)
                   ON CONFLICT (user_id) DO UPDATE SET requested_at = excluded.requested_at, done_at = NULL
                   RETURNING *";
        let erasure = self.work.view.first(sql, values![id, user, self.work.now], read).await?;
        Ok(self.unaudited(erasure.ok_or_else(|| StoreError::corrupt("audit_erasures", "no row"))?))
    }
}

/// A row of which something is to go.
struct Found {
    id: AuditEventId,
    chain: String,
    seq: Option<u64>,
    project: Option<ProjectId>,
    tenant: Option<TenantId>,
    acted: bool,
    /// What others report says in words what was done: it goes with its actor.
    targeted: bool,
}

impl Store {
    /// Takes some of what is to be erased out of the trail; says whether there may be more.
    ///
    /// # Errors
    /// Of the database. What was erased until then stays erased.
    pub async fn erase_audit(&self, now: Timestamp) -> Result<bool, StoreError> {
        let work = Work::begin(self.begin_state().await?, now)?;
        let view = &work.view;
        // Of two replicas that erase at once, one waits for the other.
        let open = view.locking("SELECT * FROM audit_erasures WHERE done_at IS NULL ORDER BY requested_at, id LIMIT 1");
        let Some(erasure) = view.first(&open, Vec::new(), read).await? else { return Ok(false) };
        let user = erasure.user_id.to_string();
        let sql = format!(
            "SELECT id, chain, chain_seq, project_id, tenant_id, COALESCE(actor ->> 'id' = $1, FALSE) AS acted,
                 COALESCE(target ->> 'id' = $1 AND target ->> 'kind' = 'user', FALSE) OR reporter IS NOT NULL AS targeted
             FROM audit_events WHERE {OF_USER} AND substr(action, 1, 6) <> $3 ORDER BY received, id LIMIT $2"
        );
        let found = view.all(&sql, values![&user, ERASED_AT_ONCE, "audit."], |row| {
            Ok(Found {
                id: row.at("id")?,
                chain: row.at("chain")?,
                seq: row.at("chain_seq")?,
                project: row.at("project_id")?,
                tenant: row.at("tenant_id")?,
                acted: row.at("acted")?,
                targeted: row.at("targeted")?,
            })
        });
        let found = found.await?;
        // What has not joined its chain yet is left for the next time.
        let waiting = found.iter().any(|row| row.seq.is_none());
        let mut named: BTreeMap<&str, (&Found, Vec<u64>)> = BTreeMap::new();
        let mut erased = 0_u64;
        for row in &found {
            let Some(seq) = row.seq else { continue };
            erase(view, row, now).await?;
            erased += 1;
            named.entry(&row.chain).or_insert_with(|| (row, Vec::new())).1.push(seq);
        }
        for (chain, (row, rows)) in named {
            let mut left = Vec::with_capacity(rows.len());
            for seq in &rows {
                let sql = "SELECT * FROM audit_events WHERE chain = $1 AND chain_seq = $2";
                let there = view.first(sql, values![chain, *seq], chain_row::read).await?;
                left.extend(there.map(|row| (*seq, row.left())));
            }
            let entry = AuditEntry {
                action: ERASED.into(),
                crud: Crud::D,
                target: Target { kind: "user".into(), id: user.clone(), name: String::new() },
                project_id: row.project,
                tenant_id: row.tenant,
                is_failure: false,
                fields: json!({ "rows": rows, "erasure_id": erasure.id }),
            };
            let by: Authorized<AppendAudit> = Authorized::system("audit-erasure");
            let event = audit::insert_into(&work, chain, by.actor(), by.origin(), &entry).await?;
            attest(view, event, chain, &left).await?;
        }
        let done = !waiting && u32::try_from(found.len()).is_ok_and(|count| count < ERASED_AT_ONCE);
        let sql = "UPDATE audit_erasures SET erased = erased + $2, done_at = $3 WHERE id = $1";
        view.execute(sql, values![erasure.id, erased, done.then_some(now)]).await?;
        work.commit().await?;
        Ok(!waiting)
    }
}

/// Seals what was erased by an event: of each row its number and a digest of what is left.
async fn attest(view: &View, event: AuditEventId, chain: &str, left: &[(u64, String)]) -> Result<(), StoreError> {
    let text = serde_json::to_vec(left).map_err(|e| StoreError::corrupt("proof_enc", e))?;
    let proof = view.sealer().seal(&place(event), &text)?;
    let sql = "INSERT INTO audit_attestations (event_id, chain, proof_enc) VALUES ($1, $2, $3)";
    view.execute(sql, values![event, chain, proof]).await.map(drop)
}

/// What was erased from a chain, as far as its seals open.
pub(super) async fn vouched(view: &View, chain: &str) -> Result<Vouched, StoreError> {
    let sql = "SELECT event_id, proof_enc FROM audit_attestations WHERE chain = $1";
    let read = |row: &Row| Ok((row.at::<AuditEventId>("event_id")?, row.at::<Vec<u8>>("proof_enc")?));
    let mut known = Vouched::new();
    for (event, proof) in view.all(sql, values![chain], read).await? {
        let Ok(text) = view.sealer().open(&place(event), &proof) else { continue };
        let rows: Vec<(u64, String)> = serde_json::from_slice(text.expose()).unwrap_or_default();
        for (seq, left) in rows {
            known.entry(seq).or_default().insert(left);
        }
    }
    Ok(known)
}

async fn erase(view: &View, row: &Found, now: Timestamp) -> Result<(), StoreError> {
    let json = |it: Json| Value::Json(it);
    if row.acted {
        let sql = "UPDATE audit_events SET actor = $2, origin = $3, actor_salt = NULL, erased_at = $4 WHERE id = $1";
        view.execute(sql, vec![row.id.into(), json(nobody()), json(no_origin()), now.into()]).await?;
    }
    if row.targeted {
        let sql = "UPDATE audit_events SET target = $2, fields = $3, report = NULL, external_id = NULL,
                       target_salt = NULL, erased_at = $4
                   WHERE id = $1";
        view.execute(sql, vec![row.id.into(), json(no_target()), json(json!({})), now.into()]).await?;
    }
    Ok(())
}
