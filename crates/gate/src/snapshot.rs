//! The wire snapshot compiled to what a request needs, in shards by hostname, each swapped on its own.
//!
//! ```text
//! Change ─▶ State (latest wire entities) ─▶ Site (one per hostname) ─▶ Shard (256 of them) ◀─ decide
//! ```
//!
//! A change recompiles the sites it touches. What several sites share (upstreams, services, roles, issuers, route
//! tables of the same services) is compiled once and shared, so an idle tenant costs its row and not its routes. A
//! request reads one shard and keeps what it took from it; a shard is never waited for.

mod chunked;
pub mod client;
mod index;
pub mod response;
pub mod route;
pub mod site;
mod state;
pub mod upstream;

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use domain::snapshot::{Change, EntityKey};
use parking_lot::Mutex;

pub use client::Clients;
pub use site::{CertificateData, CompiledRole, ProjectInfo, Roles, Site, TenantInfo, TenantMap, Tenants};

use crate::{
    load::{self, ConnectionSlot, Full, LoadLimits},
    quota::Ledger,
};

/// Shards. A request reads one; a change swaps those of the hostnames it touches.
const SHARDS: usize = 256;

/// All the gate knows. Filled by the feed, read by requests.
pub struct Snapshot {
    shards: Box<[ArcSwap<Shard>]>,
    state: Mutex<state::State>,
    ledger: Arc<Ledger>,
    revision: AtomicU64,
    changes: AtomicU64,
    usable: AtomicBool,
}

/// The sites of one shard.
#[derive(Debug, Default)]
struct Shard(HashMap<Arc<str>, Entry>);

/// What is known of a hostname.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// It can be served.
    Site(Arc<Site>),
    /// It cannot: this build does not understand part of it, or part of it is broken.
    Unsupported,
}

/// What the TLS handshake of a hostname needs.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The hostname as stored.
    pub host: Arc<str>,
    /// The certificate that is shown.
    pub certificate: Arc<CertificateData>,
    /// Whose certificates clients are asked for; none for no question.
    pub clients: Option<Arc<Clients>>,
    site: Arc<Site>,
}

impl Handshake {
    /// Takes the connection's places among those of the hostname and its tenant, which are given back when the slot is
    /// dropped. `default` is for who has no limit of its own.
    ///
    /// # Errors
    /// Which are all taken.
    pub fn connect(&self, default: LoadLimits) -> Result<ConnectionSlot, Full> {
        load::connect(&self.site, default)
    }
}

/// What became of a batch of changes.
#[derive(Clone, Debug, Default)]
pub struct ApplyReport {
    /// The revision now in force.
    pub revision: u64,
    /// Hostnames whose site was compiled anew.
    pub sites: usize,
    /// Entities that are refused, and why. Hostnames that need them are refused with them.
    pub refused: Vec<(EntityKey, String)>,
}

impl Default for Snapshot {
    fn default() -> Self {
        let state = state::State::default();
        Self {
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            ledger: Arc::clone(&state.ledger),
            state: Mutex::new(state),
            revision: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            usable: AtomicBool::new(false),
        }
    }
}

impl Snapshot {
    /// What tenants use of products.
    pub const fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Applies the latest changes, in the order of their revisions.
    pub fn apply(&self, changes: Vec<Change>, revision: u64) -> ApplyReport {
        let mut state = self.state.lock();
        let dirty = state.take(changes);
        self.compile(&mut state, &dirty, revision)
    }

    /// Takes `changes` for the whole state: what is not among them is gone. Serving goes on from the old state until
    /// the new one is compiled.
    pub fn replace(&self, changes: Vec<Change>, revision: u64) -> ApplyReport {
        let mut state = self.state.lock();
        let before = state.emptied();
        let mut dirty = state.take(changes);
        dirty.add_all_hostnames(&before);
        self.compile(&mut state, &dirty, revision)
    }

    fn compile(&self, state: &mut state::State, dirty: &state::Dirty, revision: u64) -> ApplyReport {
        let (sites, refused) = state.compile(dirty);
        let mut report = ApplyReport { revision, sites: sites.len(), refused };
        let mut by_shard: HashMap<usize, state::Sites> = HashMap::new();
        for (host, entry) in sites {
            by_shard.entry(shard_of(&host)).or_default().push((host, entry));
        }
        for (at, entries) in by_shard {
            let Some(shard) = self.shards.get(at) else { continue };
            let mut next = shard.load().0.clone();
            for (host, entry) in entries {
                match entry {
                    Some(entry) => _ = next.insert(host, entry),
                    None => _ = next.remove(&host),
                }
            }
            shard.store(Arc::new(Shard(next)));
        }
        self.revision.store(revision, Ordering::Release);
        self.usable.store(true, Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
        report.refused.sort_by(|a, b| a.0.cmp(&b.0));
        report
    }

    /// The revision in force; 0 for none.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// How often it has changed: what was judged at one number and asks at the same need not be judged again.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether requests can be judged by it.
    pub fn is_usable(&self) -> bool {
        self.usable.load(Ordering::Acquire)
    }

    /// Says that the snapshot is too old to judge by; the next change makes it usable again.
    pub fn expire(&self) {
        self.usable.store(false, Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// What the TLS handshake of a name needs; none for unknown names and for those that are not served.
    pub fn handshake(&self, sni: &str) -> Option<Handshake> {
        let lower = sni.to_ascii_lowercase();
        match self.entry(lower.strip_suffix('.').unwrap_or(&lower))? {
            Entry::Site(site) => Some(Handshake {
                host: Arc::clone(&site.host),
                certificate: site.certificate.clone()?,
                clients: site.clients.clone(),
                site,
            }),
            Entry::Unsupported => None,
        }
    }

    /// Hostnames that are known and not served, for want of a part that can be read.
    pub fn unserved(&self) -> BTreeSet<Arc<str>> {
        self.state.lock().unserved().clone()
    }

    /// Everything in force as changes from nothing, for the copy on disk.
    pub fn entities(&self) -> Vec<Change> {
        self.state.lock().changes()
    }

    pub(crate) fn entry(&self, host: &str) -> Option<Entry> {
        self.shards.get(shard_of(host))?.load().0.get(host).cloned()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

fn shard_of(host: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests;
