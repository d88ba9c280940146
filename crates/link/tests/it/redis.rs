//! Against a real Redis.

use std::{sync::Arc, time::Duration};

use ::redis::AsyncCommands;
use authn::mirror::Identity;
use domain::{
    Clock, Fact, Id, NumberedFact, Period, Position, Secret, Seq, SessionId, Tag, TenantId, TokenId,
    fact::Bindings,
    quota::{Span, UsagePart},
};
use futures::StreamExt;
use link::{
    LinkError,
    bindings_cache::BindingsCache,
    clock::SystemClock,
    log::{FactCarrier, Hint, RedisCarrier},
    redis::{Redis, Role, connect, connect_late},
    redis_keys as keys,
    shared_limits::{Cost, Counted, SharedLimits},
    shared_usage::{KeptUsage, UsageEntry},
};

/// The Redis that `make test` started.
fn url() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `make test`, which starts Redis")
}

pub(crate) async fn connected(role: Role) -> Redis {
    connect(&url(), role).await.unwrap()
}

/// A second look at the same Redis, past our own code.
pub(crate) async fn plain() -> ::redis::aio::MultiplexedConnection {
    ::redis::Client::open(url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// An id that no other test uses.
pub(crate) fn fresh<K>() -> Id<K> {
    Id::new(uuid::Uuid::new_v4())
}

fn hint(seq: u64, fact: Fact) -> Hint {
    Hint { after: Tag(1), fact: NumberedFact { seq: Seq(seq), tag: Tag(2), fact } }
}

#[tokio::test]
async fn facts_reach_a_subscriber_and_the_keys_of_other_services() {
    let clock = Arc::new(SystemClock);
    let carrier = RedisCarrier::new(connected(Role::Revocation).await, clock.clone());
    let (jti, sid): (TokenId, SessionId) = (fresh(), fresh());
    let (tenant, user) = (fresh(), fresh());
    let exp = clock.unix_now() + Duration::from_secs(600);
    let facts = vec![
        Fact::TokenRefused { jti, exp },
        Fact::SessionEnded { sid, exp },
        Fact::UserGeneration { tenant, user, generation: 3, cutoff: None },
        Fact::TenantGeneration { tenant, generation: 2, cutoff: None },
    ];
    let hints: Vec<Hint> = (1..).zip(facts).map(|(seq, fact)| hint(seq, fact)).collect();
    let mut heard = carrier.subscribe();
    // A subscriber hears what comes after it began to listen, so it is told until it hears.
    let telling = tokio::spawn({
        let (carrier, hints) = (carrier.clone(), hints.clone());
        async move {
            loop {
                carrier.publish(&hints).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let all_heard = async {
        let mut missing = hints.clone();
        while !missing.is_empty() {
            let next = heard.next().await.unwrap();
            missing.retain(|hint| *hint != next);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_heard).await.unwrap();
    telling.abort();

    let mut redis = plain().await;
    let ttl: i64 = redis.ttl(format!("bl:jti:{jti}")).await.unwrap();
    assert!((600..=661).contains(&ttl), "{ttl}");
    let watermark: i64 = redis.get(keys::user_watermark(tenant, user)).await.unwrap();
    assert!((clock.unix_now().secs() - watermark).abs() < 30);

    let token = Identity {
        tenant: Some(tenant),
        user: Some(user),
        user_generation: 3,
        tenant_generation: 2,
        ..Identity::default()
    };
    assert!(!carrier.refuses(&token).await.unwrap());
    assert!(carrier.refuses(&Identity { token: Some(jti), ..token }).await.unwrap());
    assert!(carrier.refuses(&Identity { session: Some(sid), ..token }).await.unwrap());
    assert!(carrier.refuses(&Identity { user_generation: 2, ..token }).await.unwrap());
    assert!(carrier.refuses(&Identity { tenant_generation: 1, ..token }).await.unwrap());
}

#[tokio::test]
async fn what_has_expired_is_not_listed() {
    let clock = Arc::new(SystemClock);
    let carrier = RedisCarrier::new(connected(Role::Revocation).await, clock.clone());
    let jti: TokenId = fresh();
    let exp = clock.unix_now() - Duration::from_secs(3600);
    carrier.publish(&[hint(1, Fact::TokenRefused { jti, exp })]).await.unwrap();
    let listed: bool = plain().await.exists(keys::refused_token(jti)).await.unwrap();
    assert!(!listed);
}

#[tokio::test]
async fn bindings_are_shared_and_forged_ones_refused() {
    let redis = connected(Role::Cache).await;
    let key = Secret::new(vec![7; 32]);
    let cache = BindingsCache::new(redis.clone(), &key, Duration::from_secs(60));
    let (tenant, user, other) = (fresh(), fresh(), fresh());
    assert_eq!(cache.bindings(tenant, user).await.unwrap(), None);
    let bindings = Bindings { as_of: Seq(5), active: true, roles: vec![fresh()], ..Bindings::default() };
    cache.keep(tenant, user, &bindings).await.unwrap();
    assert_eq!(cache.bindings(tenant, user).await.unwrap(), Some(bindings));
    let mut plain = plain().await;
    let value: Vec<u8> = plain.get(keys::bindings(tenant, user)).await.unwrap();
    let () = plain.set(keys::bindings(tenant, other), value).await.unwrap();
    let moved = cache.bindings(tenant, other).await;
    assert!(matches!(moved, Err(LinkError::Unreadable { .. })), "{moved:?}");
}

#[tokio::test]
async fn a_redis_that_is_not_there_or_has_a_bad_url_says_so_without_its_password() {
    let error = connect("redis://:hunter2@127.0.0.1:1/", Role::Revocation).await.unwrap_err();
    assert!(matches!(error, LinkError::Unreachable { .. }), "{error:?}");
    let error = connect("hunter2", Role::Revocation).await.unwrap_err();
    assert!(matches!(&error, LinkError::Unfit { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn a_chain_of_hints_names_the_tag_before_each() {
    let facts =
        (4..7).map(|seq| hint(seq, Fact::TenantGeneration { tenant: fresh(), generation: seq, cutoff: None }).fact);
    let tags = [Tag(11), Tag(12), Tag(13)];
    let facts = facts.zip(tags).map(|(fact, tag)| NumberedFact { tag, ..fact });
    let chain = Hint::chain(Position { seq: Seq(3), tag: Tag(10), ..Position::default() }, facts);
    assert_eq!(chain.iter().map(|hint| hint.after).collect::<Vec<_>>(), [Tag(10), Tag(11), Tag(12)]);
}

/// A Redis of its own on a Unix socket.
pub(crate) struct Server {
    process: std::process::Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// One that does this when it is full.
    pub(crate) fn start(policy: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), policy)
    }

    fn start_in(folder: tempfile::TempDir, policy: &str) -> Self {
        let process = std::process::Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--maxmemory-policy", policy, "--unixsocket"])
            .arg(folder.path().join("redis.sock"))
            .stdout(std::process::Stdio::null())
            .spawn();
        Self { process: process.unwrap(), folder }
    }

    /// Once it listens.
    pub(crate) async fn url(&self) -> String {
        let socket = self.folder.path().join("redis.sock");
        testkit::eventually("Redis listens", async || socket.exists()).await;
        format!("redis+unix://{}", socket.display())
    }

    /// For a user whose password is `secret`.
    pub(crate) async fn url_of(&self, user: &str) -> String {
        format!("{}?user={user}&pass=secret", self.url().await)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn a_revocation_store_that_evicts_is_refused_at_the_start_and_believed_no_more_once_it_does() {
    let server = Server::start("allkeys-lru");
    let url = server.url().await;
    let refused = connect(&url, Role::Revocation).await;
    assert!(matches!(refused, Err(LinkError::Unfit { .. })), "{refused:?}");
    connect(&url, Role::Cache).await.unwrap();
    let client = ::redis::Client::open(url.as_str()).unwrap();
    let mut plain = client.get_multiplexed_async_connection().await.unwrap();
    let mut policy = async |policy: &str| {
        let mut set = ::redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory-policy").arg(policy).query_async::<()>(&mut plain).await.unwrap();
    };
    policy("noeviction").await;
    let redis = connect(&url, Role::Revocation).await.unwrap();
    let clock = Arc::new(SystemClock);
    let carrier = RedisCarrier::new(redis.clone(), clock.clone());
    let record = link::redis_record::RedisRecord::new(redis.clone(), clock);
    assert!(!carrier.refuses(&Identity::default()).await.unwrap());
    assert_eq!(record.read().await.unwrap(), []);
    policy("volatile-ttl").await;
    assert!(matches!(redis.check_fitness().await, Err(LinkError::Unfit { .. })));
    assert!(matches!(carrier.fitness(), Err(LinkError::Unfit { .. })));
    let asked = carrier.refuses(&Identity::default()).await;
    assert!(matches!(asked, Err(LinkError::Unfit { .. })), "{asked:?}");
    assert!(matches!(record.read().await, Err(LinkError::Unfit { .. })));
    policy("noeviction").await;
    redis.check_fitness().await.unwrap();
    assert!(!carrier.refuses(&Identity::default()).await.unwrap());
}

#[tokio::test]
async fn a_store_that_answers_later_is_asked_before_it_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("redis+unix://{}", folder.path().join("redis.sock").display());
    assert!(connect(&url, Role::Revocation).await.is_err());
    let redis = connect_late(&url, Role::Revocation).await.unwrap();
    let carrier = RedisCarrier::new(redis, Arc::new(SystemClock));
    carrier.fitness().expect("one that is away is not unfit");
    let asked = carrier.refuses(&Identity::default()).await;
    assert!(asked.as_ref().is_err_and(LinkError::is_unreachable), "{asked:?}");

    let server = Server::start_in(folder, "allkeys-lru");
    server.url().await;
    testkit::eventually("it is asked what it does", async || carrier.fitness().is_err()).await;
    let asked = carrier.refuses(&Identity::default()).await;
    assert!(matches!(asked, Err(LinkError::Unfit { .. })), "{asked:?}");
    assert!(matches!(connect_late(&url, Role::Revocation).await, Err(LinkError::Unfit { .. })));
}

#[tokio::test]
async fn watermarks_in_the_record_refuse_foreign_tokens_by_when_they_were_issued() {
    let clock = Arc::new(SystemClock);
    let redis = connected(Role::Revocation).await;
    let (tenant, other, user) = (fresh(), fresh(), fresh());
    let mut plain = plain().await;
    let () = plain.set_ex(format!("bl:user:{tenant}:{user}"), 1_000_000, 600).await.unwrap();
    let () = plain.set_ex(format!("bl:tenant:{other}"), 1_000_001, 600).await.unwrap();
    let () = plain.set_ex(format!("bl:tenant:{}", fresh::<domain::id::kind::Tenant>()), "soon", 600).await.unwrap();
    let facts = link::redis_record::RedisRecord::new(redis.clone(), clock.clone()).read().await.unwrap();
    let at = |secs| Some(domain::Timestamp::from_secs(secs));
    for said in [
        Fact::UserGeneration { tenant, user, generation: 0, cutoff: at(1_000_000) },
        Fact::TenantGeneration { tenant: other, generation: 0, cutoff: at(1_000_001) },
    ] {
        assert!(facts.contains(&said), "{said:?}");
    }
    let carrier = RedisCarrier::new(redis, clock);
    for (iat, refused) in [(1_000_030, true), (1_000_031, false)] {
        let token = Identity { tenant: Some(tenant), user: Some(user), foreign_iat: at(iat), ..Identity::default() };
        assert_eq!(carrier.refuses(&token).await.unwrap(), refused, "{iat}");
        assert!(!carrier.refuses(&Identity { foreign_iat: None, ..token }).await.unwrap(), "ours go by generation");
    }
}

/// Of a bucket that may owe a day.
fn costing(bucket: &str, cost: Duration) -> Cost {
    Cost { bucket: bucket.to_owned(), cost, most: Duration::from_secs(86_400) }
}

/// A Redis that was too slow runs every call that was given up and made again.
#[tokio::test]
async fn a_bucket_owes_no_more_than_it_can() {
    let fleet: domain::FleetName = format!("f{}", uuid::Uuid::new_v4().simple()).parse().unwrap();
    let gateway = SharedLimits::new(connected(Role::Cache).await, fleet);
    let minute = Duration::from_secs(60);
    let told = [Cost { most: 2 * minute, ..costing("tenant:a", minute) }];
    for _ in 0..10 {
        let owed = gateway.count(&told).await.unwrap().owed[0];
        assert!(owed <= 2 * minute, "{owed:?}");
    }
    let lower = [Cost { most: Duration::from_secs(1), ..costing("tenant:a", Duration::ZERO) }];
    let owed = gateway.count(&lower).await.unwrap().owed[0];
    assert!(owed <= Duration::from_secs(1), "another limit forgives what it could never owe: {owed:?}");
}

#[tokio::test]
async fn gateways_of_a_fleet_count_in_one_bucket() {
    let redis = connected(Role::Cache).await;
    let fleet: domain::FleetName = format!("f{}", uuid::Uuid::new_v4().simple()).parse().unwrap();
    let gateways = [SharedLimits::new(redis.clone(), fleet.clone()), SharedLimits::new(redis.clone(), fleet)];
    let hour = Duration::from_secs(3600);
    let costs = |cost| vec![costing("tenant:a", cost), costing("tenant:b", Duration::ZERO)];
    let first = gateways[0].count(&costs(hour)).await.unwrap();
    assert_eq!(first, Counted { gateways: 1, owed: vec![hour, Duration::ZERO] });
    let second = gateways[1].count(&costs(hour)).await.unwrap();
    assert_eq!(second.gateways, 2);
    // By now a little has been paid back.
    assert!((2 * hour - Duration::from_secs(60)..=2 * hour).contains(&second.owed[0]), "{second:?}");
    assert_eq!(second.owed[1], Duration::ZERO);
    let many: Vec<_> = (0..600).map(|n| costing(&format!("tenant:{n}"), Duration::from_nanos(1))).collect();
    assert_eq!(gateways[0].count(&many).await.unwrap().owed.len(), 600);
    let elsewhere = SharedLimits::new(redis, "elsewhere".parse().unwrap());
    assert_eq!(elsewhere.count(&costs(Duration::ZERO)).await.unwrap().owed[0], Duration::ZERO, "another fleet");
}

#[tokio::test]
async fn parallel_counting_loses_nothing() {
    let fleet: domain::FleetName = format!("f{}", uuid::Uuid::new_v4().simple()).parse().unwrap();
    let gateway = SharedLimits::new(connected(Role::Cache).await, fleet);
    let minute = Duration::from_secs(60);
    let counting = (0..50).map(|_| {
        let gateway = gateway.clone();
        async move { gateway.count(&[costing("route:a", minute)]).await.unwrap().owed[0] }
    });
    let most = futures::future::join_all(counting).await.into_iter().max().unwrap();
    assert!((49 * minute..=50 * minute).contains(&most), "{most:?}");
}

fn entry(tenant: TenantId, parts: &[(u128, u64)], on_record: bool) -> UsageEntry {
    let part = |(counter, used): &(u128, u64)| UsagePart { counter: uuid::Uuid::from_u128(*counter), used: *used };
    let span = Span::at(Period::Day, SystemClock.unix_now());
    UsageEntry { tenant, product: "orders".into(), span, parts: parts.iter().map(part).collect(), on_record }
}

#[tokio::test]
async fn what_gateways_use_is_summed_and_told_twice_it_changes_nothing() {
    let place = SharedLimits::new(connected(Role::Cache).await, "default".parse().unwrap());
    let (tenant, other) = (fresh(), fresh());
    let kept = |total, founded| KeptUsage { total, founded };
    let keep = async |parts: &[(u128, u64)], on_record| {
        place.keep_usage(&[entry(tenant, parts, on_record), entry(other, &[], false)]).await.unwrap()
    };
    assert_eq!(keep(&[], false).await, [kept(0, false); 2], "asking makes nothing");
    for told in [&[(1, 5)][..], &[(1, 5)], &[(1, 4)], &[(2, 7), (1, 3)]] {
        keep(told, false).await;
    }
    assert_eq!(keep(&[], false).await, [kept(12, false), kept(0, false)]);
    assert_eq!(keep(&[(1, 2), (3, 1_000_000_000_000)], true).await[0], kept(1_000_000_000_012, true), "and the record");
    assert_eq!(keep(&[(1, 6)], false).await[0], kept(1_000_000_000_013, true));
    let key = keys::usage(tenant, Span::at(Period::Day, SystemClock.unix_now()), "orders");
    let ttl: i64 = plain().await.ttl(&key).await.unwrap();
    assert!((24 * 3600..=48 * 3600 + 60).contains(&ttl), "a day after its day: {ttl}");
    let () = plain().await.del(&key).await.unwrap();
    assert_eq!(keep(&[(1, 6)], false).await[0], kept(6, false), "what was lost says so");
    let many: Vec<_> = (0..600).map(|n| entry(fresh(), &[(1, n)], false)).collect();
    let kept = place.keep_usage(&many).await.unwrap();
    assert_eq!(kept.iter().map(|it| it.total).collect::<Vec<_>>(), (0..600).collect::<Vec<_>>());
}

#[tokio::test]
async fn gateways_that_tell_at_once_lose_nothing() {
    let place = SharedLimits::new(connected(Role::Cache).await, "default".parse().unwrap());
    let tenant = fresh();
    let telling = (0..50_u64).map(|n| {
        let place = place.clone();
        async move { place.keep_usage(&[entry(tenant, &[(u128::from(n % 5), n / 5 + 1)], false)]).await.unwrap() }
    });
    futures::future::join_all(telling).await;
    assert_eq!(place.keep_usage(&[entry(tenant, &[], false)]).await.unwrap()[0].total, 50, "five at ten");
}
