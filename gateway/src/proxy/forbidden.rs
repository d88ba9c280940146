//! Addresses and Unix sockets that are never connected to for a request: our own metrics listener and the control API's
//! internal ones, so that no upstream, however it came to be, opens a way around the edge.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

/// The addresses and sockets. A listener on every address (`0.0.0.0`) forbids its port on all addresses of this
/// machine.
#[derive(Debug, Default)]
pub(crate) struct Forbidden {
    addresses: Vec<SocketAddr>,
    sockets: Vec<PathBuf>,
    /// Which addresses are this machine's own, as far as it was asked.
    local: Mutex<HashMap<IpAddr, bool>>,
}

impl Forbidden {
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>, sockets: Vec<PathBuf>) -> Self {
        let addresses = addresses.into_iter().map(|a| SocketAddr::new(a.ip().to_canonical(), a.port())).collect();
        Self { addresses, sockets, local: Mutex::default() }
    }

    /// Sockets are compared as what they are, not by how their paths are spelled: links lead to the same one.
    pub(crate) fn contains_socket(&self, path: &Path) -> bool {
        let asked = Inode::of(path);
        self.sockets.iter().any(|socket| socket == path || (asked.is_some() && Inode::of(socket) == asked))
    }

    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.addresses.iter().filter(|listener| listener.port() == address.port()).any(|listener| {
            // Connecting to 0.0.0.0 connects to this machine.
            listener.ip() == ip || ip.is_unspecified() || (listener.ip().is_unspecified() && self.is_local(ip))
        })
    }

    /// Only who has an address can bind it.
    fn is_local(&self, ip: IpAddr) -> bool {
        *self.local.lock().entry(ip).or_insert_with(|| ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok())
    }
}

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    /// None where no file is: then there is nothing to connect to either.
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|file| Self { device: file.dev(), number: file.ino() })
    }
}

#[test]
fn a_forbidden_socket_is_recognised_in_every_spelling_of_its_path() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let _listeners = [UnixListener::bind(at("internal")).unwrap(), UnixListener::bind(at("public")).unwrap()];
    symlink(at("internal"), at("link")).unwrap();
    fs::hard_link(at("internal"), at("other-name")).unwrap();
    let forbidden = Forbidden::new([], vec![at("internal"), at("later")]);
    for bad in ["internal", "./internal", "link", "other-name", "later"] {
        assert!(forbidden.contains_socket(&at(bad)), "{bad}");
    }
    for good in ["public", "nothing-here"] {
        assert!(!forbidden.contains_socket(&at(good)), "{good}");
    }
}

#[test]
fn an_internal_listener_is_recognised_in_every_spelling_of_its_address() {
    let forbidden = Forbidden::new(["127.0.0.1:9080".parse().unwrap(), "0.0.0.0:9100".parse().unwrap()], vec![]);
    for bad in
        ["127.0.0.1:9080", "[::ffff:127.0.0.1]:9080", "0.0.0.0:9080", "[::]:9080", "127.8.8.8:9100", "[::1]:9100"]
    {
        assert!(forbidden.contains(bad.parse().unwrap()), "{bad}");
    }
    for good in ["127.0.0.1:9081", "192.0.2.1:9080", "192.0.2.1:9100"] {
        assert!(!forbidden.contains(good.parse().unwrap()), "{good}");
    }
}
