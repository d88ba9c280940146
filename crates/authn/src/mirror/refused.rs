//! The ids that are refused, each until its tokens have expired: the table that a million revocations fill.
//!
//! An entry is 20 bytes, so that a million of them and the room that a hash table needs stay far below 100 MB. Hashing is
//! keyed: some ids come from foreign issuers, who must not be able to choose what collides.

use std::collections::HashMap;

use ahash::RandomState;
use parking_lot::RwLock;

/// Shards, so that adding an id blocks few look-ups. A power of two.
const SHARDS: usize = 64;

/// An id in four pieces: a table of `u128` would round its entries up to 32 bytes.
type Id = [u32; 4];

/// Seconds since the epoch. The last one stands for all that come after it.
type Expiry = u32;

/// See the module's documentation. Look-ups allocate nothing.
#[derive(Debug)]
pub(super) struct RefusedIds {
    shards: Vec<RwLock<HashMap<Id, Expiry, RandomState>>>,
}

impl Default for RefusedIds {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }
}

impl RefusedIds {
    /// Refuses an id until `exp_secs`, or until later where that was said before.
    pub(super) fn insert(&self, id: u128, exp_secs: i64) {
        if let Some(shard) = self.shards.get(shard(id)) {
            let exp = expiry(exp_secs);
            let mut shard = shard.write();
            let held = shard.entry(pieces(id)).or_insert(exp);
            *held = (*held).max(exp);
        }
    }

    /// Whether an id is refused.
    pub(super) fn contains(&self, id: u128) -> bool {
        self.shards.get(shard(id)).is_some_and(|shard| shard.read().contains_key(&pieces(id)))
    }

    /// Forgets what was refused until before `secs`.
    pub(super) fn forget_before(&self, secs: i64) {
        let before = expiry(secs);
        for shard in &self.shards {
            let mut shard = shard.write();
            shard.retain(|_, exp| *exp >= before);
            if shard.capacity() > shard.len().saturating_mul(4) {
                shard.shrink_to_fit();
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }
}

/// Ids are random in their low bits (RFC 9562 §5.4, §5.7).
const fn shard(id: u128) -> usize {
    (id as usize) & (SHARDS - 1)
}

const fn pieces(id: u128) -> Id {
    [id as u32, (id >> 32) as u32, (id >> 64) as u32, (id >> 96) as u32]
}

fn expiry(secs: i64) -> Expiry {
    Expiry::try_from(secs.max(0)).unwrap_or(Expiry::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_refused_until_the_latest_time_that_was_said() {
        let ids = RefusedIds::default();
        let id = 0x0123_4567_89ab_cdef_0011_2233_4455_6677;
        ids.insert(id, 200);
        ids.insert(id, 100);
        ids.forget_before(200);
        assert!(ids.contains(id));
        ids.forget_before(201);
        assert!(!ids.contains(id));
        assert_eq!(ids.len(), 0);
    }

    #[test]
    fn ids_that_differ_in_one_bit_are_two() {
        let ids = RefusedIds::default();
        ids.insert(0, 1);
        for bit in 0..128 {
            assert!(!ids.contains(1 << bit), "bit {bit}");
        }
    }

    #[test]
    fn a_time_that_does_not_fit_is_never_forgotten_early() {
        let ids = RefusedIds::default();
        ids.insert(1, i64::MAX);
        ids.forget_before(i64::from(u32::MAX) + 5);
        assert!(ids.contains(1));
        ids.insert(2, -5);
        assert!(ids.contains(2));
    }
}
