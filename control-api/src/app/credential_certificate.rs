//! Certificates by which programs of a project are known: one that is registered, and one that a connection has proven.
//!
//! What is registered is public, so that it names nobody and nothing is found by it: it is what a connection has to have proven
//! where a credential's own text is shown. Who registers somebody else's certificate has a credential that only its holder can use.

use aws_lc_rs::digest;
use domain::{Secret, Timestamp, model::CredentialCertificate};
use link::rpc::identity::{self, Proven};
use rustls::pki_types::pem::{PemObject as _, SectionKind};

use crate::error::AppError;

/// Longest PEM that is looked at, in bytes.
const MAX_PEM: usize = 16 * 1024;

const AT: &str = "/certificate_pem";

/// The certificate of a PEM, which holds that one and nothing else.
///
/// # Errors
/// [`AppError::Invalid`] for what no client could prove, or for what a gateway is known by.
pub(super) fn registered(pem: &str, now: Timestamp) -> Result<CredentialCertificate, AppError> {
    let wrong = |detail: &str| AppError::field(AT, "invalid", detail);
    if pem.len() > MAX_PEM {
        return Err(wrong("is longer than 16 KiB"));
    }
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let sections = sections.map_err(|_| wrong("is no PEM"))?;
    let [(SectionKind::Certificate, der)] = sections.as_slice() else {
        return Err(wrong("holds something else than one certificate: give the client's alone, and no key"));
    };
    let parsed = x509_parser::parse_x509_certificate(der).ok().filter(|(rest, _)| rest.is_empty());
    let (_, certificate) = parsed.ok_or_else(|| wrong("the certificate cannot be read"))?;
    if certificate.is_ca() {
        return Err(wrong("it is an authority's: give the client's own"));
    }
    let usage = certificate.extended_key_usage().map_err(|_| wrong("the certificate cannot be read"))?;
    if usage.is_some_and(|usage| !usage.value.client_auth) {
        return Err(wrong("it is not for clients (extended key usage)"));
    }
    if identity::of_certificate(der).is_some() {
        return Err(wrong("it is a gateway's"));
    }
    let not_after = Timestamp::from_secs(certificate.validity().not_after.timestamp());
    if not_after <= now {
        return Err(AppError::field(AT, "expired", format!("it expired at {not_after}")));
    }
    Ok(CredentialCertificate::new(sha256(der), not_after))
}

/// Whether a connection has proven this certificate, and it is in time: a connection may outlive what it was made with.
pub(super) fn is_proven(kept: &CredentialCertificate, proven: &Proven, now: Timestamp) -> bool {
    let der = proven.der();
    let in_time = identity::expiry(der).is_some_and(|end| now < end);
    // Gateways are let in by whoever enrols them, and by nothing else.
    in_time && identity::of_certificate(der).is_none() && kept.is(&Secret::new(sha256(der)))
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, der);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use domain::Clock as _;
    use testkit::{FixedClock, TestCa};

    use super::*;

    #[test]
    fn one_certificate_of_a_client_is_registered_and_nothing_else() {
        let (ca, now) = (TestCa::new(), FixedClock::default().unix_now());
        let client = ca.client("orders");
        let kept = registered(&client.chain_pem, now).unwrap();
        assert!(kept.not_after > now);
        let gateway = ca.client_uri("portcullis://eu/edge-1/00000000-0000-0000-0000-000000000007");
        let garbled = client.chain_pem.replacen("MII", "MIJ", 1);
        let wrong = [
            ("nothing", String::new()),
            ("no PEM", "client.pem".into()),
            ("a key", client.key_pem.clone()),
            ("a key beside it", format!("{}{}", client.chain_pem, client.key_pem)),
            ("two", format!("{0}{0}", client.chain_pem)),
            ("one with its authority", format!("{}{}", client.chain_pem, ca.ca_pem())),
            ("an authority", ca.ca_pem()),
            ("a server's", ca.leaf(&["orders.internal"]).chain_pem),
            ("a gateway's", gateway.chain_pem),
            ("one that cannot be read", garbled),
            ("one that is too long", format!("{}{}", client.chain_pem, "\n".repeat(MAX_PEM))),
        ];
        for (what, pem) in wrong {
            let error = registered(&pem, now).err().unwrap_or_else(|| panic!("{what} is registered"));
            assert_eq!((error.fields()[0].pointer.as_ref(), error.fields()[0].code), (AT, "invalid"), "{what}");
        }
        let over = registered(&client.chain_pem, kept.not_after).err().unwrap();
        assert_eq!(over.fields()[0].code, "expired");
    }
}
