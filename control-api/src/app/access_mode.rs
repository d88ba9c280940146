//! Who may get an account by themselves: as a project's settings say (`config.access`), and nobody where they say nothing.

use domain::{
    HostName,
    model::{Project, ProjectKind, domain_of},
};
use serde::Deserialize;

use crate::error::AppError;

/// Who.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AccessMode {
    /// Whoever has an address.
    Open,
    /// Who has an address of one of the domains.
    Allowlist,
    /// Who was invited.
    Invite,
    /// Nobody.
    #[default]
    Closed,
}

/// `config.access` of a project.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Access {
    /// Who may get an account.
    pub(super) mode: AccessMode,
    /// Domains of `allowlist`, exactly.
    #[serde(default)]
    pub(super) domains: Vec<HostName>,
    /// Domains whose addresses get no account, whatever else is said.
    #[serde(default)]
    pub(super) denied_domains: Vec<HostName>,
}

/// Most domains of a list.
const MAX_DOMAINS: usize = 1000;

impl Access {
    /// From a project's settings.
    ///
    /// # Errors
    /// [`AppError::Invalid`] for what cannot be read.
    pub(super) fn of_config(config: &serde_json::Value) -> Result<Self, AppError> {
        let Some(access) = config.get("access") else { return Ok(Self::default()) };
        let read: Self = serde_json::from_value(access.clone())
            .map_err(|error| AppError::field("/config/access", "invalid", error.to_string()))?;
        if read.domains.len().max(read.denied_domains.len()) > MAX_DOMAINS {
            return Err(AppError::field("/config/access", "invalid", format!("at most {MAX_DOMAINS} domains")));
        }
        Ok(read)
    }
}

/// Whether an address may get an account of a project by itself. It is the same for addresses that have one.
///
/// # Errors
/// [`AppError::Restricted`]: `signup_closed`, `signup_by_invitation` or `address_not_admitted`.
pub(super) fn admits(project: &Project, email: &str) -> Result<(), AppError> {
    let refuse = |code, detail| Err(AppError::Restricted { code, detail });
    // What cannot be read lets nobody in.
    let access = Access::of_config(&project.config).unwrap_or_default();
    let domain = domain_of(email);
    let listed = |list: &[HostName]| domain.as_ref().is_some_and(|domain| list.contains(domain));
    match (project.kind, access.mode) {
        (ProjectKind::Root, _) | (ProjectKind::Dedicated, AccessMode::Closed) => {
            refuse("signup_closed", "accounts are made by an administrator here")
        }
        (ProjectKind::Shared, _) | (ProjectKind::Dedicated, AccessMode::Invite) => {
            refuse("signup_by_invitation", "people join by invitation here")
        }
        (ProjectKind::Dedicated, AccessMode::Open | AccessMode::Allowlist)
            if domain.is_none() || listed(&access.denied_domains) =>
        {
            refuse("address_not_admitted", "addresses of that domain get no account here")
        }
        (ProjectKind::Dedicated, AccessMode::Allowlist) if !listed(&access.domains) => {
            refuse("address_not_admitted", "addresses of that domain get no account here")
        }
        (ProjectKind::Dedicated, AccessMode::Open | AccessMode::Allowlist) => Ok(()),
    }
}
