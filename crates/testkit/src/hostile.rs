//! Tokens that must be refused, each made from an issuer's good claims by one known attack (`threats`, class J).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::snapshot::Algorithm;
use jsonwebtoken::EncodingKey;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{TestIssuer, TestKey, key};

/// A hostile token and the name of the attack.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What was done, for the failure message.
    pub attack: String,
    /// The token.
    pub token: String,
}

/// No signature and `alg: none` (CVE-2015-9235).
pub fn alg_none(issuer: &TestIssuer, claims: impl Serialize) -> String {
    unsigned("none", issuer, claims)
}

/// HS256 keyed with `secret`, which the attacker knows because it is public (CVE-2016-10555).
pub fn hs256_with(secret: &[u8], issuer: &TestIssuer, claims: impl Serialize) -> String {
    let header = with(issuer.header(), "alg", "HS256");
    key::sign(&bytes(&header), &bytes(&claims), &EncodingKey::from_secret(secret), jsonwebtoken::Algorithm::HS256)
}

/// The claims with one of them given twice: readers disagree on which one counts. The good value comes last.
pub fn duplicated_claim(issuer: &TestIssuer, claims: impl Serialize, claim: &str, other: &Value) -> String {
    let payload = String::from_utf8(bytes(&claims)).unwrap();
    let twice = payload.replacen('{', &format!("{{{}:{other},", json!(claim)), 1);
    issuer.key().sign(&bytes(&issuer.header()), twice.as_bytes())
}

/// The header parameter given twice, the good value last.
pub fn duplicated_header(issuer: &TestIssuer, claims: impl Serialize, parameter: &str, other: &Value) -> String {
    let twice = issuer.header().to_string().replacen('{', &format!("{{{}:{other},", json!(parameter)), 1);
    issuer.key().sign(twice.as_bytes(), &bytes(&claims))
}

/// Signed by the attacker's own key under the good `kid`.
pub fn foreign_key(issuer: &TestIssuer, claims: impl Serialize) -> String {
    let forger = TestKey::generate(issuer.key().algorithm());
    forger.sign(&bytes(&issuer.header()), &bytes(&claims))
}

/// Every whole-token attack with these claims, on an own issuer (`typ: JWT` may be right for others). None may be
/// accepted; none may cause an outbound request.
pub fn all(issuer: &TestIssuer, claims: impl Serialize) -> Vec<Hostile> {
    let mut attacks = Vec::new();
    let mut add = |attack: String, token| attacks.push(Hostile { attack, token });

    for alg in ["none", "None", "NONE", "nOnE", ""] {
        add(format!("alg `{alg}` without a signature"), unsigned(alg, issuer, &claims));
    }
    add("foreign key under the good kid".to_owned(), foreign_key(issuer, &claims));
    for (what, secret) in public_secrets(issuer.key()) {
        add(format!("HS256 with the public key as {what}"), hs256_with(&secret, issuer, &claims));
    }
    for (what, header) in misleading_headers(issuer) {
        let forger = TestKey::generate(issuer.key().algorithm());
        let header = match header {
            Misleading::Pointing(parameter, value) => with(issuer.header(), parameter, value),
            Misleading::Embedding => with(with(issuer.header(), "jwk", forger.jwk()), "kid", json!(forger.kid())),
            Misleading::EmbeddingUnderGoodKid => with(issuer.header(), "jwk", forger.jwk()),
        };
        add(what.to_owned(), forger.sign(&bytes(&header), &bytes(&claims)));
    }
    for (what, header) in bad_headers(issuer) {
        add(what.to_owned(), issuer.key().sign(&bytes(&header), &bytes(&claims)));
    }
    for (what, token) in misshapen(&issuer.mint(&claims)) {
        add(what.to_owned(), token);
    }
    attacks
}

/// One registered claim with every wrong type and value (CVE-2026-25537: a wrong type was taken for absent). `None`
/// stands for the claim left out.
pub fn wrong_values() -> Vec<Option<Value>> {
    let values = [
        json!(null),
        json!(true),
        json!("1"),
        json!(""),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!([]),
        json!({}),
        json!([null]),
    ];
    values.into_iter().map(Some).chain([None]).collect()
}

fn unsigned(alg: &str, issuer: &TestIssuer, claims: impl Serialize) -> String {
    let header = with(issuer.header(), "alg", alg);
    format!("{}.{}.", URL_SAFE_NO_PAD.encode(bytes(&header)), URL_SAFE_NO_PAD.encode(bytes(&claims)))
}

/// Every spelling of the public key that a confused verifier may use as an HMAC secret.
fn public_secrets(key: &TestKey) -> Vec<(&'static str, Vec<u8>)> {
    let pem = key.public_pem();
    let mut secrets = vec![
        ("PEM without the last newline", pem.trim_end().as_bytes().to_vec()),
        ("PEM", pem.into_bytes()),
        ("DER", key.public_der()),
        ("JWK", bytes(&key.jwk())),
        ("empty secret", Vec::new()),
    ];
    for part in ["n", "x"] {
        if let Some(text) = key.jwk()[part].as_str() {
            secrets.push(("bytes of the JWK", URL_SAFE_NO_PAD.decode(text).unwrap()));
            secrets.push(("text of the JWK", text.as_bytes().to_vec()));
        }
    }
    secrets
}

/// Headers that tell the verifier where to find the attacker's key (CVE-2018-0114).
enum Misleading {
    Pointing(&'static str, Value),
    Embedding,
    EmbeddingUnderGoodKid,
}

fn misleading_headers(issuer: &TestIssuer) -> Vec<(&'static str, Misleading)> {
    use Misleading::{Embedding, EmbeddingUnderGoodKid, Pointing};
    let jku = json!(format!("{}/../attacker/jwks.json", issuer.issuer()));
    vec![
        ("embedded jwk", Embedding),
        ("embedded jwk under the good kid", EmbeddingUnderGoodKid),
        ("jku", Pointing("jku", jku)),
        ("x5u", Pointing("x5u", json!("http://127.0.0.1:1/attacker.pem"))),
        ("x5c", Pointing("x5c", json!(["MAA="]))),
        ("kid that is a path", Pointing("kid", json!("../../../../dev/null"))),
        ("kid that is a URL", Pointing("kid", json!("http://127.0.0.1:1/jwks.json"))),
        ("kid that is SQL", Pointing("kid", json!("x' UNION SELECT 'k';--"))),
        ("unknown kid", Pointing("kid", json!("unknown"))),
    ]
}

/// Headers signed by the good key that must be refused nevertheless.
fn bad_headers(issuer: &TestIssuer) -> Vec<(&'static str, Value)> {
    let good = issuer.header();
    let other = match issuer.key().algorithm() {
        Algorithm::Rs256 => "PS256",
        Algorithm::Es256 => "RS256",
        Algorithm::EdDsa => "ES256",
    };
    let mut without_kid = good.clone();
    without_kid.as_object_mut().unwrap().remove("kid");
    vec![
        ("typ JWT", with(good.clone(), "typ", "JWT")),
        ("typ of an assertion", with(good.clone(), "typ", "assertion+jwt")),
        ("typ of an ID token", with(good.clone(), "typ", "id+jwt")),
        ("typ of the wrong type", with(good.clone(), "typ", 1)),
        ("another algorithm than the key's", with(good.clone(), "alg", other)),
        ("alg in lower case", with(good.clone(), "alg", json!(good["alg"].as_str().unwrap().to_lowercase()))),
        ("alg of the wrong type", with(good.clone(), "alg", json!([good["alg"]]))),
        ("kid of the wrong type", with(good.clone(), "kid", 1)),
        ("no kid", without_kid),
        ("unknown critical extension", with(with(good.clone(), "crit", json!(["x"])), "x", 1)),
        ("unencoded payload (RFC 7797)", with(with(good, "crit", json!(["b64"])), "b64", false)),
    ]
}

/// A good token with its form broken.
fn misshapen(good: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    vec![
        ("no signature", format!("{header}.{payload}.")),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{good}.{signature}")),
        ("JWE with five parts", format!("{good}.{signature}.{signature}")),
        ("padded base64", format!("{good}==")),
        ("unused bits set in the last character", with_unused_bits(good)),
        ("one character short", good[..good.len() - 1].to_owned()),
        ("one character long", format!("{good}A")),
        ("space inside", format!("{header}. {payload}.{signature}")),
        ("newline at the end of a part", format!("{header}\n.{payload}.{signature}")),
        ("all-zero signature", format!("{header}.{payload}.{}", "A".repeat(signature.len()))),
        ("empty header", format!(".{payload}.{signature}")),
        ("empty payload", format!("{header}..{signature}")),
        ("header that is not JSON", format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode("{"))),
        ("header that is not UTF-8", format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(b"{\"\xff\":1}"))),
    ]
}

/// The same signature in another spelling: the last character holds four bits that decode to nothing (RFC 4648 §3.5).
fn with_unused_bits(good: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = good.chars().last().unwrap();
    let next = ALPHABET.chars().skip_while(|&c| c != last).nth(1).unwrap();
    format!("{}{next}", &good[..good.len() - 1])
}

fn with(mut header: Value, parameter: &str, value: impl Serialize) -> Value {
    header[parameter] = serde_json::to_value(value).unwrap();
    header
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

#[cfg(test)]
mod tests {
    use domain::Clock as _;

    use super::*;
    use crate::FixedClock;

    #[test]
    fn every_attack_differs_from_the_good_token() {
        for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
            let issuer = TestIssuer::new("https://id.example.test", algorithm);
            let claims = issuer.claims(FixedClock::default().unix_now());
            let attacks = all(&issuer, &claims);
            assert!(attacks.len() > 35, "{}", attacks.len());
            for (i, attack) in attacks.iter().enumerate() {
                assert!(attacks[..i].iter().all(|other| other.token != attack.token), "{}", attack.attack);
            }
        }
    }

    #[test]
    fn a_duplicated_claim_is_in_the_signed_bytes_twice() {
        let issuer = TestIssuer::new("https://id.example.test", Algorithm::EdDsa);
        let claims = issuer.claims(FixedClock::default().unix_now());
        let token = duplicated_claim(&issuer, &claims, "exp", &json!(1));
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let text = String::from_utf8(payload).unwrap();
        assert!(text.starts_with("{\"exp\":1,"), "{text}");
        assert_eq!(text.matches("\"exp\":").count(), 2);
    }
}
