//! How often was asked for something, counted over all control APIs in one place: Redis, in its role as a cache.
//!
//! A window begins with the first that is counted in it and ends by the clock of Redis alone. A key that Redis evicts is a window
//! that begins anew: each control API counts for itself beside this.

use std::time::Duration;

use ::redis::Script;

use crate::{LinkError, redis::Redis, redis_keys};

/// The digest of no script.
const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";

/// Counts one more, and says how many there are and how long the window lasts yet, in milliseconds. One without an end is given one.
const COUNT: &str = r"
local asked = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
    left = tonumber(ARGV[1])
    redis.call('PEXPIRE', KEYS[1], left)
end
return { asked, left }
";

/// Windows that control APIs share.
#[derive(Clone, Debug)]
pub struct SharedRates {
    redis: Redis,
}

/// How often was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Asked {
    /// Within the window, with this time.
    pub times: u64,
    /// How long the window lasts yet.
    pub left: Duration,
}

impl SharedRates {
    /// Those that lie in this Redis.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// Counts one more of this name. Cancelled or failed, it may have been counted.
    ///
    /// # Errors
    /// When Redis does not answer, or not as the script does.
    pub async fn count(&self, name: &str, window: Duration) -> Result<Asked, LinkError> {
        let script = Script::new(COUNT);
        let mut call = script.prepare_invoke();
        call.key(redis_keys::rate(name)).arg(window.as_millis().to_string());
        let answer = call.invoke_async::<(u64, u64)>(&mut self.redis.connection()).await;
        let (times, left) = answer.map_err(|error| self.redis.error(error))?;
        Ok(Asked { times, left: Duration::from_millis(left) })
    }

    /// Whether this user of Redis may do what counting takes.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] names what it may not; when Redis does not answer.
    pub async fn check_rights(&self) -> Result<(), LinkError> {
        // Nobody counts under this name, and nothing stays there.
        let (all, one) = (redis_keys::rate("*"), redis_keys::rate("-"));
        for command in [
            &["INCR", &one][..],
            &["PTTL", &one],
            &["PEXPIRE", &one, "1"],
            &["SCRIPT", "LOAD", "return 0"],
            &["EVALSHA", NO_SCRIPT, "1", &one],
        ] {
            self.redis.may(&all, command).await?;
        }
        Ok(())
    }
}
