//! Certificates: read from PEM, checked against their key, their names and the time.

use authz::action::ManageCertificates;
use domain::{
    HostName, ProjectId, Secret, Timestamp,
    model::{Certificate, CertificateSource, NewCertificate},
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use store::{
    list::{CertificateList, Selection, Slice},
    read::*,
};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use crate::{App, caller::Principal, context::new_id, error::AppError};

/// A page of certificates.
pub async fn list_certificates(
    app: &App,
    principal: &Principal,
    asked: &Selection<CertificateList>,
) -> Result<Slice<Certificate>, AppError> {
    principal.may::<ManageCertificates>("list")?;
    Ok(app.store.list((), asked).await?)
}

/// Reads an uploaded certificate for a hostname.
///
/// # Errors
/// [`AppError::Invalid`] names what is wrong: no PEM, a key of another certificate, a name that is not covered, a
/// certificate that has expired.
pub fn read_upload(
    app: &App,
    project: ProjectId,
    hostname: &HostName,
    chain_pem: String,
    key_pem: Secret<String>,
) -> Result<NewCertificate, AppError> {
    let new = read(app, chain_pem, key_pem)?;
    must_cover(&new.names, hostname)?;
    Ok(NewCertificate { project_id: Some(project), ..new })
}

/// Reads a certificate of no project yet.
///
/// # Errors
/// As [`read_upload`], but for the name.
pub fn read(app: &App, chain_pem: String, key_pem: Secret<String>) -> Result<NewCertificate, AppError> {
    let leaf = read_leaf(&chain_pem, &key_pem)?;
    if leaf.not_after <= app.now() {
        return Err(AppError::field("/chain_pem", "expired", format!("it expired at {}", leaf.not_after)));
    }
    Ok(NewCertificate {
        id: new_id(&*app.clock),
        project_id: None,
        names: leaf.names,
        chain_pem,
        key_pem,
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        source: CertificateSource::Upload,
        fingerprint: leaf.fingerprint,
    })
}

/// Whether one of a certificate's names covers a hostname.
///
/// # Errors
/// [`AppError::Invalid`] says what it is for.
pub fn must_cover(names: &[String], hostname: &HostName) -> Result<(), AppError> {
    if names.iter().any(|name| covers(name, hostname.as_str())) {
        return Ok(());
    }
    let detail = format!("it is for {}, not for {hostname}", names.join(", "));
    Err(AppError::field("/chain_pem", "name", detail))
}

struct Leaf {
    names: Vec<String>,
    not_before: Timestamp,
    not_after: Timestamp,
    fingerprint: String,
}

fn read_leaf(chain_pem: &str, key_pem: &Secret<String>) -> Result<Leaf, AppError> {
    let wrong = |pointer: &str, detail: &str| AppError::field(pointer, "invalid", detail);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("/chain_pem", "is no PEM of certificates"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.expose().as_bytes())
        .map_err(|_| wrong("/key_pem", "is no PEM of a private key"))?;
    let der = chain.first().cloned().ok_or_else(|| wrong("/chain_pem", "holds no certificate"))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider()).map_err(
        |error| match error {
            rustls::Error::InconsistentKeys(_) => wrong("/key_pem", "is not the key of the first certificate"),
            _ => wrong("/key_pem", "is no key that TLS can use"),
        },
    )?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der)
        .map_err(|_| wrong("/chain_pem", "the first certificate cannot be read"))?;
    let names = dns_names(&parsed).ok_or_else(|| wrong("/chain_pem", "the certificate names no host"))?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    Ok(Leaf {
        names,
        not_before: Timestamp::from_secs(parsed.validity().not_before.timestamp()),
        not_after: Timestamp::from_secs(parsed.validity().not_after.timestamp()),
        fingerprint: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// The DNS names of the subject alternative name extension (RFC 6125 §6.4.4: the common name does not count).
fn dns_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let extension = certificate.subject_alternative_name().ok()??;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    let names: Vec<String> = extension.value.general_names.iter().filter_map(name).collect();
    (!names.is_empty()).then_some(names)
}

/// Whether a name of a certificate covers a host: itself, or `*.` for exactly one label (RFC 6125 §6.4.3).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => name == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        assert!(covers("*.example.com", "acme.example.com"));
        for host in ["example.com", "a.b.example.com", "evilexample.com"] {
            assert!(!covers("*.example.com", host), "{host}");
        }
    }

    #[test]
    fn refuses_a_key_of_another_certificate() {
        let one = rcgen::generate_simple_self_signed(vec!["acme.test".into()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["acme.test".into()]).unwrap();
        let key = |of: &rcgen::CertifiedKey<rcgen::KeyPair>| Secret::new(of.signing_key.serialize_pem());
        let leaf = read_leaf(&one.cert.pem(), &key(&one)).unwrap();
        assert_eq!(leaf.names, ["acme.test"]);
        assert_eq!(read_leaf(&one.cert.pem(), &key(&other)).err().unwrap().fields()[0].pointer, "/key_pem");
        assert_eq!(read_leaf("garbage", &key(&one)).err().unwrap().fields()[0].pointer, "/chain_pem");
    }
}
