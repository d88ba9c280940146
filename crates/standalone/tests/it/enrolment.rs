//! A gateway of its own, from the join token to the revocation: its certificate lives for seconds here.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use authn::Lease;
use authz::Authorized;
use control_api::{
    Config, ControlApi, RunningControlApi,
    app::gateways,
    config::{InternalTls, ListenAddress},
};
use domain::{Clock, FleetName, Secret, Timestamp};
use gateway::{Edge, EdgeParts, GatewayConfig, RunningEdge};
use link::{
    clock::SystemClock,
    file::{Document, Overrides},
    log::MemoryCarrier,
    rpc::identity,
};
use store::{Sealer, Store};
use testkit::{TestCa, eventually};

/// Life of a certificate.
const LIFE: Duration = Duration::from_secs(4);

async fn control_api(folder: &Path, ca: &TestCa) -> RunningControlApi {
    let server = ca.leaf(&["localhost"]);
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    let loopback = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut config = Config::default();
    config.listeners.public = loopback.clone();
    config.listeners.admin = loopback.clone();
    config.listeners.internal = loopback;
    config.listeners.internal_tls = Some(InternalTls {
        certificate: write("internal.crt", &server.chain_pem),
        key: write("internal.key", &server.key_pem),
        ca: write("ca.pem", &ca.ca_pem()),
        ca_key: write("ca.key", &ca.key_pem()),
    });
    config.enrolment.certificate = domain::HumanDuration::from_secs(LIFE.as_secs());
    let store = Store::sqlite_in_memory(Sealer::new(&Secret::new(vec![7; 32]), &[]).unwrap()).unwrap();
    store.migrate().await.unwrap();
    ControlApi::start(config, store, Arc::new(MemoryCarrier::default()), Arc::new(SystemClock)).await.unwrap()
}

async fn gateway(folder: &Path, control_api: &RunningControlApi) -> RunningEdge {
    let text = format!(
        "listen: {{ https: \"127.0.0.1:0\", http: null, metrics: \"127.0.0.1:0\" }}\ndata_dir: data\nfeed:\n  control_api: \
         {{ url: \"https://localhost:{}\", ca: ca.pem, join_token: \"file:join.token\" }}\n",
        control_api.internal().port(),
    );
    let document = Document::parse("gateway.yaml", &text).unwrap();
    let config = GatewayConfig::read(document, &Overrides::none(), folder).unwrap();
    Edge::start(EdgeParts::from_config(config, Arc::new(SystemClock)).await.unwrap()).await.unwrap()
}

fn is_proven(edge: &RunningEdge) -> bool {
    matches!(edge.gate().mirror().lease(SystemClock.boot_now()), Lease::Proven { .. })
}

/// When the certificate that is kept expires.
fn expiry(folder: &Path) -> Timestamp {
    let pem = fs::read(folder.join("data/gateway.crt")).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    identity::expiry(&pem.contents).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_lives_on_as_long_as_it_is_renewed_and_not_after_it_was_revoked() {
    let (folder, ca) = (tempfile::tempdir().unwrap(), TestCa::new());
    let folder = folder.path();
    let control_api = control_api(folder, &ca).await;
    let by = Authorized::system("test");
    let enrolled = gateways::enroll_gateway(control_api.app(), &by, FleetName::default(), "edge-1").await;
    let (enrolment, token) = enrolled.unwrap();
    fs::write(folder.join("join.token"), token.expose()).unwrap();

    let edge = gateway(folder, &control_api).await;
    eventually("it has joined and holds a lease", async || is_proven(&edge)).await;
    let first = expiry(folder);
    eventually("the first certificate has expired", async || SystemClock.unix_now() > first + LIFE / 2).await;
    assert!(expiry(folder) > first, "it was renewed");
    eventually("its lease goes on", async || is_proven(&edge)).await;

    edge.shutdown().await;
    fs::remove_file(folder.join("join.token")).unwrap();
    let edge = gateway(folder, &control_api).await;
    eventually("a restart needs no token", async || is_proven(&edge)).await;

    gateways::revoke_gateway(control_api.app(), &by, enrolment.id).await.unwrap();
    eventually("its last lease has run out", async || !is_proven(&edge)).await;
    let known = gateways::known(control_api.app()).await.unwrap();
    let last = known[0].node.as_ref().unwrap().report.lease_until;
    eventually("its certificate has expired too", async || SystemClock.unix_now() > expiry(folder)).await;
    let known = gateways::known(control_api.app()).await.unwrap();
    assert_eq!(known[0].node.as_ref().unwrap().report.lease_until, last, "nothing was noted of it any more");
    assert!(!is_proven(&edge));
}
