//! The audit trail: who did what to which thing, in Retraced's shape, with a hash chain per tenant.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AuditEventId, ProjectId, RequestId, TenantId, Timestamp};

/// Which of the four things was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Crud {
    /// Created.
    C,
    /// Read.
    R,
    /// Updated.
    U,
    /// Deleted.
    D,
}

/// What kind of thing acted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A user or a member of the platform's staff.
    User,
    /// A service with a service key or client certificate.
    Service,
    /// A job of ours, such as a sweep or the start.
    System,
    /// Nobody known: a failed sign-in.
    Anonymous,
}

/// Who acted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    /// What kind.
    pub kind: ActorKind,
    /// Its id, where it has one.
    pub id: Option<Uuid>,
    /// Its name at that time.
    pub name: String,
}

/// What was acted on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Kind of thing, such as `route`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name at that time.
    pub name: String,
}

/// One thing that happened, as the code that did it reports it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Dotted name such as `route.created`.
    pub action: String,
    /// Which of the four.
    pub crud: Crud,
    /// On what.
    pub target: Target,
    /// Whose project, if any.
    pub project_id: Option<ProjectId>,
    /// Whose tenant, if any.
    pub tenant_id: Option<TenantId>,
    /// Whether it failed.
    pub is_failure: bool,
    /// What changed: names and values, never secrets.
    pub fields: serde_json::Value,
}

/// Where an act came from.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Client address.
    pub source_ip: Option<std::net::IpAddr>,
    /// `User-Agent`, cut at 256 bytes.
    pub user_agent: Option<String>,
    /// The request it was part of.
    pub request_id: Option<RequestId>,
}

/// Longest name of an action, in bytes.
pub const MAX_ACTION: usize = 128;

/// Whether a text is the name of an action: parts of `a-z`, `0-9`, `-` and `_`, joined by dots.
pub fn is_action(text: &str) -> bool {
    text.len() <= MAX_ACTION && text.split('.').all(is_action_part)
}

/// Whether a text is a part of such a name.
pub fn is_action_part(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// The kinds of things that our own actions begin with. What has no dot in it, such as `logout`, is ours as well.
const OWN: [&str; 51] = [
    "access-log",
    "api-key",
    "artifact",
    "audit",
    "break-glass",
    "certificate",
    "certificate-binding",
    "customer",
    "customer-change",
    "decision",
    "domain",
    "email-domain",
    "entitlement",
    "favorite",
    "gateway",
    "group",
    "group-member",
    "help-request",
    "hostname",
    "identity-provider",
    "identity-verification",
    "invitation",
    "issuer",
    "keycloak",
    "login-policy",
    "machine-client",
    "membership",
    "menu",
    "org-unit",
    "org-unit-member",
    "outbox",
    "own-account",
    "password-policy",
    "permission-cache",
    "portcullis",
    "preferences",
    "product",
    "product-request",
    "project",
    "project-credential",
    "provisioning",
    "role",
    "role-binding",
    "route",
    "service",
    "session",
    "signing-key",
    "tenant",
    "upstream",
    "user",
    "webhook",
];

/// Whether an action is one of ours: nobody else may report it.
pub fn is_own_action(action: &str) -> bool {
    action.split_once('.').is_none_or(|(kind, _)| OWN.contains(&kind.replace('_', "-").as_str()))
}

/// What somebody else reports, beyond what every event has (Retraced's shape).
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When it happened there.
    pub created: Timestamp,
    /// In words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where more is to be found of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_href: Option<String>,
    /// The group it happened in; ours is the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<ReportedGroup>,
    /// Which part of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Which version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// An actor as the reporter names it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ReportedActor {
    /// What kind.
    pub kind: ActorKind,
    /// Its id there, which need not be a UUID.
    pub id: Option<String>,
    /// Its name at that time.
    pub name: String,
    /// Where more is to be found of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
}

/// A group as the reporter names it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ReportedGroup {
    /// Its id there.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// One row of the trail.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Its id.
    pub id: AuditEventId,
    /// What happened.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// Who did it.
    pub actor: ReportedActor,
    /// From where.
    pub origin: Origin,
    /// Who reported it: a service's name, or an API key's public part; none for our own.
    pub reporter: Option<String>,
    /// The event's id there: the same one twice is one event.
    pub external_id: Option<String>,
    /// What somebody else reported; none for our own.
    pub report: Option<Report>,
    /// Since when personal data is gone from it.
    pub erased_at: Option<Timestamp>,
    /// When it was written.
    pub received: Timestamp,
    /// Place in its tenant's chain; none until the next tick.
    pub chain: Option<ChainLink>,
}

/// What is wrong with a row, or with what lies between it and the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Another row should stand here.
    Missing,
    /// It does not follow the row before.
    Order,
    /// Its columns are not what its hash was made of.
    Changed,
    /// It is said to belong to another tenant than its chain does.
    Tenant,
    /// Parts of it are gone, and no event says so.
    Erased,
    /// The chain does not end where its head says, or the head is not the one that was sealed.
    Head,
    /// What is left does not begin where the sealed checkpoint says.
    Checkpoint,
}

/// A row's place in the hash chain of its tenant (or of the platform).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ChainLink {
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Hex SHA-256 of the row before; 64 zeros for the first.
    pub prev_hash: String,
    /// Hex SHA-256 over `prev_hash` and this row.
    pub hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_thing_of_ours_is_nobody_elses_to_report() {
        // The kinds, as the sources name them: what is added there is added here.
        let sources = include_str!("model/subject.rs");
        let kinds = sources.lines().filter_map(|line| line.strip_prefix("subject!(")?.split('"').nth(1));
        let kinds: Vec<&str> = kinds.collect();
        assert!(kinds.len() > 20, "{kinds:?}");
        for kind in kinds {
            assert!(is_own_action(&format!("{kind}.created")), "`{kind}` is missing in OWN");
        }
        assert!(is_own_action("logout") && is_own_action("login_success") && is_own_action("break_glass.login"));
        assert!(!is_own_action("order.approved") && !is_own_action("users.created"));
    }

    #[test]
    fn an_action_is_parts_joined_by_dots() {
        for sound in ["logout", "order.approved", "a_b.c-d.e1"] {
            assert!(is_action(sound), "{sound}");
        }
        let long = "a".repeat(MAX_ACTION + 1);
        for wrong in ["", ".", "a.", ".a", "a..b", "A", "a b", "\u{e4}", &long] {
            assert!(!is_action(wrong), "{wrong}");
        }
    }
}
