//! The authorities of a hostname and what they have revoked, read once.

use std::{collections::HashSet, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::{
    CertificateMode, ClientCertificates, Timestamp,
    client_certificate::{MAX_CRLS, MAX_PEM_BYTES},
};
use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, CertificateRevocationListDer,
        pem::{PemObject as _, SectionKind},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{
    oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
    prelude::{CertificateRevocationList, FromDer as _, X509Certificate},
};

use super::{CertificateError, end_of, unix_time};

/// What every PEM block begins with (RFC 7468 §2).
const BEGIN: &str = "-----BEGIN ";

/// Whose certificates a hostname believes. Equal settings of one hostname stay the same object: what was judged by it
/// need not be judged again.
pub struct Authorities {
    mode: CertificateMode,
    verifier: Arc<dyn ClientCertVerifier>,
    /// When the first revocation list goes out of date.
    lists_end: Option<Timestamp>,
}

impl Authorities {
    /// Reads authorities and revocation lists.
    ///
    /// # Errors
    /// Which block cannot be used and why. Nothing is passed over: a list that cannot be read may be the one that counts.
    pub fn compile(settings: &ClientCertificates) -> Result<Self, AuthoritiesError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for (at, der) in blocks(Part::Ca, &settings.ca, SectionKind::Certificate)?.into_iter().enumerate() {
            authority(&mut roots, der).map_err(|reason| Part::Ca.block(at, reason))?;
        }
        let roots = Arc::new(roots);
        if settings.crl.len() > MAX_CRLS {
            return Err(Part::Crl(MAX_CRLS).whole("at most 32 lists are allowed"));
        }
        let (mut lists, mut lists_end) = (Vec::new(), None::<Timestamp>);
        let mut of = HashSet::new();
        for (number, text) in settings.crl.iter().enumerate() {
            let part = Part::Crl(number);
            for (at, der) in list_blocks(part, text)?.into_iter().enumerate() {
                let (issuer, end) = read_list(&der).map_err(|reason| part.block(at, reason))?;
                // Of two the verifier would look at the first it finds, be it the older one.
                if !of.insert(issuer) {
                    return Err(part.block(at, "is a second list of its issuer; give the newest of each only"));
                }
                let list = CertificateRevocationListDer::from(der);
                // Alone, to know which one it is.
                let alone = builder(&roots, &provider).with_crls([list.clone()]).build();
                alone.map_err(|_| {
                    part.block(at, "is no list that can be used: of version 2, whole, and of its own issuer")
                })?;
                lists_end = Some(lists_end.map_or(end, |first| first.min(end)));
                lists.push(list);
            }
        }
        let builder = builder(&roots, &provider).with_crls(lists).enforce_revocation_expiration();
        let builder = match settings.mode {
            CertificateMode::Optional => builder.allow_unauthenticated(),
            CertificateMode::Required => builder,
        };
        let verifier = builder.build().map_err(|_| Part::Ca.whole("cannot be used together"))?;
        Ok(Self { mode: settings.mode, verifier, lists_end })
    }

    /// Whether a client must show a certificate.
    pub const fn mode(&self) -> CertificateMode {
        self.mode
    }

    /// What a handshake asks.
    pub const fn verifier(&self) -> &Arc<dyn ClientCertVerifier> {
        &self.verifier
    }

    /// When the first revocation list goes out of date, after which no certificate is believed.
    pub const fn lists_end(&self) -> Option<Timestamp> {
        self.lists_end
    }

    /// The end of a chain that is good at `now`; the lists may end before.
    ///
    /// # Errors
    /// It is not good.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Timestamp, CertificateError> {
        let (leaf, rest) = chain.split_first().ok_or(CertificateError::Broken)?;
        self.verifier.verify_client_cert(leaf, rest, unix_time(now))?;
        end_of(chain, now)
    }

    /// Whether no revocation list is out of date.
    pub(super) fn lists_in_time(&self, now: Timestamp) -> bool {
        self.lists_end.is_none_or(|end| now < end)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("mode", &self.mode).finish_non_exhaustive()
    }
}

fn builder(roots: &Arc<RootCertStore>, provider: &Arc<CryptoProvider>) -> rustls::server::ClientCertVerifierBuilder {
    WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
}

/// Which of the settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Ca,
    Crl(usize),
}

impl Part {
    fn whole(self, reason: &'static str) -> AuthoritiesError {
        AuthoritiesError { part: self, block: None, reason }
    }

    fn block(self, at: usize, reason: &'static str) -> AuthoritiesError {
        AuthoritiesError { part: self, block: Some(at + 1), reason }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ca => f.write_str("`ca`"),
            Self::Crl(at) => write!(f, "`crl` {}", at + 1),
        }
    }
}

/// Why settings cannot be used. Holds nothing of their contents.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{part}{} {reason}", block.map(|at| format!(", block {at},")).unwrap_or_default())]
pub struct AuthoritiesError {
    part: Part,
    /// From 1.
    block: Option<usize>,
    reason: &'static str,
}

impl AuthoritiesError {
    /// Which member of the settings, as a JSON pointer (RFC 6901) within them.
    pub fn pointer(&self) -> String {
        match self.part {
            Part::Ca => "/ca".into(),
            Part::Crl(at) => format!("/crl/{at}"),
        }
    }
}

/// The contents of PEM blocks, of which there is at least one, all of this kind.
fn blocks(part: Part, text: &str, wanted: SectionKind) -> Result<Vec<Vec<u8>>, AuthoritiesError> {
    if text.len() > MAX_PEM_BYTES {
        return Err(part.whole("is longer than 1 MiB"));
    }
    let mut found = Vec::new();
    for (at, block) in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()).enumerate() {
        match block {
            Ok((kind, der)) if kind == wanted => found.push(der),
            Ok(_) if wanted == SectionKind::Crl => return Err(part.block(at, "is no `X509 CRL`")),
            Ok(_) => return Err(part.block(at, "is no `CERTIFICATE`")),
            Err(_) => return Err(part.block(at, "is no PEM: its end or its base64 is broken")),
        }
    }
    // One with a label that the reader does not know, or within another, it has passed over.
    if text.matches(BEGIN).count() != found.len() {
        return Err(part.whole("holds a PEM block that cannot be read"));
    }
    if found.is_empty() {
        return Err(part.whole("holds no PEM block"));
    }
    Ok(found)
}

/// Revocation lists in PEM, or one in base64 of DER.
fn list_blocks(part: Part, text: &str) -> Result<Vec<Vec<u8>>, AuthoritiesError> {
    if text.contains(BEGIN) || text.len() > MAX_PEM_BYTES {
        return blocks(part, text, SectionKind::Crl);
    }
    let compact: String = text.split_ascii_whitespace().collect();
    match STANDARD.decode(compact) {
        Ok(der) if !der.is_empty() => Ok(vec![der]),
        Ok(_) | Err(_) => Err(part.whole("is neither PEM nor DER in base64")),
    }
}

/// Adds a certificate that may sign others.
fn authority(roots: &mut RootCertStore, der: Vec<u8>) -> Result<(), &'static str> {
    match X509Certificate::from_der(&der) {
        Ok(([], parsed)) if parsed.is_ca() => {}
        Ok(([], _)) => return Err("is no authority's: its basic constraints do not say so"),
        Ok(_) | Err(_) => return Err("is no X.509 certificate"),
    }
    roots.add(CertificateDer::from(der)).map_err(|_| "is no certificate that can be trusted")
}

/// Whose list it is: its issuer's name, and which part of the issuer's certificates it is about, if not all (RFC 5280
/// §5.2.5).
type ListOf = (Vec<u8>, Option<Vec<u8>>);

/// Whose list it is, and when it goes out of date.
fn read_list(der: &[u8]) -> Result<(ListOf, Timestamp), &'static str> {
    let Ok(([], parsed)) = CertificateRevocationList::from_der(der) else {
        return Err("is no X.509 revocation list");
    };
    let end = parsed.next_update().ok_or("does not say when it goes out of date")?;
    let part = parsed.extensions().iter().find(|extension| extension.oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
    let of = (parsed.issuer().as_raw().to_vec(), part.map(|extension| extension.value.to_vec()));
    Ok((of, Timestamp::from_secs(end.timestamp())))
}
