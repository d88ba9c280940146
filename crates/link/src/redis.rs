//! Connections to Redis. It has two roles, each with its URL; one instance serves both only in development.

use std::{fmt, time::Duration};

use ::redis::{
    AsyncConnectionConfig, Client, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};

use crate::LinkError;

/// Longest wait for a connection and for an answer. Redis is a hint or a cache: who waits longer asks elsewhere.
const PATIENCE: Duration = Duration::from_millis(500);

/// Longest pause between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a Redis is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Facts on their way, and the revocation list of other services. Must not evict.
    Revocation,
    /// Copies of what SQL holds. May evict.
    Cache,
}

impl Role {
    const fn peer(self) -> &'static str {
        match self {
            Self::Revocation => "Redis (revocation)",
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
}

/// Connects, and checks that the instance suits its role.
///
/// # Errors
/// [`LinkError::Unreachable`], or [`LinkError::Unfit`] for a revocation store that evicts.
pub async fn connect(url: &str, role: Role) -> Result<Redis, LinkError> {
    // The error of a bad URL may repeat it, and with it a password.
    let unfit = |_| LinkError::Unfit { peer: role.peer(), reason: "its URL cannot be read".into() };
    let client = Client::open(url).map_err(unfit)?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_max_delay(LONGEST_PAUSE)
        .set_number_of_retries(1);
    let connection = client.get_connection_manager_with_config(config).await;
    let connection = connection.map_err(|error| LinkError::unreachable(role.peer(), error))?;
    let redis = Redis { client, connection, role };
    redis.check_fitness().await?;
    Ok(redis)
}

impl Redis {
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
        match policy {
            Some("noeviction") => Ok(()),
            other => Err(LinkError::Unfit {
                peer: self.role.peer(),
                reason: format!("`maxmemory-policy` is `{}` and must be `noeviction`", other.unwrap_or("unknown")),
            }),
        }
    }

    pub(crate) fn error(&self, error: RedisError) -> LinkError {
        if error.is_timeout() {
            LinkError::TimedOut { peer: self.role.peer(), after: PATIENCE }
        } else {
            LinkError::unreachable(self.role.peer(), error)
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("role", &self.role).finish_non_exhaustive()
    }
}
