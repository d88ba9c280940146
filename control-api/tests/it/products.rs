//! Products, entitlements, the catalog, and what other identity providers are told of a tenant.

use std::collections::BTreeMap;

use authz::Scope;
use control_api::{Config, config::ServiceMethod};
use domain::{
    Clock as _, Period,
    quota::{Span, UsageCount},
};
use serde_json::{Value, json};

use crate::support::{Answer, World, call, get, on_postgres, post};

struct Shop {
    world: World,
    staff: String,
    acme: String,
    /// An administrator of `acme`.
    ada: String,
}

async fn shop(world: World) -> Shop {
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let ada = world.login("acme", "ada").await;
    let shop = Shop { world, staff, acme, ada };
    shop.product(json!({ "key": "orders", "name": "Orders", "requestable": true, "trialable": true }))
        .await
        .expect(201);
    shop.product(json!({ "key": "stock", "name": "Stock", "requestable": true })).await.expect(201);
    shop.product(json!({ "key": "hidden", "name": "Hidden", "trialable": true })).await.expect(201);
    shop
}

impl Shop {
    async fn product(&self, body: Value) -> Answer {
        post("/v1/products", &body).bearer(&self.staff).send(&self.world.admin).await
    }

    async fn put(&self, product: &str, ends: Value) -> Answer {
        let body = json!({ "tenant_id": self.acme, "product": product, "ends": ends });
        call("PUT", "/v1/entitlements").json(&body).bearer(&self.staff).send(&self.world.admin).await
    }

    async fn wish(&self, path: &str, product: &str) -> Answer {
        let body = json!({ "product": product, "contact": "ada@acme.example", "note": "two seats" });
        post(path, &body).bearer(&self.ada).send(&self.world.admin).await
    }

    async fn products(&self) -> Value {
        let init = get("/api/v1/tenant/auth/init").bearer(&self.ada).send(&self.world.admin).await.expect(200);
        init.body["products"].clone()
    }

    async fn entitlements(&self) -> Vec<Value> {
        let list = get("/v1/entitlements").bearer(&self.ada).send(&self.world.admin).await.expect(200);
        list.body["items"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_tenant_uses_what_it_is_entitled_to_until_that_ends() {
    let shop = shop(World::new().await).await;
    assert_eq!(shop.products().await, json!([]));
    shop.put("stock", Value::Null).await.expect(200);
    let given = shop.put("hidden", json!("2030-06-01T00:00:00Z")).await.expect(200);
    assert_eq!((&given.body["status"], &given.body["source"]), (&json!("active"), &json!("sale")));
    assert_eq!(shop.products().await, json!(["hidden", "stock"]));
    shop.put("nothing", Value::Null).await.refused(422, "validation_failed");
    shop.put("stock", json!("2020-06-01T00:00:00Z")).await.refused(422, "validation_failed");

    let path = format!("/v1/entitlements/{}", given.body["id"].as_str().unwrap());
    let delete = async || call("DELETE", &path).bearer(&shop.staff).send(&shop.world.admin).await;
    delete().await.expect(204);
    delete().await.refused(404, "not_found");
    assert_eq!(shop.products().await, json!(["stock"]));
    let all = shop.entitlements().await;
    assert_eq!((all.len(), all.iter().filter(|it| it["status"] == "revoked").count()), (2, 1));
    let named = get(&format!("/v1/entitlements?tenant_id={}", shop.acme)).bearer(&shop.staff);
    assert_eq!(named.send(&shop.world.admin).await.expect(200).body["items"].as_array().unwrap().len(), 2);
}

/// Of two administrators the one who has seen what the other did changes it; who has not is told so, and nothing is changed.
#[tokio::test]
async fn an_entitlement_and_an_issuer_are_changed_by_who_has_seen_them() {
    let shop = shop(World::new().await).await;
    let put = async |path: &str, body: &Value, tag: &str| {
        let asked = call("PUT", path).json(body).header("if-match", tag).bearer(&shop.staff);
        asked.send(&shop.world.admin).await
    };
    let given = json!({ "tenant_id": shop.acme, "product": "stock", "quota": { "per_day": 5 } });
    put("/v1/entitlements", &given, "\"1\"").await.refused(412, "version_mismatch");
    assert!(shop.entitlements().await.is_empty(), "there was none to be seen");
    let first = shop.put("stock", Value::Null).await.expect(200);
    assert_eq!(first.headers["etag"], "\"1\"");
    assert_eq!(shop.entitlements().await[0]["version"], 1);
    assert_eq!(put("/v1/entitlements", &given, "\"1\"").await.expect(200).headers["etag"], "\"2\"");
    let wider = json!({ "tenant_id": shop.acme, "product": "stock", "quota": null });
    put("/v1/entitlements", &wider, "\"1\"").await.refused(412, "version_mismatch");
    let kept = shop.entitlements().await;
    assert_eq!((&kept[0]["version"], &kept[0]["quota"]["per_day"]), (&json!(2), &json!(5)));

    let read = get(&format!("/v1/tenants/{}", shop.acme)).bearer(&shop.staff).send(&shop.world.admin).await.expect(200);
    let mut issuer = json!({
        "project_id": read.body["project_id"], "tenant": shop.acme, "issuer": "https://id.example.com",
        "audiences": ["a", "b"], "algorithms": ["ES256"], "jwks_url": "https://id.example.com/jwks",
    });
    let made = post("/v1/issuers", &issuer).bearer(&shop.staff).send(&shop.world.admin).await.expect(201);
    let path = format!("/v1/issuers/{}", made.id());
    assert_eq!(made.headers["etag"], "\"1\"");
    let wider = issuer.clone();
    issuer["audiences"] = json!(["a"]);
    put(&path, &issuer, "\"1\"").await.expect(200);
    put(&path, &wider, "\"1\"").await.refused(412, "version_mismatch");
    let kept = get(&path).bearer(&shop.staff).send(&shop.world.admin).await.expect(200);
    assert_eq!((&kept.headers["etag"], &kept.body["audiences"]), (&"\"2\"".parse().unwrap(), &json!(["a"])));
}

#[tokio::test]
async fn the_catalog_shows_what_may_be_asked_for_and_a_trial_begins_at_once() {
    let shop = shop(World::new().await).await;
    let catalog = get("/v1/catalog").bearer(&shop.ada).send(&shop.world.admin).await.expect(200);
    let catalog = catalog.body["items"].as_array().unwrap().clone();
    let trials: BTreeMap<_, _> = catalog.iter().map(|it| (it["key"].as_str().unwrap(), &it["trial_days"])).collect();
    assert_eq!(trials, [("orders", &json!(14)), ("stock", &Value::Null)].into());

    let trial = shop.wish("/v1/catalog/trial-request", "orders").await.expect(201);
    assert_eq!((&trial.body["status"], &trial.body["source"]), (&json!("trial"), &json!("trial")));
    assert_eq!(shop.products().await, json!(["orders"]));
    shop.wish("/v1/catalog/trial-request", "orders").await.refused(409, "already_exists");
    for product in ["stock", "hidden", "nothing"] {
        shop.wish("/v1/catalog/trial-request", product).await.refused(422, "validation_failed");
    }

    shop.wish("/v1/catalog/request", "stock").await.expect(201);
    shop.wish("/v1/catalog/request", "stock").await.refused(409, "already_exists");
    shop.wish("/v1/catalog/request", "hidden").await.refused(422, "validation_failed");
    let asked = get("/v1/catalog/requests").bearer(&shop.staff).send(&shop.world.admin).await.expect(200);
    let asked = asked.body["items"].as_array().unwrap().clone();
    let of = |product: &str| asked.iter().find(|it| it["product"] == product).unwrap();
    assert_eq!((&of("orders")["kind"], &of("orders")["status"]), (&json!("trial"), &json!("approved")));
    assert_eq!((&of("stock")["kind"], &of("stock")["status"]), (&json!("request"), &json!("open")));
    let path = format!("/v1/catalog/requests/{}", of("stock")["id"].as_str().unwrap());
    let settle = call("PATCH", &path).json(&json!({ "status": "declined" })).bearer(&shop.staff);
    assert_eq!(settle.send(&shop.world.admin).await.expect(200).body["status"], "declined");

    // The trial is over by the clock alone: nothing has to happen.
    shop.world.clock.advance(std::time::Duration::from_secs(14 * 86_400));
    let shop = Shop { ada: shop.world.login("acme", "ada").await, ..shop };
    assert_eq!(shop.products().await, json!([]));
    assert_eq!(shop.entitlements().await[0]["status"], "expired");
}

#[tokio::test]
async fn a_tenant_sees_what_it_used_and_when_that_begins_anew() {
    let shop = shop(World::new().await).await;
    let product = |quota: Value| json!({ "key": "reports", "name": "Reports", "quota": quota });
    for (bad, pointer) in [
        (json!({ "per_day": 0 }), "/quota/per_day"),
        (json!({ "per_month": 1_000_000_000_001_u64 }), "/quota/per_month"),
        (json!({ "per_year": 1 }), "/quota/per_year"),
    ] {
        let refused = shop.product(product(bad)).await.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer);
    }
    let made = shop.product(product(json!({ "per_day": 10, "per_month": 100 }))).await.expect(201);
    shop.put("reports", Value::Null).await.expect(200);
    shop.put("stock", Value::Null).await.expect(200);

    let now = shop.world.clock.unix_now();
    let [day, month] = Period::ALL.map(|period| Span::at(period, now));
    let told = [(day, 4), (month, 40)].map(|(span, used)| UsageCount {
        tenant_id: shop.acme.parse().unwrap(),
        product: "reports".parse().unwrap(),
        span,
        used,
    });
    let told = &told;
    let kept = shop.world.app.store.write_session(Scope::Platform, now, |tx| async move {
        tx.keep_usage((uuid::Uuid::from_u128(1), None), told).await
    });
    kept.await.map_err(|error: store::StoreError| error).unwrap();

    let usage = async |query: &str| {
        let asked = get(&format!("/v1/usage{query}")).bearer(&shop.ada).send(&shop.world.admin).await.expect(200);
        asked.body["items"].as_array().unwrap().clone()
    };
    let item = |product: &str, span: Span, used: u64, limit: Value| {
        json!({ "product": product, "period": span.period(), "span": span.to_string(), "used": used, "limit": limit,
                "resets_at": span.ends_at() })
    };
    let reports = [item("reports", day, 4, json!(10)), item("reports", month, 40, json!(100))];
    let stock = [item("stock", day, 0, Value::Null), item("stock", month, 0, Value::Null)];
    assert_eq!(usage("").await, [reports.clone(), stock].concat());
    assert_eq!(usage("?product=reports").await, reports);
    assert_eq!(usage("?product=orders").await, [] as [Value; 0]);
    get("/v1/usage?product=Nö").bearer(&shop.ada).send(&shop.world.admin).await.refused(400, "parameter_invalid");

    // An own quota stands instead of the product's, all of it, until it is taken back.
    let own = async |quota: Value| {
        let body = json!({ "tenant_id": shop.acme, "product": "reports", "quota": quota });
        call("PUT", "/v1/entitlements").json(&body).bearer(&shop.staff).send(&shop.world.admin).await
    };
    own(json!({ "per_day": 0 })).await.refused(422, "validation_failed");
    assert_eq!(own(json!({ "per_day": 3 })).await.expect(200).body["quota"], json!({ "per_day": 3 }));
    shop.put("reports", Value::Null).await.expect(200);
    let limits = async || usage("?product=reports").await.iter().map(|it| it["limit"].clone()).collect::<Vec<_>>();
    assert_eq!(limits().await, [json!(3), Value::Null], "who says nothing of it leaves it");
    assert_eq!(own(Value::Null).await.expect(200).body["quota"], Value::Null);
    let path = format!("/v1/products/{}", made.id());
    let patch = async |body: Value| call("PATCH", &path).json(&body).bearer(&shop.staff).send(&shop.world.admin).await;
    assert_eq!(patch(json!({ "name": "R" })).await.expect(200).body["quota"]["per_day"], 10, "absent, it stays");
    patch(json!({ "quota": { "per_day": 0 } })).await.refused(422, "validation_failed");
    assert_eq!(patch(json!({ "quota": null })).await.expect(200).body["quota"], json!({}));
    assert_eq!(limits().await, [Value::Null, Value::Null]);

    // Whose it is: one's own tenant's, of those who may.
    let globex = shop.world.tenant(&shop.staff, "globex").await;
    shop.world.user(&shop.staff, &globex, "gia", &["owner"]).await;
    shop.world.user(&shop.staff, &shop.acme, "mel", &["member"]).await;
    let (gia, mel) = (shop.world.login("globex", "gia").await, shop.world.login("acme", "mel").await);
    let foreign = get(&format!("/v1/usage?tenant_id={}", shop.acme)).bearer(&gia);
    foreign.send(&shop.world.admin).await.refused(404, "not_found");
    get("/v1/usage").bearer(&mel).send(&shop.world.admin).await.refused(403, "permission_denied");
    get("/v1/usage").send(&shop.world.admin).await.refused(401, "credential_missing");

    // A new day is a new count.
    shop.world.clock.advance(day.ends_at().since(now));
    let shop = Shop { ada: shop.world.login("acme", "ada").await, ..shop };
    let asked = get("/v1/usage?product=reports").bearer(&shop.ada).send(&shop.world.admin).await.expect(200);
    assert_eq!(asked.body["items"][0]["used"], 0);
}

#[tokio::test]
async fn nobody_entitles_themselves_or_sees_what_others_have() {
    let shop = shop(World::new().await).await;
    let globex = shop.world.tenant(&shop.staff, "globex").await;
    shop.world.user(&shop.staff, &globex, "gia", &["owner"]).await;
    shop.world.user(&shop.staff, &shop.acme, "mel", &["member"]).await;
    let (gia, mel) = (shop.world.login("globex", "gia").await, shop.world.login("acme", "mel").await);
    let given = shop.put("stock", Value::Null).await.expect(200).body["id"].as_str().unwrap().to_owned();
    let send = async |method: &str, path: String, token: &str, body: Value| {
        let request = call(method, &path).bearer(token);
        if body.is_null() { request } else { request.json(&body) }.send(&shop.world.admin).await
    };
    let theirs = format!("?tenant_id={}", shop.acme);
    let wish = json!({ "product": "orders" });
    for (method, path, body) in [
        ("GET", format!("/v1/entitlements{theirs}"), Value::Null),
        ("GET", format!("/v1/catalog{theirs}"), Value::Null),
        ("POST", format!("/v1/catalog/request{theirs}"), wish.clone()),
        ("POST", format!("/v1/catalog/trial-request{theirs}"), wish.clone()),
    ] {
        send(method, path, &gia, body).await.refused(404, "not_found");
    }
    for (method, path, body) in [
        ("DELETE", format!("/v1/entitlements/{given}"), Value::Null),
        ("GET", "/v1/products".to_owned(), Value::Null),
        ("POST", "/v1/products".to_owned(), json!({ "key": "own", "name": "Own" })),
        ("GET", "/v1/catalog/requests".to_owned(), Value::Null),
        ("PATCH", format!("/v1/catalog/requests/{given}"), json!({ "status": "approved" })),
    ] {
        for token in [&shop.ada, &gia] {
            send(method, path.clone(), token, body.clone()).await.refused(403, "permission_denied");
        }
    }
    let own = json!({ "tenant_id": shop.acme, "product": "orders" });
    send("PUT", "/v1/entitlements".into(), &shop.ada, own).await.refused(403, "context_mismatch");
    send("POST", "/v1/catalog/trial-request".into(), &mel, wish).await.refused(403, "permission_denied");
    assert_eq!(shop.products().await, json!(["stock"]));
}

#[tokio::test]
async fn a_product_keeps_its_key_and_stays_while_somebody_has_it() {
    let shop = shop(World::new().await).await;
    let list = get("/v1/products").bearer(&shop.staff).send(&shop.world.admin).await.expect(200);
    let stock = list.body["items"].as_array().unwrap().iter().find(|it| it["key"] == "stock").unwrap().clone();
    let path = format!("/v1/products/{}", stock["id"].as_str().unwrap());
    let patch = async |body: Value| call("PATCH", &path).json(&body).bearer(&shop.staff).send(&shop.world.admin).await;
    let changed = patch(json!({ "trialable": true, "trial_days": 30, "name": "Stock 2" })).await.expect(200);
    assert_eq!((&changed.body["trial_days"], &changed.body["key"]), (&json!(30), &json!("stock")));
    for bad in [json!({ "key": "x" }), json!({ "trial_days": 0 }), json!({ "trial_days": 366 }), json!({ "name": "" })]
    {
        patch(bad).await.refused(422, "validation_failed");
    }
    for bad in ["", "Stock", "a,b", "a\r\nb", "-a"] {
        shop.product(json!({ "key": bad, "name": "x" })).await.refused(422, "validation_failed");
    }
    shop.product(json!({ "key": "stock", "name": "Twice" })).await.refused(409, "already_exists");
    shop.put("stock", Value::Null).await.expect(200);
    let delete = async || call("DELETE", &path).bearer(&shop.staff).send(&shop.world.admin).await;
    delete().await.refused(409, "reference_conflict");
}

async fn one_trial(world: World) {
    let shop = shop(world).await;
    let answers = futures::future::join_all((0..8).map(|_| shop.wish("/v1/catalog/trial-request", "orders"))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| answer.status == 201 || answer.status == 409), "{answers:?}");
    assert_eq!(shop.entitlements().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_trials_at_once_one_begins_on_sqlite() {
    one_trial(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_trials_at_once_one_begins_on_postgres() {
    on_postgres(one_trial).await;
}

/// S1's claim bundle, for who makes tokens elsewhere.
#[tokio::test]
async fn an_identity_provider_is_told_of_a_tenant_by_id_slug_or_attribute() {
    let folder = tempfile::tempdir().unwrap();
    let (key, other) = ("k".repeat(40), "o".repeat(40));
    let mut config = Config::default();
    for (name, text, method) in
        [("idp", &key, ServiceMethod::TenantClaims), ("orders", &other, ServiceMethod::VerifyToken)]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let key = link::file::SecretRef::File(path);
        config.internal.service_keys.push(control_api::config::ServiceKey {
            name: name.into(),
            key,
            methods: vec![method],
            tenants: Vec::new(),
        });
    }
    let shop = shop(World::with(config).await).await;
    shop.put("stock", Value::Null).await.expect(200);
    let ask = async |key: &str, body: Value| {
        let request = post("/v1/internal/keycloak/claims", &body).bearer(key);
        request.send(&shop.world.internal).await
    };
    let expected = json!({
        "tenant_id": shop.acme, "slug": "acme", "products": ["stock"], "plan": null, "status": "active",
    });
    for body in [
        json!({ "tenant_id": shop.acme }),
        json!({ "tenant_slug": "acme" }),
        json!({ "user_attrs": { "tenant_id": [shop.acme], "locale": ["en"] } }),
        json!({ "user_attrs": { "tenant_slug": "acme" } }),
    ] {
        assert_eq!(ask(&key, body.clone()).await.expect(200).body, expected, "{body}");
    }
    for body in [
        json!({}),
        json!({ "tenant_id": shop.acme, "tenant_slug": "acme" }),
        json!({ "user_attrs": {} }),
        json!({ "user_attrs": { "tenant_slug": ["acme", "globex"] } }),
        json!({ "user_attrs": { "tenant_slug": "acme", "tenant_id": shop.acme } }),
        json!({ "user_attrs": { "tenant_id": "acme" } }),
    ] {
        ask(&key, body).await.refused(422, "validation_failed");
    }
    ask(&key, json!({ "tenant_slug": "nobody" })).await.refused(404, "not_found");
    ask(&other, json!({ "tenant_slug": "acme" })).await.refused(403, "service_key_scope");
    let nobody = post("/v1/internal/keycloak/claims", &json!({ "tenant_slug": "acme" }));
    nobody.send(&shop.world.internal).await.refused(401, "credential_missing");
}
