//! Whose client certificates a hostname believes, and as whom their holders act.

use std::{collections::HashMap, sync::Arc};

use authn::{Authorities, AuthoritiesError, CertificateError, ClientCertificate};
use domain::{
    CertificateName,
    client_certificate::{CertificateBinding, MAX_BINDINGS},
    snapshot::ClientAuthentication,
};

/// The client certificates of a hostname. The same object for as long as its row says the same.
#[derive(Debug)]
pub struct Clients {
    /// Whose certificates are believed. Outlives changes of the bindings.
    pub authorities: Arc<Authorities>,
    bindings: HashMap<CertificateName, Arc<CertificateBinding>>,
    pub(super) made_from: ClientAuthentication,
}

/// Why a hostname's client certificates cannot be judged; it is not served then.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ClientsError {
    #[error("its client certificates cannot be judged: {0}")]
    Authorities(#[from] AuthoritiesError),
    #[error("its client certificates are bound to users, and it has no tenant")]
    Tenant,
    #[error("client certificates named `{0}` are bound twice")]
    Twice(CertificateName),
    #[error("it binds more than {MAX_BINDINGS} client certificates")]
    TooMany,
}

impl Clients {
    /// Compiles them, using again what `before` has of the same authorities.
    pub(super) fn compile(
        row: &ClientAuthentication,
        has_tenant: bool,
        before: Option<&Self>,
    ) -> Result<Self, ClientsError> {
        if !has_tenant && !row.bindings.is_empty() {
            return Err(ClientsError::Tenant);
        }
        if row.bindings.len() > MAX_BINDINGS {
            return Err(ClientsError::TooMany);
        }
        let mut bindings = HashMap::with_capacity(row.bindings.len());
        for binding in &row.bindings {
            if bindings.insert(binding.name.clone(), Arc::new(binding.clone())).is_some() {
                return Err(ClientsError::Twice(binding.name.clone()));
            }
        }
        let authorities = match before.filter(|before| before.made_from.certificates == row.certificates) {
            Some(before) => Arc::clone(&before.authorities),
            None => Arc::new(Authorities::compile(&row.certificates)?),
        };
        Ok(Self { authorities, bindings, made_from: row.clone() })
    }

    /// The one binding that has a name of the certificate's.
    ///
    /// # Errors
    /// None has, or several have, or the names cannot be read.
    pub(crate) fn bound(&self, certificate: &ClientCertificate) -> Result<&Arc<CertificateBinding>, CertificateError> {
        let mut found = certificate.names()?.iter().filter_map(|name| self.bindings.get(name));
        match (found.next(), found.next()) {
            (Some(binding), None) => Ok(binding),
            (None, _) => Err(CertificateError::Unbound),
            (Some(_), Some(_)) => Err(CertificateError::Ambiguous),
        }
    }
}
