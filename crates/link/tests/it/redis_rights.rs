//! The access rules that `docs/revocation.md` gives, tried against a real Redis: each program can do its work with them,
//! and nobody can do another's.

use std::{sync::Arc, time::Duration};

use ::redis::RedisError;
use authn::mirror::Identity;
use domain::{Clock as _, Fact, NumberedFact, Seq, Tag};
use futures::StreamExt as _;
use link::{
    clock::SystemClock,
    log::{FactCarrier as _, Hint, RedisCarrier},
    nonces::{Nonces as _, RedisNonces},
    redis::{Role, connect},
    redis_record::RedisRecord,
};

use crate::redis::{Server, fresh};

const DOCS: &str = include_str!("../../../../docs/revocation.md");

/// The rules as they stand in the docs, each with a password.
fn rules() -> Vec<Vec<String>> {
    let given = DOCS.lines().filter_map(|line| line.strip_prefix("user "));
    let words = |line: &str| line.split_whitespace().map(|word| word.replace(">…", ">secret")).collect();
    let rules: Vec<Vec<String>> = given.map(words).collect();
    assert_eq!(
        rules.iter().filter_map(|rule| Some(rule.first()?.as_str())).collect::<Vec<_>>(),
        ["control-api", "gateway", "service"]
    );
    rules
}

async fn limited() -> Server {
    let server = Server::start("noeviction");
    let client = ::redis::Client::open(server.url().await).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for rule in rules() {
        let mut command = ::redis::cmd("ACL");
        command.arg("SETUSER").arg(&rule).query_async::<()>(&mut connection).await.unwrap();
    }
    server
}

pub(crate) async fn refused(server: &Server, user: &str, command: &[&str]) -> bool {
    let client = ::redis::Client::open(server.url_of(user).await).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (name, arguments) = command.split_first().unwrap();
    let answer = ::redis::cmd(name).arg(arguments).query_async::<::redis::Value>(&mut connection).await;
    answer.is_err_and(|error: RedisError| error.code() == Some("NOPERM"))
}

#[tokio::test]
async fn each_program_does_its_work_with_the_rights_that_the_docs_give() {
    let server = limited().await;
    let clock = Arc::new(SystemClock);
    let control_api = connect(&server.url_of("control-api").await, Role::Revocation).await.unwrap();
    let control_api = RedisCarrier::new(control_api, clock.clone()).adopting("bl:jti:");
    let gateway = connect(&server.url_of("gateway").await, Role::Revocation).await.unwrap();
    let listening = RedisCarrier::new(gateway.clone(), clock.clone());
    control_api.check_rights(true).await.unwrap();
    listening.check_rights(false).await.unwrap();
    let mut facts = listening.subscribe();
    let (mine, theirs) = (fresh(), fresh());
    let exp = clock.unix_now() + Duration::from_secs(600);
    let numbered = NumberedFact { seq: Seq(1), tag: Tag(2), fact: Fact::TokenRefused { jti: mine, exp } };
    let told = Hint { after: Tag(1), fact: numbered };

    // A subscriber hears of what comes after it has looked where the stream ends.
    let heard = tokio::spawn(async move { facts.next().await });
    testkit::eventually("the fact is heard", async || {
        control_api.publish(std::slice::from_ref(&told)).await.unwrap();
        heard.is_finished()
    })
    .await;
    assert_eq!(heard.await.unwrap(), Some(told));
    let nonces = RedisNonces::new(gateway.clone(), clock.clone());
    let signed_at = nonces.begin().await.unwrap() + Duration::from_secs(1);
    assert!(nonces.take(fresh(), "n-0123456789", signed_at).await.unwrap());
    assert!(listening.refuses(&Identity { token: Some(mine), ..Identity::default() }).await.unwrap());

    // A service refuses a token: the control API finds it, a gateway on its own reads it.
    let mut service = ::redis::Client::open(server.url_of("service").await)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let () = ::redis::cmd("SET")
        .arg(format!("bl:jti:{theirs}"))
        .arg(1)
        .arg("EX")
        .arg(600)
        .query_async(&mut service)
        .await
        .unwrap();
    let found = control_api.foreign().unwrap().next().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let record = RedisRecord::new(gateway, clock).read().await.unwrap();
    assert!(record.iter().any(|fact| matches!(fact, Fact::TokenRefused { jti, .. } if *jti == theirs)), "{record:?}");
}

#[tokio::test]
async fn a_missing_right_is_said_at_the_start_with_its_command_and_keys() {
    let server = limited().await;
    let client = ::redis::Client::open(server.url().await).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    for (user, writes, without, command, keys) in [
        ("gateway", false, "-xread", "'xread'", "{rev}:*"),
        ("gateway", false, "-exists", "'exists'", "bl:*"),
        ("control-api", true, "-xadd", "'xadd'", "{rev}:*"),
        ("control-api", true, "-expire", "'expire'", "bl:*"),
    ] {
        ::redis::cmd("ACL").arg("SETUSER").arg(user).arg(without).query_async::<()>(&mut admin).await.unwrap();
        let redis = connect(&server.url_of(user).await, Role::Revocation).await.unwrap();
        let said = RedisCarrier::new(redis, Arc::new(SystemClock)).check_rights(writes).await.unwrap_err();
        let (fatal, said) = (!said.is_unreachable(), said.to_string());
        assert!(fatal && said.contains(command) && said.contains(keys), "{user} {without}: {said}");
        ::redis::cmd("ACL")
            .arg("SETUSER")
            .arg(user)
            .arg(without.replace('-', "+"))
            .query_async::<()>(&mut admin)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn nobody_does_what_is_anothers_to_do() {
    let server = limited().await;
    for (user, command) in [
        ("gateway", &["SET", "bl:jti:x", "1"][..]),
        ("gateway", &["DEL", "bl:jti:x"]),
        ("gateway", &["DEL", "{rev}:nonces"]),
        ("gateway", &["SET", "{rev}:key:x", "1"]),
        ("gateway", &["XADD", "{rev}:facts", "*", "f", "x"]),
        ("gateway", &["FLUSHALL"]),
        ("gateway", &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]),
        ("gateway", &["GET", "somebody-else"]),
        ("service", &["SET", "bl:user:x:y", "1"]),
        ("service", &["SET", "{rev}:ug:x:y", "1"]),
        ("service", &["DEL", "bl:jti:x"]),
        ("service", &["GET", "{rev}:facts"]),
        ("service", &["FLUSHALL"]),
        ("control-api", &["FLUSHALL"]),
        ("control-api", &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]),
        ("control-api", &["SET", "somebody-else", "1"]),
    ] {
        assert!(refused(&server, user, command).await, "{user} {command:?}");
    }
    for (user, command) in
        [("service", &["SET", "bl:jti:x", "1", "EX", "60"][..]), ("gateway", &["EXISTS", "bl:jti:x"])]
    {
        assert!(!refused(&server, user, command).await, "{user} {command:?}");
    }
}
