//! Forgetting what nobody needs any more.

use std::time::Duration;

use domain::Timestamp;

use super::facts::HORIZON;
use crate::{Store, StoreError, aggregate::outbox, value::values};

/// How long deleted entities are remembered.
const TOMBSTONES: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a commit can be asked for its revision, and a stored response be repeated.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long it is known what was used in a day, and in a month.
const USED_IN_DAYS: Duration = Duration::from_secs(62 * 24 * 3600);
const USED_IN_MONTHS: Duration = Duration::from_secs(400 * 24 * 3600);
/// How long it is known what became of an invitation.
const INVITATIONS: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long a key that was revoked is kept for the lists.
const REVOKED_KEYS: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long ended and expired sessions are kept for the lists.
const SESSIONS: Duration = Duration::from_secs(30 * 24 * 3600);

impl Store {
    /// Deletes expired facts, old tombstones, expired refresh tokens, and what else is kept for a time only.
    ///
    /// Facts go from the beginning only, up to the first that has not expired: what is left has no gap, and who is
    /// further behind than that resynchronises in full.
    ///
    /// # Errors
    /// Of the database. Nothing is deleted then.
    pub async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        let view = self.begin_state().await?;
        // The tick's lock: the head does not move meanwhile.
        view.query(&view.locking("SELECT seq FROM log_head WHERE id = 1"), Vec::new()).await?;
        view.execute(
            "DELETE FROM facts WHERE seq IS NOT NULL AND seq <
                 COALESCE((SELECT MIN(seq) FROM facts WHERE expires > $1), (SELECT seq + 1 FROM log_head WHERE id = 1))",
            values![now],
        )
        .await?;
        let gone = "body IS NULL AND sealed IS NULL AND at < $1";
        view.execute(
            &format!(
                "UPDATE log_head SET forgotten_revision =
                     COALESCE((SELECT MAX(revision) FROM change_log WHERE {gone}), forgotten_revision) WHERE id = 1"
            ),
            values![now - TOMBSTONES],
        )
        .await?;
        view.execute(&format!("DELETE FROM change_log WHERE {gone}"), values![now - TOMBSTONES]).await?;
        for (sql, before) in [
            ("DELETE FROM commits WHERE at < $1", now - DAY),
            ("DELETE FROM idempotency_keys WHERE at < $1", now - DAY),
            ("DELETE FROM login_failures WHERE last_at < $1", now - DAY),
            ("DELETE FROM adopted_tokens WHERE expires < $1", now),
            ("DELETE FROM refresh_tokens WHERE expires_at < $1", now),
            ("DELETE FROM sessions WHERE expires_at < $1", now - SESSIONS),
            (
                "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE revoked_at < $1 LIMIT 1000)",
                now - REVOKED_KEYS,
            ),
            ("DELETE FROM released_hostnames WHERE until < $1", now),
            ("DELETE FROM gateways WHERE last_seen < $1", now - HORIZON),
            ("DELETE FROM outbox_events WHERE failed_at < $1", now - outbox::GIVEN_UP),
            ("DELETE FROM invitations WHERE expires_at < $1", now - INVITATIONS),
            ("DELETE FROM unit_usage WHERE ends_at < $1", now - USED_IN_MONTHS),
            // A day is written with ten characters.
            ("DELETE FROM product_usage WHERE length(span) = 10 AND ends_at < $1", now - USED_IN_DAYS),
            ("DELETE FROM product_usage WHERE ends_at < $1", now - USED_IN_MONTHS),
        ] {
            view.execute(sql, values![before]).await?;
        }
        view.commit().await
    }
}
