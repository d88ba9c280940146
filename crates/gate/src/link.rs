//! What the gate asks of the rest of the world, on a miss and never when warm.

use std::{
    future::{Future, ready},
    ops::Deref,
    pin::Pin,
    sync::{Arc, Weak},
};

use authn::mirror::Identity;
use authz::PermissionSet;
use domain::{
    ApiKeyId, ApiKeyState, BootInstant, IssuerId, KeyPrefix, TenantId, Timestamp, UserId, decision::BindingsLevel,
    fact::Bindings,
};
use parking_lot::Mutex;

use crate::identity::Principal;

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

    /// The API key with this public part, as current as the log is applied; none for one that is not there. A link that
    /// leads to nobody who has keys knows none.
    fn api_key(&self, _prefix: KeyPrefix) -> Waiting<'_, Result<Option<Arc<HeldKey>>, KeysError>> {
        Box::pin(ready(Ok(None)))
    }

    /// Uses up the nonce of a request that was signed with a key: at one gateway of all, and once.
    fn take_nonce(&self, _key: ApiKeyId, _nonce: Arc<str>, _signed_at: Timestamp) -> Waiting<'_, Nonce> {
        Box::pin(ready(Nonce::Unavailable))
    }

    /// Hears that a key was used, of each at most once a minute. Must return at once.
    fn key_used(&self, _key: ApiKeyId, _at: Timestamp) {}

    /// Asks the revocation store itself whether it refuses a token, for routes that are served without proof.
    fn look_up(&self, token: Identity) -> Waiting<'_, LookUp>;
}

/// What a user may do, as this gateway holds it.
#[derive(Debug)]
pub struct HeldBindings {
    bindings: Bindings,
    /// When this gateway read it.
    pub read_at: BootInstant,
    /// What was last made of it. Tokens of one user have one principal, which holds these bindings.
    principal: Mutex<Weak<Principal>>,
}

impl HeldBindings {
    /// Read at `read_at`.
    pub const fn new(bindings: Bindings, read_at: BootInstant) -> Self {
        Self { bindings, read_at, principal: Mutex::new(Weak::new()) }
    }

    /// The principal that was last made of them, while somebody has it.
    pub(crate) fn principal(&self) -> Option<Arc<Principal>> {
        self.principal.lock().upgrade()
    }

    /// Other tokens of the user may have this principal, too.
    pub(crate) fn share(&self, principal: &Arc<Principal>) {
        *self.principal.lock() = Arc::downgrade(principal);
    }
}

impl Deref for HeldBindings {
    type Target = Bindings;
    fn deref(&self) -> &Bindings {
        &self.bindings
    }
}

/// An API key, as this gateway holds it.
#[derive(Debug)]
pub struct HeldKey {
    state: ApiKeyState,
    /// What it may do at most.
    pub(crate) scopes: PermissionSet,
}

impl HeldKey {
    /// Of what the control plane says.
    pub fn new(state: ApiKeyState) -> Self {
        Self { scopes: PermissionSet::new(&state.scopes), state }
    }
}

impl Deref for HeldKey {
    type Target = ApiKeyState;
    fn deref(&self) -> &ApiKeyState {
        &self.state
    }
}

/// Nobody could say whether there is such a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no cache holds the key's current state and the control API did not answer")]
pub struct KeysError;

/// What became of a nonce.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nonce {
    /// It was not used before, and is now.
    Fresh,
    /// It was used before, or may have been: nothing is remembered of the time it was signed at.
    Used,
    /// Nobody can say.
    Unavailable,
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
