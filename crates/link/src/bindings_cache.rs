//! L2 of permission sets: bindings in Redis, shared by the gateways.
//!
//! Each value carries an HMAC-SHA256 over the name of its key, its `as_of` and its content, so that whoever can write
//! to the cache can neither invent bindings nor move another user's to himself. Whether a value is still current is the
//! mirror's question, by `as_of`.

use std::time::Duration;

use ::redis::AsyncCommands;
use aws_lc_rs::hmac;
use domain::{Secret, TenantId, UserId, fact::Bindings};
use uuid::Uuid;

use crate::{LinkError, redis::Redis, redis_keys};

const WHO: &str = "Redis (cache)";

/// Bytes of a seal.
const SEAL: usize = 32;

/// Shared copies of bindings.
#[derive(Debug, Clone)]
pub struct BindingsCache {
    redis: Redis,
    key: hmac::Key,
    ttl: Duration,
}

impl BindingsCache {
    /// A cache whose values are sealed with `key` (32 bytes or more, the same on every gateway of a fleet) and
    /// forgotten after `ttl`, which is at least a second.
    pub fn new(redis: Redis, key: &Secret<Vec<u8>>, ttl: Duration) -> Self {
        Self { redis, key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()), ttl }
    }

    /// Whether this user of Redis may do what the cache does.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] names what it may not; when Redis does not answer.
    pub async fn check_rights(&self) -> Result<(), LinkError> {
        let nobody = redis_keys::bindings(TenantId::new(Uuid::nil()), UserId::new(Uuid::nil()));
        self.redis.may("pb:*", &["SETEX", &nobody, "1", ""]).await?;
        self.redis.may("pb:*", &["GET", &nobody]).await
    }

    /// The copy there is.
    ///
    /// # Errors
    /// When Redis does not answer; [`LinkError::Unreadable`] when what it holds was not written by one of us.
    pub async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Option<Bindings>, LinkError> {
        let name = redis_keys::bindings(tenant, user);
        let value: Option<Vec<u8>> =
            self.redis.connection().get(&name).await.map_err(|error| self.redis.error(error))?;
        value.map(|value| open(&self.key, &name, &value)).transpose()
    }

    /// Keeps a copy.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn keep(&self, tenant: TenantId, user: UserId, bindings: &Bindings) -> Result<(), LinkError> {
        let name = redis_keys::bindings(tenant, user);
        let value = seal(&self.key, &name, bindings)?;
        let kept = self.redis.connection().set_ex::<_, _, ()>(name, value, self.ttl.as_secs().max(1)).await;
        kept.map_err(|error| self.redis.error(error))
    }
}

fn seal(key: &hmac::Key, name: &str, bindings: &Bindings) -> Result<Vec<u8>, LinkError> {
    let json = serde_json::to_vec(bindings).map_err(|error| LinkError::failed("the gateway", &error))?;
    let mut value = hmac::sign(key, &sealed(name, &json)).as_ref().to_vec();
    value.extend(json);
    Ok(value)
}

fn open(key: &hmac::Key, name: &str, value: &[u8]) -> Result<Bindings, LinkError> {
    let forged = || LinkError::unreadable(WHO, "a value that was not sealed by one of us");
    let (tag, json) = value.split_at_checked(SEAL).ok_or_else(forged)?;
    hmac::verify(key, &sealed(name, json), tag).map_err(|_| forged())?;
    serde_json::from_slice(json).map_err(|error| LinkError::unreadable(WHO, error))
}

/// What is sealed: the key's name, led by its length, and the content, of which `as_of` is a part.
fn sealed(name: &str, json: &[u8]) -> Vec<u8> {
    let mut bytes = (name.len() as u64).to_be_bytes().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(json);
    bytes
}

#[cfg(test)]
mod tests {
    use domain::Seq;

    use super::*;

    #[test]
    fn a_value_that_was_forged_changed_or_moved_is_refused() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a key of the fleet, 32 bytes long");
        let bindings = Bindings { as_of: Seq(7), active: true, ..Bindings::default() };
        let value = seal(&key, "pb:a:b", &bindings).unwrap();
        assert_eq!(open(&key, "pb:a:b", &value).unwrap(), bindings);
        assert!(open(&key, "pb:a:c", &value).is_err(), "moved to another user");
        assert!(open(&hmac::Key::new(hmac::HMAC_SHA256, b"other"), "pb:a:b", &value).is_err(), "sealed by another");
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 1;
            assert!(open(&key, "pb:a:b", &changed).is_err(), "byte {at}");
        }
        assert!(open(&key, "pb:a:b", b"").is_err());
        assert!(open(&key, "pb:a:b", &value[..SEAL]).is_err());
    }
}
