//! Keys that the database holds, sealed: made here, or taken over from the keys file.

use async_trait::async_trait;
use authn::{MintError, SigningKey as PrivateKey};
use domain::{Secret, model::SigningKey, snapshot::Algorithm};

use super::{Signer, SignerError};

/// Signs with a private key in memory.
#[derive(Debug)]
pub struct LocalSigner(PrivateKey);

impl LocalSigner {
    /// With a key and its PKCS #8.
    ///
    /// # Errors
    /// [`MintError::Key`] when they do not belong together.
    pub fn new(key: &SigningKey, pkcs8: &Secret<Vec<u8>>) -> Result<Self, MintError> {
        PrivateKey::from_pkcs8(&key.kid.to_string(), key.algorithm, pkcs8).map(Self)
    }
}

#[async_trait]
impl Signer for LocalSigner {
    fn kid(&self) -> &str {
        self.0.kid()
    }

    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }

    async fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.signature(message)?)
    }
}
