//! An account never tells more than may be told, whatever was sent.

use domain::{
    Clock as _,
    decision::{MAX_BYTES, Shown},
    snapshot::{Algorithm, Entity, Issuer, TenantBinding},
};
use serde_json::json;
use testkit::TestIssuer;

use crate::world::{MEMBER, Sent, World, id};

/// Canaries in every place a request has, in tokens that are believed and in those that are not.
#[test]
fn nothing_secret_and_nobodys_name_is_ever_told() {
    let world = World::new();
    let external = TestIssuer::new("https://idp.example", Algorithm::Es256);
    let binding = TenantBinding::Claim("org".into());
    world.put_one(Entity::Issuer(Issuer { id: id(39), ..external.external_row(world.acme.project, binding) }));
    let named = |claims: testkit::claims::Claims| {
        claims
            .set("username", "canary-username")
            .set("email", "canary@example.com")
            .set("preferred_username", "canary-preferred")
            .set("name", "canary name")
            .set("password", "canary-claim")
    };
    let own = world.acme.issuer.mint(named(world.claims(&world.acme, MEMBER)));
    let expired = world.acme.issuer.mint(named(world.claims(&world.acme, MEMBER)).set("exp", 1));
    let foreign = external.mint_as(
        "JWT",
        named(external.external_claims(world.clock.unix_now())).set("sub", "canary@example.com").set("org", "acme"),
    );
    for token in [own, expired, foreign, "canary-api-key".into(), "canary.a.b".into()] {
        let sent = Sent::new("POST", "acme.localhost", "/orders?token=canary-query")
            .with("cookie", "session=canary-cookie")
            .with("x-api-key", "canary-header")
            .with("user-agent", "canary-agent")
            .bearer(&token);
        let account = serde_json::to_string(&world.explained(&sent)).unwrap();
        assert!(!account.contains("canary"), "{account}");
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!account.contains(part), "{account}");
        }
    }
    for authorization in ["Basic canary", "canary", "Bearer canary canary"] {
        let account = serde_json::to_string(
            &world.explained(&Sent::get("acme.localhost", "/me").with("authorization", authorization)),
        )
        .unwrap();
        assert!(!account.contains("canary"), "{account}");
    }
}

#[test]
fn an_account_stays_within_its_size_whatever_is_sent() {
    let world = World::new();
    let long = "\"".repeat(2000);
    let claims = world.claims(&world.acme, MEMBER);
    let claims = claims.set("iss", &long).set("aud", vec![&long; 8]).set("ctx", &long).set("tid", &long);
    let header = json!({ "alg": long[..500], "kid": long[..500], "typ": long[..500] });
    let token = world.acme.issuer.mint_with_header(&header, claims);
    let path = format!("/{}", "a".repeat(3000));
    for token in [token, world.token(&world.acme, MEMBER)] {
        let account = world.explained(&Sent::get("acme.localhost", &path).bearer(&token));
        assert_eq!(account.path.as_ref().map(|path| path.len()), Some(Shown::MAX_BYTES));
        assert!(serde_json::to_vec(&account).unwrap().len() <= MAX_BYTES);
    }
}
