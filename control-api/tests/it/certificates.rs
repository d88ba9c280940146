//! Client certificates: what is written is read, and what cannot be judged is not written.

use serde_json::{Value, json};
use testkit::TestCa;

use crate::{
    boundary::compiled,
    support::{Answer, World, call, get, post},
};

struct Fixture {
    world: World,
    staff: String,
    tenant: String,
    user: String,
    hostname: String,
    ca: TestCa,
}

impl Fixture {
    async fn new() -> Self {
        let world = World::new().await;
        let staff = world.staff().await;
        let tenant = world.tenant(&staff, "acme").await;
        let user = world.user(&staff, &tenant, "billing", &["member"]).await;
        world.user(&staff, &tenant, "ada", &["admin"]).await;
        let hostname = hostname(&world, &staff, "acme.localhost").await;
        Self { world, staff, tenant, user, hostname, ca: TestCa::new() }
    }

    fn path(&self) -> String {
        format!("/v1/hostnames/{}/client-certificates", self.hostname)
    }

    async fn put(&self, body: &Value) -> Answer {
        call("PUT", &self.path()).json(body).bearer(&self.staff).send(&self.world.admin).await
    }

    fn binding(&self, kind: &str, value: &str) -> Value {
        json!({ "hostname_id": self.hostname, "kind": kind, "value": value, "user_id": self.user })
    }
}

async fn hostname(world: &World, staff: &str, name: &str) -> String {
    let hostnames = get("/v1/hostnames").bearer(staff).send(&world.admin).await.expect(200);
    let items = hostnames.body["items"].as_array().unwrap().clone();
    items.iter().find(|it| it["hostname"] == name).unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_a_hostname_believes_is_written_read_and_taken_back() {
    let it = Fixture::new().await;
    get(&it.path()).bearer(&it.staff).send(&it.world.admin).await.refused(404, "not_found");
    let body = json!({ "mode": "required", "ca": it.ca.ca_pem(), "crl": [it.ca.crl(&[])] });
    let put = it.put(&body).await.expect(200);
    assert_eq!(put.body, body);
    let found = get(&it.path()).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    assert_eq!(found.body, body);
    let old = call("PUT", &it.path()).json(&body).header("if-match", "\"1\"").bearer(&it.staff);
    old.send(&it.world.admin).await.refused(412, "version_mismatch");
    let trail = format!("/v1/audit?tenant_id={}", it.tenant);
    let audit = get(&trail).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    assert!(audit.body.to_string().contains("client_certificates_replaced"), "{}", audit.body);
    assert!(!audit.body.to_string().contains("BEGIN"), "what it believes stands elsewhere");
    call("DELETE", &it.path()).bearer(&it.staff).send(&it.world.admin).await.expect(204);
    get(&it.path()).bearer(&it.staff).send(&it.world.admin).await.refused(404, "not_found");
    call("DELETE", &it.path()).bearer(&it.staff).send(&it.world.admin).await.refused(404, "not_found");
}

#[tokio::test]
async fn h5_what_cannot_be_judged_is_not_written() {
    let it = Fixture::new().await;
    let good = it.ca.ca_pem();
    let leaf = it.ca.client("billing");
    for (ca, crl, pointer, detail) in [
        (String::new(), vec![], "/ca", "`ca` holds no PEM block"),
        (good.clone() + &leaf.key_pem, vec![], "/ca", "`ca`, block 2, is no `CERTIFICATE`"),
        (
            leaf.chain_pem.clone(),
            vec![],
            "/ca",
            "`ca`, block 1, is no authority's: its basic constraints do not say so",
        ),
        (good.clone(), vec!["x".to_owned()], "/crl/0", "`crl` 1 is neither PEM nor DER in base64"),
        (good.clone(), vec![it.ca.crl(&[]), good.clone()], "/crl/1", "`crl` 2, block 1, is no `X509 CRL`"),
        (good.clone(), vec![it.ca.crl_until(&[], 2001)], "/crl", "a list went out of date at 2001-01-01T00:00:00.000Z"),
    ] {
        let answer = it.put(&json!({ "mode": "optional", "ca": ca, "crl": crl })).await;
        let error = &answer.body["errors"][0];
        assert_eq!((&error["pointer"], &error["detail"]), (&json!(pointer), &json!(detail)), "{answer:?}");
        assert!(!answer.body.to_string().contains("PRIVATE KEY"));
    }
    get(&it.path()).bearer(&it.staff).send(&it.world.admin).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_tenants_administrator_says_whose_certificates_are_whose() {
    let it = Fixture::new().await;
    let admin = it.world.login("acme", "ada").await;
    let send = |body: Value| post("/v1/certificate-bindings", &body).bearer(&admin).send(&it.world.admin);
    let made = send(it.binding("dns", "Billing.Acme.Example")).await.expect(201);
    assert_eq!(made.body["value"], "billing.acme.example");
    let path = format!("/v1/certificate-bindings/{}", made.id());
    assert_eq!(made.headers["location"], path.as_str());
    assert_eq!(get(&path).bearer(&admin).send(&it.world.admin).await.expect(200).body, made.body);
    let list = get("/v1/certificate-bindings").bearer(&admin).send(&it.world.admin).await.expect(200);
    assert_eq!(list.body["items"], json!([made.body]));
    assert_eq!(send(it.binding("dns", "billing.acme.example")).await.status, 409);
    for (kind, value) in [("dns", "*.acme.example"), ("uri", "a\0b"), ("sha256", "abc"), ("email", "")] {
        let refused = send(it.binding(kind, value)).await;
        assert_eq!(refused.body["errors"][0]["pointer"], "/value", "{refused:?}");
    }
    let audit = get("/v1/audit").bearer(&admin).send(&it.world.admin).await.expect(200);
    assert!(audit.body.to_string().contains("certificate-binding"));
    // Authorities are the platform's to say.
    get(&it.path()).bearer(&admin).send(&it.world.admin).await.refused(403, "permission_denied");
    call("DELETE", &path).bearer(&admin).send(&it.world.admin).await.expect(204);
    get(&path).bearer(&admin).send(&it.world.admin).await.refused(404, "not_found");
}

#[tokio::test]
async fn nobody_takes_the_place_of_who_may_more_or_of_another_tenants() {
    let it = Fixture::new().await;
    let member = it.world.login("acme", "billing").await;
    let send = |token: &str, body: &Value| post("/v1/certificate-bindings", body).bearer(token).send(&it.world.admin);
    send(&member, &it.binding("dns", "a.example")).await.refused(403, "permission_denied");
    let globex = it.world.tenant(&it.staff, "globex").await;
    it.world.user(&it.staff, &globex, "gus", &["admin"]).await;
    let gus = it.world.login("globex", "gus").await;
    send(&gus, &it.binding("dns", "a.example")).await.refused(404, "not_found");
    let admin = it.world.login("acme", "ada").await;
    let made = send(&admin, &it.binding("dns", "a.example")).await.expect(201).id();
    let named = format!("?tenant_id={}", it.tenant);
    for (method, path) in [
        ("GET", format!("/v1/certificate-bindings/{made}")),
        ("DELETE", format!("/v1/certificate-bindings/{made}")),
        ("GET", format!("/v1/certificate-bindings{named}")),
        ("GET", format!("/v1/certificate-bindings/{made}{named}")),
        ("DELETE", format!("/v1/certificate-bindings/{made}{named}")),
    ] {
        let answer = call(method, &path).bearer(&gus).send(&it.world.admin).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"), "{method} {path}");
    }
    let list = get("/v1/certificate-bindings").bearer(&gus).send(&it.world.admin).await.expect(200);
    assert_eq!(list.body["items"], json!([]));
}

/// A file that was written before says nothing of them.
#[tokio::test]
async fn a_declarative_file_does_not_take_certificates_off() {
    let world = World::new().await;
    let staff = world.staff().await;
    let apply = async |more: &str| {
        let file = format!(
            "tenants: [{{ slug: acme }}]\nhostnames: [{{ hostname: acme.example.test, tenant: acme{more} }}]\n"
        );
        post("/v1/apply", &compiled(&file)).bearer(&staff).send(&world.admin).await.expect(200);
    };
    apply("").await;
    let id = hostname(&world, &staff, "acme.example.test").await;
    let path = format!("/v1/hostnames/{id}/client-certificates");
    let body = json!({ "mode": "required", "ca": TestCa::new().ca_pem(), "crl": [] });
    call("PUT", &path).json(&body).bearer(&staff).send(&world.admin).await.expect(200);
    apply(", max_body: 1MiB").await;
    assert_eq!(get(&path).bearer(&staff).send(&world.admin).await.expect(200).body, body);
}
