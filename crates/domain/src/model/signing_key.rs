//! Signing keys.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ProjectId, Secret, SigningKeyId, Timestamp, snapshot::Algorithm};

/// What a key signs.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyPurpose {
    /// The project's access tokens.
    #[default]
    Tokens,
    /// The fleet's assertions to upstreams (root project only).
    Assertions,
}

/// Where a key is in its life. Only grows; a `kid` is never used again.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, not yet signing.
    #[default]
    Pending,
    /// Signing. Exactly one per project and purpose.
    Active,
    /// Published, no more signing: its tokens live on.
    Retiring,
    /// Gone from the key set: its tokens are refused.
    Retired,
}

/// Where a key comes from, and so who decides what becomes of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// Somebody asked for it.
    #[default]
    Made,
    /// The schedule made it as the active key's successor.
    Schedule,
    /// The keys file.
    File,
}

/// Who holds the private part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignerKind {
    /// The database, sealed.
    #[default]
    Local,
    /// AWS Key Management Service.
    KmsAws,
}

/// How long a key of the fleet's assertions is published before it signs: upstreams read the key set that seldom.
pub const ASSERTION_KEY_LEAD: Duration = Duration::from_secs(24 * 3600);

/// A signing key.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Its id, the `kid`.
    pub kid: SigningKeyId,
    /// Its project.
    pub project_id: ProjectId,
    /// What it signs.
    pub purpose: KeyPurpose,
    /// With which algorithm.
    pub algorithm: Algorithm,
    /// The public key (RFC 7517), `kid` and `alg` included.
    pub public_jwk: serde_json::Value,
    /// Where it is in its life.
    pub state: KeyState,
    /// Where it comes from.
    pub source: KeySource,
    /// Who holds the private part.
    pub signer: SignerKind,
    /// When a pending key starts to sign; none: when somebody activates it.
    pub not_before: Option<Timestamp>,
    /// When it signs no more at the latest; none: when another does.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed state.
    pub changed_at: Timestamp,
}

/// A signing key to be stored. It starts pending.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `SigningKey`")]
pub struct NewSigningKey {
    pub kid: SigningKeyId,
    pub project_id: ProjectId,
    pub purpose: KeyPurpose,
    pub algorithm: Algorithm,
    /// PKCS #8 DER of a local key, the name of one that KMS holds; sealed before it reaches the database.
    pub material: Secret<Vec<u8>>,
    pub public_jwk: serde_json::Value,
    pub source: KeySource,
    pub signer: SignerKind,
    pub not_before: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
}
