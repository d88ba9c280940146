//! How much of a tenant and of a hostname is served at once: connections, requests, and WebSockets among them.
//!
//! Strangers have places of their own: however many come, and however slowly they write, a tenant's users are served.
//!
//! A [`Slot`] is held by the permit, and given back when that is dropped, however the request ends. Counters belong to
//! the tenant's or hostname's id and outlive changes of its row.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use domain::Admission;
use http::header;

use crate::{CanonicalRequest, Denial, Permit};

/// What is served now.
#[derive(Debug, Default)]
pub struct Load {
    principals: Places,
    strangers: Places,
    connections: AtomicU32,
}

#[derive(Debug, Default)]
struct Places {
    requests: AtomicU32,
    websockets: AtomicU32,
}

/// How much may be served at once by one gateway, where a row says nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoadLimits {
    /// Requests.
    pub requests: u32,
    /// WebSockets, which count as requests too.
    pub websockets: u32,
    /// TLS connections. Of whoever: nobody has said who they are yet.
    pub connections: u32,
}

/// Whose load is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the words in operators' logs say it")]
pub enum Full {
    TenantRequests,
    TenantWebsockets,
    HostnameRequests,
    HostnameWebsockets,
    TenantConnections,
    HostnameConnections,
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TenantRequests => "requests of the tenant",
            Self::TenantWebsockets => "WebSockets of the tenant",
            Self::HostnameRequests => "requests of the hostname",
            Self::HostnameWebsockets => "WebSockets of the hostname",
            Self::TenantConnections => "connections of the tenant",
            Self::HostnameConnections => "connections of the hostname",
        })
    }
}

/// A place in a load, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    load: Arc<Load>,
    stranger: bool,
    websocket: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let places = self.load.places(self.stranger);
        places.requests.fetch_sub(1, Ordering::Relaxed);
        if self.websocket {
            places.websockets.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A connection's place in a load, until it is dropped.
#[derive(Debug)]
struct Connected(Arc<Load>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection's places in the loads of its hostname and of that one's tenant, until it is dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    _tenant: Option<Connected>,
    _hostname: Option<Connected>,
}

/// Takes the places that a connection to a hostname needs.
///
/// # Errors
/// Which load is full.
pub(crate) fn connect(site: &crate::snapshot::Site, default: LoadLimits) -> Result<ConnectionSlot, Full> {
    let tenant = site.tenant.as_ref().map(|tenant| {
        let limit = tenant.admission.connections.unwrap_or(default.connections);
        tenant.load.connect(limit).ok_or(Full::TenantConnections)
    });
    let hostname = site.admission.connections.map(|limit| site.load.connect(limit).ok_or(Full::HostnameConnections));
    Ok(ConnectionSlot { _tenant: tenant.transpose()?, _hostname: hostname.transpose()? })
}

impl Load {
    fn connect(self: &Arc<Self>, limit: u32) -> Option<Connected> {
        let below = |now: u32| (now < limit).then(|| now + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()?;
        Some(Connected(Arc::clone(self)))
    }

    /// Requests that are served now, of principals and strangers.
    pub fn requests(&self) -> u32 {
        let of = |places: &Places| places.requests.load(Ordering::Relaxed);
        of(&self.principals).saturating_add(of(&self.strangers))
    }

    const fn places(&self, stranger: bool) -> &Places {
        if stranger { &self.strangers } else { &self.principals }
    }

    fn enter(
        self: &Arc<Self>,
        limits: LoadLimits,
        (stranger, websocket): (bool, bool),
        (of_requests, of_websockets): (Full, Full),
    ) -> Result<Slot, Denial> {
        let below = |limit: u32| move |now: u32| (now < limit).then(|| now + 1);
        let full = |full| move |_| Denial::ConcurrencyLimited(full);
        let order = Ordering::Relaxed;
        let places = self.places(stranger);
        places.requests.fetch_update(order, order, below(limits.requests)).map_err(full(of_requests))?;
        // From here on the slot gives back what was taken.
        let mut slot = Slot { load: Arc::clone(self), stranger, websocket: false };
        if websocket {
            places.websockets.fetch_update(order, order, below(limits.websockets)).map_err(full(of_websockets))?;
            slot.websocket = true;
        }
        Ok(slot)
    }
}

/// The limits of a row.
fn limits(admission: &Admission, default: LoadLimits) -> LoadLimits {
    LoadLimits {
        requests: admission.in_flight.unwrap_or(default.requests),
        websockets: admission.websockets.unwrap_or(default.websockets),
        connections: admission.connections.unwrap_or(default.connections),
    }
}

/// Takes the places that a permitted request needs.
///
/// # Errors
/// [`Denial::ConcurrencyLimited`].
pub(crate) fn enter(
    mut permit: Permit,
    site: &crate::snapshot::Site,
    request: &CanonicalRequest<'_>,
    default: LoadLimits,
) -> Result<Permit, Denial> {
    let websocket = request.headers.contains_key(header::UPGRADE);
    if let Some(tenant) = &permit.tenant {
        let full = (Full::TenantRequests, Full::TenantWebsockets);
        let who = (permit.identity.is_none(), websocket);
        permit.slots.0 = Some(tenant.load.enter(limits(&tenant.admission, default), who, full)?);
    }
    if site.admission.in_flight.is_some() || site.admission.websockets.is_some() {
        let none = LoadLimits { requests: u32::MAX, websockets: u32::MAX, connections: u32::MAX };
        let full = (Full::HostnameRequests, Full::HostnameWebsockets);
        permit.slots.1 = Some(site.load.enter(limits(&site.admission, none), (false, websocket), full)?);
    }
    Ok(permit)
}
