//! Client certificates over TLS (threats H2, H5, H6): who gets a connection, who acts by it, and when that ends.

use std::{
    fs,
    io::{self, ErrorKind},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind,
    client::{ClientSessionMemoryCache, Resumption},
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use testkit::{
    Leaf, TestCa, ca, eventually,
    raw::{Connection, Http2, Http2Outcome, Http2Request, Response},
};

use crate::{
    status::get,
    support::{ACME, ACME_ID, Ask, BOTH, Fixture, GLOBEX, Protocol, Reply, edge_file, http1},
};

const BILLING: &str = "spiffe://acme.example/billing";

/// Routes for machines, by certificate alone, beside those for tokens.
const MACHINES: &str = r#"      - { path: /machine/**, access: authenticated, credentials: [certificate] }
      - { path: /machine-orders, permission: "orders:order:list", credentials: [certificate, token] }
"#;

/// An edge whose acme asks for certificates of `clients`, and whose globex asks for those of `others`.
struct Mutual {
    edge: Fixture,
    clients: TestCa,
    others: TestCa,
}

impl Mutual {
    async fn start(mode: &str) -> Self {
        let it = Self { edge: Fixture::start().await, clients: TestCa::new(), others: TestCa::new() };
        it.put("acme.ca", &it.clients.ca_pem());
        it.put("globex.ca", &it.others.ca_pem());
        it.rules(mode, "").await;
        it
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.edge.folder.path().join(name), text).unwrap();
    }

    /// Says what acme asks for, and waits until it is in force.
    async fn rules(&self, mode: &str, crl: &str) {
        let rules = |tenant: &str, mode: &str, crl: &str| {
            format!(
                "tenant: {tenant}, client_certificates: {{ mode: {mode}, ca: {tenant}.ca, crl: [{crl}], bindings: [ \
                 {{ kind: uri, value: \"{BILLING}\", subject: billing, roles: [member] }}, \
                 {{ kind: dns, value: poor.acme.example, subject: poor }} ] }}, certificate"
            )
        };
        let file = edge_file(&self.edge.upstream(), MACHINES)
            .replace("tenant: acme, certificate", &rules("acme", mode, crl))
            .replace("tenant: globex, certificate", &rules("globex", "optional", ""));
        self.put("edge.yaml", &file);
        self.reloaded().await;
    }

    async fn reloaded(&self) {
        let before = self.edge.edge.gate().snapshot().revision();
        self.edge.edge.reload();
        eventually("what the file says is in force", async || self.edge.edge.gate().snapshot().revision() > before)
            .await;
    }

    async fn connect(&self, leaf: Option<&Leaf>) -> io::Result<Connection> {
        Connection::tls(self.edge.https(), ACME, &self.edge.ca.ca_pem(), leaf).await
    }

    async fn ask(&self, protocol: Protocol, leaf: Option<&Leaf>, ask: &Ask<'_>) -> io::Result<Reply> {
        let (address, ca) = (self.edge.https(), self.edge.ca.ca_pem());
        match protocol {
            Protocol::Http1 => {
                let mut connection = Connection::tls(address, ask.sni, &ca, leaf).await?;
                let response = Response::parse(&connection.exchange(&http1(ask)).await?);
                Ok(Reply { status: Some(response.status), headers: response.headers, body: response.body })
            }
            Protocol::Http2 => {
                let mut connection = Http2::connect_as(address, ask.sni, &ca, leaf).await?;
                let fields =
                    [(":method", ask.method), (":scheme", "https"), (":authority", ask.host), (":path", ask.path)];
                let mut request = Http2Request::new(&fields);
                for (name, value) in &ask.headers {
                    request = request.field(name.to_ascii_lowercase(), value);
                }
                match connection.send(&request).await? {
                    Http2Outcome::Response { status, headers, body, .. } => {
                        Ok(Reply { status: Some(status), headers, body })
                    }
                    outcome => Err(io::Error::other(format!("{outcome:?}"))),
                }
            }
        }
    }

    /// Whether the connection ends with an alert of TLS. Of TLS 1.3 a client hears of it when it reads, unless it has
    /// written into the closed connection before.
    async fn is_alerted(&self, leaf: Option<&Leaf>) -> bool {
        for protocol in BOTH {
            match self.ask(protocol, leaf, &Ask::get("/public/x")).await {
                Err(error) if error.to_string().contains("alert") => {}
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
                Err(error) => panic!("{protocol:?}: {error}"),
                Ok(Reply { status: Some(0), .. }) => panic!("{protocol:?}: no word of TLS"),
                Ok(_) => return false,
            }
        }
        true
    }

    /// How many requests have reached the upstream.
    fn arrived(&self) -> usize {
        self.edge.canary.requests().len()
    }
}

#[tokio::test]
async fn a_required_certificate_is_required_in_the_handshake() {
    let it = Mutual::start("required").await;
    assert!(it.is_alerted(None).await, "without one");
    assert!(it.is_alerted(Some(&it.others.client_uri(BILLING))).await, "another tenant's");
    assert!(it.is_alerted(Some(&TestCa::new().client_uri(BILLING))).await, "a stranger's");
    assert!(it.is_alerted(Some(&it.clients.leaf(&["billing"]))).await, "not made for clients");
    assert_eq!(it.arrived(), 0);
    let good = it.clients.client_uri(BILLING);
    let token = it.edge.token(ACME_ID, &["member"]);
    for protocol in BOTH {
        assert_eq!(it.ask(protocol, Some(&good), &Ask::get("/public/x")).await.unwrap().status, Some(200));
        let reply = it.ask(protocol, Some(&good), &Ask::get("/echo/x").bearer(&token)).await.unwrap();
        assert_eq!(reply.status, Some(200), "a token beside it is what the route asks for");
        let reply = it.ask(protocol, Some(&good), &Ask::get("/echo/x")).await.unwrap();
        assert_eq!((reply.status, reply.code()), (Some(401), "credential_missing".into()));
    }
    let (_, metrics) = get(&it.edge, "/metrics").await;
    for reason in ["client_certificate_missing", "client_certificate_refused"] {
        assert!(metrics.contains(&format!("connections_closed_total{{reason=\"{reason}\"}}")), "{reason}\n{metrics}");
    }
}

#[tokio::test]
async fn a_bound_certificate_is_announced_to_the_upstream_and_forged_headers_are_not() {
    let it = Mutual::start("optional").await;
    let below = it.clients.intermediate("below");
    let good = [it.clients.client_uri(BILLING), below.client_uri(BILLING).with_issuer(&below)];
    for (protocol, leaf) in BOTH.into_iter().flat_map(|protocol| good.iter().map(move |leaf| (protocol, leaf))) {
        let forged = Ask::get("/machine/x")
            .header("x-md-global-user-id", "admin")
            .header("x-forwarded-client-cert", "Hash=abc")
            .header("X-SSL-Client-S-DN", "CN=admin")
            .header("Client-Cert", ":abc:");
        assert_eq!(it.ask(protocol, Some(leaf), &forged).await.unwrap().status, Some(200));
        let arrived = it.edge.canary.next().await;
        for (name, value) in [
            ("x-md-global-user-id", vec!["billing"]),
            ("x-md-global-tenant-id", vec![ACME_ID]),
            ("x-md-global-roles", vec!["member"]),
            ("x-md-global-auth-method", vec!["certificate"]),
            ("x-forwarded-client-cert", vec![]),
            ("x-ssl-client-s-dn", vec![]),
            ("client-cert", vec![]),
        ] {
            assert_eq!(arrived.header(name), value, "{name}");
        }
        assert_eq!(it.ask(protocol, Some(leaf), &Ask::get("/machine-orders")).await.unwrap().status, Some(200));
        it.edge.canary.next().await;
    }
    let arrived = it.arrived();
    let code = async |leaf: Option<&Leaf>, path| it.ask(Protocol::Http1, leaf, &Ask::get(path)).await.unwrap().code();
    assert_eq!(code(None, "/machine/x").await, "credential_missing");
    let poor = it.clients.client("poor.acme.example");
    assert_eq!(code(Some(&poor), "/machine-orders").await, "permission_denied");
    assert_eq!(code(Some(&it.clients.client("rich.acme.example")), "/machine/x").await, "certificate_refused");
    let two = it.clients.client_with(|params| {
        use rcgen::SanType;
        params.subject_alt_names.push(SanType::URI(BILLING.try_into().unwrap()));
        params.subject_alt_names.push(SanType::DnsName("poor.acme.example".try_into().unwrap()));
    });
    assert_eq!(code(Some(&two), "/machine/x").await, "certificate_refused", "which of the two is it?");
    assert_eq!(it.arrived(), arrived, "none of these");
}

#[tokio::test]
async fn an_optional_certificate_leaves_the_others_their_tokens() {
    let it = Mutual::start("optional").await;
    let token = it.edge.token(ACME_ID, &["member"]);
    for protocol in BOTH {
        for leaf in [None, Some(&it.clients.client_uri(BILLING))] {
            let reply = it.ask(protocol, leaf, &Ask::get("/orders").bearer(&token)).await.unwrap();
            assert_eq!(reply.status, Some(200));
            let arrived = it.edge.canary.next().await;
            assert_eq!(arrived.header("x-md-global-auth-method"), ["jwt"], "what is said counts, not what is there");
        }
    }
    assert!(it.is_alerted(Some(&it.others.client_uri(BILLING))).await, "who shows one shows a good one");
}

/// H6: what a reader that stops at a NUL would take for somebody else.
#[tokio::test]
async fn h6_a_name_with_a_nul_or_a_wildcard_is_nobodys() {
    use rcgen::SanType;
    let it = Mutual::start("optional").await;
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    for names in [
        vec![uri("spiffe://acme.example/billing\0.evil")],
        vec![dns("poor.acme.example\0.evil.example")],
        vec![dns("*.acme.example")],
        vec![uri(BILLING), dns("\0")],
        vec![uri(BILLING), uri("")],
        vec![SanType::IpAddress([127, 0, 0, 1].into())],
        Vec::new(),
    ] {
        let leaf = it.clients.client_with(|params| params.subject_alt_names.clone_from(&names));
        let reply = it.ask(Protocol::Http1, Some(&leaf), &Ask::get("/machine/x")).await.unwrap();
        assert_eq!((reply.status, reply.code()), (Some(401), "certificate_refused".into()), "{names:?}");
    }
    assert_eq!(it.arrived(), 0);
}

fn client(config: &Arc<ClientConfig>, name: &'static str) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from(name).unwrap()).unwrap()
}

/// One request; how the handshake went, and the status line.
fn ask_blocking(
    mut tls: ClientConnection,
    address: std::net::SocketAddr,
    host: &str,
) -> (Option<HandshakeKind>, String) {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    let request = format!("GET /machine/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let sent = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    let _ = sent.and_then(|()| stream.read_to_string(&mut answer));
    (tls.handshake_kind(), answer.lines().next().unwrap_or_default().to_owned())
}

/// H2: with client certificates, as the other product's bypass had it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_a_session_never_carries_a_certificate_anywhere() {
    let it = Mutual::start("optional").await;
    let leaf = it.clients.client_uri(BILLING);
    for version in [&TLS12, &TLS13] {
        let mut config = ca::client_config_of(&[version], &it.edge.ca.ca_pem(), &["http/1.1"], Some(&leaf));
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(64)));
        let config = Arc::new(config);
        let address = it.edge.https();
        let asked = {
            let config = Arc::clone(&config);
            tokio::task::spawn_blocking(move || {
                [ACME, ACME].map(|name| ask_blocking(client(&config, name), address, name))
            })
        };
        for (kind, status) in asked.await.unwrap() {
            assert_eq!((kind, status.as_str()), (Some(HandshakeKind::Full), "HTTP/1.1 200 OK"), "{version:?}");
        }
        // After the authorities were replaced there is nothing to go on from, either.
        it.put("acme.ca", &TestCa::new().ca_pem());
        it.reloaded().await;
        let asked = tokio::task::spawn_blocking(move || ask_blocking(client(&config, ACME), address, ACME));
        let (_, status) = asked.await.unwrap();
        assert_eq!(status, "", "{version:?}: it is refused in the handshake");
        it.put("acme.ca", &it.clients.ca_pem());
        it.reloaded().await;
    }
    // A connection made for one name is not used for another, whatever was shown on it.
    for protocol in BOTH {
        let reply = it.ask(protocol, Some(&leaf), &Ask::get("/machine/x").host(GLOBEX)).await.unwrap();
        assert_eq!((reply.status, reply.code()), (Some(421), "host_mismatch".into()));
    }
}

#[tokio::test]
async fn an_open_connection_is_believed_no_longer_than_its_certificate() {
    let it = Mutual::start("required").await;
    let leaf = it.clients.client_uri(BILLING);
    let mut http1_connection = it.connect(Some(&leaf)).await.unwrap();
    let (address, ca) = (it.edge.https(), it.edge.ca.ca_pem());
    let mut http2_connection = Http2::connect_as(address, ACME, &ca, Some(&leaf)).await.unwrap();
    let mut codes = async |path: &str| {
        let first = Response::parse(&http1_connection.exchange(&http1(&Ask::get(path))).await.unwrap());
        let second = http2_connection.send(&Http2Request::get(ACME, path)).await.unwrap();
        let code = |status, body: &[u8]| {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            (status, body["code"].as_str().unwrap_or_default().to_owned())
        };
        let Http2Outcome::Response { status, body, .. } = second else { panic!("{second:?}") };
        [code(first.status, &first.body), code(status, &body)]
    };
    let both = |status, code: &str| [(status, code.to_owned()), (status, code.to_owned())];
    assert_eq!(codes("/machine/x").await, both(200, ""));
    // A list that does not name it changes nothing for it.
    it.put("acme.crl", &it.clients.crl(&[]));
    it.rules("required", "acme.crl").await;
    assert_eq!(codes("/machine/x").await, both(200, ""));
    it.put("acme.crl", &it.clients.crl(&[&leaf]));
    it.reloaded().await;
    assert_eq!(codes("/machine/x").await, both(401, "certificate_refused"));
    assert_eq!(codes("/public/x").await, both(401, "certificate_refused"), "it is demanded of everybody");
    assert!(it.is_alerted(Some(&leaf)).await, "and in each new handshake");
    it.put("acme.crl", &it.clients.crl(&[]));
    it.put("acme.ca", &it.others.ca_pem());
    it.reloaded().await;
    assert_eq!(codes("/public/x").await, both(401, "certificate_refused"), "its authority is gone");
}

#[tokio::test]
async fn a_stream_ends_when_its_certificate_is_revoked() {
    let it = Mutual::start("optional").await;
    let leaf = it.clients.client_uri(BILLING);
    it.edge.canary.answer_next("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst");
    let mut connection = it.connect(Some(&leaf)).await.unwrap();
    connection.send(&http1(&Ask::get("/machine/x"))).await.unwrap();
    it.edge.canary.next().await;
    it.put("acme.crl", &it.clients.crl(&[&leaf]));
    it.rules("optional", "acme.crl").await;
    let rest = connection.rest().await.unwrap();
    assert!(!rest.ends_with(b"first\r\n") && rest.len() < 1000, "it was cut off");
}

/// H5: nothing is trusted in the place of what is missing.
#[tokio::test]
async fn h5_a_hostname_whose_authorities_cannot_be_read_is_not_served_and_the_others_are() {
    let it = Mutual::start("required").await;
    let leaf = it.clients.client_uri(BILLING);
    let mut open = it.connect(Some(&leaf)).await.unwrap();
    assert_eq!(Response::parse(&open.exchange(&http1(&Ask::get("/public/x"))).await.unwrap()).status, 200);
    let good = it.clients.ca_pem();
    for broken in [String::new(), "nothing".into(), good.replace("-----END", "-----"), leaf.chain_pem.clone()] {
        it.put("acme.ca", &broken);
        it.reloaded().await;
        assert!(it.is_alerted(Some(&leaf)).await && it.is_alerted(None).await, "{broken}");
        let answer = Response::parse(&open.exchange(&http1(&Ask::get("/public/x"))).await.unwrap());
        assert_eq!(answer.status, 503, "a connection from before is not served, either");
        let (_, ready) = get(&it.edge, "/readyz").await;
        assert!(ready.contains(&format!("\"unserved_hostnames\":[\"{ACME}\"]")), "{ready}");
        let (_, metrics) = get(&it.edge, "/metrics").await;
        assert!(metrics.contains("portcullis_gateway_unserved_hostnames 1"), "{metrics}");
        let other = it.ask(Protocol::Http1, None, &Ask::get("/public/x").at(GLOBEX)).await.unwrap();
        assert_eq!(other.status, Some(200));
    }
    fs::remove_file(it.edge.folder.path().join("acme.ca")).unwrap();
    it.reloaded().await;
    assert!(it.is_alerted(Some(&leaf)).await, "there is no file");
    it.put("acme.ca", &good);
    it.put("acme.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    it.rules("required", "acme.crl").await;
    assert!(it.is_alerted(Some(&leaf)).await, "a list that cannot be read");
    it.put("acme.crl", &it.clients.crl_until(&[], 2001));
    it.reloaded().await;
    assert!(it.is_alerted(Some(&leaf)).await, "a list that is out of date");
    it.rules("required", "").await;
    let reply = it.ask(Protocol::Http2, Some(&leaf), &Ask::get("/public/x")).await.unwrap();
    assert_eq!(reply.status, Some(200));
}

/// A gateway that starts with a broken file serves what can be served.
#[tokio::test]
async fn h5_a_broken_file_at_the_start_keeps_one_hostname_from_being_served() {
    let it = Mutual::start("required").await;
    it.put("acme.ca", "");
    it.reloaded().await;
    let path = it.edge.folder.path().join("edge.yaml");
    let said = link::declarative::load(&path, domain::declarative::ReadAs::EdgeFile).unwrap_err().to_string();
    assert!(said.contains("hostnames[0].client_certificates.ca: `ca` holds no PEM block"), "{said}");
    let (declared, unserved) = link::declarative::load_served(&path, domain::declarative::ReadAs::EdgeFile).unwrap();
    assert_eq!((unserved.len(), declared.entities.is_empty()), (1, false));
}
