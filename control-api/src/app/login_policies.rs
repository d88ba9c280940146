//! How people sign in to a tenant, and what their passwords are: said by the tenant within what the platform asks for, and held to
//! wherever somebody signs in or chooses a password.

use std::time::Duration;

use authz::action::ManageLoginPolicies;
use domain::{
    Acr, AmrSet, ProjectId, Secret, TenantId, Timestamp, UserId,
    model::{AuthMethod, LoginMethod, LoginPolicy, PasswordPolicy, Session, User, Version},
};
use store::{Commit, LockPolicy, SessionTx, read::*};

use super::projects;
use crate::{
    App,
    caller::{Principal, Site},
    error::{AppError, FieldError},
};

const DAY: Duration = Duration::from_secs(86_400);

/// Fewest failures after which a tenant has names locked: what it says holds in its project, for whoever mistypes there.
const FEWEST: u32 = 3;

/// Longest time for which it has.
const LONGEST_LOCK: Duration = Duration::from_secs(3600);

/// Longest time that a policy can say: a year, in seconds.
const MAX_SECS: u64 = 365 * 86_400;

/// What a tenant says, or that it says nothing.
pub async fn read_login_policy(app: &App, principal: &Principal, tenant: TenantId) -> Result<LoginPolicy, AppError> {
    let site = principal.site(app, Some(tenant)).await?;
    principal.may_in::<ManageLoginPolicies>(site, "get")?;
    of_tenant(app, site).await
}

/// Says how people sign in to a tenant. `edit` is given what is said now.
///
/// # Errors
/// [`AppError::Invalid`] for what asks for less than the platform does; [`AppError::ManagedByPlatform`] in the shared project.
pub async fn put_login_policy(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    version: Option<Version>,
    edit: impl Fn(&mut LoginPolicy) + Send + Sync,
) -> Result<(LoginPolicy, Commit), AppError> {
    let site = principal.site(app, Some(tenant)).await?;
    let by = principal.may_in::<ManageLoginPolicies>(site, "update")?;
    projects::is_tenants_own(app, principal, site).await?;
    let (by, edit, floor) = (&by, &edit, app.passwords.floor());
    let sessions = &app.config.sessions;
    app.store
        .write(by, app.now(), |tx| async move {
            let said = tx.login_policy(site.tenant).await?;
            let mut wanted = said.unwrap_or_else(|| LoginPolicy::unset(site.project, site.tenant, floor));
            edit(&mut wanted);
            wanted.version = version.unwrap_or(wanted.version);
            let lock = LockPolicy { after: sessions.lock_after, lock_for: sessions.lock_for.get() };
            judge(&wanted, &floor, lock, sessions.session.get())?;
            // Who demands of everybody what they did not show themselves could not take it back.
            let own = !principal.is_system() && wanted.require_verified_identity;
            if own && !tx.is_identity_approved(site.tenant, principal.user, app.now()).await? {
                let detail = "whoever demands verified identities has one first".to_owned();
                return Err(AppError::Conflict { code: "identity_unverified", detail });
            }
            Ok(tx.updated(tx.put_login_policy(by, wanted).await?).await?)
        })
        .await
}

/// A tenant says nothing any more.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::ManagedByPlatform`] in the shared project.
pub async fn delete_login_policy(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    version: Option<Version>,
) -> Result<Commit, AppError> {
    let site = principal.site(app, Some(tenant)).await?;
    let by = principal.may_in::<ManageLoginPolicies>(site, "delete")?;
    projects::is_tenants_own(app, principal, site).await?;
    let by = &by;
    let deleted = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.deleted(tx.delete_login_policy(by, site.tenant, version).await?).await?)
    });
    deleted.await.map(|(_, commit)| commit)
}

/// What a tenant says; what the platform does where it says nothing.
pub(super) async fn of_tenant(app: &App, site: Site) -> Result<LoginPolicy, AppError> {
    let said = app.store.login_policy(site.tenant).await?;
    Ok(said.unwrap_or_else(|| LoginPolicy::unset(site.project, site.tenant, app.passwords.floor())))
}

/// Refuses a way to sign in that the tenant does not allow.
///
/// # Errors
/// [`AppError::Restricted`] (`login_method_refused`).
pub(super) async fn allows(app: &App, tenant: TenantId, method: LoginMethod) -> Result<(), AppError> {
    let said = app.store.login_policy(tenant).await?;
    if takes(said.as_ref(), method) { Ok(()) } else { Err(refused()) }
}

/// Whether a tenant's people sign in this way, by what it says, if anything.
fn takes(said: Option<&LoginPolicy>, method: LoginMethod) -> bool {
    said.map_or_else(|| LoginMethod::UNSAID.contains(&method), |policy| policy.methods.contains(&method))
}

/// What is said of a sign-in that a tenant does not accept.
pub(super) const fn refused() -> AppError {
    AppError::Restricted { code: "login_method_refused", detail: "the tenant's people do not sign in this way" }
}

/// The way to sign in that a session was opened in; none for emergency administrators and programs, who have their own doors,
/// whatever a tenant says.
const fn method_of(method: AuthMethod) -> Option<LoginMethod> {
    match method {
        AuthMethod::Password => Some(LoginMethod::Password),
        AuthMethod::EmailCode => Some(LoginMethod::EmailCode),
        AuthMethod::MagicLink => Some(LoginMethod::MagicLink),
        AuthMethod::PhoneCode => Some(LoginMethod::PhoneCode),
        AuthMethod::Passkey => Some(LoginMethod::Passkey),
        AuthMethod::Qr => Some(LoginMethod::Qr),
        AuthMethod::Oauth => Some(LoginMethod::Oauth),
        AuthMethod::BreakGlass | AuthMethod::ClientCredentials => None,
    }
}

/// Whether a tenant accepts how a session was opened and, of one that another approved, how that was.
fn accepts(said: Option<&LoginPolicy>, method: AuthMethod, approved_by: Option<AuthMethod>) -> bool {
    let whole = said.is_none() || method != AuthMethod::Qr || approved_by.is_some();
    whole && [Some(method), approved_by].into_iter().flatten().filter_map(method_of).all(|it| takes(said, it))
}

/// Refuses to open a session in a way that the tenant does not accept, as it says in this transaction.
///
/// # Errors
/// [`AppError::Restricted`] (`login_method_refused`).
pub(super) async fn admits(
    tx: &SessionTx,
    tenant: TenantId,
    method: AuthMethod,
    approved_by: Option<AuthMethod>,
) -> Result<(), AppError> {
    let said = tx.login_policy(tenant).await?;
    if accepts(said.as_ref(), method, approved_by) { Ok(()) } else { Err(refused()) }
}

/// What a tenant says of a session that is to go on in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Says {
    /// It may.
    GoesOn,
    /// Its user shows a second factor first.
    StepsUp,
    /// It is over: it was opened in a way that is not allowed any more, is too old, or was not used for too long.
    Ends,
}

/// Judges a session as its tenant, or one that it is to go on in, says in this transaction.
pub(super) async fn judge_session(
    tx: &SessionTx,
    tenant: TenantId,
    session: &Session,
    now: Timestamp,
) -> Result<Says, AppError> {
    judge_by(tx, tx.login_policy(tenant).await?.as_ref(), tenant, session, now).await
}

/// The same by what a tenant says, if anything.
pub(super) async fn judge_by(
    tx: &SessionTx,
    said: Option<&LoginPolicy>,
    tenant: TenantId,
    session: &Session,
    now: Timestamp,
) -> Result<Says, AppError> {
    if !provider_goes_on(tx, tenant, session).await? {
        return Ok(Says::Ends);
    }
    if !accepts(said, session.method, session.approved_by) {
        return Ok(Says::Ends);
    }
    let Some(policy) = said else { return Ok(Says::GoesOn) };
    let past = |from: Timestamp, most: Option<u64>| most.is_some_and(|secs| from + Duration::from_secs(secs) <= now);
    if past(session.created_at, policy.absolute_s) || past(session.last_used_at, policy.idle_s) {
        return Ok(Says::Ends);
    }
    // A program is nobody who could show a second one.
    let is_somebody = session.method != AuthMethod::ClientCredentials;
    if policy.require_2fa && is_somebody && session.amr.acr() < Acr::Aal2 {
        return Ok(Says::StepsUp);
    }
    Ok(Says::GoesOn)
}

/// Refuses who did not show the tenant who they are, where it demands that; emergency administrators and programs are who they are.
///
/// # Errors
/// [`AppError::Restricted`] (`identity_unverified`).
pub(super) async fn known_enough(
    tx: &SessionTx,
    (tenant, user): (TenantId, UserId),
    method: AuthMethod,
    now: Timestamp,
) -> Result<(), AppError> {
    known_by(tx, tx.login_policy(tenant).await?.as_ref(), (tenant, user), method, now).await
}

/// The same by what the tenant says, if anything.
///
/// # Errors
/// As [`known_enough`].
pub(super) async fn known_by(
    tx: &SessionTx,
    said: Option<&LoginPolicy>,
    (tenant, user): (TenantId, UserId),
    method: AuthMethod,
    now: Timestamp,
) -> Result<(), AppError> {
    let demanded = said.is_some_and(|policy| policy.require_verified_identity);
    let is_somebody = !matches!(method, AuthMethod::BreakGlass | AuthMethod::ClientCredentials);
    if demanded && is_somebody && !tx.is_identity_approved(tenant, user, now).await? {
        let detail = "the tenant lets in whose identity was verified for it";
        return Err(AppError::Restricted { code: "identity_unverified", detail });
    }
    Ok(())
}

/// Whether a session may go on whose user just showed this much, in this way.
///
/// # Errors
/// [`AppError::Restricted`] (`login_method_refused`) where that way is not accepted, or the provider that the session was opened through
/// serves nobody there any more; [`AppError::StepUp`] where that is too little.
pub(super) async fn judge_step_up(
    tx: &SessionTx,
    tenant: TenantId,
    session: &Session,
    (method, amr): (LoginMethod, AmrSet),
) -> Result<(), AppError> {
    if !provider_goes_on(tx, tenant, session).await? {
        return Err(refused());
    }
    let said = tx.login_policy(tenant).await?;
    if !takes(said.as_ref(), method) {
        return Err(refused());
    }
    let demanded = said.is_some_and(|policy| policy.require_2fa);
    if demanded && amr.acr() < Acr::Aal2 { Err(AppError::StepUp) } else { Ok(()) }
}

/// Whether the provider that a session was opened through, if one was, serves people of a tenant still, by what it said then.
async fn provider_goes_on(tx: &SessionTx, tenant: TenantId, session: &Session) -> Result<bool, AppError> {
    match session.provider_id {
        Some(provider) => Ok(tx.provider_serves(provider, tenant, session.created_at).await?),
        None => Ok(![Some(session.method), session.approved_by].contains(&Some(AuthMethod::Oauth))),
    }
}

/// Until when a session lives at most that goes on in a tenant.
pub(super) async fn ends(
    app: &App,
    at: &impl Reader,
    tenant: TenantId,
    session: &Session,
) -> Result<Timestamp, AppError> {
    Ok(session.expires_at.min(session.created_at + session_life(app, at, tenant).await?))
}

/// What is asked of a password in a tenant.
pub(super) async fn passwords_of_tenant(app: &App, site: Site) -> Result<PasswordPolicy, AppError> {
    Ok(of_tenant(app, site).await?.password.and(app.passwords.floor()))
}

/// What is asked of a user's password: by all tenants they are a member of.
pub(super) async fn passwords_of_user(app: &App, user: &User) -> Result<PasswordPolicy, AppError> {
    let said = app.store.login_policies_of_user(user.id).await?;
    Ok(said.into_iter().fold(app.passwords.floor(), |all, policy| all.and(policy.password)))
}

/// Judges a new password of a user's, and that they did not have it before.
///
/// # Errors
/// [`AppError::Invalid`] at `pointer`.
pub(super) async fn judge_password(
    app: &App,
    user: &User,
    policy: &PasswordPolicy,
    new: &Secret<String>,
    pointer: &'static str,
) -> Result<(), AppError> {
    app.passwords.check(policy, new, &names(user), pointer)?;
    let earlier = app.store.password_history(user.id, policy.history.saturating_sub(1)).await?;
    for had in user.password_hash.clone().into_iter().chain(earlier) {
        if app.passwords.verify(new.clone(), Some(had)).await? {
            return Err(AppError::field(pointer, "password_same", "was the password before"));
        }
    }
    Ok(())
}

/// What a user is called: what no password of theirs holds.
pub(super) fn names(user: &User) -> Vec<&str> {
    let told = [user.email.as_deref(), user.username.as_deref()].into_iter().flatten();
    told.chain([user.first_name.as_str(), user.last_name.as_str()]).collect()
}

/// Whether a user's password is older than their tenants let it be.
pub(super) async fn is_overdue(app: &App, user: &User) -> Result<bool, AppError> {
    let Some(set) = user.password_changed_at else { return Ok(false) };
    let most = passwords_of_user(app, user).await?.max_age_days;
    Ok(most.is_some_and(|days| set + DAY * days <= app.now()))
}

/// Refuses to change a password that was changed too short a time ago.
///
/// # Errors
/// [`AppError::Conflict`] (`password_too_young`).
pub(super) fn old_enough(app: &App, user: &User, policy: &PasswordPolicy) -> Result<(), AppError> {
    let young = |set: domain::Timestamp| set + DAY * policy.min_age_days > app.now();
    if user.password_changed_at.is_some_and(young) && !user.must_change_password {
        let detail = format!("a password is kept for {} days", policy.min_age_days);
        return Err(AppError::Conflict { code: "password_too_young", detail });
    }
    Ok(())
}

/// After how many failures a name is locked in a project: what is strictest of all that its tenants say. An account's failures are
/// counted over all of the project's hostnames, so it is held to whatever one of its tenants asks for; and names that nobody has are
/// held to the same, or the count would tell who is a member where.
pub(super) async fn lock(app: &App, project: ProjectId) -> Result<LockPolicy, AppError> {
    let sessions = &app.config.sessions;
    let (after, lock_for) = (sessions.lock_after, sessions.lock_for.get());
    let said = app.store.strictest_lock(project).await?;
    Ok(LockPolicy {
        after: said.after.map_or(after, |said| said.min(after)),
        lock_for: said.lock_for.map_or(lock_for, |said| said.max(lock_for)),
    })
}

/// How long a session of a tenant's lives at most.
pub(super) async fn session_life(app: &App, at: &impl Reader, tenant: TenantId) -> Result<Duration, AppError> {
    let most = app.config.sessions.session.get();
    let said = at.login_policy(tenant).await?.and_then(|policy| policy.absolute_s);
    Ok(said.map_or(most, |secs| Duration::from_secs(secs).min(most)))
}

fn judge(policy: &LoginPolicy, floor: &PasswordPolicy, lock: LockPolicy, session: Duration) -> Result<(), AppError> {
    let mut wrong = Vec::new();
    let mut refuse = |pointer: &str, detail: &str| wrong.push(FieldError::new(pointer, "invalid", detail));
    // Approving by a QR code takes a session that is there.
    let here = [
        LoginMethod::Password,
        LoginMethod::EmailCode,
        LoginMethod::MagicLink,
        LoginMethod::PhoneCode,
        LoginMethod::Passkey,
        LoginMethod::Oauth,
    ];
    if !here.iter().any(|method| policy.methods.contains(method)) {
        refuse("/methods", "names no way that there is in this release: nobody could sign in");
    }
    if policy.lock_after.is_some_and(|after| after < FEWEST.min(lock.after) || after > lock.after) {
        refuse("/lock_after", "is less than 3, or more than the platform lets through");
    }
    let longest = LONGEST_LOCK.max(lock.lock_for);
    if policy.lock_s.map(Duration::from_secs).is_some_and(|said| said < lock.lock_for || said > longest) {
        refuse("/lock_s", "is shorter than the platform's, or longer than an hour");
    }
    for (pointer, secs) in [("/idle_s", policy.idle_s), ("/absolute_s", policy.absolute_s)] {
        if secs.is_some_and(|secs| !(60..=session.as_secs().min(MAX_SECS)).contains(&secs)) {
            refuse(pointer, "is less than a minute, or more than the platform allows");
        }
    }
    if let Some((field, why)) = policy.password.weaker_than(floor) {
        refuse(&format!("/password/{field}"), why);
    }
    if wrong.is_empty() { Ok(()) } else { Err(AppError::Invalid(wrong)) }
}
