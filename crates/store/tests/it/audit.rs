//! The audit trail.

use authz::{Caller, Context, PermissionSet, Scope, action::*};
use domain::audit::{Actor, ActorKind, AuditEntry, Origin};
use serde_json::json;
use store::{AuditQuery, StoreError, read::*};
use uuid::Uuid;

use crate::{
    harness::{Database, NOW},
    world::*,
};

pub(crate) async fn every_change_is_in_the_trail_with_who_did_it(db: Database) {
    let store = world(&db).await;
    let actor = Actor { kind: ActorKind::User, id: Some(Uuid::from_u128(7)), name: "root".into() };
    let origin = Origin { source_ip: Some("192.0.2.1".parse().unwrap()), user_agent: None, request_id: Some(fresh()) };
    let staff = Caller {
        actor: actor.clone(),
        origin: origin.clone(),
        context: Context::System,
        permissions: PermissionSet::default(),
        is_admin: false,
        is_super_admin: true,
    };
    let permission = "platform:tenant:update".parse().unwrap();
    let by = staff.authorize::<ManageTenants>(&permission, Scope::Platform).unwrap();
    store
        .write(&by, NOW, |tx| {
            let by = by.clone();
            async move {
                let mut tenant = tx.tenant(ACME).await?.ok_or(StoreError::NotFound { what: "tenant" })?;
                tenant.plan = Some("basic".into());
                tx.updated(tx.update_tenant(&by, tenant).await?).await
            }
        })
        .await
        .unwrap();
    let query =
        AuditQuery { action: Some("tenant.updated".into()), tenant: Some(ACME), limit: 10, ..AuditQuery::default() };
    let [event] = &store.audit_events(&query).await.unwrap()[..] else { panic!("one event") };
    assert_eq!((&event.actor, &event.origin, event.received), (&actor, &origin, NOW));
    assert_eq!(event.entry.fields["plan"], json!("basic"));
    assert_eq!((event.entry.target.id.clone(), event.chain.is_none()), (ACME.to_string(), true));
}

pub(crate) async fn the_chain_of_each_tenant_holds_and_tampering_breaks_it(db: Database) {
    let store = world(&db).await;
    let (a, b) = tokio::join!(store.chain_audit(5), store.chain_audit(100));
    assert!(a.unwrap() + b.unwrap() > 5);
    while store.chain_audit(5).await.unwrap() > 0 {}
    for tenant in [None, Some(ACME), Some(GLOBEX)] {
        assert!(store.verify_audit(tenant).await.unwrap().unwrap() > 0, "{tenant:?}");
    }
    let acme = store.verify_audit(Some(ACME)).await.unwrap().unwrap();
    db.behind(&format!("UPDATE audit_events SET action = 'nothing' WHERE chain = '{ACME}' AND chain_seq = 2")).await;
    assert_eq!(store.verify_audit(Some(ACME)).await.unwrap(), Err(2));
    assert!(store.verify_audit(Some(GLOBEX)).await.unwrap().is_ok());
    db.behind(&format!("DELETE FROM audit_events WHERE chain = '{ACME}' AND chain_seq >= 2")).await;
    assert_eq!(store.verify_audit(Some(ACME)).await.unwrap(), Err(2), "of {acme}, the end was cut off");
}

pub(crate) async fn the_trail_is_read_newest_first_by_cursor(db: Database) {
    let store = world(&db).await;
    let entry = AuditEntry {
        action: "login.failed".into(),
        crud: domain::audit::Crud::C,
        target: domain::audit::Target { kind: "user".into(), id: "?".into(), name: "nobody".into() },
        project_id: Some(CLOUD),
        tenant_id: None,
        is_failure: true,
        fields: json!({ "b": 1, "a": [1.5, null] }),
    };
    let nobody = Actor { kind: ActorKind::Anonymous, id: None, name: "nobody".into() };
    for n in 0..5 {
        let at = NOW + std::time::Duration::from_secs(n);
        let (entry, nobody) = (entry.clone(), nobody.clone());
        store
            .write_session(Scope::Tenant(CLOUD, ACME), at, |tx| {
                let (entry, nobody) = (entry.clone(), nobody.clone());
                async move { tx.record(&nobody, &Origin::default(), &entry).await }
            })
            .await
            .unwrap();
    }
    let mut query = AuditQuery { action: Some("login.failed".into()), limit: 2, ..AuditQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = store.audit_events(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        query.before = Some((last.received, last.id));
        seen.extend(page.iter().map(|event| event.received.since(NOW).as_secs()));
    }
    assert_eq!(seen, [4, 3, 2, 1, 0]);
    while store.chain_audit(100).await.unwrap() > 0 {}
    assert!(store.verify_audit(None).await.unwrap().is_ok(), "whatever order JSON members are kept in");
}
