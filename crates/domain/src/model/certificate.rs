//! Certificates and their keys.

use serde::{Deserialize, Serialize};

use crate::{
    CertificateBindingId, CertificateId, CertificateName, HostnameId, ProjectId, Secret, TenantId, Timestamp, UserId,
};

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateSource {
    /// Uploaded as PEM.
    #[default]
    Upload,
    /// ACME (RFC 8555).
    Acme,
    /// The development authority.
    Development,
}

/// A certificate without its key, which only the change log's readers get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its id.
    pub id: CertificateId,
    /// Whose it is; none for the platform's.
    pub project_id: Option<ProjectId>,
    /// Names it is good for, wildcards included.
    pub names: Vec<String>,
    /// PEM, leaf first.
    pub chain_pem: String,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// Where it came from.
    pub source: CertificateSource,
    /// Hex SHA-256 of the leaf.
    pub fingerprint: String,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// A certificate to be stored.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `Certificate`")]
pub struct NewCertificate {
    pub id: CertificateId,
    pub project_id: Option<ProjectId>,
    pub names: Vec<String>,
    pub chain_pem: String,
    /// PEM; sealed before it reaches the database.
    pub key_pem: Secret<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub source: CertificateSource,
    pub fingerprint: String,
}

/// As which user the holder of a client certificate acts at a hostname.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundCertificate {
    /// Its id.
    pub id: CertificateBindingId,
    /// The hostname's project.
    pub project_id: ProjectId,
    /// The hostname's tenant.
    pub tenant_id: TenantId,
    /// The hostname whose authorities signed the certificate.
    pub hostname_id: HostnameId,
    /// The name that the certificate must have; bound once at a hostname.
    pub name: CertificateName,
    /// As whom its holder acts: a member of the tenant.
    pub user_id: UserId,
    /// When it was bound.
    pub created_at: Timestamp,
}

/// A certificate to be bound.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `BoundCertificate`")]
pub struct NewBoundCertificate {
    pub id: CertificateBindingId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub hostname_id: HostnameId,
    pub name: CertificateName,
    pub user_id: UserId,
}
