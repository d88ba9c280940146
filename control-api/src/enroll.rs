//! Enrolment of gateways: a client certificate that names one, signed by the internal authority.

use std::time::Duration;

use domain::{Clock, GatewayId, Timestamp};
use link::{log::GatewayIdentity, rpc::identity};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use serde::Serialize;

use crate::context::new_id;

/// How far the clocks of gateway and authority may differ.
const SKEW: Duration = Duration::from_secs(300);

/// Longest life of a gateway's certificate, in days.
pub const MAX_DAYS: u32 = 3650;

/// What an enrolled gateway is given, once.
#[derive(Debug, Serialize)]
pub struct Enrolled {
    /// Its id.
    pub id: GatewayId,
    /// Its name.
    pub name: String,
    /// Its fleet.
    pub fleet: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// The authority it trusts, PEM.
    pub ca: String,
}

/// Why a gateway cannot be enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// A name that no certificate can carry.
    #[error("`{name}` is no name of a gateway or fleet: 1 to 63 of a-z, 0-9, `-`, `.` and `_`")]
    Name {
        /// The name.
        name: String,
    },
    /// The authority's files, or the making of the certificate.
    #[error("the certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// A life that is too long or none.
    #[error("a certificate lives 1 to {MAX_DAYS} days")]
    Days,
}

/// Signs a client certificate for a new gateway.
///
/// # Errors
/// [`EnrollError`].
pub fn enroll(
    fleet: &str,
    name: &str,
    days: u32,
    (ca_pem, ca_key_pem): (&str, &str),
    clock: &dyn Clock,
) -> Result<Enrolled, EnrollError> {
    for text in [fleet, name] {
        if !identity::is_name(text) {
            return Err(EnrollError::Name { name: text.into() });
        }
    }
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(EnrollError::Days);
    }
    let gateway = GatewayIdentity { id: new_id(clock), name: name.into(), fleet: fleet.into() };
    let issuer = Issuer::from_ca_cert_pem(ca_pem, KeyPair::from_pem(ca_key_pem)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.push(SanType::URI(identity::uri(&gateway).try_into()?));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = clock.unix_now().since(Timestamp::default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now - SKEW;
    params.not_after = epoch + now + Duration::from_secs(u64::from(days) * 86_400);
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Enrolled {
        id: gateway.id,
        name: gateway.name,
        fleet: gateway.fleet,
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        ca: ca_pem.into(),
    })
}

#[cfg(test)]
mod tests {
    use testkit::FixedClock;

    use super::*;

    #[test]
    fn an_enrolled_gateway_is_known_by_its_certificate() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let authority = (ca.as_str(), &*key.serialize_pem());
        let clock = FixedClock::default();
        let enrolled = enroll("eu-1", "edge-1", 90, authority, &clock).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(enrolled.certificate.as_bytes()).unwrap();
        let known = identity::of_certificate(&pem.contents).unwrap();
        assert_eq!((known.name.as_str(), known.fleet.as_str(), known.id), ("edge-1", "eu-1", enrolled.id));
        let parsed = pem.parse_x509().unwrap();
        let now = clock.unix_now().secs();
        assert_eq!(parsed.validity().not_after.timestamp(), now + 90 * 86_400);
        for (fleet, name, days) in [("eu/1", "edge", 1), ("eu", "Edge", 1), ("eu", "edge", 0)] {
            assert!(enroll(fleet, name, days, authority, &clock).is_err(), "{fleet} {name} {days}");
        }
    }
}
