//! How proofs by DNS are shown.

use domain::{
    HostName, Timestamp,
    model::{Proof, ProofFailure, proof::challenge_record},
};
use schemars::JsonSchema;
use serde::Serialize;

/// A proof by DNS: what has to stand there, and what was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Proof")]
pub struct ProofView {
    /// Where: the name of a TXT record.
    pub record: String,
    /// What: its text.
    pub value: String,
    /// When it was last looked for.
    pub checked_at: Option<Timestamp>,
    /// Since when a proof that was there is missing.
    pub lost_at: Option<Timestamp>,
    /// When it had been missing for too long.
    pub failed_at: Option<Timestamp>,
    /// Why the last look did not find it.
    pub failure: Option<ProofFailure>,
    /// When it is looked for next; none when somebody has to ask.
    pub due_at: Option<Timestamp>,
}

impl ProofView {
    pub(super) fn of(name: &HostName, proof: Proof) -> Self {
        Self {
            record: challenge_record(name),
            value: proof.challenge.as_str().into(),
            checked_at: proof.checked_at,
            lost_at: proof.lost_at,
            failed_at: proof.failed_at,
            failure: proof.failure,
            due_at: proof.due_at,
        }
    }
}
