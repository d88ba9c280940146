//! The development certificate authority: made once in the data folder, so that a browser need trust it only once.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use link::private_file;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Days a demo certificate is valid. They are made anew at each start.
const LEAF_DAYS: i64 = 90;

/// Days the authority is valid.
const AUTHORITY_DAYS: i64 = 3650;

/// An authority whose certificates only this machine should trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

/// A certificate chain and its key, both PEM.
pub struct Leaf {
    /// Leaf first.
    pub chain_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its files cannot be read or written.
    #[error("`{path}` cannot be read or written")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate cannot be made, or the file holds none.
    #[error("the development authority cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
}

impl Authority {
    /// The authority of a data folder; made when it is not there.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn open(folder: &Path, today: jiff::civil::Date) -> Result<Self, AuthorityError> {
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if certificate.exists() && key.exists() {
            let pair = KeyPair::from_pem(&read(&key)?)?;
            let issuer = Issuer::from_ca_cert_pem(&read(&certificate)?, pair)?;
            return Ok(Self { issuer, certificate });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Portcullis development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, today, AUTHORITY_DAYS);
        let pair = KeyPair::generate()?;
        let pem = params.self_signed(&pair)?.pem();
        write(&key, &pair.serialize_pem())?;
        write(&certificate, &pem)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, pair)?;
        Ok(Self { issuer, certificate })
    }

    /// Where its certificate is.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// A server certificate for a hostname.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`].
    pub fn leaf(&self, hostname: &str, today: jiff::civil::Date) -> Result<Leaf, AuthorityError> {
        let mut params = CertificateParams::new(vec![hostname.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, hostname);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, today, LEAF_DAYS);
        let pair = KeyPair::generate()?;
        let leaf = params.signed_by(&pair, &self.issuer)?;
        Ok(Leaf { chain_pem: leaf.pem(), key_pem: pair.serialize_pem() })
    }
}

/// From yesterday, for clocks that are behind, to `days` from today.
fn validity(params: &mut CertificateParams, today: jiff::civil::Date, days: i64) {
    let date = |date: jiff::civil::Date| {
        let part = |n: i8| u8::try_from(n).unwrap_or(1);
        rcgen::date_time_ymd(date.year().into(), part(date.month()), part(date.day()))
    };
    params.not_before = date(today.saturating_sub(jiff::Span::new().days(1)));
    params.not_after = date(today.saturating_add(jiff::Span::new().days(days)));
}

fn read(path: &Path) -> Result<String, AuthorityError> {
    fs::read_to_string(path).map_err(|source| AuthorityError::File { path: path.into(), source })
}

fn write(path: &Path, text: &str) -> Result<(), AuthorityError> {
    private_file::write(path, text).map_err(|source| AuthorityError::File { path: path.into(), source })
}
