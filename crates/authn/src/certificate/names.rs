//! What a certificate calls its holder.
//!
//! A reader that stops at a NUL, or takes one text for two attributes, believes a certificate to be another's
//! (CVE-2025-66220). So a name is taken whole or not at all, and where one cannot be taken nobody's name is.

use domain::{CertificateName, NameKind, client_certificate::MAX_NAME_BYTES};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
    x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name},
};

use super::CertificateError;

/// Alternative names of one certificate, at most.
const MAX_NAMES: usize = 128;

/// UTF8String, NumericString, PrintableString, IA5String (X.680 §8.6): texts that all readers read alike.
const TEXTS: [u32; 4] = [12, 18, 19, 22];

/// Attributes of a subject, as OpenSSL abbreviates them.
const ATTRIBUTES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The names of a certificate's holder, `own` (its fingerprint) among them, each once.
pub(super) fn of(der: &CertificateDer<'_>, own: CertificateName) -> Result<Box<[CertificateName]>, CertificateError> {
    let Ok(([], certificate)) = X509Certificate::from_der(der) else { return Err(CertificateError::Broken) };
    let mut names = vec![own];
    // Twice the extension is no certificate, whichever of them a reader takes.
    let alternatives = certificate.subject_alternative_name().map_err(|_| CertificateError::Names)?;
    for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
        names.extend(alternative(name)?);
    }
    if let Some(subject) = subject(certificate.subject()) {
        names.extend(CertificateName::new(NameKind::Subject, &subject));
    }
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_NAMES { Err(CertificateError::Names) } else { Ok(names.into()) }
}

/// A name that can be bound; none for kinds that cannot, and for wildcards, which name no one holder.
fn alternative(name: &GeneralName<'_>) -> Result<Option<CertificateName>, CertificateError> {
    let (kind, text) = match name {
        GeneralName::RFC822Name(text) => (NameKind::Email, text),
        GeneralName::DNSName(text) => (NameKind::Dns, text),
        GeneralName::URI(text) => (NameKind::Uri, text),
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_) => return Ok(None),
        GeneralName::Invalid(..) => return Err(CertificateError::Names),
    };
    // Visible ASCII (RFC 5280 §4.2.1.6: IA5String); an empty one names everybody.
    if !(1..=MAX_NAME_BYTES).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CertificateError::Names);
    }
    Ok(CertificateName::new(kind, text).ok())
}

/// A subject as OpenSSL writes it with `-nameopt RFC2253`; none for one that is empty or holds what is not surely text.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let parts: Vec<_> = name.iter_rdn().map(relative).collect::<Option<_>>()?;
    let parts: Vec<_> = parts.into_iter().rev().collect();
    Some(parts.join(",")).filter(|text| !text.is_empty())
}

fn relative(name: &RelativeDistinguishedName<'_>) -> Option<String> {
    let parts: Vec<_> = name.iter().map(attribute).collect::<Option<_>>()?;
    let parts: Vec<_> = parts.into_iter().rev().collect();
    Some(parts.join("+"))
}

fn attribute(it: &AttributeTypeAndValue<'_>) -> Option<String> {
    let id = it.attr_type().to_id_string();
    let (_, short) = ATTRIBUTES.iter().find(|(known, _)| *known == id)?;
    if !TEXTS.contains(&it.attr_value().tag().0) {
        return None;
    }
    Some(format!("{short}={}", escaped(it.as_str().ok()?)?))
}

/// A value as RFC 2253 §2.4 has it, with other than ASCII in hexadecimal; none where it holds a control character.
fn escaped(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let last = value.len().checked_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            0..=0x1f | 0x7f => return None,
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            b' ' if at == 0 || Some(at) == last => out.push_str("\\ "),
            b'#' if at == 0 => out.push_str("\\#"),
            0x80.. => out.push_str(&format!("\\{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
    Some(out)
}
