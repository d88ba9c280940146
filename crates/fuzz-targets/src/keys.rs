//! An issuer's key set (RFC 7517).

use authn::Jwks;

/// Reads a key set.
pub fn run(bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice(bytes) else { return };
    let Ok(keys) = Jwks::parse(&document) else { return };
    let listed = document.get("keys").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    assert!(keys.len() <= listed, "no key is made up");
}
