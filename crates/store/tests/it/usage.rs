//! What tenants used of products, as gateways tell it.

use std::time::Duration;

use authz::Scope;
use domain::{
    FleetName, Period, ProductQuota, TenantId, Timestamp,
    model::{NewProduct, ProductKey},
    quota::{Span, UsageCount, UsagePart},
};
use futures::future::join_all;
use store::{Store, StoreError, read::*};
use uuid::Uuid;

use crate::{
    harness::{Database, NOW},
    world::*,
};

const DAY: Duration = Duration::from_secs(86_400);

fn orders() -> ProductKey {
    "orders".parse().unwrap()
}

fn span(period: Period) -> Span {
    Span::at(period, NOW)
}

async fn with_product(db: &Database) -> Store {
    let store = world(db).await;
    let new = NewProduct {
        id: fresh(),
        key: orders(),
        name: "Orders".into(),
        description: String::new(),
        requestable: false,
        trial_days: None,
        quota: ProductQuota::default(),
    };
    change!(store, |tx, new| tx.insert_product(&system(), new.clone())).unwrap();
    store
}

fn count(tenant_id: TenantId, span: Span, used: u64) -> UsageCount {
    UsageCount { tenant_id, product: orders(), span, used }
}

async fn tell(store: &Store, counter: u128, told: &[UsageCount], now: Timestamp) -> Vec<Vec<UsagePart>> {
    let counter = Uuid::from_u128(counter);
    let kept =
        store.write_session(Scope::Platform, now, |tx| async move { tx.keep_usage((counter, None), told).await });
    kept.await.map_err(|error: StoreError| error).unwrap()
}

async fn used(store: &Store, tenant: TenantId, span: Span) -> Option<u64> {
    store.usage(tenant, &[span]).await.unwrap().remove(&(orders(), span))
}

pub(crate) async fn counts_that_are_told_by_many_at_once_are_neither_lost_nor_doubled(db: Database) {
    let store = with_product(&db).await;
    let (day, month) = (span(Period::Day), span(Period::Month));
    // Four gateways tell of each step, out of order, twice, and through replicas at once.
    let tellings = (1..=4_u128).flat_map(|gateway| [3_u64, 1, 5, 5, 2, 4].map(|step| (gateway, step)));
    let store_ref = &store;
    join_all(tellings.map(|(gateway, step)| async move {
        let counts = [count(ACME, day, step * 10), count(ACME, month, step * 100)];
        tell(store_ref, gateway, &counts, NOW).await;
    }))
    .await;
    assert_eq!((used(&store, ACME, day).await, used(&store, ACME, month).await), (Some(200), Some(2_000)));

    // A gateway that begins is told what the others have let through, and counts nothing by asking.
    let unknown = UsageCount { product: "nothing".parse().unwrap(), ..count(ACME, day, 9) };
    let asked = [count(ACME, day, 0), count(GLOBEX, day, 0), unknown, count(fresh(), day, 9)];
    let answers = tell(&store, 9, &asked, NOW).await;
    let parts: Vec<_> = (1..=4).map(|gateway| UsagePart { counter: Uuid::from_u128(gateway), used: 50 }).collect();
    assert_eq!(answers, [parts, vec![], vec![], vec![]]);
    assert_eq!(used(&store, ACME, day).await, Some(200));
    assert_eq!(used(&store, ACME, Span::at(Period::Day, NOW + DAY)).await, None);
}

pub(crate) async fn a_gateway_tells_of_tenants_that_its_fleet_serves_only(db: Database) {
    let store = with_product(&db).await;
    let day = span(Period::Day);
    let (own, other) = ("default".parse().unwrap(), "elsewhere".parse().unwrap());
    let keep = async |fleet: &FleetName, used| {
        let told = &[count(ACME, day, used)];
        let from = (Uuid::from_u128(1), Some(fleet));
        let kept = store.write_session(Scope::Platform, NOW, |tx| async move { tx.keep_usage(from, told).await });
        kept.await.map_err(|error: StoreError| error).unwrap()
    };
    keep(&own, 3).await;
    assert_eq!(keep(&other, 1_000_000).await, [vec![]], "it is told nothing, either");
    assert_eq!(used(&store, ACME, day).await, Some(3));
    // Twice in one telling is once, and the higher.
    tell(&store, 1, &[count(ACME, day, 9), count(ACME, day, 5)], NOW).await;
    assert_eq!(used(&store, ACME, day).await, Some(9));
}

pub(crate) async fn usage_is_forgotten_with_its_time_and_its_tenant(db: Database) {
    let store = with_product(&db).await;
    let (day, month) = (span(Period::Day), span(Period::Month));
    tell(&store, 1, &[count(ACME, day, 1), count(ACME, month, 1)], NOW).await;
    store.prune(day.ends_at() + DAY * 62).await.unwrap();
    assert_eq!((used(&store, ACME, day).await, used(&store, ACME, month).await), (Some(1), Some(1)));
    store.prune(day.ends_at() + DAY * 63).await.unwrap();
    assert_eq!((used(&store, ACME, day).await, used(&store, ACME, month).await), (None, Some(1)));
    store.prune(month.ends_at() + DAY * 401).await.unwrap();
    assert_eq!(used(&store, ACME, month).await, None);
}

pub(crate) async fn usage_is_invisible_to_other_tenants(db: Database) {
    let store = with_product(&db).await;
    let day = span(Period::Day);
    tell(&store, 1, &[count(ACME, day, 7)], NOW).await;
    assert_eq!(used(&store.within(Scope::Tenant(CLOUD, ACME)), ACME, day).await, Some(7));
    assert_eq!(used(&store, GLOBEX, day).await, None);
    if db.postgres().await.is_some() {
        let globex = store.within(Scope::Tenant(CLOUD, GLOBEX));
        assert_eq!(used(&globex, ACME, day).await, None, "whatever is asked for");
    }
}
