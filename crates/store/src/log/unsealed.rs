//! Heads of chains that an older release left unsealed.
//!
//! The migration lists them, with where each chain ended. The start that ran it puts the list under the master key; then each
//! head is sealed where it was, some in each transaction. A start that is cut off leaves the rest for the next, and of replicas
//! that start at once each head has one winner. A list that is not the one under the key seals nothing: any other head
//! without a seal is one that somebody took away.
//!
//! A start that was cut off between the migration and the key left a list that nobody vouched for. No start does so later: the
//! list could be anybody's. Who has looked at its heads says so on the machine, by its digest, and that is in the trail. A start
//! that finds no list says under the key that the upgrade is over: no list is vouched for after that.

use authz::{Authorized, Scope, action::AppendAudit};
use aws_lc_rs::digest::{Context, SHA256};
use domain::Secret;

use super::chain;
use crate::{
    Store, StoreError, Tx, Unaudited, View,
    aggregate::within,
    reseal::SealedColumn,
    value::{Row, values},
};

/// Heads of one transaction.
const BATCH: u32 = 1000;

const PLACE: &str = "unsealed_heads_proof.proof_enc";

/// What is sealed in the place of a digest once there is nothing to be sealed any more.
const OVER: &[u8] = b"over";

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn =
    SealedColumn { table: "unsealed_heads_proof", column: "proof_enc", key: &["id"], place: |_| Ok(PLACE.into()) };

type Listed = (String, u64, String);

/// A list of heads that are to be sealed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnsealedHeads {
    /// How many.
    pub chains: u64,
    /// Hex SHA-256 over a line `CHAIN SEQ:HASH` for each, in the order of their names.
    pub digest: String,
    /// The lines of the first thousand.
    pub lines: Vec<String>,
}

impl Store {
    /// Puts the list under the master key: called by the start that brought the schema to where it is made.
    pub(crate) async fn vouch_for_unsealed_heads(&self) -> Result<(), StoreError> {
        let view = self.begin_state().await?;
        if let Some(list) = list_of(&view).await? {
            let proof = view.sealer().seal(PLACE, list.digest.as_bytes())?;
            let sql = "INSERT INTO unsealed_heads_proof (id, proof_enc) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
            view.execute(sql, values![proof]).await?;
        }
        view.commit().await
    }

    /// Says that the upgrade is over, if no head is listed.
    pub(crate) async fn end_sealing(&self) -> Result<(), StoreError> {
        let view = self.begin_state().await?;
        if list_of(&view).await?.is_none() && proof(&view).await?.is_none() {
            let proof = view.sealer().seal(PLACE, OVER)?;
            let sql = "INSERT INTO unsealed_heads_proof (id, proof_enc) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
            view.execute(sql, values![proof]).await?;
        }
        view.commit().await
    }

    /// The list, while nobody vouched for it as it is.
    ///
    /// # Errors
    /// Of the database.
    pub async fn unvouched_heads(&self) -> Result<Option<UnsealedHeads>, StoreError> {
        let view = self.view().await?;
        let Some(list) = list_of(&view).await? else { return Ok(None) };
        Ok(if is_vouched(&view, &list).await? { None } else { Some(list) })
    }

    /// Seals what the list names, if it is ours; says how many.
    ///
    /// # Errors
    /// Of the database. What was sealed before stays.
    pub async fn seal_heads(&self) -> Result<u64, StoreError> {
        let view = self.view().await?;
        let Some(list) = list_of(&view).await? else { return Ok(0) };
        let vouched = is_vouched(&view, &list).await?;
        drop(view);
        if !vouched {
            tracing::error!(
                audit.chains = list.chains,
                audit.digest = list.digest,
                "heads of audit chains are listed to be sealed, and not by us: they stay as they are. \
                 `control-api audit unsealed` says what to do"
            );
            return Ok(0);
        }
        let (mut sealed, mut after, mut attempt) = (0, String::new(), 0);
        loop {
            let view = self.begin_state().await?;
            let outcome = match seal_some(&view, &after).await {
                Ok(done) => view.commit().await.map(|()| done),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Some((some, last))) => (sealed, after) = (sealed + some, last),
                Ok(None) => return Ok(sealed),
                Err(error) if view.conflicted() => self.again(&mut attempt, error).await?,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Tx {
    /// Vouches for the list of this digest, in the place of the start that made it.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`heads_changed`) for any other list, (`upgrade_is_over`) for one that was made since;
    /// [`StoreError::OutOfScope`].
    pub async fn vouch_for_heads(
        &self,
        by: &Authorized<AppendAudit>,
        digest: &str,
    ) -> Result<Unaudited<UnsealedHeads>, StoreError> {
        within(by, Scope::Platform)?;
        let view = &self.work.view;
        let list = list_of(view).await?.filter(|list| list.digest == digest);
        let list = list.ok_or_else(|| StoreError::rule("heads_changed", "no list of this digest is to be sealed"))?;
        if proof(view).await?.is_some() {
            return Err(StoreError::rule(
                "upgrade_is_over",
                "the upgrade that lists heads is over: somebody made this list",
            ));
        }
        let proof = view.sealer().seal(PLACE, list.digest.as_bytes())?;
        let sql = "INSERT INTO unsealed_heads_proof (id, proof_enc) VALUES (1, $1)";
        view.execute(sql, values![proof]).await?;
        Ok(self.unaudited(list))
    }
}

async fn proof(view: &View) -> Result<Option<Vec<u8>>, StoreError> {
    let sql = "SELECT proof_enc FROM unsealed_heads_proof WHERE id = 1";
    view.first(sql, Vec::new(), |row| row.at("proof_enc")).await
}

async fn is_vouched(view: &View, list: &UnsealedHeads) -> Result<bool, StoreError> {
    let known = proof(view).await?.and_then(|proof| view.sealer().open(PLACE, &proof).ok());
    Ok(known.is_some_and(|known| known == Secret::new(list.digest.as_bytes().to_vec())))
}

/// Seals some of those behind `after`; how many, and the last. At the end the list goes.
async fn seal_some(view: &View, after: &str) -> Result<Option<(u64, String)>, StoreError> {
    let listed = listed(view, after).await?;
    let Some((last, ..)) = listed.last() else {
        view.execute("DELETE FROM unsealed_heads", Vec::new()).await?;
        let over = view.sealer().seal(PLACE, OVER)?;
        view.execute("UPDATE unsealed_heads_proof SET proof_enc = $1", values![over]).await?;
        return Ok(None);
    };
    let mut sealed = 0;
    for (chain, seq, hash) in &listed {
        // Where it was: what has joined it since follows from there, or does not.
        let proof = view.sealer().seal(&chain::place(chain), format!("{seq}:{hash}").as_bytes())?;
        let sql = "UPDATE audit_chains SET proof_enc = $2 WHERE chain = $1 AND proof_enc IS NULL";
        sealed += view.execute(sql, values![chain, proof]).await?;
    }
    Ok(Some((sealed, last.clone())))
}

async fn listed(view: &View, after: &str) -> Result<Vec<Listed>, StoreError> {
    let sql = "SELECT chain, seq, hash FROM unsealed_heads WHERE chain > $1 ORDER BY chain LIMIT $2";
    let read = |row: &Row| Ok((row.at("chain")?, row.at("seq")?, row.at("hash")?));
    view.all(sql, values![after, BATCH], read).await
}

/// The whole list; none for an empty one.
async fn list_of(view: &View) -> Result<Option<UnsealedHeads>, StoreError> {
    let (mut context, mut after, mut chains) = (Context::new(&SHA256), String::new(), 0);
    let mut lines = Vec::new();
    loop {
        let some = listed(view, &after).await?;
        let Some((last, ..)) = some.last() else { break };
        after.clone_from(last);
        for (chain, seq, hash) in &some {
            chains += 1;
            let line = format!("{chain} {seq}:{hash}");
            context.update(format!("{line}\n").as_bytes());
            if chains <= u64::from(BATCH) {
                lines.push(line);
            }
        }
    }
    if after.is_empty() {
        return Ok(None);
    }
    let digest = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(UnsealedHeads { chains, digest, lines }))
}

#[cfg(test)]
mod tests {
    use authz::Scope;
    use domain::{
        Secret, Timestamp,
        audit::{Actor, ActorKind, AuditEntry, Crud, Origin, Target},
    };
    use serde_json::json;

    use super::*;
    use crate::Sealer;

    async fn happen(store: &Store) {
        let entry = AuditEntry {
            action: "login_failure".into(),
            crud: Crud::R,
            target: Target { kind: "user".into(), id: "1".into(), name: String::new() },
            project_id: None,
            tenant_id: None,
            is_failure: true,
            fields: json!({}),
        };
        let actor = Actor { kind: ActorKind::Anonymous, id: None, name: String::new() };
        let (entry, actor) = (&entry, &actor);
        let recorded = store.write_session(Scope::Platform, Timestamp::default(), |tx| async move {
            tx.record(actor, &Origin::default(), entry).await
        });
        recorded.await.map_err(|error: StoreError| error).unwrap();
        while store.chain_audit(100).await.unwrap() > 0 {}
    }

    async fn run(store: &Store, statements: &[&str]) {
        let view = store.begin_state().await.unwrap();
        for sql in statements {
            view.execute(sql, Vec::new()).await.unwrap();
        }
        view.commit().await.unwrap();
    }

    /// A database as the migration finds and leaves it.
    async fn upgraded() -> Store {
        let store = Store::sqlite_in_memory(Sealer::new(&Secret::new(vec![7; 32]), &[]).unwrap()).unwrap();
        store.migrate().await.unwrap();
        happen(&store).await;
        let unseal = "UPDATE audit_chains SET proof_enc = NULL";
        let list = "INSERT INTO unsealed_heads (chain, seq, hash) SELECT chain, seq, hash FROM audit_chains";
        run(&store, &["DELETE FROM unsealed_heads_proof", unseal, list]).await;
        store
    }

    #[tokio::test]
    async fn a_start_that_was_cut_off_is_gone_on_with_by_the_next() {
        let store = upgraded().await;
        store.vouch_for_unsealed_heads().await.unwrap();
        // Cut off here; an older release beside it goes on writing.
        happen(&store).await;
        assert!(store.verify_audit(None).await.unwrap().broken.is_some());
        store.migrate().await.unwrap();
        let report = store.verify_audit(None).await.unwrap();
        assert!(report.broken.is_none() && !report.sealed, "sealed where it was: {report:?}");
        happen(&store).await;
        assert!(store.verify_audit(None).await.unwrap().sealed, "and from then on with each row");
        assert_eq!(store.seal_heads().await.unwrap(), 0, "the list is gone");
    }

    async fn vouched(store: &Store, digest: &str) -> Result<u64, StoreError> {
        let by = &Authorized::<AppendAudit>::system("audit-vouch");
        let written = store.write(by, Timestamp::default(), |tx| async move {
            let change = tx.vouch_for_heads(by, digest).await?;
            let entry = AuditEntry {
                action: "audit.heads_vouched".into(),
                crud: Crud::U,
                target: Target { kind: "audit_chain".into(), id: "all".into(), name: String::new() },
                project_id: None,
                tenant_id: None,
                is_failure: false,
                fields: json!({ "digest": digest }),
            };
            tx.audit(entry, change).await
        });
        written.await.map(|(list, _)| list.chains)
    }

    #[tokio::test]
    async fn a_list_that_no_start_vouched_for_is_vouched_for_by_who_names_its_digest() {
        let store = upgraded().await;
        // Cut off before the key.
        store.migrate().await.unwrap();
        assert!(store.verify_audit(None).await.unwrap().broken.is_some(), "no later start does it");
        let list = store.unvouched_heads().await.unwrap().unwrap();
        for other in ["", "00"] {
            let refused = vouched(&store, other).await.unwrap_err();
            assert!(matches!(refused, StoreError::Rule { code: "heads_changed", .. }), "{refused:?}");
        }
        assert_eq!(vouched(&store, &list.digest).await.unwrap(), list.chains);
        assert_eq!(store.unvouched_heads().await.unwrap(), None);
        assert_eq!(store.seal_heads().await.unwrap(), list.chains);
        while store.chain_audit(100).await.unwrap() > 0 {}
        let report = store.verify_audit(None).await.unwrap();
        assert!(report.broken.is_none() && report.sealed, "{report:?}");
        assert!(vouched(&store, &list.digest).await.is_err(), "there is none any more");
        // Nor for one that somebody makes later.
        run(&store, &["INSERT INTO unsealed_heads (chain, seq, hash) SELECT chain, seq, hash FROM audit_chains"]).await;
        let made = store.unvouched_heads().await.unwrap().unwrap();
        let refused = vouched(&store, &made.digest).await.unwrap_err();
        assert!(matches!(refused, StoreError::Rule { code: "upgrade_is_over", .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn nobody_vouches_for_a_list_in_a_database_that_was_never_upgraded() {
        let store = Store::sqlite_in_memory(Sealer::new(&Secret::new(vec![7; 32]), &[]).unwrap()).unwrap();
        store.migrate().await.unwrap();
        happen(&store).await;
        run(&store, &["INSERT INTO unsealed_heads (chain, seq, hash) SELECT chain, seq, hash FROM audit_chains"]).await;
        let made = store.unvouched_heads().await.unwrap().unwrap();
        let refused = vouched(&store, &made.digest).await.unwrap_err();
        assert!(matches!(refused, StoreError::Rule { code: "upgrade_is_over", .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn a_list_that_was_changed_since_seals_nothing() {
        let store = upgraded().await;
        store.vouch_for_unsealed_heads().await.unwrap();
        run(&store, &["UPDATE unsealed_heads SET hash = '00'"]).await;
        store.migrate().await.unwrap();
        assert!(store.verify_audit(None).await.unwrap().broken.is_some());
        run(&store, &["DELETE FROM unsealed_heads_proof"]).await;
        store.migrate().await.unwrap();
        assert!(store.verify_audit(None).await.unwrap().broken.is_some(), "nor one that nobody vouched for");
    }
}
