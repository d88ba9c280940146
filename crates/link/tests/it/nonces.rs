//! Nonces: one suite for both places, and what a lost Redis forgets.

use std::{sync::Arc, time::Duration};

use domain::{ApiKeyId, Clock, Timestamp};
use link::{
    nonces::{MemoryNonces, Nonces, RedisNonces},
    redis::{Role, connect},
    redis_keys as keys,
};
use testkit::FixedClock;

use crate::redis::{Server, fresh};

/// At the time of a clock that goes on while this is asked.
async fn each_nonce_is_used_once(gateways: [Arc<dyn Nonces>; 2], clock: &FixedClock) {
    let (key, other): (ApiKeyId, ApiKeyId) = (fresh(), fresh());
    clock.advance(Duration::from_secs(1));
    let now = clock.unix_now();
    let [one, two] = &gateways;
    assert!(one.take(key, "n-0123456789", now).await.unwrap());
    assert!(!one.take(key, "n-0123456789", now).await.unwrap());
    assert!(!two.take(key, "n-0123456789", now).await.unwrap(), "at another gateway");
    assert!(two.take(other, "n-0123456789", now).await.unwrap(), "of another key");
    assert!(two.take(key, "n-9876543210", now).await.unwrap());
    let takes = gateways.iter().cycle().take(64).map(|nonces| {
        let nonces = Arc::clone(nonces);
        tokio::spawn(async move { nonces.take(key, "n-parallel", now).await.unwrap() })
    });
    let mut winners = 0;
    for take in takes.collect::<Vec<_>>() {
        winners += usize::from(take.await.unwrap());
    }
    assert_eq!(winners, 1, "of many at once");
}

#[tokio::test]
async fn in_memory_each_nonce_is_used_once() {
    let clock = Arc::new(FixedClock::default());
    let nonces = Arc::new(MemoryNonces::new(Arc::<FixedClock>::clone(&clock)));
    let before = clock.unix_now();
    each_nonce_is_used_once([Arc::<MemoryNonces>::clone(&nonces), nonces.clone()], &clock).await;
    assert!(!nonces.take(fresh(), "n-0123456789", before).await.unwrap(), "from before it began to remember");
    // Forgotten when no signature with it is accepted any more, and not before.
    let (key, at) = (fresh(), clock.unix_now());
    assert!(nonces.take(key, "n-0123456789", at).await.unwrap());
    clock.advance(Duration::from_secs(300));
    assert!(!nonces.take(key, "n-0123456789", at).await.unwrap());
}

#[tokio::test]
async fn in_redis_each_nonce_is_used_once_by_all_gateways() {
    let clock = Arc::new(FixedClock::default());
    // Of its own: the others' clocks go by other times.
    let server = Server::start("noeviction");
    let redis = connect(&server.url().await, Role::Revocation).await.unwrap();
    let gateway = || Arc::new(RedisNonces::new(redis.clone(), Arc::<FixedClock>::clone(&clock)));
    let (one, two) = (gateway(), gateway());
    one.begin().await.unwrap();
    two.begin().await.unwrap();
    each_nonce_is_used_once([one, two], &clock).await;
}

#[tokio::test]
async fn after_redis_was_lost_what_was_signed_before_is_refused() {
    let server = Server::start("noeviction");
    let url = server.url().await;
    let clock = Arc::new(FixedClock::default());
    let redis = connect(&url, Role::Revocation).await.unwrap();
    let nonces = RedisNonces::new(redis, Arc::<FixedClock>::clone(&clock));
    let begun: Timestamp = nonces.begin().await.unwrap();
    assert_eq!(nonces.begin().await.unwrap(), begun, "it goes on from where it began");
    clock.advance(Duration::from_secs(10));
    let (key, before) = (fresh(), clock.unix_now());
    assert!(nonces.take(key, "n-0123456789", before).await.unwrap());

    // Emptied: nobody's connection breaks.
    let client = ::redis::Client::open(url.as_str()).unwrap();
    let mut plain = client.get_multiplexed_async_connection().await.unwrap();
    ::redis::cmd("FLUSHALL").query_async::<()>(&mut plain).await.unwrap();
    clock.advance(Duration::from_secs(10));
    assert!(!nonces.take(key, "n-0123456789", before).await.unwrap(), "replayed");
    assert!(!nonces.take(key, "n-unseen-00", before).await.unwrap(), "signed before");
    clock.advance(Duration::from_secs(1));
    assert!(nonces.take(key, "n-unseen-01", clock.unix_now()).await.unwrap(), "signed since");

    // Another one answers, which has since when, and not the last nonces.
    let lost = clock.unix_now();
    ::redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes")
        .query_async::<i64>(&mut plain)
        .await
        .unwrap();
    clock.advance(Duration::from_secs(1));
    testkit::eventually("the connection is noticed to be lost, and made again", async || {
        let _ = ::redis::cmd("DEL").arg(keys::nonce(key, "n-unseen-01")).query_async::<i64>(&mut plain).await;
        matches!(nonces.take(key, "n-unseen-01", lost).await, Ok(false))
    })
    .await;
    drop(server);
    assert!(nonces.take(key, "n-unseen-02", clock.unix_now()).await.is_err(), "nobody can say");
}
