//! A compact JWS (RFC 7515 §7.1), read strictly and once: a member that stands there twice is an error, and nothing in
//! the header chooses how it is verified but the name of a key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::AssertionError;

/// Longest assertion that is read, in bytes.
const MAX_BYTES: usize = 8 * 1024;

/// An assertion taken apart; nothing in it is verified.
#[derive(Debug)]
pub(crate) struct Jws<'t> {
    pub(crate) alg: String,
    pub(crate) kid: String,
    pub(crate) typ: String,
    pub(crate) signed: &'t [u8],
    pub(crate) signature: Vec<u8>,
    claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

impl<'t> Jws<'t> {
    pub(crate) fn read(token: &'t str) -> Result<Self, AssertionError> {
        let wrong = AssertionError::Malformed;
        if token.len() > MAX_BYTES {
            return Err(wrong("it is longer than 8 KiB"));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("it is not three parts joined by dots"));
        };
        let signed = token.get(..header.len() + 1 + claims.len()).unwrap_or_default().as_bytes();
        let header = members(header)?;
        if header.contains_key("crit") {
            return Err(wrong("its header has critical extensions"));
        }
        let header: Header = typed(header).ok_or(wrong("its header lacks `alg`, `kid` or `typ`"))?;
        Ok(Self {
            alg: header.alg,
            kid: header.kid,
            typ: header.typ,
            signed,
            signature: decode(signature)?,
            claims: members(claims)?,
        })
    }

    pub(crate) fn claims<T: DeserializeOwned>(self) -> Result<T, AssertionError> {
        typed(self.claims).ok_or(AssertionError::Malformed("a claim is missing or of another type"))
    }
}

fn decode(part: &str) -> Result<Vec<u8>, AssertionError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| AssertionError::Malformed("a part is not base64url"))
}

fn members(part: &str) -> Result<Map<String, Value>, AssertionError> {
    let object: Object = serde_json::from_slice(&decode(part)?)
        .map_err(|_| AssertionError::Malformed("a part is not a JSON object without duplicate names"))?;
    Ok(object.0)
}

fn typed<T: DeserializeOwned>(members: Map<String, Value>) -> Option<T> {
    T::deserialize(Value::Object(members)).ok()
}

/// A JSON object without duplicate names. RFC 7519 §4 lets a parser choose; choosing is how two readers come to differ.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Object, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(A::Error::custom("duplicate member"));
                    }
                }
                Ok(Object(map))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
