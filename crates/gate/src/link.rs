//! What the gate asks of the rest of the world, on a miss and never when warm.

use std::{future::Future, ops::Deref, pin::Pin, sync::Arc};

use authn::mirror::Identity;
use domain::{BootInstant, IssuerId, TenantId, UserId, decision::BindingsLevel, fact::Bindings};

/// A boxed future: only cold paths wait.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The outside of a gate. The gateway implements it over its caches, Redis and the control API; each call has its own
/// deadline there.
pub trait Link: Send + Sync {
    /// What a user may do in a tenant, as current as the log is applied.
    fn bindings(&self, tenant: TenantId, user: UserId) -> Waiting<'_, Result<Found, BindingsError>>;

    /// Ends as soon as the lease was renewed, or after the longest time a request may wait for that (100 ms).
    fn renewal(&self) -> Waiting<'_, ()>;

    /// Hears that a token of an external issuer named a `kid` which its key set does not have. Must return at once; the
    /// token is refused whatever becomes of it. A link that leads to nobody who fetches key sets does nothing.
    fn key_unknown(&self, _issuer: IssuerId) {}

    /// Asks the revocation store itself whether it refuses a token, for routes that are served without proof.
    fn look_up(&self, token: Identity) -> Waiting<'_, LookUp>;
}

/// What a user may do, as this gateway holds it.
#[derive(Debug)]
pub struct HeldBindings {
    bindings: Bindings,
    /// When this gateway read it.
    pub read_at: BootInstant,
}

impl HeldBindings {
    /// Read at `read_at`.
    pub const fn new(bindings: Bindings, read_at: BootInstant) -> Self {
        Self { bindings, read_at }
    }
}

impl Deref for HeldBindings {
    type Target = Bindings;
    fn deref(&self) -> &Bindings {
        &self.bindings
    }
}

/// The answer to a question for bindings.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was found.
    pub bindings: Arc<HeldBindings>,
    /// Where.
    pub level: BindingsLevel,
}

impl Found {
    /// What the control API said at `read_at`.
    pub fn fresh(bindings: Bindings, read_at: BootInstant) -> Self {
        Self { bindings: Arc::new(HeldBindings::new(bindings, read_at)), level: BindingsLevel::ControlApi }
    }
}

/// Nobody could say what a user may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no cache holds current bindings and the control API did not answer")]
pub struct BindingsError;

/// What the revocation store says of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LookUp {
    /// It does not refuse it.
    Clear,
    /// It refuses it.
    Refused,
    /// It does not answer, or there is none.
    Unavailable,
}
