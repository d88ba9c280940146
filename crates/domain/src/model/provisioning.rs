//! What becomes of a new tenant in the directory that its people are kept in: four steps, each after the one before.
//!
//! The tenant's row, project, hostname and administrator are made in one transaction and are there at once. A directory
//! elsewhere (Keycloak) is told afterwards, and a failure there is not fatal: the step keeps its error and is tried again.

use serde::{Deserialize, Serialize};

use crate::{ProjectId, TenantId, Timestamp};

/// A step, in the order in which they are taken.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProvisioningStep {
    /// Where its people are.
    Realm,
    /// What they sign in to.
    Client,
    /// What administrators hold.
    Role,
    /// The first of them.
    Admin,
}

impl ProvisioningStep {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Realm, Self::Client, Self::Role, Self::Admin];
}

/// Whether a step was taken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not yet.
    #[default]
    Pending,
    /// Yes.
    Done,
    /// It was tried and failed; it is tried again.
    Failed,
}

/// What became of a step.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepOutcome {
    /// Which.
    pub step: ProvisioningStep,
    /// Whether it was taken.
    pub state: StepState,
    /// When it was last tried.
    pub at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A tenant's provisioning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provisioning {
    /// Whose.
    pub tenant_id: TenantId,
    /// Its project.
    pub project_id: ProjectId,
    /// The steps, in order.
    pub steps: Vec<StepOutcome>,
    /// How often it was begun.
    pub attempts: u32,
    /// When it is begun next; none once it is done.
    pub next_at: Option<Timestamp>,
}

impl Provisioning {
    /// None of the steps was taken yet, and the first may be at once.
    pub fn begun(project_id: ProjectId, tenant_id: TenantId, now: Timestamp) -> Self {
        let pending = |step| StepOutcome { step, state: StepState::Pending, at: None, error: None };
        let steps = ProvisioningStep::ALL.into_iter().map(pending).collect();
        Self { tenant_id, project_id, steps, attempts: 0, next_at: Some(now) }
    }

    /// The first step that was not taken.
    pub fn next_step(&self) -> Option<ProvisioningStep> {
        self.steps.iter().find(|outcome| outcome.state != StepState::Done).map(|outcome| outcome.step)
    }

    /// Notes what became of a step.
    pub fn note(&mut self, step: ProvisioningStep, at: Timestamp, error: Option<String>) {
        for outcome in self.steps.iter_mut().filter(|outcome| outcome.step == step) {
            outcome.state = if error.is_none() { StepState::Done } else { StepState::Failed };
            outcome.at = Some(at);
            outcome.error.clone_from(&error);
        }
    }
}

#[test]
fn steps_are_taken_in_order_and_a_failed_one_is_next_again() {
    let at = Timestamp::from_secs(5);
    let mut it = Provisioning::begun(uuid::Uuid::nil().into(), uuid::Uuid::nil().into(), at);
    assert_eq!(it.next_step(), Some(ProvisioningStep::Realm));
    it.note(ProvisioningStep::Realm, at, None);
    it.note(ProvisioningStep::Client, at, Some("unreachable".into()));
    assert_eq!(it.next_step(), Some(ProvisioningStep::Client));
    for step in ProvisioningStep::ALL {
        it.note(step, at, None);
    }
    assert_eq!(it.next_step(), None);
    assert!(it.steps.iter().all(|outcome| outcome.error.is_none()));
}
