//! Credentials of projects that count on connections of their certificate alone, over the `internal` listener with TLS.

use std::time::Duration;

use domain::Clock as _;
use serde_json::{Value, json};
use testkit::{Leaf, TestCa, client_config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    enrolment::Installation,
    support::{Answer, World, call, get, on_empty_postgres, post},
};

const LOOKUP: &str = "/v1/internal/users/lookup";

/// A connection whose client has proven this certificate, or none.
async fn connect(it: &Installation, identity: Option<&Leaf>) -> TlsStream<TcpStream> {
    let connector = TlsConnector::from(client_config(&it.ca.ca_pem(), &[], identity));
    let stream = TcpStream::connect(it.internal()).await.unwrap();
    connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
}

/// Status and body of what is answered on a connection, which stays open.
async fn asked(connection: &mut TlsStream<TcpStream>, headers: &[(&str, &str)], tenant: &str) -> (u16, Value) {
    let body = json!({ "tenant_id": tenant, "emails": [format!("mia@{tenant}.example")] }).to_string();
    let mut head = format!("POST {LOOKUP} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n{body}", body.len());
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert!(connection.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// What is answered to a key on a connection of its own.
async fn shown(it: &Installation, identity: Option<&Leaf>, key: &str, tenant: &str) -> (u16, String) {
    let (status, body) = asked(&mut connect(it, identity).await, &[("x-directory-key", key)], tenant).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn refused() -> (u16, String) {
    (401, "project_key_invalid".into())
}

fn found() -> (u16, String) {
    (200, String::new())
}

/// A staffed world with two tenants of projects of their own, each with a `mia`.
struct Two<'w> {
    world: &'w World,
    staff: String,
    acme: String,
    globex: String,
}

impl<'w> Two<'w> {
    async fn of(world: &'w World) -> Self {
        let staff = world.staff().await;
        let (acme, globex) = (world.tenant(&staff, "acme").await, world.tenant(&staff, "globex").await);
        for tenant in [&acme, &globex] {
            world.user(&staff, tenant, "mia", &[]).await;
        }
        Self { world, staff, acme, globex }
    }

    async fn path(&self, tenant: &str) -> String {
        let read = get(&format!("/v1/tenants/{tenant}")).bearer(&self.staff).send(&self.world.admin).await.expect(200);
        format!("/v1/projects/{}/credentials", read.text("project_id"))
    }

    async fn ask(&self, tenant: &str, body: &Value) -> Answer {
        post(&self.path(tenant).await, body).bearer(&self.staff).send(&self.world.admin).await
    }

    /// A credential of a tenant's project for a certificate.
    async fn credential(&self, tenant: &str, leaf: &Leaf) -> Answer {
        let body = json!({ "kind": "mtls", "name": "reader", "certificate_pem": leaf.chain_pem });
        self.ask(tenant, &body).await.expect(201)
    }
}

async fn a_credential_counts_on_connections_of_its_certificate_alone(it: Installation) {
    let two = Two::of(&it.world).await;
    let (leaf, other) = (it.ca.client("reader"), it.ca.client("reader"));
    let made = two.credential(&two.acme, &leaf).await;
    let key = made.text("secret");
    assert_eq!(key, format!("pmk_{}", made.text("public_id")), "{made:?}");
    assert_eq!(shown(&it, Some(&leaf), &key, &two.acme).await, found());
    // Of its own project alone, and by all of its text.
    assert_eq!(shown(&it, Some(&leaf), &key, &two.globex).await, (404, "not_found".into()));
    let public = made.text("public_id");
    let flipped = format!("pmk_{}{}", if public.starts_with('0') { '1' } else { '0' }, &public[1..]);
    for text in [&flipped, &format!("pdk_{public}"), &format!("pdk_{public}_"), &format!("{key}_"), &public] {
        assert_eq!(shown(&it, Some(&leaf), text, &two.acme).await, refused(), "{text}");
    }

    // Another certificate of the same name and authority, and none: whatever a header says.
    assert_eq!(shown(&it, Some(&other), &key, &two.acme).await, refused());
    let one_line = leaf.chain_pem.replace('\n', " ");
    let sha256 = made.text("certificate_sha256");
    let claims = [
        ("x-directory-key", key.as_str()),
        ("x-forwarded-client-cert", &format!("Hash={sha256}")),
        ("ssl-client-cert", &one_line),
        ("x-client-cert-sha256", &sha256),
        ("client-cert", &one_line),
    ];
    let (status, body) = asked(&mut connect(&it, None).await, &claims, &two.acme).await;
    assert_eq!((status, &body["code"]), (401, &json!("project_key_invalid")), "{body}");
    let in_memory = post(LOOKUP, &json!({ "tenant_id": two.acme, "emails": ["mia@x.example"] }));
    let in_memory = in_memory.header("x-directory-key", &key).send(&it.world.internal).await;
    in_memory.refused(401, "project_key_invalid");
    // It names no project for anything else.
    let login = json!({ "username": "mia", "password": crate::support::PASSWORD });
    let login = post("/api/v1/tenant/auth/login", &login).header("x-project-key", &key).send(&it.world.admin).await;
    login.refused(401, "project_key_invalid");

    // Who registers somebody else's certificate takes nothing from them, and reads nothing by it.
    let theirs = two.credential(&two.globex, &leaf).await.text("secret");
    assert_eq!(shown(&it, Some(&leaf), &key, &two.acme).await, found());
    assert_eq!(shown(&it, Some(&other), &theirs, &two.globex).await, refused());
    assert_eq!(shown(&it, None, &theirs, &two.globex).await, refused());

    // While the certificate is exchanged there are two; then one.
    let next = two.credential(&two.acme, &other).await;
    let next_key = next.text("secret");
    assert_eq!(shown(&it, Some(&leaf), &key, &two.acme).await, found());
    assert_eq!(shown(&it, Some(&other), &next_key, &two.acme).await, found());
    assert_eq!(shown(&it, Some(&leaf), &next_key, &two.acme).await, refused());
    let mut kept = connect(&it, Some(&leaf)).await;
    assert_eq!(asked(&mut kept, &[("x-directory-key", &key)], &two.acme).await.0, 200);
    let path = format!("{}/{}", two.path(&two.acme).await, made.id());
    call("DELETE", &path).bearer(&two.staff).send(&it.world.admin).await.expect(204);
    assert_eq!(asked(&mut kept, &[("x-directory-key", &key)], &two.acme).await.0, 401, "on a connection that is there");
    assert_eq!(shown(&it, Some(&leaf), &key, &two.acme).await, refused());
    assert_eq!(shown(&it, Some(&other), &next_key, &two.acme).await, found());

    let path = format!("{}?kind=mtls", two.path(&two.acme).await);
    let listed = get(&path).bearer(&two.staff).send(&it.world.admin).await.expect(200);
    let items = listed.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{listed:?}");
    let of = |made: &Answer| items.iter().find(|it| it["id"] == made.id()).unwrap();
    assert_eq!((&of(&made)["certificate_sha256"], of(&made)["not_after"].is_string()), (&json!(sha256), true));
    assert!(of(&made)["revoked_at"].is_string() && of(&next)["revoked_at"].is_null(), "{listed:?}");
    assert!(of(&next)["last_used_at"].is_string(), "{listed:?}");
    let trail = get("/v1/audit?action=project-credential.created").bearer(&two.staff).send(&it.world.admin).await;
    let told = trail.expect(200).body["items"].to_string();
    assert!(told.contains(&sha256), "{told}");
}

#[tokio::test]
async fn a_credential_counts_on_connections_of_its_certificate_alone_on_sqlite() {
    a_credential_counts_on_connections_of_its_certificate_alone(Installation::start().await).await;
}

#[tokio::test]
async fn a_credential_counts_on_connections_of_its_certificate_alone_on_postgres() {
    on_empty_postgres(async |store| {
        a_credential_counts_on_connections_of_its_certificate_alone(Installation::on(store).await).await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_outlives_no_certificate_of_a_program() {
    let it = Installation::start().await;
    let two = Two::of(&it.world).await;
    let end = it.clock.unix_now() + Duration::from_secs(600);
    let leaf = it.ca.client_with(|params| {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = epoch + end.since(domain::Timestamp::default());
    });
    let made = two.credential(&two.acme, &leaf).await;
    let key = made.text("secret");
    let mut connection = connect(&it, Some(&leaf)).await;
    let headers = [("x-directory-key", key.as_str())];
    it.clock.advance(Duration::from_secs(598));
    assert_eq!(asked(&mut connection, &headers, &two.acme).await.0, 200);
    it.clock.advance(Duration::from_secs(2));
    assert_eq!(asked(&mut connection, &headers, &two.acme).await.0, 401);
    let staff = it.world.staff().await;
    let body = json!({ "kind": "mtls", "name": "late", "certificate_pem": leaf.chain_pem });
    let late = post(&two.path(&two.acme).await, &body).bearer(&staff).send(&it.world.admin).await;
    assert_eq!(late.refused(422, "validation_failed").body["errors"][0]["code"], "expired");
}

#[tokio::test]
async fn a_gateways_certificate_is_no_programs() {
    let it = Installation::start().await;
    let two = Two::of(&it.world).await;
    let gateway = it.gateway("default", "edge-1").await;
    let leaf = Leaf { chain_pem: gateway.chain.clone(), key_pem: gateway.key.serialize_pem() };
    let body = json!({ "kind": "mtls", "name": "edge", "certificate_pem": leaf.chain_pem });
    let made = two.ask(&two.acme, &body).await;
    assert_eq!(made.refused(422, "validation_failed").body["errors"][0]["pointer"], "/certificate_pem");
    // Beside a credential of its own, a gateway shows two; revoked, it is nobody.
    let key = two.credential(&two.acme, &it.ca.client("reader")).await.text("secret");
    assert_eq!(shown(&it, Some(&leaf), &key, &two.acme).await, refused());
    it.revoke(gateway.me.id).await;
    assert_eq!(shown(&it, Some(&leaf), &key, &two.acme).await, refused());
}

#[tokio::test]
async fn wrong_ones_are_counted_by_address() {
    let it = Installation::start().await;
    let two = Two::of(&it.world).await;
    let (leaf, other) = (it.ca.client("reader"), it.ca.client("other"));
    let key = two.credential(&two.acme, &leaf).await.text("secret");
    let mut connection = connect(&it, Some(&other)).await;
    let headers = [("x-directory-key", key.as_str())];
    let mut tries = 0;
    while asked(&mut connection, &headers, &two.acme).await.0 == 401 {
        tries += 1;
        assert!(tries <= 1000, "wrong ones are not counted");
    }
    let (status, body) = asked(&mut connection, &headers, &two.acme).await;
    assert_eq!((status, &body["code"]), (429, &json!("rate_limited")));
    assert_eq!(shown(&it, Some(&leaf), &key, &two.acme).await, found(), "who holds it is held up by nobody");
}

#[tokio::test]
async fn a_certificate_is_for_one_kind_and_that_kind_for_a_certificate() {
    let world = World::new().await;
    let two = Two::of(&world).await;
    let (pem, key) = {
        let leaf = TestCa::new().client("reader");
        (leaf.chain_pem, leaf.key_pem)
    };
    for (body, code) in [
        (json!({ "kind": "mtls", "name": "x" }), "required"),
        (json!({ "kind": "secret", "name": "x", "certificate_pem": pem }), "unsupported"),
        (json!({ "kind": "publishable", "name": "x", "certificate_pem": pem }), "unsupported"),
        (json!({ "kind": "mtls", "name": "x", "certificate_pem": format!("{key}{pem}") }), "invalid"),
    ] {
        let answer = two.ask(&two.acme, &body).await.refused(422, "validation_failed");
        assert_eq!(answer.body["errors"][0]["code"], code, "{answer:?}");
        assert!(!answer.body.to_string().contains("PRIVATE KEY"));
    }
}
