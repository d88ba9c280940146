//! Lists over HTTP: what is found, in which order, and what is said of a query that is wrong.

use serde_json::{Value, json};

use crate::support::{World, call, get, post};

fn names(answer: &Value) -> Vec<String> {
    answer["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_is_searched_filtered_sorted_and_paged() {
    let world = World::new().await;
    let staff = world.staff().await;
    for (code, name, kind) in [("c1", "Żubr", "company"), ("c2", "alpha", "person"), ("c3", "Beta", "company")] {
        let body = json!({ "code": code, "name": name, "kind": kind });
        post("/v1/customers", &body).bearer(&staff).send(&world.admin).await.expect(201);
    }
    let list = async |query: &str| {
        get(&format!("/v1/customers?{query}")).bearer(&staff).send(&world.admin).await.expect(200).body
    };
    assert_eq!(names(&list("search=%C5%BBUBR").await), ["Żubr"]);
    assert_eq!(names(&list("kind=person").await), ["alpha"]);
    assert_eq!(names(&list("search=c&kind=company&sort=name").await), ["Beta", "Żubr"]);
    let first = list("search=c&sort=-name&limit=2").await;
    assert_eq!(names(&first), ["Żubr", "Beta"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&format!("search=c&sort=-name&limit=2&cursor={cursor}")).await;
    assert_eq!((names(&second), &second["next_cursor"]), (vec!["alpha".to_owned()], &Value::Null));
}

#[tokio::test]
async fn a_query_that_is_wrong_is_400_and_the_parameter_named() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    for (path, parameter) in [
        ("/v1/customers?limit=0", "?limit"),
        ("/v1/customers?limit=x", "?limit"),
        ("/v1/customers?sort=address", "?sort"),
        ("/v1/customers?kyc=maybe", "?kyc"),
        ("/v1/customers?cursor=x", "?cursor"),
        ("/v1/customers?search=", "?search"),
        ("/v1/customers?search=a%01", "?search"),
        ("/v1/customers?search=a%00", "?search"),
        ("/v1/customers?search=%FF%00", "?search"),
        ("/v1/customers?created_since=today", "?created_since"),
        ("/v1/customers?kind=person&kind=company", "?kind"),
        ("/v1/certificates?limit=x", "?limit"),
        ("/v1/certificates?cursor=x", "?cursor"),
        ("/v1/groups?tenant_id=x", "?tenant_id"),
        ("/v1/groups", "?tenant_id"),
        ("/v1/audit?limit=501&tenant_id=TENANT", "?limit"),
        ("/v1/audit?order=sideways&tenant_id=TENANT", "?order"),
    ] {
        let answer = get(&path.replace("TENANT", &tenant)).bearer(&staff).send(&world.admin).await;
        let answer = answer.refused(400, "parameter_invalid");
        assert_eq!(answer.body["errors"][0]["pointer"], parameter, "{path}: {answer:?}");
    }
    // Who may not ask is told that first.
    get("/v1/customers?limit=0").send(&world.admin).await.refused(401, "credential_missing");
}

#[tokio::test]
async fn who_sees_only_their_own_keys_finds_no_others_by_any_filter() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let owner = world.user(&staff, &tenant, "ada", &["owner"]).await;
    world.user(&staff, &tenant, "mia", &["member"]).await;
    let (ada, mia) = (world.login("acme", "ada").await, world.login("acme", "mia").await);
    for (token, name) in [(&ada, "of ada"), (&mia, "of mia")] {
        let key = json!({ "name": name, "scopes": [] });
        post("/v1/api-keys", &key).bearer(token).send(&world.admin).await.expect(201);
    }
    for (query, found) in [("", vec!["of mia"]), ("?search=of", vec!["of mia"]), ("?owner_id=OWNER", vec![])] {
        let path = format!("/v1/api-keys{}", query.replace("OWNER", &owner));
        assert_eq!(names(&get(&path).bearer(&mia).send(&world.admin).await.expect(200).body), found, "{query}");
    }
}

#[tokio::test]
async fn hostnames_of_others_are_found_by_no_filter() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let ada = world.login("acme", "ada").await;
    for query in ["", "?search=localhost", "?sort=-hostname", "?state=verified"] {
        let answer = get(&format!("/v1/hostnames{query}")).bearer(&ada).send(&world.admin).await.expect(200);
        let found: Vec<&Value> = answer.body["items"].as_array().unwrap().iter().map(|it| &it["hostname"]).collect();
        assert_eq!(found, [&json!("acme.localhost")], "{query}");
    }
    world.user(&staff, &acme, "guest", &["guest"]).await;
    let guest = world.login("acme", "guest").await;
    let claim = post("/v1/hostnames", &json!({ "hostname": "shop.example" })).bearer(&guest);
    claim.send(&world.admin).await.refused(403, "permission_denied");
    let theirs = get(&format!("/v1/hostnames?tenant_id={globex}")).bearer(&ada).send(&world.admin).await;
    theirs.refused(404, "not_found");
    let both = call("GET", "/v1/hostnames?sort=-hostname&search=localhost").bearer(&staff);
    let both = both.send(&world.admin).await.expect(200);
    assert!(both.body["items"].as_array().unwrap().len() >= 2);
}

/// What is listed since lists are filtered and sorted alike, by what only fits one of two.
#[tokio::test]
async fn every_list_of_a_tenants_is_filtered_and_sorted() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &["owner"]).await;
    let mia = world.user(&staff, &tenant, "mia", &["member"]).await;
    let ada = world.login("acme", "ada").await;
    for path in ["stock", "orders"] {
        let product = json!({ "key": path, "name": path, "requestable": true });
        post("/v1/products", &product).bearer(&staff).send(&world.admin).await.expect(201);
        let given = json!({ "tenant_id": tenant, "product": path, "source": "sale" });
        call("PUT", "/v1/entitlements").json(&given).bearer(&staff).send(&world.admin).await.expect(200);
    }
    for domain in ["b-mail.example", "a-mail.example"] {
        let claim = post(&format!("/v1/tenants/{tenant}/domains"), &json!({ "domain": domain }));
        claim.bearer(&ada).send(&world.admin).await.expect(201);
    }
    let group = json!({ "name": "night shift" });
    let group = post("/v1/groups", &group).bearer(&ada).send(&world.admin).await.expect(201).id();
    let members = format!("/v1/groups/{group}/members");
    post(&members, &json!({ "user_id": mia })).bearer(&ada).send(&world.admin).await.expect(201);
    world.clock.advance(std::time::Duration::from_secs(60));
    world.login("acme", "ada").await;
    let list = async |bearer: &str, path: &str, member: &str| -> Vec<Value> {
        let answer = get(path).bearer(bearer).send(&world.admin).await.expect(200);
        answer.body["items"].as_array().unwrap().iter().map(|it| it[member].clone()).collect()
    };
    let domains = format!("/v1/tenants/{tenant}/domains");
    let of_tenant = format!("/v1/tenants/{tenant}/members");
    for (bearer, path, member, found) in [
        (&ada, "/v1/entitlements?product=stock", "product", vec![json!("stock")]),
        (&ada, "/v1/entitlements?sort=product", "product", vec![json!("orders"), json!("stock")]),
        (&ada, "/v1/entitlements?revoked=true", "product", vec![]),
        (&ada, &format!("{domains}?sort=-domain"), "domain", vec![json!("b-mail.example"), json!("a-mail.example")]),
        (&ada, &format!("{domains}?search=B-"), "domain", vec![json!("b-mail.example")]),
        (&ada, &format!("{domains}?state=verified"), "domain", vec![]),
        (&ada, &format!("{members}?user_id={mia}"), "user_id", vec![json!(mia)]),
        (&ada, &format!("{members}?search=nobody"), "user_id", vec![]),
        (&staff, &format!("{of_tenant}?search=MIA"), "user_id", vec![json!(mia)]),
        (&staff, &format!("{of_tenant}?status=inactive"), "user_id", vec![]),
        (&staff, "/v1/catalog/requests?status=open", "product", vec![]),
        (&staff, "/v1/certificates?source=upload", "id", vec![]),
    ] {
        assert_eq!(list(bearer, path, member).await, found, "{path}");
    }
    let sessions = list(&ada, "/v1/me/sessions?sort=created_at", "auth_time").await;
    let mut backwards = list(&ada, "/v1/me/sessions?sort=-created_at", "auth_time").await;
    assert_eq!(sessions.len(), 2);
    assert_ne!(sessions, backwards);
    backwards.reverse();
    assert_eq!(sessions, backwards);
    assert_eq!(list(&ada, "/v1/me/sessions?method=magic_link", "id").await, Vec::<Value>::new());
    // Another tenant's request is not found by its name, nor is a filter of another's taken for one's own.
    let theirs = get(&format!("/v1/entitlements?tenant_id={}", uuid::Uuid::from_u128(7))).bearer(&ada);
    theirs.send(&world.admin).await.refused(404, "not_found");
}

/// Who asks as before gets the first page, and where the next begins.
#[tokio::test]
async fn permissions_resources_and_signing_keys_come_in_pages() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let read = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    let project = read.text("project_id");
    let keys = post("/v1/signing-keys", &json!({ "project_id": project }));
    keys.bearer(&staff).send(&world.admin).await.expect(201);
    for (path, name) in [
        (format!("/v1/permissions?tenant_id={tenant}&sort=-name"), "code"),
        (format!("/v1/permissions?tenant_id={tenant}"), "code"),
        (format!("/v1/resources?tenant_id={tenant}"), "resource"),
        (format!("/v1/signing-keys?project_id={project}"), "kid"),
    ] {
        let page =
            async |more: &str| get(&format!("{path}{more}")).bearer(&staff).send(&world.admin).await.expect(200).body;
        let whole = page("&limit=500").await;
        assert_eq!(whole["next_cursor"], Value::Null, "{path}");
        let whole = whole["items"].as_array().unwrap().clone();
        let first = page("").await;
        assert_eq!(first["items"].as_array().unwrap()[..], whole[..whole.len().min(50)], "{path}");
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let next = page(&format!("&limit=1{cursor}")).await;
            seen.extend(next["items"].as_array().unwrap().clone());
            match next["next_cursor"].as_str() {
                Some(place) => cursor = format!("&cursor={place}"),
                None => break,
            }
            assert!(seen.len() <= whole.len(), "{path} does not end");
        }
        assert_eq!(seen, whole, "{path}");
        assert!(whole.len() > 1, "{path}: {whole:?}");
        let mut names: Vec<&str> = whole.iter().map(|it| it[name].as_str().unwrap()).collect();
        if path.contains("-name") {
            names.reverse();
        }
        assert!(name == "kid" || names.is_sorted(), "{path}: {names:?}");
    }
    let found = get(&format!("/v1/permissions?tenant_id={tenant}&search=TENANT:USER:LI&context=tenant"));
    let found = found.bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(found.body["items"], json!([{ "code": "tenant:user:list", "context": "tenant" }]));
    for wrong in ["limit=0", "sort=code", "cursor=%21", "search=", "context=all"] {
        let answer = get(&format!("/v1/resources?tenant_id={tenant}&{wrong}")).bearer(&staff).send(&world.admin).await;
        let answer = answer.refused(400, "parameter_invalid");
        assert_eq!(answer.body["errors"][0]["pointer"], format!("?{}", wrong.split('=').next().unwrap()), "{answer:?}");
    }
}

/// Menus, a customer's history and evidence, erasures, gateways, and the units one works in.
#[tokio::test]
async fn what_is_administered_piece_by_piece_is_filtered_and_sorted_too() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let ada = world.user(&staff, &tenant, "ada", &["owner"]).await;
    let token = world.login("acme", "ada").await;
    let read = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    let customer = format!("/v1/customers/{}", read.text("customer_id"));
    let make = async |bearer: &str, path: &str, body: Value| {
        post(path, &body).bearer(bearer).send(&world.admin).await.expect(201).id()
    };
    let parent = make(&token, "/v1/menus", json!({ "key": "b-shop", "title": "Shop", "order": 2 })).await;
    make(&token, "/v1/menus", json!({ "key": "a-home", "title": "Home", "order": 3 })).await;
    let child = json!({ "key": "shop.x", "title": "X", "parent_id": parent, "permission": "orders:order:list" });
    make(&token, "/v1/menus", child).await;
    for name in ["north", "South"] {
        let unit = make(&token, "/v1/org-units", json!({ "name": name })).await;
        let member = json!({ "user_id": ada, "role": "ou_default" });
        make_member(&world, &token, &unit, &member).await;
    }
    let put = async |path: String, body: Value| {
        call("PUT", &path).json(&body).bearer(&staff).send(&world.admin).await.expect(200);
    };
    put(format!("{customer}/payment"), json!({ "status": "overdue", "reference": "bill 7" })).await;
    for kind in ["passport", "lease"] {
        let artifact = json!({ "kind": kind, "reference": "vault/1", "sha256": "ab".repeat(32) });
        put(format!("{customer}/artifacts"), artifact).await;
    }
    let nobody = uuid::Uuid::from_u128(7);
    let erasure = post("/v1/audit/erasures", &json!({ "user_id": nobody })).bearer(&staff);
    erasure.send(&world.admin).await.expect(202);
    let list = async |bearer: &str, path: &str, member: &str| -> Vec<Value> {
        let answer = get(path).bearer(bearer).send(&world.admin).await.expect(200);
        answer.body["items"].as_array().unwrap().iter().map(|it| it[member].clone()).collect()
    };
    let keys = |names: &[&str]| names.iter().map(|name| json!(name)).collect::<Vec<_>>();
    for (bearer, path, member, found) in [
        (&token, "/v1/menus?sort=key", "key", keys(&["a-home", "b-shop", "shop.x"])),
        (&token, "/v1/menus?sort=-order", "key", keys(&["a-home", "b-shop", "shop.x"])),
        (&token, "/v1/menus?search=SHOP&sort=key", "key", keys(&["b-shop", "shop.x"])),
        (&token, &format!("/v1/menus?parent_id={parent}"), "key", keys(&["shop.x"])),
        (&token, "/v1/menus?permission=orders:order:list", "key", keys(&["shop.x"])),
        (&staff, "/v1/menus?search=shop", "key", keys(&[])),
        (&token, "/v1/me/org-units?sort=-name", "name", keys(&["South", "north"])),
        (&token, "/v1/me/org-units?search=NOR", "name", keys(&["north"])),
        (&staff, &format!("{customer}/history?kind=payment"), "reference", keys(&["bill 7"])),
        (&staff, &format!("{customer}/history?reference=none"), "reference", keys(&[])),
        (&staff, &format!("{customer}/artifacts?sort=kind"), "kind", keys(&["lease", "passport"])),
        (&staff, &format!("{customer}/artifacts?kind=lease"), "kind", keys(&["lease"])),
        (&staff, "/v1/audit/erasures?done=false&sort=-requested_at", "user_id", vec![json!(nobody)]),
        (&staff, &format!("/v1/audit/erasures?user_id={tenant}"), "user_id", keys(&[])),
        (&staff, "/v1/gateways?state=enrolled&sort=name", "name", keys(&[])),
    ] {
        assert_eq!(list(bearer, path, member).await, found, "{path}");
    }
    let first = get("/v1/menus?sort=order&limit=1").bearer(&token).send(&world.admin).await.expect(200);
    let path = format!("/v1/menus?sort=order&limit=9&cursor={}", first.text("next_cursor"));
    assert_eq!(list(&token, &path, "key").await, keys(&["b-shop", "a-home"]));
    for (path, parameter) in [
        ("/v1/menus?sort=title", "?sort"),
        ("/v1/gateways?state=lost", "?state"),
        ("/v1/audit/erasures?user_id=x", "?user_id"),
        ("/v1/me/org-units?search=", "?search"),
    ] {
        let answer = get(path).bearer(&staff).send(&world.admin).await.refused(400, "parameter_invalid");
        assert_eq!(answer.body["errors"][0]["pointer"], parameter, "{path}: {answer:?}");
    }
}

async fn make_member(world: &World, bearer: &str, unit: &str, member: &Value) {
    let path = format!("/v1/org-units/{unit}/members");
    post(&path, member).bearer(bearer).send(&world.admin).await.expect(201);
}
