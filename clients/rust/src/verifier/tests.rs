//! One good assertion, and everything that can be wrong with it.

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::KeySet;

const NOW: i64 = 1_800_000_000;
const SECRET: [u8; 32] = [7; 32];

fn encode(value: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(value)
}

fn header() -> Value {
    json!({"alg": "HS256", "kid": "orders-1", "typ": "assertion+jwt"})
}

fn claims() -> Value {
    json!({
        "iss": "portcullis", "aud": "orders", "iat": NOW, "exp": NOW + 60, "tid": "t-1", "sub": "ann lee", "htm": "GET",
        "htu": "/orders/%C3%A4", "host": "acme.example", "rid": "r-1", "cip": "192.0.2.7",
    })
}

fn signed(header: &str, claims: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", encode(tag.as_ref()))
}

fn good() -> String {
    signed(&header().to_string(), &claims().to_string(), &SECRET)
}

fn verifier() -> Verifier {
    Verifier::new("orders", KeySet::default().hmac("orders-1", &encode(&SECRET)).unwrap())
}

/// A request, changed by the test before it is verified.
struct Sent {
    method: Method,
    target: &'static str,
    headers: Vec<(&'static str, String)>,
    now: i64,
}

impl Sent {
    fn new(token: &str) -> Self {
        let headers = [
            ("host", "acme.example"),
            ("x-md-global-tenant-id", "t-1"),
            ("x-md-global-user-id", "ann%20lee"),
            ("x-md-global-request-id", "r-1"),
            (HEADER, token),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        Self { method: Method::GET, target: "/orders/%C3%A4?page=2", headers, now: NOW }
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    fn verified(&self, verifier: &Verifier) -> Result<Assertion, AssertionError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, value.parse().unwrap());
        }
        let now = UNIX_EPOCH + Duration::from_secs(self.now.unsigned_abs());
        verifier.verify(&self.method, &self.target.parse().unwrap(), &headers, now)
    }

    fn refused(&self) -> AssertionError {
        self.verified(&verifier()).unwrap_err()
    }
}

#[test]
fn says_who_and_what() {
    let said = Sent::new(&good()).verified(&verifier()).unwrap();
    assert_eq!((said.tenant.as_deref(), said.subject.as_deref()), (Some("t-1"), Some("ann lee")));
    assert_eq!((said.path.as_str(), said.client), ("/orders/%C3%A4", Some("192.0.2.7".parse().unwrap())));
}

#[test]
fn another_spelling_of_the_same_request_is_the_same_request() {
    let sent = Sent { target: "/%6frders/%c3%a4", ..Sent::new(&good()) };
    sent.set("host", "ACME.example.:8443").verified(&verifier()).unwrap();
}

#[test]
fn refuses_a_request_that_bypassed_the_gateway() {
    let mut sent = Sent::new(&good());
    sent.headers.retain(|(name, _)| *name != HEADER);
    assert_eq!(sent.refused(), AssertionError::Missing);
}

#[test]
fn refuses_a_swapped_method_path_host_tenant_subject_request_or_time() {
    let sent = || Sent::new(&good());
    for (sent, error) in [
        (Sent { method: Method::POST, ..sent() }, AssertionError::Method),
        (Sent { target: "/orders/%C3%B6", ..sent() }, AssertionError::Path),
        (Sent { target: "/orders/%C3%A4/", ..sent() }, AssertionError::Path),
        (Sent { target: "/x/../orders/%C3%A4", ..sent() }, AssertionError::Path),
        (sent().set("host", "globex.example"), AssertionError::Host),
        (sent().set("x-md-global-tenant-id", "t-2"), AssertionError::Tenant),
        (sent().set("x-md-global-user-id", "bob"), AssertionError::Subject),
        (sent().set("x-md-global-request-id", "r-2"), AssertionError::RequestId),
        (Sent { now: NOW + 90, ..sent() }, AssertionError::Expired),
        (Sent { now: NOW - 31, ..sent() }, AssertionError::NotYetValid),
    ] {
        assert_eq!(sent.refused(), error);
    }
    for now in [NOW - 30, NOW + 89] {
        Sent { now, ..sent() }.verified(&verifier()).unwrap();
    }
}

#[test]
fn refuses_fields_that_occur_twice() {
    for (name, value) in [
        (HEADER, good().as_str()),
        ("host", "acme.example"),
        ("x-md-global-tenant-id", "t-1"),
        ("x-md-global-user-id", "ann%20lee"),
    ] {
        let mut sent = Sent::new(&good());
        sent.headers.push((name, value.into()));
        assert_eq!(sent.refused(), AssertionError::Repeated(name));
    }
}

#[test]
fn refuses_another_key_type_algorithm_audience_or_issuer() {
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signed(&header().to_string(), &claims.to_string(), &SECRET)
    };
    let headed = |name: &str, value: Value| {
        let mut header = header();
        header[name] = value;
        signed(&header.to_string(), &claims().to_string(), &SECRET)
    };
    for (token, error) in [
        (signed(&header().to_string(), &claims().to_string(), &[8; 32]), AssertionError::Signature),
        (format!("{}AAAA", good()), AssertionError::Signature),
        (headed("typ", json!("at+jwt")), AssertionError::Type),
        (headed("alg", json!("none")), AssertionError::Algorithm),
        (headed("alg", json!("EdDSA")), AssertionError::Algorithm),
        (headed("kid", json!("other")), AssertionError::KeyUnknown),
        (with("aud", json!("billing")), AssertionError::Audience),
        (with("iss", json!("somebody")), AssertionError::Issuer),
    ] {
        assert_eq!(Sent::new(&token).refused(), error);
    }
}

#[test]
fn refuses_what_cannot_be_read_in_one_way() {
    let twice = |text: &str, name: &str| text.replacen('{', &format!("{{\"{name}\":\"x\","), 1);
    let (header, claims) = (header().to_string(), claims().to_string());
    for token in [
        String::new(),
        "a.b".into(),
        format!("{}.x", good()),
        good().replacen('.', "=.", 1),
        signed(&twice(&header, "alg"), &claims, &SECRET),
        signed(&header, &twice(&claims, "tid"), &SECRET),
        signed(&header.replacen('{', "{\"crit\":[\"b64\"],", 1), &claims, &SECRET),
        signed(&header, &claims.replace("1800000000", "1.8e9"), &SECRET),
        signed(&header, &claims.replace("1800000060", "\"1800000060\""), &SECRET),
        signed(&header, &claims.replace("\"htm\"", "\"hmm\""), &SECRET),
        signed(&header, "[]", &SECRET),
        "A".repeat(9000),
    ] {
        assert!(matches!(Sent::new(&token).refused(), AssertionError::Malformed(_)), "{token}");
    }
}

#[test]
fn an_anonymous_caller_has_no_subject_and_no_header_of_one() {
    let mut anonymous = claims();
    anonymous.as_object_mut().unwrap().remove("sub");
    let token = signed(&header().to_string(), &anonymous.to_string(), &SECRET);
    assert_eq!(Sent::new(&token).refused(), AssertionError::Subject);
    let mut sent = Sent::new(&token);
    sent.headers.retain(|(name, _)| *name != "x-md-global-user-id");
    assert_eq!(sent.verified(&verifier()).unwrap().subject, None);
}

#[test]
fn a_service_of_one_tenant_serves_that_tenant_only() {
    Sent::new(&good()).verified(&verifier().for_tenant("t-1")).unwrap();
    assert_eq!(Sent::new(&good()).verified(&verifier().for_tenant("t-2")).unwrap_err(), AssertionError::Tenant);
}

#[test]
fn behind_a_rewritten_host_the_forwarded_one_counts() {
    let verifier = verifier().checking(HostCheck::Forwarded);
    let sent = Sent::new(&good()).set("host", "orders.internal").set("x-forwarded-host", "acme.example");
    sent.verified(&verifier).unwrap();
    assert_eq!(sent.refused(), AssertionError::Host);
    assert_eq!(sent.set("x-forwarded-host", "globex.example").verified(&verifier).unwrap_err(), AssertionError::Host);
}

#[test]
fn the_fleets_keys_verify_what_one_of_them_signed() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = encode(pair.public_key().as_ref());
    let set = json!({"keys": [{"kid": "f1", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": x}]});
    let verifier = Verifier::new("orders", KeySet::default().jwks(&set.to_string()).unwrap());
    let header = json!({"alg": "EdDSA", "kid": "f1", "typ": "assertion+jwt"}).to_string();
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims().to_string().as_bytes()));
    let signature = encode(pair.sign(signed.as_bytes()).as_ref());
    Sent::new(&format!("{signed}.{signature}")).verified(&verifier).unwrap();
    let other = Ed25519KeyPair::generate().unwrap();
    let forged = format!("{signed}.{}", encode(other.sign(signed.as_bytes()).as_ref()));
    assert_eq!(Sent::new(&forged).verified(&verifier).unwrap_err(), AssertionError::Signature);
    // HS256 keyed with the public key (CVE-2015-9235).
    let confused = self::signed(
        &json!({"alg": "HS256", "kid": "f1", "typ": "assertion+jwt"}).to_string(),
        &claims().to_string(),
        pair.public_key().as_ref(),
    );
    assert_eq!(Sent::new(&confused).verified(&verifier).unwrap_err(), AssertionError::Algorithm);
}
