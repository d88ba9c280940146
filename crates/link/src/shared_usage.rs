//! What the gateways of all fleets let through under quotas, in one place: Redis, in its role as a cache.
//!
//! For each tenant, product, and day or month there is a hash, with a field for each counter: a gateway, from its start to
//! its end. A field only grows, so whatever is told twice or late changes nothing; what was used is the sum. A hash that
//! Redis lost is filled again by every gateway with its own field and, once, with what the control API has on record,
//! which leaves a mark.

use ::redis::Script;
use domain::{
    TenantId, Timestamp,
    quota::{Span, UsagePart},
};
use uuid::Uuid;

use crate::{LinkError, redis_keys, shared_limits::SharedLimits};

/// The field that says that the record is in the hash. It counts nothing.
const FOUNDED: &str = "-";

/// Hashes in one call: Redis does nothing else while it runs.
const BATCH: usize = 256;

/// How long a hash is kept after its day or month, in milliseconds: until then somebody's clock may be behind.
const KEPT: i64 = 24 * 3600 * 1000;

/// For each hash: when it may go, how many fields follow, and these with their counts. A field is never lowered. Answers
/// for each the sum, and whether it has the mark. Numbers are written as they came: Lua would round them.
const KEEP: &str = r"
local answer = {}
local at = 1
for key = 1, #KEYS do
    local expiry, fields = ARGV[at], tonumber(ARGV[at + 1])
    at = at + 2
    for _ = 1, fields do
        local before = redis.call('HGET', KEYS[key], ARGV[at])
        if not before or tonumber(before) < tonumber(ARGV[at + 1]) then
            redis.call('HSET', KEYS[key], ARGV[at], ARGV[at + 1])
        end
        at = at + 2
    end
    local sum = 0
    for _, count in ipairs(redis.call('HVALS', KEYS[key])) do sum = sum + tonumber(count) end
    if fields > 0 then redis.call('PEXPIREAT', KEYS[key], expiry) end
    answer[key * 2 - 1] = sum
    answer[key * 2] = redis.call('HEXISTS', KEYS[key], '-')
end
return answer
";

/// What is to be kept of one hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UsageEntry {
    /// Whose.
    pub tenant: TenantId,
    /// Of which product.
    pub product: String,
    /// Of which day or month.
    pub span: Span,
    /// What counters are known to have let through.
    pub parts: Vec<UsagePart>,
    /// Whether these are what the control API has on record.
    pub on_record: bool,
}

/// What one hash holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeptUsage {
    /// Requests in all.
    pub total: u64,
    /// Whether it holds what the control API had on record.
    pub founded: bool,
}

impl UsageEntry {
    fn expiry(&self) -> Timestamp {
        self.span.ends_at()
    }
}

impl SharedLimits {
    /// Who this gateway is among the counters, for as long as its process runs.
    pub const fn counter(&self) -> Uuid {
        self.member
    }

    /// Keeps counts, and answers what there is of each, in the order asked. Cancelled or failed, some may have been kept.
    ///
    /// # Errors
    /// When Redis does not answer, or not as the script does.
    pub async fn keep_usage(&self, entries: &[UsageEntry]) -> Result<Vec<KeptUsage>, LinkError> {
        let mut kept = Vec::with_capacity(entries.len());
        for batch in entries.chunks(BATCH) {
            let script = Script::new(KEEP);
            let mut call = script.prepare_invoke();
            for entry in batch {
                call.key(redis_keys::usage(entry.tenant, entry.span, &entry.product));
                let fields = entry.parts.len() + usize::from(entry.on_record);
                call.arg(entry.expiry().millis().saturating_add(KEPT)).arg(fields);
                for part in &entry.parts {
                    call.arg(part.counter.to_string()).arg(part.used);
                }
                if entry.on_record {
                    call.arg(FOUNDED).arg(0);
                }
            }
            let answer = call.invoke_async::<Vec<u64>>(&mut self.redis.connection()).await;
            let answer = answer.map_err(|error| self.redis.error(error))?;
            let (pairs, []) = answer.as_chunks::<2>() else { return Err(strange()) };
            if pairs.len() != batch.len() {
                return Err(strange());
            }
            kept.extend(pairs.iter().map(|[total, founded]| KeptUsage { total: *total, founded: *founded == 1 }));
        }
        Ok(kept)
    }
}

fn strange() -> LinkError {
    LinkError::unreadable("Redis (cache)", "another answer than the script gives")
}
