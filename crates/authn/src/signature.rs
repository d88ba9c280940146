//! Requests signed with an API key (`docs/api-keys.md`).
//!
//! ```text
//! x-api-key-id:      pcs_abcdefghijklmnop
//! x-timestamp:       2026-01-02T03:04:05Z
//! x-nonce:           8 to 64 of A–Z, a–z, 0–9, `-`, `_`; never twice
//! x-content-sha256:  hex SHA-256 of the body, which may be empty
//! x-signature:       hex HMAC-SHA256 of the lines below, keyed with the text of the key
//!
//! method ␊ host ␊ path ␊ query ␊ x-content-sha256 ␊ x-timestamp ␊ x-nonce
//! ```
//!
//! No line can hold a line feed, so that two requests never have one text. What is signed is the canonical request: the
//! path and the host that are decided on and forwarded.

use std::time::Duration;

use aws_lc_rs::hmac;
use domain::{ApiKeyScheme, ApiKeyState, KeyPrefix, Timestamp, api_key::Verifier};

use crate::api_key::{KeyError, is_live};

/// The field that names the key. A request that has it is a signed one.
pub const KEY_ID: &str = "x-api-key-id";
/// The field that says when it was signed.
pub const TIMESTAMP: &str = "x-timestamp";
/// The field that makes it unlike any other.
pub const NONCE: &str = "x-nonce";
/// The field with the body's hash.
pub const CONTENT_SHA256: &str = "x-content-sha256";
/// The field with the signature.
pub const SIGNATURE: &str = "x-signature";

/// The five fields of a signed request. They go no further than the edge.
pub const FIELDS: [&str; 5] = [KEY_ID, TIMESTAMP, NONCE, CONTENT_SHA256, SIGNATURE];

/// How far a timestamp may be from now, before or after.
pub const WINDOW: Duration = Duration::from_secs(300);

/// Longest body of a signed request, in bytes.
pub const MAX_BODY_BYTES: u64 = 1024 * 1024;

/// The five fields as they were sent.
#[derive(Clone, Copy, Debug)]
pub struct RawSignature<'r> {
    /// [`KEY_ID`]
    pub key_id: &'r [u8],
    /// [`TIMESTAMP`]
    pub timestamp: &'r [u8],
    /// [`NONCE`]
    pub nonce: &'r [u8],
    /// [`CONTENT_SHA256`]
    pub content_sha256: &'r [u8],
    /// [`SIGNATURE`]
    pub signature: &'r [u8],
}

/// What of a request is signed, beside three of the fields.
#[derive(Clone, Copy, Debug)]
pub struct SignedParts<'r> {
    /// Method.
    pub method: &'r str,
    /// Host: lower case, no port.
    pub host: &'r str,
    /// Path in normal form.
    pub path: &'r str,
    /// Query without its `?`; empty where there is none.
    pub query: &'r str,
}

/// The fields of a signed request, each of its form; nothing is verified.
#[derive(Clone, Debug)]
pub struct Signature<'r> {
    /// The key it names.
    pub key: KeyPrefix,
    /// When it says it was signed.
    pub signed_at: Timestamp,
    /// What makes it unlike any other.
    pub nonce: &'r str,
    /// The hash that the body has to have.
    pub body: [u8; 32],
    timestamp: &'r str,
    content_sha256: &'r str,
    tag: [u8; 32],
}

impl<'r> Signature<'r> {
    /// Reads the fields.
    ///
    /// # Errors
    /// [`KeyError::SignatureMalformed`].
    pub fn read(raw: &RawSignature<'r>) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::SignatureMalformed;
        let text = |bytes: &'r [u8]| std::str::from_utf8(bytes).map_err(|_| MALFORMED);
        let key: KeyPrefix = text(raw.key_id)?.parse().map_err(|_| MALFORMED)?;
        let (timestamp, nonce) = (text(raw.timestamp)?, text(raw.nonce)?);
        let of_nonce = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if key.scheme() != ApiKeyScheme::Hmac || !(8..=64).contains(&nonce.len()) || !nonce.bytes().all(of_nonce) {
            return Err(MALFORMED);
        }
        let content_sha256 = text(raw.content_sha256)?;
        Ok(Self {
            key,
            signed_at: instant(timestamp).ok_or(MALFORMED)?,
            nonce,
            body: bytes_of(content_sha256).ok_or(MALFORMED)?,
            timestamp,
            content_sha256,
            tag: bytes_of(text(raw.signature)?).ok_or(MALFORMED)?,
        })
    }

    /// Whether it was signed about now.
    ///
    /// # Errors
    /// [`KeyError::SignatureTimestamp`].
    pub fn in_time(&self, now: Timestamp) -> Result<(), KeyError> {
        let apart = now.since(self.signed_at).max(self.signed_at.since(now));
        if apart <= WINDOW { Ok(()) } else { Err(KeyError::SignatureTimestamp) }
    }

    /// The one of a key's verifiers with which this request was signed.
    ///
    /// # Errors
    /// [`KeyError::Invalid`].
    pub fn accepted<'k>(
        &self,
        key: &'k ApiKeyState,
        parts: &SignedParts<'_>,
        now: Timestamp,
    ) -> Result<&'k Verifier, KeyError> {
        if key.scheme() != ApiKeyScheme::Hmac || key.prefix != self.key {
            return Err(KeyError::Invalid);
        }
        let text = self.text(parts);
        let holds = |verifier: &&Verifier| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, verifier.secret.expose());
            is_live(verifier, now) && hmac::verify(&secret, text.as_bytes(), &self.tag).is_ok()
        };
        key.verifiers.iter().find(holds).ok_or(KeyError::Invalid)
    }

    fn text(&self, parts: &SignedParts<'_>) -> String {
        let SignedParts { method, host, path, query } = parts;
        [*method, host, path, query, self.content_sha256, self.timestamp, self.nonce].join("\n")
    }
}

/// What a request has to be signed with: for clients of ours and for tests.
pub fn sign(key: &str, parts: &SignedParts<'_>, content_sha256: &str, timestamp: &str, nonce: &str) -> String {
    let SignedParts { method, host, path, query } = parts;
    let text = [*method, host, path, query, content_sha256, timestamp, nonce].join("\n");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An instant of RFC 3339 in UTC with `T` and `Z`, to the second or finer.
fn instant(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let of_form = (20..=30).contains(&bytes.len())
        && bytes.get(10) == Some(&b'T')
        && bytes.last() == Some(&b'Z')
        && bytes.iter().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'.' | b'T' | b'Z'));
    if !of_form {
        return None;
    }
    serde_json::from_value(serde_json::Value::String(text.into())).ok()
}

/// 64 hexadecimal digits in lower case.
fn bytes_of(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;

    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn raw<'r>(timestamp: &'r str, nonce: &'r str, hash: &'r str, tag: &'r str) -> RawSignature<'r> {
        RawSignature {
            key_id: b"pcs_abcdefghijklmnop",
            timestamp: timestamp.as_bytes(),
            nonce: nonce.as_bytes(),
            content_sha256: hash.as_bytes(),
            signature: tag.as_bytes(),
        }
    }

    #[test]
    fn refuses_fields_that_are_not_of_their_form() {
        let tag = "0".repeat(64);
        let read = |timestamp, nonce, hash| Signature::read(&raw(timestamp, nonce, hash, &tag)).map(|_| ());
        assert_eq!(read("2026-01-02T03:04:05Z", "n-0123456789", EMPTY), Ok(()));
        assert_eq!(read("2026-01-02T03:04:05.123Z", "n_012345", EMPTY), Ok(()));
        let upper = EMPTY.to_uppercase();
        for (timestamp, nonce, hash) in [
            ("1767323045", "n-0123456789", EMPTY),
            ("2026-01-02 03:04:05Z", "n-0123456789", EMPTY),
            ("2026-01-02T03:04:05+00:00", "n-0123456789", EMPTY),
            ("2026-01-02T03:04:05Z\n", "n-0123456789", EMPTY),
            ("2026-13-02T03:04:05Z", "n-0123456789", EMPTY),
            ("2026-01-02T03:04:05Z", "short", EMPTY),
            ("2026-01-02T03:04:05Z", "with\nline feed", EMPTY),
            ("2026-01-02T03:04:05Z", "n-0123456789", "e3b0"),
            ("2026-01-02T03:04:05Z", "n-0123456789", &upper),
        ] {
            assert_eq!(read(timestamp, nonce, hash), Err(KeyError::SignatureMalformed), "{timestamp} {nonce} {hash}");
        }
        let bearer = RawSignature {
            key_id: b"pck_abcdefghijklmnop",
            ..raw("2026-01-02T03:04:05Z", "n-0123456789", EMPTY, &tag)
        };
        assert!(Signature::read(&bearer).is_err(), "a bearer key does not sign");
    }

    /// The example of `docs/api-keys.md`, which was made by another program.
    #[test]
    fn the_documented_example_is_accepted_and_any_change_of_it_is_not() {
        use crate::api_key::NewKey;
        let docs = include_str!("../../../docs/api-keys.md");
        let of = |name: &str| docs.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
        let key = NewKey::read(domain::Secret::new(of("key").to_owned())).unwrap();
        let sha = digest::digest(&digest::SHA256, of("body").as_bytes());
        let sha: String = sha.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sha, of("content-sha256"));
        let raw =
            RawSignature { key_id: key.prefix.as_bytes(), ..raw(of("timestamp"), of("nonce"), &sha, of("signature")) };
        let signature = Signature::read(&raw).unwrap();
        let id = |n| uuid::Uuid::from_u128(n);
        let state = ApiKeyState {
            history: domain::History::default(),
            as_of: domain::Seq::ZERO,
            id: id(1).into(),
            prefix: key.prefix.clone(),
            project: id(2).into(),
            tenant: id(3).into(),
            owner: id(4).into(),
            owner_name: None,
            verifiers: vec![Verifier { secret: key.verifier(), until: None }],
            scopes: Vec::new(),
            networks: Vec::new(),
            rate_limit: None,
            expires_at: None,
            disabled: false,
        };
        let parts = SignedParts { method: of("method"), host: of("host"), path: of("path"), query: of("query") };
        let accepted = |parts: &SignedParts<'_>| signature.accepted(&state, parts, signature.signed_at).is_ok();
        assert!(accepted(&parts));
        assert_eq!(sign(of("key"), &parts, &sha, of("timestamp"), of("nonce")), of("signature"));
        for changed in [
            SignedParts { method: "PUT", ..parts },
            SignedParts { host: "globex.example.com", ..parts },
            SignedParts { path: "/orders/", ..parts },
            SignedParts { query: "dry_run=false", ..parts },
            SignedParts { query: "", ..parts },
        ] {
            assert!(!accepted(&changed), "{changed:?}");
        }
    }

    #[test]
    fn a_timestamp_is_bounded_in_both_directions() {
        let tag = "0".repeat(64);
        let signature = Signature::read(&raw("2026-01-02T03:04:05Z", "n-0123456789", EMPTY, &tag)).unwrap();
        let at = signature.signed_at;
        let second = Duration::from_secs(1);
        for (now, expected) in [
            (at + WINDOW, Ok(())),
            (at - WINDOW, Ok(())),
            (at + WINDOW + second, Err(KeyError::SignatureTimestamp)),
            (at - WINDOW - second, Err(KeyError::SignatureTimestamp)),
        ] {
            assert_eq!(signature.in_time(now), expected, "{now}");
        }
    }
}
