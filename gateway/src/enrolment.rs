//! This gateway's client certificate: got once for a join token, kept in the data folder, renewed at half of its life.
//!
//! | File | Holds | Written |
//! |---|---|---|
//! | `gateway.key` | the private key, PEM, mode 0600 | once; it never leaves this machine |
//! | `gateway.crt` | the certificate, PEM, mode 0600 | at the join, and with each renewal |
//!
//! The key is on disk before the join: should the answer get lost, the same token is good for the same key once more. A
//! start with a certificate that is still good does not look at the token.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{Clock, Secret, Timestamp};
use link::{
    LinkError,
    file::{SecretRef, SecretRefError},
    log::GatewayIdentity,
    private_file,
    rpc::{RpcClient, Target, TlsFiles, identity, join},
};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use tokio::time::{sleep, timeout};

use crate::control_tls::ControlTls;

/// How long a start waits for a control API that does not answer.
const JOIN: Duration = Duration::from_secs(30);

/// Pause between two tries to join.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether the certificate is due; the wall clock may jump.
const LOOK: Duration = Duration::from_secs(60);

/// Shortest and longest pause after a renewal that failed; between them, a fiftieth of what is left.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(300));

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum EnrolmentError {
    #[error("`{}` cannot be used", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the join token (`feed.control_api.join_token`) cannot be read")]
    Token(#[from] SecretRefError),
    #[error(
        "this gateway is not enrolled: `feed.control_api.join_token` is needed, from `control-api gateways enroll`"
    )]
    NotEnrolled,
    #[error("`{}` holds no private key", path.display())]
    Key { path: PathBuf, source: rcgen::Error },
    #[error("the certificate request cannot be made")]
    Request(#[source] rcgen::Error),
    #[error("the certificate is not one for this gateway's key that names a gateway")]
    Certificate,
    #[error("the control API gives no certificate")]
    Join(#[from] LinkError),
}

/// Where this gateway enrols, and with what.
#[derive(Debug)]
pub(crate) struct Place {
    /// The control API's internal listener, `https://…`.
    pub(crate) url: String,
    /// PEM of the authorities trusted for it.
    pub(crate) ca: String,
    /// A token for the first certificate.
    pub(crate) join_token: Option<SecretRef>,
    /// Where key and certificate are kept.
    pub(crate) folder: PathBuf,
}

/// A gateway with a certificate.
pub(crate) struct Enrolled {
    place: Place,
    key: KeyPair,
    certificate: Held,
}

/// A certificate that was looked at.
struct Held {
    pem: String,
    gateway: GatewayIdentity,
    begins: Timestamp,
    expires: Timestamp,
}

impl Place {
    /// Takes the certificate that is kept, or joins for one.
    ///
    /// # Errors
    /// [`EnrolmentError`]. A certificate that has expired is no error: with it a gateway may at least serve what is on
    /// its disk.
    pub(crate) async fn enrolled(self, clock: &dyn Clock) -> Result<Enrolled, EnrolmentError> {
        fs::create_dir_all(&self.folder).map_err(self.failed(""))?;
        let key = self.key()?;
        let kept = self.kept(&key)?;
        let certificate = match (kept, &self.join_token) {
            (Some(kept), _) if clock.unix_now() < kept.expires => kept,
            (None, None) => return Err(EnrolmentError::NotEnrolled),
            (None, Some(token)) => self.join(token, &key).await?,
            (Some(kept), Some(token)) => match self.join(token, &key).await {
                Ok(joined) => joined,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "this gateway's certificate has expired; it must be enrolled anew"
                    );
                    kept
                }
            },
            (Some(kept), None) => {
                tracing::error!("this gateway's certificate has expired; it must be enrolled anew");
                kept
            }
        };
        Ok(Enrolled { place: self, key, certificate })
    }

    /// The key that is kept; made where there is none.
    fn key(&self) -> Result<KeyPair, EnrolmentError> {
        let path = self.folder.join("gateway.key");
        let unreadable = |source| EnrolmentError::Key { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(pem) => KeyPair::from_pem(Secret::new(pem).expose()).map_err(unreadable),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(EnrolmentError::Request)?;
                private_file::write(&path, key.serialize_pem().as_bytes()).map_err(self.failed("gateway.key"))?;
                Ok(key)
            }
            Err(source) => Err(EnrolmentError::File { path, source }),
        }
    }

    /// The certificate that is kept. One that belongs to another key is none.
    fn kept(&self, key: &KeyPair) -> Result<Option<Held>, EnrolmentError> {
        match fs::read_to_string(self.folder.join("gateway.crt")) {
            Ok(pem) => Ok(Held::read(pem, key)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("gateway.crt")(error)),
        }
    }

    /// Joins, with patience for a control API that is not there yet.
    async fn join(&self, token: &SecretRef, key: &KeyPair) -> Result<Held, EnrolmentError> {
        let token = token.resolve(Path::new(""))?;
        let patient = async {
            loop {
                match join(&self.url, &self.ca, &token, request(key)?).await {
                    Err(error @ (LinkError::Unreachable { .. } | LinkError::TimedOut { .. })) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "the control API is awaited");
                        sleep(PAUSE).await;
                    }
                    settled => return Ok::<_, EnrolmentError>(settled?),
                }
            }
        };
        let waited = timeout(JOIN, patient).await;
        let pem = waited.map_err(|_| LinkError::TimedOut { peer: "the control API", after: JOIN })??;
        let held = self.keep(pem, key)?;
        tracing::info!(gateway.id = %held.gateway.id, gateway.name = held.gateway.name, "this gateway has joined");
        Ok(held)
    }

    fn keep(&self, pem: String, key: &KeyPair) -> Result<Held, EnrolmentError> {
        let held = Held::read(pem, key).ok_or(EnrolmentError::Certificate)?;
        let path = self.folder.join("gateway.crt");
        private_file::write(&path, held.pem.as_bytes()).map_err(self.failed("gateway.crt"))?;
        Ok(held)
    }

    fn failed(&self, name: &str) -> impl FnOnce(io::Error) -> EnrolmentError {
        let path = self.folder.join(name);
        move |source| EnrolmentError::File { path, source }
    }
}

impl Held {
    /// None unless it names a gateway and belongs to the key.
    fn read(pem: String, key: &KeyPair) -> Option<Self> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let gateway = identity::of_certificate(&block.contents)?;
        let certificate = block.parse_x509().ok()?;
        let validity = certificate.validity();
        let (begins, expires) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let of_key = certificate.public_key().raw == key.subject_public_key_info();
        let (begins, expires) = (Timestamp::from_secs(begins), Timestamp::from_secs(expires));
        drop(certificate);
        of_key.then_some(Self { pem, gateway, begins, expires })
    }

    /// Half of its life.
    fn due(&self) -> Timestamp {
        self.begins + self.expires.since(self.begins) / 2
    }
}

impl Enrolled {
    /// Who the certificate says we are.
    pub(crate) const fn gateway(&self) -> &GatewayIdentity {
        &self.certificate.gateway
    }

    /// What to show to the control API, and to trust there.
    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            ca: self.place.ca.clone(),
            chain: self.certificate.pem.clone(),
            key: Secret::new(self.key.serialize_pem()),
        }
    }

    /// The control API, and the certificate to show to it.
    pub(crate) fn target(&self) -> Target {
        Target::Tls { url: self.place.url.clone(), files: self.files() }
    }

    /// Renews the certificate, for as long as it is polled, and has it shown from then on.
    pub(crate) async fn keep_renewing(mut self, client: RpcClient, shown: Arc<ControlTls>, clock: Arc<dyn Clock>) {
        loop {
            let now = clock.unix_now();
            let left = self.certificate.due().since(now);
            if !left.is_zero() {
                sleep(left.min(LOOK)).await;
                continue;
            }
            match self.renewed(&client, &shown).await {
                Ok(()) => tracing::info!(certificate.expires = self.certificate.expires.secs(), "renewed"),
                Err(error) => {
                    let left = self.certificate.expires.since(now);
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        certificate.left_s = left.as_secs(),
                        "this gateway's certificate was not renewed"
                    );
                    sleep((left / 50).clamp(RETRY.0, RETRY.1)).await;
                }
            }
        }
    }

    async fn renewed(&mut self, client: &RpcClient, shown: &ControlTls) -> Result<(), EnrolmentError> {
        let pem = client.renew(request(&self.key)?).await?;
        self.certificate = self.place.keep(pem, &self.key)?;
        shown.replace(&self.files()).map_err(|_| EnrolmentError::Certificate)?;
        Ok(client.reconnect(&self.target())?)
    }
}

/// A certificate request (PKCS #10, DER) for our key.
fn request(key: &KeyPair) -> Result<Vec<u8>, EnrolmentError> {
    let request = CertificateParams::default().serialize_request(key).map_err(EnrolmentError::Request)?;
    Ok(request.der().to_vec())
}

#[cfg(test)]
mod tests {
    use domain::GatewayId;
    use rcgen::SanType;
    use testkit::FixedClock;
    use uuid::Uuid;

    use super::*;

    fn place(folder: &Path) -> Place {
        let url = "https://127.0.0.1:1".into();
        Place { url, ca: String::new(), join_token: None, folder: folder.into() }
    }

    /// A certificate for a key, for two hours around the clock's time.
    fn certificate(key: &KeyPair, uri: &str, clock: &FixedClock) -> String {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let now = clock.unix_now().since(Timestamp::default());
        params.not_before = epoch + now - Duration::from_secs(3600);
        params.not_after = epoch + now + Duration::from_secs(3600);
        params.self_signed(key).unwrap().pem()
    }

    fn us() -> GatewayIdentity {
        GatewayIdentity { id: GatewayId::new(Uuid::from_u128(7)), name: "edge-1".into(), fleet: "eu-1".into() }
    }

    #[tokio::test]
    async fn a_start_takes_the_certificate_that_is_kept_and_needs_no_token() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), FixedClock::default());
        let key = place(folder.path()).key().unwrap();
        place(folder.path()).keep(certificate(&key, &identity::uri(&us()), &clock), &key).unwrap();
        let used = SecretRef::File(folder.path().join("used-and-deleted"));
        let again = Place { join_token: Some(used), ..place(folder.path()) }.enrolled(&clock).await.unwrap();
        assert_eq!(*again.gateway(), us());
        assert_eq!(again.certificate.due(), clock.unix_now());
        clock.advance(Duration::from_secs(7200));
        let expired = place(folder.path()).enrolled(&clock).await.unwrap();
        assert_eq!(*expired.gateway(), us(), "what is on disk may still be served");
    }

    #[tokio::test]
    async fn a_gateway_without_certificate_and_token_is_not_enrolled() {
        let (folder, clock) = (tempfile::tempdir().unwrap(), FixedClock::default());
        assert!(matches!(place(folder.path()).enrolled(&clock).await, Err(EnrolmentError::NotEnrolled)));
        // A certificate of another key is as good as none.
        let other = KeyPair::generate().unwrap();
        let pem = certificate(&other, &identity::uri(&us()), &clock);
        fs::write(folder.path().join("gateway.crt"), pem).unwrap();
        assert!(matches!(place(folder.path()).enrolled(&clock).await, Err(EnrolmentError::NotEnrolled)));
        let own = place(folder.path()).key().unwrap();
        let nobody = certificate(&own, "https://example.test/", &clock);
        assert!(matches!(place(folder.path()).keep(nobody, &own), Err(EnrolmentError::Certificate)));
    }

    #[test]
    fn key_and_certificate_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, clock) = (tempfile::tempdir().unwrap(), FixedClock::default());
        let key = place(folder.path()).key().unwrap();
        place(folder.path()).keep(certificate(&key, &identity::uri(&us()), &clock), &key).unwrap();
        for file in ["gateway.key", "gateway.crt"] {
            let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        assert_eq!(place(folder.path()).key().unwrap().serialize_pem(), key.serialize_pem(), "made once");
    }
}
