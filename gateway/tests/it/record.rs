//! A gateway without a control plane whose record of revocations is Redis.

use std::sync::Arc;

use domain::Clock;
use gateway::{Edge, EdgeParts, config::Revocations};
use link::clock::SystemClock;
use testkit::{
    eventually,
    raw::{self, Response},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use uuid::Uuid;

use crate::support::{ACME, ACME_ID, Ask, Fixture, config, http1};

/// One command in Redis' inline form.
async fn redis(url: &str, command: &str) {
    let address = url.trim_start_matches("redis://").split('/').next().unwrap().rsplit('@').next().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
    assert!(answer.starts_with("+OK"), "{answer}");
}

#[tokio::test]
async fn a_token_set_in_redis_is_refused_and_readiness_shows_the_lease() {
    let url = std::env::var("REDIS_URL").expect("REDIS_URL names a Redis: run `make test`");
    let fixture = Fixture::start().await;
    let mut config = config();
    config.revocations = Revocations::Redis;
    config.redis.revocation = Some(url.clone());
    config.feed.file = Some(fixture.folder.path().join("edge.yaml"));
    let edge = Edge::start(EdgeParts::from_config(config, Arc::new(SystemClock)).await.unwrap()).await.unwrap();
    let (mine, other) = (Uuid::new_v4(), Uuid::new_v4());
    let token = |jti: Uuid| {
        let claims = fixture.issuer.external_claims(SystemClock.unix_now()).set("tid", ACME_ID).set("jti", jti);
        fixture.issuer.mint(claims.set("roles", ["member"]))
    };
    let ask = async |token: &str| {
        let bytes = http1(&Ask::get("/orders").bearer(token));
        Response::parse(&raw::tls_http1(edge.https()[0], ACME, &fixture.ca.ca_pem(), &bytes).await.unwrap())
    };
    let (mine_token, other_token) = (token(mine), token(other));
    eventually("freshness is proven", async || ask(&mine_token).await.status == 200).await;
    redis(&url, &format!("SET bl:jti:{mine} 1 EX 900")).await;
    eventually("the token is refused", async || {
        let response = ask(&mine_token).await;
        response.status == 401 && response.json()["code"] == "token_revoked"
    })
    .await;
    assert_eq!(ask(&other_token).await.status, 200);
    let ready = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let report = Response::parse(&raw::http1(edge.metrics()[0], ready).await.unwrap()).json();
    assert_eq!(report["revocations"]["proven"], true, "{report}");
}
