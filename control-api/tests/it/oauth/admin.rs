//! Identity providers as they are administered.

use serde_json::{Value, json};

use super::Oauth;
use crate::support::{Answer, World, call, get, post};

impl Oauth {
    async fn as_owner(&self) -> String {
        self.acme.world.user(&self.acme.staff, &self.acme.tenant, "olga", &["owner"]).await;
        self.acme.world.login("acme", "olga").await
    }

    async fn read(&self, token: &str, key: &str) -> Answer {
        get(&format!("/v1/identity-providers/{key}")).bearer(token).send(&self.acme.world.admin).await
    }

    async fn put(&self, token: &str, key: &str, version: &str, body: &Value) -> Answer {
        let put = call("PUT", &format!("/v1/identity-providers/{key}")).json(body).header("if-match", version);
        put.bearer(token).send(&self.acme.world.admin).await
    }
}

fn corp(issuer: &str, more: &Value) -> Value {
    let mut body = json!({
        "key": "corp", "type": "oidc", "name": "Corp", "client_id": "us", "client_secret": "hunter2-of-corp",
        "options": { "issuer": issuer },
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_tenant_makes_reads_changes_and_deletes_its_providers_and_never_sees_a_secret() {
    let it = Oauth::bare().await;
    let (owner, admin) = (it.as_owner().await, &it.acme.world.admin);
    let issuer = it.fake.issuer.clone();
    let types = get("/v1/identity-providers/types").bearer(&owner).send(admin).await.expect(200);
    assert_eq!(types.body["items"].as_array().unwrap().len(), 5);
    let made = post("/v1/identity-providers", &corp(&issuer, &json!({}))).bearer(&owner).send(admin).await.expect(201);
    assert_eq!(made.headers["location"], "/v1/identity-providers/corp");
    assert_eq!(
        (made.body["has_secret"].as_bool(), made.body["tenant_id"].as_str()),
        (Some(true), Some(&*it.acme.tenant))
    );
    post("/v1/identity-providers", &corp(&issuer, &json!({})))
        .bearer(&owner)
        .send(admin)
        .await
        .refused(409, "already_exists");
    let read = it.read(&owner, "corp").await.expect(200);
    let etag = read.headers["etag"].to_str().unwrap().to_owned();
    let listed =
        get("/v1/identity-providers?enabled=true&sort=display_order").bearer(&owner).send(admin).await.expect(200);
    assert_eq!(listed.body["items"][0]["key"], "corp");

    let mut body = corp(&issuer, &json!({ "name": "Corporate", "enabled": false }));
    for name in ["key", "client_secret"] {
        body.as_object_mut().unwrap().remove(name);
    }
    it.put(&owner, "corp", "\"9\"", &body).await.refused(412, "version_mismatch");
    let changed = it.put(&owner, "corp", &etag, &body).await.expect(200);
    assert_eq!((changed.body["name"].as_str(), changed.body["has_secret"].as_bool()), (Some("Corporate"), Some(true)));
    for (name, value, pointer) in [
        ("type", json!("google"), "/type"),
        ("options", json!({ "issuer": "https://evil.example" }), "/options/issuer"),
    ] {
        let mut other = body.clone();
        other[name] = value;
        let refused = it.put(&owner, "corp", "*", &other).await.refused(422, "validation_failed");
        assert_eq!(
            (refused.body["errors"][0]["pointer"].as_str(), refused.body["errors"][0]["code"].as_str()),
            (Some(pointer), Some("immutable"))
        );
    }
    call("DELETE", "/v1/identity-providers/corp").bearer(&owner).send(admin).await.expect(204);
    it.read(&owner, "corp").await.refused(404, "not_found");

    let trail = get(&format!("/v1/audit?tenant_id={}&limit=500", it.acme.tenant)).bearer(&it.acme.staff);
    let trail = trail.send(admin).await.expect(200).body.to_string();
    for said in ["identity-provider.created", "identity-provider.updated", "identity-provider.deleted"] {
        assert!(trail.contains(said), "{said}");
    }
    for answer in [made.body, read.body, listed.body, changed.body] {
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    assert!(!trail.contains("hunter2"));
}

#[tokio::test]
async fn what_no_provider_can_be_is_refused_by_its_field() {
    let it = Oauth::bare().await;
    let issuer = it.fake.issuer.clone();
    for (more, pointer) in [
        (json!({ "key": "a" }), "/key"),
        (json!({ "key": "../x" }), "/key"),
        (json!({ "name": "" }), "/name"),
        (json!({ "name": "a\u{0}b" }), "/name"),
        (json!({ "name": "n".repeat(31) }), "/name"),
        (json!({ "client_id": "a b" }), "/client_id"),
        (json!({ "client_id": "a\u{0}" }), "/client_id"),
        (json!({ "client_secret": "" }), "/client_secret"),
        (json!({ "client_secret": "x".repeat(5000) }), "/client_secret"),
        (json!({ "options": {} }), "/options/issuer"),
        (json!({ "options": { "issuer": "http://id.example" , "team_id": "x" } }), "/options/team_id"),
        (json!({ "options": { "issuer": "https://user:pw@id.example" } }), "/options/issuer"),
        (json!({ "options": { "issuer": "file:///etc/passwd" } }), "/options/issuer"),
        (json!({ "options": { "issuer": issuer, "scopes": vec!["x"; 11] } }), "/options/scopes"),
        (json!({ "options": { "issuer": issuer, "scopes": ["a b"] } }), "/options/scopes"),
        (json!({ "type": "microsoft", "options": { "directory": "evil/../common" } }), "/options/directory"),
        (json!({ "type": "google", "client_secret": null, "options": {} }), "/client_secret"),
        (json!({ "type": "facebook" }), "/type"),
    ] {
        let mut body = corp(&issuer, &more);
        body["tenant_id"] = json!(it.acme.tenant);
        let answer = post("/v1/identity-providers", &body).bearer(&it.acme.staff).send(&it.acme.world.admin).await;
        let answer = answer.refused(422, "validation_failed");
        assert_eq!(answer.body["errors"][0]["pointer"].as_str(), Some(pointer), "{more}: {answer:?}");
    }
}

#[tokio::test]
async fn providers_are_their_tenants_and_the_platforms_in_the_shared_project() {
    let it = Oauth::new().await;
    let world = &it.acme.world;
    let other = world.tenant(&it.acme.staff, "other").await;
    world.user(&it.acme.staff, &other, "otto", &["owner"]).await;
    let otto = world.login("other", "otto").await;
    it.read(&otto, "corp").await.refused(404, "not_found");
    let project = it.project().await;
    for path in [
        format!("/v1/identity-providers/corp?tenant_id={}", it.acme.tenant),
        format!("/v1/identity-providers/corp?project_id={project}"),
        format!("/v1/identity-providers?tenant_id={}", it.acme.tenant),
        format!("/v1/identity-providers?project_id={project}"),
    ] {
        get(&path).bearer(&otto).send(&world.admin).await.refused(404, "not_found");
    }
    world.user(&it.acme.staff, &it.acme.tenant, "max", &["member"]).await;
    let member = world.login("acme", "max").await;
    it.read(&member, "corp").await.refused(403, "permission_denied");

    let fake = &it.fake.issuer;
    let world = World::new().await;
    let staff = world.staff().await;
    let shared = world.shared_tenants(&staff, &["duo"]).await;
    world.user(&staff, &shared["duo"], "dora", &["owner"]).await;
    let dora = world.login("duo", "dora").await;
    let body = corp("https://id.example", &json!({}));
    post("/v1/identity-providers", &body).bearer(&dora).send(&world.admin).await.refused(403, "managed_by_platform");
    let mut by_staff = body.clone();
    by_staff["tenant_id"] = json!(shared["duo"]);
    post("/v1/identity-providers", &by_staff).bearer(&staff).send(&world.admin).await.expect(201);
    let delete = call("DELETE", "/v1/identity-providers/corp").bearer(&dora).send(&world.admin).await;
    delete.refused(403, "managed_by_platform");
    let mut here = body;
    here["options"] = json!({ "issuer": fake });
    here["tenant_id"] = json!(shared["duo"]);
    let refused = post("/v1/identity-providers", &here).bearer(&staff).send(&world.admin).await;
    refused.refused(422, "validation_failed");
}
