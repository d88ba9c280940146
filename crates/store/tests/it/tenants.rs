//! Tenants.

use domain::{
    Fact,
    model::TenantTransition::{Activate, Cancel, Resume, Suspend},
    snapshot::{Entity, TenantStatus},
};
use store::{StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

pub(crate) async fn a_tenant_takes_the_listed_steps_only(db: Database) {
    let store = world(&db).await;
    let (suspended, _) = change!(store, |tx| tx.step_tenant(&system(), ACME, Suspend)).unwrap();
    assert_eq!(suspended.status, TenantStatus::Suspended);
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision, "suspending narrows");
    assert!(tick.changes.iter().any(|change| matches!(&change.entity,
        Some(Entity::Tenant(tenant)) if tenant.id == ACME && tenant.status == TenantStatus::Suspended)));
    let refused = change!(store, |tx| tx.step_tenant(&system(), ACME, Activate));
    assert!(matches!(refused, Err(StoreError::TenantState(_))), "{refused:?}");
    let (resumed, _) = change!(store, |tx| tx.step_tenant(&system(), ACME, Resume)).unwrap();
    assert_eq!(resumed.status, TenantStatus::Active);
    let (frozen, _) = change!(store, |tx| tx.step_tenant(&system(), ACME, Cancel)).unwrap();
    assert_eq!(frozen.status, TenantStatus::Frozen);
    let (deleted, _) = change!(store, |tx| tx.delete_tenant(&system(), ACME)).unwrap();
    assert_eq!((deleted.status, deleted.deleted_at), (TenantStatus::Deleted, Some(NOW)));
    assert!(change!(store, |tx| tx.step_tenant(&system(), ACME, Resume)).is_err());
    let listed = store.tenants(store::Page::WIDEST).await.unwrap();
    assert!(listed.iter().all(|tenant| tenant.id != ACME) && listed.len() == 2);
}

pub(crate) async fn a_tenants_audit_trail_survives_it(db: Database) {
    let store = world(&db).await;
    crate::audit::chain_all(&store).await;
    let before = db.number("SELECT COUNT(*) FROM audit_events").await;
    db.behind(&format!(
        "DELETE FROM memberships WHERE tenant_id = '{GLOBEX}'; DELETE FROM hostnames WHERE tenant_id = '{GLOBEX}';
         UPDATE audit_events SET tenant_id = NULL WHERE tenant_id = '{GLOBEX}';
         DELETE FROM user_generations WHERE tenant_id = '{GLOBEX}'; DELETE FROM tenants WHERE id = '{GLOBEX}';"
    ))
    .await;
    assert_eq!(db.number("SELECT COUNT(*) FROM audit_events").await, before);
    let report = store.verify_audit(Some(GLOBEX)).await.unwrap();
    assert!(report.broken.is_none() && report.rows > 0, "the chain still holds: {report:?}");
}

pub(crate) async fn a_tenant_of_another_project_is_no_home_for_a_user(db: Database) {
    let store = world(&db).await;
    let outcome = change!(store, |tx| tx.insert_membership(&system(), membership(STAFF, ANN)));
    assert!(matches!(outcome, Err(StoreError::Reference)), "{outcome:?}");
}

pub(crate) async fn revoking_a_tenants_tokens_raises_its_generation(db: Database) {
    let store = world(&db).await;
    let (revoked, _) = change!(store, |tx| tx.revoke_tenant_tokens(&system(), ACME)).unwrap();
    assert_eq!(revoked.generation, 1);
    let tick = store.tick(NOW).await.unwrap();
    assert!(
        tick.facts
            .iter()
            .any(|it| it.fact == Fact::TenantGeneration { tenant: ACME, generation: 1, cutoff: Some(NOW) })
    );
}
