//! Sockets, bound before anything else starts, so that a port in use is one clear error and port 0 is known at once.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use crate::config::ListenAddress;

/// How often another free port is tried when the first one is free on 127.0.0.1 but not on ::1.
const FREE_PORT_ATTEMPTS: usize = 16;

/// The sockets of one listener: all with one port.
#[derive(Debug)]
pub(crate) struct Bound {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

/// Why a listener could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}` (`{key}`)")]
pub struct ListenError {
    /// The key of the configuration.
    key: &'static str,
    /// What it says.
    address: ListenAddress,
    source: io::Error,
}

impl Bound {
    /// Binds the address that the configuration names at `key`.
    pub(crate) fn new(key: &'static str, address: ListenAddress) -> Result<Self, ListenError> {
        let fail = |source| ListenError { key, address, source };
        let (first, second) = address.sockets();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let primary = bind(first).map_err(fail)?;
            let mut addresses = vec![primary.local_addr().map_err(fail)?];
            let mut sockets = vec![primary];
            if let Some(mut second) = second {
                second.set_port(addresses.first().map_or(0, SocketAddr::port));
                match bind(second) {
                    Ok(socket) => {
                        sockets.push(socket);
                        addresses.push(second);
                    }
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        if address.port() == 0 && attempt < FREE_PORT_ATTEMPTS {
                            continue;
                        }
                        return Err(fail(error));
                    }
                    // A machine without IPv6 has no ::1.
                    Err(error) => tracing::debug!(%error, listen.address = %second, "not listening there"),
                }
            }
            return Ok(Self { sockets, addresses });
        }
    }

    /// The sockets that another process gave, as far as they are the address that the configuration names; with those
    /// that are missing.
    pub(crate) fn inherited(
        key: &'static str,
        address: ListenAddress,
        given: Vec<TcpListener>,
    ) -> Result<Self, ListenError> {
        let (first, second) = address.sockets();
        let wanted = |at: SocketAddr| {
            let is = |want: SocketAddr| want.ip() == at.ip() && (want.port() == at.port() || want.port() == 0);
            is(first) || second.is_some_and(is)
        };
        let mut sockets: Vec<_> =
            given.into_iter().filter_map(|it| Some((it.local_addr().ok().filter(|at| wanted(*at))?, it))).collect();
        sockets.sort_by_key(|(at, _)| at.ip() != first.ip());
        let (mut addresses, mut sockets): (Vec<SocketAddr>, Vec<TcpListener>) = sockets.into_iter().unzip();
        if addresses.first().is_none_or(|at| at.ip() != first.ip()) {
            drop(sockets);
            return Self::new(key, address);
        }
        if let (Some(mut second), [first]) = (second, addresses.as_slice()) {
            second.set_port(first.port());
            match bind(second) {
                Ok(socket) => {
                    sockets.push(socket);
                    addresses.push(second);
                }
                Err(error) => tracing::debug!(%error, listen.address = %second, "not listening there"),
            }
        }
        Ok(Self { sockets, addresses })
    }

    /// The sockets once more, under their key.
    pub(crate) fn duplicated(&self, key: &'static str) -> io::Result<Vec<(&'static str, TcpListener)>> {
        self.sockets.iter().map(|socket| Ok((key, socket.try_clone()?))).collect()
    }

    /// Where it listens; the first is the one to tell people.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// The sockets themselves.
    pub(crate) fn into_sockets(self) -> Vec<TcpListener> {
        self.sockets
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_0_picks_one_port_for_both_loopback_addresses() {
        let bound = Bound::new("listen.https", ListenAddress::localhost(0)).unwrap();
        assert_ne!(bound.address().unwrap().port(), 0);
        assert!(bound.addresses().iter().all(|a| a.port() == bound.address().unwrap().port()));
    }

    #[test]
    fn what_is_inherited_is_used_where_the_configuration_still_names_it() {
        let bound = Bound::new("listen.https", ListenAddress::localhost(0)).unwrap();
        let (port, addresses) = (bound.address().unwrap().port(), bound.addresses().to_vec());
        for named in [port, 0] {
            let given = bound.sockets.iter().map(|it| it.try_clone().unwrap()).rev().collect();
            let again = Bound::inherited("listen.https", ListenAddress::localhost(named), given).unwrap();
            assert_eq!(again.addresses(), addresses);
        }
        let given = bound.sockets.iter().map(|it| it.try_clone().unwrap()).collect();
        let other = Bound::inherited("listen.https", "127.0.0.2:0".parse().unwrap(), given).unwrap();
        assert_ne!(other.address().unwrap().port(), port);
    }

    #[test]
    fn a_port_in_use_is_named_with_its_key() {
        let first = Bound::new("listen.https", ListenAddress::localhost(0)).unwrap();
        let address = ListenAddress::localhost(first.address().unwrap().port());
        let error = Bound::new("listen.metrics", address).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on `{address}` (`listen.metrics`)"));
    }
}
