//! What is kept of somebody, handed to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use testkit::SoftPasskey;

use crate::{
    letters::Acme,
    passkeys,
    support::{PASSWORD, World, call, get, on_postgres, post},
};

async fn one_has_all_that_is_kept_of_one_and_no_secret(world: World) {
    let it = Acme::in_world(world).await;
    let ada = it.proven("ada").await;
    let bob = it.world.user(&it.staff, &it.tenant, "bob", &["owner"]).await;
    let owner = it.world.login("acme", "bob").await;
    let group = post("/v1/groups", &json!({ "name": "night shift" })).bearer(&owner).send(&it.world.admin).await;
    let members = format!("/v1/groups/{}/members", group.expect(201).id());
    post(&members, &json!({ "user_id": ada })).bearer(&owner).send(&it.world.admin).await.expect(201);
    let token = it.world.login("acme", "ada").await;
    let key = json!({ "name": "laptop", "scheme": "bearer", "scopes": [] });
    let key = post("/v1/api-keys", &key).bearer(&token).send(&it.world.admin).await;
    let mut passkey = SoftPasskey::new("https://acme.localhost");
    passkeys::registered(&it.world, &token, &mut passkey).await.expect(201);
    let token = passkeys::signed_in(&it.world, "", &mut passkey).await.expect(200).text("access_token");
    it.ask_as(&token, "/v1/auth/totp/setup", &json!({})).await.expect(200);
    let prefers = call("PUT", "/v1/me/preferences").json(&json!({ "values": { "theme": "dark" } }));
    let prefers = prefers.bearer(&token).send(&it.world.admin).await;
    let answer = get("/v1/me/export").bearer(&token).send(&it.world.admin).await.expect(200);
    assert_eq!(answer.headers["content-type"], "application/jsonl");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"account.jsonl\"");
    let text = get("/v1/me/export").bearer(&token).text(&it.world.admin).await;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (end, lines) = lines.split_last().unwrap();
    assert_eq!(end, &json!({ "complete": true, "lines": lines.len() }));
    let mut parts: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for line in lines {
        parts.entry(line["part"].as_str().unwrap()).or_default().push(line);
    }
    let of = |part: &str, name: &str| -> Vec<Value> {
        parts.get(part).unwrap_or_else(|| panic!("no {part}: {text}")).iter().map(|line| line[name].clone()).collect()
    };
    assert_eq!(of("account", "email"), [json!("ada@acme.example")]);
    assert_eq!(of("membership", "tenant_id"), [json!(it.tenant)]);
    assert_eq!(of("role", "name"), [json!("member")]);
    assert_eq!(of("group", "name"), [json!("night shift")]);
    let methods: BTreeSet<String> = of("session", "method").iter().map(ToString::to_string).collect();
    assert_eq!(methods, BTreeSet::from(["\"passkey\"".to_owned(), "\"password\"".to_owned()]));
    assert_eq!(of("passkey", "rp_id"), [json!("acme.localhost")]);
    assert_eq!(of("authenticator", "confirmed_at"), [Value::Null]);
    assert_eq!((key.status.as_u16(), of("api_key", "name")), (201, vec![json!("laptop")]));
    assert_eq!((prefers.status.as_u16(), of("preferences", "tenant_id")), (200, vec![json!(it.tenant)]));
    let did = of("audit_event", "action");
    for action in ["login_success", "passkey_added", "totp_setup"] {
        assert!(did.contains(&json!(action)), "{action}: {did:?}");
    }
    // Nothing that opens anything, and nothing of anybody else.
    for secret in ["argon2", "secret", "hash", "refresh", &key.text("secret"), &bob, "bob", PASSWORD] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    // Who else is there has their own.
    let theirs = get("/v1/me/export").bearer(&owner).text(&it.world.admin).await;
    assert!(!theirs.contains("ada@acme.example") && theirs.contains(&bob), "{theirs}");
}

#[tokio::test]
async fn one_has_all_that_is_kept_of_one_and_no_secret_on_sqlite() {
    one_has_all_that_is_kept_of_one_and_no_secret(World::new().await).await;
}

#[tokio::test]
async fn one_has_all_that_is_kept_of_one_and_no_secret_on_postgres() {
    on_postgres(one_has_all_that_is_kept_of_one_and_no_secret).await;
}

/// What is a tenant's is told in that tenant, to who signed in as it says; and so often.
#[tokio::test]
async fn another_tenants_part_is_not_told_nor_anything_to_an_older_session() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenants = world.shared_tenants(&staff, &["north", "south"]).await;
    let ada = world.user(&staff, &tenants["north"], "ada", &["admin"]).await;
    world.join(&staff, &tenants["south"], &ada).await;
    world.login("south", "ada").await;
    let token = world.login("north", "ada").await;
    let text = get("/v1/me/export").bearer(&token).text(&world.admin).await;
    let of_south: Vec<&str> = text.lines().filter(|line| line.contains(&tenants["south"])).collect();
    assert!(of_south.iter().all(|line| line.contains("\"part\":\"membership\"")) && of_south.len() == 1, "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("\"part\":\"session\"")).count(), 1, "{text}");
    for _ in 0..4 {
        get("/v1/me/export").bearer(&token).send(&world.admin).await.expect(200);
    }
    get("/v1/me/export").bearer(&token).send(&world.admin).await.refused(429, "rate_limited");
    world.clock.advance(Duration::from_secs(301));
    let late = get("/v1/me/export").bearer(&token).send(&world.admin).await;
    late.refused(401, "insufficient_user_authentication");
}
