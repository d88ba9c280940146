//! The gateway's side of the log of restrictions (`docs/architecture.md`): SQL proves, Redis carries.
//!
//! ```text
//! control API:  commit ─▶ tick numbers facts ─▶ publish hints ─────────────┐ (lost, repeated, reordered: harmless)
//! gateway:      t0 ─▶ prove(position) ─▶ fetch what is missing ─▶ lease until t0 + 2 s, if all is applied
//! control API:        note: this gateway may hold a lease for 2 s ─▶ tick ─▶ answer
//! ```
//!
//! [`ControlPlane`] is what a gateway asks; [`FactCarrier`] brings facts early. [`LogFollower`] owns the loop between
//! them. [`TickQueue`] is the control API's half of a proof: a tick that began after the question arrived.
//!
//! **Why hints are chained.** A position `(seq, tag)` is checked against SQL, but only the last one. Were a fact of a
//! lost history (restored backup) applied as number 6 and the true number 7 after it, the position would look right
//! and the true number 6 would be missing. Therefore a [`Hint`] names the tag before it, and is applied only on top of
//! exactly that position: a position known to SQL then proves everything below it.

mod carrier;
mod follower;
mod redis_carrier;
mod tick;

use async_trait::async_trait;
use domain::{
    ApiKeyId, ApiKeyState, Decision, Fact, GatewayId, IssuerId, KeyPrefix, NumberedFact, Position, SnapshotVersion,
    Tag, TenantId, Timestamp, UserId,
    access::AccessReport,
    fact::{Bindings, Proof},
    quota::{UsageCount, UsagePart},
    snapshot::Change,
};
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::{
    carrier::{MemoryCarrier, NoCarrier},
    follower::{FollowerSettings, LEASE, LogFollower, Round, Silence},
    redis_carrier::RedisCarrier,
    tick::{TickError, TickQueue},
};
use crate::{LinkError, foreign_keys::ForeignKeys};

/// Most uses of keys that are told at once.
pub const MAX_KEY_USES: usize = 1000;

/// What a gateway asks a control API. Every method may be called at any time and again. Two note who asks: `prove` that
/// this gateway may hold a lease from now on, `report` what it has applied.
#[async_trait]
pub trait ControlPlane: Send + Sync {
    /// Where the log stands, for a gateway that has applied it up to `at`. The tick behind the answer began after this
    /// question arrived, and after it was noted for all to see that the gateway may hold a lease for [`LEASE`] from now:
    /// whoever commits too late for that tick finds the note, and waits for this gateway.
    async fn prove(&self, at: Position, gateway: &GatewayIdentity) -> Result<Proof, LinkError>;

    /// All facts after `at`, in order and without a gap.
    ///
    /// # Errors
    /// [`LinkError::UnknownPosition`] when `at` is not part of the log's history.
    async fn facts_after(&self, at: Position) -> Result<Vec<NumberedFact>, LinkError>;

    /// Every fact that still refuses something, and the head of the log in the same SQL state.
    async fn live_facts(&self) -> Result<LiveFacts, LinkError>;

    /// What a user may do in a tenant, as of a stated place in the log.
    async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Bindings, LinkError>;

    /// The API key with this public part, as of a stated place in the log; none for one that is not there, and from a
    /// control plane that has no keys.
    async fn api_key(&self, _prefix: &KeyPrefix) -> Result<Option<ApiKeyState>, LinkError> {
        Ok(None)
    }

    /// Tells when keys were last used, at most [`MAX_KEY_USES`]. One that has no keys does nothing.
    async fn keys_used(&self, _uses: Vec<(ApiKeyId, Timestamp)>) -> Result<(), LinkError> {
        Ok(())
    }

    /// The snapshot and then its changes, from a version already held or from nothing: in full where the one held is of
    /// another history. Ends when the connection does.
    async fn feed(
        &self,
        from: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError>;

    /// Asks for the key set of an external issuer to be fetched: a token named a `kid` that it does not have. Whether and
    /// when is the control plane's to decide; one that fetches nothing does nothing.
    async fn refresh_issuer(&self, _issuer: IssuerId) -> Result<(), LinkError> {
        Ok(())
    }

    /// Says what this gateway has applied. Sent when that changed, and with every proof.
    async fn report(&self, status: GatewayStatus) -> Result<(), LinkError>;

    /// Tells how far the counter is with what tenants use of products, at most [`domain::quota::MAX_COUNTS`], and is
    /// answered for each the parts of all counters. One that keeps none answers nothing.
    async fn record_usage(&self, _counter: Uuid, _counts: Vec<UsageCount>) -> Result<Vec<Vec<UsagePart>>, LinkError> {
        Ok(Vec::new())
    }

    /// Tells what was asked of organisational units. One that keeps nothing of that does nothing.
    async fn record_access(&self, _report: AccessReport) -> Result<(), LinkError> {
        Ok(())
    }

    /// Tells of decisions, at most [`domain::decision::MAX_BATCH`]. One that keeps none does nothing.
    async fn record(&self, _decisions: Vec<Decision>) -> Result<(), LinkError> {
        Ok(())
    }
}

/// Brings facts before they are asked for. Loss, repeats and reordering are harmless.
#[async_trait]
pub trait FactCarrier: Send + Sync {
    /// Facts published from now on. Ends only when the carrier is dropped.
    fn subscribe(&self) -> BoxStream<'static, Hint>;

    /// What other services refuse by themselves, to be taken over into the log; none where there are no such services.
    fn foreign(&self) -> Option<ForeignKeys> {
        None
    }

    /// Whether what carries the facts suits its purpose.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] for a Redis that evicts.
    fn fitness(&self) -> Result<(), LinkError> {
        Ok(())
    }

    /// Publishes facts that were just numbered.
    async fn publish(&self, hints: &[Hint]) -> Result<(), LinkError>;
}

/// A fact on its way, with the tag of the fact before it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    /// Tag of the fact numbered one lower; zero before the first.
    pub after: Tag,
    /// The fact.
    #[serde(flatten)]
    pub fact: NumberedFact,
}

impl Hint {
    /// Facts numbered one after the other, on top of the head there was before them.
    pub fn chain(head: Position, facts: impl IntoIterator<Item = NumberedFact>) -> Vec<Self> {
        let mut after = head.tag;
        facts.into_iter().map(|fact| Self { after: std::mem::replace(&mut after, fact.tag), fact }).collect()
    }
}

/// Everything the log still refuses, read in one SQL state.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LiveFacts {
    /// The log's head in that state.
    pub head: Position,
    /// The facts, in any order.
    pub facts: Vec<Fact>,
}

/// One message of the feed.
#[derive(Clone, Debug)]
pub enum FeedMessage {
    /// A part of the full state. The old snapshot serves until `last`.
    Full {
        /// Latest rows of some entities.
        changes: Vec<Change>,
        /// Whether the state is complete with this part.
        last: bool,
        /// The version the full state has; the same in every part.
        version: SnapshotVersion,
    },
    /// What changed since the message before.
    Delta {
        /// Latest rows of the entities that changed.
        changes: Vec<Change>,
        /// The revision after them.
        revision: u64,
    },
    /// Nothing changed up to this revision.
    Heartbeat {
        /// The revision.
        revision: u64,
    },
}

/// Which gateway this is.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct GatewayIdentity {
    /// Its id, given when it was enrolled.
    pub id: GatewayId,
    /// Its name, unique in its fleet.
    pub name: String,
    /// Gateways of one fleet get the same certificates.
    pub fleet: String,
}

/// What a gateway says of itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Who. Over mTLS the certificate decides, and another name here is refused.
    pub gateway: GatewayIdentity,
    /// The newest form of snapshot entities it reads ([`domain::snapshot::READER`]).
    pub reader: u32,
    /// The snapshot it serves; 0 while that is of another history than `applied`.
    pub applied_revision: u64,
    /// How far it has applied the log.
    pub applied: Position,
    /// What is left of its lease, in milliseconds; zero without one.
    pub lease_remaining_ms: u64,
}
