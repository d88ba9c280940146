//! `authn` against tokens that none of our code made (`docs/threats.md`, class J).

use std::sync::Arc;

use authn::{
    Issuer, TokenError, TokenKind, VerifiedToken,
    verify::{Presented, TenantClaim},
};
use domain::{
    Clock as _, Id, ProjectId, TenantId,
    snapshot::{Algorithm, TenantBinding},
};
use serde_json::{Value, json};
use testkit::{Claims, FixedClock, TestIssuer, TestKey, hostile};
use uuid::Uuid;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa];
const PROJECT: ProjectId = Id::new(Uuid::from_u128(7));
const TENANT: TenantId = Id::new(Uuid::from_u128(8));
const NAME: &str = "https://acme.example.test";

fn own(issuer: &TestIssuer) -> Arc<Issuer> {
    Arc::new(Issuer::compile(&issuer.row(PROJECT)).unwrap())
}

fn claims(issuer: &TestIssuer) -> Claims {
    issuer.claims(FixedClock::default().unix_now()).set("pid", PROJECT).set("tid", TENANT)
}

fn verify(token: &str, issuer: &Arc<Issuer>) -> Result<VerifiedToken, TokenError> {
    Presented::read(token)?.check(issuer, FixedClock::default().unix_now())?.verify()
}

#[test]
fn believes_a_good_token_of_each_algorithm() {
    for algorithm in ALGORITHMS {
        let issuer = TestIssuer::new(NAME, algorithm);
        let claims = claims(&issuer);
        let token = verify(&issuer.mint(&claims), &own(&issuer)).unwrap();
        assert_eq!(token.kind(), TokenKind::Own, "{algorithm:?}");
        assert_eq!(json!(&*token.subject), *claims.value("sub"), "{algorithm:?}");
        assert_eq!(token.tenant(), TenantClaim::Id(TENANT), "{algorithm:?}");
    }
}

#[test]
fn refuses_every_known_attack_on_the_whole_token() {
    for algorithm in ALGORITHMS {
        let issuer = TestIssuer::new(NAME, algorithm);
        let ours = own(&issuer);
        for hostile in hostile::all(&issuer, claims(&issuer)) {
            assert!(verify(&hostile.token, &ours).is_err(), "{algorithm:?}: {}", hostile.attack);
        }
    }
}

/// CVE-2026-25537 and its kin: absent, or not of its type, is never "no restriction".
#[test]
fn refuses_each_needed_claim_with_each_wrong_value() {
    let issuer = TestIssuer::new(NAME, Algorithm::EdDsa);
    let ours = own(&issuer);
    for claim in ["iss", "sub", "aud", "exp", "jti", "sid", "tid", "pid", "ctx", "ug", "tg"] {
        for value in hostile::wrong_values() {
            // A generation that is a huge number is only a very new one.
            if matches!(claim, "ug" | "tg") && value == Some(json!(u64::MAX)) {
                continue;
            }
            let wrong = match &value {
                Some(value) => claims(&issuer).set(claim, value),
                None => claims(&issuer).without(claim),
            };
            assert!(verify(&issuer.mint(&wrong), &ours).is_err(), "{claim}: {value:?}");
        }
    }
}

#[test]
fn refuses_every_claim_and_header_parameter_given_twice() {
    let issuer = TestIssuer::new(NAME, Algorithm::EdDsa);
    let ours = own(&issuer);
    let good = claims(&issuer);
    let Value::Object(names) = Value::from(good.clone()) else { unreachable!() };
    for claim in names.keys() {
        let token = hostile::duplicated_claim(&issuer, &good, claim, good.value(claim));
        assert!(verify(&token, &ours).is_err(), "{claim}");
    }
    for parameter in ["alg", "kid", "typ"] {
        let token = hostile::duplicated_header(&issuer, &good, parameter, &issuer.header()[parameter]);
        assert!(verify(&token, &ours).is_err(), "{parameter}");
    }
}

#[test]
fn refuses_a_token_signed_by_a_retired_key() {
    let mut issuer = TestIssuer::new(NAME, Algorithm::Es256);
    let before = issuer.mint(claims(&issuer));
    issuer.rotate(TestKey::generate(Algorithm::Es256));
    assert!(verify(&before, &own(&issuer)).is_ok(), "a published former key still counts");
    issuer.retire_former_keys();
    assert!(matches!(verify(&before, &own(&issuer)), Err(TokenError::KeyUnknown)));
}

#[test]
fn an_external_token_is_read_by_its_binding_and_never_for_our_claims() {
    let issuer = TestIssuer::new("https://id.example.test", Algorithm::Rs256).with_audience("orders");
    let row = issuer.external_row(PROJECT, TenantBinding::Tenant(TENANT));
    let compiled = Arc::new(Issuer::compile(&row).unwrap());
    let now = FixedClock::default().unix_now();
    let claims = issuer.external_claims(now).set("roles", ["member"]).set("is_super_admin", true).set("tid", "other");
    let token = verify(&issuer.mint_as("JWT", &claims), &compiled).unwrap();
    assert_eq!((token.kind(), token.tenant()), (TokenKind::External, TenantClaim::Id(TENANT)));
    assert_eq!(*token.roles(), ["member".into()]);
    for (what, wrong) in [
        ("other audience", claims.clone().set("aud", "payments")),
        ("no audience", claims.clone().without("aud")),
        ("expired", claims.clone().set("exp", now.secs() - 31)),
        ("not yet valid", claims.clone().set("nbf", now.secs() + 31)),
    ] {
        assert!(verify(&issuer.mint_as("JWT", &wrong), &compiled).is_err(), "{what}");
    }
    assert!(verify(&issuer.mint_as("id+jwt", &claims), &compiled).is_err(), "an ID token says what it is");
}
