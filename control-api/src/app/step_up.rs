//! Stepping up: who has signed in proves anew who they are, and their session says so from then on (RFC 9470 §4).
//!
//! It takes what a sign-in takes, a passkey or the password and, of who has an authenticator, a second factor, and the whole pair
//! (ADR 7).
//! The session stays the one it is; what it says of its user's sign-in is what was shown now. The pair is exchanged for one
//! that says so, and the old access token is refused.

use authz::Scope;
use domain::{
    AmrSet, Secret,
    audit::Crud,
    model::{AuthMethod, LoginMethod, Project, Session, Tenant, User},
};
use serde_json::json;
use store::{StoreError, read::*};

use super::{
    login::{self, Door, event, may_sign_in},
    login_policies,
    passkeys::{self, UsedPasskey},
    second_factor::{SHOWS, ShownFactor, judge},
    sessions::{spend, told},
    sign_in::{self, Second},
    tokens::{TokenPair, hash, prepared},
};
use crate::{App, caller::Principal, context::RequestContext, error::AppError};

/// What somebody shows who steps up by the password.
#[derive(Debug)]
pub struct Shown {
    /// Password.
    pub password: Secret<String>,
    /// Second factor, of who has one.
    pub factor: Option<ShownFactor>,
    /// The refresh token of the session that asks.
    pub refresh_token: Secret<String>,
}

/// Signs the caller in anew, within the session, by the password.
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
    let mut place = Place::of(app, principal, &proof.refresh_token).await?;
    place.user = login::confirm_password(app, context, &place.project, place.user, proof.password).await?;

    let factor = login::factor(context, &place.user);
    let _turn = login::turn(app, &place.project, &factor).await?;
    let known = app.store.totp(place.user.id).await?.filter(|totp| totp.confirmed_at.is_some());
    let second = match (&known, &proof.factor) {
        (None, _) => None,
        (Some(_), None) => return Err(AppError::field("/code", "required", "a second factor is needed")),
        (Some(totp), Some(factor_shown)) => match judge(app, totp, factor_shown)? {
            Some(second) => Some(second),
            None => {
                login::fail(app, context, &place.project, &factor).await?;
                return Err(AppError::CredentialsInvalid);
            }
        },
    };
    let outcome = place.raise(app, context, principal, Proof::Password(second.as_ref())).await;
    if matches!(outcome, Err(AppError::CredentialsInvalid)) {
        login::fail(app, context, &place.project, &factor).await?;
    }
    told(app, outcome?).await
}

/// The same by a passkey, whose challenge is used up by this.
///
/// # Errors
/// As of [`super::sessions::refresh`]; [`AppError::CredentialsInvalid`] for a challenge or a count that was used meanwhile;
/// [`AppError::Restricted`] (`login_method_refused`).
pub(super) async fn by_passkey(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    (used, refresh_token): (&UsedPasskey, &Secret<String>),
) -> Result<TokenPair, AppError> {
    let place = Place::of(app, principal, refresh_token).await?;
    let outcome = place.raise(app, context, principal, Proof::Passkey(used)).await;
    told(app, outcome?).await
}

/// What was proven, looked at again in the transaction that raises the session.
#[derive(Clone, Copy)]
enum Proof<'p> {
    /// The password, and of who has an authenticator a second factor, which is used up by this.
    Password(Option<&'p Second>),
    /// A passkey; its challenge is used up by this.
    Passkey(&'p UsedPasskey),
}

impl Proof<'_> {
    fn amr(self) -> AmrSet {
        match self {
            Self::Password(None) => AuthMethod::Password.amr(),
            Self::Password(Some(_)) => AuthMethod::Password.amr().and(SHOWS),
            Self::Passkey(used) => used.passkey.amr(),
        }
    }

    const fn method(self) -> LoginMethod {
        match self {
            Self::Password(_) => LoginMethod::Password,
            Self::Passkey(_) => LoginMethod::Passkey,
        }
    }
}

/// Who steps up, and where.
struct Place {
    refresh: [u8; 32],
    session: Session,
    project: Project,
    tenant: Tenant,
    user: User,
}

impl Place {
    /// The caller, who shows the refresh token of the session that asks.
    async fn of(app: &App, principal: &Principal, refresh_token: &Secret<String>) -> Result<Self, AppError> {
        let refresh = hash(refresh_token.expose());
        let row = app.store.refresh_token(refresh).await?.filter(|row| row.sid == principal.session);
        row.ok_or(AppError::RefreshInvalid)?;
        let session = app.store.session(principal.session).await?.ok_or(AppError::RefreshInvalid)?;
        let project = app.store.project(principal.project).await?.ok_or(AppError::RefreshInvalid)?;
        let tenant = app.store.tenant(principal.tenant).await?.ok_or(AppError::RefreshInvalid)?;
        let user = app.store.user(principal.user).await?.ok_or(AppError::RefreshInvalid)?;
        may_sign_in(&project, &tenant, &user)?;
        Ok(Self { refresh, session, project, tenant, user })
    }

    /// Raises the session and exchanges its pair. What refuses is inside: what was written with it was committed.
    async fn raise(
        &self,
        app: &App,
        context: &RequestContext,
        principal: &Principal,
        proof: Proof<'_>,
    ) -> Result<Result<TokenPair, AppError>, AppError> {
        let Self { refresh, session, project, tenant, user } = self;
        let door = if principal.is_system() { Door::System } else { Door::Tenant };
        let at = app.store.view().await?;
        let (draft, holder) = prepared(app, &at, (project, tenant.id, user), door, session.expires_at).await?;
        drop(at);
        let (now, grace) = (app.now(), app.config.sessions.refresh_grace.get());
        let actor = &principal.caller.actor;
        let (draft, holder) = (&draft, &holder);
        // A replay ends sessions in every tenant of the user's.
        let outcome = app.store.write_session(Scope::Project(project.id), now, |tx| {
            let origin = context.origin();
            async move {
                let generations = tx.generations(project.id, tenant.id, user.id).await?;
                let used = match spend(&tx, *refresh, grace, actor, &origin).await? {
                    Ok(used) => used,
                    Err(refused) => return Ok(Err(refused)),
                };
                let unchanged = tx.user(user.id).await?.is_some_and(|again| again.password_hash == user.password_hash);
                let active = unchanged && tx.bindings(tenant.id, user.id).await?.active;
                // What was not asked for may have been confirmed meanwhile.
                let asked = !matches!(proof, Proof::Password(None)) || tx.totp_since(user.id).await?.is_none();
                if !(active && asked && is_current(&used, generations) && used.is_open(now)) {
                    // Not `Ok`: the refresh token stays good, as nothing follows it.
                    return Err(AppError::RefreshInvalid);
                }
                login_policies::judge_step_up(&tx, tenant.id, &used, (proof.method(), proof.amr())).await?;
                login_policies::known_enough(&tx, (tenant.id, user.id), used.method, now).await?;
                match proof {
                    Proof::Password(None) => {}
                    Proof::Password(Some(second)) => {
                        let entry = sign_in::spend(&tx, tenant, user, second).await?;
                        tx.record(actor, &origin, &entry).await?;
                    }
                    Proof::Passkey(used) => {
                        passkeys::use_up(&tx, used).await?;
                        tx.record(actor, &origin, &passkeys::told_used(tenant, user, used)).await?;
                    }
                }
                tx.refuse_token(principal.token, principal.token_exp).await?;
                let raised = match tx.raise_session(used.sid, proof.amr(), now).await {
                    // Signed out since it was read.
                    Err(StoreError::NotFound { .. }) => return Err(AppError::RefreshInvalid),
                    raised => raised?,
                };
                tx.extend_session(raised.sid, generations, draft.exp).await?;
                tx.replace_refresh(*refresh, &draft.refresh_row(raised.sid, raised.expires_at)).await?;
                for subject in [login::subject(context, user), login::factor(context, user)] {
                    tx.clear_login_failures(project.id, &subject).await?;
                }
                let mut entry = event("session_stepped_up", Crud::U, &raised);
                entry.fields = json!({ "user_id": user.id, "amr": raised.amr });
                tx.record(actor, &origin, &entry).await?;
                draft.sign(&raised, holder, generations).await.map(Ok)
            }
        });
        outcome.await
    }
}

/// Whether a session is of after its user and tenant were last signed out everywhere.
fn is_current(session: &Session, generations: (u64, u64)) -> bool {
    (session.user_generation, session.tenant_generation) == generations
}
