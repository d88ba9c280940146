//! Enrolments: which gateways may ask the control plane. Join tokens are kept as hashes, and used by one key only.

use authz::{Authorized, Scope, action::ManageGateways};
use domain::{
    FleetName, GatewayId, Timestamp,
    model::{Enrolment, NewEnrolment},
};

use super::{needed, within};
use crate::{
    SessionTx, StoreError, Tx, Unaudited, View,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM enrolments";

pub(super) fn read(row: &Row) -> Result<Enrolment, StoreError> {
    Ok(Enrolment {
        id: row.at("id")?,
        name: row.at("name")?,
        fleet: row.parsed("fleet")?,
        token_expires_at: row.at("token_expires_at")?,
        joined_at: row.at("joined_at")?,
        certificate_expires_at: row.at("certificate_expires_at")?,
        created_at: row.at("created_at")?,
        revoked_at: row.at("revoked_at")?,
    })
}

/// Reads of enrolments.
pub trait Enrolments: Reader {
    /// The enrolment of this gateway.
    fn enrolment(&self, id: GatewayId) -> impl Future<Output = Result<Option<Enrolment>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// The gateways that were revoked after a moment.
    fn revoked_after(&self, moment: Timestamp) -> impl Future<Output = Result<Vec<GatewayId>, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM enrolments WHERE revoked_at > $1";
            self.view().await?.all(sql, values![moment], |row| row.at("id")).await
        }
    }
}
impl<R: Reader> Enrolments for R {}

/// Refuses a gateway that was revoked; until this transaction ends nobody revokes it.
pub(super) async fn not_revoked(view: &View, id: GatewayId) -> Result<(), StoreError> {
    let sql = view.holding(&format!("{SELECT} WHERE id = $1"));
    match view.first(&sql, values![id], read).await? {
        Some(Enrolment { revoked_at: Some(_), name, .. }) => {
            Err(StoreError::rule("gateway_revoked", format!("gateway `{name}` was revoked")))
        }
        Some(_) | None => Ok(()),
    }
}

impl Tx {
    /// Enrols a gateway. One of the same name that never joined, or whose certificate has expired, gives way.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `enrolments(fleet, name)` while a gateway of this name may ask.
    pub async fn insert_enrolment(
        &self,
        by: &Authorized<ManageGateways>,
        new: NewEnrolment,
    ) -> Result<Unaudited<Enrolment>, StoreError> {
        within(by, Scope::Platform)?;
        let now = self.work.now;
        let sql = "UPDATE enrolments SET revoked_at = $3 WHERE fleet = $1 AND name = $2 AND revoked_at IS NULL
                   AND (certificate_expires_at IS NULL OR certificate_expires_at <= $3)";
        self.work.view.execute(sql, values![new.fleet.as_str(), &new.name, now]).await?;
        let enrolment = Enrolment {
            id: new.id,
            name: new.name,
            fleet: new.fleet,
            token_expires_at: new.token_expires_at,
            joined_at: None,
            certificate_expires_at: None,
            created_at: now,
            revoked_at: None,
        };
        self.work
            .view
            .execute(
                "INSERT INTO enrolments (id, name, fleet, token_hash, token_expires_at, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                values![
                    enrolment.id,
                    &enrolment.name,
                    enrolment.fleet.as_str(),
                    new.token_hash,
                    enrolment.token_expires_at,
                    now
                ],
            )
            .await?;
        Ok(self.unaudited(enrolment))
    }

    /// Revokes a gateway: it is noted no more leases. Once more changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn revoke_enrolment(
        &self,
        by: &Authorized<ManageGateways>,
        id: GatewayId,
    ) -> Result<Unaudited<Enrolment>, StoreError> {
        within(by, Scope::Platform)?;
        let sql = "UPDATE enrolments SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1 RETURNING *";
        let revoked = self.work.view.first(sql, values![id, self.work.now], read).await?;
        Ok(self.unaudited(needed(revoked, "gateway")?))
    }
}

impl SessionTx {
    /// Uses a join token for a key, and notes until when the key's certificate is good. None when the token is unknown,
    /// expired, revoked, or was used for another key; the key it was used for may ask again, so that an answer that got
    /// lost costs no second token.
    ///
    /// # Errors
    /// Of the database.
    pub async fn join_gateway(
        &self,
        token_hash: [u8; 32],
        key_hash: [u8; 32],
        certificate_expires_at: Timestamp,
    ) -> Result<Option<Enrolment>, StoreError> {
        let sql =
            "UPDATE enrolments SET key_hash = $2, joined_at = COALESCE(joined_at, $3), certificate_expires_at = $4
                   WHERE token_hash = $1 AND (key_hash IS NULL OR key_hash = $2) AND token_expires_at > $3
                       AND revoked_at IS NULL
                   RETURNING *";
        let values = values![token_hash, key_hash, self.work.now, certificate_expires_at];
        self.work.view.first(sql, values, read).await
    }

    /// Notes until when a gateway's next certificate is good. None when it may not ask any more, or shows another key
    /// than it joined with.
    ///
    /// # Errors
    /// Of the database.
    pub async fn renew_gateway(
        &self,
        (id, fleet): (GatewayId, &FleetName),
        key_hash: [u8; 32],
        certificate_expires_at: Timestamp,
    ) -> Result<Option<Enrolment>, StoreError> {
        let sql = "UPDATE enrolments SET certificate_expires_at = $4
                   WHERE id = $1 AND fleet = $2 AND key_hash = $3 AND certificate_expires_at > $5 AND revoked_at IS NULL
                   RETURNING *";
        let values = values![id, fleet.as_str(), key_hash, certificate_expires_at, self.work.now];
        self.work.view.first(sql, values, read).await
    }
}
