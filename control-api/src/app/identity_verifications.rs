//! Verifications of people's identities: begun by themselves or an administrator, brought from state to state by an administrator or
//! by whoever verifies, who says so by a signed event. Whether somebody is who they say is nothing this product finds out.
//!
//! A verification counts in its tenant alone: what an administrator of one tenant believes is nothing to another. Nobody approves
//! themselves.

use authz::{Authorized, action::ManageIdentityVerifications};
use domain::{
    IdentityVerificationId, UserId,
    model::{
        IdentityState, IdentityStep, IdentityVerification, NewIdentityVerification, NextIdentityStep, Version,
        identity_verification::MAX_REASON,
    },
};
use store::{
    Commit,
    list::{IdentityVerificationList, Selection, Slice},
    read::*,
};
use uuid::Uuid;

use super::{role_bindings::outranks, text};
use crate::{
    App,
    caller::{Principal, Site},
    context::{RequestContext, new_id},
    error::AppError,
    identity_events::{IdentityEvent, SignedEvent},
    problem,
    rates::Rate,
    upkeep::every,
};

/// The name in the audit trail, of what nobody did who signed in.
const JOB: &str = "identity-verification";

/// Verifications that are looked at, at once, for whether they ended.
const BATCH: u32 = 100;

/// Begins a verification of the caller's identity, or of a member's.
///
/// # Errors
/// [`AppError::NotFound`] for who is no member; [`AppError::Store`] (`identity_verifications_full`).
pub async fn begin_identity_verification(
    app: &App,
    principal: &Principal,
    site: Site,
    user: Option<UserId>,
) -> Result<(IdentityVerification, Commit), AppError> {
    let own = user.is_none_or(|user| user == principal.user) && !principal.is_system();
    let user = user.or((!principal.is_system()).then_some(principal.user));
    let user = user.ok_or_else(|| AppError::field("/user_id", "required", "staff names the user"))?;
    let new = NewIdentityVerification {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        user_id: user,
        ends_at: app.now() + app.config.identity_verifications.open_for.get(),
    };
    if own {
        let by = &principal.caller.oneself();
        let begun =
            app.store.write(by, app.now(), |tx| async move { tx.begin_own_identity_verification(by, new).await });
        return Ok(begun.await?);
    }
    let by = &principal.may_in::<ManageIdentityVerifications>(site, "create")?;
    Ok(app.store.write(by, app.now(), |tx| async move { tx.begin_identity_verification(by, new).await }).await?)
}

/// A page of a tenant's verifications.
pub async fn list_identity_verifications(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<IdentityVerificationList>,
) -> Result<Slice<IdentityVerification>, AppError> {
    principal.may_in::<ManageIdentityVerifications>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// A verification, with its steps: one's own, or one of a tenant's by whoever may read them.
///
/// # Errors
/// [`AppError::NotFound`].
pub async fn read_identity_verification(
    app: &App,
    principal: &Principal,
    id: IdentityVerificationId,
) -> Result<(IdentityVerification, Vec<IdentityStep>), AppError> {
    let (found, site) = found(app, principal, id).await?;
    if found.user_id != principal.user || principal.is_system() {
        principal.may_in::<ManageIdentityVerifications>(site, "get")?;
    }
    let steps = app.store.within(site.scope()).identity_steps(id).await?;
    Ok((found, steps))
}

/// Brings a verification to another state.
///
/// # Errors
/// [`AppError::Restricted`] (`own_identity`) for one's own; [`AppError::Escalation`] for somebody's who may more;
/// [`AppError::Store`] (`identity_state`) for a state that does not follow.
pub async fn set_identity_state(
    app: &App,
    principal: &Principal,
    (id, version): (IdentityVerificationId, Option<Version>),
    (state, reason): (IdentityState, String),
) -> Result<(IdentityVerification, Commit), AppError> {
    let (found, site) = found(app, principal, id).await?;
    let by = &principal.may_in::<ManageIdentityVerifications>(site, "update")?;
    if found.user_id == principal.user {
        return Err(AppError::Restricted { code: "own_identity", detail: "nobody says of themselves who they are" });
    }
    let next = &next(app, state, reason, None)?;
    app.store
        .write(by, app.now(), |tx| async move {
            outranks(&tx, principal, site, found.user_id).await?;
            Ok(tx.step_identity_verification(by, (id, version), next).await?)
        })
        .await
}

/// Takes what whoever verifies says. The same event again changes nothing.
///
/// # Errors
/// [`AppError::CredentialsInvalid`] without a signature of ours that is of now; [`AppError::NotFound`] for an unknown
/// verification, and where no key is configured; [`AppError::Store`] (`identity_state`) for a state that does not follow.
pub async fn take_identity_event(
    app: &App,
    context: &RequestContext,
    signed: &SignedEvent<'_>,
) -> Result<(), AppError> {
    if app.identity_keys.is_empty() {
        return Err(AppError::NotFound("identity-event"));
    }
    if !signed.is_signed(&app.identity_keys, app.now()) {
        return Err(refused(app, context).await);
    }
    // Nothing of it is read before it is known whose words they are.
    let said: IdentityEvent = serde_json::from_slice(signed.body)
        .map_err(|_| AppError::Malformed("an object with `verification_id`, `state` and `reason` is needed".into()))?;
    let next = &next(app, said.state, said.reason, Some(signed.id.to_owned()))?;
    // Whose it is and where, our own row says.
    let by = &Authorized::<ManageIdentityVerifications>::system(JOB);
    let id = said.verification_id;
    let taken =
        app.store.write(by, app.now(), |tx| async move { tx.step_identity_verification(by, (id, None), next).await });
    // Who is signed out by it is refused at once.
    taken.await?;
    app.hub.tick().await?;
    Ok(())
}

/// What an event is answered that is not signed. It is counted apart: whoever floods this door locks out nobody at another.
pub async fn refused(app: &App, context: &RequestContext) -> AppError {
    let counted = app.admit_address(Rate::IdentityEvent, context).await;
    counted.err().unwrap_or(AppError::CredentialsInvalid)
}

/// The step that was asked for. Nothing is begun again, and what ends by itself is not said to.
fn next(app: &App, to: IdentityState, reason: String, event_id: Option<String>) -> Result<NextIdentityStep, AppError> {
    text::of_stranger("/reason", &reason, 0..=MAX_REASON)?;
    let config = &app.config.identity_verifications;
    let ends_at = match to {
        IdentityState::InReview => Some(app.now() + config.open_for.get()),
        IdentityState::Approved => Some(app.now() + config.approved_for.get()),
        IdentityState::Pending | IdentityState::Rejected | IdentityState::Expired => None,
    };
    Ok(NextIdentityStep { to, reason, ends_at, event_id })
}

async fn found(
    app: &App,
    principal: &Principal,
    id: IdentityVerificationId,
) -> Result<(IdentityVerification, Site), AppError> {
    let reader =
        if principal.is_system() { app.store.clone() } else { app.store.within(principal.own_site()?.scope()) };
    let of_caller = |it: &IdentityVerification| principal.is_system() || it.tenant_id == principal.tenant;
    let found = reader.identity_verification(id).await?.filter(of_caller);
    let found = found.ok_or(AppError::NotFound("identity-verification"))?;
    let site = Site { project: found.project_id, tenant: found.tenant_id };
    Ok((found, site))
}

/// Notes what has ended for as long as it is polled. It counts no more from the moment on that it ends.
pub(crate) async fn run(app: App) {
    let (app, pause) = (&app, app.config.identity.sweep_every.get());
    every(pause, "verifications that ended were not noted", || async move { note_ended(app).await.map(drop) }).await;
}

/// Notes what has ended; answers how many. One that cannot be noted holds up no other.
///
/// # Errors
/// Of the database.
pub async fn note_ended(app: &App) -> Result<usize, AppError> {
    let by = &Authorized::<ManageIdentityVerifications>::system(JOB);
    let next = &next(app, IdentityState::Expired, String::new(), None)?;
    let mut after = IdentityVerificationId::new(Uuid::nil());
    let mut noted = 0;
    loop {
        let ended = app.store.ended_identity_verifications(app.now(), after, BATCH).await?;
        let Some(last) = ended.last() else { return Ok(noted) };
        after = *last;
        for id in ended {
            let step = app
                .store
                .write(by, app.now(), |tx| async move { tx.step_identity_verification(by, (id, None), next).await });
            match step.await {
                Ok(_) => noted += 1,
                Err(error) => {
                    tracing::error!(identity_verification.id = %id, error = problem::chain(&error), "an end was not noted");
                }
            }
        }
    }
}
