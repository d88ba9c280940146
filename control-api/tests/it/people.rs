//! Users as their administrators find and keep them: searching, what is protected, looking up, preferences.

use control_api::config::{Config, InternalConfig, ServiceKey, ServiceMethod};
use domain::model::{NewUser, UserStatus};
use link::file::SecretRef;
use serde_json::{Value, json};

use crate::{
    letters::Acme,
    org_units::office,
    support::{PASSWORD, World, call, get, on_postgres, post},
};

#[tokio::test]
async fn users_are_found_by_what_they_are_called_their_state_and_their_id_elsewhere() {
    let it = office().await;
    let una = format!("/api/v1/tenant/users/{}", it.users[0]);
    let edit = json!({ "first_name": "Una", "last_name": "100%_sure", "external_id": "hr-1" });
    it.send(&it.admin, "PATCH", &una, Some(edit)).await.expect(200);
    it.send(&it.admin, "POST", &format!("/api/v1/tenant/users/{}/disable", it.users[1]), None).await.expect(200);
    let found = async |query: &str| {
        let mut seen = Vec::new();
        let platform = format!("/v1/tenants/{}/users?{query}", it.tenant);
        for (by, path) in [(&it.admin, format!("/api/v1/tenant/users?{query}")), (&it.staff, platform)] {
            let listed = it.send(by, "GET", &path, None).await.expect(200);
            let names =
                listed.body["items"].as_array().unwrap().iter().map(|it| it["username"].as_str().unwrap().to_owned());
            seen.push(names.collect::<Vec<_>>());
        }
        assert_eq!(seen[0], seen[1], "{query}");
        seen.remove(0)
    };
    assert_eq!(found("search=UN").await, ["una"]);
    assert_eq!(found("search=100%25_S").await, ["una"]);
    assert!(found("search=%25").await == ["una"], "a wildcard is a letter");
    assert!(found("search=nobody").await.is_empty());
    assert_eq!(found("status=disabled").await, ["ulf"]);
    assert_eq!(found("status=active&search=u").await, ["una"]);
    assert_eq!(found("external_id=hr-1").await, ["una"]);
    assert_eq!(found(&format!("email=ULF@{}.example", it.tenant)).await, ["ulf"]);
    let bad = format!("/api/v1/tenant/users?search={}", "x".repeat(129));
    it.send(&it.admin, "GET", &bad, None).await.refused(400, "parameter_invalid");
    it.send(&it.admin, "GET", "/api/v1/tenant/users?search=a%00b", None).await.refused(400, "parameter_invalid");
    it.send(&it.admin, "GET", "/api/v1/tenant/users?status=gone", None).await.refused(400, "parameter_invalid");
}

/// S0: the default administrator cannot be enabled, disabled, updated or deleted by the tenant.
#[tokio::test]
async fn the_emergency_administrator_is_not_the_tenants_to_change() {
    let it = office().await;
    let by = authz::Authorized::<authz::action::ManageUsers>::system("test");
    let tenant: domain::TenantId = it.tenant.parse().unwrap();
    let project = store::read::Tenants::tenant(&it.world.app.store, tenant).await.unwrap().unwrap().project_id;
    let id = domain::UserId::new(uuid::Uuid::from_u128(77));
    let new = NewUser {
        id,
        project_id: project,
        email: None,
        username: Some("glass".into()),
        first_name: String::new(),
        last_name: String::new(),
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: None,
        must_change_password: false,
        is_break_glass: true,
    };
    let (by, new) = (&by, &new);
    let made = it.world.app.store.write(by, it.world.app.now(), |tx| async move {
        let made = tx.insert_user(by, new.clone()).await?;
        tx.created(made).await
    });
    made.await.unwrap();
    it.world.join(&it.staff, &it.tenant, &id.to_string()).await;
    let user = format!("/api/v1/tenant/users/{id}");
    for (method, path, body) in [
        ("PATCH", user.clone(), Some(json!({ "first_name": "x" }))),
        ("PUT", user.clone(), Some(json!({ "email": "taken@over.example" }))),
        ("POST", format!("{user}/disable"), None),
        ("POST", format!("{user}/enable"), None),
        ("POST", format!("{user}/reset-password"), Some(json!({ "password": "Another-horse-2" }))),
        ("DELETE", user.clone(), None),
    ] {
        it.send(&it.admin, method, &path, body).await.refused(409, "user_is_break_glass");
    }
    it.send(&it.admin, "GET", &user, None).await.expect(200);
}

/// In a shared project a name is taken for all of its tenants: people come by invitation.
#[tokio::test]
async fn a_tenant_of_the_shared_project_makes_no_accounts() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenants = world.shared_tenants(&staff, &["one"]).await;
    world.user(&staff, &tenants["one"], "olga", &["owner"]).await;
    let olga = world.login("one", "olga").await;
    let body = json!({ "username": "squatted", "password": "Correct-horse-1" });
    let made = post("/api/v1/tenant/users", &body).bearer(&olga).send(&world.admin).await;
    made.refused(403, "managed_by_platform");
    let invited = post(&format!("/v1/tenants/{}/invitations", tenants["one"]), &json!({ "email": "p@new.example" }));
    invited.bearer(&olga).send(&world.admin).await.expect(201);
}

#[tokio::test]
async fn services_look_up_a_tenants_users_by_email() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, methods: &[ServiceMethod]| {
        let path = folder.path().join(name);
        std::fs::write(&path, name.repeat(40)).unwrap();
        ServiceKey { name: name.into(), key: SecretRef::File(path), methods: methods.to_vec(), tenants: Vec::new() }
    };
    let service_keys = vec![key("mail", &[ServiceMethod::LookupUsers]), key("other", &[ServiceMethod::VerifyToken])];
    let config = Config { internal: InternalConfig { service_keys }, ..Config::default() };
    let world = World::with(config).await;
    let staff = world.staff().await;
    let (acme, globex) = (world.tenant(&staff, "acme").await, world.tenant(&staff, "globex").await);
    let una = world.user(&staff, &acme, "una", &["member"]).await;
    world.user(&staff, &globex, "gus", &["member"]).await;
    let look = |key: &str, emails: Vec<String>| {
        post("/v1/internal/users/lookup", &json!({ "tenant_id": acme, "emails": emails })).bearer(&key.repeat(40))
    };
    let emails = vec![format!("UNA@{acme}.example"), format!("gus@{globex}.example"), "nobody@x.example".into()];
    let found = look("mail", emails.clone()).send(&world.internal).await.expect(200);
    let users = found.body["users"].as_array().unwrap();
    assert_eq!(users.len(), 1, "of this tenant only");
    assert_eq!((&users[0]["user_id"], &users[0]["membership"]), (&json!(una), &json!("active")));
    assert_eq!(users[0]["quota_bytes"], Value::Null);
    let quota = call("PUT", &format!("/v1/users/{una}/quota?tenant_id={acme}")).json(&json!({ "quota_bytes": 5 }));
    quota.bearer(&staff).send(&world.admin).await.expect(200);
    let found = look("mail", emails.clone()).send(&world.internal).await.expect(200);
    assert_eq!(found.body["users"][0]["quota_bytes"], 5);
    look("other", emails).send(&world.internal).await.refused(403, "service_key_scope");
    for count in [0, 101] {
        let emails = (0..count).map(|n| format!("{n}@x.example")).collect();
        look("mail", emails).send(&world.internal).await.refused(422, "validation_failed");
    }
}

async fn a_quota_is_said_by_who_may_more_and_told_to_whom_it_concerns(world: World) {
    let it = Acme::in_world(world).await;
    let (world, staff) = (&it.world, &it.staff);
    let owner = world.user(staff, &it.tenant, "olga", &["owner"]).await;
    world.user(staff, &it.tenant, "root", &["admin"]).await;
    world.user(staff, &it.tenant, "clerk", &["it_admin"]).await;
    let ada = it.proven("ada").await;
    let (root, token) = (world.login("acme", "root").await, world.login("acme", "ada").await);
    let put = |user: &str, query: &str, body: &Value, by: &str| {
        call("PUT", &format!("/v1/users/{user}/quota{query}")).json(body).bearer(by)
    };
    let gib = json!({ "quota_bytes": 1_073_741_824 });
    let set = put(&ada, "", &gib, &root).send(&world.admin).await.expect(200);
    assert_eq!((&set.body["quota_bytes"], &set.body["id"]), (&gib["quota_bytes"], &json!(ada)));
    let told = &it.events("user.quota_set").await[0];
    assert_eq!((&told["fields"], &told["target"]["id"]), (&gib, &json!(ada)));
    // Who it concerns.
    assert_eq!(get("/v1/me").bearer(&token).send(&world.admin).await.expect(200).body["quota_bytes"], 1_073_741_824);
    let listed = get("/api/v1/tenant/users?search=ada@").bearer(&root).send(&world.admin).await.expect(200);
    assert_eq!(listed.body["items"][0]["quota_bytes"], 1_073_741_824);
    let export = get("/v1/me/export").bearer(&token).text(&world.admin).await;
    assert!(export.contains("\"quota_bytes\":1073741824"), "{export}");
    // An older copy is not acted upon; another change keeps it.
    let stale = put(&ada, "", &gib, &root).header("if-match", "\"1\"").send(&world.admin).await;
    stale.refused(412, "version_mismatch");
    let edit = call("PATCH", &format!("/api/v1/tenant/users/{ada}")).json(&json!({ "first_name": "Ada" }));
    assert_eq!(edit.bearer(&root).send(&world.admin).await.expect(200).body["quota_bytes"], 1_073_741_824);
    // Bounds: what JSON keeps whole, and said, not left out.
    for sound in [0, 9_007_199_254_740_991_u64] {
        put(&ada, "", &json!({ "quota_bytes": sound }), &root).send(&world.admin).await.expect(200);
    }
    let over = json!({ "quota_bytes": 9_007_199_254_740_992_u64 });
    put(&ada, "", &over, &root).send(&world.admin).await.refused(422, "validation_failed");
    for odd in [json!({}), json!({ "quota_bytes": -1 }), json!({ "quota_bytes": 1.5 }), json!({ "quota_bytes": "1" })] {
        put(&ada, "", &odd, &root).send(&world.admin).await.refused(422, "validation_failed");
    }
    let none = put(&ada, "", &json!({ "quota_bytes": null }), &root).send(&world.admin).await.expect(200);
    assert_eq!(none.body["quota_bytes"], Value::Null);
    // Nobody says it of themselves who administers nothing, of who may more, or of another tenant's.
    put(&ada, "", &gib, &token).send(&world.admin).await.refused(403, "permission_denied");
    let clerk = world.login("acme", "clerk").await;
    put(&owner, "", &gib, &clerk).send(&world.admin).await.refused(403, "permission_escalation");
    put(&ada, "", &gib, &clerk).send(&world.admin).await.expect(200);
    put(&ada, "", &gib, staff).send(&world.admin).await.refused(400, "parameter_invalid");
    let globex = world.tenant(staff, "globex").await;
    world.user(staff, &globex, "gus", &["owner"]).await;
    let gus = world.login("globex", "gus").await;
    put(&ada, "", &gib, &gus).send(&world.admin).await.refused(404, "not_found");
    put(&ada, &format!("?tenant_id={globex}"), &gib, staff).send(&world.admin).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_quota_is_said_by_who_may_more_and_told_to_whom_it_concerns_on_sqlite() {
    a_quota_is_said_by_who_may_more_and_told_to_whom_it_concerns(World::new().await).await;
}

#[tokio::test]
async fn a_quota_is_said_by_who_may_more_and_told_to_whom_it_concerns_on_postgres() {
    on_postgres(a_quota_is_said_by_who_may_more_and_told_to_whom_it_concerns).await;
}

/// What is the user's and not the membership's is no tenant's to say once another shares the user.
#[tokio::test]
async fn the_quota_of_a_user_of_two_tenants_is_staffs_to_say() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenants = world.shared_tenants(&staff, &["one", "two"]).await;
    world.user(&staff, &tenants["one"], "olga", &["owner"]).await;
    let una = world.user(&staff, &tenants["one"], "una", &["member"]).await;
    let olga = world.login("one", "olga").await;
    let put = |query: &str, by: &str| {
        call("PUT", &format!("/v1/users/{una}/quota{query}")).json(&json!({ "quota_bytes": 7 })).bearer(by)
    };
    put("", &olga).send(&world.admin).await.expect(200);
    world.join(&staff, &tenants["two"], &una).await;
    put("", &olga).send(&world.admin).await.refused(403, "managed_by_platform");
    put(&format!("?tenant_id={}", tenants["two"]), &staff).send(&world.admin).await.expect(200);
}

#[tokio::test]
async fn one_keeps_ones_preferences_and_nobody_elses() {
    let it = office().await;
    let (una, ulf) = (it.world.login("acme", "una").await, it.world.login("acme", "ulf").await);
    let read = async |token: &str| get("/v1/me/preferences").bearer(token).send(&it.world.admin).await.expect(200);
    assert_eq!(read(&una).await.body["values"], json!({}));
    let put = |values: Value, tag: &str| {
        call("PUT", "/v1/me/preferences").json(&json!({ "values": values })).header("if-match", tag).bearer(&una)
    };
    put(json!({ "theme": "dark" }), "\"0\"").send(&it.world.admin).await.expect(200);
    put(json!({ "theme": "light" }), "\"0\"").send(&it.world.admin).await.refused(412, "version_mismatch");
    assert_eq!(read(&una).await.body["values"], json!({ "theme": "dark" }));
    assert_eq!(read(&ulf).await.body["values"], json!({}));
    for odd in [json!({ "x": "y".repeat(17_000) }), json!({ "x": { "a\0b": 1 } }), json!({ "x": ["a\0b"] })] {
        put(odd, "*").send(&it.world.admin).await.refused(422, "validation_failed");
    }
}

#[tokio::test]
async fn whoever_is_signed_in_sees_what_can_be_done_to_what() {
    let it = office().await;
    let una = it.world.login("acme", "una").await;
    let listed = it.send(&una, "GET", "/v1/resources", None).await.expect(200);
    let items = listed.body["items"].as_array().unwrap();
    let users = items.iter().find(|it| it["resource"] == "tenant:user").unwrap();
    assert!(users["verbs"].as_array().unwrap().contains(&json!("create")), "{users}");
    assert!(items.iter().all(|it| it["context"] == "tenant"));
}

/// S2's CreateUser, GetUser, UpdateUser, ListUsers, DeactivateUser, ReactivateUser, ResetUserPassword, DeleteUser.
#[tokio::test]
async fn a_tenants_administrator_makes_keeps_and_deletes_a_user() {
    let it = office().await;
    let users = "/api/v1/tenant/users";
    let wish = json!({ "username": "new", "email": "new@mail.example", "first_name": "New", "password": PASSWORD });
    let made = it.send(&it.admin, "POST", users, Some(wish.clone())).await.expect(201);
    assert!(made.body.get("password").is_none() && !made.body.to_string().contains(PASSWORD), "{made:?}");
    it.send(&it.admin, "POST", users, Some(wish)).await.refused(409, "already_exists");
    let one = format!("{users}/{}", made.id());
    let mut read = it.send(&it.admin, "GET", &one, None).await.expect(200).body;
    assert_eq!(read.as_object_mut().unwrap().remove("proven_phone"), Some(Value::Null));
    assert_eq!(read, made.body);
    let listed = it.send(&it.admin, "GET", &format!("{users}?search=new"), None).await.expect(200);
    assert_eq!(listed.body["items"], json!([made.body]));
    let changed = it.send(&it.admin, "PUT", &one, Some(json!({ "last_name": "Comer" }))).await.expect(200);
    assert_eq!((&changed.body["first_name"], &changed.body["last_name"]), (&json!("New"), &json!("Comer")));
    let sign_in = async |password: &str| it.world.try_login("acme", "new", password).await;
    let token = sign_in(PASSWORD).await.expect(200).text("access_token");
    // Switched off, everything is over at once; switched on, they sign in anew.
    it.send(&it.admin, "POST", &format!("{one}/disable"), None).await.expect(200);
    get("/v1/me").bearer(&token).send(&it.world.admin).await.refused(401, "token_revoked");
    assert_ne!(sign_in(PASSWORD).await.status, 200);
    it.send(&it.admin, "POST", &format!("{one}/enable"), None).await.expect(200);
    sign_in(PASSWORD).await.expect(200);
    let reset = json!({ "password": "Another-horse-2" });
    it.send(&it.admin, "POST", &format!("{one}/reset-password"), Some(reset)).await.expect(200);
    sign_in(PASSWORD).await.refused(401, "credentials_invalid");
    sign_in("Another-horse-2").await.refused(403, "password_change_required");
    it.send(&it.admin, "DELETE", &one, None).await.expect(204);
    it.send(&it.admin, "GET", &one, None).await.refused(404, "not_found");
    sign_in("Another-horse-2").await.refused(401, "credentials_invalid");
    let trail = it.send(&it.admin, "GET", &format!("/v1/audit?target={}&limit=100", made.id()), None).await.expect(200);
    let happened: Vec<&str> =
        trail.body["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
    for action in ["user.created", "user.updated", "user.disabled", "user.enabled", "user.deleted"] {
        assert!(happened.contains(&action), "{action}: {happened:?}");
    }
    assert!(!trail.body.to_string().contains("horse"), "no password is told");
}
