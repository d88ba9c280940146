//! Users and their memberships.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{MembershipId, OrgUnitId, ProjectId, Secret, TenantId, Timestamp, UserId};

/// What a user may keep, in bytes, from 0 to [`MAX`](Self::MAX). We keep and say it; the applications that keep things of users hold to
/// it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct StorageQuota(u64);

impl StorageQuota {
    /// The most: what every reader of JSON has as a whole number (RFC 8259 §6).
    pub const MAX: Self = Self((1 << 53) - 1);

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for StorageQuota {
    type Error = StorageQuotaError;
    fn try_from(bytes: u64) -> Result<Self, StorageQuotaError> {
        if bytes <= Self::MAX.0 { Ok(Self(bytes)) } else { Err(StorageQuotaError { bytes }) }
    }
}

impl From<StorageQuota> for u64 {
    fn from(it: StorageQuota) -> Self {
        it.0
    }
}

/// Why a number is no [`StorageQuota`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a quota of {bytes} bytes is too much; 0 to {max} are allowed", max = StorageQuota::MAX.0)]
pub struct StorageQuotaError {
    bytes: u64,
}

/// Whether a user may act.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// Was asked to join.
    Invited,
    /// May.
    #[default]
    Active,
    /// Was switched off by an administrator.
    Disabled,
    /// Was locked by an administrator or a policy.
    Locked,
    /// Was suspended.
    Suspended,
    /// Asked to be deleted; signing in cancels it.
    PendingDeletion,
}

/// A person, in one project.
#[derive(Clone, Debug)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their project.
    pub project_id: ProjectId,
    /// Email as given; unique in the project when [`fold`]ed.
    pub email: Option<String>,
    /// User name; unique in the project when [`fold`]ed.
    pub username: Option<String>,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Phone.
    pub phone: Option<String>,
    /// Id in another system; unique in the project.
    pub external_id: Option<String>,
    /// What they may keep; none where nothing is said of them.
    pub quota: Option<StorageQuota>,
    /// Whether they may act.
    pub status: UserStatus,
    /// PHC string of the password hash; none without a password.
    pub password_hash: Option<Secret<String>>,
    /// When it was set.
    pub password_changed_at: Option<Timestamp>,
    /// Whether it must be changed before a session opens.
    pub must_change_password: bool,
    /// When the email was proven.
    pub email_verified_at: Option<Timestamp>,
    /// The customer's emergency administrator; undeletable.
    pub is_break_glass: bool,
    /// Last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// When they were made.
    pub created_at: Timestamp,
    /// When they were last changed.
    pub updated_at: Timestamp,
    /// Their version.
    pub version: Version,
}

impl User {
    /// What to call them: user name, email or id.
    pub fn display_name(&self) -> String {
        self.username.clone().or_else(|| self.email.clone()).unwrap_or_else(|| self.id.to_string())
    }
}

/// A user to be made. `email` or `username` is needed to sign in.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `User`")]
pub struct NewUser {
    pub id: UserId,
    pub project_id: ProjectId,
    pub email: Option<String>,
    pub username: Option<String>,
    pub first_name: String,
    pub last_name: String,
    pub phone: Option<String>,
    pub external_id: Option<String>,
    pub status: UserStatus,
    pub password_hash: Option<Secret<String>>,
    pub must_change_password: bool,
    pub is_break_glass: bool,
}

/// The form under which emails and user names are compared: trimmed and lower-case.
pub fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}

/// How somebody became a member.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MembershipSource {
    /// By the domain of their email.
    Domain,
    /// By an invitation.
    Invited,
    /// By an administrator.
    #[default]
    Added,
    /// At the start.
    Bootstrap,
}

/// Whether a membership counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MembershipStatus {
    /// It does.
    #[default]
    Active,
    /// Not yet.
    Pending,
    /// No more.
    Inactive,
}

/// A user's membership in a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// Its id.
    pub id: MembershipId,
    /// Project of both.
    pub project_id: ProjectId,
    /// In which tenant.
    pub tenant_id: TenantId,
    /// Whose.
    pub user_id: UserId,
    /// How it came to be.
    pub source: MembershipSource,
    /// Whether it counts.
    pub status: MembershipStatus,
    /// The organisational unit they work in by default.
    pub default_ou_id: Option<OrgUnitId>,
    /// When it was made.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_that_json_keeps_whole() {
        let most = 9_007_199_254_740_991;
        assert_eq!(StorageQuota::try_from(most).map(StorageQuota::bytes), Ok(most));
        assert_eq!(StorageQuota::try_from(0).map(StorageQuota::bytes), Ok(0));
        let error = StorageQuota::try_from(most + 1).unwrap_err();
        assert!(error.to_string().contains("9007199254740992"), "{error}");
        assert!(serde_json::from_str::<StorageQuota>("-1").is_err());
    }
}
