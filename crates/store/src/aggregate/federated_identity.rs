//! Whom of ours an identity provider knows. Each subject of a provider is one user.

use authz::Scope;
use domain::{
    FederatedIdentityId, IdentityProviderId, UserId,
    model::{FederatedIdentity, User, identity_provider::MAX_IDENTITIES},
};

use super::{break_glass, credential};
use crate::{
    SessionTx, StoreError, Tx, View,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

/// Of providers that are there.
const SELECT: &str = "SELECT federated_identities.* FROM federated_identities
    JOIN identity_providers ON identity_providers.id = federated_identities.provider_id AND identity_providers.deleted_at IS NULL";

/// Sessions that end with an identity, in one transaction; a user's of one provider are seldom as many.
const ENDED_AT_ONCE: u32 = 500;

fn read(row: &Row) -> Result<FederatedIdentity, StoreError> {
    Ok(FederatedIdentity {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        provider_id: row.at("provider_id")?,
        subject: row.at("subject")?,
        user_id: row.at("user_id")?,
        email_at_link: row.at("email_at_link")?,
        linked_at: row.at("linked_at")?,
        last_used_at: row.at("last_used_at")?,
    })
}

/// Reads of identities.
pub trait FederatedIdentities: Reader {
    /// Who a provider's subject is.
    fn federated_identity(
        &self,
        provider: IdentityProviderId,
        subject: &str,
    ) -> impl Future<Output = Result<Option<FederatedIdentity>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE provider_id = $1 AND subject = $2");
            self.view().await?.first(&sql, values![provider, subject], read).await
        }
    }

    /// Every identity of a user's, in the order in which they were made.
    fn federated_identities(
        &self,
        user: UserId,
    ) -> impl Future<Output = Result<Vec<FederatedIdentity>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE user_id = $1 ORDER BY federated_identities.id LIMIT $2");
            self.view().await?.all(&sql, values![user, MAX_IDENTITIES], read).await
        }
    }
}
impl<R: Reader> FederatedIdentities for R {}

/// Makes an identity.
async fn insert(work: &Work, new: &FederatedIdentity) -> Result<(), StoreError> {
    let view = &work.view;
    break_glass::keep(view, new.user_id).await?;
    let sql = view.locking("SELECT id FROM users WHERE id = $1");
    view.query(&sql, values![new.user_id]).await?;
    let sql = "SELECT COUNT(*) AS there FROM federated_identities WHERE user_id = $1";
    let there = view.first(sql, values![new.user_id], |row| row.at::<u64>("there")).await?.unwrap_or(0);
    if there >= MAX_IDENTITIES {
        return Err(StoreError::rule("identity_limit", format!("a user has {MAX_IDENTITIES} identities at most")));
    }
    // Held, so that it is not deleted meanwhile: an identity of a provider that is gone would never be seen again.
    let sql = view.holding("SELECT id FROM identity_providers WHERE id = $1 AND enabled = TRUE AND deleted_at IS NULL");
    if view.query(&sql, values![new.provider_id]).await?.is_empty() {
        return Err(StoreError::NotFound { what: "identity-provider" });
    }
    let sql = "INSERT INTO federated_identities (id, project_id, tenant_id, provider_id, subject, user_id,
                   email_at_link, linked_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let all = values![
        new.id,
        new.project_id,
        new.tenant_id,
        new.provider_id,
        &new.subject,
        new.user_id,
        new.email_at_link.as_ref(),
        work.now
    ];
    view.execute(sql, all).await.map(|_| ())
}

/// Takes the identities of a user's away that somebody of this scope may: a tenant's leave other tenants' alone.
pub(crate) async fn drop_within(view: &View, scope: Scope, user: UserId) -> Result<u64, StoreError> {
    match scope {
        Scope::Platform | Scope::Project(_) => drop_all(view, user).await,
        Scope::Tenant(_, tenant) => {
            let sql = "DELETE FROM federated_identities WHERE user_id = $1 AND (tenant_id IS NULL OR tenant_id = $2)";
            view.execute(sql, values![user, tenant]).await
        }
    }
}

/// Takes every identity of a user's away.
pub(crate) async fn drop_all(view: &View, user: UserId) -> Result<u64, StoreError> {
    view.execute("DELETE FROM federated_identities WHERE user_id = $1", values![user]).await
}

impl Tx {
    /// Makes an identity of an account that is made with it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a subject that is somebody already; [`StoreError::NotFound`] without the provider.
    pub async fn insert_federated_identity(&self, new: &FederatedIdentity) -> Result<(), StoreError> {
        insert(&self.work, new).await
    }
}

impl SessionTx {
    /// Makes an identity.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for a subject that is somebody already; [`StoreError::Rule`] (`identity_limit`,
    /// `user_is_break_glass`); [`StoreError::NotFound`] without the provider.
    pub async fn insert_federated_identity(&self, new: &FederatedIdentity) -> Result<(), StoreError> {
        insert(&self.work, new).await
    }

    /// Notes that a user signs in by an identity. False when it is not theirs any more, or its provider serves nobody.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note_identity_used(
        &self,
        id: FederatedIdentityId,
        user: UserId,
        provider: IdentityProviderId,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE federated_identities SET last_used_at = $4
                   WHERE id = $1 AND user_id = $2 AND provider_id = $3 AND EXISTS (
                       SELECT 1 FROM identity_providers
                       WHERE id = $3 AND enabled = TRUE AND deleted_at IS NULL)";
        Ok(self.work.view.execute(sql, values![id, user, provider, self.work.now]).await? == 1)
    }

    /// Takes an identity from a user, and ends the sessions that were opened through its provider. None when it is not theirs.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`last_credential`) for the last of who could sign in by nothing else.
    pub async fn delete_federated_identity(
        &self,
        user: &User,
        id: FederatedIdentityId,
    ) -> Result<Option<FederatedIdentity>, StoreError> {
        let view = &self.work.view;
        // Two at once are done one after the other: the second finds the last.
        credential::held(view, user.id).await?;
        let sql = "DELETE FROM federated_identities WHERE id = $1 AND user_id = $2 RETURNING *";
        let Some(deleted) = view.first(sql, values![id, user.id], read).await? else { return Ok(None) };
        // Counted without it, which may be none that counts: its provider may be switched off.
        if credential::held(view, user.id).await? == 0 {
            return Err(StoreError::rule("last_credential", "without it there would be no way to sign in"));
        }
        let sql = "SELECT sid FROM sessions WHERE user_id = $1 AND provider_id = $2 AND ended_at IS NULL
                       AND (expires_at > $3 OR token_exp > $3) ORDER BY sid LIMIT $4";
        let all = values![user.id, deleted.provider_id, self.work.now, ENDED_AT_ONCE];
        for sid in view.all(sql, all, |row| row.at("sid")).await? {
            self.end_session(sid, "identity_unlinked").await?;
        }
        let sql = "DELETE FROM login_challenges WHERE user_id = $1 AND provider_id = $2";
        view.execute(sql, values![user.id, Value::from(deleted.provider_id)]).await?;
        Ok(Some(deleted))
    }
}
