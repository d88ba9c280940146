//! Heads of chains that an older release left unsealed.
//!
//! The migration lists them, with where each chain ended. The start that ran it puts the list under the master key; then each
//! head is sealed where it was, some in each transaction. A start that is cut off leaves the rest for the next, and of replicas
//! that start at once each head has one winner. A list that is not the one under the key seals nothing: any other head
//! without a seal is one that somebody took away.

use aws_lc_rs::digest::{Context, SHA256};
use domain::Secret;

use super::chain;
use crate::{
    Store, StoreError, View,
    reseal::SealedColumn,
    value::{Row, values},
};

/// Heads of one transaction.
const BATCH: u32 = 1000;

const PLACE: &str = "unsealed_heads_proof.proof_enc";

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn =
    SealedColumn { table: "unsealed_heads_proof", column: "proof_enc", key: &["id"], place: |_| Ok(PLACE.into()) };

type Listed = (String, u64, String);

impl Store {
    /// Puts the list under the master key: called by the start that brought the schema to where it is made.
    pub(crate) async fn vouch_for_unsealed_heads(&self) -> Result<(), StoreError> {
        let view = self.begin_state().await?;
        if let Some(digest) = digest_of_all(&view).await? {
            let proof = view.sealer().seal(PLACE, digest.as_bytes())?;
            let sql = "INSERT INTO unsealed_heads_proof (id, proof_enc) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
            view.execute(sql, values![proof]).await?;
        }
        view.commit().await
    }

    /// Seals what the list names, if it is ours; says how many.
    pub(crate) async fn seal_heads(&self) -> Result<u64, StoreError> {
        let view = self.view().await?;
        let Some(digest) = digest_of_all(&view).await? else { return Ok(0) };
        let sql = "SELECT proof_enc FROM unsealed_heads_proof WHERE id = 1";
        let proof = view.first(sql, Vec::new(), |row| row.at::<Vec<u8>>("proof_enc")).await?;
        let vouched = proof.and_then(|proof| view.sealer().open(PLACE, &proof).ok());
        drop(view);
        if vouched.is_none_or(|known| known != Secret::new(digest.as_bytes().to_vec())) {
            tracing::error!("heads of audit chains are listed to be sealed, and not by us: they stay as they are");
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

/// Seals some of those behind `after`; how many, and the last. At the end the list goes.
async fn seal_some(view: &View, after: &str) -> Result<Option<(u64, String)>, StoreError> {
    let listed = listed(view, after).await?;
    let Some((last, ..)) = listed.last() else {
        view.execute("DELETE FROM unsealed_heads", Vec::new()).await?;
        view.execute("DELETE FROM unsealed_heads_proof", Vec::new()).await?;
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

/// Hex SHA-256 over the whole list; none for an empty one.
async fn digest_of_all(view: &View) -> Result<Option<String>, StoreError> {
    let (mut context, mut after) = (Context::new(&SHA256), String::new());
    loop {
        let some = listed(view, &after).await?;
        let Some((last, ..)) = some.last() else { break };
        after.clone_from(last);
        for (chain, seq, hash) in &some {
            context.update(format!("{chain} {seq}:{hash}\n").as_bytes());
        }
    }
    if after.is_empty() {
        return Ok(None);
    }
    Ok(Some(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
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
        run(&store, &[unseal, list]).await;
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
