//! Tenants, versions, lists and bodies.

use serde_json::{Value, json};

use crate::support::{World, call, get, media, post};

#[tokio::test]
async fn a_dedicated_tenant_gets_its_project_and_key_in_one_step() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let found = get("/v1/tenants/by-slug/acme").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(found.id(), tenant);
    let project = found.text("project_id");
    let keys = get(&format!("/v1/signing-keys?project_id={project}")).bearer(&staff).send(&world.admin).await;
    let keys = keys.expect(200);
    assert_eq!(keys.body["items"][0]["state"], "active");
    assert!(!keys.body.to_string().contains("\"d\""));
    let jwks = get("/.well-known/jwks.json").host("acme.localhost").send(&world.admin).await.expect(200);
    assert_eq!(jwks.body["keys"][0]["kid"], keys.body["items"][0]["kid"]);
}

#[tokio::test]
async fn a_customer_that_was_not_identified_gets_no_tenant() {
    let world = World::new().await;
    let staff = world.staff().await;
    let customer = post("/v1/customers", &json!({ "code": "acme", "name": "Acme" })).bearer(&staff);
    let customer = customer.send(&world.admin).await.expect(201).id();
    let body = json!({ "slug": "acme", "name": "Acme", "customer_id": customer, "issuer": "https://acme.example" });
    post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.refused(409, "kyc_required");
}

#[tokio::test]
async fn only_the_listed_steps_are_taken() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let step = |name: &str| call("POST", &format!("/v1/tenants/{tenant}/{name}")).bearer(&staff).send(&world.admin);
    step("activate").await.refused(409, "tenant_state_conflict");
    assert_eq!(step("suspend").await.expect(200).body["status"], "suspended");
    step("cancel").await.refused(409, "tenant_state_conflict");
    assert_eq!(step("resume").await.expect(200).body["status"], "active");
    assert_eq!(step("cancel").await.expect(200).body["status"], "frozen");
    assert_eq!(step("unfreeze").await.expect(200).body["status"], "active");
    call("DELETE", &format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(204);
    step("unfreeze").await.refused(409, "tenant_state_conflict");
}

#[tokio::test]
async fn an_update_on_an_old_version_changes_nothing() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let path = format!("/v1/tenants/{tenant}");
    let found = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
    let tag = found.headers["etag"].to_str().unwrap().to_owned();
    let update = |tag: &str, name: &str| {
        call("PATCH", &path).json(&json!({ "name": name })).header("if-match", tag).bearer(&staff).send(&world.admin)
    };
    let changed = update(&tag, "Acme 2").await.expect(200);
    assert_ne!(changed.headers["etag"], tag.as_str());
    update(&tag, "Acme 3").await.refused(412, "version_mismatch");
    update("\"nonsense\"", "Acme 3").await.refused(412, "version_mismatch");
    assert_eq!(get(&path).bearer(&staff).send(&world.admin).await.expect(200).body["name"], "Acme 2");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    let staff = world.staff().await;
    for code in ["a1", "a2", "a3", "a4"] {
        post("/v1/customers", &json!({ "code": code, "name": code }))
            .bearer(&staff)
            .send(&world.admin)
            .await
            .expect(201);
    }
    let (mut codes, mut path) = (Vec::new(), "/v1/customers?limit=2".to_owned());
    loop {
        let page = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
        codes.extend(page.body["items"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap().to_owned()));
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/customers?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    codes.sort();
    assert_eq!(codes, ["a1", "a2", "a3", "a4", "root"]);
    get("/v1/customers?limit=501").bearer(&staff).send(&world.admin).await.refused(400, "parameter_invalid");
    get("/v1/customers?cursor=x").bearer(&staff).send(&world.admin).await.refused(400, "parameter_invalid");
}

#[tokio::test]
async fn a_wrong_body_is_named_and_nothing_is_written() {
    let world = World::new().await;
    let staff = world.staff().await;
    let send = |body: &str| call("POST", "/v1/customers").raw(body).bearer(&staff).send(&world.admin);
    send("{").await.refused(400, "body_malformed");
    send(r#"{"code": 5, "name": "x"}"#).await.refused(422, "validation_failed");
    let unknown = send(r#"{"code": "a", "name": "x", "nmae": "y"}"#).await.refused(422, "validation_failed");
    assert_eq!(unknown.body["errors"][0]["pointer"], "/nmae");
    assert_eq!(media(&unknown), "application/problem+json");
    let long = format!(r#"{{"code": "a", "name": "{}"}}"#, "x".repeat(1 << 20));
    send(&long).await.refused(413, "body_too_large");
    let form = call("POST", "/v1/customers").header("content-type", "text/plain").bearer(&staff);
    form.send(&world.admin).await.refused(415, "media_type_unsupported");
    let customers = get("/v1/customers").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(customers.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn problem_bodies_are_as_they_were() {
    let world = World::new().await;
    let staff = world.staff().await;
    let mut bodies = Vec::new();
    let taken = json!({ "code": "root", "name": "x" });
    for request in [
        get("/nowhere"),
        call("DELETE", "/v1/customers"),
        get("/v1/customers"),
        get("/v1/customers/00000000-0000-0000-0000-000000000001").bearer(&staff),
        post("/v1/customers", &taken).bearer(&staff),
        post("/v1/tenants", &json!({ "slug": "A", "name": "x", "customer_id": "x" })).bearer(&staff),
    ] {
        let mut body = request.send(&world.admin).await.body;
        assert!(body["request_id"].is_string());
        body["request_id"] = json!("[request id]");
        bodies.push(body);
    }
    insta::assert_json_snapshot!(bodies);
}

#[tokio::test]
async fn who_is_let_in_is_set_on_tenants_and_hostnames_and_checked() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = format!("/v1/tenants/{}", world.tenant(&staff, "acme").await);
    let hosts = get("/v1/hostnames").bearer(&staff).send(&world.admin).await.expect(200);
    let hostname = format!("/v1/hostnames/{}", hosts.body["items"][0]["id"].as_str().unwrap());
    let patch = |path: &str, body| call("PATCH", path).json(&body).bearer(&staff).send(&world.admin);
    let lists = json!({ "allow": ["192.0.2.0/24"], "deny": ["192.0.2.66", "2001:db8::/32"], "in_flight": 5 });
    for path in [&tenant, &hostname] {
        let changed = patch(path, json!({ "admission": lists })).await.expect(200);
        assert_eq!(changed.body["admission"], lists);
        let found = get(path).bearer(&staff).send(&world.admin).await.expect(200);
        assert_eq!(found.body["admission"], lists, "and kept");
        for (wrong, pointer) in [
            (json!({ "in_flight": 0 }), "/admission/in_flight"),
            (json!({ "deny": vec!["192.0.2.0/24"; 257] }), "/admission/deny"),
        ] {
            let refused = patch(path, json!({ "admission": wrong })).await.refused(422, "validation_failed");
            assert_eq!(refused.body["errors"][0]["pointer"], pointer);
        }
        for unreadable in [json!({ "allow": ["192.0.2.1/24"] }), json!({ "alow": [] }), json!({ "deny": ["rubbish"] })]
        {
            patch(path, json!({ "admission": unreadable })).await.refused(422, "validation_failed");
        }
        patch(path, json!({ "admission": {} })).await.expect(200);
        let found = get(path).bearer(&staff).send(&world.admin).await.expect(200);
        assert_eq!(found.body["admission"], json!({}), "open again");
    }
    let limit = json!({ "rps": 5, "burst": 10 });
    let changed = patch(&tenant, json!({ "principal_rate_limit": limit })).await.expect(200);
    assert_eq!(changed.body["principal_rate_limit"], limit);
    patch(&tenant, json!({ "principal_rate_limit": { "rps": 0, "burst": 1 } })).await.refused(422, "validation_failed");
}

/// RFC 7396: what is absent stays, what is `null` is removed.
#[tokio::test]
async fn what_a_tenant_has_of_its_own_is_cleared_by_null() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = format!("/v1/tenants/{}", world.tenant(&staff, "acme").await);
    let patch =
        async |body: Value| call("PATCH", &acme).json(&body).bearer(&staff).send(&world.admin).await.expect(200).body;
    let rate = json!({ "rps": 5, "burst": 10 });
    let members = [
        ("plan", json!("gold"), Value::Null),
        ("trial_ends_at", json!("2030-01-01T00:00:00.000Z"), Value::Null),
        ("rate_limit", rate.clone(), Value::Null),
        ("principal_rate_limit", rate, Value::Null),
        ("admission", json!({ "in_flight": 5 }), json!({})),
    ];
    for (member, value, _) in &members {
        patch(json!({ *member: value })).await;
    }
    let name = patch(json!({ "name": "Acme" })).await;
    for (member, value, _) in &members {
        assert_eq!(name[*member], *value, "absent, it stays");
    }
    for (member, _, cleared) in &members {
        let changed = patch(json!({ *member: null })).await;
        assert_eq!(changed[*member], *cleared, "{member}");
    }
    assert_eq!(patch(json!({})).await["name"], "Acme");
}

#[tokio::test]
async fn which_pages_may_call_is_set_on_a_hostname_and_checked() {
    let world = World::new().await;
    let staff = world.staff().await;
    world.tenant(&staff, "acme").await;
    let hosts = get("/v1/hostnames").bearer(&staff).send(&world.admin).await.expect(200);
    let hostname = format!("/v1/hostnames/{}", hosts.body["items"][0]["id"].as_str().unwrap());
    let patch = |cors| call("PATCH", &hostname).json(&json!({ "cors": cors })).bearer(&staff).send(&world.admin);
    let changed = patch(json!({ "origins": ["https://*.acme.example"], "credentials": true })).await.expect(200);
    assert_eq!(changed.body["cors"]["origins"], json!(["https://*.acme.example"]));
    assert_eq!(changed.body["cors"]["methods"], json!(["GET", "HEAD", "POST"]));
    for wrong in [
        json!({ "origins": ["*"] }),
        json!({ "origins": ["https://*.com"] }),
        json!({ "origins": ["http://acme.example"] }),
        json!({ "origins": ["https://acme.example"], "methods": ["TRACE"] }),
        json!({ "origins": ["https://acme.example"], "headers": ["*"] }),
        json!({ "origins": ["https://acme.example"], "max_age": "2d" }),
    ] {
        patch(wrong).await.refused(422, "validation_failed");
    }
    assert_eq!(patch(json!({})).await.expect(200).body["cors"]["origins"], json!([]));
}
