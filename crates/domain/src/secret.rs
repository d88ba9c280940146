//! Values that must not be printed, logged or compared in variable time.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret of type `T`: `Debug` prints `[secret]`, there is no `Serialize`, `==` takes constant time for equal
/// lengths, and the memory is wiped when it is dropped.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Puts a value under seal.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Each caller answers for where it goes.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}
impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}
impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<'de, T: Zeroize + serde::Deserialize<'de>> serde::Deserialize<'de> for Secret<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// Described as what it holds, with `format: password`: whoever reads the description knows that it is not to be shown.
impl<T: Zeroize + JsonSchema> JsonSchema for Secret<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Secret_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.insert("format".into(), "password".into());
        schema
    }
}

/// For the few fields that carry a secret over a wire that is itself confidential (the feed, the encrypted snapshot
/// on disk, the answer that shows a secret once): `#[serde(serialize_with = "domain::secret::exposed")]`.
///
/// # Errors
/// What the serializer answers.
pub fn exposed<T: Zeroize + serde::Serialize, S: serde::Serializer>(
    secret: &Secret<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    secret.0.serialize(serializer)
}

#[test]
fn a_secret_is_never_printed() {
    let secret = Secret::new(String::from("hunter2"));
    assert_eq!(format!("{secret:?}"), "[secret]");
    assert_eq!(secret, Secret::new(String::from("hunter2")));
}
