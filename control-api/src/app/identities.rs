//! One's own identities at identity providers: seen, added by who has just signed in, taken away but for the last way to sign in.

use authz::Scope;
use domain::{
    FederatedIdentityId, Secret,
    model::{FederatedIdentity, IdentityProvider, OauthPurpose},
};
use store::{StoreError, read::*};

use super::{
    factor_notices::{self, FactorChange},
    oauth_accounts::{fresh, told},
    oauth_login::{self, Shown},
    own_password, passkeys,
    site::Realm,
    totp,
};
use crate::{App, caller::Principal, context::RequestContext, error::AppError};

/// The caller's identities, each with its provider.
pub async fn list_identities(
    app: &App,
    principal: &Principal,
) -> Result<Vec<(FederatedIdentity, IdentityProvider)>, AppError> {
    let mut all = Vec::new();
    for identity in app.store.federated_identities(principal.user).await? {
        if let Some(provider) = app.store.identity_provider(identity.provider_id).await?
            && is_seen(principal, &identity)
        {
            all.push((identity, provider));
        }
    }
    Ok(all)
}

/// Adds an identity to the caller's account, by what [`oauth_login::begin`] was begun for.
///
/// # Errors
/// [`AppError::SignInAnew`]; [`AppError::CredentialsInvalid`] for the wrong password of who has one;
/// [`AppError::OauthStateInvalid`], also for what somebody else began; [`AppError::OauthRefused`],
/// [`AppError::OauthUnavailable`]; [`AppError::Conflict`] (`identity_taken`); [`AppError::Store`] (`identity_limit`,
/// `user_is_break_glass`).
pub async fn link_identity(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    shown: &Shown,
    password: Option<Secret<String>>,
) -> Result<(FederatedIdentity, IdentityProvider), AppError> {
    totp::recent(app, principal).await?;
    let (project, user) = own_password::own(app, principal).await?;
    passkeys::sure_enough(&app.store, principal).await?;
    own_password::sure(app, context, principal, (&project, &user), password).await?;
    let notice = &factor_notices::notice(app, &project, &user, FactorChange::IdentityLinked)?;
    let realm = site(app, context, principal, Realm { project, tenant: Some(principal.tenant) }).await?;
    let purposes = [OauthPurpose::Link, OauthPurpose::LinkNative];
    let (provider, used, said) = oauth_login::spoken(app, context, &realm, shown, &purposes).await?;
    if used.user_id != Some(user.id) {
        return Err(AppError::OauthStateInvalid);
    }
    let new = &fresh(app, &provider, &said, user.id);
    let actor = &principal.caller.actor;
    let (realm, provider_of, user) = (&realm, &provider, &user);
    let linked = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            tx.hold_factors(user.id).await?;
            // Asked before the provider was, too; a factor may have been added since.
            passkeys::sure_enough(&tx, principal).await?;
            tx.insert_federated_identity(new).await.map_err(|error| match error {
                taken if taken.is_conflict("federated_identities", "subject") => AppError::Conflict {
                    code: "identity_taken",
                    detail: "that account of the provider is somebody's here".to_owned(),
                },
                other => other.into(),
            })?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            let entry = told("identity_linked", realm, provider_of, user);
            Ok::<_, AppError>(tx.record(actor, &origin, &entry).await?)
        }
    });
    linked.await?;
    Ok((new.clone(), provider))
}

/// Takes an identity from the caller's account. Sessions that were opened through its provider end.
///
/// # Errors
/// [`AppError::NotFound`] for anybody else's; [`AppError::Store`] (`last_credential`) for what alone signs them in;
/// [`AppError::SignInAnew`].
pub async fn unlink_identity(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    id: FederatedIdentityId,
) -> Result<(), AppError> {
    let known = app.store.federated_identities(principal.user).await?;
    let known = known.into_iter().find(|it| it.id == id && is_seen(principal, it));
    let known = known.ok_or(AppError::NotFound("identity"))?;
    totp::recent(app, principal).await?;
    let provider = app.store.identity_provider(known.provider_id).await?.ok_or(AppError::NotFound("identity"))?;
    let (project, user) = own_password::own(app, principal).await?;
    let notice = &factor_notices::notice(app, &project, &user, FactorChange::IdentityUnlinked)?;
    let realm = Realm { project, tenant: Some(principal.tenant) };
    let actor = &principal.caller.actor;
    let (realm, provider, user) = (&realm, &provider, &user);
    let unlinked = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            tx.hold_factors(user.id).await?;
            passkeys::sure_enough(&tx, principal).await?;
            let gone = tx.delete_federated_identity(user, id).await?;
            gone.ok_or(StoreError::NotFound { what: "identity" })?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            let entry = told("identity_unlinked", realm, provider, user);
            Ok::<_, AppError>(tx.record(actor, &origin, &entry).await?)
        }
    });
    unlinked.await
}

/// Another tenant's providers are that tenant's business: who is a member there sees them there.
fn is_seen(principal: &Principal, identity: &FederatedIdentity) -> bool {
    identity.tenant_id.is_none_or(|tenant| tenant == principal.tenant)
}

/// What was begun at a hostname is ended at it.
async fn site(app: &App, context: &RequestContext, principal: &Principal, own: Realm) -> Result<Realm, AppError> {
    match super::site::realm(app, context).await? {
        Some(realm) if realm.project.id == principal.project => Ok(realm),
        Some(_) => Err(AppError::OauthStateInvalid),
        None => Ok(own),
    }
}
