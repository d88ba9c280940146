//! The emergency administrator of a customer: signs in on the `admin` listener with SQL alone, by a password and a code.

use crate::{CustomerId, ProjectId, Secret, TenantId, Timestamp, UserId};

/// A customer's emergency administrator. Their password and the secret of their codes are beside the users' and are no
/// good anywhere else.
#[derive(Clone, Debug)]
pub struct BreakGlass {
    /// Whose.
    pub customer_id: CustomerId,
    /// Who.
    pub user_id: UserId,
    /// Their project.
    pub project_id: ProjectId,
    /// The tenant they administer.
    pub tenant_id: TenantId,
    /// PHC string of the password hash.
    pub password_hash: Secret<String>,
    /// The time step (RFC 6238 §4) of the last code that was used: neither it nor an earlier one is good again.
    pub last_step: i64,
    /// Since when they may not sign in.
    pub disabled_at: Option<Timestamp>,
    /// When password and secret were made.
    pub set_up_at: Timestamp,
    /// When they last signed in.
    pub last_login_at: Option<Timestamp>,
}

/// An emergency administrator to be set up, or set up anew.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `BreakGlass`")]
pub struct NewBreakGlass {
    pub customer_id: CustomerId,
    pub user_id: UserId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub password_hash: Secret<String>,
    /// The secret that codes are made of.
    pub totp_secret: Secret<Vec<u8>>,
}
