//! Providers that lie, are slow or are broken: nobody signs in, nothing is told of why, and nothing hangs.

use std::time::Duration;

use authn::{SigningKey, mint::generate};
use base64::{Engine, engine::general_purpose::STANDARD};
use control_api::config::ListenAddress;
use domain::snapshot::Algorithm;
use serde_json::{Value, json};
use store::read::*;

use super::{
    ADA, APP, Oauth,
    provider::{Fake, Lie},
    went_on,
};
use crate::support::get;

impl Oauth {
    /// A sign-in of which nothing comes, whatever is wrong: nobody is made or known by it, it is over, and the trail has it. Answers why.
    async fn comes_to_nothing(&self) -> String {
        let before = self.acme.events("login_failure").await.len();
        let browser = self.browser("corp").await;
        let (state, code) = (browser.parameter("state"), self.fake.signs_in(&browser.url));
        let answer = [("state", state.as_str()), ("code", code.as_str())];
        let onward = went_on(&self.come_back("corp", &browser.cookie, &answer).await);
        self.come_back("corp", &browser.cookie, &answer).await.refused(401, "oauth_state_invalid");
        let store = &self.acme.world.app.store;
        assert!(store.user_by_login(self.project().await, ADA).await.unwrap().is_none(), "no account");
        let provider = self.of_acme("corp").await;
        assert!(store.federated_identity(provider.id, "248289761001").await.unwrap().is_none(), "no identity");
        let failures = self.acme.events("login_failure").await;
        let why = onward.strip_prefix("error=").unwrap_or_else(|| panic!("{onward}")).to_owned();
        assert_eq!(failures.len(), before + 1);
        let noted = failures.iter().filter(|event| event["fields"]["code"] == why.as_str());
        assert!(noted.count() > 0, "{failures:?}");
        why
    }
}

#[tokio::test]
async fn a_provider_that_lies_signs_nobody_in() {
    let it = Oauth::new().await;
    let now = domain::Clock::unix_now(&*it.acme.world.clock).secs();
    for lie in [
        Lie::Claim("iss", json!("https://evil.example")),
        Lie::Claim("aud", json!("them")),
        Lie::Claim("aud", json!(["us", "them"])),
        Lie::Claim("azp", json!("them")),
        Lie::Claim("nonce", json!("another")),
        Lie::Claim("nonce", Value::Null),
        Lie::Claim("sub", Value::Null),
        Lie::Claim("sub", json!("a\u{0}b")),
        Lie::Claim("exp", json!(now - 60)),
        Lie::Claim("iat", json!(now - 3600)),
        Lie::Claim("iat", json!(now + 3600)),
        // None of another type is none at all: that would be a sign-in of this moment.
        Lie::Claim("auth_time", json!(now.to_string())),
        Lie::Claim("auth_time", json!(1.5)),
        Lie::Claim("auth_time", json!(-1)),
        Lie::Claim("auth_time", json!([now])),
        Lie::OtherKey,
        Lie::AlgNone,
        Lie::Token(400, r#"{"error":"invalid_client","error_description":"secret detail"}"#),
        Lie::Token(200, r#"{"access_token":"x","id_token":"a.b.c"}"#),
        Lie::Token(200, r#"{"access_token":"x"}"#),
        Lie::Token(200, r#"{"id_token":{"sub":"1"}}"#),
        Lie::Token(200, "not json"),
        Lie::Long(64 * 1024 + 1),
    ] {
        it.fake.lies(lie.clone());
        assert_eq!(it.comes_to_nothing().await, "oauth_refused", "{lie:?}");
    }
    assert_eq!(it.acme.events("oauth_login").await.len() + it.acme.events("signup").await.len(), 0);
    it.fake.lies(Lie::Long(64 * 1024));
    it.sign_in("corp").await.expect(200);
    it.fake.lies(Lie::None);
    it.sign_in("corp").await.expect(200);
}

#[tokio::test]
async fn j2_what_everybody_may_know_signs_no_id_token() {
    let it = Oauth::new().await;
    let key = it.fake.key();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(it.fake.spki()));
    for (what, secret) in [
        ("the client's secret", b"hunter2".to_vec()),
        ("the key as PEM", pem.into_bytes()),
        ("the key as DER", it.fake.spki()),
        ("the key as JWK", key.to_string().into_bytes()),
        ("its modulus", key["n"].as_str().unwrap().as_bytes().to_vec()),
        ("nothing", Vec::new()),
    ] {
        it.fake.lies(Lie::Hmac("k1", secret));
        assert_eq!(it.comes_to_nothing().await, "oauth_refused", "{what}");
    }
}

#[tokio::test]
async fn j2_a_key_is_for_its_own_algorithm_and_a_name_for_one_key() {
    let elliptic =
        SigningKey::from_pkcs8("k1", Algorithm::Es256, &generate(Algorithm::Es256).unwrap()).unwrap().public_jwk();
    type Keys = fn(&Fake, Value) -> Value;
    let sets: [(&str, Keys); 6] = [
        ("the token says RS256, and the key of its name is of a curve", |_, elliptic| json!([elliptic])),
        ("two keys of one name", |it, _| json!([it.key(), it.other_key("k1")])),
        ("two keys of one name, the other way round", |it, _| json!([it.other_key("k1"), it.key()])),
        ("two keys of one name and different kinds", |it, elliptic| json!([it.key(), elliptic])),
        ("no key of the name", |it, _| json!([it.other_key("k2")])),
        ("no keys", |_, _| json!([])),
    ];
    for (why, keys) in sets {
        // Key sets are kept: each is another provider's.
        let it = Oauth::new().await;
        it.fake.lies(Lie::Keys(json!({ "keys": keys(&it.fake, elliptic.clone()) })));
        assert_eq!(it.comes_to_nothing().await, "oauth_refused", "{why}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_said_to_be_verified_is_nobodys() {
    let it = Oauth::new().await;
    for value in [json!("false"), json!(false), json!("yes"), json!(1), json!([true]), json!({}), Value::Null] {
        it.fake.lies(Lie::Claim("email_verified", value.clone()));
        assert_eq!(it.comes_to_nothing().await, "oauth_not_admitted", "{value}");
    }
}

#[tokio::test]
async fn a_provider_does_not_lead_us_to_our_own_doors_or_into_the_network_that_we_are_in() {
    // Something that answers as a provider's key set would, where a door of ours is.
    let door = Fake::start().await;
    let port = door.issuer.parse::<reqwest::Url>().unwrap().port().unwrap();
    for (member, address) in [
        ("jwks_uri", format!("{}/jwks", door.issuer)),
        ("token_endpoint", format!("http://localhost:{port}/token")),
        ("jwks_uri", "http://169.254.169.254/latest/meta-data/".to_owned()),
        ("token_endpoint", "https://169.254.169.254/latest/meta-data/".to_owned()),
        ("jwks_uri", "https://[::ffff:169.254.169.254]/jwks".to_owned()),
        ("token_endpoint", "https://10.0.0.1/token".to_owned()),
    ] {
        let it = Oauth::new().await;
        it.acme.world.app.add_door(ListenAddress::Tcp(format!("127.0.0.1:{port}").parse().unwrap()));
        it.fake.lies(Lie::Document(member, json!(address)));
        let started = it.start("corp", APP, None).await;
        let why = match started.status.as_u16() {
            303 => it.comes_to_nothing().await,
            _ => started.code().to_owned(),
        };
        assert!(matches!(&*why, "oauth_refused" | "oauth_unavailable"), "{member} {address}: {why}");
    }
    assert!(door.asked().is_empty(), "nobody was asked there");
}

#[tokio::test]
async fn a_provider_that_is_slow_or_broken_is_not_waited_for() {
    let it = Oauth::new().await;
    for lie in [Lie::Slow(Duration::from_secs(3600)), Lie::Token(500, "{}"), Lie::Token(302, "{}"), Lie::Drips] {
        it.fake.lies(lie.clone());
        assert_eq!(it.comes_to_nothing().await, "oauth_unavailable", "{lie:?}");
    }
    let nowhere = json!({ "options": { "issuer": "http://127.0.0.1:1" } });
    it.provider("gone", "oidc", &nowhere).await.expect(201);
    it.start("gone", APP, None).await.refused(503, "oauth_unavailable");
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_or_without_pkce_is_none() {
    for lie in [
        Lie::Document("issuer", json!("https://evil.example")),
        Lie::Document("code_challenge_methods_supported", json!(["plain"])),
        Lie::Document("token_endpoint", json!("http://10.0.0.1/token")),
        Lie::Document("token_endpoint", json!("file:///etc/passwd")),
        Lie::Document("jwks_uri", Value::Null),
        Lie::Keys(json!({ "keys": "none" })),
    ] {
        let it = Oauth::new().await;
        it.fake.lies(lie.clone());
        let started = it.start("corp", APP, None).await;
        // What it says of its token endpoint and keys is found out when they are asked.
        if started.status == 303 {
            let code = it.refused("corp").await;
            assert!(matches!(&*code, "oauth_refused" | "oauth_unavailable"), "{lie:?}: {code}");
        } else {
            assert!(matches!(started.code(), "oauth_refused" | "oauth_unavailable"), "{lie:?}: {started:?}");
            assert!(!started.body.to_string().contains("evil"), "{started:?}");
        }
    }
}

#[tokio::test]
async fn l7_a_provider_that_names_itself_in_its_answers_is_believed_when_it_does() {
    let it = Oauth::new().await;
    it.fake.lies(Lie::Document("authorization_response_iss_parameter_supported", json!(true)));
    let own = it.fake.issuer.clone();
    for (issuer, onward) in [(None, "error=oauth_refused"), (Some("https://evil.example"), "error=oauth_refused")] {
        let browser = it.browser("corp").await;
        let (state, code) = (browser.parameter("state"), it.fake.signs_in(&browser.url));
        let mut answer = vec![("state", state.as_str()), ("code", code.as_str())];
        answer.extend(issuer.map(|issuer| ("iss", issuer)));
        assert_eq!(super::went_on(&it.come_back("corp", &browser.cookie, &answer).await), onward, "{issuer:?}");
    }
    let browser = it.browser("corp").await;
    let (state, code) = (browser.parameter("state"), it.fake.signs_in(&browser.url));
    let answer = [("state", state.as_str()), ("code", code.as_str()), ("iss", own.as_str())];
    assert!(super::went_on(&it.come_back("corp", &browser.cookie, &answer).await).starts_with("oauth_code="));
}

#[tokio::test]
async fn l8_steps_out_of_order_or_with_anothers_state_are_refused_alike() {
    let it = Oauth::new().await;
    it.provider("other", "oidc", &json!({ "options": { "issuer": it.fake.issuer } })).await.expect(201);
    let browser = it.browser("corp").await;
    let (state, code) = (browser.parameter("state"), it.fake.signs_in(&browser.url));
    let admin = &it.acme.world.admin;
    for path in [
        "/oauth/callback/corp".to_owned(),
        "/oauth/callback/corp?code=x".to_owned(),
        "/oauth/callback/corp?state=&code=x".to_owned(),
        format!("/oauth/callback/corp?state={}&code=x", "x".repeat(5000)),
    ] {
        let answer = get(&path).host("acme.localhost").header("cookie", &browser.cookie).send(admin).await;
        answer.refused(401, "oauth_state_invalid");
    }
    let twice = format!("/oauth/callback/corp?state={state}&state={state}&code={code}");
    get(&twice).host("acme.localhost").send(admin).await.refused(400, "parameter_invalid");
    // Another provider's answer to what was asked of this one (mix-up): the sign-in is over.
    let back = it.come_back("other", &browser.cookie, &[("state", &state), ("code", &code)]).await;
    assert_eq!(super::went_on(&back), "error=oauth_state_invalid");
    it.come_back("corp", &browser.cookie, &[("state", &state), ("code", &code)])
        .await
        .refused(401, "oauth_state_invalid");
    it.start("nobody", APP, None).await.refused(404, "not_found");
    it.start("a%2Fb", APP, None).await.refused(404, "not_found");
}
