//! Client certificates of a hostname (mutual TLS): who is asked for one, whose are believed, and as whom each acts.
//!
//! ```text
//! handshake: is it an authority's of this hostname, and not revoked?      ClientCertificates
//! request:   which one binding has one of its names? that is who acts     CertificateBinding
//! ```
//!
//! Here is their form; `authn::certificate` reads the X.509 in it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{CertificateBindingId, HostName, UserId};

/// Bytes of authorities or of one revocation list, at most.
pub const MAX_PEM_BYTES: usize = 1024 * 1024;

/// Revocation lists of a hostname, at most.
pub const MAX_CRLS: usize = 32;

/// Bindings of a hostname, at most: a gateway holds them all.
pub const MAX_BINDINGS: usize = 1000;

/// Longest name of a certificate that is looked at, in bytes.
pub const MAX_NAME_BYTES: usize = 2048;

/// Whether a client of a hostname must show a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateMode {
    /// It may. Who shows one shows a good one.
    Optional,
    /// It must: without a good one there is no connection.
    Required,
}

/// Which certificates a hostname believes.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// Whether a client must show one.
    pub mode: CertificateMode,
    /// PEM of the authorities whose certificates are believed, and of no others; at least one.
    #[schemars(length(max = MAX_PEM_BYTES))]
    pub ca: String,
    /// Revocation lists, each PEM or DER in base64, at most 32. Where there is one, each certificate of a chain must be
    /// covered by a list that is not out of date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CRLS))]
    pub crl: Vec<String>,
}

/// How a certificate names its holder.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// A URI among its alternative names, such as `spiffe://acme.example/billing`; byte for byte.
    Uri,
    /// A DNS name among its alternative names; in any letter case, never by a wildcard.
    Dns,
    /// A mail address among its alternative names; byte for byte.
    Email,
    /// Its whole subject as `openssl x509 -noout -subject -nameopt RFC2253` writes it; byte for byte.
    Subject,
    /// The SHA-256 of the whole certificate, in hexadecimal: this one and no other.
    Sha256,
}

impl NameKind {
    /// The text on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::Email => "email",
            Self::Subject => "subject",
            Self::Sha256 => "sha256",
        }
    }
}

/// One name of a certificate's holder, in the one spelling in which names are compared.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RawCertificateName", into = "RawCertificateName")]
pub struct CertificateName {
    kind: NameKind,
    value: Box<str>,
}

/// A [`CertificateName`] as people write it.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "CertificateName")]
#[serde(deny_unknown_fields)]
pub struct RawCertificateName {
    /// What of the certificate is compared.
    pub kind: NameKind,
    /// With what, 1 to 2048 bytes.
    #[schemars(length(min = 1, max = MAX_NAME_BYTES))]
    pub value: String,
}

impl CertificateName {
    /// A name that can be matched.
    ///
    /// # Errors
    /// It could match nothing, or more than one thing.
    pub fn new(kind: NameKind, value: &str) -> Result<Self, CertificateNameError> {
        let fail = |reason| Err(CertificateNameError { kind, reason });
        if !(1..=MAX_NAME_BYTES).contains(&value.len()) {
            return fail("1 to 2048 bytes are allowed");
        }
        let visible = value.bytes().all(|byte| byte.is_ascii_graphic());
        let value = match kind {
            NameKind::Uri if !visible || !has_scheme(value) => return fail("a URI begins with its scheme"),
            NameKind::Email if !visible || value.split('@').count() != 2 || value.starts_with('@') => {
                return fail("a mail address has one `@`");
            }
            NameKind::Uri | NameKind::Email => value.into(),
            NameKind::Dns => match HostName::from_str(value) {
                Ok(name) if value.is_ascii() && !value.ends_with('.') => name.as_str().into(),
                Ok(_) | Err(_) => return fail("a host's name is allowed, in ASCII and without a wildcard"),
            },
            NameKind::Subject if value.contains(char::is_control) || !value.contains('=') => {
                return fail("a subject is written as in RFC 2253, such as `CN=billing,O=Acme`");
            }
            NameKind::Subject => value.into(),
            NameKind::Sha256 => {
                let hex: String = value.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
                if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return fail("64 hexadecimal digits are allowed");
                }
                hex.into()
            }
        };
        Ok(Self { kind, value })
    }

    /// What of the certificate is compared.
    pub const fn kind(&self) -> NameKind {
        self.kind
    }

    /// With what.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.value)
    }
}

impl TryFrom<RawCertificateName> for CertificateName {
    type Error = CertificateNameError;
    fn try_from(raw: RawCertificateName) -> Result<Self, CertificateNameError> {
        Self::new(raw.kind, &raw.value)
    }
}

impl From<CertificateName> for RawCertificateName {
    fn from(name: CertificateName) -> Self {
        Self { kind: name.kind, value: name.value.into() }
    }
}

/// Why a text names no holder of a certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it is no name of kind `{}`: {reason}", kind.as_str())]
pub struct CertificateNameError {
    kind: NameKind,
    reason: &'static str,
}

/// A scheme and a colon (RFC 3986 §3.1).
fn has_scheme(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
            && !rest.is_empty()
    })
}

/// As whom the holder of a certificate acts in the hostname's tenant.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificatePrincipal {
    /// A user of ours: what it may do is what its user may.
    User(UserId),
    /// Somebody that only a declarative file knows.
    Named {
        /// What upstreams are told as the user's id.
        subject: String,
        /// Names of roles.
        roles: Vec<String>,
    },
}

/// Who acts when a certificate with this name is shown at the hostname.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct CertificateBinding {
    /// Its id.
    pub id: CertificateBindingId,
    /// The name that the certificate must have.
    pub name: CertificateName,
    /// As whom its holder acts.
    pub principal: CertificatePrincipal,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: NameKind, value: &str) -> Result<String, String> {
        CertificateName::new(kind, value).map(|name| name.value().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_has_one_spelling() {
        assert_eq!(said(NameKind::Dns, "Billing.Acme.Example").unwrap(), "billing.acme.example");
        assert_eq!(said(NameKind::Uri, "spiffe://acme.example/Billing").unwrap(), "spiffe://acme.example/Billing");
        assert_eq!(said(NameKind::Email, "Ann@acme.example").unwrap(), "Ann@acme.example");
        assert_eq!(said(NameKind::Subject, "CN=billing,O=Acme").unwrap(), "CN=billing,O=Acme");
        let colons = "AB:".repeat(31) + "AB";
        assert_eq!(said(NameKind::Sha256, &colons).unwrap(), "ab".repeat(32));
    }

    #[test]
    fn refuses_names_that_match_nothing_or_too_much() {
        for (kind, value) in [
            (NameKind::Dns, "*.acme.example"),
            (NameKind::Dns, "acme.example."),
            (NameKind::Dns, "192.0.2.1"),
            (NameKind::Dns, "a\0.example"),
            (NameKind::Dns, "bücher.example"),
            (NameKind::Dns, ""),
            (NameKind::Uri, "acme.example/billing"),
            (NameKind::Uri, "spiffe://a\0b"),
            (NameKind::Uri, "spiffe:"),
            (NameKind::Email, "ann"),
            (NameKind::Email, "a@b@c"),
            (NameKind::Email, "@b"),
            (NameKind::Subject, "billing"),
            (NameKind::Subject, "CN=a\nb"),
            (NameKind::Sha256, "abc"),
            (NameKind::Sha256, &"zz".repeat(32)),
        ] {
            assert!(said(kind, value).is_err(), "{kind:?} {value:?}");
        }
        assert!(said(NameKind::Uri, &format!("x:{}", "y".repeat(MAX_NAME_BYTES))).is_err());
    }

    #[test]
    fn a_name_is_checked_when_it_is_read() {
        let read = |text: &str| serde_json::from_str::<CertificateName>(text).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"kind":"dns","value":"A.example"}"#).unwrap().to_string(), "dns:a.example");
        assert!(read(r#"{"kind":"dns","value":"*"}"#).unwrap_err().starts_with("it is no name of kind `dns`"));
    }
}
