//! How often may be asked for what costs a mail or a guess: of an address and for an account, by one control API and by two that
//! share a Redis.

use std::sync::Arc;

use control_api::{App, Config};
use domain::Clock;
use link::log::MemoryCarrier;
use serde_json::{Value, json};

use crate::support::{Answer, World, post};

/// The Redis that `make test` started.
fn redis() -> String {
    std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `make test`, which starts Redis")
}

/// An address that nobody else asks from.
fn client() -> String {
    let [a, b, c, ..] = uuid::Uuid::new_v4().into_bytes();
    format!("10.{a}.{b}.{c}")
}

fn sharing(redis: &str) -> Config {
    let mut config = Config::default();
    config.redis.cache = Some(redis.to_owned());
    config.identity.rates.login = 4;
    config
}

/// Two control APIs over one database, with a tenant that has a user.
async fn two(config: Config) -> (World, World, String) {
    let one = World::with(config.clone()).await;
    let staff = one.staff().await;
    let tenant = one.tenant(&staff, "acme").await;
    one.user(&staff, &tenant, "ann", &[]).await;
    let clock = Arc::clone(&one.clock);
    let carrier = Arc::new(MemoryCarrier::default());
    let app = App::new(config, one.app.store.clone(), carrier, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let other = World::over(app, clock, &one.staff_password);
    for world in [&one, &other] {
        world.app.share_rates().await.unwrap();
    }
    (one, other, tenant)
}

/// Signs in through the edge, as the edge would forward it for a client.
async fn sign_in(world: &World, tenant: &str, name: &str, client: &str) -> Answer {
    let path = "/api/v1/tenant/auth/login";
    let token = world.assertion_for(client, ("POST", path), "acme.localhost", Some(tenant)).await;
    let body: Value = json!({ "username": name, "password": "wrong" });
    post(path, &body).header("x-md-global-assertion", &token).send(&world.public).await
}

#[tokio::test]
async fn two_control_apis_count_the_sign_ins_of_an_address_together() {
    let (one, other, tenant) = two(sharing(&redis())).await;
    let from = client();
    for n in 0..4 {
        let world = if n % 2 == 0 { &one } else { &other };
        sign_in(world, &tenant, &format!("nobody-{n}"), &from).await.refused(401, "credentials_invalid");
    }
    for world in [&one, &other] {
        let refused = sign_in(world, &tenant, "nobody", &from).await.refused(429, "rate_limited");
        let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
    }
    sign_in(&other, &tenant, "nobody", &client()).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn two_control_apis_count_the_sign_ins_to_an_account_together_whether_or_not_it_is_there() {
    let (one, other, tenant) = two(sharing(&redis())).await;
    for (name, spelled) in [("ann", " ANN "), ("nobody", "Nobody")] {
        for n in 0..4_u8 {
            let (world, name) = if n % 2 == 0 { (&one, name) } else { (&other, spelled) };
            sign_in(world, &tenant, name, &client()).await.refused(401, "credentials_invalid");
        }
        for world in [&one, &other] {
            sign_in(world, &tenant, name, &client()).await.refused(429, "rate_limited");
        }
    }
    one.login("acme", "ann").await;
}

#[tokio::test]
async fn without_its_redis_each_control_api_counts_for_itself() {
    // Nobody listens there.
    let (one, other, tenant) = two(sharing("redis://127.0.0.1:1")).await;
    for world in [&one, &other] {
        for n in 0..4 {
            sign_in(world, &tenant, &format!("nobody-{n}"), "192.0.2.13").await.refused(401, "credentials_invalid");
        }
        sign_in(world, &tenant, "nobody", "192.0.2.13").await.refused(429, "rate_limited");
        world.clock.advance(std::time::Duration::from_secs(60));
        sign_in(world, &tenant, "nobody", "192.0.2.13").await.refused(401, "credentials_invalid");
    }
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_at_the_start() {
    let world = World::with(sharing("not a url")).await;
    let refused = world.app.share_rates().await.unwrap_err().to_string();
    assert!(refused.contains("Redis (cache)") && !refused.contains("not a url"), "{refused}");
}

#[tokio::test]
async fn an_account_is_asked_for_so_often_in_a_minute_from_wherever() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let path = "/v1/auth/password/reset/request";
    let ask = async |client: &str, email: &str| {
        let token = world.assertion_for(client, ("POST", path), "acme.localhost", Some(&tenant)).await;
        post(path, &json!({ "email": email })).header("x-md-global-assertion", &token).send(&world.public).await
    };
    for n in 0..5 {
        let answer = ask(&format!("203.0.113.{n}"), "eve@example.com").await;
        assert_ne!(answer.code(), "rate_limited", "{answer:?}");
    }
    ask("203.0.113.9", "EVE@example.com").await.refused(429, "rate_limited");
    assert_ne!(ask("203.0.113.9", "adam@example.com").await.code(), "rate_limited");
}
