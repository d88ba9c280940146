//! What names a project: keys that its own programs send. None of them says who asks.
//!
//! One of kind `mtls` is no secret: it counts on connections alone whose client has proven one certificate, whose SHA-256 is kept
//! beside it. That is unique nowhere. A certificate is public, so that whoever could take its fingerprint for a name of theirs
//! would lock its holder out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ProjectCredentialId, ProjectId, Secret, Timestamp};

/// Longest name, in characters.
pub const MAX_NAME: usize = 128;

/// Credentials of a project that are not revoked, at most.
pub const MAX_CREDENTIALS: u64 = 50;

/// How often it is noted that a credential was used.
pub const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// What a credential is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectCredentialKind {
    /// Names the project where there is no hostname; anybody may know it.
    Publishable,
    /// The same, of a server's that keeps it secret.
    Secret,
    /// Which of the project's users have these addresses.
    DirectoryReader,
    /// The same, of whoever proves a certificate.
    Mtls,
}

impl ProjectCredentialKind {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Publishable, Self::Secret, Self::DirectoryReader, Self::Mtls];

    /// What its text begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Publishable => "ppk",
            Self::Secret => "psk",
            Self::DirectoryReader => "pdk",
            Self::Mtls => "pmk",
        }
    }

    /// Whether there is a secret part in its text.
    pub const fn has_secret(self) -> bool {
        match self {
            Self::Secret | Self::DirectoryReader => true,
            Self::Publishable | Self::Mtls => false,
        }
    }
}

/// The certificate that the client of a connection has to have proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialCertificate {
    /// SHA-256 over its DER.
    sha256: Secret<[u8; 32]>,
    /// When it ends.
    pub not_after: Timestamp,
}

impl CredentialCertificate {
    /// Of this SHA-256 over its DER.
    pub const fn new(sha256: [u8; 32], not_after: Timestamp) -> Self {
        Self { sha256: Secret::new(sha256), not_after }
    }

    /// Its SHA-256: no secret, but nothing that is compared otherwise than by [`is`](Self::is).
    pub const fn sha256(&self) -> &[u8; 32] {
        self.sha256.expose()
    }

    /// Its SHA-256, in hexadecimal.
    pub fn hex(&self) -> String {
        self.sha256().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it is the one of this SHA-256, told in constant time.
    pub fn is(&self, sha256: &Secret<[u8; 32]>) -> bool {
        self.sha256 == *sha256
    }
}

/// A credential of a project.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProjectCredential {
    /// Its id.
    pub id: ProjectCredentialId,
    /// Its project.
    pub project_id: ProjectId,
    /// What it is for.
    pub kind: ProjectCredentialKind,
    /// What it is called.
    pub name: String,
    /// Its public part, unique everywhere.
    pub public_id: String,
    /// SHA-256 of its secret part; none for one that has none.
    pub secret_hash: Option<Secret<[u8; 32]>>,
    /// On whose connections it counts; of kind [`Mtls`](ProjectCredentialKind::Mtls), and there always.
    pub certificate: Option<CredentialCertificate>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last shown, as far as that was noted ([`USE_NOTED_EVERY`]).
    pub last_used_at: Option<Timestamp>,
    /// Since when it names nothing any more.
    pub revoked_at: Option<Timestamp>,
}

/// A credential to be made.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `ProjectCredential`")]
pub struct NewProjectCredential {
    pub id: ProjectCredentialId,
    pub project_id: ProjectId,
    pub kind: ProjectCredentialKind,
    pub name: String,
    pub public_id: String,
    pub secret_hash: Option<Secret<[u8; 32]>>,
    pub certificate: Option<CredentialCertificate>,
}

#[test]
fn a_certificate_is_told_by_all_of_its_digest() {
    let kept = CredentialCertificate::new([7; 32], Timestamp::from_secs(0));
    let mut other = [7; 32];
    other[31] = 8;
    assert!(kept.is(&Secret::new([7; 32])) && !kept.is(&Secret::new(other)));
    assert_eq!(kept.hex(), "07".repeat(32));
}
