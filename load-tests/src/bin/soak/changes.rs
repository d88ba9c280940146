//! Changes while everything runs: what was refused from the answer on, what is served from the answer on.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use load_tests::{Alpn, node::Tokens};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{Caller, World, good};

/// An authority of our own, whose certificates take the place of the demo's.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "soak");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn leaf(&self, name: &str) -> anyhow::Result<Value> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &self.0)?;
        Ok(json!({ "chain_pem": leaf.pem(), "key_pem": key.serialize_pem() }))
    }
}

/// Signs in, refreshes, signs out: each token is good until it is not, and a WebSocket ends with its session.
pub(crate) async fn sessions(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    const KIND: &str = "sessions";
    let host = world.host("acme");
    let edge = world.edge.clone();
    let mut connection = edge.connect(&host, Alpn::Http1, from).await?;
    let Tokens { access, refresh } = world.node.login("acme", "admin").await?;
    let mut me = async |access: &str| {
        let bearer = format!("Bearer {access}");
        anyhow::Ok(connection.get("/demo/me", &[("authorization", &bearer)]).await?.status)
    };
    let status = me(&access).await?;
    world.tally.expect(KIND, status == 200, || format!("a new token was answered {status}"));

    let mut control = edge.connect(&host, Alpn::Http1, from).await?;
    let body = json!({ "refresh_token": refresh }).to_string();
    let json = [("content-type", "application/json")];
    let refreshed = control.call(Method::POST, "/api/v1/tenant/auth/refresh", &json, body.into()).await?;
    let refreshed: Value = serde_json::from_slice(&refreshed.body)?;
    let access = refreshed["access_token"].as_str().with_context(|| format!("no token in {refreshed}"))?;
    let status = me(access).await?;
    world.tally.expect(KIND, status == 200, || format!("a refreshed token was answered {status}"));

    let bearer = format!("Bearer {access}");
    let mut socket = good::WebSocket::open(&world, "acme", from, &bearer).await?;
    let back = socket.echo("hello").await?;
    world.tally.expect(KIND, back == "hello", || format!("the WebSocket said {back:?}"));
    let headers = [("authorization", bearer.as_str())];
    let out = control.call(Method::POST, "/api/v1/tenant/auth/logout", &headers, Bytes::new()).await?;
    world.tally.expect(KIND, out.status.is_success(), || format!("logout was answered {}", out.status));
    let status = me(access).await?;
    world.tally.expect(KIND, status == 401, || format!("a signed-out token was answered {status}"));
    let ended = timeout(Duration::from_secs(10), socket.ended()).await.is_ok();
    world.tally.expect(KIND, ended, || "the WebSocket of a signed-out session is still open after 10 s".to_owned());
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// A route is made, narrowed and taken away.
pub(crate) async fn routes(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    const KIND: &str = "changed routes";
    let staff = world.node.staff().await?;
    let service = world.node.find(&staff, "/v1/services", "name", "demo").await?;
    for _ in 0..40 {
        if !world.goes_on() {
            return Ok(());
        }
        let mut connection = world.connect("globex", Alpn::Http2, from).await?;
        let mut route = json!({ "service_id": service["id"], "path": "/demo/soak", "access": "public" });
        let made = world.node.admin(&staff, Method::POST, "/v1/routes?wait=applied", &route).await?;
        let path = format!("/v1/routes/{}?wait=applied", made["id"].as_str().context("no id")?);
        let status = connection.get("/demo/soak", &[]).await?.status;
        world.tally.expect(KIND, status == 200, || format!("a public route was answered {status}"));
        route["access"] = json!("authenticated");
        world.node.admin(&staff, Method::PUT, &path, &route).await?;
        let status = connection.get("/demo/soak", &[]).await?.status;
        world.tally.expect(KIND, status == 401, || format!("a route closed to strangers was answered {status}"));
        world.node.admin(&staff, Method::DELETE, &path, &Value::Null).await?;
        let status = connection.get("/demo/soak", &[]).await?.status;
        world.tally.expect(KIND, status == 401, || format!("a removed route was answered {status}"));
        sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

/// A user gets a role and loses it, is disabled and enabled.
pub(crate) async fn rights(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    const KIND: &str = "changed rights";
    let staff = world.node.staff().await?;
    let tenant = world.node.tenant_id("globex").to_owned();
    let roles = format!("/v1/roles?tenant_id={tenant}");
    let role = world.node.find(&staff, &roles, "name", "demo_admin").await?;
    let users = format!("/v1/tenants/{tenant}/users");
    let user = world.node.find(&staff, &users, "username", "admin").await?;
    let user = user["id"].as_str().context("no id")?.to_owned();
    let held = format!("/v1/role-bindings?tenant_id={tenant}");
    for _ in 0..40 {
        if !world.goes_on() {
            return Ok(());
        }
        let binding = world.node.admin(&staff, Method::GET, &held, &Value::Null).await?;
        let binding = binding["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|it| it["role_id"] == role["id"] && it["subject_id"] == user.as_str())
            .with_context(|| format!("no binding of the role in {binding}"))?;
        let identity = good::sign_in(&world, Caller { tenant: "globex", role: "admin" }, from).await?;
        let mut connection = world.connect("globex", Alpn::Http1, from).await?;
        let headers = [("authorization", identity.bearer.as_str())];
        let mut order = async || {
            let answer = connection.call(Method::POST, "/demo/orders", &headers, Bytes::new()).await?;
            anyhow::Ok(answer.status)
        };
        let status = order().await?;
        world.tally.expect(KIND, status == 200, || format!("with the role: {status}"));
        let path =
            format!("/v1/role-bindings/{}?tenant_id={tenant}&wait=applied", binding["id"].as_str().context("no id")?);
        world.node.admin(&staff, Method::DELETE, &path, &Value::Null).await?;
        let status = order().await?;
        world.tally.expect(KIND, status == 403, || format!("without the role: {status}"));
        let body = json!({ "role_id": role["id"], "user_id": user });
        world.node.admin(&staff, Method::POST, &format!("{held}&wait=applied"), &body).await?;
        let status = order().await?;
        world.tally.expect(KIND, status == 200, || format!("with the role again: {status}"));

        world.node.admin(&staff, Method::POST, &format!("{users}/{user}/disable"), &Value::Null).await?;
        let status = order().await?;
        world.tally.expect(KIND, status == 401, || format!("a disabled user was answered {status}"));
        world.node.admin(&staff, Method::POST, &format!("{users}/{user}/enable?wait=applied"), &Value::Null).await?;
        sleep(Duration::from_secs(3)).await;
    }
    Ok(())
}

/// A certificate is replaced: new handshakes show it, open connections go on.
pub(crate) async fn certificates(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    const KIND: &str = "changed certificates";
    let staff = world.node.staff().await?;
    let host = world.host("acme");
    let hostname = world.node.find(&staff, "/v1/hostnames", "hostname", &host).await?;
    let path = format!("/v1/hostnames/{}/certificate?wait=applied", hostname["id"].as_str().context("no id")?);
    for _ in 0..20 {
        let mut before = world.connect("acme", Alpn::Http1, from).await?;
        let leaf = world.authority.leaf(&host)?;
        world.node.admin(&staff, Method::PUT, &path, &leaf).await?;
        let edge = world.edge.clone();
        let stream = edge.stream(&host, Alpn::Http1, from).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|it| it.to_vec());
        let pem = leaf["chain_pem"].as_str().unwrap_or_default();
        let expected = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes());
        let expected: rustls::pki_types::CertificateDer<'_> = expected.context("our own certificate")?;
        world.tally.expect(KIND, shown.as_deref() == Some(expected.as_ref()), || {
            "a new handshake shows another certificate than the new one".to_owned()
        });
        let status = before.get("/demo/public/x", &[]).await?.status;
        world.tally.expect(KIND, status == 200, || format!("an open connection was answered {status}"));
        for _ in 0..10 {
            if !world.goes_on() {
                return Ok(());
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}
