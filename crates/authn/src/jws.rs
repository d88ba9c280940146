//! Compact JWS (RFC 7515 §7.1), read strictly and once.
//!
//! Nothing in a token's header chooses how it is verified: the key does. What we read of the header is `alg` (which
//! must equal the key's), `kid` and `typ`; `jwk`, `jku`, `x5u` and `x5c` are never looked at, `crit` is refused.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// Longest token we read, in bytes. Bounds what an anonymous caller makes us decode.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A token taken apart; nothing in it is verified yet.
#[derive(Debug)]
pub struct Jws<'t> {
    /// Its header.
    pub header: Header,
    /// Its claims.
    pub claims: Claims,
    /// The bytes under the signature: the first two parts with their dot.
    pub signing_input: &'t [u8],
    /// The signature.
    pub signature: Vec<u8>,
}

/// What we read of a JOSE header. A member that occurs twice is an error.
#[derive(Debug, Deserialize)]
pub struct Header {
    /// The algorithm the token claims; compared to the key's, never followed.
    pub alg: String,
    /// Names the key within the issuer's set.
    pub kid: Option<String>,
    /// The media type (RFC 9068 §2.1 for access tokens).
    pub typ: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11). We understand none.
    crit: Option<Value>,
}

/// A token's claims: an object without duplicate names (RFC 7519 §4 lets a parser choose; choosing is how two readers
/// come to differ).
#[derive(Debug)]
pub struct Claims(pub Map<String, Value>);

/// Why a text is no token we read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JwsError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts.
    #[error("the token is not three parts joined by dots")]
    Parts,
    /// A part that is not base64url without padding.
    #[error("part {0} of the token is not base64url")]
    Base64(&'static str),
    /// A header that is not the object we read.
    #[error("the token's header is not a JSON object with one `alg`, or has a duplicate member")]
    Header,
    /// `crit` is there.
    #[error("the token's header has critical extensions")]
    Critical,
    /// Claims that are not an object without duplicates.
    #[error("the token's claims are not a JSON object without duplicate names")]
    Claims,
}

impl<'t> Jws<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`JwsError`] for everything that has more than one reading.
    pub fn parse(token: &'t str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(JwsError::Parts)?;
        if claims.contains('.') {
            return Err(JwsError::Parts);
        }
        let decode = |part: &str, name| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Base64(name));
        let header: Header = serde_json::from_slice(&decode(header, "1")?).map_err(|_| JwsError::Header)?;
        if header.crit.is_some() {
            return Err(JwsError::Critical);
        }
        let claims = serde_json::from_slice(&decode(claims, "2")?).map_err(|_| JwsError::Claims)?;
        let signature = decode(signature, "3")?;
        Ok(Self { header, claims, signing_input: signed.as_bytes(), signature })
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Claims;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claims, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("duplicate member"));
                    }
                }
                Ok(Claims(map))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn reads_a_plain_token() {
        let text = token(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, r#"{"iss":"i"}"#);
        let jws = Jws::parse(&text).unwrap();
        assert_eq!((jws.header.alg.as_str(), jws.header.kid.as_deref()), ("ES256", Some("k")));
        assert_eq!(jws.signature, [0, 0, 0]);
        assert!(text.as_bytes().starts_with(jws.signing_input));
    }

    #[test]
    fn refuses_what_has_two_readings() {
        let good = r#"{"alg":"ES256"}"#;
        for (text, error) in [
            (String::new(), JwsError::Parts),
            ("a.b".into(), JwsError::Parts),
            ("a.b.c.d".into(), JwsError::Parts),
            (format!("{}=.e30.AAAA", URL_SAFE_NO_PAD.encode(good)), JwsError::Base64("1")),
            (token("[]", "{}"), JwsError::Header),
            (token("{}", "{}"), JwsError::Header),
            (token(r#"{"alg":"ES256","alg":"none"}"#, "{}"), JwsError::Header),
            (token(r#"{"alg":["ES256"]}"#, "{}"), JwsError::Header),
            (token(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "{}"), JwsError::Critical),
            (token(good, "[]"), JwsError::Claims),
            (token(good, r#"{"exp":1,"exp":2}"#), JwsError::Claims),
            (token(good, r#"{"exp":1} x"#), JwsError::Claims),
            (format!("{}.e30.AAAA", "A".repeat(MAX_TOKEN_BYTES)), JwsError::TooLong),
        ] {
            assert_eq!(Jws::parse(&text).unwrap_err(), error, "{text}");
        }
    }
}
