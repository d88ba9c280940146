//! What other services refuse in Redis, as it is found.

use std::{sync::Arc, time::Duration};

use ::redis::AsyncCommands;
use authn::claims::token_id;
use domain::{Clock, Fact, NumberedFact, Seq, Tag, TokenId};
use link::{
    clock::SystemClock,
    foreign_keys::{ForeignKeys, ForeignRefusal, LONGEST},
    log::{FactCarrier, Hint, RedisCarrier},
    redis::Role,
};

use crate::redis::{connected, fresh, plain};

/// Names of this test alone.
fn prefix() -> String {
    format!("test:{}:", uuid::Uuid::new_v4())
}

async fn foreign(prefix: &str) -> ForeignKeys {
    ForeignKeys::new(connected(Role::Revocation).await, prefix, Arc::new(SystemClock))
}

/// Everything that is found until `count` are.
async fn found(foreign: &mut ForeignKeys, count: usize) -> Vec<ForeignRefusal> {
    let mut all: Vec<ForeignRefusal> = Vec::new();
    let finding = async {
        while all.len() < count {
            let found = foreign.next().await.unwrap();
            foreign.taken_over(&found);
            all.extend(found);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), finding).await.unwrap();
    all
}

#[tokio::test]
async fn keys_of_other_services_are_found_whatever_they_hold() {
    let (prefix, mut redis) = (prefix(), plain().await);
    let ids: Vec<TokenId> = (0..4).map(|_| fresh()).collect();
    let key = |id: TokenId| format!("{prefix}{id}");
    let () = redis.set_ex(key(ids[0]), "logged out", 600).await.unwrap();
    let () = redis.hset(key(ids[1]), "why", "stolen").await.unwrap();
    let () = redis.expire(key(ids[1]), 600).await.unwrap();
    let () = redis.set(key(ids[2]), 1).await.unwrap();
    let () = redis.set_ex(key(ids[3]), 1, 30 * 24 * 3600).await.unwrap();
    let () = redis.set_ex(format!("{prefix}no uuid"), 1, 600).await.unwrap();
    let () = redis.set_ex(format!("{prefix}{}", "x".repeat(300)), 1, 600).await.unwrap();
    let now = SystemClock.unix_now();
    let found = found(&mut foreign(&prefix).await, 5).await;
    let until = |id| found.iter().find(|it| it.jti == id).unwrap().exp.since(now).as_secs();
    assert!((590..=600).contains(&until(ids[0])));
    assert!((590..=600).contains(&until(ids[1])), "of any type");
    assert!((590..=600).contains(&until(token_id("no uuid"))));
    let longest = LONGEST.as_secs() - 10..=LONGEST.as_secs() + 60;
    assert!(longest.contains(&until(ids[2])), "without an expiry");
    assert!(longest.contains(&until(ids[3])), "of one that is too far away");
    assert_eq!(found.len(), 5, "each once, and no name that is too long");
}

#[tokio::test]
async fn a_flood_is_found_whole_and_once() {
    const FLOOD: usize = 10_000;
    let (prefix, mut redis) = (prefix(), plain().await);
    let mut keys = ::redis::pipe();
    for _ in 0..FLOOD {
        keys.set_ex(format!("{prefix}{}", fresh::<domain::id::kind::Token>()), 1, 600).ignore();
    }
    keys.query_async::<()>(&mut redis).await.unwrap();
    let mut foreign = foreign(&prefix).await;
    let mut ids: Vec<TokenId> = found(&mut foreign, FLOOD).await.iter().map(|it| it.jti).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), FLOOD);
    let late: TokenId = fresh();
    let () = redis.set_ex(format!("{prefix}{late}"), 1, 600).await.unwrap();
    assert_eq!(found(&mut foreign, 1).await[0].jti, late, "what was taken over is not found again");
}

#[tokio::test]
async fn what_was_not_taken_over_is_found_again() {
    let (prefix, mut redis) = (prefix(), plain().await);
    let jti: TokenId = fresh();
    let () = redis.set_ex(format!("{prefix}{jti}"), 1, 600).await.unwrap();
    let mut foreign = foreign(&prefix).await;
    for _ in 0..2 {
        assert_eq!(foreign.next().await.unwrap()[0].jti, jti);
    }
}

#[tokio::test]
async fn a_key_of_another_service_is_neither_overwritten_nor_cut_short_and_ours_are_not_taken_over() {
    let clock = Arc::new(SystemClock);
    let carrier = RedisCarrier::new(connected(Role::Revocation).await, clock.clone());
    let (theirs, ours): (TokenId, TokenId) = (fresh(), fresh());
    let mut redis = plain().await;
    let () = redis.set_ex(format!("bl:jti:{theirs}"), "theirs", 7200).await.unwrap();
    let exp = clock.unix_now() + Duration::from_secs(600);
    let hint = |jti| {
        let fact = NumberedFact { seq: Seq(1), tag: Tag(2), fact: Fact::TokenRefused { jti, exp } };
        Hint { after: Tag(1), fact }
    };
    carrier.publish(&[hint(theirs), hint(ours)]).await.unwrap();
    let kept: (String, u64) =
        (redis.get(format!("bl:jti:{theirs}")).await.unwrap(), redis.ttl(format!("bl:jti:{theirs}")).await.unwrap());
    assert!(kept.0 == "theirs" && kept.1 > 7000, "{kept:?}");
    // Of exactly these two names, one is another service's.
    let one = |jti: TokenId| format!("bl:jti:{}", &jti.to_string()[..35]);
    let mut foreign_one = foreign(&one(theirs)).await;
    assert_eq!(found(&mut foreign_one, 1).await.len(), 1);
    let mut own_one = foreign(&one(ours)).await;
    let nothing = tokio::time::timeout(Duration::from_secs(3), own_one.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}
