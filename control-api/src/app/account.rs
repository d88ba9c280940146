//! The end of one's own account: asked for, waited for, done; and who signs in meanwhile, or shows the token that was given for that,
//! keeps it. Before that, all that is known of one can be had ([`super::export`]).

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageUsers};
use domain::{
    ProjectId, Secret, Timestamp, UserId,
    audit::Origin,
    model::{OneTimeToken, Project, ProjectKind, TokenKind, User, UserStatus},
};
use serde_json::json;
use store::{Audited, SessionTx, read::*};
use tokio::time::MissedTickBehavior;

use super::{
    identity_providers,
    letters::{self, oneself, told},
    links, own_password, role_bindings,
    tokens::{hash, random_token},
};
use crate::{
    App,
    caller::{Principal, Site},
    context::RequestContext,
    error::AppError,
    mail::letter::{Letter, LetterKind},
    problem,
    rates::Rate,
};

/// Accounts that are deleted at once.
const AT_ONCE: u32 = 50;

/// After how long one that could not be deleted is tried again.
const AGAIN: Duration = Duration::from_secs(3600);

/// An account that waits to be deleted.
#[derive(Debug)]
pub struct Deletion {
    /// When it will be.
    pub due: Timestamp,
    /// Keeps it until then.
    pub token: Secret<String>,
}

/// Puts the caller's account on hold until it is deleted. Every session ends; signing in cancels it, and so does the token, which
/// the letter holds, too.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`]; [`AppError::Conflict`] (`last_admin`) for who is a tenant's last
/// administrator, (`user_is_break_glass`).
pub async fn request_deletion(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    password: Option<Secret<String>>,
) -> Result<Deletion, AppError> {
    let (project, user) = own_password::own(app, principal).await?;
    own_password::sure(app, context, principal, (&project, &user), password).await?;
    let due = app.now() + app.config.identity.deletion_grace.get();
    let token = random_token()?;
    let kept = OneTimeToken {
        hash: hash(token.expose()),
        project_id: project.id,
        kind: TokenKind::Deletion,
        user_id: Some(user.id),
        email: user.email.clone().unwrap_or_default(),
        payload: json!({}),
        expires_at: due,
    };
    let written = user.email.as_deref().filter(|_| user.email_verified_at.is_some() && app.mail_ready().is_ok());
    let notice = match written {
        Some(email) => {
            let own = Some(principal.tenant).filter(|_| project.kind == ProjectKind::Dedicated);
            let url = links::link(app, &project, own, "/account/keep", &token).await?;
            let letter = Letter::new(LetterKind::AccountDeletion, email).with("due", due.to_string());
            Some(letter.with("url", url.expose()).event(app, project.id, None)?)
        }
        None => None,
    };
    let (kept, notice) = (&kept, &notice);
    let places: Vec<Site> = app
        .store
        .memberships_of_user(user.id)
        .await?
        .into_iter()
        .map(|it| Site { project: it.project_id, tenant: it.tenant_id })
        .collect();
    let by = principal.caller.own_account();
    let (by, places, project, id) = (&by, &places, &project, user.id);
    let held = app.store.write(by, app.now(), |tx| async move {
        let mut administered = Vec::new();
        for site in places {
            administered.push((*site, role_bindings::administered(&tx, *site).await?));
        }
        let change = tx.begin_account_deletion(by, id, due).await?;
        for (site, before) in administered {
            if before && !role_bindings::administered(&tx, site).await? {
                let detail = "a tenant would be left without an administrator".to_owned();
                return Err(AppError::Conflict { code: "last_admin", detail });
            }
        }
        tx.insert_one_time_token(kept).await?;
        if let Some(notice) = notice {
            tx.leave(notice).await?;
        }
        let entry =
            told("account_deletion_requested", project, Some(principal.tenant), change.peek(), json!({ "due": due }));
        Ok::<_, AppError>(tx.audit(entry, change).await?.map(|_| ()))
    });
    held.await?;
    Ok(Deletion { due, token })
}

/// Keeps an account that waits to be deleted, by the token that was given for that. It signs nobody in.
///
/// # Errors
/// [`AppError::LinkInvalid`] for a token that is not good, whyever.
pub async fn cancel_deletion(app: &App, context: &RequestContext, token: &Secret<String>) -> Result<(), AppError> {
    let realm = letters::place(app, context, Rate::Verify).await?;
    let (project, shown) = (&realm.project, hash(token.expose()));
    let cancelled = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let used = tx.use_one_time_token(TokenKind::Deletion, shown).await?;
            let used = used.filter(|used| used.project_id == project.id).and_then(|used| used.user_id);
            let user = tx.user(used.ok_or(AppError::LinkInvalid)?).await?.ok_or(AppError::LinkInvalid)?;
            if user.status != UserStatus::PendingDeletion {
                return Err(AppError::LinkInvalid);
            }
            back(&tx, project, &origin, user).await.map(drop)
        }
    });
    cancelled.await
}

/// An account as it will be once its holder has signed in: one that waits to be deleted waits no more.
pub(super) fn if_back(user: &User) -> User {
    let status = if user.status == UserStatus::PendingDeletion { UserStatus::Active } else { user.status };
    User { status, ..user.clone() }
}

/// Trails in which it stands that an account is kept: those of the oldest memberships. It is one transaction, by whoever signs in.
const MOST_TRAILS: usize = 100;

/// Takes an account off hold, if it waits to be deleted, in the transaction of what shows that it is kept: with a sign-in that is
/// refused after all it stays as it was.
///
/// # Errors
/// [`AppError::PrincipalInactive`] for one that is due already.
pub(super) async fn back(tx: &SessionTx, project: &Project, origin: &Origin, user: User) -> Result<User, AppError> {
    if user.status != UserStatus::PendingDeletion {
        return Ok(user);
    }
    let back = tx.cancel_account_deletion(user.id).await?.ok_or(AppError::PrincipalInactive)?;
    tx.drop_one_time_tokens(back.id, TokenKind::Deletion).await?;
    // They are back in each of their tenants; the trail of the project has it where there is none.
    let memberships = tx.memberships_of_user(back.id).await?.into_iter().take(MOST_TRAILS);
    let tenants: Vec<_> = memberships.map(|it| Some(it.tenant_id)).collect();
    for tenant in if tenants.is_empty() { vec![None] } else { tenants } {
        let entry = told("account_deletion_cancelled", project, tenant, &back, json!({}));
        tx.record(&oneself(&back), origin, &entry).await?;
    }
    Ok(back)
}

/// Removes what has expired, and deletes accounts that are due, again and again. Never ends.
pub(crate) async fn run(app: App) {
    let mut due = tokio::time::interval(app.config.identity.sweep_every.get());
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Err(error) = sweep(&app).await {
            tracing::error!(error = problem::chain(&error), "what has expired was not removed");
        }
        if let Err(error) = delete_due(&app).await {
            tracing::error!(error = problem::chain(&error), "accounts that are due were not deleted");
        }
    }
}

/// Removes one-time secrets that have expired, and requests for help that are old; answers how many.
///
/// # Errors
/// Of the database.
pub async fn sweep(app: &App) -> Result<u64, AppError> {
    let config = &app.config.identity;
    let before = app.now() - config.sweep_grace.get();
    let mut swept = 0;
    loop {
        let some = app.store.write_session(Scope::Platform, app.now(), |tx| async move {
            Ok::<_, AppError>(tx.sweep_one_time(before, config.sweep_rows).await?)
        });
        match some.await? {
            0 => break,
            more => swept += more,
        }
    }
    loop {
        let some = app.store.write_session(Scope::Platform, app.now(), |tx| async move {
            Ok::<_, AppError>(tx.sweep_help_requests(config.sweep_rows).await?)
        });
        match some.await? {
            0 => break,
            more => swept += more,
        }
    }
    identity_providers::sweep_strays(app).await?;
    loop {
        let some = app.store.sweep_oauth(before, config.sweep_rows).await?
            + app.store.sweep_deleted_providers(app.now(), config.sweep_rows).await?;
        match some {
            0 => return Ok(swept),
            more => swept += more,
        }
    }
}

/// Deletes accounts that are due; answers how many. One that cannot be deleted holds up no other.
///
/// # Errors
/// Of the database.
pub async fn delete_due(app: &App) -> Result<usize, AppError> {
    let mut deleted = 0;
    for (id, project) in app.store.due_account_deletions(app.now(), AT_ONCE).await? {
        match delete(app, id, project).await {
            Ok(()) => deleted += 1,
            Err(error) => {
                tracing::error!(user.id = %id, error = problem::chain(&error), "an account was not deleted; it is tried again");
                let until = app.now() + AGAIN;
                let put_off = app.store.write_session(Scope::Project(project), app.now(), |tx| async move {
                    Ok::<_, AppError>(tx.put_off_account_deletion(id, until).await?)
                });
                put_off.await?;
            }
        }
    }
    Ok(deleted)
}

async fn delete(app: &App, id: UserId, project: ProjectId) -> Result<(), AppError> {
    let by = &Authorized::<ManageUsers>::system("account_deletion");
    let deleted = app.store.write(by, app.now(), |tx| async move {
        // Whoever came back meanwhile stays.
        let due = tx.account_deletion(id).await?.is_some_and(|at| at <= app.now());
        let waits = tx.user(id).await?.is_some_and(|user| user.status == UserStatus::PendingDeletion);
        if !due || !waits {
            return Ok::<_, AppError>(Audited::unchanged(()));
        }
        Ok(tx.done("deleted", tx.delete_user(by, id).await?).await?.map(|_| ()))
    });
    deleted.await?;
    tracing::info!(user.id = %id, project.id = %project, "an account was deleted at its holder's wish");
    Ok(())
}
