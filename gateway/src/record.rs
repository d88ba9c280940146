//! The mirror of a gateway without a control plane: Redis is the record, and each full reading renews the lease.
//!
//! The lease counts from the moment before the reading began: whatever was written before then is in it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use authn::{Applied, Mirror};
use domain::{Clock, Fact, NumberedFact, Tag, TenantId, Timestamp, UserId};
use link::{log::LEASE, redis_record::RedisRecord};
use tokio::time::{sleep, timeout};

/// Between two readings, so that three may fail before the lease ends.
const INTERVAL: Duration = Duration::from_millis(500);

/// Longest time for one reading.
const DEADLINE: Duration = Duration::from_secs(1);

/// An expiry that moved by less than this is the same: it is computed from what is left.
const SAME_EXPIRY: Duration = Duration::from_secs(30);

/// Keeps a mirror current from a record.
pub(crate) struct RecordFollower {
    record: RedisRecord,
    mirror: Arc<Mirror>,
    clock: Arc<dyn Clock>,
    known: Known,
}

/// What the mirror was told.
#[derive(Debug, Default)]
struct Known {
    refused: HashMap<u128, Timestamp>,
    users: HashMap<(TenantId, UserId), Floor>,
    tenants: HashMap<TenantId, Floor>,
}

/// A generation and a cutoff, as far as they were raised.
type Floor = (u64, Option<Timestamp>);

impl RecordFollower {
    pub(crate) fn new(record: RedisRecord, mirror: Arc<Mirror>, clock: Arc<dyn Clock>) -> Self {
        Self { record, mirror, clock, known: Known::default() }
    }

    /// Runs for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut failing = false;
        loop {
            let t0 = self.clock.boot_now();
            match timeout(DEADLINE, self.record.read()).await {
                Ok(Ok(facts)) => {
                    self.apply(facts);
                    self.mirror.grant(t0, t0 + LEASE);
                    failing = false;
                }
                Ok(Err(error)) if !failing => {
                    failing = true;
                    tracing::error!(error = &error as &dyn std::error::Error, "the record of revocations is unread");
                }
                Err(_) if !failing => {
                    failing = true;
                    tracing::error!("the record of revocations was not read in time");
                }
                Ok(Err(_)) | Err(_) => {}
            }
            sleep(INTERVAL).await;
        }
    }

    fn apply(&mut self, facts: Vec<Fact>) {
        let now = self.clock.unix_now();
        self.known.refused.retain(|_, exp| *exp >= now);
        self.mirror.forget_expired(now);
        for fact in facts {
            if self.known.is_news(&fact) {
                // Nobody else numbers this mirror's facts.
                let seq = self.mirror.position().seq.next();
                let applied = self.mirror.apply(&NumberedFact { seq, tag: Tag(0), fact });
                debug_assert_eq!(applied, Applied::Yes);
            }
        }
    }
}

impl Known {
    /// Whether a fact says more than those before; it is known from then on.
    fn is_news(&mut self, fact: &Fact) -> bool {
        match fact {
            Fact::TokenRefused { jti, exp } => grown(&mut self.refused, jti.as_u128(), *exp, SAME_EXPIRY),
            Fact::SessionEnded { sid, exp } => grown(&mut self.refused, sid.as_u128(), *exp, SAME_EXPIRY),
            Fact::UserGeneration { tenant, user, generation, cutoff } => {
                raised(&mut self.users, (*tenant, *user), (*generation, *cutoff))
            }
            Fact::TenantGeneration { tenant, generation, cutoff } => {
                raised(&mut self.tenants, *tenant, (*generation, *cutoff))
            }
            Fact::BindingsChanged { .. }
            | Fact::TenantBindingsChanged { .. }
            | Fact::KeyChanged { .. }
            | Fact::AllBindingsChanged => true,
        }
    }
}

fn grown(known: &mut HashMap<u128, Timestamp>, id: u128, exp: Timestamp, by: Duration) -> bool {
    let news = known.get(&id).is_none_or(|before| exp > *before + by);
    if news {
        known.insert(id, exp);
    }
    news
}

fn raised<K: Eq + std::hash::Hash>(known: &mut HashMap<K, Floor>, id: K, (generation, cutoff): Floor) -> bool {
    let held = known.entry(id).or_default();
    let news = generation > held.0 || cutoff > held.1;
    *held = (generation.max(held.0), cutoff.max(held.1));
    news
}

#[test]
fn a_fact_is_news_once_and_again_when_it_says_more() {
    let mut known = Known::default();
    let refused = |secs| Fact::TokenRefused { jti: uuid::Uuid::from_u128(1).into(), exp: Timestamp::from_secs(secs) };
    assert!(known.is_news(&refused(100)));
    assert!(!known.is_news(&refused(101)));
    assert!(known.is_news(&refused(1000)));
    let tenant = uuid::Uuid::from_u128(1).into();
    let generation = |generation| Fact::TenantGeneration { tenant, generation, cutoff: None };
    assert!(known.is_news(&generation(2)));
    assert!(!known.is_news(&generation(1)));
    assert!(known.is_news(&generation(3)));
    let cutoff = |secs| Fact::TenantGeneration { tenant, generation: 0, cutoff: Some(Timestamp::from_secs(secs)) };
    assert!(known.is_news(&cutoff(7)));
    assert!(!known.is_news(&cutoff(7)));
    assert!(known.is_news(&cutoff(8)));
}
