//! One's own identities: linked by who has just signed in, unlinked but for the last way in.

use std::time::Duration;

use serde_json::{Value, json};

use super::{APP, Oauth};
use crate::support::{Answer, PASSWORD, call, get, post};

impl Oauth {
    async fn link(&self, token: &str) -> Answer {
        let begin = json!({ "provider": "corp", "redirect_uri": APP, "link": true });
        let begun = self.acme.ask_as(token, "/v1/auth/oauth/begin", &begin).await.expect(200);
        let code = self.fake.signs_in(&begun.text("authorization_url").parse().unwrap());
        let body = json!({ "state": begun.text("state"), "state_token": begun.text("state_token"), "code": code, "password": PASSWORD });
        self.acme.ask_as(token, "/v1/auth/identities", &body).await
    }

    async fn unlink(&self, token: &str, id: &Value) -> Answer {
        let path = format!("/v1/auth/identities/{}", id.as_str().unwrap());
        call("DELETE", &path).host("acme.localhost").bearer(token).send(&self.acme.world.admin).await
    }
}

#[tokio::test]
async fn an_identity_is_linked_by_who_has_just_signed_in_and_is_one_users() {
    let it = Oauth::new().await;
    let ada = it.acme.member("ada").await;
    let token = it.acme.world.login("acme", "ada").await;
    let linked = it.link(&token).await.expect(201);
    assert_eq!((linked.body["provider"].as_str(), linked.body["last_used_at"].as_str()), (Some("corp"), None));
    let by_provider = it.sign_in("corp").await.expect(200).text("access_token");
    assert_eq!(crate::second_factor::claims(&by_provider)["sub"].as_str(), Some(&*ada), "whatever the address");

    it.acme.member("bob").await;
    let bob = it.acme.world.login("acme", "bob").await;
    it.link(&bob).await.refused(409, "identity_taken");
    it.unlink(&bob, &linked.body["id"]).await.refused(404, "not_found");
    assert!(it.identities(&bob).await.is_empty());

    // What one began another does not end.
    let begin = json!({ "provider": "corp", "redirect_uri": APP, "link": true });
    let begun = it.acme.ask_as(&token, "/v1/auth/oauth/begin", &begin).await.expect(200);
    it.fake.is_used_by("2", json!({}));
    let code = it.fake.signs_in(&begun.text("authorization_url").parse().unwrap());
    let body = json!({ "state": begun.text("state"), "state_token": begun.text("state_token"), "code": code });
    let mut with_password = body.clone();
    it.acme.ask_as(&bob, "/v1/auth/identities", &body).await.refused(422, "validation_failed");
    with_password["password"] = json!("Wrong-horse-1");
    it.acme.ask_as(&bob, "/v1/auth/identities", &with_password).await.refused(401, "credentials_invalid");
    with_password["password"] = json!(PASSWORD);
    it.acme.ask_as(&bob, "/v1/auth/identities", &with_password).await.refused(401, "oauth_state_invalid");
    it.acme.ask("/v1/auth/oauth/login", &body).await.refused(401, "oauth_state_invalid");
    it.acme.ask("/v1/auth/oauth/begin", &begin).await.refused(401, "credential_missing");
    it.acme.world.clock.advance(Duration::from_secs(301));
    it.acme.ask_as(&token, "/v1/auth/oauth/begin", &begin).await.refused(401, "insufficient_user_authentication");
}

#[tokio::test]
async fn an_identity_is_unlinked_with_its_sessions_but_never_the_last_way_in() {
    let it = Oauth::new().await;
    it.acme.member("ada").await;
    let token = it.acme.world.login("acme", "ada").await;
    let linked = it.link(&token).await.expect(201);
    let by_provider = it.sign_in("corp").await.expect(200).text("access_token");
    it.unlink(&token, &linked.body["id"]).await.expect(204);
    assert_eq!(it.acme.events("identity_unlinked").await.len(), 1);
    get("/v1/me").bearer(&by_provider).send(&it.acme.world.admin).await.refused(401, "token_revoked");
    get("/v1/me").bearer(&token).send(&it.acme.world.admin).await.expect(200);
    it.acme.world.try_login("acme", "ada", PASSWORD).await.expect(200);

    it.fake.is_used_by("7", json!({ "email": "eve@mail.example", "email_verified": true }));
    let eve = it.sign_in("corp").await.expect(200).text("access_token");
    let only = it.identities(&eve).await[0]["id"].clone();
    it.unlink(&eve, &only).await.refused(409, "last_credential");
    assert_eq!(it.identities(&eve).await.len(), 1);
    post("/v1/auth/identities", &json!({})).send(&it.acme.world.admin).await.refused(401, "credential_missing");
}
