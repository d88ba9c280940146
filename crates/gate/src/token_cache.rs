//! Verified credentials, kept by what they are found by.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use quick_cache::{UnitWeighter, sync::Cache};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::verify::Known;

/// Verified tokens by a keyed 128-bit PRF of their exact bytes (SipHash-2-4-128, key per process): equal places mean
/// equal tokens, and nobody outside can make two that collide.
pub(crate) struct TokenCache {
    tokens: Cache<Place, Arc<Known>, UnitWeighter, HashIsPlace>,
    key: [u8; 16],
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Where a credential is kept. Two words, not one of 128 bits: those would stand at every sixteenth byte only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place([u64; 2]);

impl Place {
    fn of(hasher: &SipHasher24) -> Self {
        let hash = hasher.finish128();
        Self([hash.h1, hash.h2])
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// A place is a hash already, by a key that nobody knows.
#[derive(Clone, Copy, Debug, Default)]
struct HashIsPlace(u64);

impl BuildHasher for HashIsPlace {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for HashIsPlace {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// How often a token was found and missed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CacheCounts {
    /// Tokens kept now.
    pub entries: usize,
    /// Found since the start.
    pub hits: u64,
    /// Missed since the start.
    pub misses: u64,
}

impl TokenCache {
    pub(crate) fn new(entries: usize) -> Self {
        let mut key = [0; 16];
        // Without randomness there is no cache: a failing source leaves capacity zero instead of a known key.
        let entries = if aws_lc_rs::rand::fill(&mut key).is_ok() { entries } else { 0 };
        let tokens = Cache::with(entries, entries as u64, UnitWeighter, HashIsPlace::default(), Default::default());
        Self { tokens, key, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    pub(crate) fn key(&self, token: &str) -> Place {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(token.as_bytes());
        Place::of(&hasher)
    }

    /// The place of what is made of several texts. No token begins with a NUL.
    pub(crate) fn key_of_parts(&self, parts: &[&[u8]]) -> Place {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        for part in parts {
            hasher.write_u8(0);
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        Place::of(&hasher)
    }

    pub(crate) fn find(&self, place: Place) -> Option<Arc<Known>> {
        self.tokens.get(&place)
    }

    pub(crate) fn keep(&self, place: Place, known: &Arc<Known>) {
        self.tokens.insert(place, Arc::clone(known));
    }

    pub(crate) fn forget(&self, place: Place) {
        self.tokens.remove(&place);
    }

    pub(crate) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> CacheCounts {
        CacheCounts {
            entries: self.tokens.len(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}
