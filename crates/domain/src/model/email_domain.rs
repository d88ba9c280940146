//! Domains of email addresses, and to which tenant their people belong.

use serde::{Deserialize, Serialize};

use super::{Challenge, Proof, VerifyState, Version};
use crate::{EmailDomainId, HostName, ProjectId, TenantId, Timestamp};

/// A domain of email addresses that a tenant claims. Who has a proven address in a verified one belongs to the tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmailDomain {
    /// Its id.
    pub id: EmailDomainId,
    /// Its project.
    pub project_id: ProjectId,
    /// Who claims it.
    pub tenant_id: TenantId,
    /// The domain. Several tenants of a project may claim it; at most one of them holds it.
    pub domain: HostName,
    /// Whether control of it was proven.
    pub state: VerifyState,
    /// When; set for as long as the tenant holds the domain.
    pub verified_at: Option<Timestamp>,
    /// Its proof by DNS.
    pub proof: Proof,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A domain to be claimed.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `EmailDomain`")]
pub struct NewEmailDomain {
    pub id: EmailDomainId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub domain: HostName,
    pub challenge: Challenge,
}

/// The domain of an address that is one reading only: one `@`, and behind it a hostname in the spelling it is kept in.
/// Quoted local parts and second `@`s have none: what two programs read in two ways belongs to nobody.
pub fn domain_of(address: &str) -> Option<HostName> {
    let (local, domain) = address.trim().split_once('@')?;
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if local.is_empty() || !local.chars().all(plain) || domain.ends_with('.') {
        return None;
    }
    domain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M4: `a@evil@company.com` and what is like it.
    #[test]
    fn m4_an_address_with_two_readings_has_no_domain() {
        for address in [
            "a@evil.example@company.example",
            "\"a@evil.example\"@company.example",
            "a@",
            "@company.example",
            "a",
            "a b@company.example",
            "a@company.example.",
            "a@[192.0.2.1]",
            "a@192.0.2.1",
            "a@company.example,b@company.example",
            "a@company.example>",
            "<a@company.example",
            "a\u{0}@company.example",
            "a@compa\u{202e}ny.example",
            "a@company.example/evil",
        ] {
            assert_eq!(domain_of(address), None, "{address:?}");
        }
        for (address, domain) in [
            ("ada@Company.Example", "company.example"),
            ("ada+tag@bücher.example", "xn--bcher-kva.example"),
            ("ada@xn--bcher-kva.example", "xn--bcher-kva.example"),
            (" ada.l@mail.company.example ", "mail.company.example"),
        ] {
            assert_eq!(domain_of(address).unwrap().as_str(), domain, "{address}");
        }
    }
}
