//! What a permitted request carries to the proxy: where it goes, as whom, and what must be done on the way.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicU64},
};

use authn::mirror::Identity;
use domain::{ByteSize, OrgUnitId, RequestId, Timestamp, snapshot::OnUnproven};

use crate::{
    ShownCertificate,
    api_key::Signed,
    identity::Principal,
    load::Slot,
    snapshot::{TenantInfo, route::CompiledRoute},
    verify::Known,
};

/// A request that may be forwarded. Made by [`crate::authorize`] alone. It holds its route and upstream, never a
/// shard of the snapshot.
#[derive(Debug)]
pub struct Permit {
    /// The request.
    pub request_id: RequestId,
    /// The method.
    pub method: &'static str,
    /// Who asks: the address that every limit and list was judged by.
    pub client: IpAddr,
    /// The hostname as stored: what the upstream is told as `x-forwarded-host`.
    pub host: Arc<str>,
    /// The canonical path where it differs from the one received.
    pub path: Option<Box<str>>,
    /// The route, with its upstream.
    pub route: Arc<CompiledRoute>,
    /// Who is calling; none for anonymous callers.
    pub identity: Option<Arc<Principal>>,
    /// The tenant the request runs as; of anonymous callers the hostname's.
    pub tenant: Option<Arc<TenantInfo>>,
    /// The organisational unit it is about; none on a route that is about none.
    pub unit: Option<OrgUnitId>,
    /// What happens as time goes on.
    pub lasting: Lasting,
    /// Whether to answer with `x-token-refresh: advised`.
    pub refresh_advised: bool,
    /// Largest request body; none for the gateway's own limit.
    pub max_body: Option<ByteSize>,
    /// SHA-256 that the body has to have: the proxy sends nothing on before it has all of the body and has compared.
    pub body_digest: Option<[u8; 32]>,
    /// Whether the request only reads.
    pub(crate) safe: bool,
    /// How often the snapshot had changed when this was last judged.
    pub(crate) judged_at: AtomicU64,
    pub(crate) shown: Option<Shown>,
    /// The certificate of its connection, if any.
    pub(crate) certificate: Option<Arc<ShownCertificate>>,
    /// Its places among what the tenant and the hostname are served at once.
    pub(crate) slots: (Option<Slot>, Option<Slot>),
}

/// The obligations of a permit that last as long as its stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lasting {
    /// The stream ends then at the latest: with its credential, or with the certificate that the hostname demands. None for
    /// what has no end.
    pub ends_at: Option<Timestamp>,
}

/// What a permit's credential is judged by again.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) known: Arc<Known>,
    pub(crate) identity: Identity,
    /// What is left to be seen to of a signed request.
    pub(crate) signed: Option<Arc<Signed>>,
    pub(crate) mirror_version: u64,
    pub(crate) on_unproven: OnUnproven,
    /// Whether the request only reads.
    pub(crate) safe: bool,
}
