//! What becomes of tenants by themselves.

use std::time::Duration;

use control_api::{App, Config, app::life_cycle};
use domain::snapshot::TenantStatus;
use futures::future::join_all;
use serde_json::{Value, json};
use store::read::*;

use crate::support::{World, call, get, on_postgres, on_postgres_with, post};

const DAY: Duration = Duration::from_secs(86_400);

/// Looks by several at once, as replicas do; how many steps were taken.
async fn look(app: &App) -> usize {
    let all = join_all((0..4).map(|_| life_cycle::run_due(app))).await;
    all.into_iter().map(Result::unwrap).sum()
}

async fn a_trial_ends_once(world: World) {
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let found = get(&format!("/v1/tenants/{acme}")).bearer(&staff).send(&world.admin).await.expect(200);
    let body = json!({
        "slug": "trial", "name": "Trial", "customer_id": found.body["customer_id"], "issuer": "https://trial.localhost",
    });
    let trial = post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.expect(201).id();
    let status = async |id: &str| world.app.store.tenant(id.parse().unwrap()).await.unwrap().unwrap().status;
    world.clock.advance(DAY * 14 - Duration::from_millis(1));
    assert_eq!((look(&world.app).await, status(&trial).await), (0, TenantStatus::Trial));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(look(&world.app).await, 1, "one of those who look at once");
    assert_eq!((status(&trial).await, status(&acme).await), (TenantStatus::Frozen, TenantStatus::Active));
    let staff = world.staff().await;
    let unfreeze = call("POST", &format!("/v1/tenants/{trial}/unfreeze"));
    unfreeze.bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!((look(&world.app).await, status(&trial).await), (0, TenantStatus::Active));
}

#[tokio::test]
async fn a_trial_ends_once_on_sqlite() {
    a_trial_ends_once(World::new().await).await;
}

#[tokio::test]
async fn a_trial_ends_once_on_postgres() {
    on_postgres(a_trial_ends_once).await;
}

async fn a_deleted_tenant_is_purged_once(world: World) {
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let path = format!("/v1/tenants/{tenant}");
    world.user(&staff, &tenant, "ann", &["admin"]).await;
    world.login("acme", "ann").await;
    let found = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
    call("DELETE", &path).bearer(&staff).send(&world.admin).await.expect(204);
    world.clock.advance(DAY * 29 - Duration::from_millis(1));
    assert_eq!(look(&world.app).await, 0);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(look(&world.app).await, 1, "it is told a day ahead, once");
    let staff = world.staff().await;
    let trail = get(&format!("/v1/audit?action=tenant.purge_announced&tenant_id={tenant}")).bearer(&staff);
    let told = trail.send(&world.admin).await.expect(200);
    let ends = domain::Clock::unix_now(&*world.clock) + DAY;
    assert_eq!(told.body["items"][0]["fields"]["not_before"], json!(ends.to_string()));
    world.clock.advance(DAY - Duration::from_millis(1));
    assert_eq!(look(&world.app).await, 0);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(look(&world.app).await, 1, "one of those who look at once");
    let staff = world.staff().await;
    get(&path).bearer(&staff).send(&world.admin).await.refused(404, "not_found");
    let project = format!("/v1/projects/{}", found.text("project_id"));
    get(&project).bearer(&staff).send(&world.admin).await.refused(404, "not_found");
    let customer = format!("/v1/customers/{}", found.text("customer_id"));
    get(&customer).bearer(&staff).send(&world.admin).await.expect(200);
    let id = tenant.parse().unwrap();
    while world.app.store.chain_audit(100).await.unwrap() > 0 {}
    let left = world.app.store.verify_audit(Some(id)).await.unwrap();
    assert!(left.broken.is_none() && left.rows > 0, "its chain is left, and holds: {left:?}");
    // The slug and the hostname are free again.
    let body = json!({
        "slug": "acme", "name": "Acme", "customer_id": found.body["customer_id"], "issuer": "https://acme.localhost",
    });
    post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.expect(201);
}

#[tokio::test]
async fn a_deleted_tenant_is_purged_once_on_sqlite() {
    a_deleted_tenant_is_purged_once(World::new().await).await;
}

#[tokio::test]
async fn a_deleted_tenant_is_purged_once_on_postgres() {
    on_postgres(a_deleted_tenant_is_purged_once).await;
}

async fn no_more_tenants_are_purged_within_an_hour_than_is_set(world: World) {
    let staff = world.staff().await;
    let mut tenants = Vec::new();
    for slug in ["acme", "globex", "initech"] {
        tenants.push(world.tenant(&staff, slug).await);
    }
    for tenant in &tenants {
        call("DELETE", &format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(204);
    }
    world.clock.advance(DAY * 29);
    assert_eq!(look(&world.app).await, 3, "told of it they are all");
    world.clock.advance(DAY);
    let left = async || {
        let mut left = 0;
        for tenant in &tenants {
            left += usize::from(world.app.store.tenant(tenant.parse().unwrap()).await.unwrap().is_some());
        }
        left
    };
    assert_eq!((look(&world.app).await, left().await), (2, 1));
    world.clock.advance(Duration::from_secs(3599));
    assert_eq!((look(&world.app).await, left().await), (0, 1));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!((look(&world.app).await, left().await), (1, 0));
}

fn two_an_hour() -> Config {
    let mut config = Config::default();
    config.tenants.purges_per_hour = 2;
    config
}

#[tokio::test]
async fn no_more_tenants_are_purged_within_an_hour_than_is_set_on_sqlite() {
    no_more_tenants_are_purged_within_an_hour_than_is_set(World::with(two_an_hour()).await).await;
}

#[tokio::test]
async fn no_more_tenants_are_purged_within_an_hour_than_is_set_on_postgres() {
    on_postgres_with(two_an_hour(), no_more_tenants_are_purged_within_an_hour_than_is_set).await;
}

#[tokio::test]
async fn branding_is_set_checked_and_cleared() {
    let world = World::new().await;
    let staff = world.staff().await;
    let path = format!("/v1/tenants/{}", world.tenant(&staff, "acme").await);
    let patch =
        |branding: Value| call("PATCH", &path).json(&json!({ "branding": branding })).bearer(&staff).send(&world.admin);
    let look = json!({ "name": "Acme", "logo_url": "https://cdn.acme.example/logo.svg", "primary": "#0a0bff" });
    assert_eq!(patch(look.clone()).await.expect(200).body["branding"], look);
    for wrong in [
        json!({ "logo_url": "http://cdn.acme.example/logo.svg" }),
        json!({ "logo_url": "javascript:alert(1)" }),
        json!({ "primary": "red" }),
        json!({ "script": "x" }),
    ] {
        patch(wrong).await.refused(422, "validation_failed");
    }
    let found = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(found.body["branding"], look, "and kept");
    assert_eq!(patch(Value::Null).await.expect(200).body["branding"], json!({}));
}
