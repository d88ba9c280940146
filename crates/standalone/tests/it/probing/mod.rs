//! What a fault does to a revocation, seen from outside: a credential is replayed at every gateway, something breaks, the
//! credential is revoked.
//!
//! A probe was accepted when the upstream has it. No probe may be that was sent after the 200 (204) of the revoking call came,
//! after the time that its 202 named, or later than a lease after the commit.

pub(crate) mod cluster;
pub(crate) mod prober;
pub(crate) mod proxy;
pub(crate) mod redis;

use std::time::Duration;

use domain::Timestamp;
use link::log::LEASE;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use self::{
    cluster::Cluster,
    prober::{Probe, Prober},
    redis::Redis,
};
use crate::{staff::Admin, world::unix_now};

/// Probing goes on for this long after the answer, and after a gateway was woken.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// What breaks, just before the credential is revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Redis dies, and stays dead.
    RedisKilled,
    /// Redis dies and is there again at once, with nothing in it.
    RedisRestartedEmpty,
    /// Redis is stopped (`SIGSTOP`) and goes on later.
    RedisPaused,
    /// Nothing comes through to Redis or from it, and no connection is closed.
    RedisCutOff,
    /// A replica of Redis takes over that was not told of the revocation.
    RedisFailedOver,
    /// The replica of the control API that the gateways follow dies; another one revokes.
    ControlApiKilled,
    /// That, and nothing comes through to Redis.
    ControlApiKilledAndRedisCutOff,
    /// One gateway is stopped (`SIGSTOP`) and goes on after the answer.
    GatewayPaused,
}

impl Fault {
    /// As people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "healthy",
            Self::RedisKilled => "Redis killed",
            Self::RedisRestartedEmpty => "Redis restarted empty",
            Self::RedisPaused => "Redis paused",
            Self::RedisCutOff => "Redis cut off",
            Self::RedisFailedOver => "Redis failed over, writes lost",
            Self::ControlApiKilled => "control API killed",
            Self::ControlApiKilledAndRedisCutOff => "control API killed, Redis cut off",
            Self::GatewayPaused => "gateway paused and resumed",
        }
    }

    async fn strike(self, cluster: &mut Cluster<'_>) -> Option<Redis> {
        match self {
            Self::None => {}
            Self::RedisKilled => cluster.redis.kill(),
            Self::RedisRestartedEmpty => cluster.redis.restart(&[]).await,
            Self::RedisPaused => cluster.redis.signal("STOP"),
            Self::RedisCutOff => cluster.proxy.cut(),
            Self::RedisFailedOver => {
                let replica = Redis::replica_of(&cluster.redis).await;
                replica.promote().await;
                return Some(replica);
            }
            Self::ControlApiKilled => cluster.kill_control_api(),
            Self::ControlApiKilledAndRedisCutOff => {
                cluster.proxy.cut();
                cluster.kill_control_api();
            }
            Self::GatewayPaused => cluster.gateways.last().unwrap().signal("STOP"),
        }
        None
    }

    async fn mend(self, cluster: &mut Cluster<'_>) {
        match self {
            Self::None | Self::RedisRestartedEmpty | Self::RedisFailedOver => {}
            Self::RedisKilled => cluster.redis.restart(&[]).await,
            Self::RedisPaused => cluster.redis.signal("CONT"),
            Self::RedisCutOff => cluster.proxy.turn_to(cluster.redis.address),
            Self::ControlApiKilled => cluster.restart_control_api().await,
            Self::ControlApiKilledAndRedisCutOff => {
                cluster.proxy.turn_to(cluster.redis.address);
                cluster.restart_control_api().await;
            }
            Self::GatewayPaused => cluster.gateways.last().unwrap().signal("CONT"),
        }
    }
}

/// What was seen of one revocation.
pub(crate) struct Outcome {
    /// How long the revoking call took.
    pub(crate) took: Duration,
    /// Whether its answer was a 202 that named a time.
    pub(crate) named_a_time: bool,
    /// The moment of the answer, or the time that it named.
    pub(crate) over: Instant,
    /// The moment from which no gateway may accept: that, or a lease after the answer, which is no earlier than a lease after
    /// the commit.
    pub(crate) too_late: Instant,
    /// Every probe, of all gateways.
    pub(crate) probes: Vec<Probe>,
}

impl Outcome {
    /// Breaks something, revokes, mends it, and watches all the while.
    pub(crate) async fn of(fault: Fault, cluster: &mut Cluster<'_>) -> Self {
        let all: Vec<usize> = (0..cluster.edges.len()).collect();
        let (token, staff) = (cluster.sign_in().await, cluster.staff().await);
        let prober = Prober::start(&cluster.recorder, &cluster.edges, &token);
        prober.answered(&all, StatusCode::OK, Instant::now()).await;

        let replica = fault.strike(cluster).await;
        let Answer { took, until } = revoke(cluster, &staff).await;
        let answered = Instant::now();
        if let Some(replica) = replica {
            cluster.proxy.turn_to(replica.address);
            cluster.redis = replica;
        }
        let over = answered + until.map_or(Duration::ZERO, |until| until.since(unix_now()));
        sleep_until(over + AFTERWARDS).await;
        let mended = Instant::now();
        fault.mend(cluster).await;
        sleep(AFTERWARDS).await;
        // Every gateway has heard in the end: it does not only lack proof.
        prober.answered(&all, StatusCode::UNAUTHORIZED, mended).await;
        let too_late = over.min(answered + LEASE);
        Self { took, named_a_time: until.is_some(), over, too_late, probes: prober.end().await }
    }

    /// The probes that a gateway accepted although they were sent too late.
    pub(crate) fn accepted_too_late(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(|probe| probe.arrived.is_some() && probe.sent > self.too_late)
    }
}

/// What a revoking call was answered.
pub(crate) struct Answer {
    /// After how long.
    pub(crate) took: Duration,
    /// The time that a 202 named.
    pub(crate) until: Option<Timestamp>,
}

/// Signs ann out everywhere.
pub(crate) async fn revoke(cluster: &Cluster<'_>, staff: &Admin) -> Answer {
    let began = Instant::now();
    let (status, body) = staff.answer(Method::POST, cluster.revoke(), &json!(null)).await;
    let named = (status == StatusCode::ACCEPTED).then(|| serde_json::from_value(body["until"].clone()).unwrap());
    Answer { took: began.elapsed(), until: named }
}
