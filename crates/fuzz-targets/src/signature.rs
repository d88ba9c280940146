//! The fields of a signed request: five lines, and a sixth as a bearer key.

use std::sync::LazyLock;

use authn::{
    api_key::{NewKey, PresentedKey, RANDOM_BYTES},
    signature::{RawSignature, Signature, SignedParts, WINDOW},
};
use domain::{ApiKeyScheme, ApiKeyState, History, Id, Seq, api_key::Verifier};
use uuid::Uuid;

/// A key that nobody here signs with.
static KEY: LazyLock<ApiKeyState> = LazyLock::new(|| {
    let new = NewKey::make(ApiKeyScheme::Hmac, &[0; RANDOM_BYTES]).expect("a prefix is made of what it may hold");
    ApiKeyState {
        history: History::default(),
        as_of: Seq::ZERO,
        id: Id::new(Uuid::nil()),
        verifiers: vec![Verifier { secret: new.verifier(), until: None }],
        prefix: new.prefix,
        project: Id::new(Uuid::nil()),
        tenant: Id::new(Uuid::nil()),
        owner: Id::new(Uuid::nil()),
        owner_name: None,
        scopes: Vec::new(),
        networks: Vec::new(),
        rate_limit: None,
        expires_at: None,
        disabled: false,
    }
});

/// Reads and judges a signature, and a key.
pub fn run(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let raw =
        RawSignature { key_id: line(), timestamp: line(), nonce: line(), content_sha256: line(), signature: line() };
    let bearer = line();
    if let Ok(signature) = Signature::read(&raw) {
        let at = signature.signed_at;
        assert!(signature.in_time(at).is_ok() && signature.in_time(at + WINDOW + WINDOW).is_err());
        assert!(signature.nonce.is_ascii() && !signature.nonce.contains(['\n', ':', ' ']), "one word");
        let parts = SignedParts { method: "GET", host: "acme.localhost", path: "/", query: "" };
        assert!(signature.accepted(&KEY, &parts, at).is_err(), "a signature is believed that nobody made");
    }
    if let Ok(key) =
        std::str::from_utf8(bearer).map_err(|_| ()).and_then(|text| PresentedKey::read(text).map_err(|_| ()))
    {
        assert!(key.prefix().is_ok_and(|prefix| prefix.scheme() == ApiKeyScheme::Bearer));
        assert!(key.accepted(&KEY, domain::Timestamp::from_secs(0)).is_err());
    }
}
