//! Ids of requests: UUIDv7 (RFC 9562 §5.7), so that those of one gateway sort by time.

use std::{
    cell::RefCell,
    hash::{BuildHasher as _, RandomState},
};

use aws_lc_rs::rand;
use domain::{Clock, RequestId};
use uuid::Builder;

/// Random bytes of one id.
const RANDOM: usize = 10;

/// Ids whose random bytes are drawn at once: asking the system for each would be a system call for each request.
const DRAWN: usize = 100;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; RANDOM * DRAWN], left: 0 }) };
}

/// Random bytes that no id has had yet.
struct Pool {
    bytes: [u8; RANDOM * DRAWN],
    /// Ids that they are enough for.
    left: usize,
}

impl Pool {
    fn take(&mut self) -> [u8; RANDOM] {
        if self.left == 0 {
            if rand::fill(&mut self.bytes).is_err() {
                self.make_do();
            }
            self.left = DRAWN;
        }
        self.left -= 1;
        self.bytes.as_chunks::<RANDOM>().0.get(self.left).copied().unwrap_or_default()
    }

    /// Where the system gives no random bytes: an id need not be secret, only another one.
    fn make_do(&mut self) {
        let keys = RandomState::new();
        for (number, chunk) in self.bytes.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&keys.hash_one(number).to_be_bytes());
        }
    }
}

/// A new id.
pub(crate) fn request_id(clock: &dyn Clock) -> RequestId {
    let millis = u64::try_from(clock.unix_now().millis()).unwrap_or_default();
    let random = POOL.with_borrow_mut(Pool::take);
    RequestId::new(Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn without_random_bytes_ids_still_differ() {
        let mut pools = [(); 2].map(|()| Pool { bytes: [0; RANDOM * DRAWN], left: DRAWN });
        pools.iter_mut().for_each(Pool::make_do);
        let parts: HashSet<_> = pools.iter_mut().flat_map(|pool| [(); DRAWN].map(|()| pool.take())).collect();
        assert_eq!(parts.len(), 2 * DRAWN);
    }

    #[test]
    fn each_id_is_new_and_says_its_millisecond() {
        let clock = link::clock::SystemClock;
        let (before, ids) = (clock.unix_now(), (0..3 * DRAWN).map(|_| request_id(&clock)).collect::<Vec<_>>());
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        let tails: HashSet<_> = ids.iter().map(|id| id.as_u128() << 66).collect();
        assert_eq!(tails.len(), ids.len(), "of each its random part, too");
        for id in ids {
            assert_eq!(id.uuid().get_version_num(), 7);
            let (secs, nanos) = id.uuid().get_timestamp().unwrap().to_unix();
            let millis = i64::try_from(secs * 1000 + u64::from(nanos) / 1_000_000).unwrap();
            assert!((before.millis()..=clock.unix_now().millis()).contains(&millis));
        }
    }
}
