//! Facts through Redis: a stream for the gateways, and the `bl:*` keys that other services read and write.
//!
//! Everything here is a hint. Ids of the stream, expiries and what a restarted Redis forgot prove nothing.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ::redis::{
    AsyncCommands, Value,
    aio::MultiplexedConnection,
    pipe,
    streams::{StreamMaxlen, StreamRangeReply, StreamReadOptions, StreamReadReply},
};
use async_trait::async_trait;
use authn::mirror::Identity;
use domain::{Clock, Fact, Timestamp};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::sleep;

use super::{FactCarrier, Hint};
use crate::{LinkError, redis::Redis, redis_keys as keys};

/// About how many facts the stream holds.
const KEPT: usize = 100_000;

/// How long one read of the stream waits for something new.
const BLOCKING: Duration = Duration::from_secs(5);

/// Facts taken in one read.
const AT_ONCE: usize = 512;

/// Pause before a broken connection is made again.
const PAUSE: Duration = Duration::from_millis(250);

/// Added to every expiry: clocks differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// How long a watermark or generation is kept: no access token lives longer.
const LONGEST_TOKEN: Duration = Duration::from_secs(24 * 3600);

/// Carries facts through the revocation Redis.
#[derive(Clone)]
pub struct RedisCarrier {
    redis: Redis,
    clock: Arc<dyn Clock>,
}

impl RedisCarrier {
    /// Over a connection of role [`Revocation`](crate::redis::Role::Revocation).
    pub fn new(redis: Redis, clock: Arc<dyn Clock>) -> Self {
        Self { redis, clock }
    }

    /// Whether Redis refuses a token: for routes that are served while nothing is proven.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn refuses(&self, token: &Identity) -> Result<bool, LinkError> {
        let mut asked = pipe();
        asked.exists(token.token.map(keys::refused_token).unwrap_or_default());
        asked.exists(token.session.map(keys::ended_session).unwrap_or_default());
        asked.get(token.tenant.map(keys::tenant_generation).unwrap_or_default());
        asked.get(token.tenant.zip(token.user).map(|(t, u)| keys::user_generation(t, u)).unwrap_or_default());
        let answer = asked.query_async::<(bool, bool, Option<u64>, Option<u64>)>(&mut self.redis.connection()).await;
        let (refused, ended, tenant, user) = answer.map_err(|error| self.redis.error(error))?;
        Ok(refused
            || ended
            || tenant.is_some_and(|generation| token.tenant_generation < generation)
            || user.is_some_and(|generation| token.user_generation < generation))
    }

    /// Checks each minute that the store still does not evict, and says so when it does. Never ends.
    pub async fn watch_fitness(&self) {
        loop {
            sleep(Duration::from_secs(60)).await;
            if let Err(error) = self.redis.check_fitness().await {
                tracing::error!(error = crate::error::chain(&error), "the revocation store is not fit for use");
            }
        }
    }

    async fn latest(&self, connection: &mut MultiplexedConnection) -> Result<String, LinkError> {
        let newest = connection.xrevrange_count::<_, _, _, _, StreamRangeReply>(keys::FACTS, "+", "-", 1).await;
        let newest = newest.map_err(|error| self.redis.error(error))?;
        Ok(newest.ids.into_iter().next().map_or_else(|| "0-0".into(), |entry| entry.id))
    }

    /// Reads on from `state`; connects first where that is needed.
    async fn read(&self, state: &mut Reading) -> Result<(), LinkError> {
        let mut connection = match state.connection.take() {
            Some(connection) => connection,
            None => self.redis.dedicated(BLOCKING).await?,
        };
        let from = match state.last.take() {
            Some(id) => id,
            None => self.latest(&mut connection).await?,
        };
        state.last = Some(from.clone());
        let block = usize::try_from(BLOCKING.as_millis()).unwrap_or(usize::MAX);
        let options = StreamReadOptions::default().block(block).count(AT_ONCE);
        let read = connection.xread_options::<_, _, Option<StreamReadReply>>(&[keys::FACTS], &[from], &options).await;
        let read = read.map_err(|error| self.redis.error(error))?;
        for entry in read.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
            if let Some(Value::BulkString(json)) = entry.map.get("f") {
                match serde_json::from_slice(json) {
                    Ok(hint) => state.ready.push_back(hint),
                    // Written by somebody else, or by a newer release. It is fetched with the next proof.
                    Err(error) => tracing::warn!(%error, redis.stream_id = entry.id, "a fact in Redis cannot be read"),
                }
            }
            state.last = Some(entry.id);
        }
        state.connection = Some(connection);
        Ok(())
    }
}

/// Where a subscriber stands.
#[derive(Default)]
struct Reading {
    connection: Option<MultiplexedConnection>,
    last: Option<String>,
    ready: VecDeque<Hint>,
    failing: bool,
}

#[async_trait]
impl FactCarrier for RedisCarrier {
    fn subscribe(&self) -> BoxStream<'static, Hint> {
        let carrier = self.clone();
        stream::unfold(Reading::default(), move |mut state| {
            let carrier = carrier.clone();
            async move {
                loop {
                    if let Some(hint) = state.ready.pop_front() {
                        return Some((hint, state));
                    }
                    match carrier.read(&mut state).await {
                        Ok(()) => state.failing = false,
                        Err(error) => {
                            if !std::mem::replace(&mut state.failing, true) {
                                tracing::warn!(error = crate::error::chain(&error), "facts are not carried");
                            }
                            sleep(PAUSE).await;
                        }
                    }
                }
            }
        })
        .boxed()
    }

    async fn publish(&self, hints: &[Hint]) -> Result<(), LinkError> {
        if hints.is_empty() {
            return Ok(());
        }
        let now = self.clock.unix_now();
        let mut commands = pipe();
        for hint in hints {
            let json = serde_json::to_string(hint).map_err(|error| LinkError::failed("the control API", &error))?;
            commands.xadd_maxlen(keys::FACTS, StreamMaxlen::Approx(KEPT), "*", &[("f", json)]).ignore();
            list(&mut commands, &hint.fact.fact, now);
        }
        commands.query_async::<()>(&mut self.redis.connection()).await.map_err(|error| self.redis.error(error))
    }
}

/// Writes a fact to the keys that other services read. A watermark is the second in which the fact was written: tokens
/// of that very second are refused.
fn list(commands: &mut ::redis::Pipeline, fact: &Fact, now: Timestamp) {
    let kept = (LONGEST_TOKEN + LEEWAY).as_secs();
    let until = |exp: Timestamp| (exp.since(now) + LEEWAY).as_secs();
    match fact {
        // Expired on every clock: nothing to refuse.
        Fact::TokenRefused { exp, .. } | Fact::SessionEnded { exp, .. } if *exp + LEEWAY <= now => {}
        Fact::TokenRefused { jti, exp } => {
            commands.set_ex(keys::refused_token(*jti), 1, until(*exp)).ignore();
        }
        Fact::SessionEnded { sid, exp } => {
            commands.set_ex(keys::ended_session(*sid), 1, until(*exp)).ignore();
        }
        Fact::UserGeneration { tenant, user, generation } => {
            commands.set_ex(keys::user_watermark(*tenant, *user), now.secs(), kept).ignore();
            commands.set_ex(keys::user_generation(*tenant, *user), *generation, kept).ignore();
        }
        Fact::TenantGeneration { tenant, generation } => {
            commands.set_ex(keys::tenant_watermark(*tenant), now.secs(), kept).ignore();
            commands.set_ex(keys::tenant_generation(*tenant), *generation, kept).ignore();
        }
        Fact::BindingsChanged { .. } => {}
    }
}
