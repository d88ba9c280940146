//! Client certificates: whose are believed at a hostname, and what one says of its holder.
//!
//! ```text
//! ClientCertificates ─▶ Authorities     once, when the hostname's settings arrive; broken ones make none
//! handshake          ─▶ ClientCertificate    verified by the authorities of that moment
//! each request       ─▶ ClientCertificate::judge    by the authorities of now: one comparison while they are the same
//! ```
//!
//! Chains are built and revocation lists read by rustls-webpki; here is what it leaves open. A certificate that may sign
//! others is asked of each authority. A chain is good only while each of its certificates and every revocation list is in
//! time. A name counts only whole, in the spelling of [`CertificateName`], and a certificate of which one alternative name
//! cannot be read has no names at all. An authority's own dates are not looked at (RFC 5280 §6.1.1 takes a trust anchor's
//! name and key only): who is not to be trusted any more is taken out.

mod authorities;
mod names;

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use domain::{CertificateName, NameKind, Timestamp};
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use authorities::{Authorities, AuthoritiesError};

/// A certificate that a client showed when its connection was made, with what was found of it so far.
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    fingerprint: Box<str>,
    names: Result<Box<[CertificateName]>, CertificateError>,
    judged: ArcSwap<Judged>,
}

/// What authorities found of a certificate.
struct Judged {
    by: Arc<Authorities>,
    /// Its own end, if they believe it at all.
    end: Result<Timestamp, CertificateError>,
}

impl Judged {
    fn at(&self, now: Timestamp) -> Result<Timestamp, CertificateError> {
        let end = self.end?;
        if now < end && self.by.lists_in_time(now) { Ok(end) } else { Err(CertificateError::OutOfDate) }
    }
}

impl ClientCertificate {
    /// The certificate of a handshake that `by` verified at `now`; its chain, leaf first. None for an empty chain.
    pub fn verified(chain: Vec<CertificateDer<'static>>, by: Arc<Authorities>, now: Timestamp) -> Option<Self> {
        let leaf = chain.first()?;
        let fingerprint = hex(digest(&SHA256, leaf).as_ref());
        let names = match CertificateName::new(NameKind::Sha256, &fingerprint) {
            Ok(own) => names::of(leaf, own),
            Err(_) => Err(CertificateError::Broken),
        };
        let judged = ArcSwap::from_pointee(Judged { by, end: end_of(&chain, now) });
        Some(Self { fingerprint: fingerprint.into(), names, judged, chain })
    }

    /// The end of its chain, where these authorities believe it at `now`; their lists may end before, and be replaced. Costs a comparison while they are those who were asked last.
    ///
    /// # Errors
    /// Why they do not.
    pub fn judge(&self, by: &Arc<Authorities>, now: Timestamp) -> Result<Timestamp, CertificateError> {
        let before = self.judged.load();
        if Arc::ptr_eq(&before.by, by) {
            return before.at(now);
        }
        drop(before);
        let judged = Judged { by: Arc::clone(by), end: by.verify(&self.chain, now) };
        let said = judged.at(now);
        self.judged.store(Arc::new(judged));
        said
    }

    /// Whether those who were asked last still believe it.
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        self.judged.load().at(now).is_ok()
    }

    /// The names of its holder, its fingerprint among them, each once.
    ///
    /// # Errors
    /// One of them cannot be read, so that none counts.
    pub fn names(&self) -> Result<&[CertificateName], CertificateError> {
        self.names.as_deref().map_err(|error| *error)
    }

    /// The SHA-256 of the certificate, in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Why a certificate is not believed. The caller is told no more than that it is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// By nobody known here.
    #[error("it is of no authority of this hostname")]
    IssuerUnknown,
    /// By its authority.
    #[error("it was revoked")]
    Revoked,
    /// No list covers it.
    #[error("whether it was revoked is not known")]
    RevocationUnknown,
    /// It, one that it stands on, or a revocation list.
    #[error("it, or what it is judged by, is out of date")]
    OutOfDate,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYetValid,
    /// Its extended key usage has no `clientAuth`.
    #[error("it is not made for clients")]
    Purpose,
    /// Anything else.
    #[error("it cannot be used")]
    Broken,
    /// An alternative name holds what no name holds, or there are too many.
    #[error("its names cannot be read")]
    Names,
    /// No binding has one of its names.
    #[error("none of its names is bound to anybody")]
    Unbound,
    /// Several bindings have its names.
    #[error("its names are bound more than once")]
    Ambiguous,
}

impl From<rustls::Error> for CertificateError {
    fn from(error: rustls::Error) -> Self {
        use rustls::CertificateError as E;
        match error {
            rustls::Error::InvalidCertificate(error) => match error {
                E::UnknownIssuer | E::BadSignature => Self::IssuerUnknown,
                E::Revoked => Self::Revoked,
                E::UnknownRevocationStatus => Self::RevocationUnknown,
                E::Expired
                | E::ExpiredContext { .. }
                | E::ExpiredRevocationList
                | E::ExpiredRevocationListContext { .. } => Self::OutOfDate,
                E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
                E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::Purpose,
                _ => Self::Broken,
            },
            rustls::Error::InvalidCertRevocationList(_) => Self::RevocationUnknown,
            _ => Self::Broken,
        }
    }
}

/// The time in the terms of rustls; what was before 1970 is 1970.
pub fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now.millis()).unwrap_or_default()))
}

/// The first end of a chain that was verified at `now`, where those that have ended before were not needed.
fn end_of(chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Timestamp, CertificateError> {
    chain.iter().filter_map(not_after).filter(|end| now < *end).min().ok_or(CertificateError::Broken)
}

/// The end of a certificate's validity.
fn not_after(der: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(Timestamp::from_secs(parsed.validity().not_after.timestamp()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
