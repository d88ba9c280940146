//! A map whose copies share what does not change: of a copy that is changed, one chunk is copied, whatever there is beside
//! it. A project may have a hundred thousand tenants, and a change is of one.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use domain::TenantId;

/// Entries of a chunk, on average, at most.
const FULL: usize = 256;

/// What decides on a key's chunk.
pub(crate) trait Spread {
    /// A number that differs between most keys in its low bits.
    fn spread(&self) -> u64;
}

impl Spread for TenantId {
    fn spread(&self) -> u64 {
        let (high, low) = self.uuid().as_u64_pair();
        high ^ low
    }
}

impl Spread for str {
    fn spread(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl Spread for Box<str> {
    fn spread(&self) -> u64 {
        (**self).spread()
    }
}

/// See the module's text.
#[derive(Clone, Debug)]
pub(crate) struct Chunked<K, V> {
    /// A power of two.
    chunks: Vec<Arc<HashMap<K, V>>>,
    len: usize,
}

impl<K, V> Default for Chunked<K, V> {
    fn default() -> Self {
        Self { chunks: vec![Arc::default()], len: 0 }
    }
}

impl<K: Hash + Eq + Clone + Spread, V: Clone> Chunked<K, V> {
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + Spread + ?Sized,
    {
        self.chunks.get(self.place(key.spread()))?.get(key)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.len >= self.chunks.len() * FULL {
            self.grow();
        }
        let at = self.place(key.spread());
        if let Some(chunk) = self.chunks.get_mut(at)
            && Arc::make_mut(chunk).insert(key, value).is_none()
        {
            self.len += 1;
        }
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + Spread + ?Sized,
    {
        let at = self.place(key.spread());
        if let Some(chunk) = self.chunks.get_mut(at)
            && chunk.contains_key(key)
        {
            Arc::make_mut(chunk).remove(key);
            self.len -= 1;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "only the low bits are asked for")]
    fn place(&self, spread: u64) -> usize {
        spread as usize & (self.chunks.len() - 1)
    }

    /// Twice as many chunks.
    fn grow(&mut self) {
        let mut wider = Self { chunks: vec![Arc::default(); self.chunks.len() * 2], len: self.len };
        for (key, value) in self.chunks.iter().flat_map(|chunk| chunk.iter()) {
            let at = wider.place(key.spread());
            if let Some(chunk) = wider.chunks.get_mut(at) {
                Arc::make_mut(chunk).insert(key.clone(), value.clone());
            }
        }
        *self = wider;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map_and_a_copy_shares_all_but_the_chunk_that_changes() {
        let name = |n: usize| -> Box<str> { format!("tenant-{n}").into() };
        let mut map = Chunked::<Box<str>, usize>::default();
        for n in 0..10_000 {
            map.insert(name(n), n);
            map.insert(name(n), n + 1);
        }
        assert_eq!(map.len, 10_000);
        assert!((0..10_000).all(|n| map.get(&*name(n)) == Some(&(n + 1))));
        let mut copy = map.clone();
        copy.remove("tenant-7");
        copy.remove("tenant-7");
        copy.remove("nobody");
        assert_eq!((copy.get("tenant-7"), copy.len), (None, 9_999));
        assert_eq!(map.get("tenant-7"), Some(&8), "the original keeps it");
        let apart = map.chunks.iter().zip(&copy.chunks).filter(|(one, other)| !Arc::ptr_eq(one, other)).count();
        assert_eq!(apart, 1);
        assert!(map.chunks.iter().all(|chunk| chunk.len() < 3 * FULL));
    }
}
