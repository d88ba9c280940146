//! API keys, as the gate asks for them: from memory, else from the control API. And what became of them: nonces that were
//! used up, and when keys were used.
//!
//! A key is kept and used only while the log names no newer change of it. That there is no such key is remembered for a
//! moment, so that a flood of one invented key asks once; a flood of many is bounded by the gate, which lets an address
//! fail only so often.

use std::{collections::HashMap, sync::Arc, time::Duration};

use authn::Mirror;
use domain::{ApiKeyId, KeyPrefix, Timestamp};
use gate::link::{HeldKey, KeysError, Nonce};
use link::{
    log::{ControlPlane, MAX_KEY_USES},
    nonces::Nonces,
};
use moka::future::Cache;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};

/// Longest wait for a key.
const DEADLINE: Duration = Duration::from_millis(500);

/// Questions within the deadline, for answers that a change has overtaken.
const ATTEMPTS: usize = 3;

/// Longest wait for the place where nonces are.
const NONCE_DEADLINE: Duration = Duration::from_millis(500);

/// For so long it is known that there is no such key.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// Keys that are known not to be there. Some 100 bytes each.
const UNKNOWN: u64 = 100_000;

/// Keys that are asked for at once.
const QUESTIONS: usize = 32;

/// Uses that wait to be told; more are told by a later use.
const WAITING: usize = 4096;

/// Uses are gathered for this long.
const GATHER: Duration = Duration::from_secs(5);

/// Longest wait for the control API to take them.
const DELIVERY: Duration = Duration::from_secs(5);

/// See the module's documentation.
pub(crate) struct ApiKeys {
    mirror: Arc<Mirror>,
    plane: Option<Arc<dyn ControlPlane>>,
    nonces: Option<Arc<dyn Nonces>>,
    memory: Cache<KeyPrefix, Option<Arc<HeldKey>>>,
    unknown: Cache<KeyPrefix, ()>,
    questions: Semaphore,
    used: mpsc::Sender<(ApiKeyId, Timestamp)>,
}

impl ApiKeys {
    /// Keeps up to `entries` keys. Their uses come out at the other end.
    pub(crate) fn new(
        mirror: Arc<Mirror>,
        plane: Option<Arc<dyn ControlPlane>>,
        nonces: Option<Arc<dyn Nonces>>,
        entries: u64,
    ) -> (Self, mpsc::Receiver<(ApiKeyId, Timestamp)>) {
        let (used, uses) = mpsc::channel(WAITING);
        let unknown = Cache::builder().max_capacity(UNKNOWN).time_to_live(UNKNOWN_FOR).build();
        (
            Self {
                mirror,
                plane,
                nonces,
                memory: Cache::new(entries),
                unknown,
                questions: Semaphore::new(QUESTIONS),
                used,
            },
            uses,
        )
    }

    /// The key with this public part; none for one that is not there.
    pub(crate) async fn key(&self, prefix: KeyPrefix) -> Result<Option<Arc<HeldKey>>, KeysError> {
        timeout(DEADLINE, self.current(prefix)).await.unwrap_or(Err(KeysError))
    }

    async fn current(&self, prefix: KeyPrefix) -> Result<Option<Arc<HeldKey>>, KeysError> {
        for _ in 0..ATTEMPTS {
            if let Some(Some(key)) = self.memory.get(&prefix).await {
                if self.mirror.key_current(&key) {
                    return Ok(Some(key));
                }
                self.memory.invalidate(&prefix).await;
            }
            if self.unknown.contains_key(&prefix) {
                return Ok(None);
            }
            // One question for all who wait for it.
            let asked = self.memory.try_get_with_by_ref(&prefix, self.ask(&prefix)).await.map_err(|error| *error)?;
            match asked {
                None => {
                    self.memory.invalidate(&prefix).await;
                    self.unknown.insert(prefix, ()).await;
                    return Ok(None);
                }
                Some(key) if self.mirror.key_current(&key) => return Ok(Some(key)),
                Some(_) => {}
            }
        }
        Err(KeysError)
    }

    async fn ask(&self, prefix: &KeyPrefix) -> Result<Option<Arc<HeldKey>>, KeysError> {
        let Some(plane) = &self.plane else { return Ok(None) };
        // Who finds no place is told to come again, so that a flood of strangers keeps nobody else waiting.
        let _place = self.questions.try_acquire().map_err(|_| KeysError)?;
        let found = plane.api_key(prefix).await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "an API key cannot be looked up");
            KeysError
        })?;
        Ok(found.map(|state| Arc::new(HeldKey::new(state))))
    }

    /// Uses up a nonce.
    pub(crate) async fn take_nonce(&self, key: ApiKeyId, nonce: &str, signed_at: Timestamp) -> Nonce {
        let Some(nonces) = &self.nonces else { return Nonce::Unavailable };
        match timeout(NONCE_DEADLINE, nonces.take(key, nonce, signed_at)).await {
            Ok(Ok(true)) => Nonce::Fresh,
            Ok(Ok(false)) => Nonce::Used,
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "nonces cannot be checked");
                Nonce::Unavailable
            }
            Err(_) => Nonce::Unavailable,
        }
    }

    /// Notes that a key was used. Never waits; one that finds no place is noted with a later use.
    pub(crate) fn used(&self, key: ApiKeyId, at: Timestamp) {
        if self.used.try_send((key, at)).is_err() {
            tracing::debug!(key.id = %key, "a key's use is not noted");
        }
    }
}

/// Tells the control plane when keys were used, in batches. Runs until the gate is gone.
pub(crate) async fn tell(plane: Arc<dyn ControlPlane>, mut uses: mpsc::Receiver<(ApiKeyId, Timestamp)>) {
    let mut batch = Vec::new();
    while uses.recv_many(&mut batch, MAX_KEY_USES).await > 0 {
        sleep(GATHER).await;
        while batch.len() < MAX_KEY_USES
            && let Ok(use_of) = uses.try_recv()
        {
            batch.push(use_of);
        }
        let mut latest: HashMap<ApiKeyId, Timestamp> = HashMap::new();
        for (key, at) in batch.drain(..) {
            latest.entry(key).and_modify(|known| *known = at.max(*known)).or_insert(at);
        }
        match timeout(DELIVERY, plane.keys_used(latest.into_iter().collect())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "when keys were used is not noted");
            }
            Err(_) => tracing::warn!("when keys were used is not noted: no answer"),
        }
    }
}
