//! Programs that showed their secret lately. Where an address has shown so many wrong ones that no more are looked up, theirs still are:
//! whoever guesses behind the same address holds up the guesses alone.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use domain::{MachineClientId, Secret};

/// Most that are remembered; then all are forgotten, and each that comes is remembered anew.
const MOST: usize = 10_000;

/// The hash of the secret that each showed last.
#[derive(Debug, Default)]
pub(crate) struct KnownPrograms(Mutex<HashMap<MachineClientId, Secret<[u8; 32]>>>);

impl KnownPrograms {
    /// Remembers a secret that was right.
    pub(crate) fn learn(&self, id: MachineClientId, hash: &Secret<[u8; 32]>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&id) {
            known.clear();
        }
        known.insert(id, hash.clone());
    }

    /// Whether a secret was right when it was last shown. That it is so still is for the database to say.
    pub(crate) fn knows(&self, id: MachineClientId, hash: &Secret<[u8; 32]>) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id) == Some(hash)
    }
}
