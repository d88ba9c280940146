//! Signing in on one device by approving it on another. The new device shows a QR code with an id; the other, on which somebody
//! is signed in, reads who asks and approves it; the new one, which alone knows a secret, gets the session.
//!
//! Who sends somebody a code of their own gets nothing by it: the asking device shows three digits, which are typed on the other.
//!
//! Nothing is new about who somebody is: the session is the approving one's again, on another device. It says when its user signed in
//! there, and lives no longer. It is opened as any other, so that account, tenant and policy are judged when it is, not when it was
//! approved; and a second factor is shown on the device that gets the session, which is a sign-in of its own then. How it was opened is a
//! way of its own ([`AuthMethod::Qr`]), with the approving session's beside it: a policy has to accept both. It approves no other.

use authz::Scope;
use domain::{
    Amr, AmrSet, QrLoginId, Secret,
    audit::{AuditEntry, Crud, Target},
    model::{AuthMethod, QrApproval, QrLogin, QrState, Session},
};
use serde_json::json;
use store::{SessionTx, read::*};

use super::{
    factor_notices, letters, links,
    login::Door,
    login_policies, passkeys,
    sign_in::{self, Opening, Proof, SignedIn},
    site::Realm,
    tokens::{hash, random_token},
    totp::recent,
};
use crate::{
    App,
    caller::Principal,
    context::{RequestContext, new_id},
    error::AppError,
    mail::letter::{Letter, LetterKind},
    rates::Rate,
    totp::qr_code,
};

/// What the asking device is told.
#[derive(Debug)]
pub struct Started {
    /// Its id.
    pub id: QrLoginId,
    /// What it alone knows.
    pub poll_secret: Secret<String>,
    /// What it shows, to be typed on the other device.
    pub code: String,
    /// Where the other device goes: with the id, without the secret.
    pub url: String,
    /// That as an image, SVG.
    pub qr_code: Secret<String>,
}

/// What came of it so far.
#[derive(Debug)]
pub enum Polled {
    /// Nobody said anything yet.
    Pending,
    /// Nobody is signed in by it.
    Rejected,
    /// It is over, or never was, or the secret is another's: these look the same.
    Expired,
    /// Its user is signed in, or asked for a second factor.
    Approved(SignedIn),
}

/// A sign-in that was approved, looked at again in the transaction that opens the session.
#[derive(Clone, Debug)]
pub(super) struct Approved {
    pub(super) id: QrLoginId,
    pub(super) poll_hash: [u8; 32],
    pub(super) session: Session,
}

/// Asks for a sign-in on this device.
///
/// # Errors
/// [`AppError::RateLimited`]; [`AppError::Invalid`] where the hostname is nobody's; [`AppError::Restricted`] for the platform's
/// own project.
pub async fn start(app: &App, context: &RequestContext) -> Result<Started, AppError> {
    let realm = letters::place(app, context, Rate::Passwordless).await?;
    let (id, poll_secret, code, now) = (new_id(&*app.clock), random_token()?, code()?, app.now());
    let url = links::page(&realm.project, context.host.as_ref(), &format!("/auth/qr#id={id}"))?;
    let qr_code = qr_code(&Secret::new(url.clone()))?;
    let origin = context.origin();
    let new = &QrLogin {
        id,
        project_id: realm.project.id,
        tenant_id: realm.tenant,
        poll_hash: hash(poll_secret.expose()),
        code: code.clone(),
        state: QrState::Pending,
        ip: origin.source_ip,
        user_agent: origin.user_agent,
        approval: None,
        created_at: now,
        expires_at: now + app.config.second_factor.qr_login.get(),
    };
    let kept = app.store.write_session(Scope::Project(realm.project.id), now, |tx| async move {
        Ok::<_, AppError>(tx.insert_qr_login(new).await?)
    });
    kept.await?;
    Ok(Started { id, poll_secret, code, url, qr_code })
}

/// Three digits: one guess in a thousand, and a wrong one ends it.
fn code() -> Result<String, AppError> {
    Ok(letters::code()?.expose().chars().take(CODE_DIGITS).collect())
}

/// Who asks to be signed in, for whoever may approve that: somebody signed in, in the same project and in the tenant whose hostname
/// was asked.
///
/// # Errors
/// [`AppError::NotFound`] for one that does not wait any more, too.
pub async fn read_qr_login(app: &App, principal: &Principal, id: QrLoginId) -> Result<QrLogin, AppError> {
    let found = app.store.qr_login(id, app.now()).await?;
    let ours = |it: &QrLogin| {
        it.project_id == principal.project
            && it.tenant_id.is_none_or(|tenant| tenant == principal.tenant)
            && it.state == QrState::Pending
    };
    found.filter(ours).filter(|_| !principal.is_system()).ok_or(GONE)
}

/// Digits of a code.
const CODE_DIGITS: usize = 3;

const GONE: AppError = AppError::NotFound("qr-login");

/// What somebody says to a sign-in.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'c> {
    /// Theirs, by the code that the asking device shows.
    Approve(&'c str),
    /// Not theirs.
    Reject,
}

/// Approves or rejects a sign-in. Of many who do so at once, one.
///
/// # Errors
/// [`AppError::NotFound`] as of [`read_qr_login`]; to approve, [`AppError::SignInAnew`] in a session of a sign-in that was longer
/// ago, [`AppError::StepUp`] in one without the second factor that its user has, [`AppError::Restricted`] (`qr_login_chained`) in one that
/// was approved itself, and [`AppError::Invalid`] (`/code`) for a code that the asking device does not show, with which it is rejected.
pub async fn settle_qr_login(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    (id, verdict): (QrLoginId, Verdict<'_>),
) -> Result<(), AppError> {
    read_qr_login(app, principal, id).await?;
    let user = app.store.user(principal.user).await?.ok_or(AppError::PrincipalInactive)?;
    if user.is_break_glass {
        return Err(GONE);
    }
    if let Verdict::Approve(code) = verdict {
        passkeys::sure_enough(&app.store, principal).await?;
        // Who found a device open, or has a token alone, signs nobody in elsewhere.
        recent(app, principal).await?;
        if code.len() != CODE_DIGITS || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AppError::field("/code", "invalid", "is not the three digits that the other device shows"));
        }
    }
    let project = app.store.project(principal.project).await?.ok_or(AppError::PrincipalInactive)?;
    let letter = |email: &str| Letter::new(LetterKind::QrLogin, email);
    let notice = &factor_notices::to_holder(app, &project, &user, letter)?;
    let (user, actor) = (&user, &principal.caller.actor);
    let told = |happened: &str| AuditEntry {
        action: happened.into(),
        crud: Crud::U,
        target: Target { kind: "user".into(), id: user.id.to_string(), name: user.display_name() },
        project_id: Some(principal.project),
        tenant_id: Some(principal.tenant),
        is_failure: false,
        fields: json!({ "qr_login_id": id }),
    };
    let told = &told;
    let settled = app.store.write_session(Scope::Tenant(principal.project, principal.tenant), app.now(), |tx| {
        let origin = context.origin();
        async move {
            if let Verdict::Approve(code) = verdict {
                let by = approval(app, &tx, principal).await?;
                if tx.approve_qr_login(id, code, &by).await?.is_some() {
                    if let Some(notice) = notice {
                        tx.leave(notice).await?;
                    }
                    tx.record(actor, &origin, &told("qr_login_approved")).await?;
                    return Ok(true);
                }
            }
            tx.reject_qr_login(id).await?.ok_or(GONE)?;
            tx.record(actor, &origin, &told("qr_login_rejected")).await?;
            // Committed: who typed a wrong code is in front of another device.
            Ok::<_, AppError>(matches!(verdict, Verdict::Reject))
        }
    });
    if settled.await? {
        return Ok(());
    }
    Err(AppError::field("/code", "invalid", "is not what the other device shows: it is rejected, and asks anew"))
}

/// Who approves, in a session that is open still and was not approved itself: who was handed one hands none on.
///
/// # Errors
/// [`AppError::TokenRevoked`]; [`AppError::Restricted`] (`qr_login_chained`).
async fn approval(app: &App, tx: &SessionTx, principal: &Principal) -> Result<QrApproval, AppError> {
    let generations = tx.generations(principal.project, principal.tenant, principal.user).await?;
    let open = tx.session(principal.session).await?.filter(|session| session.is_open(app.now()));
    let current = open.filter(|it| (it.user_generation, it.tenant_generation) == generations);
    let session = current.ok_or(AppError::TokenRevoked)?;
    if session.method == AuthMethod::Qr {
        return Err(AppError::Restricted {
            code: "qr_login_chained",
            detail: "this session was approved by another: approve where you signed in",
        });
    }
    Ok(QrApproval { user_id: principal.user, tenant_id: principal.tenant, sid: session.sid, generations })
}

/// Asks what came of a sign-in; once it is approved, opens its session. Of many who ask then, one gets it.
///
/// # Errors
/// [`AppError::RateLimited`]; what the user's, tenant's or policy's state says of who approved it.
pub async fn poll(
    app: &App,
    context: &RequestContext,
    id: QrLoginId,
    secret: &Secret<String>,
) -> Result<Polled, AppError> {
    let realm = letters::place(app, context, Rate::Poll).await?;
    let shown = hash(secret.expose());
    let found = app.store.qr_login(id, app.now()).await?;
    let here = |it: &QrLogin| is_here(&realm, it) && Secret::new(it.poll_hash) == Secret::new(shown);
    let Some(found) = found.filter(here) else { return Ok(Polled::Expired) };
    let approval = match (found.state, found.approval) {
        (QrState::Pending, _) => return Ok(Polled::Pending),
        (QrState::Rejected, _) => return Ok(Polled::Rejected),
        (QrState::Approved, Some(approval)) => approval,
        (QrState::Consumed | QrState::Approved, _) => return Ok(Polled::Expired),
    };
    let session = app.store.session(approval.sid).await?;
    let tenant = app.store.tenant(approval.tenant_id).await?.filter(|tenant| tenant.deleted_at.is_none());
    let user = app.store.user(approval.user_id).await?;
    let (Some(session), Some(tenant), Some(user)) = (session, tenant, user) else { return Ok(Polled::Expired) };
    let approved = Approved { id, poll_hash: shown, session };
    let opening = Opening {
        door: Door::Tenant,
        method: AuthMethod::Qr,
        amr: carried(approved.session.amr),
        life: login_policies::session_life(app, &app.store, tenant.id).await?,
        proof: Proof::Qr(&approved),
        event: "login_success",
    };
    match sign_in::open(app, context, opening, &realm.project, &tenant, &user).await {
        Ok(signed_in) => Ok(Polled::Approved(signed_in)),
        // Another was quicker, or who approved it was signed out since.
        Err(AppError::CredentialsInvalid) => Ok(Polled::Expired),
        Err(other) => Err(other),
    }
}

/// What of a sign-in counts on another device: that its user knows the password. What a device showed, that device showed: a second
/// factor is asked for anew.
fn carried(amr: AmrSet) -> AmrSet {
    if amr.contains(Amr::Pwd) { AmrSet::of(&[Amr::Pwd]) } else { AmrSet::default() }
}

/// Whether it was asked for where it is asked about. Once approved, it is of a tenant, whoever was asked.
fn is_here(realm: &Realm, it: &QrLogin) -> bool {
    it.project_id == realm.project.id && realm.tenant.is_none_or(|tenant| it.tenant_id == Some(tenant))
}
