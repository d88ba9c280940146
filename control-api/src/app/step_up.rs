//! Stepping up: who has signed in proves anew who they are, and their session says so from then on (RFC 9470 §4).
//!
//! It takes what a sign-in takes, the password and, of who has an authenticator, a second factor, and the whole pair (ADR 7).
//! The session stays the one it is; what it says of its user's sign-in is what was shown now. The pair is exchanged for one
//! that says so, and the old access token is refused.

use authz::Scope;
use domain::{
    Secret,
    audit::Crud,
    model::{AuthMethod, Session},
};
use serde_json::json;
use store::{StoreError, read::*};

use super::{
    login::{self, Door, default_unit, event, may_sign_in, roles},
    login_policies,
    second_factor::{SHOWS, ShownFactor, judge},
    sessions::{spend, told},
    sign_in,
    tokens::{Draft, Holder, TokenPair, hash},
};
use crate::{App, caller::Principal, context::RequestContext, error::AppError};

/// What somebody shows who steps up.
#[derive(Debug)]
pub struct Shown {
    /// Password.
    pub password: Secret<String>,
    /// Second factor, of who has one.
    pub factor: Option<ShownFactor>,
    /// The refresh token of the session that asks.
    pub refresh_token: Secret<String>,
}

/// Signs the caller in anew, within the session.
///
/// # Errors
/// As of a sign-in, and of [`super::sessions::refresh`]; [`AppError::Invalid`] (`/code`) without a second factor where there
/// is one.
pub async fn step_up(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    proof: Shown,
) -> Result<TokenPair, AppError> {
    let shown = hash(proof.refresh_token.expose());
    let row = app.store.refresh_token(shown).await?.filter(|row| row.sid == principal.session);
    row.ok_or(AppError::RefreshInvalid)?;
    let session = app.store.session(principal.session).await?.ok_or(AppError::RefreshInvalid)?;
    let project = app.store.project(principal.project).await?.ok_or(AppError::RefreshInvalid)?;
    let tenant = app.store.tenant(principal.tenant).await?.ok_or(AppError::RefreshInvalid)?;
    let user = app.store.user(principal.user).await?.ok_or(AppError::RefreshInvalid)?;
    may_sign_in(&project, &tenant, &user)?;
    let user = login::confirm_password(app, context, &project, user, proof.password).await?;

    let factor = login::factor(context, &user);
    let _turn = login::turn(app, &project, &factor).await?;
    let known = app.store.totp(user.id).await?.filter(|totp| totp.confirmed_at.is_some());
    let second = match (&known, &proof.factor) {
        (None, _) => None,
        (Some(_), None) => return Err(AppError::field("/code", "required", "a second factor is needed")),
        (Some(totp), Some(factor_shown)) => match judge(app, totp, factor_shown)? {
            Some(second) => Some(second),
            None => {
                login::fail(app, context, &project, &factor).await?;
                return Err(AppError::CredentialsInvalid);
            }
        },
    };
    let first = AuthMethod::Password.amr();
    let amr = if second.is_some() { first.and(SHOWS) } else { first };
    let draft = Draft::new(app, &project, session.expires_at).await?;
    let door = if principal.is_system() { Door::System } else { Door::Tenant };
    let holder = Holder {
        user: user.id,
        username: user.username.clone().or_else(|| user.email.clone()),
        project: project.id,
        tenant: tenant.id,
        roles: roles(app, tenant.id, user.id, door).await?,
        unit: default_unit(app, tenant.id, user.id).await?,
    };
    let (now, grace) = (app.now(), app.config.sessions.refresh_grace.get());
    let actor = &principal.caller.actor;
    let (project, tenant, user, draft, holder, second) = (&project, &tenant, &user, &draft, &holder, &second);
    // A replay ends sessions in every tenant of the user's.
    let outcome = app.store.write_session(Scope::Project(project.id), now, |tx| {
        let origin = context.origin();
        async move {
            let generations = tx.generations(project.id, tenant.id, user.id).await?;
            let used = match spend(&tx, shown, grace, actor, &origin).await? {
                Ok(used) => used,
                Err(refused) => return Ok(Err(refused)),
            };
            let unchanged = tx.user(user.id).await?.is_some_and(|again| again.password_hash == user.password_hash);
            let active = unchanged && tx.bindings(tenant.id, user.id).await?.active;
            // What was not asked for may have been confirmed meanwhile.
            let asked = second.is_some() || tx.totp_since(user.id).await?.is_none();
            if !(active && asked && is_current(&used, generations) && used.is_open(now)) {
                // Not `Ok`: the refresh token stays good, as nothing follows it.
                return Err(AppError::RefreshInvalid);
            }
            login_policies::judge_step_up(&tx, tenant.id, amr).await?;
            if let Some(second) = second {
                let entry = sign_in::spend(&tx, tenant, user, second).await?;
                tx.record(actor, &origin, &entry).await?;
            }
            tx.refuse_token(principal.token, principal.token_exp).await?;
            let raised = match tx.raise_session(used.sid, amr, now).await {
                // Signed out since it was read.
                Err(StoreError::NotFound { .. }) => return Err(AppError::RefreshInvalid),
                raised => raised?,
            };
            tx.extend_session(raised.sid, generations, draft.exp).await?;
            tx.replace_refresh(shown, &draft.refresh_row(raised.sid, raised.expires_at)).await?;
            for subject in [login::subject(context, user), login::factor(context, user)] {
                tx.clear_login_failures(project.id, &subject).await?;
            }
            let mut entry = event("session_stepped_up", Crud::U, &raised);
            entry.fields = json!({ "user_id": user.id, "amr": raised.amr });
            tx.record(actor, &origin, &entry).await?;
            draft.sign(&raised, holder, generations).await.map(Ok)
        }
    });
    let outcome = outcome.await;
    if matches!(outcome, Err(AppError::CredentialsInvalid)) {
        login::fail(app, context, project, &factor).await?;
    }
    told(app, outcome?).await
}

/// Whether a session is of after its user and tenant were last signed out everywhere.
fn is_current(session: &Session, generations: (u64, u64)) -> bool {
    (session.user_generation, session.tenant_generation) == generations
}
