//! Tenants and their life cycle.

use serde::{Deserialize, Serialize};

use super::{Branding, Version};
use crate::{
    Admission, CustomerId, ProjectId, Slug, TenantId, Timestamp,
    snapshot::{RateLimit, TenantStatus},
};

/// Whether somebody has proven to own the tenant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// Nobody yet.
    Latent,
    /// Somebody has.
    #[default]
    Claimed,
}

/// What a request runs as: the boundary nothing crosses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its project.
    pub project_id: ProjectId,
    /// Who pays for it.
    pub customer_id: CustomerId,
    /// Unique short name.
    pub slug: Slug,
    /// Display name.
    pub name: String,
    /// Life cycle.
    pub status: TenantStatus,
    /// What `resume` goes back to.
    pub resume_status: Option<TenantStatus>,
    /// Whether it is claimed.
    pub claim_state: ClaimState,
    /// Plan, if any.
    pub plan: Option<String>,
    /// When the trial ends.
    pub trial_ends_at: Option<Timestamp>,
    /// Requests a second; none for the gateway's default.
    pub rate_limit: Option<RateLimit>,
    /// Requests a second of each of its principals; none for the gateway's default.
    pub principal_rate_limit: Option<RateLimit>,
    /// Who is let in, and how much at once.
    pub admission: Admission,
    /// What its pages and mails look like.
    pub branding: Branding,
    /// Tokens of a lower `tg` are refused.
    pub generation: u64,
    /// Tokens of external issuers that were issued until then are refused.
    pub cutoff: Option<Timestamp>,
    /// When it was deleted; it is then on hold until it is purged.
    pub deleted_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A tenant to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Tenant`")]
pub struct NewTenant {
    pub id: TenantId,
    pub project_id: ProjectId,
    pub customer_id: CustomerId,
    pub slug: Slug,
    pub name: String,
    /// `Trial` or `Active`.
    pub status: TenantStatus,
    pub claim_state: ClaimState,
    pub plan: Option<String>,
    pub trial_ends_at: Option<Timestamp>,
    pub rate_limit: Option<RateLimit>,
    pub principal_rate_limit: Option<RateLimit>,
    pub admission: Admission,
    pub branding: Branding,
}

/// A step of the life cycle (`requirements.md`, "Tenant transitions"). Deleting is not one: it is always possible.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantTransition {
    /// Trial → active.
    Activate,
    /// Active → frozen.
    Cancel,
    /// Trial → frozen.
    ExpireTrial,
    /// Frozen → active.
    Unfreeze,
    /// Any but suspended → suspended.
    Suspend,
    /// Suspended → the state before.
    Resume,
}

impl TenantTransition {
    /// The past participle in the audit trail: `tenant.suspended`.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Activate => "activated",
            Self::Cancel => "cancelled",
            Self::ExpireTrial => "trial_expired",
            Self::Unfreeze => "unfrozen",
            Self::Suspend => "suspended",
            Self::Resume => "resumed",
        }
    }
}

impl Tenant {
    /// The status after `step`, and what `resume` would then go back to.
    ///
    /// # Errors
    /// [`TenantStateConflict`] for every step that is not listed. Suspending twice is one: it would forget what to
    /// resume.
    pub fn after(&self, step: TenantTransition) -> Result<(TenantStatus, Option<TenantStatus>), TenantStateConflict> {
        use TenantStatus::{Active, Deleted, Frozen, Suspended, Trial};
        match (step, self.status) {
            (TenantTransition::Activate, Trial) | (TenantTransition::Unfreeze, Frozen) => Ok((Active, None)),
            (TenantTransition::Cancel, Active) | (TenantTransition::ExpireTrial, Trial) => Ok((Frozen, None)),
            (TenantTransition::Suspend, from @ (Trial | Active | Frozen)) => Ok((Suspended, Some(from))),
            (TenantTransition::Resume, Suspended) => Ok((self.resume_status.unwrap_or(Active), None)),
            (_, from @ (Trial | Active | Frozen | Suspended | Deleted)) => Err(TenantStateConflict { step, from }),
        }
    }
}

/// A step that the tenant's state does not allow (`tenant_state_conflict`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a tenant that is {from:?} cannot be {}", step.verb())]
pub struct TenantStateConflict {
    /// The step.
    pub step: TenantTransition,
    /// The state.
    pub from: TenantStatus,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn tenant(status: TenantStatus, resume_status: Option<TenantStatus>) -> Tenant {
        Tenant {
            id: Uuid::from_u128(1).into(),
            project_id: Uuid::from_u128(2).into(),
            customer_id: Uuid::from_u128(3).into(),
            slug: "acme".parse().unwrap(),
            name: "Acme".into(),
            status,
            resume_status,
            claim_state: ClaimState::Claimed,
            plan: None,
            trial_ends_at: None,
            rate_limit: None,
            principal_rate_limit: None,
            admission: Admission::default(),
            branding: Branding::default(),
            generation: 0,
            cutoff: None,
            deleted_at: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            version: Version(1),
        }
    }

    #[test]
    fn only_the_listed_transitions_are_possible() {
        use TenantStatus::{Active, Deleted, Frozen, Suspended, Trial};
        use TenantTransition::{Activate, Cancel, ExpireTrial, Resume, Suspend, Unfreeze};
        let listed = [
            (Trial, Activate, Active),
            (Active, Cancel, Frozen),
            (Trial, ExpireTrial, Frozen),
            (Frozen, Unfreeze, Active),
            (Trial, Suspend, Suspended),
            (Active, Suspend, Suspended),
            (Frozen, Suspend, Suspended),
            (Suspended, Resume, Active),
        ];
        for from in [Trial, Active, Frozen, Suspended, Deleted] {
            for step in [Activate, Cancel, ExpireTrial, Unfreeze, Suspend, Resume] {
                let expected = listed.iter().find(|(f, s, _)| *f == from && *s == step).map(|(.., to)| *to);
                let found = tenant(from, None).after(step).ok().map(|(to, _)| to);
                assert_eq!(found, expected, "{from:?} {step:?}");
            }
        }
    }

    #[test]
    fn resume_goes_back_to_the_state_before() {
        use TenantStatus::{Frozen, Suspended, Trial};
        for before in [Trial, Frozen] {
            let (_, kept) = tenant(before, None).after(TenantTransition::Suspend).unwrap();
            assert_eq!(tenant(Suspended, kept).after(TenantTransition::Resume), Ok((before, None)));
        }
    }
}
