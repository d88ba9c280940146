//! Products, entitlements and what tenants ask for.

use std::time::Duration;

use authz::{
    Caller, Context, PermissionSet,
    action::{ManageEntitlements, ManageProductRequests},
};
use domain::{
    ProductId, ProductQuota, TenantId, Timestamp,
    audit::{Actor, ActorKind, Origin},
    model::{
        Entitlement, EntitlementSource, EntitlementStatus, NewEntitlement, NewProduct, NewProductRequest, Product,
        ProductRequestKind, ProductRequestStatus,
    },
    snapshot::Entity,
};
use futures::future::join_all;
use store::{
    Store, StoreError,
    list::{EntitlementList, ProductRequestList, Selection},
    read::*,
};

use crate::{
    harness::{Database, NOW},
    world::*,
};

const DAY: Duration = Duration::from_secs(86_400);

async fn product(store: &Store, key: &str, requestable: bool) -> Product {
    let new = NewProduct {
        id: fresh(),
        key: key.parse().unwrap(),
        name: key.into(),
        description: String::new(),
        requestable,
        trial_days: Some(14),
        quota: ProductQuota::default(),
    };
    change!(store, |tx, new| tx.insert_product(&system(), new.clone())).unwrap().0
}

fn entitlement(tenant_id: TenantId, product_id: ProductId, ends_at: Option<Timestamp>) -> NewEntitlement {
    NewEntitlement {
        id: fresh(),
        project_id: CLOUD,
        tenant_id,
        product_id,
        source: EntitlementSource::Sale,
        ends_at,
        quota: None,
    }
}

async fn put(store: &Store, new: NewEntitlement) -> Entitlement {
    change!(store, |tx, new| tx.put_entitlement(&system(), new.clone())).unwrap().0
}

/// What the edge was last told of a tenant's products, and whether it had to know before it may prove anything.
async fn told(store: &Store, tenant: TenantId) -> Option<(Vec<(String, Option<Timestamp>)>, bool)> {
    let tick = store.tick(NOW).await.unwrap();
    let narrowed = tick.min_revision == tick.revision;
    tick.changes.into_iter().rev().find_map(|change| match change.entity {
        Some(Entity::Tenant(it)) if it.id == tenant => Some((it.products.into_iter().collect(), narrowed)),
        _ => None,
    })
}

pub(crate) async fn the_edge_is_told_what_a_tenant_may_use_and_until_when(db: Database) {
    let store = world(&db).await;
    let (orders, stock) = (product(&store, "orders", true).await, product(&store, "stock", false).await);
    let given = put(&store, entitlement(ACME, orders.id, None)).await;
    assert_eq!(given.status(NOW), EntitlementStatus::Active);
    assert_eq!(told(&store, ACME).await.unwrap().0, [("orders".to_owned(), None)]);
    put(&store, entitlement(ACME, stock.id, Some(NOW + DAY))).await;
    let both = [("orders".to_owned(), None), ("stock".to_owned(), Some(NOW + DAY))];
    assert_eq!(told(&store, ACME).await.unwrap().0, both);
    assert_eq!(store.entitled(GLOBEX, NOW).await.unwrap(), []);

    // Sooner narrows, later does not; one of both is left.
    let sooner = put(&store, entitlement(ACME, orders.id, Some(NOW + DAY))).await;
    assert_eq!((sooner.id, sooner.starts_at), (given.id, given.starts_at), "it is the same one");
    assert!(told(&store, ACME).await.unwrap().1, "gateways must know before they prove anything");
    put(&store, entitlement(ACME, orders.id, Some(NOW + DAY * 2))).await;
    assert!(!told(&store, ACME).await.unwrap().1);
    let id = given.id;
    let (revoked, _) = change!(store, |tx| tx.revoke_entitlement(&system(), id)).unwrap();
    assert_eq!(revoked.status(NOW), EntitlementStatus::Revoked);
    let (left, narrowed) = told(&store, ACME).await.unwrap();
    assert_eq!((left.len(), narrowed), (1, true));
    let again = change!(store, |tx| tx.revoke_entitlement(&system(), id)).map(drop);
    assert!(matches!(again, Err(StoreError::NotFound { .. })), "{again:?}");
    assert!(put(&store, entitlement(ACME, orders.id, None)).await.holds(NOW), "it begins anew");
    let after = store.entitled(ACME, NOW + DAY).await.unwrap();
    assert_eq!(after.iter().map(|it| it.product.as_str()).collect::<Vec<_>>(), ["orders"], "the other is over");
    assert_eq!(listed::<EntitlementList>(&store, ACME).await.len(), 2);
}

pub(crate) async fn of_many_trials_of_a_product_at_once_a_tenant_gets_one(db: Database) {
    let store = world(&db).await;
    let orders = product(&store, "orders", true).await.id;
    let by = system::<ManageProductRequests>();
    let trials = (0..8).map(|_| async {
        let new = entitlement(ACME, orders, Some(NOW + DAY * 14));
        let (by, new) = (&by, &new);
        store.write(by, NOW, |tx| async move { tx.created(tx.insert_trial(by, new.clone()).await?).await }).await
    });
    let outcomes = join_all(trials).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(refused.is_conflict("entitlements", "product_id"), "{refused:?}");
    }
    assert_eq!(store.entitled(ACME, NOW).await.unwrap()[0].status(NOW), EntitlementStatus::Trial);
    // Other tenants have theirs.
    put(&store, entitlement(GLOBEX, orders, None)).await;
}

pub(crate) async fn a_tenant_asks_once_and_waits_for_the_answer(db: Database) {
    let store = world(&db).await;
    let orders = product(&store, "orders", true).await.id;
    let new = |tenant_id| NewProductRequest {
        id: fresh(),
        project_id: CLOUD,
        tenant_id,
        product_id: orders,
        kind: ProductRequestKind::Request,
        contact: "ann@acme.example".into(),
        note: String::new(),
        status: ProductRequestStatus::Open,
        requested_by: Some(ANN),
    };
    let ask = async |new: NewProductRequest| {
        change!(store, |tx, new| tx.insert_product_request(&system(), new.clone())).map(|(made, _)| made)
    };
    let asked = ask(new(ACME)).await.unwrap();
    let twice = ask(new(ACME)).await.unwrap_err();
    assert!(twice.is_conflict("product_requests", "product_id"), "{twice:?}");
    ask(new(GLOBEX)).await.unwrap();
    let settled = change!(store, |tx, asked| tx.update_product_request(
        &system(),
        asked.id,
        Some(asked.version),
        ProductRequestStatus::Declined
    ));
    assert_eq!(settled.unwrap().0.status, ProductRequestStatus::Declined);
    let stale = change!(store, |tx, asked| tx.update_product_request(
        &system(),
        asked.id,
        Some(asked.version),
        ProductRequestStatus::Approved
    ));
    assert!(matches!(stale, Err(StoreError::VersionMismatch { .. })), "{stale:?}");
    ask(new(ACME)).await.unwrap();
    let of_acme = Selection::<ProductRequestList>::default().only("tenant_id", &ACME.to_string()).unwrap();
    assert_eq!(store.list((), &of_acme).await.unwrap().rows.len(), 2);
    assert_eq!(listed::<ProductRequestList>(&store, ()).await.len(), 3);
    let held = change!(store, |tx| tx.delete_product(&system(), orders)).map(drop);
    assert!(matches!(held, Err(StoreError::Reference)), "{held:?}");
}

/// A tenant's own administrator, as the store sees one.
fn of_acme() -> Caller {
    Caller {
        actor: Actor { kind: ActorKind::User, id: None, name: "ann".into() },
        origin: Origin::default(),
        context: Context::Tenant(CLOUD, ACME),
        permissions: PermissionSet::default(),
        is_admin: true,
        is_super_admin: false,
    }
}

pub(crate) async fn entitlements_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    let orders = product(&store, "orders", true).await.id;
    let theirs = put(&store, entitlement(GLOBEX, orders, None)).await;
    let acme = store.within(authz::Scope::Tenant(CLOUD, ACME));
    let scope = authz::Scope::Tenant(CLOUD, ACME);
    let by = of_acme().authorize::<ManageProductRequests>(&"tenant:product-request:create".parse().unwrap(), scope);
    let by = &by.unwrap();
    let stolen = store.write(by, NOW, |tx| async move {
        tx.created(tx.insert_trial(by, entitlement(GLOBEX, orders, None)).await?).await
    });
    assert!(matches!(stolen.await, Err(StoreError::OutOfScope)));
    let by = of_acme().authorize::<ManageEntitlements>(&"tenant:entitlement:delete".parse().unwrap(), scope);
    let by = &by.unwrap();
    let id = theirs.id;
    let revoked =
        store.write(by, NOW, |tx| async move { tx.done("revoked", tx.revoke_entitlement(by, id).await?).await });
    let revoked = revoked.await;
    assert!(matches!(revoked, Err(StoreError::OutOfScope | StoreError::NotFound { .. })), "{revoked:?}");
    assert!(store.entitlement(theirs.id).await.unwrap().is_some_and(|it| it.holds(NOW)));
    if db.postgres().await.is_some() {
        // The second wall: without a predicate there is nothing to see.
        assert_eq!(acme.entitlement(theirs.id).await.unwrap(), None);
        assert_eq!(listed::<EntitlementList>(&acme, GLOBEX).await, []);
    }
}

/// The quotas that the edge was last told of a tenant, whether it had to know before it may prove anything, and what it
/// has to understand.
async fn quotas(store: &Store, tenant: TenantId) -> Option<(Vec<(String, ProductQuota)>, bool, u32)> {
    let tick = store.tick(NOW).await.unwrap();
    let narrowed = tick.min_revision == tick.revision;
    tick.changes.into_iter().rev().find_map(|change| match change.entity {
        Some(Entity::Tenant(it)) if it.id == tenant => {
            Some((it.quotas.into_iter().collect(), narrowed, change.min_reader))
        }
        _ => None,
    })
}

pub(crate) async fn a_quota_is_told_with_every_tenant_that_it_is_for(db: Database) {
    let store = world(&db).await;
    let orders = product(&store, "orders", true).await;
    let quota = |per_day| ProductQuota { per_day: Some(per_day), per_month: None };
    let told = |per_day| vec![("orders".to_owned(), quota(per_day))];
    let set = async |quota| {
        let product = store.product(orders.id).await.unwrap().unwrap();
        let changed = Product { quota, ..product };
        change!(store, |tx, changed| tx.update_product(&system(), changed.clone())).unwrap();
    };
    put(&store, entitlement(ACME, orders.id, None)).await;
    let own = NewEntitlement { quota: Some(quota(7)), ..entitlement(GLOBEX, orders.id, None) };
    put(&store, own).await;
    assert_eq!(quotas(&store, GLOBEX).await, Some((told(7), false, 3)));

    set(quota(100)).await;
    assert_eq!(store.product(orders.id).await.unwrap().unwrap().quota, quota(100));
    assert_eq!(quotas(&store, ACME).await, Some((told(100), true, 3)), "from any number to a hundred is less");
    set(quota(200)).await;
    let tick = store.tick(NOW).await.unwrap();
    let ids: Vec<_> = tick.changes.iter().map(|change| change.key.id).collect();
    assert_eq!(ids, [ACME.uuid()], "who has an own one is told nothing of it");
    assert_ne!(tick.min_revision, tick.revision, "more narrows nothing");
    put(&store, NewEntitlement { quota: Some(quota(50)), ..entitlement(ACME, orders.id, None) }).await;
    assert_eq!(quotas(&store, ACME).await, Some((told(50), true, 3)));
    put(&store, NewEntitlement { quota: Some(ProductQuota::default()), ..entitlement(ACME, orders.id, None) }).await;
    assert_eq!(quotas(&store, ACME).await, Some((vec![], false, 1)), "any number, whatever the product says");
    put(&store, entitlement(ACME, orders.id, None)).await;
    assert_eq!(quotas(&store, ACME).await, Some((told(200), true, 3)));
    let read = store.entitlement_to(GLOBEX, orders.id).await.unwrap().unwrap();
    assert_eq!((read.quota, read.product_quota), (Some(quota(7)), quota(200)));
    let id = store.entitlement_to(ACME, orders.id).await.unwrap().unwrap().id;
    change!(store, |tx| tx.revoke_entitlement(&system(), id)).unwrap();
    assert_eq!(quotas(&store, ACME).await, Some((vec![], true, 1)));
}
