//! Who a customer is and whether it pays: the states others push, which may follow which, what was pushed, and the
//! evidence.
//!
//! ```text
//! kyc      none ─▶ pending ⇄ partial ─▶ completed ⇄ due_rekyc      back to none from anywhere: the check did not hold
//! payment  ok ⇄ overdue ─▶ blocked ─▶ ok                            blocked at once, too: a charge-back
//! ```
//!
//! Whoever checks may tell its result alone: from `none`, `pending` and `partial` a check is completed in one step. A
//! completed one is looked at again by way of `due_rekyc`, so that products stay in use meanwhile. Who was blocked pays:
//! there is no way back to `overdue`. The same state again is no step and is not kept.

use serde::{Deserialize, Serialize};

use crate::{
    ArtifactId, CustomerChangeId, CustomerId, Timestamp,
    audit::Actor,
    snapshot::{KycStatus, PaymentStatus},
};

impl KycStatus {
    /// Whether a check in this state may come to be in that one.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::None | Self::Pending | Self::Partial, Self::Pending | Self::Partial | Self::Completed)
            | (Self::Completed, Self::DueRekyc)
            | (Self::DueRekyc, Self::Completed | Self::Pending | Self::Partial)
            | (_, Self::None) => true,
            (Self::None | Self::Pending | Self::Partial, Self::DueRekyc)
            | (Self::Completed, Self::Pending | Self::Partial | Self::Completed)
            | (Self::DueRekyc, Self::DueRekyc) => false,
        }
    }
}

impl PaymentStatus {
    /// Whether a customer in this state may come to be in that one.
    pub const fn may_become(self, next: Self) -> bool {
        !matches!((self, next), (Self::Blocked, Self::Overdue))
    }
}

/// A state of a customer's that others push.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind", content = "status")]
pub enum CustomerState {
    /// Of its identity check.
    Kyc(KycStatus),
    /// Of its payments.
    Payment(PaymentStatus),
}

impl CustomerState {
    /// What the audit trail calls coming to this state: `customer.kyc_completed`, `customer.payment_overdue`.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Kyc(KycStatus::None) => "kyc_none",
            Self::Kyc(KycStatus::Pending) => "kyc_pending",
            Self::Kyc(KycStatus::Partial) => "kyc_partial",
            Self::Kyc(KycStatus::Completed) => "kyc_completed",
            Self::Kyc(KycStatus::DueRekyc) => "kyc_due_rekyc",
            Self::Payment(PaymentStatus::Ok) => "payment_ok",
            Self::Payment(PaymentStatus::Overdue) => "payment_overdue",
            Self::Payment(PaymentStatus::Blocked) => "payment_blocked",
        }
    }

    /// That a customer may come from `before` to this state.
    ///
    /// # Errors
    /// [`CustomerStateConflict`].
    pub fn follows(self, before: Self) -> Result<(), CustomerStateConflict> {
        let follows = match (before, self) {
            (Self::Kyc(before), Self::Kyc(next)) => before.may_become(next),
            (Self::Payment(before), Self::Payment(next)) => before.may_become(next),
            (Self::Kyc(_), Self::Payment(_)) | (Self::Payment(_), Self::Kyc(_)) => false,
        };
        if follows { Ok(()) } else { Err(CustomerStateConflict { before, next: self }) }
    }
}

/// A state that does not follow the one before (`kyc_state_conflict`, `payment_state_conflict`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` does not follow `{}`", next.verb(), before.verb())]
pub struct CustomerStateConflict {
    /// What it was.
    pub before: CustomerState,
    /// What was asked for.
    pub next: CustomerState,
}

impl CustomerStateConflict {
    /// The stable public code.
    pub const fn code(self) -> &'static str {
        match self.next {
            CustomerState::Kyc(_) => "kyc_state_conflict",
            CustomerState::Payment(_) => "payment_state_conflict",
        }
    }
}

/// One step of a customer's state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CustomerChange {
    /// Its id.
    pub id: CustomerChangeId,
    /// Whose.
    pub customer_id: CustomerId,
    /// What it was.
    pub from: CustomerState,
    /// What it became.
    pub to: CustomerState,
    /// Why, in the words of whoever pushed it.
    pub reason: Option<String>,
    /// What it is known by where it was decided: a case, an invoice.
    pub reference: Option<String>,
    /// Who pushed it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// Evidence that was looked at to know who a customer is. The thing itself is kept elsewhere, under its reference; what is
/// here says that it is still the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// Whose.
    pub customer_id: CustomerId,
    /// What it is, such as `passport` or `certificate_of_incorporation`.
    pub kind: String,
    /// Where it is kept.
    pub reference: String,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// Who put it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// Evidence to be kept.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as in `Artifact`")]
pub struct NewArtifact {
    pub customer_id: CustomerId,
    pub kind: String,
    pub reference: String,
    pub sha256: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drawn_steps_follow_one_another() {
        use KycStatus::{Completed, DueRekyc, None, Partial, Pending};
        let allowed = [
            (None, vec![None, Pending, Partial, Completed]),
            (Pending, vec![None, Pending, Partial, Completed]),
            (Partial, vec![None, Pending, Partial, Completed]),
            (Completed, vec![None, DueRekyc]),
            (DueRekyc, vec![None, Pending, Partial, Completed]),
        ];
        for (before, followers) in &allowed {
            for next in [None, Pending, Partial, Completed, DueRekyc] {
                assert_eq!(before.may_become(next), followers.contains(&next), "{before:?} {next:?}");
            }
        }
        for before in [PaymentStatus::Ok, PaymentStatus::Overdue, PaymentStatus::Blocked] {
            for next in [PaymentStatus::Ok, PaymentStatus::Overdue, PaymentStatus::Blocked] {
                let refused = (before, next) == (PaymentStatus::Blocked, PaymentStatus::Overdue);
                assert_eq!(before.may_become(next), !refused, "{before:?} {next:?}");
            }
        }
    }

    #[test]
    fn a_state_of_one_kind_does_not_follow_one_of_another() {
        let (kyc, payment) = (CustomerState::Kyc(KycStatus::None), CustomerState::Payment(PaymentStatus::Ok));
        assert_eq!(payment.follows(kyc).unwrap_err().code(), "payment_state_conflict");
        assert_eq!(kyc.follows(payment).unwrap_err().code(), "kyc_state_conflict");
    }
}
