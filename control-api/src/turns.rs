//! One at a time for each key, within this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

/// A turn; over when it is dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// Keys that something is being done for.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    keys: Mutex<HashMap<String, Weak<Lock<()>>>>,
}

impl Turns {
    /// Waits for one's turn, which lasts until the guard is dropped.
    pub(crate) async fn take(&self, key: &str) -> Turn {
        self.of(key).lock_owned().await
    }

    /// The lock of a key; gone when nobody holds it.
    fn of(&self, key: &str) -> Arc<Lock<()>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = keys.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        keys.insert(key.into(), Arc::downgrade(&lock));
        lock
    }
}
