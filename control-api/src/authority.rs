//! The internal authority: signs the client certificates of gateways, which live for a day.

use std::{path::PathBuf, time::Duration};

use aws_lc_rs::digest;
use domain::{Clock, Secret, Timestamp};
use link::{log::GatewayIdentity, rpc::identity};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKey, PublicKeyData as _, SanType,
};

use crate::config::InternalTls;

/// How far the clocks of gateway and authority may differ; of a certificate that lives shorter, a tenth of its life.
const SKEW: Duration = Duration::from_secs(300);

/// Signs certificates for gateways.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// What a gateway wants signed. Of its certificate request only the key counts: who it is, the enrolment says.
#[derive(Debug)]
pub struct SigningRequest {
    key: PublicKey,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum AuthorityError {
    #[error("`{path}` cannot be read")]
    File { path: PathBuf, source: std::io::Error },
    #[error("the authority cannot sign")]
    Signing(#[from] rcgen::Error),
    #[error("the certificate request cannot be read, or is not signed by its key")]
    Request(#[source] rcgen::Error),
}

impl SigningRequest {
    /// Reads a request (PKCS #10, DER), whose signature shows that the sender holds the key.
    ///
    /// # Errors
    /// [`AuthorityError::Request`].
    pub fn read(der: &[u8]) -> Result<Self, AuthorityError> {
        let read = CertificateSigningRequestParams::from_der(&der.into());
        read.map(|request| Self { key: request.public_key }).map_err(AuthorityError::Request)
    }

    /// SHA-256 of the key (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7).
    pub fn key_hash(&self) -> [u8; 32] {
        let hash = digest::digest(&digest::SHA256, &self.key.subject_public_key_info());
        hash.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl Authority {
    /// The authority of the `internal` listener.
    ///
    /// # Errors
    /// [`AuthorityError`] when its files cannot be used.
    pub fn open(files: &InternalTls) -> Result<Self, AuthorityError> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|source| AuthorityError::File { path: path.clone(), source })
        };
        Self::of_pem(&read(&files.ca)?, &Secret::new(read(&files.ca_key)?))
    }

    /// From PEM texts.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`] when they are no certificate and key.
    pub fn of_pem(ca: &str, key: &Secret<String>) -> Result<Self, AuthorityError> {
        Ok(Self { issuer: Issuer::from_ca_cert_pem(ca, KeyPair::from_pem(key.expose())?)? })
    }

    /// A client certificate (PEM) that names a gateway, from now until `expires`.
    ///
    /// # Errors
    /// [`AuthorityError::Signing`].
    pub fn sign(
        &self,
        gateway: &GatewayIdentity,
        request: &SigningRequest,
        expires: Timestamp,
        clock: &dyn Clock,
    ) -> Result<String, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, &gateway.name);
        params.subject_alt_names.push(SanType::URI(identity::uri(gateway).try_into()?));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let since_epoch = |at: Timestamp| at.since(Timestamp::default());
        let now = clock.unix_now();
        params.not_before = epoch + since_epoch(now) - SKEW.min(expires.since(now) / 10);
        params.not_after = epoch + since_epoch(expires);
        Ok(params.signed_by(&request.key, &self.issuer)?.pem())
    }
}

#[cfg(test)]
mod tests {
    use testkit::{FixedClock, TestCa};

    use super::*;

    #[test]
    fn a_certificate_names_the_gateway_and_nothing_its_request_asks_for() {
        let (ca, clock) = (TestCa::new(), FixedClock::default());
        let authority = Authority::of_pem(&ca.ca_pem(), &Secret::new(ca.key_pem())).unwrap();
        let id = "00000000-0000-0000-0000-000000000007".parse().unwrap();
        let gateway = GatewayIdentity { id, name: "edge-1".into(), fleet: "eu-1".into() };
        let other = GatewayIdentity { name: "edge-2".into(), ..gateway.clone() };
        let key = KeyPair::generate().unwrap();
        let mut asked = CertificateParams::new(vec!["control-api.internal".into()]).unwrap();
        asked.subject_alt_names.push(SanType::URI(identity::uri(&other).try_into().unwrap()));
        asked.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let request = SigningRequest::read(asked.serialize_request(&key).unwrap().der()).unwrap();
        let expires = clock.unix_now() + Duration::from_secs(86_400);
        let chain = authority.sign(&gateway, &request, expires, &clock).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).unwrap();
        assert_eq!(identity::of_certificate(&pem.contents), Some(gateway));
        assert_eq!(identity::expiry(&pem.contents).unwrap().secs(), expires.secs());
        let parsed = pem.parse_x509().unwrap();
        assert!(!parsed.is_ca());
        assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
        assert!(!parsed.extended_key_usage().unwrap().unwrap().value.server_auth);
    }

    #[test]
    fn refuses_a_request_that_its_key_did_not_sign() {
        let key = KeyPair::generate().unwrap();
        let mut der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        *der.last_mut().unwrap() ^= 1;
        assert!(matches!(SigningRequest::read(&der), Err(AuthorityError::Request(_))));
        assert!(matches!(SigningRequest::read(b"no request"), Err(AuthorityError::Request(_))));
    }
}
