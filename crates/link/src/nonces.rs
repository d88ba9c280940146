//! Nonces of signed requests: of all gateways that are shown one, one accepts it, once.
//!
//! A signature is good for a few minutes around its timestamp, and its nonce is remembered for that long. Whatever forgets
//! nonces says since when it remembers: signatures from before that moment count as used. In Redis that moment is a key
//! of its own, so that a Redis that was emptied begins anew; a gateway that lost its connection begins anew, too, because
//! what answers next may be a replica that had not heard of the last nonces.
//!
//! They lie in `redis.revocation`, which must not evict: an evicted nonce could be used again. A Redis that is full
//! refuses them, and with them the requests.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ::redis::{aio::MultiplexedConnection, pipe};
use async_trait::async_trait;
use authn::signature::WINDOW;
use domain::{ApiKeyId, Clock, Timestamp};
use parking_lot::Mutex;

use crate::{LinkError, redis::Redis, redis_keys as keys};

/// A nonce outlives its signature by this: clocks differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// Most nonces of one key in memory. Some 100 bytes each.
const MOST: usize = 200_000;

/// Remembers nonces.
#[async_trait]
pub trait Nonces: Send + Sync {
    /// Uses up a nonce of a request that says it was signed at `signed_at`; false for one that was used before, or may
    /// have been.
    ///
    /// # Errors
    /// When that cannot be found out; then it must count as used.
    async fn take(&self, key: ApiKeyId, nonce: &str, signed_at: Timestamp) -> Result<bool, LinkError>;
}

/// In the memory of the only gateway there is.
pub struct MemoryNonces {
    clock: Arc<dyn Clock>,
    since: Timestamp,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    nonces: HashMap<ApiKeyId, HashMap<Box<str>, Timestamp>>,
    swept: Timestamp,
}

impl MemoryNonces {
    /// Remembers from now on.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { since: clock.unix_now(), clock, used: Mutex::default() }
    }
}

#[async_trait]
impl Nonces for MemoryNonces {
    async fn take(&self, key: ApiKeyId, nonce: &str, signed_at: Timestamp) -> Result<bool, LinkError> {
        if signed_at <= self.since {
            return Ok(false);
        }
        let now = self.clock.unix_now();
        let mut used = self.used.lock();
        if now.since(used.swept) >= LEEWAY {
            used.nonces.retain(|_, of_key| {
                of_key.retain(|_, until| *until > now);
                !of_key.is_empty()
            });
            used.swept = now;
        }
        let of_key = used.nonces.entry(key).or_default();
        if of_key.len() >= MOST {
            return Err(LinkError::Failed { peer: "the gateway", reason: "too many nonces of one key".into() });
        }
        Ok(of_key.insert(nonce.into(), signed_at + WINDOW + LEEWAY).is_none())
    }
}

/// In Redis, for the gateways of all fleets together. Over a connection of its own: whoever else meets a broken one would
/// take the news of it away.
pub struct RedisNonces {
    redis: Redis,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    connection: Option<MultiplexedConnection>,
    /// When that was made.
    since: Timestamp,
}

impl RedisNonces {
    /// Over a Redis of role [`Nonces`](crate::redis::Role::Nonces), or of role
    /// [`Revocation`](crate::redis::Role::Revocation) where that one has both.
    pub fn new(redis: Redis, clock: Arc<dyn Clock>) -> Self {
        Self { redis, clock, held: Mutex::default() }
    }

    /// Connects, and has Redis remember from now on, if it does not yet. Called at start, so that the first signature
    /// counts.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn begin(&self) -> Result<Timestamp, LinkError> {
        let (connection, since) = self.connection().await?;
        Ok(self.remembering(connection).await?.max(since))
    }

    /// The connection, and when it was made. Who answers on a new one may not have heard of the last nonces.
    async fn connection(&self) -> Result<(MultiplexedConnection, Timestamp), LinkError> {
        {
            let held = self.held.lock();
            if let Some(connection) = &held.connection {
                return Ok((connection.clone(), held.since));
            }
        }
        let connection = self.redis.dedicated(Duration::ZERO).await?;
        let mut held = self.held.lock();
        held.since = held.since.max(self.clock.unix_now());
        held.connection = Some(connection.clone());
        Ok((connection, held.since))
    }

    async fn remembering(&self, mut connection: MultiplexedConnection) -> Result<Timestamp, LinkError> {
        let now = self.clock.unix_now();
        let mut asked = pipe();
        asked.cmd("SET").arg(keys::NONCES_SINCE).arg(now.millis()).arg("NX").ignore().get(keys::NONCES_SINCE);
        let (since,): (i64,) = asked.query_async(&mut connection).await.map_err(|error| self.redis.error(error))?;
        Ok(Timestamp::from_millis(since))
    }
}

#[async_trait]
impl Nonces for RedisNonces {
    async fn take(&self, key: ApiKeyId, nonce: &str, signed_at: Timestamp) -> Result<bool, LinkError> {
        self.redis.believed().await?;
        let (mut connection, began) = self.connection().await?;
        // Until it has answered it counts as lost, also where nobody waits for the answer any more.
        let unanswered = Unanswered(Some(&self.held));
        let now = self.clock.unix_now();
        let kept = (signed_at + WINDOW + LEEWAY).since(now).max(LEEWAY);
        let kept = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        let mut asked = pipe();
        // Read and written at once: nothing is forgotten in between.
        asked.atomic().get(keys::NONCES_SINCE);
        asked.cmd("SET").arg(keys::nonce(key, nonce)).arg(1).arg("PX").arg(kept).arg("NX");
        let answer = asked.query_async::<(Option<i64>, Option<String>)>(&mut connection).await;
        let (since, set) = answer.map_err(|error| self.redis.error(error))?;
        let since = match since {
            Some(since) => Timestamp::from_millis(since),
            // It was emptied.
            None => self.remembering(connection).await?,
        };
        unanswered.answered();
        Ok(set.is_some() && signed_at > since.max(began))
    }
}

/// Gives the connection up when it is dropped.
struct Unanswered<'n>(Option<&'n Mutex<Held>>);

impl Unanswered<'_> {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.0 {
            held.lock().connection = None;
        }
    }
}
