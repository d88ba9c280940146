//! Class J of the threats: each known way to have a forged or foreign token believed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Id, ProjectId,
    snapshot::{self, Algorithm, ExternalBinding, Origin},
};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::mint::{SigningKey, generate};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const PROJECT: ProjectId = Id::new(Uuid::from_u128(7));
const ISSUER: &str = "https://acme.example.com";

fn key(kid: &str, algorithm: Algorithm) -> SigningKey {
    SigningKey::from_pkcs8(kid, algorithm, &generate(algorithm).unwrap()).unwrap()
}

fn issuer(keys: &[&SigningKey], origin: Origin) -> Arc<Issuer> {
    let keys: Vec<_> = keys.iter().map(|k| k.public_jwk()).collect();
    let wire = snapshot::Issuer {
        id: Id::new(Uuid::from_u128(1)),
        issuer: ISSUER.into(),
        project_id: PROJECT,
        origin,
        audiences: vec![ISSUER.into()],
        algorithms: vec![Algorithm::Es256, Algorithm::EdDsa],
        jwks: json!({"keys": keys}),
    };
    Arc::new(Issuer::compile(&wire).unwrap())
}

fn claims() -> Value {
    let id = |n: u128| Uuid::from_u128(n).to_string();
    let now = NOW.secs();
    json!({
        "iss": ISSUER, "aud": ISSUER, "sub": id(10), "iat": now, "nbf": now, "exp": now + 900, "jti": id(11),
        "sid": id(12), "pid": PROJECT.to_string(), "tid": id(13), "ctx": "tenant", "ug": 2, "tg": 3,
        "username": "ann", "auth_time": now,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().insert(name.into(), value);
    claims
}

fn verify(token: &str, issuer: &Arc<Issuer>) -> Result<VerifiedToken, TokenError> {
    Presented::read(token)?.check(issuer, NOW)?.verify()
}

fn mint(key: &SigningKey, claims: &Value) -> String {
    key.sign(ACCESS_TOKEN_TYPE, claims).unwrap()
}

#[test]
fn believes_a_token_of_ours() {
    let key = key("k", Algorithm::Es256);
    let token = verify(&mint(&key, &claims()), &issuer(&[&key], Origin::Own)).unwrap();
    assert_eq!(token.kind(), TokenKind::Own);
    assert_eq!(token.tenant(), TenantClaim::Id(Id::new(Uuid::from_u128(13))));
    assert_eq!((token.identity().user_generation, token.identity().tenant_generation), (2, 3));
    assert_eq!(token.username.as_deref(), Some("ann"));
}

#[test]
fn refuses_a_registered_claim_of_another_type() {
    let key = key("k", Algorithm::EdDsa);
    let issuer = issuer(&[&key], Origin::Own);
    let wrong = [json!("1"), json!(1.5), json!(-1), json!(null), json!([1]), json!({}), json!(1e300), json!(true)];
    for name in ["exp", "nbf", "iat"] {
        for value in &wrong {
            let refused = verify(&mint(&key, &with(name, value.clone())), &issuer);
            assert!(matches!(refused, Err(TokenError::Claim { .. })), "{name} = {value}: {refused:?}");
        }
    }
    for name in ["iss", "sub", "jti", "sid", "pid", "tid", "ctx", "ug", "tg"] {
        for value in [json!(1.5), json!(null), json!([]), json!({}), json!(true), json!("")] {
            if name == "tid" && value.is_null() {
                continue; // absent, which the next test refuses
            }
            assert!(verify(&mint(&key, &with(name, value.clone())), &issuer).is_err(), "{name} = {value}");
        }
    }
    for value in [json!(1), json!(null), json!([]), json!([ISSUER, 1]), json!({}), json!("")] {
        assert_eq!(verify(&mint(&key, &with("aud", value)), &issuer).unwrap_err(), TokenError::Audience);
    }
}

#[test]
fn refuses_a_token_that_lacks_a_claim() {
    let key = key("k", Algorithm::EdDsa);
    let issuer = issuer(&[&key], Origin::Own);
    for name in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "pid", "tid", "ctx", "ug", "tg"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert!(verify(&mint(&key, &claims), &issuer).is_err(), "{name}");
    }
}

#[test]
fn refuses_a_token_out_of_its_times_and_allows_the_skew() {
    let key = key("k", Algorithm::EdDsa);
    let issuer = issuer(&[&key], Origin::Own);
    let at = |name, offset: i64| verify(&mint(&key, &with(name, json!(NOW.secs() + offset))), &issuer).err();
    assert_eq!(at("exp", -29), None);
    assert_eq!(at("exp", -30), Some(TokenError::Expired));
    assert_eq!(at("nbf", 30), None);
    assert_eq!(at("nbf", 31), Some(TokenError::NotYetValid));
    assert_eq!(at("iat", 31), Some(TokenError::NotYetValid));
}

fn forged(header: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(&claims()), URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn refuses_alg_none() {
    let key = key("k", Algorithm::Es256);
    let issuer = issuer(&[&key], Origin::Own);
    for alg in ["none", "None", "NONE", "", "HS256", "ES384", "es256"] {
        let token = forged(&json!({"alg": alg, "kid": "k", "typ": "at+jwt"}), b"");
        assert_eq!(verify(&token, &issuer).unwrap_err(), TokenError::Algorithm, "{alg}");
    }
}

#[test]
fn refuses_hs256_signed_with_the_public_key() {
    let key = key("k", Algorithm::Es256);
    let issuer = issuer(&[&key], Origin::Own);
    let header = json!({"alg": "HS256", "kid": "k", "typ": "at+jwt"});
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.public_jwk().to_string().as_bytes());
    let unsigned = forged(&header, b"");
    let tag = aws_lc_rs::hmac::sign(&secret, unsigned.trim_end_matches('.').as_bytes());
    assert_eq!(verify(&forged(&header, tag.as_ref()), &issuer).unwrap_err(), TokenError::Algorithm);
}

#[test]
fn never_takes_a_key_from_the_header() {
    let (ours, attacker) = (key("k", Algorithm::Es256), key("k", Algorithm::Es256));
    let issuer = issuer(&[&ours], Origin::Own);
    let token = mint(&attacker, &claims());
    let (_, rest) = token.split_once('.').unwrap();
    let header = json!({
        "alg": "ES256", "kid": "k", "typ": "at+jwt", "jwk": attacker.public_jwk(), "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/x5u", "x5c": ["AAAA"],
    });
    let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
    assert_eq!(verify(&forged, &issuer).unwrap_err(), TokenError::Signature);
}

#[test]
fn refuses_a_kid_that_is_no_key() {
    let key = key("k", Algorithm::Es256);
    let issuer = issuer(&[&key], Origin::Own);
    for kid in [json!("../../etc/passwd"), json!("' OR 1=1"), json!("https://evil.example"), json!(""), json!(null)] {
        let token = forged(&json!({"alg": "ES256", "kid": kid, "typ": "at+jwt"}), b"x");
        assert_eq!(verify(&token, &issuer).unwrap_err(), TokenError::KeyUnknown);
    }
}

#[test]
fn refuses_every_byte_flipped_cut_or_added() {
    let key = key("k", Algorithm::EdDsa);
    let issuer = issuer(&[&key], Origin::Own);
    let good = mint(&key, &claims());
    assert!(verify(&good, &issuer).is_ok());
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(verify(std::str::from_utf8(&bytes).unwrap(), &issuer).is_err(), "flipped at {at}");
        assert!(verify(&good[..at], &issuer).is_err(), "cut at {at}");
    }
    for extended in [format!("{good}A"), format!("{good}="), format!("{good}.A"), format!("{good} ")] {
        assert!(verify(&extended, &issuer).is_err(), "{extended}");
    }
}

#[test]
fn refuses_an_id_token_and_an_assertion_as_an_access_token() {
    let key = key("k", Algorithm::EdDsa);
    let own = issuer(&[&key], Origin::Own);
    for typ in ["JWT", "id+jwt", "assertion+jwt", ""] {
        assert_eq!(verify(&key.sign(typ, &claims()).unwrap(), &own).unwrap_err(), TokenError::Type, "{typ}");
    }
}

fn external(tenant: TenantBinding) -> Origin {
    Origin::External(ExternalBinding {
        tenant,
        subject_claim: "sub".into(),
        roles_claim: Some("groups".into()),
        required_claims: [("email_verified".to_owned(), json!(true))].into(),
    })
}

#[test]
fn an_external_token_counts_only_by_what_its_binding_names() {
    let key = key("k", Algorithm::Es256);
    let issuer = issuer(&[&key], external(TenantBinding::Claim("org".into())));
    let claims = json!({
        "iss": ISSUER, "aud": [ISSUER, "other"], "sub": "u1", "exp": NOW.secs() + 60, "org": "acme",
        "groups": ["member"], "email_verified": true,
        "ctx": "sys", "is_admin": true, "is_super_admin": true, "roles": ["platform_admin"], "tid": "x", "ug": 99,
    });
    let token = verify(&key.sign("JWT", &claims).unwrap(), &issuer).unwrap();
    assert_eq!(token.context(), ContextKind::Tenant);
    assert_eq!(token.tenant(), TenantClaim::Name("acme"));
    assert_eq!(*token.roles(), [Box::from("member")]);
    assert_eq!(token.own_user(), None);
    assert_eq!(token.identity().tenant, None, "our generations do not judge foreign tokens");

    for (name, value) in
        [("email_verified", json!("true")), ("org", json!(1)), ("sub", json!("")), ("groups", json!(1))]
    {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().insert(name.into(), value);
        let refused = verify(&key.sign("JWT", &claims).unwrap(), &issuer).unwrap_err();
        assert_eq!(refused, TokenError::Claim { name: name.into() });
    }
}

/// What another implementation mints, ours believes.
#[test]
fn agrees_with_an_independent_implementation() {
    let pkcs8 = generate(Algorithm::Es256).unwrap();
    let key = SigningKey::from_pkcs8("k", Algorithm::Es256, &pkcs8).unwrap();
    let header = jsonwebtoken::Header {
        kid: Some("k".into()),
        typ: Some(ACCESS_TOKEN_TYPE.into()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256)
    };
    let token =
        jsonwebtoken::encode(&header, &claims(), &jsonwebtoken::EncodingKey::from_ec_der(pkcs8.expose())).unwrap();
    assert!(verify(&token, &issuer(&[&key], Origin::Own)).is_ok());
}
