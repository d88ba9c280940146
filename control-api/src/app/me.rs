//! One's own account and sessions.
//!
//! What shows stays in the tenant (and context) the caller's token is for; what restricts reaches further: signing out
//! all other sessions, or all, ends them in every tenant of the user's.

use authz::Scope;
use domain::{
    PhoneNumber, Secret, SessionId, Timestamp,
    audit::{AuditEntry, Crud, Target},
    model::{Session, User, Version},
};
use serde_json::json;
use store::{
    Commit, StoreError,
    list::{Selection, SessionList, Slice},
    read::*,
};

use super::{login::event, own_password, users};
use crate::{
    App,
    caller::{Principal, Site},
    context::RequestContext,
    error::AppError,
};

/// The caller's own user.
pub async fn read_me(app: &App, principal: &Principal) -> Result<User, AppError> {
    app.store.user(principal.user).await?.ok_or(AppError::PrincipalInactive)
}

/// The number that the caller showed to read, if any, and when.
pub async fn my_phone(app: &App, principal: &Principal) -> Result<Option<(PhoneNumber, Timestamp)>, AppError> {
    Ok(app.store.phone_of(principal.user).await?)
}

/// What one changes of oneself. How one signs in (user name, email) is an administrator's to change.
#[derive(Clone, Debug, Default)]
pub struct MyEdit {
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Phone.
    pub phone: Option<String>,
}

/// Changes the caller's own profile.
pub async fn update_me(
    app: &App,
    principal: &Principal,
    version: Option<Version>,
    edit: MyEdit,
) -> Result<(User, Commit), AppError> {
    users::personal(edit.first_name.as_deref(), edit.last_name.as_deref(), edit.phone.as_deref())?;
    let by = principal.caller.oneself();
    app.store
        .write(&by, app.now(), |tx| {
            let (by, edit) = (by.clone(), edit.clone());
            async move {
                let mut user = tx.user(principal.user).await?.ok_or(AppError::PrincipalInactive)?;
                user.version = version.unwrap_or(user.version);
                user.first_name = edit.first_name.unwrap_or(user.first_name);
                user.last_name = edit.last_name.unwrap_or(user.last_name);
                user.phone = edit.phone.or(user.phone);
                let change = tx.update_own_profile(&by, user).await?;
                let entry = AuditEntry { tenant_id: Some(principal.tenant), ..AuditEntry::updated(change.peek()) };
                Ok(tx.audit(entry, change).await?)
            }
        })
        .await
}

/// The caller's open sessions in its tenant.
pub async fn list_my_sessions(
    app: &App,
    principal: &Principal,
    asked: &Selection<SessionList>,
) -> Result<Slice<Session>, AppError> {
    let store = app.store.within(site(principal).scope());
    Ok(store.list((principal.tenant, principal.user, app.now()), asked).await?)
}

/// Ends one of the caller's own sessions in its tenant. Anybody else's does not exist.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn end_my_session(app: &App, principal: &Principal, sid: SessionId) -> Result<(), AppError> {
    let (actor, origin) = (&principal.caller.actor, &principal.caller.origin);
    let ended = app.store.write_session(site(principal).scope(), app.now(), |tx| async move {
        let own = |session: &Session| session.user_id == principal.user && session.tenant_id == principal.tenant;
        tx.session(sid).await?.filter(own).ok_or(AppError::NotFound("session"))?;
        let ended = tx.end_session(sid, "ended_by_user").await?.ok_or(AppError::NotFound("session"))?;
        tx.record(actor, origin, &event("session_revoked", Crud::D, &ended)).await?;
        Ok::<_, AppError>(())
    });
    ended.await
}

/// Ends all of the caller's sessions but the one it calls from, in every tenant; answers how many were open.
///
/// # Errors
/// [`AppError::TokenRevoked`] when the session it calls from was ended meanwhile.
pub async fn end_my_other_sessions(app: &App, principal: &Principal) -> Result<usize, AppError> {
    let (actor, origin) = (&principal.caller.actor, &principal.caller.origin);
    let ended = app.store.write_session(Scope::Project(principal.project), app.now(), |tx| async move {
        let ended = tx.end_other_sessions(principal.user, principal.session, "ended_by_user").await;
        let ended = ended.map_err(|error| match error {
            StoreError::NotFound { .. } => AppError::TokenRevoked,
            other => other.into(),
        })?;
        for session in &ended {
            tx.record(actor, origin, &event("session_revoked", Crud::D, session)).await?;
        }
        Ok::<_, AppError>(ended.len())
    });
    ended.await
}

/// Refuses every token and session the caller's user was given until now, in every tenant. Whoever found a session open cannot.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`] for the wrong password.
pub async fn sign_me_out_everywhere(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    password: Option<Secret<String>>,
) -> Result<(), AppError> {
    let (project, user) = own_password::own(app, principal).await?;
    own_password::sure(app, context, principal, (&project, &user), password).await?;
    let (actor, origin) = (&principal.caller.actor, &principal.caller.origin);
    let entry = AuditEntry {
        action: "signed_out_everywhere".into(),
        crud: Crud::D,
        target: Target { kind: "user".into(), id: principal.user.to_string(), name: actor.name.clone() },
        project_id: Some(principal.project),
        tenant_id: Some(principal.tenant),
        is_failure: false,
        fields: json!({ "session_id": principal.session }),
    };
    let entry = &entry;
    let ended = app.store.write_session(Scope::Project(principal.project), app.now(), |tx| async move {
        tx.revoke_all_sessions(principal.user).await?;
        tx.record(actor, origin, entry).await?;
        Ok::<_, AppError>(())
    });
    ended.await
}

/// Where the caller acts: for staff the platform's own tenant.
const fn site(principal: &Principal) -> Site {
    Site { project: principal.project, tenant: principal.tenant }
}
