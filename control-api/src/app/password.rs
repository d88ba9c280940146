//! Changing a one-time password: it opens no session, so whoever has it proves that they do, and says what follows it.

use authz::{Caller, Context, PermissionSet, Scope};
use domain::{
    Secret, TenantId,
    audit::{Actor, ActorKind},
    model::{Project, User, UserStatus},
};
use serde_json::json;
use store::Replaced;

use super::{
    letters::{oneself, told},
    login::{self, Credentials},
    login_policies,
    users::forget_failures,
};
use crate::{App, context::RequestContext, error::AppError};

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
    let overdue = login_policies::is_overdue(app, &user).await?;
    if user.must_change_password && user.password_changed_at.is_none_or(|at| at + life <= app.now()) {
        let detail = "the one-time password has expired: ask for another".to_owned();
        return Err(AppError::Conflict { code: "password_expired", detail });
    }
    if !user.must_change_password && !overdue {
        let detail = "the password is in use: it is changed by who has signed in".to_owned();
        return Err(AppError::Conflict { code: "password_change_not_due", detail });
    }
    let policy = login_policies::passwords_of_user(app, &user).await?;
    login_policies::judge_password(app, &user, &policy, &new, "/new_password").await?;
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
    if overdue && !user.must_change_password {
        return replace_overdue(app, context, (&project, tenant.id), &user, (old, hash)).await;
    }
    let written = app.store.write(by, app.now(), |tx| async move {
        match tx.complete_password(by, id, old, hash).await? {
            Some(change) => Ok(tx.done("password_changed", change).await?.map(|_| ())),
            // Another was first.
            None => Err(AppError::CredentialsInvalid),
        }
    });
    written.await?;
    forget_failures(app, project.id, id).await
}

/// The same for a password that is older than the policy lets it be. There may be sessions from before: they end.
async fn replace_overdue(
    app: &App,
    context: &RequestContext,
    (project, tenant): (&Project, TenantId),
    user: &User,
    (old, new): (&Secret<String>, &Secret<String>),
) -> Result<(), AppError> {
    let entry = &told("password_changed", project, Some(tenant), user, json!({ "overdue": true }));
    let replaced = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let replaced = tx.replace_password(user.id, Replaced::Known(old), new).await?;
            replaced.ok_or(AppError::CredentialsInvalid)?;
            Ok::<_, AppError>(tx.record(&oneself(user), &origin, entry).await?)
        }
    });
    replaced.await?;
    forget_failures(app, project.id, user.id).await
}
