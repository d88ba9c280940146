//! ID tokens of identity providers (OpenID Connect Core §2): who signed in there, said to us and nobody else.
//!
//! They are no access tokens: nothing of them reaches a gateway, and [`crate::verify`] takes none of them. As there, the key
//! says which algorithm it is for, and what is cheap is judged before the signature.

use std::time::Duration;

use domain::{Secret, Timestamp, model::identity_provider::MAX_SUBJECT, snapshot::Algorithm};
use serde_json::{Map, Value};

use crate::{
    jwks::{Jwks, algorithm_name},
    jws::Jws,
    verify::{CLOCK_SKEW, TokenError, date, in_time, text},
};

/// How old an ID token may be that is shown to us. The sign-in it ends began a few minutes ago.
const OLDEST: Duration = Duration::from_secs(600);

/// What an ID token has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    /// `iss`, byte for byte.
    pub issuer: &'e str,
    /// The clients of ours it may be for.
    pub clients: &'e [&'e str],
    /// What the sign-in was begun with.
    pub nonce: &'e str,
    /// What the provider signs with.
    pub algorithms: &'e [Algorithm],
}

/// An ID token that holds.
#[derive(Debug)]
pub struct IdToken {
    /// Who it is there: 1 to 255 characters of ASCII or not, none of control.
    pub subject: Box<str>,
    /// When they signed in there (`auth_time`), where it says.
    pub auth_time: Option<Timestamp>,
    /// Everything it says.
    pub claims: Map<String, Value>,
}

/// Judges an ID token (OpenID Connect Core §3.1.3.7).
///
/// # Errors
/// The first [`TokenError`] that is found.
pub fn verify(token: &str, keys: &Jwks, expected: &Expected<'_>, now: Timestamp) -> Result<IdToken, TokenError> {
    let jws = Jws::parse(token)?;
    let claims = &jws.claims.0;
    if text(claims, "iss")? != expected.issuer {
        return Err(TokenError::IssuerUnknown);
    }
    let typ = jws.header.typ.as_deref().map(str::to_ascii_lowercase);
    if !matches!(typ.as_deref(), None | Some("jwt")) {
        return Err(TokenError::Type);
    }
    let key = jws.header.kid.as_deref().and_then(|kid| keys.key(kid)).ok_or(TokenError::KeyUnknown)?;
    if jws.header.alg != algorithm_name(key.algorithm()) || !expected.algorithms.contains(&key.algorithm()) {
        return Err(TokenError::Algorithm);
    }
    for_one_of(claims, expected.clients)?;
    let issued_at = date(claims, "iat")?.ok_or(TokenError::Claim { name: "iat".into() })?;
    let expires_at = date(claims, "exp")?.ok_or(TokenError::Claim { name: "exp".into() })?;
    // One of another type is no absent one: that would be a sign-in of now.
    let auth_time = date(claims, "auth_time")?;
    in_time(expires_at, date(claims, "nbf")?.max(Some(issued_at)), now)?;
    if now >= issued_at + OLDEST + CLOCK_SKEW {
        return Err(TokenError::Expired);
    }
    let nonce = Secret::new(text(claims, "nonce")?.to_owned());
    if nonce != Secret::new(expected.nonce.to_owned()) {
        return Err(TokenError::Claim { name: "nonce".into() });
    }
    if !key.verifies(jws.signing_input, &jws.signature) {
        return Err(TokenError::Signature);
    }
    let subject = text(claims, "sub")?;
    if subject.len() > MAX_SUBJECT {
        return Err(TokenError::Claim { name: "sub".into() });
    }
    Ok(IdToken { subject: subject.into(), auth_time, claims: jws.claims.0.clone() })
}

/// Whether a token is for a client of ours alone: one for others, too, says that it was given to us.
fn for_one_of(claims: &Map<String, Value>, clients: &[&str]) -> Result<(), TokenError> {
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => {
            many.iter().map(Value::as_str).collect::<Option<_>>().ok_or(TokenError::Audience)?
        }
        _ => return Err(TokenError::Audience),
    };
    let ours = |client: &str| clients.contains(&client);
    let azp = match claims.get("azp") {
        None => None,
        Some(Value::String(client)) => Some(client.as_str()),
        Some(_) => return Err(TokenError::Audience),
    };
    let given_to_us = match azp {
        Some(client) => ours(client),
        None => audiences.len() == 1,
    };
    if given_to_us && audiences.iter().any(|client| ours(client)) { Ok(()) } else { Err(TokenError::Audience) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mint::{SigningKey, generate};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const EXPECTED: Expected<'static> = Expected {
        issuer: "https://id.example",
        clients: &["us"],
        nonce: "n-0S6_WzA2Mj",
        algorithms: &[Algorithm::Es256, Algorithm::Rs256],
    };

    fn key(kid: &str, algorithm: Algorithm) -> SigningKey {
        SigningKey::from_pkcs8(kid, algorithm, &generate(algorithm).unwrap()).unwrap()
    }

    fn set(keys: &[&SigningKey]) -> Jwks {
        let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk()).collect();
        Jwks::parse(&json!({ "keys": keys })).unwrap()
    }

    fn claims() -> Value {
        json!({
            "iss": "https://id.example", "aud": "us", "sub": "248289761001", "nonce": "n-0S6_WzA2Mj",
            "iat": NOW.secs(), "exp": NOW.secs() + 300, "email": "ada@acme.example",
        })
    }

    #[test]
    fn a_token_for_us_says_who_signed_in() {
        let key = key("a", Algorithm::Es256);
        for (name, value) in [("aud", json!(["us"])), ("azp", json!("us")), ("iat", json!(NOW.secs() - 600))] {
            let mut claims = claims();
            claims[name] = value;
            let token = key.sign("JWT", &claims).unwrap();
            let read = verify(&token, &set(&[&key]), &EXPECTED, NOW).unwrap();
            assert_eq!((&*read.subject, &read.claims["email"]), ("248289761001", &json!("ada@acme.example")));
        }
    }

    #[test]
    fn refuses_every_claim_that_is_missing_of_another_type_or_of_somebody_else() {
        let key = key("a", Algorithm::Es256);
        let keys = set(&[&key]);
        let now = NOW.secs();
        for (name, wrong) in [
            ("iss", vec![json!("https://id.example/"), json!("https://evil.example"), json!(1), Value::Null]),
            ("aud", vec![json!("them"), json!([]), json!(["us", "them"]), json!([1]), json!({}), Value::Null]),
            ("azp", vec![json!("them"), json!(["us"])]),
            ("sub", vec![json!(""), json!("x".repeat(256)), json!(7), json!("a\nb"), Value::Null]),
            ("nonce", vec![json!("another"), json!(""), json!(1), Value::Null]),
            ("iat", vec![json!(now + 31), json!(now - 631), json!("now"), json!(1.5), Value::Null]),
            ("exp", vec![json!(now - 31), json!("later"), Value::Null]),
            ("nbf", vec![json!(now + 31), json!("now")]),
            ("auth_time", vec![json!(now.to_string()), json!(1.5), json!(-1), json!(true), json!([now])]),
        ] {
            for value in wrong {
                let mut claims = claims();
                match &value {
                    Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                    value => claims[name] = value.clone(),
                }
                let token = key.sign("JWT", &claims).unwrap();
                assert!(verify(&token, &keys, &EXPECTED, NOW).is_err(), "{name}: {value}");
            }
        }
    }

    #[test]
    fn refuses_alg_none_other_keys_other_kinds_and_changed_bytes() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let (own, other, edwards) =
            (key("a", Algorithm::Es256), key("a", Algorithm::Es256), key("e", Algorithm::EdDsa));
        let keys = set(&[&own, &edwards]);
        let refused = |token: &str| verify(token, &keys, &EXPECTED, NOW).unwrap_err();
        assert_eq!(refused(&other.sign("JWT", &claims()).unwrap()), TokenError::Signature);
        assert_eq!(refused(&edwards.sign("JWT", &claims()).unwrap()), TokenError::Algorithm);
        for typ in ["at+jwt", "assertion+jwt", "logout+jwt"] {
            assert_eq!(refused(&own.sign(typ, &claims()).unwrap()), TokenError::Type);
        }
        let unsigned = |header: Value| {
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims().to_string()))
        };
        assert_eq!(refused(&unsigned(json!({ "alg": "none" }))), TokenError::KeyUnknown);
        assert_eq!(refused(&unsigned(json!({ "alg": "none", "kid": "a" }))), TokenError::Algorithm);
        assert_eq!(refused(&unsigned(json!({ "alg": "HS256", "kid": "a" }))), TokenError::Algorithm);
        assert_eq!(refused(&unsigned(json!({ "alg": "ES256", "kid": "a" }))), TokenError::Signature);
        let token = own.sign("JWT", &claims()).unwrap();
        let twice = token.replace('.', "..");
        assert!(verify(&twice, &keys, &EXPECTED, NOW).is_err());
        let unknown = key("z", Algorithm::Es256).sign("JWT", &claims()).unwrap();
        assert_eq!(refused(&unknown), TokenError::KeyUnknown);
    }
}
