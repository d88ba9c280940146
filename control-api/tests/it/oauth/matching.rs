//! Whose account somebody is that a provider vouches for.

use serde_json::{Value, json};
use store::read::*;

use super::{ADA, Oauth};
use crate::support::{PASSWORD, call, get};

const EVE: &str = "eve@mail.example";

fn said(email: &str, verified: Value) -> Value {
    json!({ "email": email, "email_verified": verified })
}

#[tokio::test]
async fn an_account_is_found_by_an_address_only_where_the_tenant_proved_its_domain() {
    let it = Oauth::new().await;
    let ada = it.acme.proven("ada").await;
    assert_eq!(it.refused("corp").await, "oauth_not_admitted", "whose domain it is nobody has said");
    it.acme.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    it.proves(&it.acme.tenant, "acme.example").await;
    // The same words, not verified, and of a domain that only ends alike.
    for (email, verified) in [
        (ADA, json!(false)),
        (ADA, Value::Null),
        ("ada@evilacme.example", json!(true)),
        ("a@evil@acme.example", json!(true)),
        ("\"ada@acme.example\"@evil.example", json!(true)),
        ("ada@acme.example ", json!(false)),
        ("ada@acme.example\u{0}", json!(true)),
    ] {
        it.fake.is_used_by("evil", said(email, verified.clone()));
        let browser = it.onward("corp").await.1;
        let landed = it.acme.world.app.store.federated_identities(ada.parse().unwrap()).await.unwrap();
        assert!(landed.is_empty(), "{email} {verified}: {browser}");
    }
    it.fake.is_used_by("1", said("ADA@Acme.Example", json!(true)));
    let token = it.sign_in("corp").await.expect(200).text("access_token");
    assert_eq!(crate::second_factor::claims(&token)["sub"].as_str(), Some(&*ada), "two spellings are one account");
    assert_eq!(it.acme.events("identity_linked").await.len(), 1);
    it.acme.world.try_login("acme", "ada", PASSWORD).await.expect(200);

    // From then on by its subject, whatever the address is.
    it.fake.is_used_by("1", said("somebody@else.example", json!(false)));
    let token = it.sign_in("corp").await.expect(200).text("access_token");
    assert_eq!(crate::second_factor::claims(&token)["sub"].as_str(), Some(&*ada));
}

#[tokio::test]
async fn the_first_proof_by_a_provider_voids_what_was_planted() {
    let it = Oauth::new().await;
    it.acme.member("ada").await;
    it.proves(&it.acme.tenant, "acme.example").await;
    let before = it.acme.world.login("acme", "ada").await;
    it.sign_in("corp").await.expect(200);
    it.acme.world.try_login("acme", "ada", PASSWORD).await.refused(401, "credentials_invalid");
    get("/v1/me").bearer(&before).send(&it.acme.world.admin).await.refused(401, "token_revoked");
    assert_eq!(it.acme.events("email_verified").await.len(), 1);
}

#[tokio::test]
async fn a_tenants_provider_proves_no_address_and_who_reads_it_takes_the_account() {
    let it = Oauth::new().await;
    it.fake.is_used_by("1", said(EVE, json!(true)));
    let token = it.sign_in("corp").await.expect(200).text("access_token");
    let eve = crate::second_factor::claims(&token)["sub"].as_str().unwrap().to_owned();
    let user = it.acme.world.app.store.user(eve.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((user.email.as_deref(), user.email_verified_at), (Some(EVE), None));
    it.acme.ask("/v1/auth/otp/request", &json!({ "email": EVE })).await.expect(202);
    let code = it.acme.code(EVE).await;
    it.acme.ask("/v1/auth/otp/verify", &json!({ "email": EVE, "code": code })).await.expect(200);
    assert!(it.acme.world.app.store.federated_identities(eve.parse().unwrap()).await.unwrap().is_empty());
    assert_eq!(it.refused("corp").await, "oauth_not_admitted", "the planted link is void");
}

#[tokio::test]
async fn an_account_is_made_where_the_project_lets_people_in_and_nobody_is_told_who_has_one() {
    let it = Oauth::new().await;
    it.fake.is_used_by("1", said(EVE, json!(true)));
    let back = json!({ "return_to": ["https://app.acme.example"] });
    for access in [
        json!({ "mode": "closed" }),
        json!({ "mode": "invite" }),
        json!({ "mode": "allowlist", "domains": ["acme.example"] }),
        json!({ "mode": "open", "denied_domains": ["mail.example"] }),
    ] {
        it.configure(&json!({ "access": access, "oauth": back })).await;
        assert_eq!(it.refused("corp").await, "oauth_not_admitted", "{access}");
    }
    it.configure(&json!({ "access": { "mode": "open" }, "oauth": back })).await;
    for claims in [said(EVE, json!(false)), json!({}), said("no address", json!(true))] {
        it.fake.is_used_by("1", claims.clone());
        assert_eq!(it.refused("corp").await, "oauth_not_admitted", "{claims}");
    }
    it.fake.is_used_by("1", said(EVE, json!(true)));
    it.sign_in("corp").await.expect(200);
    // Another subject of the same address is not the same person, and is told what a stranger is.
    it.fake.is_used_by("2", said(EVE, json!(true)));
    assert_eq!(it.refused("corp").await, "oauth_not_admitted");
}

#[tokio::test]
async fn who_is_switched_off_or_out_does_not_come_back_by_a_provider() {
    let it = Oauth::new().await;
    let token = it.sign_in("corp").await.expect(200).text("access_token");
    let id = crate::second_factor::claims(&token)["sub"].as_str().unwrap().to_owned();
    let staff = &it.acme.staff;
    let path = format!("/v1/tenants/{}/users/{id}", it.acme.tenant);
    call("POST", &format!("{path}/disable")).bearer(staff).send(&it.acme.world.admin).await.expect(200);
    it.sign_in("corp").await.refused(401, "principal_inactive");
    call("POST", &format!("{path}/enable")).bearer(staff).send(&it.acme.world.admin).await.expect(200);
    let (browser, onward) = it.onward("corp").await;
    call("POST", &format!("{path}/logout")).bearer(staff).send(&it.acme.world.admin).await;
    let member = format!("/v1/tenants/{}/members/{id}", it.acme.tenant);
    call("DELETE", &member).bearer(staff).send(&it.acme.world.admin).await.expect(204);
    let late = it.redeem(&browser, onward.strip_prefix("oauth_code=").unwrap()).await;
    assert_eq!(late.status, 401, "{late:?}");
}
