//! Who holds a hostname that several claim.

use std::time::Duration;

use authz::{Scope, action::ManageHostnames};
use domain::{
    HostnameId, TenantId, Timestamp,
    model::{
        Challenge, Finding, Hostname, HostnameKind, NewHostname, ProofFailure, ProofSubject, Verdict, VerifyState,
    },
    snapshot::EntityKind,
};
use store::{Audited, Look, Noted, Store, StoreError, list::Selection, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const NAME: &str = "shop.customer.example";
const MISSING: Finding = Finding::Absent(ProofFailure::RecordMissing);
const SECOND: Duration = Duration::from_secs(1);

fn custom(id: HostnameId, tenant: TenantId, byte: u8) -> NewHostname {
    NewHostname {
        kind: HostnameKind::Custom,
        verify_state: VerifyState::Pending,
        challenge: Some(Challenge::new([byte; 32])),
        ..hostname(id, tenant, NAME)
    }
}

async fn claimed(store: &Store, tenant: TenantId, byte: u8) -> HostnameId {
    let new = custom(fresh(), tenant, byte);
    change!(store, |tx, new| tx.insert_hostname(&system(), new.clone())).unwrap();
    new.id
}

/// Notes what was found at a time; the verdict where it was told.
async fn found(store: &Store, id: HostnameId, finding: Finding, at: Timestamp) -> Result<Option<Verdict>, StoreError> {
    noted(store, id, Look { finding, asked_at: at, next: at + SECOND * 10 }, at).await
}

async fn noted(store: &Store, id: HostnameId, look: Look, at: Timestamp) -> Result<Option<Verdict>, StoreError> {
    let by = system::<ManageHostnames>();
    let (by, look) = (&by, &look);
    let noted = store.write(by, at, |tx| async move {
        Ok::<_, StoreError>(match tx.note_hostname_proof(by, id, look, &RULES).await? {
            Noted::Quiet(_) => Audited::unchanged(None),
            Noted::Told { verdict, now, displaced } => {
                if let Some(displaced) = displaced {
                    tx.done("taken_over", displaced).await?;
                }
                tx.done("noted", now).await?.map(|_| Some(verdict))
            }
        })
    });
    noted.await.map(|(verdict, _)| verdict)
}

async fn read(store: &Store, id: HostnameId) -> Hostname {
    store.hostname(id).await.unwrap().unwrap()
}

fn rule(outcome: Result<Option<Verdict>, StoreError>) -> &'static str {
    match outcome {
        Err(StoreError::Rule { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn of_many_that_prove_a_name_at_once_one_has_it(db: Database) {
    let store = world(&db).await;
    let mut claims = Vec::new();
    for (byte, tenant) in [ACME, GLOBEX].into_iter().enumerate() {
        claims.push(claimed(&store, tenant, u8::try_from(byte).unwrap()).await);
    }
    // Each tries several times, as clients do.
    let tries = claims.iter().cycle().take(8).map(|id| {
        let (store, id) = (store.clone(), *id);
        tokio::spawn(async move { found(&store, id, Finding::Proven, NOW).await })
    });
    let mut won = 0;
    for outcome in tries.collect::<Vec<_>>() {
        match outcome.await.unwrap() {
            Ok(Some(Verdict::Wins)) => won += 1,
            Ok(None) => {}
            Err(StoreError::Rule { code: "hostname_taken", .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
    let holders = "SELECT COUNT(*) FROM hostnames WHERE hostname = 'shop.customer.example' AND verified_at IS NOT NULL";
    assert_eq!(db.number(holders).await, 1);
    let told = store.tick(NOW).await.unwrap().changes;
    assert_eq!(told.iter().filter(|it| it.key.kind == EntityKind::Hostname && it.entity.is_some()).count(), 1);
}

pub(crate) async fn what_was_never_proven_keeps_a_name_from_nobody(db: Database) {
    let store = world(&db).await;
    let (acme, globex) = (claimed(&store, ACME, 1).await, claimed(&store, GLOBEX, 2).await);
    assert!(store.hostname_by_name(&NAME.parse().unwrap()).await.unwrap().is_none());
    // One claim of a tenant is enough.
    let again = custom(fresh(), ACME, 3);
    let refused = change!(store, |tx, again| tx.insert_hostname(&system(), again.clone())).unwrap_err();
    assert!(refused.is_conflict("hostnames", "hostname"), "{refused:?}");

    assert_eq!(found(&store, acme, MISSING, NOW).await.unwrap(), Some(Verdict::Waits(ProofFailure::RecordMissing)));
    assert_eq!(read(&store, acme).await.verify_state, VerifyState::Failed);
    assert_eq!(found(&store, acme, MISSING, NOW).await.unwrap(), None, "nothing new");
    assert!(store.due_proofs(NOW + SECOND * 86_400, 10).await.unwrap().is_empty(), "nobody looks unasked");
    change!(store, |tx| tx.delete_hostname(&system(), acme, &RULES)).unwrap();
    assert_eq!(found(&store, globex, Finding::Proven, NOW).await.unwrap(), Some(Verdict::Wins));
    let holder = store.hostname_by_name(&NAME.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((holder.id, holder.verify_state), (globex, VerifyState::Verified));
}

pub(crate) async fn a_missing_proof_warns_then_fails_and_an_unanswered_one_does_neither(db: Database) {
    let store = world(&db).await;
    let id = claimed(&store, ACME, 1).await;
    assert_eq!(found(&store, id, Finding::Unknown, NOW).await.unwrap(), None);
    assert_eq!(read(&store, id).await.verify_state, VerifyState::Pending, "not knowing is no failure");
    found(&store, id, Finding::Proven, NOW).await.unwrap();
    store.tick(NOW).await.unwrap();

    let mut at = NOW;
    for _ in 0..100 {
        at = at + SECOND * 3600;
        assert_eq!(found(&store, id, Finding::Unknown, at).await.unwrap(), None);
    }
    let kept = read(&store, id).await;
    assert_eq!(kept.verify_state, VerifyState::Verified);
    assert_eq!(kept.proof.unwrap().failure, Some(ProofFailure::DnsUnavailable));

    let lost = at + SECOND;
    assert_eq!(found(&store, id, MISSING, lost).await.unwrap(), Some(Verdict::Lost(ProofFailure::RecordMissing)));
    assert_eq!(found(&store, id, MISSING, lost + RULES.grace - SECOND).await.unwrap(), None);
    assert_eq!(found(&store, id, Finding::Unknown, lost + RULES.grace * 2).await.unwrap(), None, "still not known");
    assert_eq!(read(&store, id).await.verify_state, VerifyState::Verified);
    assert!(store.tick(lost).await.unwrap().changes.is_empty(), "it is served as before");
    let over = lost + RULES.grace * 2;
    assert_eq!(found(&store, id, MISSING, over).await.unwrap(), Some(Verdict::Fails(ProofFailure::RecordMissing)));
    let failed = read(&store, id).await;
    assert_eq!((failed.verify_state, failed.holds()), (VerifyState::Failed, true));
    let tick = store.tick(over).await.unwrap();
    let gone = tick.changes.iter().find(|it| it.key.kind == EntityKind::Hostname).unwrap();
    assert!(gone.entity.is_none(), "gateways are told that it is gone");
    assert_eq!(tick.min_revision, tick.revision, "and hold no lease until they know");

    assert_eq!(found(&store, id, Finding::Proven, over + SECOND).await.unwrap(), Some(Verdict::Wins));
    let back = read(&store, id).await.proof.unwrap();
    assert_eq!((back.lost_at, back.failed_at, back.failure), (None, None, None));
}

pub(crate) async fn a_lost_name_is_taken_over_only_after_its_time(db: Database) {
    let store = world(&db).await;
    let (acme, globex) = (claimed(&store, ACME, 1).await, claimed(&store, GLOBEX, 2).await);
    found(&store, acme, Finding::Proven, NOW).await.unwrap();
    let taken = |at| {
        let store = store.clone();
        async move { rule(found(&store, globex, Finding::Proven, at).await) }
    };
    assert_eq!(taken(NOW).await, "hostname_taken");
    found(&store, acme, MISSING, NOW).await.unwrap();
    assert_eq!(taken(NOW + SECOND).await, "hostname_taken", "in its grace");
    let failed = NOW + RULES.grace;
    found(&store, acme, MISSING, failed).await.unwrap();
    assert_eq!(taken(failed + RULES.takeover_after - SECOND).await, "hostname_taken", "failed, and not for long");
    let over = failed + RULES.takeover_after;
    assert_eq!(found(&store, globex, Finding::Proven, over).await.unwrap(), Some(Verdict::Wins));
    let old = read(&store, acme).await;
    assert_eq!((old.verify_state, old.holds()), (VerifyState::Failed, false));
    assert_eq!(old.proof.unwrap().failure, Some(ProofFailure::TakenOver));
    assert_eq!(rule(found(&store, acme, Finding::Proven, over + SECOND).await), "hostname_taken");
}

/// M7: release, quarantine, claim by another, claim by the same.
pub(crate) async fn m7_a_name_that_was_given_up_is_nobody_elses_for_a_while(db: Database) {
    let store = world(&db).await;
    let (acme, globex) = (claimed(&store, ACME, 1).await, claimed(&store, GLOBEX, 2).await);
    found(&store, acme, Finding::Proven, NOW).await.unwrap();
    change!(store, |tx| tx.delete_hostname(&system(), acme, &RULES)).unwrap();
    assert_eq!(rule(found(&store, globex, Finding::Proven, NOW).await), "hostname_quarantined");
    let staffs = hostname(fresh(), GLOBEX, NAME);
    let refused = change!(store, |tx, staffs| tx.insert_hostname(&system(), staffs.clone())).unwrap_err();
    assert!(matches!(refused, StoreError::Rule { code: "hostname_quarantined", .. }), "{refused:?}");

    // Who gave it up may have it again, and give it up again.
    let back = claimed(&store, ACME, 3).await;
    assert_eq!(found(&store, back, Finding::Proven, NOW).await.unwrap(), Some(Verdict::Wins));
    change!(store, |tx| tx.delete_hostname(&system(), back, &RULES)).unwrap();
    let over = NOW + RULES.quarantine;
    assert_eq!(rule(found(&store, globex, Finding::Proven, over - SECOND).await), "hostname_quarantined");
    assert_eq!(found(&store, globex, Finding::Proven, over).await.unwrap(), Some(Verdict::Wins));
    store.prune(over + SECOND).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM released_hostnames").await, 0);
}

pub(crate) async fn an_older_look_changes_nothing(db: Database) {
    let store = world(&db).await;
    let id = claimed(&store, ACME, 1).await;
    found(&store, id, Finding::Proven, NOW + SECOND).await.unwrap();
    let old = Look { finding: MISSING, asked_at: NOW, next: NOW };
    assert_eq!(noted(&store, id, old, NOW + SECOND * 2).await.unwrap(), None);
    assert_eq!(read(&store, id).await.proof.unwrap().lost_at, None);
}

pub(crate) async fn a_claim_is_looked_for_by_one_and_by_nobody_else_for_a_while(db: Database) {
    let store = world(&db).await;
    let id = claimed(&store, ACME, 1).await;
    found(&store, id, Finding::Proven, NOW).await.unwrap();
    let now = NOW + SECOND * 10;
    assert!(store.due_proofs(now - SECOND, 10).await.unwrap().is_empty());
    let due = store.due_proofs(now, 10).await.unwrap();
    assert_eq!(due.iter().map(|it| it.subject).collect::<Vec<_>>(), [ProofSubject::Hostname(id)]);
    assert_eq!((due[0].name.as_str(), &due[0].challenge), (NAME, &Challenge::new([1; 32])));
    let claims = (0..8).map(|_| {
        let (store, seen) = (store.clone(), due[0].clone());
        tokio::spawn(async move {
            let seen = &seen;
            let claim = store.write_session(Scope::Platform, now, |tx| async move {
                tx.claim_proof(seen, now + SECOND * 600).await
            });
            claim.await.map_err(|error: StoreError| error).unwrap()
        })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        won += u32::from(claim.await.unwrap());
    }
    assert_eq!(won, 1);
    assert!(store.due_proofs(now + SECOND * 599, 10).await.unwrap().is_empty());
    assert_eq!(store.due_proofs(now + SECOND * 600, 10).await.unwrap().len(), 1, "the first was never heard of again");
}

pub(crate) async fn claims_and_their_challenges_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    let (acme, globex) = (claimed(&store, ACME, 1).await, claimed(&store, GLOBEX, 2).await);
    let acmes = ACME.to_string();
    let of = [("tenant_id", acmes.as_str()), ("kind", "custom"), ("state", "pending")];
    let listed = store.list_hostnames(&Selection::read(of).unwrap()).await.unwrap().rows;
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [acme]);
    assert_eq!(listed[0].proof.as_ref().unwrap().challenge, Challenge::new([1; 32]));
    found(&store, globex, Finding::Proven, NOW).await.unwrap();
    change!(store, |tx| tx.delete_hostname(&system(), globex, &RULES)).unwrap();
    let Some(client) = db.postgres().await else { return };
    let own = store.within(Scope::Tenant(CLOUD, GLOBEX));
    assert!(own.hostname(acme).await.unwrap().is_none());
    for (scope, proofs, released) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1, 0),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 0, 1),
        (scope_settings("tenant", Some(ROOT), Some(ACME)), 0, 0),
        (scope_settings("project", Some(CLOUD), None), 1, 1),
        (scope_settings("platform", None, None), 1, 1),
        (String::new(), 0, 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for (table, expected) in [("hostname_proofs", proofs), ("released_hostnames", released)] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
