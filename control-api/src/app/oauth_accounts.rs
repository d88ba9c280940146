//! Whose account somebody is that an identity provider vouches for.
//!
//! | Known | Then |
//! |---|---|
//! | the provider's subject | that account, whatever else is said |
//! | an address the provider proved, in a domain that the tenant proved, and an account has it | that account, from then on by its subject |
//! | such an address elsewhere, and an account has it | nobody: no account is touched |
//! | an address the provider proved, and nobody has it | a new account, where the project lets people in |
//!
//! The tenant is the provider's, or of the project's providers the hostname's; of those only an account counts that the provider keeps for the
//! domain (Google's `hd`), as any other proved its address once and for ever. A tenant's provider proves no address outside the
//! tenant's domains, a project's none but of the public mail providers: an account that is made with one has it unproven, and whoever reads it
//! takes the account over (ADR 28).

use authz::Scope;
use domain::{
    TenantId, UserId,
    audit::{AuditEntry, Crud, Target},
    model::{FederatedIdentity, IdentityProvider, User, VerifyState, domain_of, fold},
};
use serde_json::json;
use store::read::*;

use super::{
    access_mode, email_domains, letters, own_email,
    signup::{self, NewAccount},
    site::Realm,
};
use crate::{
    App,
    context::{RequestContext, new_id},
    error::AppError,
    oauth::Said,
};

/// Told alike to everybody for whom there is no account.
const NOBODY: AppError =
    AppError::Restricted { code: "oauth_not_admitted", detail: "that account of the provider is not admitted here" };

/// The identity by which somebody signs in, made where it may be.
///
/// # Errors
/// [`AppError::Restricted`] (`oauth_not_admitted`).
pub(super) async fn identity(
    app: &App,
    context: &RequestContext,
    realm: &Realm,
    provider: &IdentityProvider,
    said: &Said,
) -> Result<FederatedIdentity, AppError> {
    if let Some(known) = app.store.federated_identity(provider.id, &said.subject).await? {
        return Ok(known);
    }
    let made = match said.email.as_deref().and_then(|email| letters::address(email).ok()) {
        Some(email) => matched(app, context, (realm, provider), said, email).await,
        None => Err(NOBODY),
    };
    match made {
        // Somebody was quicker, who is the same.
        Err(error) if is_race(&error) => app.store.federated_identity(provider.id, &said.subject).await?.ok_or(NOBODY),
        made => made,
    }
}

fn is_race(error: &AppError) -> bool {
    let taken = |error: &store::StoreError| {
        error.is_conflict("federated_identities", "subject") || error.is_conflict("users", "email_fold")
    };
    matches!(error, AppError::LinkInvalid) || matches!(error, AppError::Store(error) if taken(error))
}

async fn matched(
    app: &App,
    context: &RequestContext,
    (realm, provider): (&Realm, &IdentityProvider),
    said: &Said,
    email: &str,
) -> Result<FederatedIdentity, AppError> {
    let vouched = vouches(app, &app.store, (realm, provider), said, email).await?;
    match app.store.user_by_login(realm.project.id, email).await? {
        Some(user) if vouched => joined(app, context, (realm, provider), said, (&user, email)).await,
        Some(_) => Err(NOBODY),
        None => made(app, context, (realm, provider), said, (email, vouched)).await,
    }
}

/// Whether a provider's word about an address is the word of who has it: the tenant that proved its domain.
async fn vouches(
    app: &App,
    reader: &impl EmailDomains,
    (realm, provider): (&Realm, &IdentityProvider),
    said: &Said,
    email: &str,
) -> Result<bool, AppError> {
    let tenant: Option<TenantId> = provider.tenant_id.or(realm.tenant);
    let (Some(tenant), Some(domain)) = (tenant, domain_of(email)) else { return Ok(false) };
    // An account of anybody's own proved an address once, and has it still when somebody else does.
    let kept = said.hosted.as_deref().is_some_and(|hosted| hosted == domain.as_str());
    if provider.tenant_id.is_none() && !kept {
        return Ok(false);
    }
    if email_domains::is_public(app, &domain) {
        return Ok(false);
    }
    let held = reader.email_domain_holder(realm.project.id, &domain).await?;
    Ok(held.is_some_and(|it| it.tenant_id == tenant && it.state == VerifyState::Verified))
}

/// Makes an identity of who has an address. What was planted there before it was proven goes first.
async fn joined(
    app: &App,
    context: &RequestContext,
    (realm, provider): (&Realm, &IdentityProvider),
    said: &Said,
    (user, email): (&User, &str),
) -> Result<FederatedIdentity, AppError> {
    let new = &fresh(app, provider, said, user.id);
    let linked = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            // The domain may have been lost, or the address another's, a moment ago.
            let again = tx.user(user.id).await?.filter(letters::may_be_written_to).ok_or(NOBODY)?;
            let same = again.email.as_deref().map(fold) == Some(fold(email));
            if !same || !vouches(app, &tx, (realm, provider), said, email).await? {
                return Err(NOBODY);
            }
            own_email::prove(app, &tx, (realm, &origin), &again, email, false).await?;
            tx.insert_federated_identity(new).await?;
            let entry = told("identity_linked", realm, provider, &again);
            tx.record(&letters::oneself(&again), &origin, &entry).await?;
            Ok(())
        }
    });
    linked.await?;
    Ok(new.clone())
}

/// Makes an account for who has none, with its identity.
async fn made(
    app: &App,
    context: &RequestContext,
    (realm, provider): (&Realm, &IdentityProvider),
    said: &Said,
    (email, vouched): (&str, bool),
) -> Result<FederatedIdentity, AppError> {
    access_mode::admits(&realm.project, email).map_err(|_| NOBODY)?;
    let place = signup::home(realm).map_err(|_| NOBODY)?;
    let identity = fresh(app, provider, said, new_id(&*app.clock));
    let new = NewAccount {
        email: email.to_owned(),
        password_hash: None,
        names: said.names.clone(),
        place,
        // Who proved an address once may not have it any more, and it would make them a member of the tenant whose it is. A public
        // provider's is nobody's but the person's; what a project's providers say of that is proven, as they are its staff's choice.
        proven: vouched || (provider.tenant_id.is_none() && is_public(app, email)),
        identity: Some(identity.clone()),
        passkey: None,
        id: identity.user_id,
    };
    signup::make(app, context, &realm.project, new, None).await?;
    Ok(identity)
}

fn is_public(app: &App, email: &str) -> bool {
    domain_of(email).is_some_and(|domain| email_domains::is_public(app, &domain))
}

/// An identity to be made.
pub(super) fn fresh(app: &App, provider: &IdentityProvider, said: &Said, user: UserId) -> FederatedIdentity {
    FederatedIdentity {
        id: new_id(&*app.clock),
        project_id: provider.project_id,
        tenant_id: provider.tenant_id,
        provider_id: provider.id,
        subject: said.subject.clone(),
        user_id: user,
        email_at_link: said.email.clone(),
        linked_at: app.now(),
        last_used_at: None,
    }
}

/// What the audit trail is told of an identity.
pub(super) fn told(happened: &str, realm: &Realm, provider: &IdentityProvider, user: &User) -> AuditEntry {
    AuditEntry {
        action: happened.into(),
        crud: Crud::U,
        target: Target { kind: "user".into(), id: user.id.to_string(), name: user.display_name() },
        project_id: Some(realm.project.id),
        tenant_id: realm.tenant,
        is_failure: false,
        fields: json!({ "provider": provider.key, "provider_id": provider.id }),
    }
}
