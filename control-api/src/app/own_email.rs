//! One's own address: proven by who reads it, changed by who knows the password and reads the new one.
//!
//! Who first proves the address of an account is the first to be known as its holder. Whatever was set before, by whoever made
//! the account or guessed that somebody would come, is void then: password, second factors, sessions. It stays for who shows the
//! password beside: then both are the same.

use authz::Scope;
use domain::{
    Secret,
    model::{OneTimeToken, TokenKind, User, fold},
};
use serde_json::json;
use store::{SessionTx, read::*};

use super::{
    factor_notices,
    letters::{self, About, Link, oneself, told},
    own_password, signup,
    site::Realm,
    tokens::hash,
};
use crate::{
    App,
    caller::Principal,
    context::RequestContext,
    error::AppError,
    mail::letter::{Letter, LetterKind},
    rates::Rate,
};

/// Sends a link to the caller's own address that proves it.
///
/// # Errors
/// [`AppError::Conflict`] (`email_missing`, `email_verified`, `mail_unavailable`); [`AppError::SendCooldown`],
/// [`AppError::RateLimited`].
pub async fn send_verification(app: &App, context: &RequestContext, principal: &Principal) -> Result<(), AppError> {
    app.admit_address(Rate::Verify, context).await?;
    app.admit_account(Rate::Verify, context, (principal.project, &principal.user.to_string())).await?;
    app.mail_ready()?;
    let (project, user) = own_password::own(app, principal).await?;
    let conflict = |code, detail: &str| Err(AppError::Conflict { code, detail: detail.to_owned() });
    let Some(email) = user.email.as_deref() else { return conflict("email_missing", "the account has no address") };
    if user.email_verified_at.is_some() {
        return conflict("email_verified", "the address is proven");
    }
    let realm = Realm { project, tenant: Some(principal.tenant) };
    let about = About {
        kind: TokenKind::Verify,
        letter: LetterKind::EmailVerification,
        page: "/auth/email/verify",
        user: Some(user.id),
        email,
        payload: json!({}),
        life: app.config.identity.verification.get(),
    };
    let link = Link::new(app, &realm, about).await?;
    let (link, project) = (&link, &realm.project);
    let sent = app.store.write_session(Scope::Project(project.id), app.now(), |tx| async move {
        letters::turn(app, &tx, (project.id, LetterKind::EmailVerification), email).await?;
        link.send(&tx).await
    });
    sent.await
}

/// Proves an address by the link that was sent to it, or makes the account that it was sent for.
///
/// # Errors
/// [`AppError::LinkInvalid`]; [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`] for a wrong password beside, with which the
/// link is not used up.
pub async fn verify_email(
    app: &App,
    context: &RequestContext,
    token: &Secret<String>,
    password: Option<Secret<String>>,
) -> Result<(), AppError> {
    let realm = letters::place(app, context, Rate::Verify).await?;
    let shown = hash(token.expose());
    let good = |found: &OneTimeToken| found.project_id == realm.project.id && found.expires_at > app.now();
    if let Some(found) = app.store.one_time_token(TokenKind::Signup, shown).await?.filter(good) {
        return signup::finish_signup(app, &found, (&realm, context), password).await;
    }
    let found = app.store.one_time_token(TokenKind::Verify, shown).await?.filter(good);
    let id = found.and_then(|it| it.user_id).ok_or(AppError::LinkInvalid)?;
    let user = app.store.user(id).await?.filter(letters::may_be_written_to).ok_or(AppError::LinkInvalid)?;
    let kept = password.is_some();
    if let Some(password) = password {
        own_password::confirm(app, context, &realm.project, &user, password).await?;
    }
    let (realm, user) = (&realm, &user);
    let proven = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let used = tx.use_one_time_token(TokenKind::Verify, shown).await?.ok_or(AppError::LinkInvalid)?;
            let again = tx.user(id).await?.ok_or(AppError::LinkInvalid)?;
            // The password that was shown is the account's still.
            if kept && again.password_hash != user.password_hash {
                return Err(AppError::CredentialsInvalid);
            }
            if again.email_verified_at.is_some() && again.email.as_deref().map(fold) == Some(fold(&used.email)) {
                return Ok(());
            }
            let proven = prove(app, &tx, (realm, &origin), &again, &used.email, kept).await?;
            proven.map(|_| ()).ok_or(AppError::LinkInvalid)
        }
    });
    proven.await
}

/// Notes that an address was shown to be read, in the transaction of what showed it. None when it was before, or the account has another.
pub(super) async fn prove(
    app: &App,
    tx: &SessionTx,
    (realm, origin): (&Realm, &domain::audit::Origin),
    user: &User,
    email: &str,
    kept: bool,
) -> Result<Option<User>, AppError> {
    let Some(proven) = tx.prove_email(user.id, email, kept).await? else { return Ok(None) };
    let had_password = user.password_hash.is_some();
    if had_password && !kept {
        let letter = |email: &str| Letter::new(LetterKind::PasswordVoided, email);
        if let Some(letter) = factor_notices::to_holder(app, &realm.project, &proven, letter)? {
            tx.leave(&letter).await?;
        }
    }
    let fields = json!({ "voided": !kept, "had_password": had_password });
    let entry = told("email_verified", &realm.project, realm.tenant, &proven, fields);
    tx.record(&oneself(&proven), origin, &entry).await?;
    Ok(Some(proven))
}

/// Sends a link to a new address that makes it the caller's, and a notice to the present one. The answer is the same whether or not
/// somebody else has the new one.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`] for the wrong password; [`AppError::Conflict`]
/// (`mail_unavailable`, `email_same`); [`AppError::SendCooldown`], [`AppError::RateLimited`].
pub async fn request_email_change(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    (email, password): (&str, Secret<String>),
) -> Result<(), AppError> {
    app.admit_address(Rate::Verify, context).await?;
    app.admit_account(Rate::Verify, context, (principal.project, &principal.user.to_string())).await?;
    app.mail_ready()?;
    let email = letters::address(email)?;
    let (project, user) = own_password::own(app, principal).await?;
    own_password::confirm(app, context, &project, &user, password).await?;
    if user.email.as_deref().map(fold) == Some(fold(email)) {
        return Err(AppError::Conflict { code: "email_same", detail: "it is the account's address".to_owned() });
    }
    let realm = Realm { project, tenant: Some(principal.tenant) };
    let about = About {
        kind: TokenKind::EmailChange,
        letter: LetterKind::EmailChange,
        page: "/auth/email/change",
        user: Some(user.id),
        email,
        payload: json!({ "from": user.email }),
        life: app.config.identity.verification.get(),
    };
    let link = Link::new(app, &realm, about).await?;
    let project = &realm.project;
    let notice = |email: &str| Letter::new(LetterKind::EmailChangeNotice, email).event(app, project.id, None);
    let notice = user.email.as_deref().map(notice).transpose()?;
    let entry = told("email_change_requested", project, realm.tenant, &user, json!({}));
    let (link, notice, entry, actor, id) = (&link, &notice, &entry, &principal.caller.actor, user.id);
    let sent = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            letters::turn(app, &tx, (project.id, LetterKind::EmailChange), email).await?;
            tx.drop_one_time_tokens(id, TokenKind::EmailChange).await?;
            if tx.user_by_login(project.id, email).await?.is_none() && letters::strangers_turn(app, &tx, email).await? {
                link.send(&tx).await?;
            }
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            Ok::<_, AppError>(tx.record(actor, &origin, entry).await?)
        }
    });
    sent.await
}

/// Gives an account its new address, by the link that was sent there. Every session ends.
///
/// # Errors
/// [`AppError::LinkInvalid`] for a link that is not good, also because the account has another address since, or somebody else this one.
pub async fn confirm_email_change(app: &App, context: &RequestContext, token: &Secret<String>) -> Result<(), AppError> {
    let realm = letters::place(app, context, Rate::Verify).await?;
    let (shown, realm) = (hash(token.expose()), &realm);
    let found = app.store.one_time_token(TokenKind::EmailChange, shown).await?;
    let found = found.filter(|it| it.project_id == realm.project.id).ok_or(AppError::LinkInvalid)?;
    let from = found.payload.get("from").and_then(serde_json::Value::as_str).map(str::to_owned);
    let notice =
        from.as_deref().map(|from| Letter::new(LetterKind::EmailChanged, from).event(app, realm.project.id, None));
    let (notice, from) = (&notice.transpose()?, &from);
    let changed = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let used = tx.use_one_time_token(TokenKind::EmailChange, shown).await?.ok_or(AppError::LinkInvalid)?;
            let id = used.user_id.ok_or(AppError::LinkInvalid)?;
            let before = tx.user(id).await?.filter(letters::may_be_written_to).ok_or(AppError::LinkInvalid)?;
            if before.email != *from {
                return Err(AppError::LinkInvalid);
            }
            let changed = tx.change_email(id, &used.email).await.map_err(|error| match error {
                // Somebody else was given it a moment ago.
                taken if taken.is_conflict("users", "email_fold") => AppError::LinkInvalid,
                other => other.into(),
            })?;
            let changed = changed.ok_or(AppError::LinkInvalid)?;
            for kind in [TokenKind::Reset, TokenKind::Verify, TokenKind::Magic] {
                tx.drop_one_time_tokens(id, kind).await?;
            }
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            let entry = told("email_changed", &realm.project, realm.tenant, &changed, json!({}));
            Ok::<_, AppError>(tx.record(&oneself(&changed), &origin, &entry).await?)
        }
    });
    changed.await
}
