//! What names a project, who reads its directory, and what automation acts with.

use control_api::Config;
use link::file::SecretRef;
use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, World, call, get, on_postgres, post};

const SECRET: &str = "a-secret-of-at-least-32-bytes-that-nobody-guesses";

async fn project_of(world: &World, staff: &str, tenant: &str) -> String {
    get(&format!("/v1/tenants/{tenant}")).bearer(staff).send(&world.admin).await.expect(200).text("project_id")
}

async fn credential(world: &World, staff: &str, project: &str, kind: &str) -> Answer {
    let path = format!("/v1/projects/{project}/credentials");
    let made = post(&path, &json!({ "kind": kind, "name": kind })).bearer(staff).send(&world.admin).await;
    let made = made.expect(201);
    assert_eq!(made.headers["cache-control"], "no-store");
    made
}

async fn a_project_is_named_by_its_key_or_its_hostname_and_both_agree(world: World) {
    let staff = world.staff().await;
    let (acme, globex) = (world.tenant(&staff, "acme").await, world.tenant(&staff, "globex").await);
    world.user(&staff, &acme, "mia", &["member"]).await;
    let (acme_project, globex_project) =
        (project_of(&world, &staff, &acme).await, project_of(&world, &staff, &globex).await);
    let own = credential(&world, &staff, &acme_project, "publishable").await;
    let secret = credential(&world, &staff, &acme_project, "secret").await;
    let other = credential(&world, &staff, &globex_project, "publishable").await.text("secret");
    let reader = credential(&world, &staff, &acme_project, "directory_reader").await.text("secret");
    let body = json!({ "username": "mia", "password": PASSWORD });
    let login = async |key: &str| {
        post("/api/v1/tenant/auth/login", &body).header("x-project-key", key).send(&world.admin).await
    };
    for key in [&own.text("secret"), &secret.text("secret"), "acme", &acme_project] {
        login(key).await.expect(200);
    }
    login(&other).await.refused(401, "credentials_invalid");
    let changed = format!("{}x", secret.text("secret"));
    let short = secret.text("secret").replacen("psk_", "ppk_", 1);
    for wrong in [&changed, &short, &reader, "ppk_x", "nobody", ""] {
        login(wrong).await.refused(401, "project_key_invalid");
    }
    let twice = post("/api/v1/tenant/auth/login", &body).header("x-project-key", "acme");
    twice.header("x-project-key", "acme").send(&world.admin).await.refused(401, "project_key_invalid");
    // At the edge the hostname says it, and a slug is no key.
    let at_edge = async |key: &str| {
        let path = "/api/v1/tenant/auth/login";
        let assertion = world.assertion("POST", path, "acme.localhost", Some(&acme)).await;
        let call = post(path, &body).header("x-project-key", key).header("x-md-global-assertion", &assertion);
        call.send(&world.public).await
    };
    at_edge(&own.text("secret")).await.expect(200);
    at_edge(&other).await.refused(403, "project_mismatch");
    at_edge("acme").await.refused(401, "project_key_invalid");
    // A revoked one names nothing.
    let path = format!("/v1/projects/{globex_project}/credentials/{}", own.id());
    call("DELETE", &path).bearer(&staff).send(&world.admin).await.refused(404, "not_found");
    let path = format!("/v1/projects/{acme_project}/credentials/{}", own.id());
    call("DELETE", &path).bearer(&staff).send(&world.admin).await.expect(204);
    call("DELETE", &path).bearer(&staff).send(&world.admin).await.refused(404, "not_found");
    at_edge(&own.text("secret")).await.refused(401, "project_key_invalid");
    let path = format!("/v1/projects/{acme_project}/credentials?status=active&sort=name");
    let listed = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
    let names: Vec<&Value> = listed.body["items"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["directory_reader", "secret"]);
    assert!(!listed.body.to_string().contains(&secret.text("secret")));
    let used = async || {
        let listed = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
        listed.body["items"].as_array().unwrap().iter().map(|it| it["last_used_at"].clone()).collect::<Vec<_>>()
    };
    let first = used().await;
    assert!(first[0].is_null() && first[1].is_string(), "{first:?}");
    // Once a minute is enough: who is asked often writes nothing.
    world.clock.advance(std::time::Duration::from_secs(59));
    login(&secret.text("secret")).await.expect(200);
    assert_eq!(used().await, first);
    world.clock.advance(std::time::Duration::from_secs(1));
    login(&secret.text("secret")).await.expect(200);
    let second = used().await;
    assert!(second[1].as_str() > first[1].as_str(), "{second:?}");
    let trail = get("/v1/audit?action=project-credential.*").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(trail.body["items"].as_array().unwrap().len(), 5, "{trail:?}");
    assert!(!trail.body.to_string().contains(&secret.text("secret")));
}

#[tokio::test]
async fn a_project_is_named_by_its_key_or_its_hostname_and_both_agree_on_sqlite() {
    a_project_is_named_by_its_key_or_its_hostname_and_both_agree(World::new().await).await;
}

#[tokio::test]
async fn a_project_is_named_by_its_key_or_its_hostname_and_both_agree_on_postgres() {
    on_postgres(a_project_is_named_by_its_key_or_its_hostname_and_both_agree).await;
}

#[tokio::test]
async fn a_directory_key_reads_its_projects_directory_and_nothing_else() {
    let world = World::new().await;
    let staff = world.staff().await;
    let (acme, globex) = (world.tenant(&staff, "acme").await, world.tenant(&staff, "globex").await);
    world.user(&staff, &acme, "mia", &[]).await;
    let project = project_of(&world, &staff, &acme).await;
    let key = credential(&world, &staff, &project, "directory_reader").await.text("secret");
    let publishable = credential(&world, &staff, &project, "publishable").await.text("secret");
    let ask = async |key: &str, tenant: &str| {
        let body = json!({ "tenant_id": tenant, "emails": [format!("mia@{acme}.example"), "nobody@x.example"] });
        post("/v1/internal/users/lookup", &body).header("x-directory-key", key).send(&world.internal).await
    };
    let found = ask(&key, &acme).await.expect(200);
    let users = found.body["users"].as_array().unwrap();
    assert_eq!((users.len(), &users[0]["username"]), (1, &json!("mia")));
    ask(&key, &globex).await.refused(404, "not_found");
    for wrong in [&publishable, "", "pdk_x", &format!("{key}x")] {
        ask(wrong, &acme).await.refused(401, "project_key_invalid");
    }
    let login = json!({ "username": "mia", "password": PASSWORD });
    let as_project = post("/api/v1/tenant/auth/login", &login).header("x-project-key", &key);
    as_project.send(&world.admin).await.refused(401, "project_key_invalid");
}

#[tokio::test]
async fn a_sign_in_that_names_no_project_is_the_defaults() {
    let mut config = Config::default();
    config.identity.default_project = Some("acme".parse().unwrap());
    let world = World::with(config).await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "mia", &[]).await;
    world.user(&staff, &globex, "gus", &[]).await;
    let login = async |body: Value| post("/api/v1/tenant/auth/login", &body).send(&world.admin).await;
    login(json!({ "username": "mia", "password": PASSWORD })).await.expect(200);
    login(json!({ "username": "gus", "password": PASSWORD })).await.refused(401, "credentials_invalid");
    login(json!({ "username": "gus", "password": PASSWORD, "tenant": "globex" })).await.expect(200);
}

fn automated() -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin");
    std::fs::write(&path, SECRET).unwrap();
    let mut config = Config::default();
    config.bootstrap.admin_secret = Some(SecretRef::File(path));
    (folder, config)
}

#[tokio::test]
async fn automation_acts_by_the_admin_secret_on_admin_alone_under_a_name_of_its_own() {
    let (_folder, config) = automated();
    let world = World::with(config).await;
    let by = |call: crate::support::Call| call.header("x-admin-secret", SECRET);
    let customer = by(post("/v1/customers", &json!({ "code": "acme", "name": "Acme" }))).send(&world.admin).await;
    let customer = customer.expect(201).id();
    let staff = world.staff().await;
    let completed = call("PUT", &format!("/v1/customers/{customer}/kyc")).json(&json!({ "status": "completed" }));
    completed.bearer(&staff).send(&world.admin).await.expect(200);
    let tenant = json!({ "slug": "acme", "name": "Acme", "customer_id": customer, "issuer": "https://acme.localhost" });
    let tenant = by(post("/v1/tenants", &tenant)).send(&world.admin).await.expect(201).id();
    let project = project_of(&world, &staff, &tenant).await;
    by(post(&format!("/v1/projects/{project}/credentials"), &json!({ "kind": "publishable", "name": "pages" })))
        .send(&world.admin)
        .await
        .expect(201);
    let trail = get("/v1/audit?action=project-credential.created").bearer(&staff).send(&world.admin).await.expect(200);
    let actor = &trail.body["items"][0]["actor"];
    assert_eq!((&actor["name"], &actor["id"]), (&json!("admin-secret"), &Value::Null), "{trail:?}");
    // What it is not for.
    for path in ["/v1/me", "/api/v1/tenant/auth/info", "/api/v1/auth/userinfo"] {
        by(get(path)).send(&world.admin).await.refused(403, "context_mismatch");
    }
    // Nor is the platform's own project, which does not exist for it.
    let projects = get("/v1/projects?kind=root").bearer(&staff).send(&world.admin).await.expect(200);
    let root = projects.body["items"][0]["id"].as_str().unwrap().to_owned();
    let credential = json!({ "kind": "publishable", "name": "x" });
    by(post(&format!("/v1/projects/{root}/credentials"), &credential))
        .send(&world.admin)
        .await
        .refused(404, "not_found");
    let name = json!({ "hostname": "evil.localhost", "project_id": root });
    by(post("/v1/hostnames", &name)).send(&world.admin).await.refused(404, "not_found");
    let key = json!({ "project_id": root, "algorithm": "ES256" });
    by(post("/v1/signing-keys", &key)).send(&world.admin).await.refused(403, "context_mismatch");
    for (method, path) in
        [("DELETE", format!("/v1/tenants/{tenant}")), ("POST", format!("/v1/tenants/{tenant}/cancel"))]
    {
        by(call(method, &path)).send(&world.admin).await.refused(403, "permission_denied");
    }
    for path in ["/v1/routes", "/v1/audit", "/v1/issuers?project_id=00000000-0000-0000-0000-000000000001"] {
        by(get(path)).send(&world.admin).await.refused(403, "permission_denied");
    }
    let user = json!({ "username": "eve", "password": PASSWORD });
    by(post(&format!("/v1/tenants/{tenant}/users"), &user)).send(&world.admin).await.refused(403, "permission_denied");
    by(get("/v1/projects")).bearer(&staff).send(&world.admin).await.refused(422, "validation_failed");
    // Wrong, twice, and through the edge.
    let wrong = |secret: &str| get("/v1/projects").header("x-admin-secret", secret);
    wrong(&SECRET[1..]).send(&world.admin).await.refused(401, "admin_secret_invalid");
    wrong(SECRET).header("x-admin-secret", SECRET).send(&world.admin).await.refused(401, "admin_secret_invalid");
    let assertion = world.assertion("GET", "/v1/hostnames", "acme.localhost", Some(&tenant)).await;
    let through = by(get("/v1/hostnames")).header("x-md-global-assertion", &assertion).send(&world.public).await;
    through.refused(401, "credential_missing");
}

#[tokio::test]
async fn without_an_admin_secret_none_is_right() {
    let world = World::new().await;
    for secret in [SECRET, ""] {
        let refused = get("/v1/projects").header("x-admin-secret", secret).send(&world.admin).await;
        refused.refused(501, "not_implemented");
    }
}

#[tokio::test]
async fn a_projects_settings_are_read_and_replaced() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let path = format!("/v1/projects/{}/config", project_of(&world, &staff, &acme).await);
    let put = async |config: Value, tag: &str| {
        let call = call("PUT", &path).json(&json!({ "config": config })).bearer(&staff).header("if-match", tag);
        call.send(&world.admin).await
    };
    let read = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    let wanted = json!({ "access": { "mode": "open" } });
    put(wanted.clone(), &tag).await.expect(200);
    put(json!({}), &tag).await.refused(412, "version_mismatch");
    assert_eq!(get(&path).bearer(&staff).send(&world.admin).await.expect(200).body["config"], wanted);
    put(json!({ "access": { "mode": "ajar" } }), "*").await.refused(422, "validation_failed");
    put(json!({ "x": "a\u{0}b" }), "*").await.refused(422, "validation_failed");
    put(json!({ "x": "a".repeat(70_000) }), "*").await.refused(422, "validation_failed");
}
