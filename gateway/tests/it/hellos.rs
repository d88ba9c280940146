//! Threats H2 and H3: what a TLS client sends first, and what it sends again.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, SupportedProtocolVersion,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use crate::support::{ACME, Fixture, GLOBEX};

/// TLS records (RFC 8446 §5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Offers the session it has, whatever server it was made with.
#[derive(Debug, Default)]
struct OneForAll {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<VecDeque<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for OneForAll {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap() = Some(value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tls13.lock().unwrap().push_back(value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().pop_front()
    }
}

fn config(fixture: &Fixture, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(fixture.ca.ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::store(Arc::new(OneForAll::default()));
    Arc::new(config)
}

fn client(config: &Arc<ClientConfig>, name: &'static str) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from(name).unwrap()).unwrap()
}

/// One request; how the handshake went, and the status.
fn ask(mut client: ClientConnection, mut socket: TcpStream, host: &str) -> (Option<HandshakeKind>, String) {
    let mut stream = rustls::Stream::new(&mut client, &mut socket);
    stream
        .write_all(format!("GET /public/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    // The server closes without a word of TLS when it is in a hurry; what it said before counts.
    let _ = stream.read_to_string(&mut answer);
    (client.handshake_kind(), answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2_a_session_of_one_hostname_is_not_resumed_at_another() {
    let fixture = Fixture::start().await;
    for version in [&TLS12, &TLS13] {
        let (config, address) = (config(&fixture, version), fixture.https());
        let ask = move |name| ask(client(&config, name), TcpStream::connect(address).unwrap(), name);
        let kinds = tokio::task::spawn_blocking(move || [ACME, ACME, GLOBEX, GLOBEX].map(ask)).await.unwrap();
        assert!(kinds.iter().all(|(_, status)| status == "HTTP/1.1 200 OK"), "{kinds:?}");
        assert_eq!(kinds[0].0, Some(HandshakeKind::Full));
        assert_eq!(kinds[1].0, Some(HandshakeKind::Resumed), "{version:?}: sessions are resumed where they were made");
        assert_ne!(kinds[2].0, Some(HandshakeKind::Resumed), "{version:?}: a session of one tenant at another");
    }
}

/// The handshake message of a ClientHello, without its record.
fn hello(client: &mut ClientConnection) -> Vec<u8> {
    let mut record = Vec::new();
    client.write_tls(&mut record).unwrap();
    assert_eq!(record[0], HANDSHAKE);
    record.split_off(5)
}

/// A handshake message in records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1, length[0], length[1]], piece].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_a_hello_in_pieces_names_the_same_host() {
    let fixture = Fixture::start().await;
    for size in [16, 100, 200] {
        let (config, address) = (config(&fixture, &TLS13), fixture.https());
        let outcome = tokio::task::spawn_blocking(move || {
            let mut client = client(&config, GLOBEX);
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_nodelay(true).unwrap();
            for record in records(&hello(&mut client), size).chunks(size + 5) {
                socket.write_all(record).unwrap();
            }
            // The certificate is checked for the name.
            ask(client, socket, GLOBEX)
        });
        assert_eq!(outcome.await.unwrap().1, "HTTP/1.1 200 OK", "pieces of {size}");
    }
    assert_eq!(fixture.canary.requests().len(), 3);
}

/// The hello with its list of extensions rewritten (RFC 8446 §4.1.2).
fn with_extensions(hello: &[u8], rewrite: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let session = 4 + 2 + 32;
    let suites = session + 1 + usize::from(hello[session]);
    let compression = suites + 2 + usize::from(u16::from_be_bytes([hello[suites], hello[suites + 1]]));
    let start = compression + 1 + usize::from(hello[compression]);
    let extensions = rewrite(&hello[start + 2..]);
    let mut body = hello[4..start].to_vec();
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[hello[0], length[1], length[2], length[3]], &body[..]].concat()
}

/// The extension that names the server, for these names (RFC 6066 §3).
fn server_names(names: &[&str]) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let list: Vec<u8> =
        names.iter().flat_map(|name| [&[0], &length(name.len())[..], name.as_bytes()].concat()).collect();
    [&[0, 0], &length(list.len() + 2)[..], &length(list.len()), &list].concat()
}

/// Extensions without the server's name.
fn nameless(mut extensions: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    while !extensions.is_empty() {
        let (one, rest) = extensions.split_at(4 + usize::from(u16::from_be_bytes([extensions[2], extensions[3]])));
        if one[..2] != [0, 0] {
            kept.extend(one);
        }
        extensions = rest;
    }
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_a_hello_with_two_names_or_odd_ones_gets_no_certificate() {
    let fixture = Fixture::start().await;
    let (config, address) = (config(&fixture, &TLS13), fixture.https());
    let message = hello(&mut client(&config, ACME));
    let first = |names: &[&str]| [server_names(names), nameless(&message_extensions(&message))].concat();
    let twice = [server_names(&[ACME]), first(&[GLOBEX])].concat();
    let mut hellos: Vec<(String, Vec<u8>)> = vec![("two extensions".into(), with_extensions(&message, |_| twice))];
    for names in [
        &[ACME, GLOBEX][..],
        &[],
        &[""],
        &["."],
        &["acme.example.test\0.evil.test"],
        &["acme.example.test\u{2024}"],
        &["*.example.test"],
        &["127.0.0.1"],
        &["acme.example.test.."],
    ] {
        hellos.push((format!("{names:?}"), with_extensions(&message, |_| first(names))));
    }
    let mut endless = vec![1, 0xff, 0xff, 0xff];
    endless.extend([0; 16_000]);
    hellos.push(("16 MB to come".into(), endless));
    for (what, message) in hellos {
        let said = tokio::task::spawn_blocking(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(&records(&message, 16_000)).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            let mut said = Vec::new();
            // A reset is an end, too.
            let _ = socket.read_to_end(&mut said);
            said
        });
        let said = said.await.unwrap();
        assert!(matches!(said.first(), None | Some(&ALERT)), "{what}: {said:?}");
    }
    fixture.canary.assert_silent();
}

fn message_extensions(hello: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    with_extensions(hello, |extensions| {
        found = extensions.to_vec();
        Vec::new()
    });
    found
}
