//! Facts: what the log says, and where in the log it says it.
//!
//! Facts only grow. A fact may be applied twice or in any order among its neighbours without changing what is refused
//! in the end; only the loss of one matters, and that is what [`Position`] and the lease detect.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ApiKeyId, RoleId, SessionId, TenantId, Timestamp, TokenId, UserId};

/// How long a cutoff is remembered that reaches one user's foreign tokens. Whoever issues them should let none live
/// longer; of a tenant, the snapshot remembers it for good.
pub const CUTOFF_REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Something that restricts, once and for all.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// An access token is refused. Forgotten once it has expired on every clock, skew included.
    TokenRefused {
        /// The token's `jti`.
        jti: TokenId,
        /// The token's `exp`.
        exp: Timestamp,
    },
    /// A session has ended; so have all tokens that carry its `sid`.
    SessionEnded {
        /// The token's `sid`.
        sid: SessionId,
        /// When the last access token that carries it expires at the latest.
        exp: Timestamp,
    },
    /// The user's generation in a tenant is now `generation`; tokens with a lower `ug` are refused.
    UserGeneration {
        /// In which tenant.
        tenant: TenantId,
        /// Whose.
        user: UserId,
        /// The new generation. Only grows.
        generation: u64,
        /// Foreign tokens carry no generation: those issued until then are refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cutoff: Option<Timestamp>,
    },
    /// The tenant's generation is now `generation`; tokens with a lower `tg` are refused.
    TenantGeneration {
        /// Whose.
        tenant: TenantId,
        /// The new generation. Only grows.
        generation: u64,
        /// Foreign tokens carry no generation: those issued until then are refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cutoff: Option<Timestamp>,
    },
    /// What the user may do in the tenant changed: cached bindings older than this fact are not used.
    BindingsChanged {
        /// In which tenant.
        tenant: TenantId,
        /// Whose.
        user: UserId,
    },
    /// What many users may do in the tenant changed: everybody's cached bindings there that are older than this fact are not
    /// used. Left in place of very many [`Fact::BindingsChanged`].
    TenantBindingsChanged {
        /// In which tenant.
        tenant: TenantId,
    },
    /// What an API key is worth changed: what is known of it from before this fact is not used.
    KeyChanged {
        /// The key.
        key: ApiKeyId,
    },
    /// Cached bindings of everybody, and what is known of every API key, that are older than this fact are not used.
    AllBindingsChanged,
}

/// A fact's number in the log: gap-free, from 1, given by the tick and never at insert.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first fact.
    pub const ZERO: Self = Self(0);
    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A random number written with each fact. A gateway whose last applied `(seq, tag)` the database does not know has
/// followed a history that no longer exists (restored backup, lossy failover) and resynchronises in full.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(pub u64);

/// Whose numbers these are: random, made with the log's head. A database that was restored from a backup counts on
/// from where the backup was made, and gives numbers a second time; from then on they are of another history.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(pub u64);

/// A state of the snapshot.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct SnapshotVersion {
    /// Who counts the revision; zero before the first state.
    pub history: History,
    /// The revision.
    pub revision: u64,
}

/// How far a reader has applied the log without a gap.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Whose numbers these are; zero for who has read nothing yet.
    pub history: History,
    /// Number of the last applied fact; [`Seq::ZERO`] for none.
    pub seq: Seq,
    /// Its tag; zero for none.
    pub tag: Tag,
}

/// A fact with its place in the log.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct NumberedFact {
    /// Its number.
    pub seq: Seq,
    /// Its random tag.
    pub tag: Tag,
    /// What it says.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What the control plane answers a gateway that asks how current it is. The tick behind it began after the question
/// arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// The log's head. Only who has applied everything up to it may renew its lease.
    pub head: Position,
    /// The lowest snapshot revision that may be served under this lease.
    pub min_revision: u64,
    /// The asker's position is not part of this log's history: forget everything and read it anew.
    pub resync: bool,
}

/// What a principal may do in a tenant: bindings, never expanded permissions.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Bindings {
    /// Who counts `as_of`. Bindings of another history are of no use.
    #[serde(default)]
    pub history: History,
    /// The log's head in the SQL state this was read from. Usable while no newer fact names this user or tenant.
    pub as_of: Seq,
    /// False when the user is disabled, suspended or gone, or the membership is not active.
    pub active: bool,
    /// Tenant-wide roles.
    pub roles: Vec<RoleId>,
    /// Roles within one organisational unit.
    pub unit_roles: Vec<(crate::OrgUnitId, RoleId)>,
}
