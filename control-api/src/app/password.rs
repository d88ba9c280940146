//! Changing a one-time password: it opens no session, so whoever has it proves that they do, and says what follows it.

use authz::{Caller, Context, PermissionSet};
use domain::{
    Secret,
    audit::{Actor, ActorKind},
    model::UserStatus,
};
use store::LoginSubject;

use super::login::{self, Credentials};
use crate::{
    App,
    context::RequestContext,
    error::{AppError, FieldError},
    passwords,
};

/// Replaces a one-time password by one of the user's own. Guesses are counted and locked as at any sign-in; of two that
/// show one password at once, one wins.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`], [`AppError::PrincipalInactive`]; [`AppError::Conflict`]
/// (`password_expired`) for one that nobody changed in time, (`password_change_not_due`) for a password that is in use; [`AppError::Invalid`] for a new one that is weak or the same.
pub async fn complete_password(
    app: &App,
    context: &RequestContext,
    shown: Credentials,
    new: Secret<String>,
) -> Result<(), AppError> {
    let (project, tenant, user) = login::known(app, context, &shown).await?;
    if user.status != UserStatus::Active {
        return Err(AppError::PrincipalInactive);
    }
    let life = app.config.sessions.one_time_password.get();
    if user.must_change_password && user.password_changed_at.is_none_or(|at| at + life <= app.now()) {
        let detail = "the one-time password has expired: ask for another".to_owned();
        return Err(AppError::Conflict { code: "password_expired", detail });
    }
    if !user.must_change_password {
        let detail = "the password is in use: it is changed by who has signed in".to_owned();
        return Err(AppError::Conflict { code: "password_change_not_due", detail });
    }
    passwords::acceptable(new.expose(), "/new_password").map_err(|error| AppError::Invalid(vec![error]))?;
    if new == shown.password {
        let same = FieldError::new("/new_password", "password_same", "is the one-time password");
        return Err(AppError::Invalid(vec![same]));
    }
    let old = user.password_hash.clone().ok_or(AppError::CredentialsInvalid)?;
    let hash = app.passwords.hash(new).await?;
    let oneself = Caller {
        actor: Actor { kind: ActorKind::User, id: Some(user.id.uuid()), name: user.display_name() },
        origin: context.origin(),
        context: Context::Tenant(project.id, tenant.id),
        permissions: PermissionSet::default(),
        is_admin: false,
        is_super_admin: false,
    };
    let by = &oneself.oneself();
    let (old, hash, id) = (&old, &hash, user.id);
    let written = app.store.write(by, app.now(), |tx| async move {
        match tx.complete_password(by, id, old, hash).await? {
            Some(change) => Ok(tx.done("password_changed", change).await?.map(|_| ())),
            // Another was first.
            None => Err(AppError::CredentialsInvalid),
        }
    });
    written.await?;
    let cleared = app.store.write_session(authz::Scope::Project(project.id), app.now(), |tx| async move {
        for subject in [LoginSubject::User(id), LoginSubject::Direct(id)] {
            tx.clear_login_failures(project.id, &subject).await?;
        }
        Ok::<_, AppError>(())
    });
    cleared.await
}
