//! `DELETE /v1/permission-cache`: every gateway asks anew.

use domain::Fact;
use store::read::*;

use crate::support::{World, call, get};

#[tokio::test]
async fn staff_drops_what_gateways_keep_of_roles_and_nobody_else_does() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "olga", &["owner"]).await;
    let owner = world.login("acme", "olga").await;
    let before = world.app.hub.tick().await.unwrap().head.seq;
    let drop = |token: &str| call("DELETE", "/v1/permission-cache").bearer(token);
    drop(&owner).send(&world.admin).await.refused(403, "permission_denied");
    call("DELETE", "/v1/permission-cache").send(&world.admin).await.refused(401, "credential_missing");
    drop(&staff).send(&world.admin).await.expect(204);
    world.app.hub.tick().await.unwrap();
    let facts = world.app.store.facts_after(before, 100).await.unwrap();
    let dropped = facts.iter().filter(|fact| fact.fact == Fact::AllBindingsChanged);
    assert_eq!(dropped.count(), 1, "{facts:?}");
    let trail = get("/v1/audit?limit=500").bearer(&staff).send(&world.admin).await.expect(200);
    let actions = trail.body["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap());
    assert!(actions.clone().any(|action| action == "permission_cache.dropped"), "{:?}", actions.collect::<Vec<_>>());
}
