//! What other services refuse by themselves: keys `bl:jti:*` in Redis, on their way into the log.
//!
//! A scan each second finds every key that is there; keyspace events, where Redis sends them
//! (`notify-keyspace-events Kg$`), say at once which key was written, and are hints. What was taken over stays refused
//! until the expiry that the key had then, whether or not the key is still there.
//!
//! | A key | counts as |
//! |---|---|
//! | with an expiry | refused until then, at most [`LONGEST`] at a time: while the key is there it is taken over again |
//! | without one | refused for [`LONGEST`] at a time |
//! | of any value and type | the same: that it is there is what counts |
//! | that we wrote ourselves | nothing: its fact is in the log |

use std::{collections::HashMap, sync::Arc, time::Duration};

use ::redis::{RedisResult, Value, pipe};
use authn::claims::token_id;
use domain::{Clock, Timestamp, TokenId};
use futures::StreamExt;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use crate::{LinkError, redis::Redis, redis_keys as keys};

/// Longest time that one look at a key refuses its token for.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Time from the begin of a scan to that of the next.
const SCAN: Duration = Duration::from_secs(1);

/// Keys asked for at once.
const AT_ONCE: usize = 1000;

/// Keys taken in one look; what is left comes with the next.
const LOOK: usize = 10_000;

/// Keys remembered as taken over. Past that all are looked at again, which costs time and changes nothing.
const REMEMBERED: usize = 1_000_000;

/// Longest name of a token.
const MAX_NAME: usize = 256;

/// Events that wait; a scan finds what is lost.
const EVENTS: usize = 4096;

/// Pause before a broken connection is made again.
const PAUSE: Duration = Duration::from_secs(1);

/// A token that another service refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ForeignRefusal {
    /// Which.
    pub jti: TokenId,
    /// Until when.
    pub exp: Timestamp,
}

/// Finds refusals of other services.
pub struct ForeignKeys {
    redis: Redis,
    prefix: String,
    clock: Arc<dyn Clock>,
    /// What was taken over or is ours, and until when that holds.
    known: HashMap<TokenId, Timestamp>,
    cursor: u64,
    scan_due: Instant,
    written: mpsc::Receiver<String>,
    listener: JoinHandle<()>,
}

impl std::fmt::Debug for ForeignKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignKeys").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Drop for ForeignKeys {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl ForeignKeys {
    /// Over a connection of role [`Revocation`](crate::redis::Role::Revocation), for keys that begin with `prefix`. Must
    /// be called on a Tokio runtime.
    pub fn new(redis: Redis, prefix: &str, clock: Arc<dyn Clock>) -> Self {
        let (writes, written) = mpsc::channel(EVENTS);
        let listener = tokio::spawn(listen(redis.clone(), prefix.to_owned(), writes));
        let (known, prefix) = (HashMap::new(), prefix.to_owned());
        Self { redis, prefix, clock, known, cursor: 0, scan_due: Instant::now(), written, listener }
    }

    /// Waits for what was not there before. Answers it again and again until [`ForeignKeys::taken_over`] says that it is
    /// in the log. Cancel-safe.
    ///
    /// # Errors
    /// When Redis does not answer. The next call looks again, a second later.
    pub async fn next(&mut self) -> Result<Vec<ForeignRefusal>, LinkError> {
        loop {
            let names = tokio::select! {
                Some(name) = self.written.recv() => {
                    let mut names = vec![name];
                    while names.len() < LOOK && let Ok(name) = self.written.try_recv() {
                        names.push(name);
                    }
                    names
                }
                () = sleep_until(self.scan_due) => self.scan().await?,
            };
            let found = self.look_at(names).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Notes what is in the log now.
    pub fn taken_over(&mut self, refusals: &[ForeignRefusal]) {
        self.known.extend(refusals.iter().map(|refusal| (refusal.jti, refusal.exp)));
    }

    /// Names of keys that are not known, at most about [`LOOK`] and to be gone on with then.
    async fn scan(&mut self) -> Result<Vec<String>, LinkError> {
        let begun = Instant::now();
        // Should this fail, the next one begins anew.
        let mut cursor = std::mem::take(&mut self.cursor);
        self.scan_due = begun + SCAN;
        if cursor == 0 {
            let now = self.clock.unix_now();
            self.known.retain(|_, exp| *exp > now);
            if self.known.len() > REMEMBERED {
                self.known = HashMap::new();
            }
        }
        let mut names = Vec::new();
        loop {
            let mut page = ::redis::cmd("SCAN");
            page.arg(cursor).arg("MATCH").arg(format!("{}*", glob_literal(&self.prefix))).arg("COUNT").arg(AT_ONCE);
            let answer = page.query_async::<(u64, Vec<Vec<u8>>)>(&mut self.redis.connection()).await;
            let (next, found) = answer.map_err(|error| self.redis.error(error))?;
            // What is no text can name no token.
            let found = found.into_iter().filter_map(|name| String::from_utf8(name).ok());
            names.extend(found.filter(|name| self.token(name).is_some_and(|jti| !self.known.contains_key(&jti))));
            cursor = next;
            if cursor == 0 {
                return Ok(names);
            }
            if names.len() >= LOOK {
                (self.cursor, self.scan_due) = (cursor, begun);
                return Ok(names);
            }
        }
    }

    fn token(&self, name: &str) -> Option<TokenId> {
        let jti = name.strip_prefix(&self.prefix)?;
        (1..=MAX_NAME).contains(&jti.len()).then(|| token_id(jti))
    }

    /// What these keys refuse that is not ours.
    async fn look_at(&mut self, names: Vec<String>) -> Result<Vec<ForeignRefusal>, LinkError> {
        let mut found = Vec::new();
        for names in names.chunks(AT_ONCE) {
            let mut commands = pipe();
            // A value that is no text is an error of its command, and not of the others.
            commands.ignore_errors();
            for name in names {
                commands.cmd("PTTL").arg(name).cmd("GET").arg(name);
            }
            let answers = commands.query_async::<Vec<RedisResult<Value>>>(&mut self.redis.connection()).await;
            let answers = answers.map_err(|error| self.redis.error(error))?;
            let now = self.clock.unix_now();
            for (name, answer) in names.iter().zip(answers.chunks(2)) {
                let ([Ok(Value::Int(left)), value], Some(jti)) = (answer, self.token(name)) else { continue };
                let left = match u64::try_from(*left) {
                    Ok(millis) => Duration::from_millis(millis).min(LONGEST),
                    Err(_) if *left == -1 => LONGEST,
                    // Gone meanwhile, so that it has expired or was deleted.
                    Err(_) => continue,
                };
                let refusal = ForeignRefusal { jti, exp: now + left };
                if matches!(value, Ok(Value::BulkString(value)) if value == keys::OURS.as_bytes()) {
                    self.known.insert(jti, refusal.exp);
                } else {
                    found.push(refusal);
                }
            }
        }
        Ok(found)
    }
}

/// Hands on the names of keys that are written, as long as Redis says them.
async fn listen(redis: Redis, prefix: String, writes: mpsc::Sender<String>) {
    let pattern = format!("__keyspace@*__:{}*", glob_literal(&prefix));
    while !writes.is_closed() {
        let heard = async {
            let mut events = redis.listening().await?;
            events.psubscribe(&pattern).await.map_err(|error| redis.error(error))?;
            let mut events = events.into_on_message();
            while let Some(event) = events.next().await {
                let name = event.get_channel_name().split_once("__:").map(|(_, name)| name.to_owned());
                // A full channel loses a hint; the scan finds the key.
                if let Some(name) = name {
                    drop(writes.try_send(name));
                }
            }
            Ok::<_, LinkError>(())
        };
        if let Err(error) = heard.await {
            tracing::debug!(error = crate::error::chain(&error), "keyspace events are not heard; scans go on");
        }
        sleep(PAUSE).await;
    }
}

/// A text as a pattern that matches itself only.
fn glob_literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[test]
fn a_prefix_matches_itself_only() {
    assert_eq!(glob_literal("bl:jti:"), "bl:jti:");
    assert_eq!(glob_literal("a*[b]"), "a\\*\\[b\\]");
}
