//! Gateways from the join to the revocation, over the `internal` listener with TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use control_api::{
    App, Config, ControlApi, RunningControlApi,
    app::gateways,
    config::{InternalTls, ListenAddress, PublicTls},
};
use domain::{Clock, GatewayId, Position, Secret, model::EnrolmentState, snapshot::EntityKind};
use futures::StreamExt;
use link::{
    LinkError,
    log::{ControlPlane, FeedMessage, GatewayIdentity, GatewayStatus, MemoryCarrier},
    rpc::{RpcClient, Target, TlsFiles, identity, join},
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use store::{Store, read::*};
use testkit::{FixedClock, Leaf, TestCa, client_config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{World, call, get, post, sealer};

/// Connections that read for users, tenants and staff.
const READERS: usize = 2;

const HOUR: Duration = Duration::from_secs(3600);

/// A control API that serves gateways over TLS, with a clock of its own.
pub(crate) struct Installation {
    running: RunningControlApi,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) ca: TestCa,
    /// Its routers, in memory.
    pub(crate) world: World,
    _folder: tempfile::TempDir,
}

/// A gateway's half of its enrolment.
pub(crate) struct Gateway {
    pub(crate) key: KeyPair,
    pub(crate) chain: String,
    pub(crate) me: GatewayIdentity,
    client: RpcClient,
}

impl Installation {
    pub(crate) async fn start() -> Self {
        Self::on(Store::sqlite_in_memory(sealer()).unwrap().separate(READERS).unwrap()).await
    }

    pub(crate) async fn on(store: Store) -> Self {
        let (ca, folder) = (TestCa::new(), tempfile::tempdir().unwrap());
        let server = ca.leaf(&["localhost"]);
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let loopback = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let mut config = Config::default();
        config.listeners.public = loopback.clone();
        config.listeners.admin = loopback.clone();
        config.listeners.internal = loopback;
        let (certificate, key) = (write("internal.crt", &server.chain_pem), write("internal.key", &server.key_pem));
        let authority = write("ca.pem", &ca.ca_pem());
        config.listeners.public_tls = Some(PublicTls {
            name: "localhost".parse().unwrap(),
            port: None,
            certificate: certificate.clone(),
            key: key.clone(),
            ca: authority.clone(),
        });
        let ca_key = write("ca.key", &ca.key_pem());
        config.listeners.internal_tls = Some(InternalTls { certificate, key, ca: authority, ca_key });
        store.migrate().await.unwrap();
        // TLS reads the machine's clock, and so must what signs for it.
        let clock = Arc::new(FixedClock::at(link::clock::SystemClock.unix_now()));
        let shared = Arc::clone(&clock) as Arc<dyn Clock>;
        let running = ControlApi::start(config, store, Arc::new(MemoryCarrier::default()), shared).await.unwrap();
        let (_, password) = running.bootstrapped().platform_admin.as_ref().unwrap();
        let world = World::over(running.app().clone(), Arc::clone(&clock), password.expose());
        Self { running, clock, ca, world, _folder: folder }
    }

    /// Where gateways and services ask.
    pub(crate) fn internal(&self) -> SocketAddr {
        self.running.internal()
    }

    fn app(&self) -> &App {
        self.running.app()
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.internal().port())
    }

    async fn token(&self, fleet: &str, name: &str) -> Secret<String> {
        let by = authz::Authorized::system("test");
        gateways::enroll_gateway(self.app(), &by, fleet.parse().unwrap(), name).await.unwrap().1
    }

    async fn join(&self, token: &Secret<String>, key: &KeyPair) -> Result<String, LinkError> {
        join(&self.url(), &self.ca.ca_pem(), token, request(key)).await
    }

    fn target(&self, key: &KeyPair, chain: &str) -> Target {
        let files = TlsFiles { ca: self.ca.ca_pem(), chain: chain.into(), key: Secret::new(key.serialize_pem()) };
        Target::Tls { url: self.url(), files }
    }

    pub(crate) async fn gateway(&self, fleet: &str, name: &str) -> Gateway {
        let (token, key) = (self.token(fleet, name).await, KeyPair::generate().unwrap());
        let chain = self.join(&token, &key).await.unwrap();
        let me = named(&chain);
        assert_eq!((me.fleet.as_str(), me.name.as_str()), (fleet, name));
        let client = RpcClient::new(&self.target(&key, &chain)).unwrap();
        Gateway { key, chain, me, client }
    }

    pub(crate) async fn revoke(&self, id: GatewayId) {
        gateways::revoke_gateway(self.app(), &authz::Authorized::system("test"), id).await.unwrap();
    }
}

fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

fn named(chain: &str) -> GatewayIdentity {
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).unwrap();
    identity::of_certificate(&pem.contents).unwrap()
}

fn refused<T: std::fmt::Debug>(answer: &Result<T, LinkError>) {
    assert!(matches!(answer, Err(LinkError::Refused { .. })), "{answer:?}");
}

/// Everything there is to ask is refused.
async fn is_refused_everything(gateway: &Gateway) {
    let Gateway { client, me, .. } = gateway;
    refused(&client.prove(Position::default(), me).await);
    refused(&client.facts_after(Position::default()).await);
    refused(&client.live_facts().await);
    let nobody = (domain::Id::new(uuid::Uuid::from_u128(1)), domain::Id::new(uuid::Uuid::from_u128(2)));
    refused(&client.bindings(nobody.0, nobody.1).await);
    let status = GatewayStatus {
        gateway: me.clone(),
        reader: 1,
        applied_revision: 1,
        applied: Position::default(),
        lease_remaining_ms: 2000,
    };
    refused(&client.report(status).await);
    let feed = client.feed(None).await;
    assert!(matches!(feed.map(|_| ()), Err(LinkError::Refused { .. })));
    refused(&client.renew(request(&gateway.key)).await);
}

#[tokio::test]
async fn a_gateway_joins_once_and_renews_over_the_certificate_it_has() {
    let installation = Installation::start().await;
    let token = installation.token("eu-1", "edge-1").await;
    let key = KeyPair::generate().unwrap();
    let chain = installation.join(&token, &key).await.unwrap();
    installation.clock.advance(Duration::from_secs(1));
    installation.join(&token, &key).await.unwrap();
    refused(&installation.join(&token, &KeyPair::generate().unwrap()).await);
    refused(&installation.join(&Secret::new("guessed".into()), &key).await);

    let client = RpcClient::new(&installation.target(&key, &chain)).unwrap();
    client.prove(Position::default(), &named(&chain)).await.unwrap();
    refused(&client.renew(request(&KeyPair::generate().unwrap())).await);
    let next = client.renew(request(&key)).await.unwrap();
    assert_eq!(named(&next), named(&chain));
    client.reconnect(&installation.target(&key, &next)).unwrap();
    client.prove(Position::default(), &named(&next)).await.unwrap();
    let staff = installation.world.staff().await;
    for action in ["gateway.enrolled", "gateway.joined"] {
        let page = get(&format!("/v1/audit?action={action}")).bearer(&staff).send(&installation.world.admin).await;
        assert_eq!(page.expect(200).body["items"].as_array().unwrap().len(), 1, "{action}");
    }
}

#[tokio::test]
async fn a_certificate_that_names_no_gateway_of_ours_opens_nothing() {
    let installation = Installation::start().await;
    let gateway = installation.gateway("default", "edge-1").await;
    let stranger = TestCa::new();
    let (leaf, other) = (stranger.client("stranger"), installation.ca.client("a-server"));
    for files in [
        TlsFiles { ca: installation.ca.ca_pem(), chain: leaf.chain_pem, key: Secret::new(leaf.key_pem) },
        TlsFiles { ca: installation.ca.ca_pem(), chain: other.chain_pem, key: Secret::new(other.key_pem) },
    ] {
        let client = RpcClient::new(&Target::Tls { url: installation.url(), files }).unwrap();
        assert!(client.prove(Position::default(), &gateway.me).await.is_err());
        assert!(client.feed(None).await.is_err());
    }
}

#[tokio::test]
async fn a_revoked_gateway_is_refused_at_every_method_and_its_feed_ends() {
    let installation = Installation::start().await;
    let (gateway, other) =
        (installation.gateway("default", "edge-1").await, installation.gateway("default", "edge-2").await);
    let mut feed = gateway.client.feed(None).await.unwrap();
    assert!(matches!(feed.next().await, Some(Ok(FeedMessage::Full { .. }))));
    installation.revoke(gateway.me.id).await;
    is_refused_everything(&gateway).await;
    let end = loop {
        match feed.next().await {
            Some(Ok(FeedMessage::Heartbeat { .. })) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(LinkError::Refused { .. }))), "{end:?}");
    other.client.prove(Position::default(), &other.me).await.unwrap();
}

/// Asks on a connection that stays open; answers the head of what comes back.
async fn ask(connection: &mut TlsStream<TcpStream>, assertion: &str) -> String {
    let head = format!(
        "GET /api/v1/tenant/auth/info HTTP/1.1\r\nhost: localhost\r\nx-md-global-assertion: {assertion}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert!(connection.read_buf(&mut answer).await.unwrap() > 0, "the connection stays open");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_revoked_gateway_forwards_nothing_to_public_any_more() {
    let installation = Installation::start().await;
    let gateway = installation.gateway("default", "edge-1").await;
    let leaf = Leaf { chain_pem: gateway.chain.clone(), key_pem: gateway.key.serialize_pem() };
    let connector = TlsConnector::from(client_config(&installation.ca.ca_pem(), &["http/1.1"], Some(&leaf)));
    let ListenAddress::Tcp(public) = installation.running.public() else { panic!("it listens on TCP") };
    let stream = TcpStream::connect(public).await.unwrap();
    let mut connection = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let upstream = installation.app().store.upstream_by_name("control-api").await.unwrap().unwrap();
    assert!(upstream.spec.tls.is_some_and(|tls| tls.control_plane));

    let world = &installation.world;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let assertion = world.assertion("GET", "/api/v1/tenant/auth/info", "acme.localhost", Some(&tenant)).await;
    assert!(ask(&mut connection, &assertion).await.contains("credential_missing"), "it is heard");
    installation.revoke(gateway.me.id).await;
    assert!(ask(&mut connection, &assertion).await.contains("assertion_invalid"), "on the connection it had");
}

#[tokio::test]
async fn a_connection_outlives_no_certificate() {
    let installation = Installation::start().await;
    let gateway = installation.gateway("default", "edge-1").await;
    let mut feed = gateway.client.feed(None).await.unwrap();
    assert!(matches!(feed.next().await, Some(Ok(FeedMessage::Full { .. }))));
    gateway.client.prove(Position::default(), &gateway.me).await.unwrap();
    // Somebody renews; the connection was made with the certificate before.
    installation.clock.advance(12 * HOUR);
    gateway.client.renew(request(&gateway.key)).await.unwrap();
    installation.clock.advance(12 * HOUR);
    is_refused_everything(&gateway).await;
    let end = feed.filter(|message| std::future::ready(message.is_err())).next().await;
    assert!(matches!(end, Some(Err(LinkError::Refused { .. }))), "{end:?}");
}

#[tokio::test]
async fn a_certificate_of_ours_without_an_enrolment_names_nobody() {
    let installation = Installation::start().await;
    let gateway = installation.gateway("default", "edge-1").await;
    let authority =
        control_api::authority::Authority::of_pem(&installation.ca.ca_pem(), &Secret::new(installation.ca.key_pem()));
    let (authority, key) = (authority.unwrap(), KeyPair::generate().unwrap());
    let asked = control_api::authority::SigningRequest::read(&request(&key)).unwrap();
    let expires = installation.clock.unix_now() + HOUR;
    let moved = GatewayIdentity { fleet: "eu-1".into(), ..gateway.me.clone() };
    let unknown = GatewayIdentity { id: domain::Id::new(uuid::Uuid::from_u128(99)), ..gateway.me.clone() };
    for me in [moved, unknown] {
        let chain = authority.sign(&me, &asked, expires, &*installation.clock).unwrap();
        let client = RpcClient::new(&installation.target(&key, &chain)).unwrap();
        refused(&client.prove(Position::default(), &me).await);
    }
}

#[tokio::test]
async fn keys_of_another_fleet_never_cross_the_wire() {
    let installation = Installation::start().await;
    let (world, staff) = (&installation.world, installation.world.staff().await);
    world.tenant(&staff, "acme").await;
    let hosts = get("/v1/hostnames").bearer(&staff).send(&world.admin).await.expect(200);
    let acme = hosts.body["items"].as_array().unwrap().iter().find(|it| it["hostname"] == "acme.localhost").unwrap();
    assert_eq!(acme["fleet"], "default");
    let acme = acme["id"].as_str().unwrap().to_owned();
    let leaf = TestCa::new().leaf(&["acme.localhost"]);
    let upload = json!({ "chain_pem": leaf.chain_pem, "key_pem": leaf.key_pem });
    let path = format!("/v1/hostnames/{acme}/certificate");
    call("PUT", &path).json(&upload).bearer(&staff).send(&world.admin).await.expect(200);

    let (here, there) = (installation.gateway("default", "edge-1").await, installation.gateway("eu-1", "edge-1").await);
    let (mut here, mut there) = (here.client.feed(None).await.unwrap(), there.client.feed(None).await.unwrap());
    assert!(seen(&mut here, EntityKind::Certificate).await, "its own fleet has the key");
    assert!(!seen(&mut there, EntityKind::Certificate).await, "no other fleet has it");
    let body = json!({ "fleet": "eu-1" });
    let path = format!("/v1/hostnames/{acme}");
    let moved = call("PATCH", &path).json(&body).bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(moved.body["fleet"], "eu-1");
    assert!(seen(&mut there, EntityKind::Certificate).await, "it moved to this fleet");
    assert!(!seen(&mut here, EntityKind::Certificate).await, "and away from this");
    let body = json!({ "fleet": "EU 1" });
    call("PATCH", &path).json(&body).bearer(&staff).send(&world.admin).await.refused(422, "validation_failed");
}

/// Whether the next state or change that names a kind brings an entity of it; false for none in a full state.
async fn seen(
    feed: &mut futures::stream::BoxStream<'static, Result<FeedMessage, LinkError>>,
    kind: EntityKind,
) -> bool {
    loop {
        let (changes, whole) = match feed.next().await.unwrap().unwrap() {
            FeedMessage::Full { changes, last, .. } => (changes, last),
            FeedMessage::Delta { changes, .. } => (changes, false),
            FeedMessage::Heartbeat { .. } => continue,
        };
        let mut named = changes.iter().filter(|change| change.key.kind == kind).peekable();
        if named.peek().is_some() || whole {
            return named.any(|change| change.entity.is_some());
        }
    }
}

#[tokio::test]
async fn revoking_waits_for_the_last_lease_and_is_for_staff() {
    let installation = Installation::start().await;
    let (world, staff) = (&installation.world, installation.world.staff().await);
    let gateway = installation.gateway("eu-1", "edge-1").await;
    gateway.client.prove(Position::default(), &gateway.me).await.unwrap();
    let path = format!("/v1/gateways/{}", gateway.me.id);
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &["admin"]).await;
    let ada = world.login("acme", "ada").await;
    assert_ne!(call("DELETE", &path).bearer(&ada).send(&world.admin).await.status.as_u16(), 204);
    let listed = get("/v1/gateways").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(
        (&listed.body["items"][0]["state"], &listed.body["items"][0]["fleet"]),
        (&json!("enrolled"), &json!("eu-1"))
    );
    assert!(listed.body["items"][0]["certificate_expires_at"].is_string());

    let waiting = call("DELETE", &path).bearer(&staff).send(&world.admin).await.expect(202);
    assert_eq!(waiting.body["waiting_for"], json!(["edge-1"]), "it may act on what it knows until its lease is over");
    // Whatever else is revoked waits for it too, though it had applied everything.
    let other = post(&format!("/v1/tenants/{tenant}/suspend"), &json!({})).bearer(&staff).send(&world.admin).await;
    assert_eq!(other.expect(202).body["waiting_for"], json!(["edge-1"]));
    installation.clock.advance(Duration::from_secs(3));
    call("DELETE", &path).bearer(&staff).send(&world.admin).await.expect(204);
    let listed = get("/v1/gateways").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(listed.body["items"][0]["state"], "revoked");
    call("DELETE", "/v1/gateways/00000000-0000-7000-8000-000000000001")
        .bearer(&staff)
        .send(&world.admin)
        .await
        .refused(404, "not_found");
    let known = gateways::known(installation.app()).await.unwrap();
    assert_eq!(known[0].enrolment.as_ref().unwrap().state(installation.clock.unix_now()), EnrolmentState::Revoked);
}

/// The runtime of everything else is blocked and all of its database connections are taken: gateways are answered.
#[tokio::test(flavor = "current_thread")]
async fn gateways_are_answered_whatever_the_other_doors_do() {
    let installation = Installation::start().await;
    let gateway = installation.gateway("default", "edge-1").await;
    let mut taken = Vec::new();
    for _ in 0..READERS {
        taken.push(installation.app().store.view().await.unwrap());
    }
    let (target, me) = (installation.target(&gateway.key, &gateway.chain), gateway.me.clone());
    let proven = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = RpcClient::new(&target).unwrap();
            client.prove(Position::default(), &me).await.unwrap();
            let mut feed = client.feed(None).await.unwrap();
            assert!(matches!(feed.next().await, Some(Ok(FeedMessage::Full { .. }))));
        });
    });
    // Blocks the only thread of the runtime that serves the other doors.
    proven.join().unwrap();
    drop(taken);
}

#[tokio::test]
async fn a_process_opens_the_listeners_of_its_roles_only() {
    use control_api::config::ProcessRole;
    let store = Store::sqlite_in_memory(sealer()).unwrap();
    store.migrate().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = |name: &str| ListenAddress::Unix(folder.path().join(name));
    let mut config = Config::default();
    config.listeners.public = socket("public");
    config.listeners.admin = socket("admin");
    config.listeners.internal = socket("internal");
    let carrier = Arc::new(MemoryCarrier::default());
    for (role, door) in
        [(ProcessRole::Identity, "public"), (ProcessRole::Admin, "admin"), (ProcessRole::Feed, "internal")]
    {
        let config = Config { roles: [role].into(), ..config.clone() };
        let clock = Arc::new(FixedClock::default()) as Arc<dyn Clock>;
        let running = ControlApi::start(config, store.clone(), carrier.clone(), clock).await.unwrap();
        for name in ["public", "admin", "internal"] {
            assert_eq!(folder.path().join(name).exists(), name == door, "{role:?} {name}");
        }
        running.shutdown().await;
        std::fs::remove_file(folder.path().join(door)).unwrap();
    }
}
