//! What a tenant's pages and mails look like.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::HostName;

/// Longest logo URL, in bytes.
const URL_BYTES: usize = 2048;

/// A name, a logo and colours. What is absent is the platform's own.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Branding {
    /// What the tenant calls itself, 1 to 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its logo: an `https` URL without credentials and fragment, at most 2048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_url: Option<String>,
    /// Its main colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<Colour>,
    /// The colour beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary: Option<Colour>,
    /// The colour behind everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<Colour>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBranding {
    name: Option<String>,
    logo_url: Option<String>,
    primary: Option<Colour>,
    secondary: Option<Colour>,
    background: Option<Colour>,
}

impl Branding {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl TryFrom<RawBranding> for Branding {
    type Error = BrandingError;
    fn try_from(raw: RawBranding) -> Result<Self, BrandingError> {
        let named = |name: &str| (1..=128).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if raw.name.as_deref().is_some_and(|name| !named(name)) {
            return Err(BrandingError::Name);
        }
        if raw.logo_url.as_deref().is_some_and(|url| !is_logo(url)) {
            return Err(BrandingError::Logo);
        }
        let RawBranding { name, logo_url, primary, secondary, background } = raw;
        Ok(Self { name, logo_url, primary, secondary, background })
    }
}

impl<'de> Deserialize<'de> for Branding {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        RawBranding::deserialize(from)?.try_into().map_err(D::Error::custom)
    }
}

/// An `https` URL of a hostname, in characters of RFC 3986 that need no quoting in HTML, CSS and headers.
fn is_logo(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => host,
        Some(_) => return false,
        None => authority,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/?-._~!$&*+,;=:@%".contains(&b);
    url.len() <= URL_BYTES && host.parse::<HostName>().is_ok() && path.bytes().all(plain)
}

/// A colour, as `#` and six hexadecimal digits in small letters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^#[0-9a-fA-F]{6}$"))]
pub struct Colour([u8; 3]);

impl FromStr for Colour {
    type Err = BrandingError;
    fn from_str(text: &str) -> Result<Self, BrandingError> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii());
        let byte = |at: usize| {
            let pair = digits?.get(at..at + 2).filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(pair, 16).ok()
        };
        match (byte(0), byte(2), byte(4)) {
            (Some(red), Some(green), Some(blue)) => Ok(Self([red, green, blue])),
            _ => Err(BrandingError::Colour),
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([red, green, blue]) = self;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}
impl TryFrom<String> for Colour {
    type Error = BrandingError;
    fn try_from(text: String) -> Result<Self, BrandingError> {
        text.parse()
    }
}
impl From<Colour> for String {
    fn from(colour: Colour) -> Self {
        colour.to_string()
    }
}

/// Why something is no [`Branding`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BrandingError {
    /// Too long, empty, or not plain text.
    #[error("`name` has 1 to 128 characters, none of control")]
    Name,
    /// No such URL.
    #[error("`logo_url` is no https URL of at most {URL_BYTES} bytes, without credentials and fragment")]
    Logo,
    /// No such colour.
    #[error("a colour is `#` and six hexadecimal digits")]
    Colour,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_logo_is_at_an_https_url_and_nowhere_else() {
        for good in ["https://cdn.acme.example/logo.svg?v=2", "https://acme.example:8443", "https://acme.example/a%20b"]
        {
            assert!(is_logo(good), "{good}");
        }
        for bad in [
            "",
            "http://acme.example/logo.svg",
            "https://",
            "https:///logo.svg",
            "https://ann:secret@acme.example/",
            "https://acme.example@evil.example/",
            "https://192.0.2.1/logo.svg",
            "https://acme.example/\"onerror=",
            "https://acme.example/a b",
            "https://acme.example/#x",
            "https://acme.example:0/",
            "https://acme.example:x/",
            "javascript:alert(1)",
            &format!("https://acme.example/{}", "a".repeat(URL_BYTES)),
        ] {
            assert!(!is_logo(bad), "{bad}");
        }
    }

    #[test]
    fn branding_reads_back_what_it_wrote_and_colours_have_one_spelling() {
        let read = |value| serde_json::from_value::<Branding>(value);
        let branding = read(json!({ "name": "Acme", "primary": "#0A0bFF" })).unwrap();
        assert_eq!(serde_json::to_value(&branding).unwrap(), json!({ "name": "Acme", "primary": "#0a0bff" }));
        assert!(read(json!({})).unwrap().is_empty());
        for wrong in [
            json!({ "primary": "red" }),
            json!({ "primary": "#0a0bf" }),
            json!({ "primary": "#0a0b+f" }),
            json!({ "primary": "#äääx" }),
            json!({ "name": "" }),
            json!({ "font": "Comic Sans" }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
