//! The access rules that `docs/redis.md` gives for the role `cache`, tried against a real Redis: they are enough for
//! everything that gateways and control APIs do there, each of them is needed, and nothing else is allowed.

use std::time::Duration;

use domain::{
    Period, Secret, Seq,
    fact::Bindings,
    quota::{Span, UsagePart},
};
use link::{
    LinkError,
    bindings_cache::BindingsCache,
    redis::{Redis, Role, connect},
    shared_limits::{Cost, SharedLimits},
    shared_rates::SharedRates,
    shared_usage::UsageEntry,
};

use crate::{
    redis::{Server, fresh},
    redis_rights::refused,
};

const DOCS: &str = include_str!("../../../../docs/redis.md");

/// The rule of the docs for a user, with a password.
fn rule_of(user: &str) -> Vec<String> {
    let rules: Vec<&str> = DOCS.lines().filter_map(|line| line.strip_prefix("user ")).collect();
    let rules: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| rule.split_whitespace().map(|word| word.replace(">…", ">secret")).collect())
        .filter(|rule: &Vec<String>| rule.first().is_some_and(|name| name == user))
        .collect();
    let [rule] = &rules[..] else { panic!("{rules:?}") };
    rule.clone()
}

fn rule() -> Vec<String> {
    rule_of("gateway")
}

async fn limited(rule: &[String]) -> Server {
    let server = Server::start("allkeys-lru");
    let client = ::redis::Client::open(server.url().await).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    ::redis::cmd("ACL").arg("SETUSER").arg(rule).query_async::<()>(&mut connection).await.unwrap();
    server
}

async fn gateway(server: &Server) -> Result<Redis, LinkError> {
    connect(&server.url_of("gateway").await, Role::Cache).await
}

/// Everything that a gateway does in this role.
async fn work(redis: &Redis) -> Result<(), LinkError> {
    let limits = SharedLimits::new(redis.clone(), "default".parse().unwrap());
    let bindings = BindingsCache::new(redis.clone(), &Secret::new(vec![0x5a; 32]), Duration::from_secs(60));
    let hour = Duration::from_secs(3600);
    limits.count(&[Cost { bucket: "tenant:a".into(), cost: hour, most: hour }]).await?;
    let entry = UsageEntry {
        tenant: fresh(),
        product: "orders".into(),
        span: Span::numbered(Period::Month, 900),
        parts: vec![UsagePart { counter: uuid::Uuid::from_u128(1), used: 3 }],
        on_record: true,
    };
    assert_eq!(limits.keep_usage(&[entry]).await?.first().map(|kept| kept.total), Some(3));
    let (tenant, user) = (fresh(), fresh());
    let held = Bindings { as_of: Seq(7), active: true, ..Bindings::default() };
    bindings.keep(tenant, user, &held).await?;
    assert_eq!(bindings.bindings(tenant, user).await?, Some(held));
    Ok(())
}

async fn check(redis: &Redis) -> Result<(), LinkError> {
    SharedLimits::new(redis.clone(), "default".parse().unwrap()).check_rights().await?;
    BindingsCache::new(redis.clone(), &Secret::new(vec![0x5a; 32]), Duration::from_secs(60)).check_rights().await
}

#[tokio::test]
async fn a_gateway_does_its_work_with_the_rights_that_the_docs_give() {
    let server = limited(&rule()).await;
    let redis = gateway(&server).await.unwrap();
    check(&redis).await.unwrap();
    work(&redis).await.unwrap();
    // With all scripts unknown, as after a restart of Redis.
    let client = ::redis::Client::open(server.url().await).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    ::redis::cmd("SCRIPT").arg("FLUSH").query_async::<()>(&mut connection).await.unwrap();
    work(&redis).await.unwrap();
}

#[tokio::test]
async fn a_missing_right_is_said_at_the_start_with_its_command_and_keys() {
    let server = limited(&rule()).await;
    let client = ::redis::Client::open(server.url().await).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    let mut setuser = async |words: &[String]| {
        ::redis::cmd("ACL").arg("SETUSER").arg("gateway").arg(words).query_async::<()>(&mut admin).await.unwrap();
    };
    for word in rule().into_iter().filter(|word| word.starts_with('+') && *word != "+@connection") {
        let name = word.trim_start_matches('+');
        setuser(&[format!("-{name}")]).await;
        let said = check(&gateway(&server).await.unwrap()).await.unwrap_err();
        assert!(matches!(said, LinkError::Unfit { .. }), "{word}: {said}");
        let said = said.to_string();
        assert!(said.contains(&format!("'{name}'")), "{word}: {said}");
        assert!(["{rl:default}:*", "{usage}:*", "pb:*"].iter().any(|keys| said.contains(keys)), "{word}: {said}");
        setuser(&[word]).await;
    }
    for (keys, named) in [("~pb:*", "pb:*"), ("~{rl:*}:*", "{rl:default}:*"), ("~{usage}:*", "{usage}:*")] {
        let others: Vec<String> = rule().into_iter().filter(|word| word.starts_with('~') && word != keys).collect();
        setuser(&[vec!["resetkeys".to_owned()], others].concat()).await;
        let said = check(&gateway(&server).await.unwrap()).await.unwrap_err();
        assert!(matches!(said, LinkError::Unfit { .. }) && said.to_string().contains(named), "{keys}: {said}");
        setuser(&[keys.to_owned()]).await;
    }
    check(&gateway(&server).await.unwrap()).await.expect("all of them are back");
}

#[tokio::test]
async fn a_gateway_does_nothing_else_in_the_cache() {
    let server = limited(&rule()).await;
    for command in [
        &["GET", "somebody-else"][..],
        &["SET", "bl:jti:x", "1"],
        &["XADD", "{rev}:facts", "*", "f", "x"],
        &["DEL", "pb:x:y"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["SCRIPT", "FLUSH"],
        &["FUNCTION", "LIST"],
        &["ACL", "WHOAMI"],
        &["EVAL", "return redis.call('GET', KEYS[1])", "1", "somebody-else"],
    ] {
        assert!(refused(&server, "gateway", command).await, "{command:?}");
    }
}

#[tokio::test]
async fn a_control_api_counts_with_the_rights_that_the_docs_give_and_needs_each() {
    let server = limited(&rule_of("control-api")).await;
    let connected = async || {
        let redis = connect(&server.url_of("control-api").await, Role::Cache).await.unwrap();
        SharedRates::new(redis)
    };
    let rates = connected().await;
    rates.check_rights().await.unwrap();
    let minute = Duration::from_secs(60);
    assert_eq!(rates.count("login:a:192.0.2.1", minute).await.unwrap().times, 1);
    let again = rates.count("login:a:192.0.2.1", minute).await.unwrap();
    assert!(again.times == 2 && again.left <= minute && again.left > Duration::ZERO, "{again:?}");
    assert_eq!(rates.count("login:a:192.0.2.2", minute).await.unwrap().times, 1, "another name");
    let client = ::redis::Client::open(server.url().await).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    // A window that somebody left without an end gets one.
    ::redis::cmd("PERSIST").arg("{rate}:login:a:192.0.2.1").query_async::<i64>(&mut admin).await.unwrap();
    let ended = rates.count("login:a:192.0.2.1", minute).await.unwrap();
    assert_eq!((ended.times, ended.left), (3, minute));
    let mut setuser = async |words: &[String]| {
        ::redis::cmd("ACL").arg("SETUSER").arg("control-api").arg(words).query_async::<()>(&mut admin).await.unwrap();
    };
    for word in rule_of("control-api").into_iter().filter(|word| word.starts_with('+') && *word != "+@connection") {
        let name = word.trim_start_matches('+');
        setuser(&[format!("-{name}")]).await;
        let said = connected().await.check_rights().await.unwrap_err();
        assert!(matches!(said, LinkError::Unfit { .. }), "{word}: {said}");
        assert!(said.to_string().contains(&format!("'{name}'")) && said.to_string().contains("{rate}:*"), "{said}");
        setuser(&[word]).await;
    }
    setuser(&["resetkeys".to_owned()]).await;
    let said = connected().await.check_rights().await.unwrap_err();
    assert!(said.to_string().contains("{rate}:*"), "{said}");
}

#[tokio::test]
async fn a_control_api_does_nothing_else_in_the_cache() {
    let server = limited(&rule_of("control-api")).await;
    for command in [
        &["GET", "{rate}:login:a:192.0.2.1"][..],
        &["DEL", "{rate}:login:a:192.0.2.1"],
        &["INCR", "pb:x:y"],
        &["INCR", "{rl:default}:tenant:a"],
        &["KEYS", "*"],
        &["FLUSHALL"],
        &["SCRIPT", "FLUSH"],
        &["EVAL", "return redis.call('INCR', KEYS[1])", "1", "{rate}:x"],
    ] {
        assert!(refused(&server, "control-api", command).await, "{command:?}");
    }
}
