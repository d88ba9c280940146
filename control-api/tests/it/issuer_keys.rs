//! Key sets of external issuers, fetched from a real server over TLS.

use std::{sync::Arc, time::Duration};

use authz::Scope;
use control_api::{
    App, Config,
    internal::Plane,
    issuer_keys::{self, fetch::Fetcher},
};
use domain::{IssuerId, snapshot::Algorithm};
use link::log::ControlPlane;
use serde_json::{Value, json};
use store::{StoreError, read::*};
use testkit::TestKey;

use crate::{
    key_server::{KeyServer, Reply},
    support::{World, call, get, post},
};

const SECOND: Duration = Duration::from_secs(1);

/// A control API that trusts a key server, and one issuer with its keys there.
struct Bound {
    world: World,
    server: KeyServer,
    fetcher: Fetcher,
    id: IssuerId,
    staff: String,
}

fn key(kid: &str) -> Value {
    TestKey::generate(Algorithm::Es256).with_kid(kid).jwk()
}

fn set(keys: &[&Value]) -> Value {
    json!({ "keys": keys })
}

impl Bound {
    async fn new(server: KeyServer, source: impl Fn(&KeyServer) -> Value) -> Self {
        let mut config = Config::default();
        config.issuers.on_loopback = true;
        config.issuers.ca = Some(server.ca.clone());
        let fetcher = Fetcher::new(&config.issuers).unwrap().with_patience(SECOND / 2);
        let world = World::with(config).await;
        let staff = world.staff().await;
        let tenant = world.tenant(&staff, "acme").await;
        let found = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
        let mut body = json!({
            "project_id": found.text("project_id"), "issuer": server.url(""), "audiences": ["orders"],
            "algorithms": ["ES256"], "tenant": tenant,
        });
        body.as_object_mut().unwrap().extend(source(&server).as_object().unwrap().clone());
        let made = post("/v1/issuers", &body).bearer(&staff).send(&world.admin).await.expect(201);
        let id = made.id().parse().unwrap();
        Self { world, server, fetcher, id, staff }
    }

    async fn by_url() -> Self {
        Self::new(KeyServer::start().await, |server| json!({ "jwks_url": server.url("/jwks") })).await
    }

    fn app(&self) -> &App {
        &self.world.app
    }

    /// Fetches what is due; how many fetches that were.
    async fn fetch(&self) -> usize {
        let due = self.app().store.due_fetches(self.app().now(), 10).await.unwrap();
        let mut done = 0;
        for seen in due {
            done += usize::from(issuer_keys::fetch_due(self.app(), &self.fetcher, &seen).await.unwrap());
        }
        done
    }

    async fn keys(&self) -> Vec<String> {
        let issuer = self.app().store.issuer(self.id).await.unwrap().unwrap();
        let keys = issuer.jwks["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    async fn error(&self) -> String {
        self.app().store.issuer_fetch(self.id).await.unwrap().unwrap().error.unwrap_or_default()
    }

    /// As a gateway that met an unknown `kid`.
    async fn ask(&self) {
        Plane::new(Arc::clone(&self.app().hub)).refresh_issuer(self.id).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_fetched_renewed_and_told_to_gateways() {
    let bound = Bound::by_url().await;
    let (one, two) = (key("one"), key("two"));
    let first = one.clone();
    bound.server.answers(move |_| Reply::Document(set(&[&first])));
    assert!(bound.keys().await.is_empty());
    assert_eq!(bound.fetch().await, 1);
    assert_eq!(bound.keys().await, ["one"]);
    assert_eq!(bound.fetch().await, 0, "nothing is due");
    let shown =
        get(&format!("/v1/issuers/{}", bound.id)).bearer(&bound.staff).send(&bound.world.admin).await.expect(200);
    assert_eq!(shown.body["jwks"], set(&[&one]));

    // A key more: gateways may take their time. A key less: they may not.
    let both = set(&[&one, &two]);
    bound.server.answers(move |_| Reply::Document(both.clone()));
    bound.world.clock.advance(SECOND * 300);
    bound.fetch().await;
    assert_eq!(bound.keys().await, ["one", "two"]);
    let widened = bound.app().hub.tick().await.unwrap();
    assert!(widened.min_revision < widened.revision, "{widened:?}");
    let last = set(&[&two]);
    bound.server.answers(move |_| Reply::Document(last.clone()));
    bound.world.clock.advance(SECOND * 300);
    bound.fetch().await;
    let narrowed = bound.app().hub.tick().await.unwrap();
    assert_eq!((bound.keys().await, narrowed.min_revision), (vec!["two".to_owned()], narrowed.revision));

    // Written again as it was read, nothing is fetched anew and nothing is lost.
    let path = format!("/v1/issuers/{}", bound.id);
    let read = get(&path).bearer(&bound.staff).send(&bound.world.admin).await.expect(200).body;
    call("PUT", &path).json(&read).bearer(&bound.staff).send(&bound.world.admin).await.expect(200);
    assert_eq!((bound.keys().await, bound.fetch().await), (vec!["two".to_owned()], 0));
}

#[tokio::test]
async fn with_the_issuer_alone_its_discovery_document_names_the_keys() {
    let bound = Bound::new(KeyServer::start().await, |_| json!({})).await;
    let (base, one) = (bound.server.url(""), key("one"));
    let document = |issuer: &str, jwks_uri: &str| {
        let (document, keys) = (json!({ "issuer": issuer, "jwks_uri": jwks_uri }), set(&[&one]));
        move |path: &str| match path {
            "/.well-known/openid-configuration" => Reply::Document(document.clone()),
            "/keys" => Reply::Document(keys.clone()),
            other => Reply::text("text/plain", other),
        }
    };
    for (issuer, jwks_uri, said) in [
        ("https://other.example.com", format!("{base}/keys"), "another issuer"),
        (&base, "https://10.0.0.1/keys".into(), "may not be spoken to"),
        (&base, "file:///etc/passwd".into(), "no https URL"),
    ] {
        bound.server.answers(document(issuer, &jwks_uri));
        bound.fetch().await;
        assert!(bound.error().await.contains(said), "{}", bound.error().await);
        bound.world.clock.advance(SECOND * 300);
    }
    bound.server.answers(document(&base, &format!("{base}/keys")));
    bound.fetch().await;
    assert_eq!(bound.keys().await, ["one"]);
}

#[tokio::test]
async fn j10_a_hostile_key_server_leaves_the_last_good_keys_in_force() {
    let bound = Bound::by_url().await;
    let one = key("one");
    let good = set(&[&one]);
    bound.server.answers(move |_| Reply::Document(good.clone()));
    bound.fetch().await;
    let small = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "small"});
    let elsewhere = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", bound.server.url("/ok"));
    let long = format!("{{\"keys\": [{}]}}", " ".repeat(70_000));
    for (what, reply, said) in [
        ("silent", Reply::Silence, "did not come"),
        ("slow", Reply::Drip, "did not come"),
        ("endless", Reply::Endless, "longer than"),
        ("huge", Reply::text("application/json", &long), "longer than"),
        ("empty", Reply::text("application/json", ""), "JSON"),
        ("without keys", Reply::Document(set(&[])), "no key that verifies"),
        ("without verifying keys", Reply::Document(set(&[&json!({"kty": "oct", "k": "AA", "kid": "k"})])), "no key"),
        ("a web page", Reply::text("text/html", "<html>Sign in</html>"), "text/html"),
        ("no JSON", Reply::text("application/json", "<html>"), "JSON"),
        ("no set", Reply::Document(json!([1, 2])), "key set"),
        ("redirecting", Reply::Raw(elsewhere), "302"),
        ("failing", Reply::Raw("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".into()), "500"),
        ("no HTTP", Reply::Raw("220 ready\r\n".into()), "does not answer as it should"),
        ("hanging up", Reply::Raw(String::new()), "does not answer as it should"),
        ("one id twice", Reply::Document(set(&[&one, &key("one")])), "two keys"),
        ("a weak key", Reply::Document(set(&[&one, &small])), "2048"),
    ] {
        bound.world.clock.advance(SECOND * 300);
        let before = bound.server.served();
        bound.server.answers(move |_| reply.clone());
        assert_eq!(bound.fetch().await, 1, "{what}");
        assert_eq!(bound.server.served() - before, 1, "{what}: nothing else is asked");
        let error = bound.error().await;
        assert!(error.contains(said), "{what}: {error}");
        assert_eq!(bound.keys().await, ["one"], "{what}");
    }
    let fetch = bound.app().store.issuer_fetch(bound.id).await.unwrap().unwrap();
    assert_eq!(fetch.failures, 16);
}

#[tokio::test]
async fn j10_a_server_of_another_authority_is_not_believed() {
    let server = KeyServer::untrusted().await;
    let bound = Bound::new(server, |server| json!({ "jwks_url": server.url("/jwks") })).await;
    let one = key("one");
    bound.server.answers(move |_| Reply::Document(set(&[&one])));
    bound.fetch().await;
    assert_eq!((bound.keys().await.len(), bound.server.served()), (0, 0));
    assert!(bound.error().await.contains("does not answer as it should"));
}

#[tokio::test]
async fn j10_a_server_that_rotates_each_second_is_asked_once_in_thirty() {
    let bound = Bound::by_url().await;
    let mut count = 0;
    bound.server.answers(move |_| {
        count += 1;
        Reply::Document(set(&[&key(&format!("k{count}"))]))
    });
    let mut changes = 0;
    for _ in 0..120 {
        bound.ask().await;
        changes += bound.fetch().await;
        bound.world.clock.advance(SECOND);
    }
    assert_eq!((changes, bound.server.served()), (4, 4), "at 0, 30, 60 and 90 s");
    assert_eq!(bound.keys().await, ["k4"]);
}

#[tokio::test]
async fn j10_a_flood_of_unknown_kids_costs_fewer_and_fewer_fetches() {
    let bound = Bound::by_url().await;
    let good = set(&[&key("one")]);
    bound.server.answers(move |_| Reply::Document(good.clone()));
    bound.fetch().await;
    let asked = bound.server.served();
    // Within the interval of plain refreshes, many gateways ask each second.
    for _ in 0..290 {
        for _ in 0..5 {
            bound.ask().await;
        }
        bound.fetch().await;
        bound.world.clock.advance(SECOND);
    }
    assert_eq!(bound.server.served() - asked, 3, "after 30 s, 60 s more and 120 s more");
}

#[tokio::test]
async fn the_last_good_keys_are_in_force_for_a_bounded_time_and_metrics_say_so() {
    let bound = Bound::by_url().await;
    let good = set(&[&key("one")]);
    bound.server.answers(move |_| Reply::Document(good.clone()));
    bound.fetch().await;
    bound.server.answers(|_| Reply::Raw("HTTP/1.1 503 Gone\r\ncontent-length: 0\r\n\r\n".into()));
    bound.world.clock.advance(SECOND * 3600);
    bound.fetch().await;
    issuer_keys::drop_old(bound.app()).await.unwrap();
    let metrics = bound.app().metrics.render(0).unwrap();
    for line in [
        "control_api_issuers_late 1",
        "control_api_issuer_keys_oldest_seconds 3600",
        "control_api_issuer_fetches_total{outcome=\"failed\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert_eq!(bound.keys().await, ["one"]);
    bound.world.clock.advance(SECOND * 86_400);
    issuer_keys::drop_old(bound.app()).await.unwrap();
    assert!(bound.keys().await.is_empty());
    let tick = bound.app().hub.tick().await.unwrap();
    assert_eq!(tick.min_revision, tick.revision, "no gateway may go on with them");
    issuer_keys::drop_old(bound.app()).await.unwrap();
    assert!(bound.app().metrics.render(0).unwrap().contains("control_api_issuers_late 0"));
}

#[tokio::test]
async fn replicas_share_the_fetches() {
    let bound = Bound::by_url().await;
    let good = set(&[&key("one")]);
    bound.server.answers(move |_| Reply::Document(good.clone()));
    let seen = bound.app().store.issuer_fetch(bound.id).await.unwrap().unwrap();
    let all = (0..4).map(|_| issuer_keys::fetch_due(bound.app(), &bound.fetcher, &seen));
    let done = futures::future::join_all(all).await;
    assert_eq!(done.into_iter().filter(|done| *done.as_ref().unwrap()).count(), 1);
    assert_eq!(bound.server.served(), 1);
    // Whoever is still at it after another has begun writes nothing.
    let late = bound.app().store.write_session(Scope::Platform, bound.app().now(), |tx| {
        let seen = &seen;
        async move { Ok::<_, StoreError>(tx.claim_issuer_fetch(seen).await?.is_some()) }
    });
    assert!(!late.await.unwrap());
}

#[tokio::test]
async fn a_place_that_may_not_be_asked_is_refused_when_it_is_written() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let found = get(&format!("/v1/tenants/{tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    for url in ["http://id.example.com/jwks", "https://user:pw@id.example.com/jwks", "file:///etc/passwd", "jwks"] {
        let body = json!({
            "project_id": found.text("project_id"), "issuer": "https://id.example.com", "audiences": ["orders"],
            "algorithms": ["ES256"], "tenant": tenant, "jwks_url": url,
        });
        post("/v1/issuers", &body).bearer(&staff).send(&world.admin).await.refused(422, "validation_failed");
    }
}
