//! Domains of email addresses, and who belongs to a tenant by them.

use std::time::Duration;

use authz::{Scope, action::ManageEmailDomains};
use domain::{
    EmailDomainId, Fact, TenantId, Timestamp,
    model::{Challenge, Finding, Membership, MembershipSource, NewEmailDomain, ProofFailure, Verdict, VerifyState},
};
use store::{Audited, Look, Noted, Store, StoreError, list::EmailDomainList, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const MISSING: Finding = Finding::Absent(ProofFailure::RecordMissing);

async fn claimed(store: &Store, tenant_id: TenantId, byte: u8) -> EmailDomainId {
    let new = NewEmailDomain {
        id: fresh(),
        project_id: CLOUD,
        tenant_id,
        domain: "example.com".parse().unwrap(),
        challenge: Challenge::new([byte; 32]),
    };
    change!(store, |tx, new| tx.insert_email_domain(&system(), new.clone())).unwrap();
    new.id
}

/// Notes what was found at a time, and ends what follows; the verdict where it was told.
async fn found(
    store: &Store,
    id: EmailDomainId,
    finding: Finding,
    at: Timestamp,
) -> Result<Option<Verdict>, StoreError> {
    let by = system::<ManageEmailDomains>();
    let look = Look { finding, asked_at: at, next: at + Duration::from_secs(10) };
    let (by, look) = (&by, &look);
    let noted = store.write(by, at, |tx| async move {
        Ok::<_, StoreError>(match tx.note_email_domain_proof(by, id, look, &RULES).await? {
            Noted::Quiet(_) => Audited::unchanged(None),
            Noted::Told { verdict, now, displaced } => {
                if let Some(displaced) = displaced {
                    tx.done("taken_over", displaced).await?;
                }
                let domain = tx.done("noted", now).await?;
                let place = (domain.peek().project_id, domain.peek().tenant_id);
                for ended in tx.end_stray_memberships(by, place).await? {
                    tx.deleted(ended).await?;
                }
                domain.map(|_| Some(verdict))
            }
        })
    });
    noted.await.map(|(verdict, _)| verdict)
}

pub(crate) async fn a_domain_has_one_holder_in_a_project(db: Database) {
    let store = world(&db).await;
    let claims = [claimed(&store, ACME, 1).await, claimed(&store, GLOBEX, 2).await];
    let tries = claims.iter().cycle().take(8).map(|id| {
        let (store, id) = (store.clone(), *id);
        tokio::spawn(async move { found(&store, id, Finding::Proven, NOW).await })
    });
    let mut won = 0;
    for outcome in tries.collect::<Vec<_>>() {
        match outcome.await.unwrap() {
            Ok(Some(Verdict::Wins)) => won += 1,
            Ok(None) => {}
            Err(StoreError::Rule { code: "domain_taken", .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
    let holder = store.email_domain_holder(CLOUD, &"example.com".parse().unwrap()).await.unwrap().unwrap();
    let loser = claims.into_iter().find(|id| *id != holder.id).unwrap();
    // Taken over after the grace and the time that follows it, and not before.
    found(&store, holder.id, MISSING, NOW).await.unwrap();
    let failed = NOW + RULES.grace;
    assert!(matches!(found(&store, holder.id, MISSING, failed).await.unwrap(), Some(Verdict::Fails(_))));
    assert!(found(&store, loser, Finding::Proven, failed).await.is_err());
    let over = failed + RULES.takeover_after;
    assert_eq!(found(&store, loser, Finding::Proven, over).await.unwrap(), Some(Verdict::Wins));
    let old = store.email_domain(holder.id).await.unwrap().unwrap();
    assert_eq!(
        (old.state, old.verified_at, old.proof.failure),
        (VerifyState::Failed, None, Some(ProofFailure::TakenOver))
    );
}

pub(crate) async fn who_belongs_by_a_lost_domain_is_out_with_everything(db: Database) {
    let store = world(&db).await;
    let id = claimed(&store, ACME, 1).await;
    found(&store, id, Finding::Proven, NOW).await.unwrap();
    // Ann was added by an administrator, Gus belongs by his address.
    let came = Membership { source: MembershipSource::Domain, ..membership(ACME, GUS) };
    change!(store, |tx, came| tx.insert_membership(&system(), came.clone())).unwrap();
    store.tick(NOW).await.unwrap();
    found(&store, id, MISSING, NOW).await.unwrap();
    assert!(store.membership(ACME, GUS).await.unwrap().is_some(), "in the grace everything is as it was");
    found(&store, id, MISSING, NOW + RULES.grace).await.unwrap();
    assert!(store.membership(ACME, GUS).await.unwrap().is_none());
    assert!(store.membership(ACME, ANN).await.unwrap().is_some());
    assert!(!store.bindings(ACME, GUS).await.unwrap().active);
    let facts = store.tick(NOW).await.unwrap().facts;
    let raised = facts
        .iter()
        .any(|it| matches!(it.fact, Fact::UserGeneration { tenant, user, .. } if (tenant, user) == (ACME, GUS)));
    assert!(raised, "his tokens are refused: {facts:?}");
}

pub(crate) async fn domains_and_their_proofs_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    let acme = claimed(&store, ACME, 1).await;
    claimed(&store, GLOBEX, 2).await;
    let listed = listed::<EmailDomainList>(&store, ACME).await;
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [acme]);
    let Some(client) = db.postgres().await else { return };
    assert!(store.within(Scope::Tenant(CLOUD, GLOBEX)).email_domain(acme).await.unwrap().is_none());
    for (scope, expected) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1),
        (scope_settings("tenant", Some(ROOT), Some(ACME)), 0),
        (scope_settings("project", Some(CLOUD), None), 2),
        (scope_settings("platform", None, None), 2),
        (String::new(), 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for table in ["email_domains", "email_domain_proofs"] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
