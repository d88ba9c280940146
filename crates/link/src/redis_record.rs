//! Redis as the record of revocations, for a gateway on its own (`revocations: redis`).
//!
//! There is no SQL behind it: what the keys say is what is refused. A gateway reads all of them twice a second, and its
//! lease counts from the start of a reading that succeeded. Keys of any writer count: refused tokens and ended sessions,
//! generations, and the watermarks `bl:user:*` and `bl:tenant:*`, which refuse foreign tokens by when they were issued.
//! A key that vanishes is remembered until its token has expired. A name or value that says nothing is passed over.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ::redis::{FromRedisValue, pipe};
use authn::claims::token_id;
use domain::{Clock, Fact, Id, Timestamp};

use crate::{LinkError, redis::Redis};

/// Keys asked for at once.
const AT_ONCE: usize = 1000;

/// A key without an expiry is believed for this long at a time.
const UNLIMITED: Duration = Duration::from_secs(24 * 3600);

/// Reads the record.
#[derive(Clone)]
pub struct RedisRecord {
    redis: Redis,
    clock: Arc<dyn Clock>,
}

impl RedisRecord {
    /// Over a connection of role [`Revocation`](crate::redis::Role::Revocation).
    pub fn new(redis: Redis, clock: Arc<dyn Clock>) -> Self {
        Self { redis, clock }
    }

    /// Whether Redis may be taken for the record: it must not evict.
    ///
    /// # Errors
    /// [`LinkError::Unfit`].
    pub fn fitness(&self) -> Result<(), LinkError> {
        self.redis.fitness()
    }

    /// Everything that is refused. Whatever was written before the call began is among it.
    ///
    /// # Errors
    /// When Redis does not answer, or may have evicted; then nothing may be concluded.
    pub async fn read(&self) -> Result<Vec<Fact>, LinkError> {
        self.redis.believed().await?;
        let mut facts = Vec::new();
        for prefix in ["bl:jti:", "bl:sid:"] {
            let names = self.names(prefix).await?;
            for (name, left) in self.ask::<i64>("PTTL", &names).await? {
                // -2: gone meanwhile, so that it has expired; -1: without an expiry.
                let left = match u64::try_from(left) {
                    Ok(millis) => Duration::from_millis(millis),
                    Err(_) if left == -1 => UNLIMITED,
                    Err(_) => continue,
                };
                let exp = self.clock.unix_now() + left;
                match (prefix, name.strip_prefix(prefix).unwrap_or_default()) {
                    ("bl:jti:", id) => facts.push(Fact::TokenRefused { jti: token_id(id), exp }),
                    (_, id) => facts.extend(id.parse().map(|sid| Fact::SessionEnded { sid, exp })),
                }
            }
        }
        for (name, generation) in self.ask::<Option<u64>>("GET", &self.names("{rev}:ug:").await?).await? {
            let ids = name.strip_prefix("{rev}:ug:").and_then(|ids| ids.split_once(':'));
            if let (Some((Some(tenant), Some(user))), Some(generation)) =
                (ids.map(|(tenant, user)| (id(tenant), id(user))), generation)
            {
                facts.push(Fact::UserGeneration { tenant, user, generation, cutoff: None });
            }
        }
        for (name, cutoff) in self.watermarks("bl:user:").await? {
            if let Some((Some(tenant), Some(user))) = name.split_once(':').map(|(tenant, user)| (id(tenant), id(user)))
            {
                facts.push(Fact::UserGeneration { tenant, user, generation: 0, cutoff: Some(cutoff) });
            }
        }
        for (name, cutoff) in self.watermarks("bl:tenant:").await? {
            if let Some(tenant) = id(&name) {
                facts.push(Fact::TenantGeneration { tenant, generation: 0, cutoff: Some(cutoff) });
            }
        }
        for (name, generation) in self.ask::<Option<u64>>("GET", &self.names("{rev}:tg:").await?).await? {
            if let (Some(tenant), Some(generation)) = (name.strip_prefix("{rev}:tg:").and_then(id), generation) {
                facts.push(Fact::TenantGeneration { tenant, generation, cutoff: None });
            }
        }
        Ok(facts)
    }

    /// The watermarks of keys that begin like this, by the rest of their names.
    async fn watermarks(&self, prefix: &str) -> Result<Vec<(String, Timestamp)>, LinkError> {
        let values = self.ask::<Option<String>>("GET", &self.names(prefix).await?).await?;
        let read = |(name, value): (String, Option<String>)| {
            let secs = value?.parse::<i64>().ok().filter(|secs| *secs >= 0)?;
            Some((name.strip_prefix(prefix)?.to_owned(), Timestamp::from_secs(secs)))
        };
        Ok(values.into_iter().filter_map(read).collect())
    }

    /// All keys that begin like this. A key that is there throughout is found (`SCAN`'s guarantee).
    async fn names(&self, prefix: &str) -> Result<Vec<String>, LinkError> {
        let (mut names, mut cursor) = (HashSet::new(), 0_u64);
        loop {
            let mut scan = ::redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(AT_ONCE);
            let answer = scan.query_async::<(u64, Vec<String>)>(&mut self.redis.connection()).await;
            let (next, found) = answer.map_err(|error| self.redis.error(error))?;
            names.extend(found);
            if next == 0 {
                return Ok(names.into_iter().collect());
            }
            cursor = next;
        }
    }

    async fn ask<V: FromRedisValue>(&self, command: &str, names: &[String]) -> Result<Vec<(String, V)>, LinkError> {
        let mut answers = Vec::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let mut commands = pipe();
            for name in names {
                commands.cmd(command).arg(name);
            }
            let values = commands.query_async::<Vec<V>>(&mut self.redis.connection()).await;
            answers.extend(names.iter().cloned().zip(values.map_err(|error| self.redis.error(error))?));
        }
        Ok(answers)
    }
}

fn id<K>(text: &str) -> Option<Id<K>> {
    text.parse().ok()
}
