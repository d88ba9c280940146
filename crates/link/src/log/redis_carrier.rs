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
use authn::mirror::{self, Identity};
use domain::{Clock, Fact, NumberedFact, Timestamp};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::sleep;

use super::{FactCarrier, Hint};
use crate::{LinkError, foreign_keys::ForeignKeys, redis::Redis, redis_keys as keys};

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
    /// What keys of other services begin with whose refusals are taken over.
    adopts: Option<Arc<str>>,
}

impl RedisCarrier {
    /// Over a connection of role [`Revocation`](crate::redis::Role::Revocation).
    pub fn new(redis: Redis, clock: Arc<dyn Clock>) -> Self {
        Self { redis, clock, adopts: None }
    }

    /// Has refusals taken over into the log that other services write to keys with this prefix.
    #[must_use]
    pub fn adopting(self, prefix: &str) -> Self {
        Self { adopts: Some(prefix.into()), ..self }
    }

    /// Whether this user of Redis may read what a gateway reads, or with `writes` write what the control API writes.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] names what it may not; when Redis does not answer.
    pub async fn check_rights(&self, writes: bool) -> Result<(), LinkError> {
        // Nothing is under this name, and nothing is left under it.
        let (listed, stream) = (keys::NOBODY, "{rev}:-");
        for (pattern, name) in [("bl:*", listed), ("{rev}:*", stream)] {
            self.redis.may(pattern, &["EXISTS", name]).await?;
            self.redis.may(pattern, &["GET", name]).await?;
        }
        self.redis.may("{rev}:*", &["XREVRANGE", stream, "+", "-", "COUNT", "1"]).await?;
        self.redis.may("{rev}:*", &["XREAD", "COUNT", "1", "STREAMS", stream, "0"]).await?;
        if writes {
            self.redis.may("{rev}:*", &["XADD", stream, "NOMKSTREAM", "*", "f", ""]).await?;
            self.redis.may("{rev}:*", &["SETEX", "{rev}:-:ug", "1", "0"]).await?;
            self.redis.may("bl:*", &["SET", "bl:-:", keys::OURS, "PX", "1", "NX"]).await?;
            self.redis.may("bl:*", &["EXPIRE", "bl:-:", "1", "GT"]).await?;
        }
        Ok(())
    }

    /// Whether Redis refuses a token, or names a change of an API key that is not known here: for routes that are served
    /// while nothing is proven.
    ///
    /// # Errors
    /// When it does not answer, or may have evicted what it refused.
    pub async fn refuses(&self, token: &Identity) -> Result<bool, LinkError> {
        self.redis.believed().await?;
        let nobody = || keys::NOBODY.to_owned();
        let user = token.tenant.zip(token.user);
        let mut asked = pipe();
        asked.exists(token.token.map_or_else(nobody, keys::refused_token));
        asked.exists(token.session.map_or_else(nobody, keys::ended_session));
        asked.get(token.tenant.map_or_else(nobody, keys::tenant_generation));
        asked.get(user.map_or_else(nobody, |(tenant, user)| keys::user_generation(tenant, user)));
        asked.get(token.tenant.map_or_else(nobody, keys::tenant_watermark));
        asked.get(user.map_or_else(nobody, |(tenant, user)| keys::user_watermark(tenant, user)));
        asked.get(token.key.map_or_else(nobody, |(key, _)| keys::changed_key(key)));
        type Answer = (bool, bool, Option<u64>, Option<u64>, Option<i64>, Option<i64>, Option<u64>);
        let answer = asked.query_async::<Answer>(&mut self.redis.connection()).await;
        let (refused, ended, tenant, user, tenant_cutoff, user_cutoff, changed) =
            answer.map_err(|error| self.redis.error(error))?;
        let too_old = match token.foreign_iat {
            None => {
                tenant.is_some_and(|generation| token.tenant_generation < generation)
                    || user.is_some_and(|generation| token.user_generation < generation)
            }
            Some(iat) => [tenant_cutoff, user_cutoff]
                .into_iter()
                .flatten()
                .any(|secs| mirror::cut_off(iat, Timestamp::from_secs(secs))),
        };
        let stale = token.key.zip(changed).is_some_and(|((_, as_of), changed)| as_of.0 < changed);
        Ok(refused || ended || too_old || stale)
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

    fn foreign(&self) -> Option<ForeignKeys> {
        let prefix = self.adopts.as_deref()?;
        Some(ForeignKeys::new(self.redis.clone(), prefix, Arc::clone(&self.clock)))
    }

    fn fitness(&self) -> Result<(), LinkError> {
        self.redis.fitness()
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
            list(&mut commands, &hint.fact, now);
        }
        commands.query_async::<()>(&mut self.redis.connection()).await.map_err(|error| self.redis.error(error))
    }
}

/// Writes a fact to the keys that other services read. A watermark is a second: tokens of that very second are refused.
fn list(commands: &mut ::redis::Pipeline, numbered: &NumberedFact, now: Timestamp) {
    let kept = (LONGEST_TOKEN + LEEWAY).as_secs();
    let until = |exp: Timestamp| (exp.since(now) + LEEWAY).as_secs();
    match &numbered.fact {
        // Expired on every clock: nothing to refuse.
        Fact::TokenRefused { exp, .. } | Fact::SessionEnded { exp, .. } if *exp + LEEWAY <= now => {}
        Fact::TokenRefused { jti, exp } => {
            refuse(commands, &keys::refused_token(*jti), until(*exp));
        }
        Fact::SessionEnded { sid, exp } => {
            refuse(commands, &keys::ended_session(*sid), until(*exp));
        }
        Fact::UserGeneration { tenant, user, generation, cutoff } => {
            commands.set_ex(keys::user_watermark(*tenant, *user), watermark(*cutoff, now), kept).ignore();
            // A foreign subject has none, and may be named like a user that has.
            if *generation > 0 {
                commands.set_ex(keys::user_generation(*tenant, *user), *generation, kept).ignore();
            }
        }
        Fact::TenantGeneration { tenant, generation, cutoff } => {
            commands.set_ex(keys::tenant_watermark(*tenant), watermark(*cutoff, now), kept).ignore();
            commands.set_ex(keys::tenant_generation(*tenant), *generation, kept).ignore();
        }
        Fact::KeyChanged { key } => {
            commands.set_ex(keys::changed_key(*key), numbered.seq.0, kept).ignore();
        }
        Fact::BindingsChanged { .. } | Fact::TenantBindingsChanged { .. } | Fact::AllBindingsChanged => {}
    }
}

/// Sets a key for so many seconds. One that another service has set stays as it is, and never goes earlier than it said.
fn refuse(commands: &mut ::redis::Pipeline, key: &str, secs: u64) {
    commands.cmd("SET").arg(key).arg(keys::OURS).arg("EX").arg(secs).arg("NX").ignore();
    commands.cmd("EXPIRE").arg(key).arg(secs).arg("GT").ignore();
}

/// The second that a watermark says: of the fact where it says one, rounded up.
fn watermark(cutoff: Option<Timestamp>, now: Timestamp) -> i64 {
    cutoff.map_or(now, |cutoff| cutoff + Duration::from_millis(999)).secs()
}
