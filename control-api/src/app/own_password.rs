//! One's own password: changed by who knows it, replaced by who reads the proven address. Either ends every session.

use std::time::Duration;

use authz::Scope;
use domain::{
    Secret,
    model::{Project, TokenKind, User},
};
use serde_json::json;
use store::{Replaced, read::*};

use super::{
    factor_notices::to_holder,
    letters::{self, About, Link, oneself, told},
    login, login_policies, oauth_login,
    tokens::hash,
    users::forget_failures,
};
use crate::{
    App,
    caller::Principal,
    context::RequestContext,
    error::AppError,
    mail::letter::{Letter, LetterKind},
    rates::Rate,
};

/// For so long a sign-in stands for a password that there is not.
const RECENT: Duration = Duration::from_secs(300);

/// Makes sure that who is signed in knows the account's password. Guesses are counted and locked as at signing in.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`].
pub(super) async fn confirm(
    app: &App,
    context: &RequestContext,
    project: &Project,
    user: &User,
    password: Secret<String>,
) -> Result<(), AppError> {
    let subject = login::subject(context, user);
    let _turn = login::turn(app, project, &subject).await?;
    let known = user.password_hash.clone().filter(|_| !user.is_break_glass);
    if app.passwords.verify(password, known).await? {
        return Ok(());
    }
    login::fail(app, context, project, &subject).await?;
    Err(AppError::CredentialsInvalid)
}

/// The same for what cannot be taken back. Who has no password signed in a moment ago.
///
/// # Errors
/// As [`confirm`]; [`AppError::CredentialsInvalid`] without a password where there is one, and for who signed in too long ago.
pub(super) async fn sure(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    (project, user): (&Project, &User),
    password: Option<Secret<String>>,
) -> Result<(), AppError> {
    match password {
        Some(password) => confirm(app, context, project, user, password).await,
        None if user.password_hash.is_none() => {
            let session = app.store.session(principal.session).await?.ok_or(AppError::TokenRevoked)?;
            oauth_login::speaks_for_the_account(app, &session).await?;
            if session.is_recent(app.now(), RECENT) { Ok(()) } else { Err(AppError::CredentialsInvalid) }
        }
        None => Err(AppError::field("/password", "required", "the account has one")),
    }
}

/// The caller's account and project.
pub(super) async fn own(app: &App, principal: &Principal) -> Result<(Project, User), AppError> {
    let user = app.store.user(principal.user).await?.ok_or(AppError::PrincipalInactive)?;
    let project = app.store.project(principal.project).await?.ok_or(AppError::PrincipalInactive)?;
    Ok((project, user))
}

/// Changes the caller's password. Every session ends, the one that asks too.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`] for the wrong present one; [`AppError::Invalid`] for a new one that the
/// policy refuses; [`AppError::Conflict`] (`password_too_young`).
pub async fn change_password(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    (current, new): (Secret<String>, Secret<String>),
) -> Result<(), AppError> {
    let (project, user) = own(app, principal).await?;
    confirm(app, context, &project, &user, current).await?;
    let policy = login_policies::passwords_of_user(app, &user).await?;
    login_policies::old_enough(app, &user, &policy)?;
    login_policies::judge_password(app, &user, &policy, &new, "/new_password").await?;
    let hash = app.passwords.hash(new).await?;
    let known = user.password_hash.clone().ok_or(AppError::CredentialsInvalid)?;
    let notice = notice(app, &project, &user)?;
    let entry = told("password_changed", &project, Some(principal.tenant), &user, json!({}));
    let (hash, known, notice, entry, actor) = (&hash, &known, &notice, &entry, &principal.caller.actor);
    let changed = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let (origin, id) = (context.origin(), user.id);
        async move {
            // Another may have been first.
            let changed = tx.replace_password(id, Replaced::Known(known), hash).await?;
            changed.ok_or(AppError::CredentialsInvalid)?;
            tx.drop_one_time_tokens(id, TokenKind::Reset).await?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            Ok::<_, AppError>(tx.record(actor, &origin, entry).await?)
        }
    });
    changed.await?;
    forget_failures(app, project.id, user.id).await
}

/// To who reads the address: that the password is another.
fn notice(app: &App, project: &Project, user: &User) -> Result<Option<domain::outbox::NewOutboxEvent>, AppError> {
    to_holder(app, project, user, |email| Letter::new(LetterKind::PasswordChanged, email))
}

/// Sends a link to choose a new password, to an account's proven address. The answer is the same whoever has it.
///
/// # Errors
/// [`AppError::SendCooldown`], [`AppError::RateLimited`]; [`AppError::Conflict`] (`mail_unavailable`).
pub async fn request_password_reset(app: &App, context: &RequestContext, email: &str) -> Result<(), AppError> {
    let realm = letters::place(app, context, Rate::Reset).await?;
    enabled(app)?;
    app.mail_ready()?;
    let email = letters::address(email)?;
    app.admit_account(Rate::Reset, context, (realm.project.id, email)).await?;
    let user = letters::reader(&app.store, realm.project.id, email).await?;
    let about = |user: Option<&User>| About {
        kind: TokenKind::Reset,
        letter: LetterKind::PasswordReset,
        page: "/auth/password/reset",
        user: user.map(|user| user.id),
        email,
        payload: json!({}),
        life: app.config.identity.reset.get(),
    };
    // Made whether or not it is sent.
    let link = Link::new(app, &realm, about(user.as_ref())).await?;
    let user = user.filter(|user| user.email_verified_at.is_some());
    let (link, user, project) = (&link, &user, &realm.project);
    let sent = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            letters::turn(app, &tx, (project.id, LetterKind::PasswordReset), email).await?;
            if let Some(user) = user {
                link.send(&tx).await?;
                let entry = told("password_reset_requested", project, realm.tenant, user, json!({}));
                tx.record(&letters::nobody(), &origin, &entry).await?;
            }
            Ok::<_, AppError>(())
        }
    });
    sent.await
}

/// Sets a new password by a link that was sent. A second factor stays: it is asked for at the next sign-in.
///
/// # Errors
/// [`AppError::LinkInvalid`] for a link that is not good, whyever; [`AppError::Invalid`] for a password that the policy refuses, with
/// which the link is not used up.
pub async fn confirm_password_reset(
    app: &App,
    context: &RequestContext,
    token: &Secret<String>,
    new: Secret<String>,
) -> Result<(), AppError> {
    let realm = letters::place(app, context, Rate::Reset).await?;
    enabled(app)?;
    let (shown, project) = (hash(token.expose()), &realm.project);
    let found = app.store.one_time_token(TokenKind::Reset, shown).await?;
    let found = found.filter(|it| it.project_id == project.id && it.expires_at > app.now());
    let id = found.and_then(|it| it.user_id).ok_or(AppError::LinkInvalid)?;
    let user = app.store.user(id).await?.filter(letters::may_be_written_to).ok_or(AppError::LinkInvalid)?;
    let policy = login_policies::passwords_of_user(app, &user).await?;
    login_policies::judge_password(app, &user, &policy, &new, "/new_password").await?;
    let new = app.passwords.hash(new).await?;
    let notice = notice(app, project, &user)?;
    let (new, notice) = (&new, &notice);
    let reset = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            // First of all: who loses the race has changed nothing.
            let used = tx.use_one_time_token(TokenKind::Reset, shown).await?.ok_or(AppError::LinkInvalid)?;
            let user = tx.replace_password(id, Replaced::Any, new).await?.ok_or(AppError::LinkInvalid)?;
            // The address may be another's by now, or the account switched off.
            let same = user.email.as_deref().map(domain::model::fold) == Some(domain::model::fold(&used.email));
            if !same || user.email_verified_at.is_none() || !letters::may_be_written_to(&user) {
                return Err(AppError::LinkInvalid);
            }
            tx.drop_one_time_tokens(id, TokenKind::Reset).await?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            let entry = told("password_reset", project, realm.tenant, &user, json!({}));
            Ok(tx.record(&oneself(&user), &origin, &entry).await?)
        }
    });
    reset.await?;
    forget_failures(app, project.id, id).await
}

fn enabled(app: &App) -> Result<(), AppError> {
    if app.config.identity.password_reset {
        return Ok(());
    }
    Err(AppError::Restricted { code: "password_reset_disabled", detail: "an administrator sets new passwords here" })
}
