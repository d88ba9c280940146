//! Threats S7 and S11: whose address a request comes from, behind proxies that speak HTTP and behind ones that speak TCP.

use std::net::SocketAddr;

use domain::{HumanDuration, snapshot::RateLimit};
use gateway::GatewayConfig;
use testkit::{
    Canary, TestCa, eventually,
    raw::{self, Http2, Response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    status::get,
    support::{ACME, Ask, BOTH, Fixture, GLOBEX, config, http1},
};

const CLIENT: &str = "203.0.113.7";

/// A configuration whose proxies are on this machine.
fn trusting() -> GatewayConfig {
    let mut config = config();
    config.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    config
}

/// A configuration whose connections all come through a balancer on this machine.
fn balanced() -> GatewayConfig {
    let mut config = trusting();
    config.listen.https_proxy_protocol = true;
    config.listen.http_proxy_protocol = true;
    config
}

async fn edge(config: GatewayConfig) -> Fixture {
    let canary = Canary::start().await;
    let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
    Fixture::configured(config, canary, TestCa::new(), &upstream, "").await
}

/// A TCP balancer: sends these bytes in front of each connection, and carries the rest.
struct Balancer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Balancer {
    async fn to(edge: SocketAddr, header: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let header = header.to_vec();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let header = header.clone();
                tokio::spawn(async move {
                    let mut onward = TcpStream::connect(edge).await.unwrap();
                    // The edge may have closed already: that is what some tests want to see.
                    if onward.write_all(&header).await.is_ok() {
                        let _ = copy_bidirectional(&mut client, &mut onward).await;
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 192.0.2.1 4711 443\r\n").into_bytes()
}

fn v2(client: [u8; 4], fields: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(u16::try_from(12 + fields.len()).unwrap().to_be_bytes());
    header.extend(client);
    header.extend([192, 0, 2, 1, 0x12, 0x67, 0x01, 0xbb]);
    header.extend(fields);
    header
}

#[tokio::test]
async fn s7_nobody_is_believed_about_addresses_who_is_not_trusted() {
    let fixture = edge(config()).await;
    for protocol in BOTH {
        for forged in ["203.0.113.7", "rubbish", "10.0.0.1, ::1%lo", ""] {
            let ask = Ask::get("/public/x").header("X-Forwarded-For", forged).header("Forwarded", "for=203.0.113.7");
            let reply = fixture.ask(protocol, &ask).await;
            assert_eq!(reply.status, Some(200), "{protocol:?} {forged:?}");
            let arrived = fixture.canary.next().await;
            assert_eq!(arrived.header("x-forwarded-for"), ["127.0.0.1"], "{protocol:?} {forged:?}");
            assert!(arrived.header("forwarded").is_empty());
        }
    }
}

#[tokio::test]
async fn s7_a_trusted_proxy_says_who_the_client_is() {
    let fixture = edge(trusting()).await;
    for protocol in BOTH {
        let lists = [
            "203.0.113.7",
            "127.0.0.1, 198.51.100.1, 203.0.113.7",
            "rubbish,203.0.113.7, 127.0.0.1",
            "[::1]:8, 203.0.113.7:4711",
        ];
        for list in lists {
            let ask = Ask::get("/public/x").header("X-Forwarded-For", list).header("X-Real-IP", "198.51.100.9");
            assert_eq!(fixture.ask(protocol, &ask).await.status, Some(200), "{protocol:?} {list}");
            assert_eq!(fixture.canary.next().await.header("x-forwarded-for"), [CLIENT], "{protocol:?} {list}");
        }
        let twice = Ask::get("/public/x").header("X-Forwarded-For", "198.51.100.1").header("X-Forwarded-For", CLIENT);
        assert_eq!(fixture.ask(protocol, &twice).await.status, Some(200));
        assert_eq!(fixture.canary.next().await.header("x-forwarded-for"), [CLIENT], "the last line is the proxy's");
    }
}

#[tokio::test]
async fn s7_an_address_that_cannot_be_read_is_nobodys_request() {
    let fixture = edge(trusting()).await;
    for protocol in BOTH {
        for garbage in ["rubbish", "unknown", "fe80::1%eth0", "203.0.113.7,", "203.0.113.7 1", "0x7f.1", "0.0.0.0"] {
            let reply = fixture.ask(protocol, &Ask::get("/public/x").header("X-Forwarded-For", garbage)).await;
            assert_eq!((reply.status, reply.code().as_str()), (Some(400), "request_malformed"), "{garbage}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn limits_count_the_client_and_not_the_proxy() {
    let mut config = trusting();
    config.limits.address = RateLimit { rps: 1, burst: 1 };
    let fixture = edge(config).await;
    let from = |client: &str| Ask::get("/public/x").header("X-Forwarded-For", client);
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
        assert_eq!(fixture.ask(BOTH[0], &from(client)).await.status, Some(200), "{client}");
        assert_eq!(fixture.ask(BOTH[0], &from(client)).await.status, Some(429), "{client}");
    }
}

#[tokio::test]
async fn a_balancer_says_in_front_of_tls_who_the_client_is() {
    let fixture = edge(balanced()).await;
    let certificate_name = [&[0x02, 0, 4][..], b"acme"].concat();
    for header in [v1(CLIENT), v2([203, 0, 113, 7], &[]), v2([203, 0, 113, 7], &certificate_name)] {
        let balancer = Balancer::to(fixture.https(), &header).await;
        let bytes = http1(&Ask::get("/public/x").header("X-Forwarded-For", "198.51.100.1"));
        let answer = raw::tls_http1(balancer.address, ACME, &fixture.ca.ca_pem(), &bytes).await.unwrap();
        assert_eq!(Response::parse(&answer).status, 200);
        assert_eq!(fixture.canary.next().await.header("x-forwarded-for"), [CLIENT]);
        let mut http2 = Http2::connect(balancer.address, ACME, &fixture.ca.ca_pem()).await.unwrap();
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
        for _ in 0..2 {
            assert_eq!(http2.request(&fields, b"").await.unwrap().status(), Some(200));
            assert_eq!(fixture.canary.next().await.header("x-forwarded-for"), [CLIENT]);
        }
    }
}

#[tokio::test]
async fn a_proxy_behind_a_balancer_is_seen_through() {
    let fixture = edge(balanced()).await;
    let balancer = Balancer::to(fixture.https(), &v1("127.0.0.1")).await;
    let bytes = http1(&Ask::get("/public/x").header("X-Forwarded-For", CLIENT));
    let answer = raw::tls_http1(balancer.address, ACME, &fixture.ca.ca_pem(), &bytes).await.unwrap();
    assert_eq!(Response::parse(&answer).status, 200);
    assert_eq!(fixture.canary.next().await.header("x-forwarded-for"), [CLIENT]);
}

#[tokio::test]
async fn the_plain_listener_takes_the_header_too() {
    let mut config = balanced();
    config.limits.address = RateLimit { rps: 1, burst: 1 };
    let fixture = edge(config).await;
    let request = b"GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    for client in ["203.0.113.1", "203.0.113.2"] {
        let balancer = Balancer::to(fixture.edge.http()[0], &v1(client)).await;
        let statuses = [raw::http1(balancer.address, request).await, raw::http1(balancer.address, request).await];
        assert_eq!(statuses.map(|answer| Response::parse(&answer.unwrap()).status), [308, 429], "{client}");
    }
}

#[tokio::test]
async fn s11_a_connection_without_a_whole_header_is_closed_without_an_answer() {
    let fixture = edge(balanced()).await;
    let overlong = [&v2([203, 0, 113, 7], &[])[..14], &[0xff, 0xff], &[0; 4_000]].concat();
    let spilling = v2([203, 0, 113, 7], &[0x03, 0xff, 0xff, 1]);
    let headers: [&[u8]; 7] = [
        b"",
        b"PROXY TCP4 rubbish\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\n",
        b"PROXY TCP4 0.0.0.0 192.0.2.1 4711 443\r\n",
        b"GET /public/x HTTP/1.1\r\nHost: acme.example.test\r\n\r\n",
        &overlong,
        &spilling,
    ];
    for header in headers {
        let balancer = Balancer::to(fixture.https(), header).await;
        let answer = raw::tls_http1(balancer.address, ACME, &fixture.ca.ca_pem(), &http1(&Ask::get("/public/x"))).await;
        assert!(answer.is_err(), "{}", String::from_utf8_lossy(header));
        let plain = Balancer::to(fixture.edge.http()[0], header).await;
        let answer = raw::http1(plain.address, &http1(&Ask::get("/public/x"))).await;
        assert!(answer.map_or(true, |bytes| bytes.is_empty()), "{}", String::from_utf8_lossy(header));
    }
    fixture.canary.assert_silent();
    let metrics = get(&fixture, "/metrics").await.1;
    let closed = format!("connections_closed_total{{reason=\"proxy_header_invalid\"}} {}", 2 * headers.len());
    assert!(metrics.contains(&closed), "{metrics}");
}

#[tokio::test]
async fn s11_a_header_from_a_stranger_is_not_read() {
    let mut config = balanced();
    config.listen.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    let fixture = edge(config).await;
    for at in [fixture.https(), fixture.edge.http()[0]] {
        let balancer = Balancer::to(at, &v1(CLIENT)).await;
        let answer = raw::tls_http1(balancer.address, ACME, &fixture.ca.ca_pem(), b"").await;
        assert!(answer.is_err());
    }
    eventually("both are counted", async || {
        get(&fixture, "/metrics").await.1.contains("connections_closed_total{reason=\"proxy_untrusted\"} 2")
    })
    .await;
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn s11_a_header_that_drips_is_not_waited_for() {
    let mut config = balanced();
    config.listen.proxy_header_timeout = HumanDuration::from_millis(50);
    let fixture = edge(config).await;
    for at in [fixture.https(), fixture.edge.http()[0]] {
        let mut slow = TcpStream::connect(at).await.unwrap();
        slow.write_all(b"PROXY TCP4 203.0.113.7").await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(testkit::PATIENCE, slow.read_to_end(&mut answer)).await;
        assert!(closed.is_ok_and(|read| read.map_or(true, |_| answer.is_empty())));
    }
    assert!(get(&fixture, "/metrics").await.1.contains("connections_closed_total{reason=\"proxy_header_late\"} 2"));
}

#[test]
fn a_listener_that_nobody_could_connect_to_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, "listen:\n  https_proxy_protocol: true\nfeed: { file: edge.yaml }\n").unwrap();
    let mistakes = GatewayConfig::load(&file).unwrap_err().to_string();
    assert!(mistakes.contains("listen.https_proxy_protocol"), "{mistakes}");
}

#[tokio::test]
async fn an_address_has_so_many_connections_at_once_and_gives_them_back() {
    let mut few = config();
    few.limits.address_connections = 2;
    let fixture = edge(few).await;
    let connect = async || raw::Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await;
    let first = connect().await.unwrap();
    let mut second = connect().await.unwrap();
    assert!(connect().await.is_err(), "a third is closed before TLS");
    let request = http1(&Ask::get("/public/x"));
    assert_eq!(Response::parse(&second.exchange(&request).await.unwrap()).status, 200, "the others go on");
    assert!(get(&fixture, "/metrics").await.1.contains("connections_closed_total{reason=\"address_connections\"} 1"));
    drop(first);
    eventually("its place is free", async || connect().await.is_ok()).await;
}

#[tokio::test]
async fn an_address_makes_so_many_connections_at_a_time_on_both_listeners() {
    let mut few = config();
    few.limits.address_handshakes = RateLimit { rps: 1, burst: 2 };
    let fixture = edge(few).await;
    let plain = fixture.edge.http()[0];
    let request = b"GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";
    assert_eq!(Response::parse(&raw::http1(plain, request).await.unwrap()).status, 308);
    let tls = raw::tls_http1(fixture.https(), ACME, &fixture.ca.ca_pem(), &http1(&Ask::get("/public/x"))).await;
    assert_eq!(Response::parse(&tls.unwrap()).status, 200);
    for _ in 0..2 {
        assert!(raw::http1(plain, request).await.map_or(true, |bytes| bytes.is_empty()));
    }
    assert!(raw::tls_http1(fixture.https(), ACME, &fixture.ca.ca_pem(), b"").await.is_err());
    assert!(get(&fixture, "/metrics").await.1.contains("connections_closed_total{reason=\"address_handshakes\"} 3"));
}

#[tokio::test]
async fn a_tenant_has_so_many_connections_at_once_and_leaves_the_others_theirs() {
    let mut few = config();
    few.limits.tenant_connections = 2;
    let fixture = edge(few).await;
    let connect = async |host| raw::Connection::tls(fixture.https(), host, &fixture.ca.ca_pem(), None).await;
    let first = connect(ACME).await.unwrap();
    let mut second = connect(ACME).await.unwrap();
    assert!(connect(ACME).await.is_err(), "a third is closed when its hostname is known");
    assert!(connect(GLOBEX).await.is_ok(), "another tenant has its own");
    let request = http1(&Ask::get("/public/x"));
    assert_eq!(Response::parse(&second.exchange(&request).await.unwrap()).status, 200, "the others go on");
    assert!(get(&fixture, "/metrics").await.1.contains("connections_closed_total{reason=\"tenant_connections\"} 1"));
    drop(first);
    eventually("its place is free", async || connect(ACME).await.is_ok()).await;
}

/// A flood at one tenant's hostname, from wherever, is that tenant's alone.
#[tokio::test]
async fn a_hostname_has_so_many_handshakes_at_a_time_and_leaves_the_others_theirs() {
    let mut few = config();
    few.limits.hostname_handshakes = RateLimit { rps: 1, burst: 3 };
    let fixture = edge(few).await;
    let shake = async |hostname: &str| {
        raw::Connection::tls(fixture.https(), hostname, &fixture.ca.ca_pem(), None).await.map(drop)
    };
    let mut outcomes = Vec::new();
    for _ in 0..10 {
        outcomes.push(shake(ACME).await.is_ok());
    }
    assert_eq!(outcomes[..3], [true; 3]);
    assert!(outcomes.contains(&false), "an alert, and no certificate");
    shake(GLOBEX).await.expect("another hostname has its own");
    let metrics = get(&fixture, "/metrics").await.1;
    assert!(metrics.contains("connections_closed_total{reason=\"hostname_handshakes\"}"), "{metrics}");
}
