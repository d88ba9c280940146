//! What was asked of organisational units at the edge, as gateways tell it.
//!
//! Two things travel together and are unlike. *Records*, one for each request: told within a budget, and lost rather than
//! waited for. *Counts*, which only grow: told until they arrived, so that they are whole however often a gateway tells.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    OrgUnitId, RequestId, TenantId, Timestamp, UserId,
    decision::Shown,
    quota::{Period, Span},
};

/// Most records that are told at once.
pub const MAX_RECORDS: usize = 256;

/// Most counts that are told at once.
pub const MAX_COUNTS: usize = 256;

/// Longest report, in bytes of JSON.
pub const MAX_BYTES: usize = 1024 * 1024;

/// One request that was about an organisational unit.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// The request.
    pub request_id: RequestId,
    /// When it was over.
    pub at: Timestamp,
    /// The tenant it ran as.
    pub tenant_id: TenantId,
    /// The unit it was about.
    pub ou_id: OrgUnitId,
    /// Who asked: a user's id, or what an external issuer calls them.
    pub subject: Shown,
    /// From which address.
    pub ip: IpAddr,
    /// Method.
    pub method: Shown,
    /// Canonical path, without query.
    pub path: Shown,
    /// Status of the response; 0 when there was none.
    pub status: u16,
    /// With which program.
    pub user_agent: Option<Shown>,
    /// From its first byte to the end of its response, in microseconds.
    pub latency_us: u64,
}

impl AccessRecord {
    /// The user, where it was one of ours.
    pub fn user(&self) -> Option<UserId> {
        self.subject.parse().ok()
    }
}

/// How far one gateway is with what a unit asks for in a day of UTC.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct UnitCount {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The unit.
    pub ou_id: OrgUnitId,
    /// Which day since 1970-01-01, from 0.
    pub day: u32,
    /// What was asked for.
    #[serde(flatten)]
    pub usage: UnitUsage,
}

impl UnitCount {
    /// The day.
    pub const fn span(&self) -> Span {
        Span::numbered(Period::Day, self.day)
    }
}

/// What a unit asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct UnitUsage {
    /// Requests that were let through.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes_received: u64,
    /// Bytes of the bodies they were answered with.
    pub bytes_sent: u64,
}

impl UnitUsage {
    /// The most that is kept: no gateway counts as far.
    pub const MOST: u64 = 1 << 56;

    /// With one request more.
    pub const fn add(&mut self, bytes_received: u64, bytes_sent: u64) {
        self.requests = self.requests.saturating_add(1);
        self.bytes_received = self.bytes_received.saturating_add(bytes_received);
        self.bytes_sent = self.bytes_sent.saturating_add(bytes_sent);
    }

    /// Whether no number of it is beyond what is kept.
    pub const fn is_possible(&self) -> bool {
        self.requests <= Self::MOST && self.bytes_received <= Self::MOST && self.bytes_sent <= Self::MOST
    }
}

/// What a gateway tells at once.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct AccessReport {
    /// The gateway, from its start to its end.
    pub counter: Uuid,
    /// Requests, at most [`MAX_RECORDS`].
    pub records: Vec<AccessRecord>,
    /// Counts, at most [`MAX_COUNTS`].
    pub counts: Vec<UnitCount>,
}

impl AccessReport {
    /// Whether it is one that a gateway may tell.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.records.len() > MAX_RECORDS || self.counts.len() > MAX_COUNTS {
            return Err("more than 256 records or counts at once");
        }
        if !self.counts.iter().all(|count| count.usage.is_possible()) {
            return Err("a count beyond all that can be counted");
        }
        Ok(())
    }
}
