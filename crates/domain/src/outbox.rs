//! The outbox: what has to be done after a commit, left in the transaction of the change.

use serde::{Deserialize, Serialize};

use crate::{OutboxEventId, ProjectId, Secret, TenantId, Timestamp};

/// What is to be done. A job takes the events of one kind.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxKind {
    /// A mail is to be sent.
    Mail,
    /// A text to a phone is to be sent.
    Sms,
    /// A step of a tenant's provisioning is to be done.
    Provisioning,
}

/// Something to be done.
#[derive(Clone, Debug)]
pub struct NewOutboxEvent {
    /// Its id: the same at each attempt, for whoever must not do it twice.
    pub id: OutboxEventId,
    /// What is to be done.
    pub kind: OutboxKind,
    /// For whose project, if any.
    pub project_id: Option<ProjectId>,
    /// For whose tenant, if any.
    pub tenant_id: Option<TenantId>,
    /// The rest, as JSON. It is sealed where it is kept, so it may hold one-time tokens.
    pub payload: Secret<String>,
}

/// Something that a job took on.
#[derive(Clone, Debug)]
pub struct OutboxEvent {
    /// Its id: the same at each attempt.
    pub id: OutboxEventId,
    /// What is to be done.
    pub kind: OutboxKind,
    /// For whose project, if any.
    pub project_id: Option<ProjectId>,
    /// For whose tenant, if any.
    pub tenant_id: Option<TenantId>,
    /// The rest, as JSON.
    pub payload: Secret<String>,
    /// How often it was tried, with this time.
    pub attempts: u32,
    /// When it was left.
    pub created_at: Timestamp,
    /// Changes with each claim.
    pub epoch: u64,
}

/// What became of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attempted {
    /// It is done.
    Done,
    /// It failed and is due again then.
    Again {
        /// When.
        at: Timestamp,
        /// Why it failed. Names no secret.
        reason: String,
    },
    /// It failed for good. It is kept for a while, for operators to look at.
    GivenUp {
        /// Why. Names no secret.
        reason: String,
    },
}
