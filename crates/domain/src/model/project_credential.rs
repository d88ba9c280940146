//! What names a project: keys that its own programs send. None of them says who asks.

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
}

impl ProjectCredentialKind {
    /// What its text begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Publishable => "ppk",
            Self::Secret => "psk",
            Self::DirectoryReader => "pdk",
        }
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
}
