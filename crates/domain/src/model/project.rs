//! Projects, the identity shards, and the external issuers bound to them.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{
    IssuerId, ProjectId, Slug, Timestamp,
    snapshot::{Algorithm, ExternalBinding},
};

/// What a project is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectKind {
    /// The platform's staff. There is one.
    Root,
    /// One customer's.
    #[default]
    Dedicated,
    /// Many customers' tenants.
    Shared,
}

/// Whether a project serves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectStatus {
    /// It does.
    #[default]
    Active,
    /// It does not.
    Suspended,
}

/// An identity shard: its users, credentials, signing keys and hostnames are nobody else's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Unique short name.
    pub slug: Slug,
    /// Display name.
    pub name: String,
    /// What it is for.
    pub kind: ProjectKind,
    /// Whether it serves.
    pub status: ProjectStatus,
    /// The `iss` of its own tokens. Never changes by itself.
    pub issuer: String,
    /// The `aud` values of its own tokens; never empty.
    pub audiences: Vec<String>,
    /// Settings that later parts read (CORS, branding, access mode, …).
    pub config: serde_json::Value,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

impl Project {
    /// Whether it is the project of the platform's staff.
    pub fn is_root(&self) -> bool {
        self.kind == ProjectKind::Root
    }

    /// Under which id its own issuer stands in the snapshot.
    pub const fn own_issuer_id(&self) -> IssuerId {
        IssuerId::new(self.id.uuid())
    }
}

/// A project to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Project`")]
pub struct NewProject {
    pub id: ProjectId,
    pub slug: Slug,
    pub name: String,
    pub kind: ProjectKind,
    pub issuer: String,
    pub audiences: Vec<String>,
    pub config: serde_json::Value,
}

/// Somebody else's issuer whose tokens a project or tenant believes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExternalIssuer {
    /// Its id.
    pub id: IssuerId,
    /// The project whose tenants its tokens may name.
    pub project_id: ProjectId,
    /// The `iss` claim, byte for byte.
    pub issuer: String,
    /// Accepted `aud` values; never empty.
    pub audiences: Vec<String>,
    /// Accepted algorithms; never empty.
    pub algorithms: Vec<Algorithm>,
    /// How its tokens are read.
    pub binding: ExternalBinding,
    /// The key set (RFC 7517 §5), as last fetched.
    pub jwks: serde_json::Value,
    /// Where the key set is fetched from; none when it was given as a document.
    pub jwks_url: Option<String>,
    /// Its version. A key set that is fetched makes no new one.
    pub version: Version,
}
