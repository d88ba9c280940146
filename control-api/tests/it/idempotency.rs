//! `Idempotency-Key`.

use serde_json::json;

use crate::support::{World, post};

#[tokio::test]
async fn a_create_with_one_key_is_done_once() {
    let world = World::new().await;
    let staff = world.staff().await;
    let body = json!({ "code": "acme", "name": "Acme" });
    let create = || post("/v1/customers", &body).bearer(&staff).header("idempotency-key", "k1");
    let first = create().send(&world.admin).await.expect(201);
    let second = create().send(&world.admin).await.expect(201);
    assert_eq!(first.body, second.body);
    assert_eq!(first.headers["location"], second.headers["location"]);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    let other = post("/v1/customers", &json!({ "code": "other", "name": "Acme" })).bearer(&staff);
    other.header("idempotency-key", "k1").send(&world.admin).await.refused(422, "idempotency_key_reused");
    post("/v1/customers", &body).bearer(&staff).send(&world.admin).await.refused(409, "already_exists");
}

#[tokio::test]
async fn of_many_at_once_with_one_key_one_is_done() {
    let world = World::new().await;
    let staff = world.staff().await;
    let body = json!({ "code": "acme", "name": "Acme" });
    let create = || post("/v1/customers", &body).bearer(&staff).header("idempotency-key", "k1").send(&world.admin);
    let all = futures::future::join_all((0..8).map(|_| create())).await;
    for answer in &all {
        assert_eq!((answer.status.as_u16(), &answer.body["id"]), (201, &all[0].body["id"]));
    }
}

#[tokio::test]
async fn a_key_without_a_principal_does_nothing() {
    let world = World::new().await;
    let create = post("/v1/customers", &json!({ "code": "acme", "name": "Acme" })).header("idempotency-key", "k1");
    create.send(&world.admin).await.refused(401, "credential_missing");
}
