//! Google, Microsoft, GitHub and Apple, as far as each is unlike the others.

use authn::mint::generate;
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::snapshot::Algorithm;
use serde_json::{Value, json};

use super::{ADA, APP, Oauth, provider::Lie, under_way, went_on};
use crate::support::call;

#[tokio::test]
async fn google_may_be_narrowed_to_a_workspace() {
    let it = Oauth::bare().await;
    it.provider("google", "google", &json!({ "options": { "hosted_domain": "acme.example" } })).await.expect(201);
    assert_eq!(it.browser("google").await.parameter("hd"), "acme.example");
    assert_eq!(it.refused("google").await, "oauth_refused", "no `hd` at all");
    let person = |hd: &str| json!({ "email": ADA, "email_verified": true, "hd": hd });
    it.fake.is_used_by("1", person("acme.example.evil.example"));
    assert_eq!(it.refused("google").await, "oauth_refused");
    it.fake.is_used_by("1", person("acme.example"));
    it.sign_in("google").await.expect(200);
}

#[tokio::test]
async fn microsofts_directories_each_have_an_issuer_and_its_addresses_prove_nothing_by_themselves() {
    let it = Oauth::bare().await;
    it.provider("ms", "microsoft", &json!({ "options": { "directory": "common" } })).await.expect(201);
    it.fake.lies(Lie::Document("issuer", json!(format!("{}/{{tenantid}}/v2.0", it.fake.issuer))));
    let directory = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let iss = format!("{}/{directory}/v2.0", it.fake.issuer);
    let person = |more: Value| {
        let mut claims = json!({ "tid": directory, "email": ADA, "email_verified": true });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    // The document is kept; what is wrong next is the token.
    it.browser("ms").await;
    it.fake.lies(Lie::Claim("iss", json!(iss)));
    it.fake.is_used_by("1", person(json!({})));
    assert_eq!(it.refused("ms").await, "oauth_not_admitted", "anybody may have typed the address");
    it.fake.is_used_by("1", person(json!({ "tid": "00000000-0000-0000-0000-000000000001", "xms_edov": true })));
    assert_eq!(it.refused("ms").await, "oauth_refused", "another directory's issuer");
    it.fake.is_used_by("1", person(json!({ "tid": "../evil", "xms_edov": true })));
    assert_eq!(it.refused("ms").await, "oauth_refused");
    it.fake.is_used_by("1", person(json!({ "xms_edov": true })));
    it.sign_in("ms").await.expect(200);
}

#[tokio::test]
async fn github_is_asked_who_its_token_is_of() {
    let it = Oauth::bare().await;
    it.provider("github", "github", &json!({})).await.expect(201);
    let browser = it.browser("github").await;
    assert!(browser.url.path().ends_with("/login/oauth/authorize"), "{}", browser.url);
    assert!(browser.url.query_pairs().all(|(name, _)| name != "nonce"));
    let tokens = it.sign_in("github").await.expect(200);
    assert_eq!(it.identities(&tokens.text("access_token")).await[0]["provider_type"], "github");
    let (form, _) = it.fake.asked().pop().unwrap();
    assert_eq!((&*form["client_id"], &*form["client_secret"]), ("us", "hunter2"));
    // An address that was not proven there makes no account.
    it.fake.is_used_by("77", json!({ "email": "eve@mail.example", "email_verified": false }));
    assert_eq!(it.refused("github").await, "oauth_not_admitted");
    // A code that is not good is refused with a 200.
    let browser = it.browser("github").await;
    let answer = [("state", &*browser.parameter("state")), ("code", "nothing")];
    assert_eq!(went_on(&it.come_back("github", &browser.cookie, &answer).await), "error=oauth_refused");
}

#[tokio::test]
async fn apple_answers_by_a_form_and_is_shown_a_secret_that_is_signed() {
    let it = Oauth::bare().await;
    let key = generate(Algorithm::Es256).unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key.expose()));
    let options = json!({ "team_id": "TEAM123456", "key_id": "KEY1234567" });
    let wrong = it.provider("apple", "apple", &json!({ "options": options })).await.refused(422, "validation_failed");
    assert_eq!(wrong.body["errors"][0]["pointer"], "/client_secret", "a word is no key");
    it.provider("apple", "apple", &json!({ "options": options, "client_secret": pem })).await.expect(201);

    let started = it.start("apple", APP, None).await;
    let cookie = started.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.starts_with("__Host-portcullis-oauth-post=")
            && cookie.contains("; Path=/; Secure; HttpOnly; SameSite=None")
    );
    let browser = under_way(started);
    assert_eq!(browser.parameter("response_mode"), "form_post");
    let code = it.fake.signs_in(&browser.url);
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("state", &*browser.parameter("state")), ("code", &code), ("user", r#"{"name":{}}"#)])
        .finish();
    let posted = async |cookie: &str, media: &str| {
        let request = call("POST", "/oauth/callback/apple").host("acme.localhost").header("cookie", cookie);
        request.raw_as(&form, media).send(&it.acme.world.admin).await
    };
    let of_form = "application/x-www-form-urlencoded";
    posted("a=1", of_form).await.refused(401, "oauth_state_invalid");
    posted(&browser.cookie, "text/plain").await.refused(401, "oauth_state_invalid");
    let onward = went_on(&posted(&browser.cookie, of_form).await);
    it.redeem(&browser, onward.strip_prefix("oauth_code=").unwrap()).await.expect(200);

    let (form, login) = it.fake.asked().pop().unwrap();
    assert_eq!((login, &*form["client_id"]), (None, "us"));
    let claims = crate::second_factor::claims(&form["client_secret"]);
    assert_eq!(
        (claims["iss"].as_str(), claims["sub"].as_str(), claims["aud"].as_str()),
        (Some("TEAM123456"), Some("us"), Some(&*it.fake.issuer))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
}
