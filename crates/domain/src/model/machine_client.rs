//! Machine clients: programs that get tokens of their own (RFC 6749 §4.4). Each acts as a user that is nobody else.

use super::Version;
use crate::{MachineClientId, ProjectId, Secret, SessionId, TenantId, Timestamp, UserId};

/// Longest name, in characters.
pub const MAX_NAME: usize = 128;

/// Tokens that a client gets and ends in a minute, at most: each that is ended is remembered by every gateway.
pub const MAX_A_MINUTE: u64 = 120;

/// Clients of a tenant, at most.
pub const MAX_CLIENTS: u64 = 200;

/// A machine client. Its id is its `client_id`; of its secret the hash is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MachineClient {
    /// Its id.
    pub id: MachineClientId,
    /// Its project.
    pub project_id: ProjectId,
    /// The tenant it acts in.
    pub tenant_id: TenantId,
    /// As whom: a user without password or address, made for it.
    pub user_id: UserId,
    /// What it is called.
    pub name: String,
    /// SHA-256 of its secret.
    pub secret_hash: Secret<[u8; 32]>,
    /// The same of the secret before the last rotation.
    pub previous_hash: Option<Secret<[u8; 32]>>,
    /// Until when that is accepted.
    pub previous_until: Option<Timestamp>,
    /// The session of its tokens, once it asked for one.
    pub session: Option<SessionId>,
    /// When it last got a token.
    pub last_used_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its version.
    pub version: Version,
}

impl MachineClient {
    /// Whether a secret with this hash is its own now. Compared in constant time.
    pub fn accepts(&self, shown: &Secret<[u8; 32]>, now: Timestamp) -> bool {
        let previous = self.previous_hash.as_ref().filter(|_| self.previous_until.is_some_and(|until| now < until));
        // Both are always compared.
        (self.secret_hash == *shown) | previous.is_some_and(|hash| hash == shown)
    }
}

/// A machine client to be made.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `MachineClient`")]
pub struct NewMachineClient {
    pub id: MachineClientId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub name: String,
    pub secret_hash: Secret<[u8; 32]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;

    #[test]
    fn the_secret_before_is_accepted_until_the_overlap_ends() {
        let id = uuid::Uuid::from_u128(1);
        let hash = |byte: u8| Secret::new([byte; 32]);
        let now = Timestamp::from_secs(1000);
        let client = MachineClient {
            id: Id::new(id),
            project_id: Id::new(id),
            tenant_id: Id::new(id),
            user_id: Id::new(id),
            name: "billing".into(),
            secret_hash: hash(2),
            previous_hash: Some(hash(1)),
            previous_until: Some(now),
            session: None,
            last_used_at: None,
            created_at: now,
            version: Version(1),
        };
        let before = Timestamp::from_millis(now.millis() - 1);
        assert!(client.accepts(&hash(2), now) && client.accepts(&hash(1), before));
        assert!(!client.accepts(&hash(1), now) && !client.accepts(&hash(3), before));
    }
}
