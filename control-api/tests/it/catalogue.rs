//! Upstreams, services, routes, hostnames, certificates, issuers and keys.

use control_api::config::{Config, Environment, ListenAddress};
use serde_json::{Value, json};
use testkit::TestCa;

use crate::support::{World, call, get, post};

fn upstream(name: &str, peer: &str) -> Value {
    json!({ "name": name, "peers": [peer], "plaintext": true })
}

#[tokio::test]
async fn refuses_an_upstream_that_leads_to_our_own_doors() {
    let world = World::new().await;
    let staff = world.staff().await;
    for door in ["127.0.0.1:19080", "127.0.0.1:19090"] {
        world.app.add_door(door.parse().unwrap());
    }
    world.app.add_door(ListenAddress::Unix("/run/internal.sock".into()));
    for peer in [
        "127.0.0.1:19080",
        "localhost:19080",
        "[::1]:19090",
        "0.0.0.0:19080",
        "[::ffff:127.0.0.1]:19090",
        "unix:/run/internal.sock",
    ] {
        let answer = post("/v1/upstreams", &upstream("ours", peer)).bearer(&staff).send(&world.admin).await;
        let answer = answer.refused(422, "validation_failed");
        assert_eq!(answer.body["errors"][0]["code"], "own_listener", "{peer}");
    }
    let made = post("/v1/upstreams", &upstream("other", "127.0.0.1:3000")).bearer(&staff).send(&world.admin).await;
    let id = made.expect(201).id();
    let moved = call("PUT", &format!("/v1/upstreams/{id}")).json(&upstream("other", "127.0.0.1:19080"));
    moved.bearer(&staff).send(&world.admin).await.refused(422, "validation_failed");
}

#[tokio::test]
async fn plain_http_is_for_development_and_by_switch_for_loopback() {
    for (environment, switch, peer, allowed) in [
        (Environment::Dev, false, "192.0.2.1:80", true),
        (Environment::Stage, false, "127.0.0.1:80", false),
        (Environment::Stage, true, "127.0.0.1:80", true),
        (Environment::Stage, true, "192.0.2.1:80", false),
        (Environment::Prod, true, "127.0.0.1:80", false),
    ] {
        let mut config = Config { environment, ..Config::default() };
        config.upstreams.plaintext_on_loopback = switch;
        let world = World::with(config).await;
        let staff = world.staff().await;
        let answer = post("/v1/upstreams", &upstream("plain", peer)).bearer(&staff).send(&world.admin).await;
        assert_eq!(answer.status == 201, allowed, "{environment:?} {switch} {peer}: {answer:?}");
    }
}

#[tokio::test]
async fn a_tie_between_routes_is_refused_and_names_both() {
    let world = World::new().await;
    let staff = world.staff().await;
    let up = post("/v1/upstreams", &upstream("orders", "192.0.2.1:80")).bearer(&staff).send(&world.admin).await;
    let body = json!({ "name": "orders", "upstream_id": up.expect(201).id() });
    let service = post("/v1/services", &body).bearer(&staff).send(&world.admin).await.expect(201).id();
    let route = |path: &str, more: Value| {
        let mut body = json!({ "service_id": service, "path": path });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post("/v1/routes", &body).bearer(&staff)
    };
    let open = json!({ "access": "authenticated" });
    route("/orders/{id}", open.clone()).send(&world.admin).await.expect(201);
    let tie = route("/orders/{other}", open.clone()).send(&world.admin).await.refused(409, "route_tie");
    let detail = tie.text("detail");
    assert!(detail.contains("/orders/{id}") && detail.contains("/orders/{other}"), "{detail}");
    route("/orders", json!({ "permission": "orders:order:list", "methods": ["GET"] }))
        .send(&world.admin)
        .await
        .expect(201);
    for wrong in [
        json!({}),
        json!({ "access": "public", "permission": "orders:order:list" }),
        json!({ "permission": "orders:*" }),
        json!({ "access": "public", "methods": ["get"] }),
        json!({ "access": "public", "max_stream": "999ms" }),
        json!({ "access": "public", "max_stream": "31d" }),
        json!({ "access": "public", "require": { "acr": "aal2" } }),
        json!({ "access": "authenticated", "require": {} }),
        json!({ "access": "authenticated", "require": { "acr": "aal3" } }),
        json!({ "access": "authenticated", "require": { "acr": "aal2", "exempt": ["token"] } }),
    ] {
        route("/x", wrong.clone()).send(&world.admin).await.refused(422, "validation_failed");
    }
    let streams = json!({ "access": "public", "max_stream": "4h" });
    let kept = route("/events", streams).send(&world.admin).await.expect(201);
    assert_eq!(kept.body["max_stream"], "4h");
    let require = json!({ "acr": "aal2", "amr": ["pwd", "otp"], "max_age": "5m", "exempt": ["certificate"] });
    let sure = route("/sure", json!({ "access": "authenticated", "require": require }));
    assert_eq!(sure.send(&world.admin).await.expect(201).body["require"], require);
    let tenant = world.tenant(&staff, "acme").await;
    let hosts = get("/v1/hostnames").bearer(&staff).send(&world.admin).await.expect(200);
    let host = &hosts.body["items"][0];
    assert_eq!(host["tenant_id"], json!(tenant));
    let path = format!("/v1/hostnames/{}", host["id"].as_str().unwrap());
    let offer = call("PATCH", &path).json(&json!({ "services": [service] })).bearer(&staff);
    offer.send(&world.admin).await.expect(200);
    let test = |method: &str, path: &str| {
        let body = json!({ "host": "acme.localhost", "method": method, "path": path });
        post("/v1/routes/test", &body).bearer(&staff).send(&world.admin)
    };
    assert_eq!(test("GET", "/orders").await.expect(200).body["permission"], "orders:order:list");
    assert_eq!(test("GET", "/orders/7").await.expect(200).body["route"]["access"], "authenticated");
    assert_eq!(test("POST", "/orders").await.expect(200).body["route"], Value::Null);
}

#[tokio::test]
async fn a_hostname_says_how_it_answers_and_cannot_say_what_frames_an_answer() {
    let world = World::new().await;
    let staff = world.staff().await;
    world.tenant(&staff, "acme").await;
    let hosts = get("/v1/hostnames").bearer(&staff).send(&world.admin).await.expect(200);
    let path = format!("/v1/hostnames/{}", hosts.body["items"][0]["id"].as_str().unwrap());
    let patch = |body: Value| call("PATCH", &path).json(&body).bearer(&staff).send(&world.admin);
    let said = json!({
        "hsts": { "max_age": "365d", "include_subdomains": true, "preload": false },
        "set": { "x-frame-options": "DENY" },
        "remove": ["server"],
        "error_page": "<h1>{{status}}</h1>",
    });
    let changed = patch(json!({ "max_body": "10MiB", "response": said })).await.expect(200);
    assert_eq!((&changed.body["max_body"], &changed.body["response"]), (&json!("10MiB"), &said));
    let kept = patch(json!({ "fleet": "default" })).await.expect(200);
    assert_eq!(kept.body["response"], said, "what is left out stays");
    for wrong in [
        json!({ "set": { "content-length": "0" } }),
        json!({ "set": { "x-a": "1\r\nx-b: 2" } }),
        json!({ "remove": ["transfer-encoding"] }),
        json!({ "error_page": "{{host}}" }),
        json!({ "unknown": true }),
    ] {
        patch(json!({ "response": wrong })).await.refused(422, "validation_failed");
    }
    assert_eq!(patch(json!({ "response": {} })).await.expect(200).body["response"], json!({}));
}

#[tokio::test]
async fn a_certificate_must_fit_its_key_and_its_hostname() {
    let world = World::new().await;
    let staff = world.staff().await;
    world.tenant(&staff, "acme").await;
    let hosts = get("/v1/hostnames").bearer(&staff).send(&world.admin).await.expect(200);
    let id = hosts.body["items"][0]["id"].as_str().unwrap().to_owned();
    let upload = |chain: String, key: String| {
        let body = json!({ "chain_pem": chain, "key_pem": key });
        call("PUT", &format!("/v1/hostnames/{id}/certificate")).json(&body).bearer(&staff).send(&world.admin)
    };
    let ca = TestCa::new();
    let (good, other) = (ca.leaf(&["acme.localhost"]), ca.leaf(&["other.localhost"]));
    let refused = upload(good.chain_pem.clone(), other.key_pem.clone()).await.refused(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["pointer"], "/key_pem");
    let refused = upload(other.chain_pem.clone(), other.key_pem.clone()).await.refused(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["code"], "name");
    let uploaded = upload(good.chain_pem.clone(), good.key_pem.clone()).await.expect(200);
    assert!(uploaded.body["certificate_id"].is_string());
    let list = get("/v1/certificates").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(list.body["items"][0]["names"], json!(["acme.localhost"]));
    assert!(!list.body.to_string().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn a_rotated_key_signs_while_the_old_one_is_still_believed_until_it_is_retired() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    let old_token = world.login("acme", "ada").await;
    let found = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    let project = found.text("project_id");
    let old = get(&format!("/v1/signing-keys?project_id={project}")).bearer(&staff).send(&world.admin).await;
    let old = old.expect(200).body["items"][0]["kid"].as_str().unwrap().to_owned();
    let made = post("/v1/signing-keys", &json!({ "project_id": project })).bearer(&staff).send(&world.admin).await;
    let made = made.expect(201);
    assert_eq!(made.body["state"], "pending");
    let act = |kid: &str, verb: &str| {
        call("POST", &format!("/v1/signing-keys/{kid}/{verb}")).bearer(&staff).send(&world.admin)
    };
    act(&made.text("kid"), "activate").await.expect(200);
    let new_token = world.login("acme", "ada").await;
    let info = |token: &str| get("/api/v1/tenant/auth/info").bearer(token).send(&world.admin);
    info(&old_token).await.expect(200);
    info(&new_token).await.expect(200);
    act(&old, "retire").await.expect(200);
    info(&old_token).await.refused(401, "key_unknown");
    info(&new_token).await.expect(200);
    act(&made.text("kid"), "retire").await.refused(409, "signing_key_state");
}

#[tokio::test]
async fn an_external_issuer_names_its_audience_and_one_way_to_a_tenant() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let found = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    let key = testkit::TestIssuer::new("https://id.example.test", domain::snapshot::Algorithm::Es256);
    let base = json!({
        "project_id": found.text("project_id"), "issuer": "https://id.example.test", "audiences": ["orders"],
        "algorithms": ["ES256"], "jwks": key.jwks(), "tenant_claim": "tid",
    });
    let send = |change: Value| {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        post("/v1/issuers", &body).bearer(&staff).send(&world.admin)
    };
    for wrong in [
        json!({ "audiences": [] }),
        json!({ "algorithms": [] }),
        json!({ "tenant": tenant }),
        json!({ "tenant_claim": null }),
        json!({ "jwks": { "keys": [] } }),
    ] {
        send(wrong.clone()).await.refused(422, "validation_failed");
    }
    send(json!({})).await.expect(201);
    send(json!({})).await.refused(409, "issuer_ambiguous");
}
