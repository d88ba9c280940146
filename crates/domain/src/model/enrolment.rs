//! Enrolments: which gateways may ask the control plane, and until when.

use serde::{Deserialize, Serialize};

use crate::{FleetName, GatewayId, Timestamp};

/// A gateway's right to be served. It begins with a join token that is used once, goes on with certificates that are
/// renewed, and ends when it is revoked or its last certificate expires.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The gateway's id.
    pub id: GatewayId,
    /// Its name, unique in its fleet among those that were not revoked.
    pub name: String,
    /// Its fleet.
    pub fleet: FleetName,
    /// The join token is good until then.
    pub token_expires_at: Timestamp,
    /// When it was used; none before.
    pub joined_at: Option<Timestamp>,
    /// When the newest certificate expires; none before the first.
    pub certificate_expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// An enrolment to be made.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as in `Enrolment`")]
pub struct NewEnrolment {
    pub id: GatewayId,
    pub name: String,
    pub fleet: FleetName,
    /// SHA-256 of the join token: the token itself is not kept.
    pub token_hash: [u8; 32],
    pub token_expires_at: Timestamp,
}

/// Where an enrolment stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnrolmentState {
    /// The join token waits to be used.
    Pending,
    /// It has a certificate.
    Enrolled,
    /// The join token or the last certificate has expired: it must be enrolled anew.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Enrolment {
    /// Where it stands.
    pub fn state(&self, now: Timestamp) -> EnrolmentState {
        if self.revoked_at.is_some() {
            return EnrolmentState::Revoked;
        }
        match self.certificate_expires_at {
            Some(end) if now < end => EnrolmentState::Enrolled,
            None if now < self.token_expires_at => EnrolmentState::Pending,
            Some(_) | None => EnrolmentState::Expired,
        }
    }
}
