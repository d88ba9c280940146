//! What somebody could sign in with, counted: nobody takes away the last of it.

use domain::UserId;

use crate::{StoreError, View, value::values};

/// How many things a user could sign in with alone: a password, passkeys, identities of providers that serve people. Nobody else adds or
/// takes one of them before this transaction ends.
pub(crate) async fn held(view: &View, user: UserId) -> Result<u64, StoreError> {
    let sql = view.locking("SELECT id FROM users WHERE id = $1");
    view.query(&sql, values![user]).await?;
    let sql = "SELECT (SELECT COUNT(*) FROM users WHERE id = $1 AND password_hash IS NOT NULL)
                   + (SELECT COUNT(*) FROM passkeys WHERE user_id = $1)
                   + (SELECT COUNT(*) FROM federated_identities
                      JOIN identity_providers ON identity_providers.id = federated_identities.provider_id
                      WHERE federated_identities.user_id = $1 AND identity_providers.enabled = TRUE
                          AND identity_providers.deleted_at IS NULL) AS held";
    Ok(view.first(sql, values![user], |row| row.at("held")).await?.unwrap_or_default())
}
