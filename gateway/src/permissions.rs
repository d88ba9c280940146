//! What the gate asks of the outside, on a miss: role bindings, a renewed lease, the revocation store itself.
//!
//! Bindings come from L1 (memory, one question for all who wait for it), then L2 (`redis.cache`, shared by the fleet),
//! then L3 (the control API). An answer is kept and used only while the log names no newer change of that user, so
//! that a slow answer never overwrites a demotion.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use authn::{Mirror, mirror::Identity};
use domain::{
    ApiKeyId, Clock, IssuerId, KeyPrefix, TenantId, Timestamp, UserId, decision::BindingsLevel, fact::Bindings,
};
use gate::{
    BindingsError, Link, LookUp,
    link::{Found, HeldBindings, HeldKey, KeysError, Nonce, Waiting},
};
use link::{
    bindings_cache::BindingsCache,
    log::{ControlPlane, LogFollower, RedisCarrier},
};
use moka::future::Cache;
use tokio::time::timeout;

use crate::{api_keys::ApiKeys, issuer_keys::IssuerKeys, metrics::Metrics};

/// Longest wait for bindings, over all levels.
const BINDINGS_DEADLINE: Duration = Duration::from_millis(500);

/// Questions within the deadline, for answers that a change has overtaken.
const BINDINGS_ATTEMPTS: usize = 3;

/// Longest time a request waits for the lease to be renewed.
const RENEWAL: Duration = Duration::from_millis(100);

/// Longest wait for the revocation store.
const LOOK_UP_DEADLINE: Duration = Duration::from_millis(100);

/// The gate's outside.
pub(crate) struct Permissions {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    /// As it was found.
    pub(crate) memory: Cache<(TenantId, UserId), Found>,
    pub(crate) shared: Option<BindingsCache>,
    pub(crate) plane: Option<Arc<dyn ControlPlane>>,
    pub(crate) store: Option<RedisCarrier>,
    pub(crate) issuer_keys: IssuerKeys,
    pub(crate) api_keys: ApiKeys,
    /// Set once the log is followed.
    pub(crate) follower: Arc<OnceLock<Arc<LogFollower>>>,
}

impl Permissions {
    async fn current_bindings(&self, tenant: TenantId, user: UserId) -> Result<Found, BindingsError> {
        let is_current = |bindings: &Bindings| self.mirror.bindings_current(tenant, user, bindings);
        let key = (tenant, user);
        for _ in 0..BINDINGS_ATTEMPTS {
            if let Some(known) = self.memory.get(&key).await {
                if is_current(&known.bindings) {
                    self.metrics.bindings("memory");
                    return Ok(Found { level: BindingsLevel::Memory, ..known });
                }
                self.memory.invalidate(&key).await;
            }
            let asked = self.memory.try_get_with(key, self.ask(tenant, user)).await.map_err(|error| *error)?;
            if is_current(&asked.bindings) {
                return Ok(asked);
            }
        }
        Err(BindingsError)
    }

    async fn ask(&self, tenant: TenantId, user: UserId) -> Result<Found, BindingsError> {
        // An answer is as old as its question.
        let asked_at = self.clock.boot_now();
        match self.shared_bindings(tenant, user).await {
            Some(bindings) if self.mirror.bindings_current(tenant, user, &bindings) => {
                self.metrics.bindings("shared");
                let bindings = Arc::new(HeldBindings::new(bindings, asked_at));
                return Ok(Found { bindings, level: BindingsLevel::Shared });
            }
            Some(_) | None => {}
        }
        let plane = self.plane.as_ref().ok_or(BindingsError)?;
        let bindings = plane.bindings(tenant, user).await.map_err(|error| {
            self.metrics.bindings("failed");
            tracing::warn!(tenant.id = %tenant, user.id = %user, error = &error as &dyn std::error::Error, "no bindings");
            BindingsError
        })?;
        self.metrics.bindings("control_api");
        if let Some(shared) = &self.shared {
            // Others will ask the control API, as we did.
            if let Err(error) = shared.keep(tenant, user, &bindings).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "bindings are not shared");
            }
        }
        Ok(Found::fresh(bindings, asked_at))
    }

    async fn shared_bindings(&self, tenant: TenantId, user: UserId) -> Option<Bindings> {
        let shared = self.shared.as_ref()?.bindings(tenant, user).await;
        shared.unwrap_or_else(|error| {
            self.metrics.bindings("shared_failed");
            tracing::warn!(error = &error as &dyn std::error::Error, "shared bindings cannot be read");
            None
        })
    }
}

impl Link for Permissions {
    fn bindings(&self, tenant: TenantId, user: UserId) -> Waiting<'_, Result<Found, BindingsError>> {
        Box::pin(async move {
            timeout(BINDINGS_DEADLINE, self.current_bindings(tenant, user)).await.unwrap_or(Err(BindingsError))
        })
    }

    fn renewal(&self) -> Waiting<'_, ()> {
        Box::pin(async move {
            if let Some(follower) = self.follower.get() {
                follower.renewal(RENEWAL).await;
            }
        })
    }

    fn api_key(&self, prefix: KeyPrefix) -> Waiting<'_, Result<Option<Arc<HeldKey>>, KeysError>> {
        Box::pin(self.api_keys.key(prefix))
    }

    fn take_nonce(&self, key: ApiKeyId, nonce: Arc<str>, signed_at: Timestamp) -> Waiting<'_, Nonce> {
        Box::pin(async move { self.api_keys.take_nonce(key, &nonce, signed_at).await })
    }

    fn key_used(&self, key: ApiKeyId, at: Timestamp) {
        self.api_keys.used(key, at);
    }

    fn key_unknown(&self, issuer: IssuerId) {
        self.issuer_keys.lacking(issuer);
    }

    fn look_up(&self, token: Identity) -> Waiting<'_, LookUp> {
        Box::pin(async move {
            let Some(store) = &self.store else { return LookUp::Unavailable };
            match timeout(LOOK_UP_DEADLINE, store.refuses(&token)).await {
                Ok(Ok(true)) => LookUp::Refused,
                Ok(Ok(false)) => LookUp::Clear,
                Ok(Err(error)) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the revocation store does not answer");
                    LookUp::Unavailable
                }
                Err(_) => LookUp::Unavailable,
            }
        })
    }
}
