//! gRPC between two ends of one process: over mTLS, and over loopback.

use std::{net::SocketAddr, sync::Arc};

use domain::{
    Id, Period, Position, Secret, Seq,
    quota::{Span, UsageCount, UsagePart},
    snapshot::READER,
};
use futures::StreamExt;
use link::{
    LinkError,
    log::{ControlPlane, FeedMessage, GatewayIdentity, GatewayStatus, NoCarrier},
    rpc::{
        Admit, AdmitAll, Enroller, Routes, RpcClient, RpcServer, ServerTls, Target, TlsFiles,
        identity::{self, Peer},
        join,
        proto::{
            FeedRequest, ProveRequest, RecordDecisionsRequest, RenewRequest, enrolment_client::EnrolmentClient,
            gateway_link_client::GatewayLinkClient,
        },
        serve,
    },
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio::net::TcpListener;
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::fake::{FakePlane, FakeSql, HELD, decision, refused};

/// An authority that signs what a test asks for.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A certificate for names, and its key.
    fn sign(&self, names: Vec<SanType>) -> (String, Secret<String>) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), Secret::new(key.serialize_pem()))
    }

    pub(crate) fn server(&self) -> ServerTls {
        let (chain, key) = self.sign(vec![SanType::DnsName("localhost".try_into().unwrap())]);
        ServerTls { chain, key, client_ca: self.pem() }
    }

    fn gateway(&self, uris: &[&str], ca: &Self) -> TlsFiles {
        let (chain, key) = self.sign(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect());
        TlsFiles { ca: ca.pem(), chain, key }
    }
}

fn gateway() -> GatewayIdentity {
    GatewayIdentity { id: Id::new(uuid::Uuid::from_u128(7)), name: "gw-1".into(), fleet: "eu".into() }
}

/// Knows gateways of fleet `eu` only.
struct FleetEu(Arc<dyn ControlPlane>);

#[async_trait::async_trait]
impl Admit for FleetEu {
    async fn admit(&self, peer: &Peer) -> Result<Arc<dyn ControlPlane>, LinkError> {
        match peer {
            Peer::Gateway { gateway, .. } if gateway.fleet == "eu" => Ok(self.0.clone()),
            _ => Err(LinkError::Refused { peer: "the control API", reason: "unknown gateway".into() }),
        }
    }
}

struct Running {
    address: SocketAddr,
    sql: Arc<FakeSql>,
    plane: Arc<FakePlane>,
}

async fn running(tls: Option<ServerTls>, admit: impl FnOnce(Arc<dyn ControlPlane>) -> Arc<dyn Admit>) -> Running {
    let sql = Arc::new(FakeSql::default());
    let plane = FakePlane::new(sql.clone(), Arc::new(NoCarrier));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = RpcServer::new(admit(plane.clone())).onto(Routes::default());
    tokio::spawn(async move { serve(listener, tls.as_ref(), server, std::future::pending()).await });
    Running { address, sql, plane }
}

fn tls(running: &Running, files: TlsFiles) -> RpcClient {
    let url = format!("https://localhost:{}", running.address.port());
    RpcClient::new(&Target::Tls { url, files }).unwrap()
}

/// Everything that can be asked, asked.
async fn ask_everything(running: &Running, client: &RpcClient) {
    for token in 0..5000 {
        running.sql.commit(refused(token));
    }
    let proof = client.prove(Position::default(), &gateway()).await.unwrap();
    assert_eq!((proof.head.seq, proof.resync), (Seq(5000), false));
    let facts = client.facts_after(Position::default()).await.unwrap();
    assert_eq!(facts.len(), 5000);
    assert_eq!(facts.last().map(|n| (n.seq, n.tag)), Some((proof.head.seq, proof.head.tag)));
    assert_eq!(client.facts_after(proof.head).await.unwrap(), []);
    let unknown = Position { seq: Seq(3), ..proof.head };
    assert!(matches!(client.facts_after(unknown).await, Err(LinkError::UnknownPosition)));
    assert!(client.prove(unknown, &gateway()).await.unwrap().resync);
    let live = client.live_facts().await.unwrap();
    assert_eq!((live.head, live.facts), (proof.head, running.sql.facts()));

    let (tenant, user) = (Id::new(uuid::Uuid::from_u128(1)), Id::new(uuid::Uuid::from_u128(2)));
    let direct = running.plane.bindings(tenant, user).await.unwrap();
    assert_eq!(client.bindings(tenant, user).await.unwrap(), direct);

    let status = GatewayStatus {
        gateway: gateway(),
        reader: READER,
        applied_revision: 9,
        applied: proof.head,
        lease_remaining_ms: 1500,
    };
    client.report(status.clone()).await.unwrap();
    assert_eq!(*running.plane.reports.lock().unwrap(), [status]);
    let told: Vec<_> = (0..256).map(decision).collect();
    client.record(told.clone()).await.unwrap();
    assert_eq!(*running.plane.told.lock().unwrap(), told);
    let counts: Vec<_> = (0..256).map(used).collect();
    let counter = uuid::Uuid::from_u128(9);
    let recorded = client.record_usage(counter, counts.clone()).await.unwrap();
    assert_eq!(*running.plane.used.lock().unwrap(), counts);
    let parts = [(counter, 255), (uuid::Uuid::from_u128(1), 510)].map(|(counter, used)| UsagePart { counter, used });
    assert_eq!((recorded.len(), recorded.last()), (256, Some(&parts.to_vec())));
    ask_for_the_feed(client).await;
}

/// So many requests of a tenant, on the day of that number.
fn used(number: u32) -> UsageCount {
    UsageCount {
        tenant_id: Id::new(uuid::Uuid::from_u128(number.into())),
        product: "orders".parse().unwrap(),
        span: Span::numbered(Period::Day, 20_000 + number),
        used: number.into(),
    }
}

async fn ask_for_the_feed(client: &RpcClient) {
    let full: Vec<FeedMessage> = client.feed(None).await.unwrap().map(Result::unwrap).collect().await;
    let [FeedMessage::Full { changes, last: false, version: HELD }, FeedMessage::Full { last: true, .. }] = &full[..]
    else {
        panic!("{full:?}")
    };
    assert_eq!(changes.len(), 50);
    for change in changes {
        // A deleted entity and one of a newer reader have no content; the reader tells them apart.
        let readable = change.min_reader <= READER && !change.revision.is_multiple_of(10);
        assert_eq!(change.entity.is_some(), readable, "{change:?}");
    }
    let more: Vec<FeedMessage> = client.feed(Some(HELD)).await.unwrap().map(Result::unwrap).collect().await;
    let [FeedMessage::Delta { changes, revision: 3100 }, FeedMessage::Heartbeat { revision: 3100 }] = &more[..] else {
        panic!("{more:?}")
    };
    let revisions: Vec<u64> = changes.iter().map(|change| change.revision).collect();
    assert_eq!(revisions, (100..3100).collect::<Vec<_>>(), "a delta of many parts is put together");
}

#[tokio::test]
async fn everything_can_be_asked_over_mtls() {
    let authority = Authority::new();
    let running = running(Some(authority.server()), |plane| Arc::new(FleetEu(plane))).await;
    let client = tls(&running, authority.gateway(&[&identity::uri(&gateway())], &authority));
    ask_everything(&running, &client).await;
}

#[tokio::test]
async fn everything_can_be_asked_over_loopback() {
    let running = running(None, |plane| Arc::new(AdmitAll(plane))).await;
    let client = RpcClient::new(&Target::Loopback(running.address)).unwrap();
    ask_everything(&running, &client).await;
}

#[tokio::test]
async fn only_gateways_with_a_certificate_of_ours_that_names_them_are_answered() {
    let (ours, other) = (Authority::new(), Authority::new());
    let running = running(Some(ours.server()), |plane| Arc::new(FleetEu(plane))).await;
    let named = identity::uri(&gateway());
    let us = identity::uri(&GatewayIdentity { fleet: "us".into(), ..gateway() });
    for (files, what) in [
        (other.gateway(&[&named], &ours), "signed by another authority"),
        (ours.gateway(&["https://example.test/"], &ours), "names no gateway"),
        (ours.gateway(&[&named, &us], &ours), "names two"),
        (ours.gateway(&[&us], &ours), "of another fleet"),
        (ours.gateway(&[&named], &other), "does not trust the server"),
    ] {
        let answer = tls(&running, files).prove(Position::default(), &gateway()).await;
        assert!(matches!(answer, Err(LinkError::Refused { .. } | LinkError::Unreachable { .. })), "{what}: {answer:?}");
    }
    // Services come without a certificate; gateways do not.
    let bare = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ours.pem()));
    let url = format!("https://localhost:{}", running.address.port());
    let channel = Endpoint::from_shared(url).unwrap().tls_config(bare).unwrap().connect_lazy();
    let answer = GatewayLinkClient::new(channel).prove(ProveRequest::default()).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
    let plain = RpcClient::new(&Target::Loopback(running.address)).unwrap();
    assert!(plain.prove(Position::default(), &gateway()).await.is_err(), "plain HTTP to a TLS listener");
}

#[tokio::test]
async fn a_gateway_reports_for_itself_only() {
    let authority = Authority::new();
    let running = running(Some(authority.server()), |plane| Arc::new(FleetEu(plane))).await;
    let client = tls(&running, authority.gateway(&[&identity::uri(&gateway())], &authority));
    let other = GatewayIdentity { name: "gw-2".into(), ..gateway() };
    let (applied, lease_remaining_ms) = (Position::default(), 0);
    let status = GatewayStatus { gateway: other, reader: 1, applied_revision: 1, applied, lease_remaining_ms };
    let proof = client.prove(Position::default(), &status.gateway).await;
    assert!(matches!(proof, Err(LinkError::Refused { .. })), "{proof:?}");
    assert!(matches!(client.report(status).await, Err(LinkError::Refused { .. })));
    assert!(running.plane.reports.lock().unwrap().is_empty());
}

#[tokio::test]
async fn decisions_are_told_in_bounds_and_hold_nothing_that_is_not_to_be_shown() {
    let running = running(None, |plane| Arc::new(AdmitAll(plane))).await;
    let client = RpcClient::new(&Target::Loopback(running.address)).unwrap();
    let many = client.record((0..257).map(decision).collect()).await;
    assert!(matches!(many, Err(LinkError::Unreadable { .. })), "{many:?}");
    let endpoint = Endpoint::from_shared(format!("http://{}", running.address)).unwrap();
    let mut raw = GatewayLinkClient::new(endpoint.connect().await.unwrap());
    let good = serde_json::to_value(decision(1)).unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut told = good.clone();
        told[name] = value;
        serde_json::to_vec(&told).unwrap()
    };
    let mut padded = serde_json::to_vec(&good).unwrap();
    padded.resize(8193, b' ');
    for (what, told) in [
        ("too long", padded),
        ("a control character", with("method", "GET\u{1b}[2J".into())),
        ("a text that is too long", with("path", "x".repeat(513).into())),
        ("no instant", with("at", "yesterday".into())),
        ("no JSON", b"decision".to_vec()),
    ] {
        let request = RecordDecisionsRequest { decisions: vec![serde_json::to_vec(&good).unwrap(), told] };
        let refused = raw.record_decisions(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
    }
    assert!(running.plane.told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_finds_a_control_api_that_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = RpcClient::new(&Target::Loopback(address)).unwrap();
    assert!(matches!(client.prove(Position::default(), &gateway()).await, Err(LinkError::Unreachable { .. })));
    let plane = FakePlane::new(Arc::new(FakeSql::default()), Arc::new(NoCarrier));
    let listener = TcpListener::bind(address).await.unwrap();
    let server = RpcServer::new(Arc::new(AdmitAll(plane))).onto(Routes::default());
    tokio::spawn(async move { serve(listener, None, server, std::future::pending()).await });
    let found = async { while client.prove(Position::default(), &gateway()).await.is_err() {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), found).await.unwrap();
}

#[test]
fn plain_connections_leave_this_machine_never() {
    let target = Target::Loopback("192.0.2.1:9090".parse().unwrap());
    assert!(matches!(RpcClient::new(&target), Err(LinkError::Unfit { .. })));
}

/// Gives everybody a certificate that says what was asked.
struct Signs;

#[async_trait::async_trait]
impl Enroller for Signs {
    async fn join(&self, token: &Secret<String>, csr: &[u8]) -> Result<String, LinkError> {
        Ok(format!("joined by {} with {}", token.expose(), csr.len()))
    }
    async fn renew(&self, gateway: &GatewayIdentity, csr: &[u8]) -> Result<String, LinkError> {
        Ok(format!("renewed for {} with {}", gateway.name, csr.len()))
    }
}

#[tokio::test]
async fn without_a_certificate_a_client_may_join_and_nothing_else() {
    let authority = Authority::new();
    let plane = FakePlane::new(Arc::new(FakeSql::default()), Arc::new(NoCarrier));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = RpcServer::new(Arc::new(FleetEu(plane))).enrolling(Arc::new(Signs)).onto(Routes::default());
    let tls = authority.server();
    tokio::spawn(async move { serve(listener, Some(&tls), server, std::future::pending()).await });

    let token = Secret::new("token".to_owned());
    assert_eq!(join(&url, &authority.pem(), &token, vec![0; 3]).await.unwrap(), "joined by token with 3");
    let long = join(&url, &authority.pem(), &token, vec![0; 9000]).await;
    assert!(matches!(long, Err(LinkError::Unreadable { .. })), "{long:?}");
    let untrusted = join(&url, &Authority::new().pem(), &token, vec![0; 3]).await;
    assert!(matches!(untrusted, Err(LinkError::Unreachable { .. })), "the token goes to a server of ours only");

    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.pem()));
    let channel = Endpoint::from_shared(url.clone()).unwrap().tls_config(tls).unwrap().connect().await.unwrap();
    let feed = GatewayLinkClient::new(channel.clone()).feed(FeedRequest { from: None, history: 0 }).await;
    assert_eq!(feed.unwrap_err().code(), Code::Unauthenticated);
    let renewed = EnrolmentClient::new(channel).renew(RenewRequest { csr: vec![0; 3] }).await;
    assert_eq!(renewed.unwrap_err().code(), Code::Unauthenticated);

    let target = |files| Target::Tls { url: url.clone(), files };
    let files = authority.gateway(&[&identity::uri(&gateway())], &authority);
    let client = RpcClient::new(&target(files)).unwrap();
    assert_eq!(client.renew(vec![0; 3]).await.unwrap(), "renewed for gw-1 with 3");
    let us = identity::uri(&GatewayIdentity { fleet: "us".into(), ..gateway() });
    client.reconnect(&target(authority.gateway(&[&us], &authority))).unwrap();
    assert!(matches!(client.renew(vec![0; 3]).await, Err(LinkError::Refused { .. })), "the new certificate is shown");
}

#[tokio::test]
async fn usage_is_told_in_bounds() {
    let running = running(None, |plane| Arc::new(AdmitAll(plane))).await;
    let client = RpcClient::new(&Target::Loopback(running.address)).unwrap();
    let counter = uuid::Uuid::from_u128(9);
    let many = client.record_usage(counter, (0..257).map(used).collect()).await;
    assert!(matches!(many, Err(LinkError::Unreadable { .. })), "{many:?}");
    let beyond = UsageCount { used: 1 << 44, ..used(1) };
    let refused = client.record_usage(counter, vec![used(0), beyond]).await;
    assert!(matches!(refused, Err(LinkError::Unreadable { .. })), "{refused:?}");
    assert!(running.plane.used.lock().unwrap().is_empty());
}
