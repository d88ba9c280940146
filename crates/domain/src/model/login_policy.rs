//! How people sign in to a tenant, and what their passwords are. A tenant's policy asks for more than the platform's, never for less.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{ProjectId, TenantId, Timestamp};

/// Most characters a rule can ask for of one kind, and most passwords that are remembered.
pub const MAX_OF_KIND: u32 = 8;
/// Most passwords that are remembered: each is a hash more at a change.
pub const MAX_HISTORY: u32 = 10;
/// Most days a password may be kept, or has to be.
pub const MAX_DAYS: u32 = 3650;

/// A way to sign in.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoginMethod {
    /// With a password.
    Password,
    /// With a code that was sent by email.
    EmailCode,
    /// With a link that was sent by email.
    MagicLink,
    /// With a code that was sent to a phone.
    PhoneCode,
    /// With a passkey.
    Passkey,
    /// Through an identity provider.
    Oauth,
    /// By approving it on another device, by a QR code. How that device's user signed in is to be named, too.
    Qr,
}

impl LoginMethod {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Password, Self::EmailCode, Self::MagicLink, Self::PhoneCode, Self::Passkey, Self::Oauth, Self::Qr];

    /// Those of a tenant that says nothing. A text is read by whoever has the number today (NIST SP 800-63B-4 §3.1.3.3 restricts it), so it
    /// is a way in only where a tenant names it.
    pub const UNSAID: [Self; 6] =
        [Self::Password, Self::EmailCode, Self::MagicLink, Self::Passkey, Self::Oauth, Self::Qr];
}

/// What a password is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordPolicy {
    /// Fewest characters.
    pub min_length: u32,
    /// Most characters.
    pub max_length: u32,
    /// Fewest lower-case letters.
    pub lower: u32,
    /// Fewest upper-case letters.
    pub upper: u32,
    /// Fewest digits.
    pub digits: u32,
    /// Fewest other characters.
    pub special: u32,
    /// So many passwords of before do not come back.
    pub history: u32,
    /// A password is not changed again for so many days; 0 for none.
    pub min_age_days: u32,
    /// A password is to be changed after so many days; none for never.
    pub max_age_days: Option<u32>,
}

/// What the platform asks for (`requirements.md` §3.3).
impl Default for PasswordPolicy {
    fn default() -> Self {
        Self {
            min_length: 8,
            max_length: 128,
            lower: 1,
            upper: 1,
            digits: 1,
            special: 1,
            history: 0,
            min_age_days: 0,
            max_age_days: None,
        }
    }
}

impl PasswordPolicy {
    /// What both ask for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            min_length: self.min_length.max(other.min_length),
            max_length: self.max_length.min(other.max_length),
            lower: self.lower.max(other.lower),
            upper: self.upper.max(other.upper),
            digits: self.digits.max(other.digits),
            special: self.special.max(other.special),
            history: self.history.max(other.history),
            min_age_days: self.min_age_days.max(other.min_age_days),
            max_age_days: match (self.max_age_days, other.max_age_days) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        }
    }

    /// The first field in which it asks for less than `floor`, or that contradicts another, and why.
    pub fn weaker_than(&self, floor: &Self) -> Option<(&'static str, &'static str)> {
        const LESS: &str = "asks for less than the platform does";
        let most_days = self.max_age_days.unwrap_or(u32::MAX);
        [
            ("min_length", self.min_length < floor.min_length, LESS),
            ("max_length", self.max_length > floor.max_length, LESS),
            ("lower", self.lower < floor.lower, LESS),
            ("upper", self.upper < floor.upper, LESS),
            ("digits", self.digits < floor.digits, LESS),
            ("special", self.special < floor.special, LESS),
            ("history", self.history < floor.history, LESS),
            ("min_age_days", self.min_age_days < floor.min_age_days, LESS),
            ("max_age_days", most_days > floor.max_age_days.unwrap_or(u32::MAX), LESS),
        ]
        .into_iter()
        .chain(self.mistakes())
        .find(|(_, wrong, _)| *wrong)
        .map(|(field, _, why)| (field, why))
    }

    /// What contradicts itself or is too much, by field.
    pub fn mistakes(&self) -> [(&'static str, bool, &'static str); 8] {
        const MUCH: &str = "is too much";
        let kinds = [self.lower, self.upper, self.digits, self.special].into_iter().fold(0, u32::saturating_add);
        [
            ("max_length", self.max_length < self.min_length.max(kinds), "is less than what is asked for"),
            ("lower", self.lower > MAX_OF_KIND, MUCH),
            ("upper", self.upper > MAX_OF_KIND, MUCH),
            ("digits", self.digits > MAX_OF_KIND, MUCH),
            ("special", self.special > MAX_OF_KIND, MUCH),
            ("history", self.history > MAX_HISTORY, MUCH),
            ("min_age_days", self.min_age_days > MAX_DAYS, MUCH),
            (
                "max_age_days",
                self.max_age_days.is_some_and(|days| days == 0 || days > MAX_DAYS || days < self.min_age_days),
                "is not within `min_age_days`, 1 and 3650",
            ),
        ]
    }
}

/// How people sign in to a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoginPolicy {
    /// Whose.
    #[serde(skip, default = "nobody")]
    pub tenant_id: TenantId,
    /// Its project.
    #[serde(skip, default = "nowhere")]
    pub project_id: ProjectId,
    /// Ways to sign in; none is not possible.
    pub methods: BTreeSet<LoginMethod>,
    /// Whether a second factor is demanded.
    pub require_2fa: bool,
    /// Whether only those are let in whose identity was verified for the tenant.
    #[serde(default)]
    pub require_verified_identity: bool,
    /// A session that was not used for so many seconds is over; none for as long as it lives.
    pub idle_s: Option<u64>,
    /// A session lives for so many seconds at most; none for as the platform says.
    pub absolute_s: Option<u64>,
    /// So many failed sign-ins lock; none for as the platform says.
    pub lock_after: Option<u32>,
    /// For so many seconds; none for as the platform says.
    pub lock_s: Option<u64>,
    /// What passwords are.
    pub password: PasswordPolicy,
    /// When it was last changed; none for one that was never set.
    #[serde(skip)]
    pub updated_at: Option<Timestamp>,
    /// Its version; 0 for one that was never set.
    #[serde(skip, default = "unset")]
    pub version: Version,
}

const fn nobody() -> TenantId {
    TenantId::new(uuid::Uuid::nil())
}
const fn nowhere() -> ProjectId {
    ProjectId::new(uuid::Uuid::nil())
}
const fn unset() -> Version {
    Version(0)
}

impl LoginPolicy {
    /// Of a tenant that says nothing: as the platform says.
    pub fn unset(project_id: ProjectId, tenant_id: TenantId, password: PasswordPolicy) -> Self {
        Self {
            tenant_id,
            project_id,
            methods: LoginMethod::UNSAID.into(),
            require_2fa: false,
            require_verified_identity: false,
            idle_s: None,
            absolute_s: None,
            lock_after: None,
            lock_s: None,
            password,
            updated_at: None,
            version: unset(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_asks_for_more_than_the_floor_or_names_the_field() {
        let floor = PasswordPolicy { max_age_days: Some(90), ..PasswordPolicy::default() };
        let fits = |policy: PasswordPolicy| policy.weaker_than(&floor).map(|(field, _)| field);
        let strict = PasswordPolicy { min_length: 12, history: 5, max_age_days: Some(30), ..floor };
        assert_eq!(fits(strict), None);
        for (policy, field) in [
            (PasswordPolicy { min_length: 7, ..strict }, "min_length"),
            (PasswordPolicy { max_length: 129, ..strict }, "max_length"),
            (PasswordPolicy { lower: 0, ..strict }, "lower"),
            (PasswordPolicy { upper: 0, ..strict }, "upper"),
            (PasswordPolicy { digits: 0, ..strict }, "digits"),
            (PasswordPolicy { special: 0, ..strict }, "special"),
            (PasswordPolicy { max_age_days: None, ..strict }, "max_age_days"),
            (PasswordPolicy { max_age_days: Some(91), ..strict }, "max_age_days"),
            (PasswordPolicy { min_age_days: 31, ..strict }, "max_age_days"),
            (PasswordPolicy { max_length: 11, ..strict }, "max_length"),
            (PasswordPolicy { digits: 9, ..strict }, "digits"),
            (PasswordPolicy { history: 11, ..strict }, "history"),
        ] {
            assert_eq!(fits(policy), Some(field));
        }
    }

    #[test]
    fn two_policies_together_are_the_stricter_of_each_rule() {
        let a = PasswordPolicy { min_length: 12, max_age_days: Some(90), ..PasswordPolicy::default() };
        let b = PasswordPolicy { history: 3, max_age_days: Some(30), max_length: 64, ..PasswordPolicy::default() };
        let both = PasswordPolicy {
            min_length: 12,
            history: 3,
            max_age_days: Some(30),
            max_length: 64,
            ..PasswordPolicy::default()
        };
        assert_eq!((a.and(b), b.and(a)), (both, both));
    }
}
