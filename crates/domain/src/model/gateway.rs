//! Gateways, as the control plane knows them.

use serde::{Deserialize, Serialize};

use crate::{GatewayId, Seq, Timestamp};

/// One running gateway process.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct GatewayNode {
    /// Its id.
    pub id: GatewayId,
    /// Its name.
    pub name: String,
    /// Its fleet.
    pub fleet: String,
    /// What it last said.
    pub report: GatewayReport,
    /// When.
    pub last_seen: Timestamp,
}

/// What a gateway says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct GatewayReport {
    /// Revision of its snapshot.
    pub revision: u64,
    /// How far it has applied the log.
    pub applied: Seq,
    /// The newest form of entities it reads.
    pub reader: u32,
    /// When its lease runs out, by the control plane's clock, at the latest.
    pub lease_until: Timestamp,
}
