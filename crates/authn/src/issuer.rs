//! Issuers, compiled: whose tokens are believed at a hostname, and for what.

use std::collections::BTreeMap;

use domain::{
    IssuerId, ProjectId,
    snapshot::{self, Algorithm, TenantBinding},
};

use crate::jwks::{Jwks, JwksError, Thumbprint};

/// An issuer with its keys parsed.
#[derive(Debug)]
pub struct Issuer {
    /// Its id.
    pub id: IssuerId,
    /// The `iss` claim.
    pub issuer: Box<str>,
    /// The project whose tenants its tokens may name.
    pub project_id: ProjectId,
    /// How its tokens are read.
    pub reading: Reading,
    pub(crate) audiences: Vec<Box<str>>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) keys: Jwks,
}

/// How an issuer's tokens are read.
#[derive(Debug, PartialEq)]
pub enum Reading {
    /// As our own.
    Own,
    /// By what the binding names and nothing else.
    External {
        /// Which tenant the subject acts in.
        tenant: TenantBinding,
        /// Claim of the subject.
        subject_claim: Box<str>,
        /// Claim of the roles.
        roles_claim: Option<Box<str>>,
        /// Claims that must be there with these values.
        required: BTreeMap<String, serde_json::Value>,
    },
}

impl Issuer {
    /// Compiles an issuer.
    ///
    /// # Errors
    /// [`IssuerError`] when its key set is broken, or it would accept any audience or no algorithm.
    pub fn compile(issuer: &snapshot::Issuer) -> Result<Self, IssuerError> {
        let name = || issuer.issuer.clone();
        if issuer.audiences.is_empty() || issuer.audiences.iter().any(String::is_empty) {
            return Err(IssuerError::Audiences { issuer: name() });
        }
        if issuer.algorithms.is_empty() {
            return Err(IssuerError::Algorithms { issuer: name() });
        }
        let keys = Jwks::parse(&issuer.jwks).map_err(|source| IssuerError::Keys { issuer: name(), source })?;
        let reading = match &issuer.origin {
            snapshot::Origin::Own => Reading::Own,
            snapshot::Origin::External(binding) => Reading::External {
                tenant: binding.tenant.clone(),
                subject_claim: binding.subject_claim.as_str().into(),
                roles_claim: binding.roles_claim.as_deref().map(Into::into),
                required: binding.required_claims.clone(),
            },
        };
        Ok(Self {
            id: issuer.id,
            issuer: issuer.issuer.as_str().into(),
            project_id: issuer.project_id,
            reading,
            audiences: issuer.audiences.iter().map(|a| a.as_str().into()).collect(),
            algorithms: issuer.algorithms.clone(),
            keys,
        })
    }

    /// Whether a token that `before` was believed for by `key` would still be believed: the same issuer, read in the same
    /// way, that still has the key.
    pub fn still_believes(&self, before: &Self, key: &Thumbprint) -> bool {
        self.id == before.id
            && self.issuer == before.issuer
            && self.reading == before.reading
            && before.audiences.iter().all(|audience| self.audiences.contains(audience))
            && self.keys.holds(key, &self.algorithms)
    }

    /// The id and algorithm under which it has this key.
    pub fn key_id(&self, key: &Thumbprint) -> Option<(&str, Algorithm)> {
        self.keys.named(key)
    }

    /// Whether one of `audiences` is the issuer's.
    pub fn accepts_audience<'a>(&self, mut audiences: impl Iterator<Item = &'a str>) -> bool {
        audiences.any(|audience| self.audiences.iter().any(|own| **own == *audience))
    }
}

/// Why an issuer cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IssuerError {
    /// No audience, or an empty one.
    #[error("issuer `{issuer}` names no audience; a token for anybody else would be accepted")]
    Audiences {
        /// Which issuer.
        issuer: String,
    },
    /// No algorithm.
    #[error("issuer `{issuer}` names no algorithm")]
    Algorithms {
        /// Which issuer.
        issuer: String,
    },
    /// A broken key set.
    #[error("the key set of issuer `{issuer}` cannot be used")]
    Keys {
        /// Which issuer.
        issuer: String,
        /// Why.
        source: JwksError,
    },
}
