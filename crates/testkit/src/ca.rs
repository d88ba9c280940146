//! A certificate authority whose certificates are for tests only.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// A fresh authority (ECDSA P-256).
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate chain, leaf first, and its private key.
#[derive(Clone)]
pub struct Leaf {
    /// Certificates in PEM.
    pub chain_pem: String,
    /// PKCS #8 in PEM.
    pub key_pem: String,
}

impl TestCa {
    /// A new authority.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "testkit");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// The authority's own certificate in PEM.
    pub fn ca_pem(&self) -> String {
        self.issuer.pem()
    }

    /// The authority's private key in PEM (PKCS #8).
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A server certificate for these names (DNS names or IP addresses).
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, |_| ())
    }

    /// A client certificate with this common name and DNS name.
    pub fn client(&self, name: &str) -> Leaf {
        self.issue(&[name], ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.distinguished_name.push(DnType::CommonName, name);
        })
    }

    /// A client certificate with this URI as its only name.
    pub fn client_uri(&self, uri: &str) -> Leaf {
        self.issue(&[], ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        })
    }

    /// A client certificate that `adapt` has its way with before it is signed.
    pub fn client_with(&self, adapt: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.issue(&[], ExtendedKeyUsagePurpose::ClientAuth, adapt)
    }

    /// An authority below this one.
    pub fn intermediate(&self, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        Self { issuer }
    }

    /// A revocation list, good until 4000, that names these certificates.
    pub fn crl(&self, revoked: &[&Leaf]) -> String {
        self.crl_until(revoked, 4000)
    }

    /// A revocation list that goes out of date with the first day of this year.
    pub fn crl_until(&self, revoked: &[&Leaf], year: i32) -> String {
        let revoked = revoked.iter().map(|leaf| RevokedCertParams {
            serial_number: leaf.serial(),
            revocation_time: rcgen::date_time_ymd(2000, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2000, 1, 1),
            next_update: rcgen::date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// A server certificate that expired in 2001.
    pub fn expired(&self, names: &[&str]) -> Leaf {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth, |params| {
            params.not_before = rcgen::date_time_ymd(2000, 1, 1);
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        })
    }

    fn issue(
        &self,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        adapt: impl FnOnce(&mut CertificateParams),
    ) -> Leaf {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        adapt(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { chain_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl Leaf {
    /// The number it is revoked by.
    pub fn serial(&self) -> SerialNumber {
        let der = CertificateDer::from_pem_slice(self.chain_pem.as_bytes()).unwrap();
        SerialNumber::from_slice(x509_parser::parse_x509_certificate(&der).unwrap().1.raw_serial())
    }

    /// With the certificate of the authority that signed it, which the other end may not know.
    #[must_use]
    pub fn with_issuer(mut self, issuer: &TestCa) -> Self {
        self.chain_pem.push_str(&issuer.ca_pem());
        self
    }

    /// The certificates, leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain_pem.as_bytes()).collect::<Result<_, _>>().unwrap()
    }

    /// The SHA-256 of the certificate, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let der = CertificateDer::from_pem_slice(self.chain_pem.as_bytes()).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A TLS server with this certificate that offers these protocols by ALPN.
    pub fn server_config(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_slice_iter(self.chain_pem.as_bytes()).collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = protocols(alpn);
        Arc::new(config)
    }
}

/// A TLS client that trusts only `ca_pem`, offers these protocols and shows `identity` when asked for a certificate.
pub fn client_config(ca_pem: &str, alpn: &[&str], identity: Option<&Leaf>) -> Arc<ClientConfig> {
    Arc::new(client_config_of(rustls::ALL_VERSIONS, ca_pem, alpn, identity))
}

/// The same, of these versions of TLS.
pub fn client_config_of(
    versions: &[&'static SupportedProtocolVersion],
    ca_pem: &str,
    alpn: &[&str],
    identity: Option<&Leaf>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let chain = CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes()).collect::<Result<_, _>>().unwrap();
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap())
                .unwrap()
        }
    };
    config.alpn_protocols = protocols(alpn);
    config
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}
