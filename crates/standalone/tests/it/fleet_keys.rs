//! API keys over a fleet: two gateways, two replicas of the control API, PostgreSQL and Redis, each a process. What is true
//! of a key is true at both gateways.

use authn::signature::{SignedParts, sign};
use aws_lc_rs::digest;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    node::problem,
    probing::cluster::{Cluster, world},
    staff::Admin,
    world::{HOST, unix_now},
};

const GATEWAYS: usize = 2;
const TENANT: &str = "00000000-0000-0000-0000-000000000001";

struct Key {
    id: String,
    prefix: String,
    secret: String,
}

impl Key {
    fn of(made: &Value) -> Self {
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        Self { id: text("id"), prefix: text("prefix"), secret: text("secret") }
    }
}

struct Fleet<'w> {
    cluster: Cluster<'w>,
    staff: Admin,
    ann: Value,
}

impl<'w> Fleet<'w> {
    async fn over(cluster: Cluster<'w>) -> Self {
        let staff = cluster.staff().await;
        let ann = staff.find(&format!("/v1/tenants/{TENANT}/users"), "username", "ann").await["id"].clone();
        Self { cluster, staff, ann }
    }

    async fn key(&self, scheme: &str, networks: &[&str]) -> Key {
        let body = json!({
            "tenant_id": TENANT, "owner_id": self.ann, "name": scheme, "scheme": scheme, "networks": networks,
        });
        Key::of(&self.staff.send(Method::POST, "/v1/api-keys", &body).await)
    }

    async fn step(&self, key: &Key, verb: &str) -> Value {
        self.staff.send(Method::POST, &format!("/v1/api-keys/{}/{verb}", key.id), &json!({})).await
    }

    fn at(&self, gateway: usize) -> RequestBuilder {
        let (https, client) = &self.cluster.edges[gateway];
        client.get(format!("https://{HOST}:{}/echo/x", https.port()))
    }

    /// A request that is signed now, at one gateway or, the same, at another.
    fn signed(key: &Key, nonce: &str) -> impl Fn(RequestBuilder) -> RequestBuilder + use<> {
        let hash: String =
            digest::digest(&digest::SHA256, b"").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let at = unix_now().to_string();
        let parts = SignedParts { method: "GET", host: HOST, path: "/echo/x", query: "" };
        let tag = sign(&key.secret, &parts, &hash, &at, nonce);
        let fields = [
            ("x-api-key-id", key.prefix.clone()),
            ("x-timestamp", at),
            ("x-nonce", nonce.to_owned()),
            ("x-content-sha256", hash),
            ("x-signature", tag),
        ];
        move |request| fields.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }

    /// Both gateways come to answer so.
    async fn both(&self, what: &str, request: impl Fn(RequestBuilder) -> RequestBuilder, expected: (u16, &str)) {
        for gateway in 0..GATEWAYS {
            eventually(&format!("{what} at gateway {gateway}"), async || {
                let (status, code) = problem(request(self.at(gateway))).await;
                (status, code.as_str()) == expected
            })
            .await;
        }
    }

    /// A request with a fresh nonce that a gateway has accepted. On a busy machine Redis or the proof may be late, which is a 503 and uses
    /// the nonce up: then another is signed.
    async fn accepted(
        &self,
        gateway: usize,
        what: &str,
        mut sign: impl FnMut() -> Box<dyn Fn(RequestBuilder) -> RequestBuilder>,
    ) -> Box<dyn Fn(RequestBuilder) -> RequestBuilder> {
        let mut last = sign();
        eventually(what, async || {
            last = sign();
            problem(last(self.at(gateway))).await.0 == 200
        })
        .await;
        last
    }

    /// A gateway comes to refuse it so, and does not accept it before that.
    async fn refused(&self, gateway: usize, request: &dyn Fn(RequestBuilder) -> RequestBuilder, so: (u16, &str)) {
        eventually(&format!("{so:?} at gateway {gateway}"), async || {
            let (status, code) = problem(request(self.at(gateway))).await;
            assert_ne!(status, 200, "it was used, or cannot be known not to have been");
            (status, code.as_str()) == so
        })
        .await;
    }

    async fn read(&self, key: &Key) -> Value {
        self.staff.send(Method::GET, &format!("/v1/api-keys/{}", key.id), &Value::Null).await
    }
}

#[tokio::test]
async fn what_was_signed_is_good_once_at_one_gateway_of_all_and_not_after_redis_was_lost() {
    let (world, recorder) = world().await;
    let mut fleet = Fleet::over(Cluster::start(&world, recorder, GATEWAYS).await).await;
    let key = fleet.key("hmac", &[]).await;
    let mut number = 0;
    let mut sign = || {
        number += 1;
        Box::new(Fleet::signed(&key, &format!("nonce-{number:04}"))) as Box<dyn Fn(RequestBuilder) -> RequestBuilder>
    };
    let replayed = (401, "signature_replayed");
    for gateway in 0..GATEWAYS {
        _ = fleet.accepted(gateway, "the key is known and Redis remembers", &mut sign).await;
    }
    let first = fleet.accepted(0, "what is signed is accepted", &mut sign).await;
    for gateway in [1, 0] {
        fleet.refused(gateway, &first, replayed).await;
    }

    // Redis forgets everything; what was signed before that moment counts as used, be it or not.
    let unused = sign();
    let used = fleet.accepted(0, "it is accepted before Redis is lost", &mut sign).await;
    fleet.cluster.redis.restart(&[]).await;
    for gateway in 0..GATEWAYS {
        _ = fleet.accepted(gateway, "what is signed now is accepted again", &mut sign).await;
        for before in [&used, &unused] {
            fleet.refused(gateway, before, replayed).await;
        }
    }

    // Without it nothing signed is believed.
    fleet.cluster.redis.kill();
    for gateway in 0..GATEWAYS {
        fleet.refused(gateway, &sign(), (503, "nonces_unavailable")).await;
    }
    fleet.cluster.end().await;
}

#[tokio::test]
async fn a_key_is_disabled_rotated_limited_to_networks_and_revoked_at_every_gateway() {
    let (world, recorder) = world().await;
    let fleet = Fleet::over(Cluster::start(&world, recorder, GATEWAYS).await).await;
    let key = fleet.key("bearer", &[]).await;
    let with = |secret: &str| {
        let secret = secret.to_owned();
        move |request: RequestBuilder| request.bearer_auth(&secret)
    };
    fleet.both("it is accepted", with(&key.secret), (200, "")).await;

    fleet.step(&key, "disable").await;
    fleet.both("it is refused", with(&key.secret), (401, "api_key_disabled")).await;
    fleet.step(&key, "enable").await;
    fleet.both("it is accepted again", with(&key.secret), (200, "")).await;

    let second = Key::of(&fleet.step(&key, "rotate").await);
    fleet.both("the new secret is accepted", with(&second.secret), (200, "")).await;
    fleet.both("the old one, too", with(&key.secret), (200, "")).await;
    let third = Key::of(&fleet.step(&key, "rotate").await);
    fleet.both("the newest is accepted", with(&third.secret), (200, "")).await;
    fleet.both("that before it, too", with(&second.secret), (200, "")).await;
    fleet.both("the first is not", with(&key.secret), (401, "api_key_invalid")).await;

    let (here, elsewhere) = (fleet.key("bearer", &["127.0.0.0/8"]).await, fleet.key("bearer", &["192.0.2.0/24"]).await);
    fleet.both("it may be used from here", with(&here.secret), (200, "")).await;
    fleet.both("it may not be used from here", with(&elsewhere.secret), (403, "address_refused")).await;

    // However often both use it, that is noted to the minute, and is no change.
    eventually("its use is noted", async || !fleet.read(&here).await["last_used_at"].is_null()).await;
    let noted = |it: &Value| serde_json::from_value::<domain::Timestamp>(it["last_used_at"].clone()).unwrap();
    let before = fleet.read(&here).await;
    for n in 0..40 {
        eventually("it is used", async || {
            with(&here.secret)(fleet.at(n % GATEWAYS)).send().await.unwrap().status() == StatusCode::OK
        })
        .await;
    }
    let after = fleet.read(&here).await;
    assert_eq!(before["updated_at"], after["updated_at"]);
    let apart = noted(&after).millis() - noted(&before).millis();
    assert!(apart == 0 || apart >= 60_000, "{apart} ms");
    assert_eq!(fleet.read(&elsewhere).await["last_used_at"], Value::Null, "one that was refused was not used");

    fleet.staff.send(Method::DELETE, &format!("/v1/api-keys/{}", key.id), &Value::Null).await;
    fleet.both("it is refused for good", with(&third.secret), (401, "api_key_invalid")).await;
    assert_eq!(fleet.read(&key).await["status"], "revoked");
    fleet.cluster.end().await;
}
