//! How many connections one address has, and how fast it makes them: a handshake costs more than a request, and an open
//! connection holds memory, before anybody is known by more than an address.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use domain::{BootInstant, Network, network, snapshot::RateLimit};
use gate::{admit::network_of, bucket::Buckets};
use parking_lot::Mutex;

/// Addresses whose handshakes are counted. Some 100 bytes each.
const CAPACITY: usize = 100_000;

/// The connections of all listeners.
#[derive(Debug)]
pub(crate) struct Connections {
    most: u32,
    handshakes: RateLimit,
    /// Proxies of ours, whose connections are many people's.
    proxies: Vec<Network>,
    open: Mutex<HashMap<u128, u32>>,
    made: Buckets<u128>,
}

/// Which limit of an address is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TooMany {
    Open,
    Handshakes,
}

impl Connections {
    pub(crate) fn new(most: u32, handshakes: RateLimit, proxies: Vec<Network>) -> Arc<Self> {
        Arc::new(Self { most, handshakes, proxies, open: Mutex::default(), made: Buckets::new(CAPACITY) })
    }

    /// Counts a connection of this address for as long as the place is held; none where it is not counted.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr, now: BootInstant) -> Result<Option<Place>, TooMany> {
        if network::any_contains(&self.proxies, client) {
            return Ok(None);
        }
        let client = network_of(client);
        self.made.of(client).take(self.handshakes, now).map_err(|_| TooMany::Handshakes)?;
        let mut open = self.open.lock();
        let count = open.entry(client).or_default();
        if *count >= self.most {
            return Err(TooMany::Open);
        }
        *count += 1;
        drop(open);
        Ok(Some(Place { connections: Arc::clone(self), client }))
    }
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    connections: Arc<Connections>,
    client: u128,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.connections.open.lock().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: RateLimit = RateLimit { rps: 1_000_000, burst: 1_000_000 };

    #[test]
    fn an_address_has_so_many_connections_and_each_gives_its_place_back() {
        let connections = Connections::new(2, PLENTY, vec!["10.0.0.0/8".parse().unwrap()]);
        let enter = |text: &str| connections.enter(text.parse().unwrap(), BootInstant::from_nanos(1));
        let held = [enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap()];
        assert_eq!(enter("192.0.2.1").unwrap_err(), TooMany::Open);
        assert!(enter("192.0.2.2").is_ok(), "another address");
        let of_a_customer = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert_eq!(enter("2001:db8::3").unwrap_err(), TooMany::Open, "a /64 is one customer");
        assert!((0..5).all(|_| enter("10.0.0.1").unwrap().is_none()), "a proxy is many people");
        drop((held, of_a_customer));
        assert!(enter("192.0.2.1").is_ok());
        assert!(connections.open.lock().is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn an_address_makes_so_many_connections_at_a_time() {
        let connections = Connections::new(100, RateLimit { rps: 1, burst: 2 }, Vec::new());
        let enter = || connections.enter([192, 0, 2, 1].into(), BootInstant::from_nanos(1));
        assert!(enter().is_ok() && enter().is_ok());
        assert_eq!(enter().unwrap_err(), TooMany::Handshakes);
    }
}
