//! The audit trail: who did what to which thing, in Retraced's shape, with a hash chain per tenant.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AuditEventId, ProjectId, RequestId, TenantId, Timestamp};

/// Which of the four things was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Crud {
    /// Created.
    C,
    /// Read.
    R,
    /// Updated.
    U,
    /// Deleted.
    D,
}

/// What kind of thing acted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A user or a member of the platform's staff.
    User,
    /// A service with a service key or client certificate.
    Service,
    /// A job of ours, such as a sweep or the start.
    System,
    /// Nobody known: a failed sign-in.
    Anonymous,
}

/// Who acted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// Its id, where it has one.
    pub id: Option<Uuid>,
    /// Its name at that time.
    pub name: String,
}

/// What was acted on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Kind of thing, such as `route`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name at that time.
    pub name: String,
}

/// One thing that happened, as the code that did it reports it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Dotted name such as `route.created`.
    pub action: String,
    /// Which of the four.
    pub crud: Crud,
    /// On what.
    pub target: Target,
    /// Whose project, if any.
    pub project_id: Option<ProjectId>,
    /// Whose tenant, if any.
    pub tenant_id: Option<TenantId>,
    /// Whether it failed.
    pub is_failure: bool,
    /// What changed: names and values, never secrets.
    pub fields: serde_json::Value,
}

/// Where an act came from.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Client address.
    pub source_ip: Option<std::net::IpAddr>,
    /// `User-Agent`, cut at 256 bytes.
    pub user_agent: Option<String>,
    /// The request it was part of.
    pub request_id: Option<RequestId>,
}

/// One row of the trail.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Its id.
    pub id: AuditEventId,
    /// What happened.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// Who did it.
    pub actor: Actor,
    /// From where.
    pub origin: Origin,
    /// When it was written.
    pub received: Timestamp,
    /// Place in its tenant's chain; none until the next tick.
    pub chain: Option<ChainLink>,
}

/// A row's place in the hash chain of its tenant (or of the platform).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ChainLink {
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Hex SHA-256 of the row before; 64 zeros for the first.
    pub prev_hash: String,
    /// Hex SHA-256 over `prev_hash` and this row.
    pub hash: String,
}
