//! What no tenant's principal reaches: other tenants, more rights than their own, the platform.

use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, World, call, get, post};

struct Two {
    world: World,
    staff: String,
    /// An administrator of `acme`.
    acme: String,
    /// `globex` and one of its users.
    globex: String,
    victim: String,
}

async fn two() -> Two {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let victim = world.user(&staff, &globex, "victim", &["member"]).await;
    let token = world.login("acme", "ada").await;
    Two { acme: token, world, staff, globex, victim }
}

fn role_of<'a>(roles: &'a Answer, name: &str) -> &'a Value {
    roles.body["items"].as_array().unwrap().iter().find(|role| role["name"] == name).unwrap()
}

/// M1: every operation on another tenant's user answers as if there were none.
#[tokio::test]
async fn another_tenants_users_do_not_exist() {
    let two = two().await;
    let (world, id) = (&two.world, &two.victim);
    let user = format!("/api/v1/tenant/users/{id}");
    let password = json!({ "password": "Another-horse-2" });
    for (method, path, body) in [
        ("GET", user.clone(), None),
        ("PUT", user.clone(), Some(json!({ "first_name": "x" }))),
        ("PATCH", user.clone(), Some(json!({ "first_name": "x" }))),
        ("DELETE", user.clone(), None),
        ("POST", format!("{user}/enable"), None),
        ("POST", format!("{user}/disable"), None),
        ("POST", format!("{user}/reset-password"), Some(password)),
        ("POST", format!("{user}/logout"), None),
        ("GET", format!("{user}/sessions"), None),
        ("DELETE", format!("{user}/sessions/{id}"), None),
    ] {
        let mut request = call(method, &path).bearer(&two.acme);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send(&world.admin).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"), "{method} {path}: {answer:?}");
    }
    let list = get("/api/v1/tenant/users").bearer(&two.acme).send(&world.admin).await.expect(200);
    assert!(!list.body.to_string().contains(id.as_str()));
    world.login("globex", "victim").await;
}

/// M1: roles and bindings.
#[tokio::test]
async fn another_tenants_roles_and_bindings_do_not_exist() {
    let two = two().await;
    let (world, globex) = (&two.world, &two.globex);
    let role = json!({ "name": "clerk", "permissions": ["orders:order:list"] });
    let made = post(&format!("/v1/roles?tenant_id={globex}"), &role).bearer(&two.staff).send(&world.admin).await;
    let role_id = made.expect(201).id();
    let binding = json!({ "role_id": role_id, "user_id": two.victim });
    let path = format!("/v1/role-bindings?tenant_id={globex}");
    let binding_id = post(&path, &binding).bearer(&two.staff).send(&world.admin).await.expect(201).id();

    let named = format!("?tenant_id={globex}");
    for (method, path, body) in [
        ("GET", format!("/v1/roles/{role_id}"), None),
        ("PUT", format!("/v1/roles/{role_id}"), Some(role.clone())),
        ("DELETE", format!("/v1/roles/{role_id}"), None),
        ("GET", format!("/v1/roles{named}"), None),
        ("POST", format!("/v1/roles{named}"), Some(role.clone())),
        ("GET", format!("/v1/role-bindings{named}"), None),
        ("POST", format!("/v1/role-bindings{named}"), Some(binding.clone())),
        ("POST", "/v1/role-bindings".into(), Some(binding.clone())),
        ("DELETE", format!("/v1/role-bindings/{binding_id}"), None),
        ("GET", format!("/v1/audit{named}"), None),
        ("GET", format!("/v1/permissions{named}"), None),
    ] {
        let mut request = call(method, &path).bearer(&two.acme);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send(&world.admin).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"), "{method} {path}: {answer:?}");
    }
}

/// A binding of one's own role to another tenant's user is refused too.
#[tokio::test]
async fn a_role_is_not_given_to_another_tenants_user() {
    let two = two().await;
    let roles = get("/v1/roles").bearer(&two.acme).send(&two.world.admin).await.expect(200);
    let body = json!({ "role_id": role_of(&roles, "member")["id"], "user_id": two.victim });
    let answer = post("/v1/role-bindings", &body).bearer(&two.acme).send(&two.world.admin).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(answer.code(), "role_binding_scope");
}

#[tokio::test]
async fn platform_operations_are_closed_to_tenants() {
    let two = two().await;
    let globex = &two.globex;
    for (method, path) in [
        ("GET", "/v1/tenants".to_owned()),
        ("GET", format!("/v1/tenants/{globex}")),
        ("POST", format!("/v1/tenants/{globex}/suspend")),
        ("DELETE", format!("/v1/tenants/{globex}")),
        ("GET", "/v1/customers".into()),
        ("GET", "/v1/projects".into()),
        ("GET", "/v1/upstreams".into()),
        ("POST", format!("/v1/hostnames/{globex}/primary")),
        ("GET", "/v1/routes".into()),
        ("GET", "/v1/certificates".into()),
        ("GET", "/v1/gateways".into()),
    ] {
        let answer = call(method, &path).bearer(&two.acme).send(&two.world.admin).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "permission_denied"), "{method} {path}");
    }
}

#[tokio::test]
async fn nobody_gives_more_than_they_hold() {
    let two = two().await;
    let world = &two.world;
    let tenant = get("/api/v1/tenant/auth/info").bearer(&two.acme).send(&world.admin).await.expect(200);
    let acme = tenant.body["tenant"]["id"].as_str().unwrap().to_owned();
    let clerk = world.user(&two.staff, &acme, "clerk", &["it_admin"]).await;
    let token = world.login("acme", "clerk").await;
    let roles = get("/v1/roles").bearer(&two.acme).send(&world.admin).await.expect(200);
    for name in ["owner", "admin", "auditor"] {
        let body = json!({ "role_id": role_of(&roles, name)["id"], "user_id": clerk });
        let answer = post("/v1/role-bindings", &body).bearer(&token).send(&world.admin).await;
        answer.refused(403, "permission_escalation");
    }
    let body = json!({ "role_id": role_of(&roles, "member")["id"], "user_id": clerk });
    post("/v1/role-bindings", &body).bearer(&token).send(&world.admin).await.expect(201);
    let platform = role_of(&roles, "platform_admin")["id"].clone();
    let body = json!({ "role_id": platform, "user_id": clerk });
    post("/v1/role-bindings", &body).bearer(&two.acme).send(&world.admin).await.refused(403, "permission_escalation");
    for permission in ["*:*:*", "platform:tenant:suspend"] {
        let role = json!({ "name": "super", "permissions": [permission] });
        post("/v1/roles", &role).bearer(&two.acme).send(&world.admin).await.refused(403, "permission_escalation");
    }
    // Who can set the owner's password is the owner.
    let users = get("/api/v1/tenant/users").bearer(&two.acme).send(&world.admin).await.expect(200);
    let items = users.body["items"].as_array().unwrap();
    let owner = items.iter().find(|user| user["username"] == "ada").unwrap()["id"].as_str().unwrap();
    let path = format!("/api/v1/tenant/users/{owner}/reset-password");
    let body = json!({ "password": "Another-horse-2" });
    post(&path, &body).bearer(&token).send(&world.admin).await.refused(403, "permission_escalation");
}

#[tokio::test]
async fn a_taken_role_is_gone_with_the_next_request() {
    let two = two().await;
    let world = &two.world;
    let tenant = get("/api/v1/tenant/auth/info").bearer(&two.acme).send(&world.admin).await.expect(200);
    let acme = tenant.body["tenant"]["id"].as_str().unwrap().to_owned();
    world.user(&two.staff, &acme, "reader", &["auditor"]).await;
    let token = world.login("acme", "reader").await;
    get("/api/v1/tenant/users").bearer(&token).send(&world.admin).await.expect(200);
    let bindings = get("/v1/role-bindings").bearer(&two.acme).send(&world.admin).await.expect(200);
    let roles = get("/v1/roles").bearer(&two.acme).send(&world.admin).await.expect(200);
    let auditor = &role_of(&roles, "auditor")["id"];
    let items = bindings.body["items"].as_array().unwrap();
    let binding = items.iter().find(|it| &it["role_id"] == auditor).unwrap()["id"].as_str().unwrap();
    let path = format!("/v1/role-bindings/{binding}");
    call("DELETE", &path).bearer(&two.acme).send(&world.admin).await.expect(204);
    get("/api/v1/tenant/users").bearer(&token).send(&world.admin).await.refused(403, "permission_denied");
}

#[tokio::test]
async fn a_user_of_a_shared_project_is_one_tenants_to_remove_and_nobodys_to_take_over() {
    let world = World::new().await;
    let staff = world.staff().await;
    let customer = post("/v1/customers", &json!({ "code": "shared", "name": "s", "tenancy": "shared" }));
    let customer = customer.bearer(&staff).send(&world.admin).await.expect(201).id();
    let kyc = call("PUT", &format!("/v1/customers/{customer}/kyc")).json(&json!({ "status": "completed" }));
    kyc.bearer(&staff).send(&world.admin).await.expect(200);
    let mut tenants = Vec::new();
    for slug in ["one", "two"] {
        let body = json!({ "slug": slug, "name": slug, "customer_id": customer, "status": "active" });
        tenants.push(post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.expect(201).id());
    }
    assert_eq!(tenants.len(), 2);
    // Both tenants live in the shared project: a name of one is taken in the other.
    world.user(&staff, &tenants[0], "ada", &["admin"]).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let again = post(&format!("/v1/tenants/{}/users", tenants[1]), &body).bearer(&staff).send(&world.admin).await;
    again.refused(409, "already_exists");
}

#[tokio::test]
async fn nobody_has_a_say_over_those_who_hold_more() {
    let two = two().await;
    let world = &two.world;
    let info = get("/api/v1/tenant/auth/info").bearer(&two.acme).send(&world.admin).await.expect(200);
    let acme = info.body["tenant"]["id"].as_str().unwrap().to_owned();
    let owner = info.body["user"]["id"].as_str().unwrap().to_owned();
    world.user(&two.staff, &acme, "clerk", &["it_admin"]).await;
    let member = world.user(&two.staff, &acme, "member", &["member"]).await;
    let token = world.login("acme", "clerk").await;
    let calls = |id: &str| {
        let user = format!("/api/v1/tenant/users/{id}");
        [
            ("PUT", user.clone(), Some(json!({ "email": "taken@over.example" }))),
            ("PATCH", user.clone(), Some(json!({ "username": "taken.over" }))),
            ("POST", format!("{user}/reset-password"), Some(json!({ "password": "Another-horse-2" }))),
            ("POST", format!("{user}/logout"), None),
            ("POST", format!("{user}/disable"), None),
            ("POST", format!("{user}/enable"), None),
            ("DELETE", user, None),
        ]
    };
    for (id, refused) in [(owner, true), (member, false)] {
        for (method, path, body) in calls(&id) {
            let mut request = call(method, &path).bearer(&token);
            if let Some(body) = &body {
                request = request.json(body);
            }
            let answer = request.send(&world.admin).await;
            assert_eq!(answer.code() == "permission_escalation", refused, "{method} {path}: {answer:?}");
            assert_eq!(answer.status.is_success(), !refused, "{method} {path}: {answer:?}");
        }
    }
    get("/api/v1/tenant/users").bearer(&two.acme).send(&world.admin).await.expect(200);
}

#[tokio::test]
async fn a_tenant_keeps_its_last_administrator() {
    let two = two().await;
    let world = &two.world;
    let bindings = get("/v1/role-bindings").bearer(&two.acme).send(&world.admin).await.expect(200);
    let binding = format!("/v1/role-bindings/{}", bindings.body["items"][0]["id"].as_str().unwrap());
    call("DELETE", &binding).bearer(&two.acme).send(&world.admin).await.refused(409, "last_admin");
    let info = get("/api/v1/tenant/auth/info").bearer(&two.acme).send(&world.admin).await.expect(200);
    world.user(&two.staff, info.body["tenant"]["id"].as_str().unwrap(), "second", &["admin"]).await;
    call("DELETE", &binding).bearer(&two.acme).send(&world.admin).await.expect(204);
}

/// By its own role, too: what holders of a role are may be changed while others administer, and not from the last.
#[tokio::test]
async fn the_role_of_the_last_administrator_stays_one_of_administrators() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let role = json!({ "name": "chief", "permissions": ["tenant:*"], "admin": true });
    let made = post(&format!("/v1/roles?tenant_id={tenant}"), &role).bearer(&staff).send(&world.admin).await;
    let id = made.expect(201).id();
    let ada = world.user(&staff, &tenant, "ada", &["chief"]).await;
    let ada_token = world.login("acme", "ada").await;
    let lesser = json!({ "name": "chief", "permissions": ["tenant:*"], "admin": false });
    let replace = |token: &str| call("PUT", &format!("/v1/roles/{id}?tenant_id={tenant}")).json(&lesser).bearer(token);
    replace(&ada_token).send(&world.admin).await.refused(409, "last_admin");
    let kept = get(&format!("/v1/tenants/{tenant}/users/{ada}")).bearer(&staff).send(&world.admin).await;
    kept.expect(200);
    let info = get("/api/v1/tenant/auth/info").bearer(&ada_token).send(&world.admin).await.expect(200);
    assert_eq!(info.body["user"]["is_admin"], true);
    world.user(&staff, &tenant, "second", &["admin"]).await;
    replace(&ada_token).send(&world.admin).await.expect(200);
}

/// The entities of a declarative file, as `portcullis apply` sends them.
pub(crate) fn compiled(text: &str) -> Value {
    use domain::declarative::{self, RawFile, ReadAs};
    use link::file::{Document, Overrides};
    let document = Document::parse("edge.yaml", text).unwrap();
    let file = link::file::load::<RawFile>(document, &Overrides::none()).unwrap().sound().unwrap();
    let entities = declarative::compile(&file, ReadAs::Apply, &|_| Err("no files".into())).unwrap().entities;
    json!({ "entities": entities })
}

#[tokio::test]
async fn a_declarative_file_does_not_lead_sign_in_elsewhere() {
    let world = World::new().await;
    let staff = world.staff().await;
    let file = "upstreams: [{ name: control-api, peers: [\"192.0.2.9:9081\"], plaintext: true, assertion: hmac }]\n\
                tenants: [{ slug: acme, status: active }]\nhostnames: [{ hostname: acme.example.test, tenant: acme }]\n";
    let applied = post("/v1/apply", &compiled(file)).bearer(&staff).send(&world.admin).await;
    applied.refused(409, "upstream_is_builtin");
}
