//! Client certificates: a hostname's settings, revocation lists in DER, and what a client shows.

use std::sync::Arc;

use authn::{Authorities, ClientCertificate};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{CertificateMode, CertificateName, ClientCertificates, Timestamp};
use rustls::pki_types::CertificateDer;

/// An authority of nobody; its key is thrown away.
const CA: &str = include_str!("../../../fuzz/seeds/certificates/ca-pem");

/// A certificate of it.
const CLIENT: &[u8] = include_bytes!("../../../fuzz/seeds/certificates/client-der");

/// Some time in 2030.
const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

/// Reads the bytes in each of the ways in which they may come.
pub fn run(bytes: &[u8]) {
    let client = || CertificateDer::from(CLIENT);
    if let Ok(settings) = serde_json::from_slice::<ClientCertificates>(bytes) {
        verify(&settings, vec![client()]);
    }
    let of = |crl| ClientCertificates { mode: CertificateMode::Required, ca: CA.into(), crl };
    let text = String::from_utf8_lossy(bytes).into_owned();
    verify(&ClientCertificates { ca: text.clone(), ..of(Vec::new()) }, vec![client()]);
    verify(&of(vec![text]), vec![client()]);
    verify(&of(vec![STANDARD.encode(bytes)]), vec![client()]);
    verify(&of(Vec::new()), vec![CertificateDer::from(bytes.to_vec()), client()]);
    verify(&of(Vec::new()), vec![client(), CertificateDer::from(bytes.to_vec())]);
}

/// What is believed has names that are whole, each once.
fn verify(settings: &ClientCertificates, chain: Vec<CertificateDer<'static>>) {
    let Ok(authorities) = Authorities::compile(settings) else { return };
    let first = Arc::new(authorities);
    let Some(shown) = ClientCertificate::verified(chain, Arc::clone(&first), NOW) else { return };
    // Not taken on a handshake's word.
    let Ok(second) = Authorities::compile(settings) else { panic!("what was read once is read again") };
    let believed = shown.judge(&Arc::new(second), NOW);
    assert!(believed.is_err() || shown.judge(&first, NOW).is_ok(), "judged again, it is judged alike");
    let Ok(names) = shown.names() else { return };
    for name in names {
        assert!(!name.value().contains(char::is_control), "{name}");
        assert_eq!(CertificateName::new(name.kind(), name.value()).as_ref(), Ok(name));
    }
    assert!(names.is_sorted_by(|a, b| a < b), "each once");
}
