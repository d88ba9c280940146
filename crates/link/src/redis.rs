//! Connections to Redis. It has two roles, each with its URL; one instance serves both only in development.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, Value,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection, PubSub},
};
use tokio::time::{sleep, timeout};

use crate::LinkError;

/// Longest wait for a connection and for an answer. Redis is a hint or a cache: who waits longer asks elsewhere.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a revocation store is asked whether it evicts.
const CHECK: Duration = Duration::from_secs(60);

/// How often one is asked that has not answered yet.
const FIRST_CHECK: Duration = Duration::from_secs(1);

/// Longest pause between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a Redis is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Facts on their way, and the revocation list of other services. Must not evict.
    Revocation,
    /// Nonces of signed requests. Must not evict.
    Nonces,
    /// Copies of what SQL holds. May evict.
    Cache,
}

impl Role {
    const fn peer(self) -> &'static str {
        match self {
            Self::Revocation => "Redis (revocation)",
            Self::Nonces => "Redis (nonces)",
            Self::Cache => "Redis (cache)",
        }
    }
}

/// A Redis in one of its roles. Cheap to clone; connects again by itself.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    connection: ConnectionManager,
    role: Role,
    fitness: Arc<Fitness>,
}

/// Whether an instance suited its role when it was last asked.
#[derive(Debug, Default)]
struct Fitness(AtomicU8);

impl Fitness {
    const UNASKED: u8 = 0;
    const FIT: u8 = 1;
    const UNFIT: u8 = 2;

    fn said(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// Connects, and checks that the instance suits its role.
///
/// # Errors
/// [`LinkError::Unreachable`], or [`LinkError::Unfit`] for a revocation store that evicts.
pub async fn connect(url: &str, role: Role) -> Result<Redis, LinkError> {
    let redis = Redis::open(url, role)?;
    redis.ping().await?;
    redis.check_fitness().await?;
    Ok(redis.watched())
}

/// Connects, if need be later: an instance that does not answer now is asked each second until it does, and checked
/// then. Until that, nothing is believed that it does not refuse.
///
/// # Errors
/// [`LinkError::Unfit`] for a revocation store that answers and evicts.
pub async fn connect_late(url: &str, role: Role) -> Result<Redis, LinkError> {
    match connect(url, role).await {
        Err(error) if error.is_unreachable() => {
            tracing::warn!(error = crate::error::chain(&error), "Redis does not answer yet");
            Ok(Redis::open(url, role)?.watched())
        }
        connected => connected,
    }
}

/// Whether two URLs lead to one instance, as far as they say. One that cannot be read leads nowhere.
pub fn same_instance(one: &str, other: &str) -> bool {
    let address = |url: &str| url.into_connection_info().ok().map(|info| info.addr().to_string());
    address(one).is_some_and(|one| address(other) == Some(one))
}

impl Redis {
    /// Not connected yet: the first command connects.
    fn open(url: &str, role: Role) -> Result<Self, LinkError> {
        // The error of a bad URL may repeat it, and with it a password.
        let unfit = |_| LinkError::Unfit { peer: role.peer(), reason: "its URL cannot be read".into() };
        let client = Client::open(url).map_err(unfit)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_max_delay(LONGEST_PAUSE)
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config);
        let connection = connection.map_err(|error| LinkError::unreachable(role.peer(), error))?;
        Ok(Self { client, connection, role, fitness: Arc::default() })
    }

    /// Has one that must not evict checked for as long as it is used.
    fn watched(self) -> Self {
        if self.role != Role::Cache {
            tokio::spawn(self.clone().keep_checking(Arc::downgrade(&self.fitness)));
        }
        self
    }

    /// Whether it answers.
    async fn ping(&self) -> Result<(), LinkError> {
        ::redis::cmd("PING").query_async::<()>(&mut self.connection()).await.map_err(|error| self.error(error))
    }

    /// A handle for commands.
    pub(crate) fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    /// A connection of its own, for reads that block up to `blocking`.
    pub(crate) async fn dedicated(&self, blocking: Duration) -> Result<MultiplexedConnection, LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(blocking + PATIENCE));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connection.map_err(|error| self.error(error))
    }

    /// Whether the instance still suits its role. Asked at start and each minute.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] for a revocation store that evicts, [`LinkError::Unreachable`] when it does not answer.
    pub async fn check_fitness(&self) -> Result<(), LinkError> {
        if self.role == Role::Cache {
            return Ok(());
        }
        let asked = ::redis::cmd("INFO").arg("memory").query_async::<String>(&mut self.connection()).await;
        let info = asked.map_err(|error| self.error(error))?;
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim);
        let said = if policy == Some("noeviction") { Fitness::FIT } else { Fitness::UNFIT };
        self.fitness.0.store(said, Ordering::Release);
        match policy {
            Some("noeviction") => Ok(()),
            other => Err(LinkError::Unfit {
                peer: self.role.peer(),
                reason: format!("`maxmemory-policy` is `{}` and must be `noeviction`", other.unwrap_or("unknown")),
            }),
        }
    }

    /// Whether the instance suited its role when it was last asked. One that has not answered yet is not unfit.
    ///
    /// # Errors
    /// [`LinkError::Unfit`].
    pub fn fitness(&self) -> Result<(), LinkError> {
        match self.fitness.said() {
            Fitness::UNFIT => Err(LinkError::Unfit {
                peer: self.role.peer(),
                reason: "it may evict, and must be `noeviction`".into(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether what the instance does not refuse can be believed. One that was never asked is asked now.
    ///
    /// # Errors
    /// [`LinkError::Unfit`], [`LinkError::Unreachable`].
    pub(crate) async fn believed(&self) -> Result<(), LinkError> {
        match self.fitness.said() {
            Fitness::UNASKED => self.check_fitness().await,
            _ => self.fitness(),
        }
    }

    /// Asks for as long as anybody else uses it.
    async fn keep_checking(self, used: Weak<Fitness>) {
        // One of them is ours.
        while used.strong_count() > 1 {
            let unasked = self.fitness.said() == Fitness::UNASKED;
            sleep(if unasked { FIRST_CHECK } else { CHECK }).await;
            match self.check_fitness().await {
                Ok(()) if unasked => tracing::info!(peer = self.role.peer(), "answers now"),
                // Said when it began, and by whoever needs it.
                Err(error) if unasked && error.is_unreachable() => {}
                Err(error) => {
                    tracing::error!(error = crate::error::chain(&error), "the revocation store is not fit for use");
                }
                Ok(()) => {}
            }
        }
    }

    /// A connection for what Redis says by itself.
    pub(crate) async fn listening(&self) -> Result<PubSub, LinkError> {
        let connected = timeout(PATIENCE, self.client.get_async_pubsub()).await;
        let late = LinkError::TimedOut { peer: self.role.peer(), after: PATIENCE };
        connected.map_err(|_| late)?.map_err(|error| self.error(error))
    }

    /// Tries whether a command may be run; `keys` is what it is about, for the error. Any other complaint of Redis says that
    /// it may.
    pub(crate) async fn may(&self, keys: &str, command: &[&str]) -> Result<(), LinkError> {
        let Some((name, arguments)) = command.split_first() else { return Ok(()) };
        match ::redis::cmd(name).arg(arguments).query_async::<Value>(&mut self.connection()).await {
            Err(error) if error.code().is_none() || lacks_a_right(&error) => Err(self.error(error).about(keys)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn error(&self, error: RedisError) -> LinkError {
        if lacks_a_right(&error) {
            let reason = format!("a right is missing (see docs/redis.md): {}", error.detail().unwrap_or("NOPERM"));
            LinkError::Unfit { peer: self.role.peer(), reason }
        } else if error.is_timeout() {
            LinkError::TimedOut { peer: self.role.peer(), after: PATIENCE }
        } else {
            LinkError::unreachable(self.role.peer(), error)
        }
    }
}

/// Redis refuses by `NOPERM`; within a script by an error whose words say so, though not which command it was.
fn lacks_a_right(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
        || error.detail().is_some_and(|detail| detail.contains("user executing the script can't"))
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("role", &self.role).finish_non_exhaustive()
    }
}
