//! What the gateways of a fleet let through, counted in one place: Redis, in its role as a cache.
//!
//! Each bucket is one number, as in the gate: when the next request that fits the rate would be due (GCRA). A gateway adds
//! what it let through and learns how much is owed, by the clock of Redis alone. A key that Redis evicts is a bucket that
//! owes nothing.

use std::time::Duration;

use ::redis::Script;
use domain::FleetName;
use uuid::Uuid;

use crate::{LinkError, redis::Redis, redis_keys};

/// A gateway that was not heard of for this long is not counted any more.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Buckets in one call: Redis does nothing else while it runs.
const BATCH: usize = 256;

/// The digest of no script.
const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";

/// Notes the gateway, then moves each bucket by its cost, up to the most that it can owe: calls that Redis was too slow for
/// are told again, and run all the same. Microseconds, whole ones in what is kept.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('PEXPIRE', KEYS[1], 60000)
local answer = { redis.call('ZCARD', KEYS[1]) }
for at = 2, #KEYS do
    local due = tonumber(redis.call('GET', KEYS[at]) or 0)
    if due < now then due = now end
    due = math.min(math.ceil(due + tonumber(ARGV[at * 2 - 1])), now + tonumber(ARGV[at * 2]))
    if due > now then
        redis.call('SET', KEYS[at], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000) + 1)
    end
    answer[at] = due - now
end
return answer
";

/// The buckets of a fleet.
#[derive(Clone, Debug)]
pub struct SharedLimits {
    pub(crate) redis: Redis,
    fleet: FleetName,
    /// This gateway, for as long as its process runs.
    pub(crate) member: Uuid,
}

/// By how much a bucket is to be moved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cost {
    /// Its name.
    pub bucket: String,
    /// By so much.
    pub cost: Duration,
    /// The most that it can owe.
    pub most: Duration,
}

/// What the fleet knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counted {
    /// Gateways with this one.
    pub gateways: u32,
    /// What each bucket owes now, in the order asked.
    pub owed: Vec<Duration>,
}

impl SharedLimits {
    /// The buckets of this fleet.
    pub fn new(redis: Redis, fleet: FleetName) -> Self {
        Self { redis, fleet, member: Uuid::new_v4() }
    }

    /// Adds costs to buckets. Cancelled or failed, some of them may have been added.
    ///
    /// # Errors
    /// When Redis does not answer, or not as the script does.
    pub async fn count(&self, costs: &[Cost]) -> Result<Counted, LinkError> {
        let mut counted = Counted { gateways: 1, owed: Vec::with_capacity(costs.len()) };
        let (first, rest) = costs.split_at(costs.len().min(BATCH));
        self.count_batch(first, &mut counted).await?;
        for batch in rest.chunks(BATCH) {
            self.count_batch(batch, &mut counted).await?;
        }
        Ok(counted)
    }

    /// Whether this user of Redis may do what counting takes, for limits and for quotas.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] names what it may not; when Redis does not answer.
    pub async fn check_rights(&self) -> Result<(), LinkError> {
        let (limits, usages) = (redis_keys::limit(&self.fleet, "*"), redis_keys::usages("*"));
        // Nobody counts under these names, and nothing stays there.
        let (limit, usage) = (redis_keys::limit(&self.fleet, "-"), redis_keys::usages("-"));
        for command in [
            &["ZADD", &limit, "0", "-"][..],
            &["ZREMRANGEBYSCORE", &limit, "0", "0"],
            &["ZCARD", &limit],
            &["PEXPIRE", &limit, "1"],
            &["SET", &limit, "0", "PX", "1"],
            &["GET", &limit],
            &["TIME"],
            &["SCRIPT", "LOAD", "return 0"],
            &["EVALSHA", NO_SCRIPT, "1", &limit],
        ] {
            self.redis.may(&limits, command).await?;
        }
        for command in [
            &["HSET", &usage, "-", "0"][..],
            &["HGET", &usage, "-"],
            &["HVALS", &usage],
            &["HEXISTS", &usage, "-"],
            &["PEXPIREAT", &usage, "1"],
        ] {
            self.redis.may(&usages, command).await?;
        }
        Ok(())
    }

    async fn count_batch(&self, costs: &[Cost], counted: &mut Counted) -> Result<(), LinkError> {
        let script = Script::new(COUNT);
        let mut call = script.prepare_invoke();
        call.key(redis_keys::limit_gateways(&self.fleet));
        call.arg(self.member.to_string()).arg(micros(FORGOTTEN));
        for Cost { bucket, cost, most } in costs {
            call.key(redis_keys::limit(&self.fleet, bucket)).arg(micros(*cost)).arg(most.as_micros().to_string());
        }
        let answer = call.invoke_async::<Vec<u64>>(&mut self.redis.connection()).await;
        let answer = answer.map_err(|error| self.redis.error(error))?;
        let strange = || LinkError::unreadable("Redis (cache)", "another answer than the script gives");
        let (gateways, owed) =
            answer.split_first().filter(|(_, owed)| owed.len() == costs.len()).ok_or_else(strange)?;
        counted.gateways = u32::try_from(*gateways).unwrap_or(u32::MAX);
        counted.owed.extend(owed.iter().map(|micros| Duration::from_micros(*micros)));
        Ok(())
    }
}

/// With three decimals: at a million requests a second one costs a single microsecond.
fn micros(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    format!("{}.{:03}", nanos / 1_000, nanos % 1_000)
}

#[test]
fn costs_below_a_microsecond_are_told() {
    assert_eq!(micros(Duration::from_nanos(333)), "0.333");
    assert_eq!(micros(Duration::from_millis(5)), "5000.000");
}
