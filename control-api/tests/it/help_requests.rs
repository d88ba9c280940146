//! Help for who cannot sign in.

use std::time::Duration;

use control_api::app::account;
use serde_json::{Value, json};

use crate::{
    letters::Acme,
    support::{Answer, World, get, on_postgres, post},
};

const EVE: &str = "eve@mail.example";

async fn ask(it: &Acme, email: &str, message: &str) -> Answer {
    it.ask("/v1/help-requests", &json!({ "email": email, "message": message })).await
}

async fn listed(it: &Acme, token: &str, query: &str) -> Vec<Value> {
    let found = get(&format!("/v1/help-requests?{query}")).bearer(token).send(&it.world.admin).await.expect(200);
    found.body["items"].as_array().unwrap().clone()
}

async fn settle(it: &Acme, token: &str, id: &str, status: &str) -> Answer {
    let body = json!({ "status": status, "note": "called back" });
    post(&format!("/v1/help-requests/{id}/resolve"), &body).bearer(token).send(&it.world.admin).await
}

async fn who_cannot_sign_in_asks_and_one_administrator_answers(world: World) {
    let it = Acme::in_world(world).await;
    it.proven("ada").await;
    it.world.user(&it.staff, &it.tenant, "root", &["admin"]).await;
    it.world.user(&it.staff, &it.tenant, "mia", &["member"]).await;
    // Whoever has the address.
    for email in ["ada@acme.example", EVE] {
        assert_eq!(ask(&it, email, "I lost my phone").await.expect(202).body, json!({ "status": "accepted" }));
        ask(&it, email, "again").await.refused(429, "send_cooldown");
    }
    let admin = it.world.login("acme", "root").await;
    let mia = it.world.login("acme", "mia").await;
    let waiting = listed(&it, &admin, "status=pending&sort=created_at").await;
    assert_eq!(waiting.len(), 2);
    assert_eq!(waiting[0]["message"], "I lost my phone");
    let known: Vec<bool> = waiting.iter().map(|it| it["known"] == (it["email"] != EVE)).collect();
    assert_eq!(known, [true, true], "whether the address is a member's: {waiting:?}");
    let id = waiting[0]["id"].as_str().unwrap();
    get("/v1/help-requests").bearer(&mia).send(&it.world.admin).await.refused(403, "permission_denied");
    settle(&it, &mia, id, "resolved").await.refused(403, "permission_denied");
    let answers = futures::future::join_all((0..10).map(|_| settle(&it, &admin, id, "resolved"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    settle(&it, &admin, id, "rejected").await.refused(409, "help_request_settled");
    let resolved = listed(&it, &admin, "status=resolved").await;
    assert_eq!((&resolved[0]["note"], resolved.len()), (&json!("called back"), 1));
    assert!(resolved[0]["settled_by"].is_string());
    // Told once in a while, whoever asks how often; of what is answered each time.
    assert_eq!(it.events("help-request.created").await.len(), 1);
    assert_eq!(it.events("help-request.resolved").await.len(), 1);
    // Another tenant's do not exist.
    let globex = it.world.tenant(&it.staff, "globex").await;
    it.world.user(&it.staff, &globex, "gus", &["admin"]).await;
    let gus = it.world.login("globex", "gus").await;
    assert!(listed(&it, &gus, "").await.is_empty());
    settle(&it, &gus, id, "rejected").await.refused(404, "not_found");
}

#[tokio::test]
async fn who_cannot_sign_in_asks_and_one_administrator_answers_on_sqlite() {
    who_cannot_sign_in_asks_and_one_administrator_answers(World::new().await).await;
}

#[tokio::test]
async fn who_cannot_sign_in_asks_and_one_administrator_answers_on_postgres() {
    on_postgres(who_cannot_sign_in_asks_and_one_administrator_answers).await;
}

#[tokio::test]
async fn what_is_asked_is_bounded_and_plain() {
    let it = Acme::new().await;
    for (email, message) in [("x", "help"), (EVE, ""), (EVE, "a\u{0}b"), (EVE, &"x".repeat(2001)), (EVE, "a\u{202e}b")]
    {
        ask(&it, email, message).await.refused(422, "validation_failed");
    }
    ask(&it, EVE, "line one\nline two").await.expect(202);
    it.world.clock.advance(Duration::from_secs(60));
    ask(&it, EVE, "again").await.expect(202);
}

async fn what_nobody_answers_goes_by_its_age_in_every_tenant(world: World) {
    let it = Acme::in_world(world).await;
    it.world.user(&it.staff, &it.tenant, "root", &["admin"]).await;
    ask(&it, EVE, "help").await.expect(202);
    let day = Duration::from_secs(86_400);
    it.world.clock.advance(day * 179);
    account::sweep(&it.world.app).await.unwrap();
    let root = it.world.login("acme", "root").await;
    let waiting = listed(&it, &root, "").await;
    assert_eq!(waiting.len(), 1);
    ask(&it, "second@acme.example", "help").await.expect(202);
    let waiting = listed(&it, &root, "sort=created_at").await;
    settle(&it, &root, waiting[1]["id"].as_str().unwrap(), "resolved").await.expect(200);
    it.world.clock.advance(day * 2);
    account::sweep(&it.world.app).await.unwrap();
    let root = it.world.login("acme", "root").await;
    assert_eq!(listed(&it, &root, "").await.len(), 1, "what was answered is kept for 90 d");
    it.world.clock.advance(day * 90);
    account::sweep(&it.world.app).await.unwrap();
    let root = it.world.login("acme", "root").await;
    assert!(listed(&it, &root, "").await.is_empty());
}

#[tokio::test]
async fn what_nobody_answers_goes_by_its_age_in_every_tenant_on_sqlite() {
    what_nobody_answers_goes_by_its_age_in_every_tenant(World::new().await).await;
}

#[tokio::test]
async fn what_nobody_answers_goes_by_its_age_in_every_tenant_on_postgres() {
    on_postgres(what_nobody_answers_goes_by_its_age_in_every_tenant).await;
}
