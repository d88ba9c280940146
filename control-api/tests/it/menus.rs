//! Menus: what administrators keep, and what each caller sees of them.

use serde_json::{Value, json};

use crate::support::{Answer, World, call, get, post};

const MENUS: &str = "/api/v1/tenant/auth/menus";
const INIT: &str = "/api/v1/tenant/auth/init";
const FAVORITE: &str = "/api/v1/tenant/auth/favorite";

/// `acme` with `ada`, who administers it, and `bob`, who may list orders.
struct Acme {
    world: World,
    staff: String,
    tenant: String,
    ada: String,
    bob: String,
}

async fn acme() -> Acme {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &["admin"]).await;
    let bob = world.user(&staff, &tenant, "bob", &["member"]).await;
    let role = json!({ "name": "clerk", "permissions": ["orders:order:list"] });
    let role = post(&format!("/v1/roles?tenant_id={tenant}"), &role).bearer(&staff).send(&world.admin).await;
    let binding = json!({ "role_id": role.expect(201).id(), "user_id": bob });
    let path = format!("/v1/role-bindings?tenant_id={tenant}");
    post(&path, &binding).bearer(&staff).send(&world.admin).await.expect(201);
    let (ada, bob) = (world.login("acme", "ada").await, world.login("acme", "bob").await);
    Acme { world, staff, tenant, ada, bob }
}

fn entry(key: &str, parent: Option<&str>, permission: Option<&str>, order: u32) -> Value {
    let mut entry = json!({ "key": key, "title": key.to_uppercase(), "path": format!("/{key}"), "order": order });
    if let Some(parent) = parent {
        entry["parent_id"] = json!(parent);
    }
    if let Some(permission) = permission {
        entry["permission"] = json!(permission);
    }
    entry
}

impl Acme {
    async fn make(&self, entry: &Value) -> Answer {
        post("/v1/menus", entry).bearer(&self.ada).send(&self.world.admin).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        get(path).bearer(token).send(&self.world.admin).await
    }

    async fn favor(&self, token: &str, key: &str, favorite: bool) -> Answer {
        let body = json!({ "menu_key": key, "favorite": favorite });
        post(FAVORITE, &body).bearer(token).send(&self.world.admin).await
    }

    /// `orders` over `orders.list` (for who may list) and `orders.new` (for who may create), and `help`; the last two
    /// ids are answered.
    async fn planted(&self) -> (String, String) {
        let mut orders = entry("orders", None, None, 1);
        orders["path"] = Value::Null;
        let orders = self.make(&orders).await.expect(201).id();
        let new = self.make(&entry("orders.new", Some(&orders), Some("orders:order:create"), 2)).await.expect(201);
        self.make(&entry("orders.list", Some(&orders), Some("orders:order:list"), 1)).await.expect(201);
        let help = self.make(&entry("help", None, None, 0)).await.expect(201).id();
        (new.id(), help)
    }
}

fn keys(nodes: &Value) -> Vec<String> {
    let nodes = nodes.as_array().unwrap().iter();
    nodes
        .flat_map(|node| std::iter::once(node["key"].as_str().unwrap().into()).chain(keys(&node["children"])))
        .collect()
}

#[tokio::test]
async fn everybody_sees_what_they_may_use_in_order() {
    let acme = acme().await;
    acme.planted().await;
    let seen = acme.get(MENUS, &acme.bob).await.expect(200);
    let list =
        json!({ "key": "orders.list", "title": "ORDERS.LIST", "path": "/orders.list", "order": 1, "children": [] });
    let orders = json!({ "key": "orders", "title": "ORDERS", "path": null, "order": 1, "children": [list] });
    let help = json!({ "key": "help", "title": "HELP", "path": "/help", "order": 0, "children": [] });
    assert_eq!(seen.body, json!({ "menus": [help, orders] }));
    // The bypass of administrators is for module `tenant`; products are not.
    let users = entry("users", None, Some("tenant:user:list"), 9);
    acme.make(&users).await.expect(201);
    assert_eq!(keys(&acme.get(MENUS, &acme.ada).await.expect(200).body["menus"]), ["help", "users"]);
    assert_eq!(keys(&acme.get(MENUS, &acme.bob).await.expect(200).body["menus"]), ["help", "orders", "orders.list"]);
}

#[tokio::test]
async fn init_answers_all_that_a_front_end_starts_with() {
    let acme = acme().await;
    acme.planted().await;
    acme.favor(&acme.bob, "help", true).await.expect(200);
    let init = acme.get(INIT, &acme.bob).await.expect(200);
    let info = acme.get("/api/v1/tenant/auth/info", &acme.bob).await.expect(200);
    let menus = acme.get(MENUS, &acme.bob).await.expect(200);
    assert_eq!(init.body["info"], info.body);
    assert_eq!(init.body["menus"], menus.body["menus"]);
    assert_eq!((&init.body["favorites"], &init.body["products"]), (&json!(["help"]), &json!([])));
    for member in ["user", "tenant", "roles", "permissions"] {
        assert!(info.body.get(member).is_some(), "{member}");
    }
    assert_eq!(info.body["permissions"], json!(["orders:order:list"]));
}

#[tokio::test]
async fn favorites_are_what_the_menu_shows_and_ones_own() {
    let acme = acme().await;
    let (new, help) = acme.planted().await;
    assert_eq!(
        acme.favor(&acme.bob, "orders.list", true).await.expect(200).body,
        json!({ "favorites": ["orders.list"] })
    );
    acme.world.clock.advance(std::time::Duration::from_secs(1));
    let both = json!({ "favorites": ["orders.list", "help"] });
    for _ in 0..2 {
        assert_eq!(acme.favor(&acme.bob, "help", true).await.expect(200).body, both);
    }
    assert_eq!(acme.get(FAVORITE, &acme.bob).await.expect(200).body, both);
    assert_eq!(acme.get(FAVORITE, &acme.ada).await.expect(200).body, json!({ "favorites": [] }));
    // Not shown, not there, not of that form.
    acme.favor(&acme.bob, "orders.new", true).await.refused(404, "not_found");
    acme.favor(&acme.bob, "nothing", true).await.refused(404, "not_found");
    acme.favor(&acme.bob, "No Key", true).await.refused(422, "validation_failed");
    // What is hidden later is hidden here, too, and comes back with it.
    let (hidden, shown) = (entry("help", None, Some("help:page:get"), 0), entry("help", None, None, 0));
    for (body, seen) in [(hidden, json!(["orders.list"])), (shown, json!(["orders.list", "help"]))] {
        let replace = call("PUT", &format!("/v1/menus/{help}")).json(&body).bearer(&acme.ada);
        replace.send(&acme.world.admin).await.expect(200);
        assert_eq!(acme.get(FAVORITE, &acme.bob).await.expect(200).body["favorites"], seen);
    }
    for _ in 0..2 {
        acme.favor(&acme.bob, "help", false).await.expect(200);
    }
    assert_eq!(acme.get(FAVORITE, &acme.bob).await.expect(200).body, json!({ "favorites": ["orders.list"] }));
    let trail = acme.get("/v1/audit", &acme.ada).await.expect(200).body;
    let count = |action: &str| trail["items"].as_array().unwrap().iter().filter(|it| it["action"] == action).count();
    assert_eq!((count("favorite.created"), count("favorite.deleted"), count("menu.created")), (2, 1, 4));
    let delete = call("DELETE", &format!("/v1/menus/{new}")).bearer(&acme.ada);
    delete.send(&acme.world.admin).await.expect(204);
    assert_eq!(count("menu.updated"), 2);
}

#[tokio::test]
async fn an_entry_is_kept_in_form_and_in_its_place() {
    let acme = acme().await;
    let made = acme.make(&entry("top", None, None, 0)).await.expect(201);
    let (id, path) = (made.id(), made.headers["location"].to_str().unwrap().to_owned());
    assert_eq!(acme.get(&path, &acme.ada).await.expect(200).body, made.body);
    let below = acme.make(&entry("below", Some(&id), None, 0)).await.expect(201).id();
    for (field, wrong) in [
        ("key", json!("No Key")),
        ("title", json!("")),
        ("title", json!("a\u{7}")),
        ("path", json!("//evil.example")),
        ("path", json!("javascript:alert(1)")),
        ("permission", json!("tenant:*")),
        ("permission", json!("no")),
        ("order", json!(-1)),
        ("more", json!(1)),
    ] {
        let mut body = entry("other", None, None, 0);
        body[field] = wrong;
        acme.make(&body).await.refused(422, "validation_failed");
    }
    acme.make(&entry("top", None, None, 0)).await.refused(409, "already_exists");
    let stranger = "00000000-0000-0000-0000-000000000001";
    acme.make(&entry("other", Some(stranger), None, 0)).await.refused(409, "menu_parent");
    let replace = |body: Value| call("PUT", &path).json(&body).bearer(&acme.ada);
    replace(entry("renamed", None, None, 0)).send(&acme.world.admin).await.refused(422, "validation_failed");
    replace(entry("top", Some(&below), None, 0)).send(&acme.world.admin).await.refused(409, "menu_cycle");
    let stale = replace(entry("top", None, None, 1)).header("if-match", "\"7\"").send(&acme.world.admin).await;
    stale.refused(412, "version_mismatch");
    let delete = |id: &str| call("DELETE", &format!("/v1/menus/{id}")).bearer(&acme.ada);
    delete(&id).send(&acme.world.admin).await.refused(409, "reference_conflict");
    for id in [below, id] {
        delete(&id).send(&acme.world.admin).await.expect(204);
    }
    assert_eq!(acme.get("/v1/menus", &acme.ada).await.expect(200).body["items"], json!([]));
}

#[tokio::test]
async fn menus_are_administered_by_who_may_in_their_own_tenant() {
    let acme = acme().await;
    let (_, help) = acme.planted().await;
    let (world, staff) = (&acme.world, &acme.staff);
    let body = entry("x", None, None, 0);
    post("/v1/menus", &body).bearer(&acme.bob).send(&world.admin).await.refused(403, "permission_denied");
    acme.get("/v1/menus", &acme.bob).await.refused(403, "permission_denied");
    // Another tenant's administrator finds nothing.
    let globex = world.tenant(staff, "globex").await;
    world.user(staff, &globex, "gus", &["owner"]).await;
    let gus = world.login("globex", "gus").await;
    let path = format!("/v1/menus/{help}");
    for (method, body) in [("GET", None), ("PUT", Some(entry("help", None, None, 0))), ("DELETE", None)] {
        for query in [String::new(), format!("?tenant_id={}", acme.tenant)] {
            let mut request = call(method, &format!("{path}{query}")).bearer(&gus);
            if let Some(body) = &body {
                request = request.json(body);
            }
            request.send(&world.admin).await.refused(404, "not_found");
        }
    }
    let named = format!("/v1/menus?tenant_id={}", acme.tenant);
    acme.get(&named, &gus).await.refused(404, "not_found");
    post(&named, &body).bearer(&gus).send(&world.admin).await.refused(404, "not_found");
    assert_eq!(acme.get(MENUS, &gus).await.expect(200).body, json!({ "menus": [] }));
    // Staff administers any tenant's.
    post(&named, &body).bearer(staff).send(&world.admin).await.expect(201);
    assert_eq!(acme.get(&named, staff).await.expect(200).body["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn the_staffs_menu_is_the_staffs() {
    let acme = acme().await;
    let (world, staff) = (&acme.world, &acme.staff);
    let made = post("/v1/menus", &entry("tenants", None, Some("platform:tenant:list"), 0)).bearer(staff);
    let made = made.send(&world.admin).await.expect(201);
    assert_eq!(made.body["tenant_id"], Value::Null);
    assert_eq!(keys(&acme.get("/api/v1/auth/menus", staff).await.expect(200).body["menus"]), ["tenants"]);
    let path = format!("/v1/menus/{}", made.id());
    acme.get(&path, &acme.ada).await.refused(404, "not_found");
    call("DELETE", &path).bearer(&acme.ada).send(&world.admin).await.refused(404, "not_found");
    assert_eq!(acme.get("/v1/menus", &acme.ada).await.expect(200).body["items"], json!([]));
    acme.get("/api/v1/auth/menus", &acme.ada).await.refused(403, "context_mismatch");
    for path in [MENUS, INIT, FAVORITE] {
        acme.get(path, staff).await.refused(403, "context_mismatch");
    }
    acme.favor(staff, "tenants", true).await.refused(403, "context_mismatch");
}
