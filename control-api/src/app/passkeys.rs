//! Passkeys: registering, listing, naming and deleting one's own, and signing in with one.
//!
//! A sign-in with a passkey is two factors by itself: the device is one, and that it knew its user the other. Whose passkey it
//! is, the device says; a name that was typed before only narrows that down, so that nobody learns who has one.

use authz::Scope;
use domain::{
    PasskeyId, Secret, UserId,
    audit::{Actor, ActorKind, AuditEntry, Crud, Target},
    model::{AuthMethod, LoginMethod, NewPasskey, Passkey, Project, ProjectKind, Tenant, User, Version, fold},
    snapshot,
};
use serde_json::json;
use store::{Commit, SessionTx, read::*};
use webauthn_rs_core::proto::{
    AuthenticationState, PublicKeyCredential, RegisterPublicKeyCredential, RegistrationState,
};

use super::{
    factor_notices::{self, FactorChange},
    links,
    login::{self, Door},
    login_policies,
    sign_in::{self, Opening, Proof, SignedIn, told},
    site, step_up,
    tokens::TokenPair,
    totp::recent,
};
use crate::{
    App,
    caller::Principal,
    context::{RequestContext, new_id},
    error::AppError,
    rates::Rate,
    webauthn::{Answered, Begun, Purpose, RelyingParty},
};

/// Longest name of a passkey, in characters.
const MAX_NAME: usize = 64;

/// A passkey that was used, looked at again in the transaction that opens the session.
#[derive(Clone, Debug)]
pub(super) struct UsedPasskey {
    pub(super) passkey: Passkey,
    pub(super) sign_count: u32,
    pub(super) backup_state: bool,
    pub(super) challenge: [u8; 32],
    pub(super) challenge_ends: domain::Timestamp,
}

/// Begins to register a passkey for the caller, at the hostname that is asked.
///
/// # Errors
/// [`AppError::Conflict`] (`passkey_hostname`) where there is no hostname of the caller's; (`passkeys_full`);
/// [`AppError::StepUp`] in a session without the second factor that its user has; [`AppError::SignInAnew`].
pub(crate) async fn begin_registration(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
) -> Result<Begun, AppError> {
    let (party, user) = own_party(app, context, principal).await?;
    let known = app.store.passkeys(user.id).await?;
    if known.len() >= usize::from(app.config.passkeys.most) {
        return Err(full());
    }
    let purpose = Purpose::Register { user: user.id, session: principal.session };
    party.begin_registration(purpose, (user.id, &user.display_name()), &known)
}

/// Keeps the passkey that an authenticator made. Of many that answer one challenge, one does.
///
/// # Errors
/// [`AppError::LoginChallengeInvalid`]; [`AppError::Invalid`]; as of `begin_registration`.
pub async fn complete_registration(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    ticket: &Secret<String>,
    (name, shown): (Option<String>, RegisterPublicKeyCredential),
) -> Result<Passkey, AppError> {
    let name = named(name)?;
    let (party, user) = own_party(app, context, principal).await?;
    let answered = party.answered::<RegistrationState>(ticket)?;
    if answered.purpose != (Purpose::Register { user: user.id, session: principal.session }) {
        return Err(AppError::LoginChallengeInvalid);
    }
    let new = made(app, &party, (&answered, &shown), (user.id, name))?;
    let tenant = app.store.tenant(principal.tenant).await?.ok_or(AppError::PrincipalInactive)?;
    let project = app.store.project(principal.project).await?.ok_or(AppError::PrincipalInactive)?;
    let notice = &factor_notices::notice(app, &project, &user, FactorChange::PasskeyAdded)?;
    let actor = &principal.caller.actor;
    let (new, user, tenant, answered) = (&new, &user, &tenant, &answered);
    let scope = Scope::Tenant(principal.project, principal.tenant);
    let kept = app.store.write_session(scope, app.now(), |tx| {
        let origin = context.origin();
        async move {
            tx.hold_factors(user.id).await?;
            // Since it was asked before, a factor may have been added elsewhere.
            sure_enough(&tx, principal).await?;
            if !tx.use_passkey_challenge(user.project_id, answered.hash, answered.expires_at).await? {
                return Err(AppError::LoginChallengeInvalid);
            }
            let kept = tx.insert_passkey(new.clone(), u32::from(app.config.passkeys.most)).await?;
            let kept = kept.ok_or_else(full)?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            let fields = json!({ "passkey_id": kept.id, "rp_id": kept.rp_id });
            tx.record(actor, &origin, &told("passkey_added", tenant, user, fields)).await?;
            Ok(kept)
        }
    });
    kept.await
}

/// The passkey that an authenticator made, to be kept.
pub(super) fn made(
    app: &App,
    party: &RelyingParty<'_>,
    (answered, shown): (&Answered<RegistrationState>, &RegisterPublicKeyCredential),
    (user, name): (UserId, String),
) -> Result<NewPasskey, AppError> {
    let credential = party.registered(answered, shown)?;
    Ok(NewPasskey {
        id: new_id(&*app.clock),
        project_id: party.project(),
        user_id: user,
        rp_id: party.id().to_owned(),
        credential_id: credential.cred_id.clone(),
        sign_count: credential.counter,
        backup_eligible: credential.backup_eligible,
        backup_state: credential.backup_state,
        credential: serde_json::to_value(&credential)
            .map_err(|error| AppError::internal("a passkey cannot be written", error))?,
        name,
    })
}

/// The caller's passkeys, of all hostnames. They are few: no more than can be registered.
pub async fn list_passkeys(app: &App, principal: &Principal) -> Result<Vec<Passkey>, AppError> {
    Ok(app.store.passkeys(principal.user).await?)
}

/// Gives one of the caller's passkeys another name.
pub async fn rename_passkey(
    app: &App,
    principal: &Principal,
    id: PasskeyId,
    version: Option<Version>,
    name: String,
) -> Result<(Passkey, Commit), AppError> {
    let name = named(Some(name))?;
    let by = principal.caller.oneself();
    let (by, name) = (&by, &name);
    app.store
        .write(by, app.now(), |tx| async move {
            let change = tx.rename_passkey(by, id, version, name.clone()).await?;
            let it = change.peek();
            let entry = AuditEntry {
                action: "passkey_renamed".into(),
                crud: Crud::U,
                target: Target { kind: "user".into(), id: it.user_id.to_string(), name: by.actor().name.clone() },
                project_id: Some(it.project_id),
                tenant_id: Some(principal.tenant),
                is_failure: false,
                fields: json!({ "passkey_id": it.id }),
            };
            Ok(tx.audit(entry, change).await?)
        })
        .await
}

/// Deletes one of the caller's passkeys. Every other session of theirs ends: one of them may be what the passkey opened on a device
/// that is lost.
///
/// # Errors
/// [`AppError::NotFound`] for anybody else's; [`AppError::Store`] (`last_credential`) for what alone signs them in;
/// [`AppError::StepUp`], [`AppError::SignInAnew`] as of `begin_registration`.
pub async fn delete_passkey(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    id: PasskeyId,
) -> Result<(), AppError> {
    let user = app.store.user(principal.user).await?.ok_or(AppError::PrincipalInactive)?;
    if app.store.passkeys(user.id).await?.iter().all(|it| it.id != id) {
        return Err(AppError::NotFound("passkey"));
    }
    sure_enough(&app.store, principal).await?;
    recent(app, principal).await?;
    let tenant = app.store.tenant(principal.tenant).await?.ok_or(AppError::PrincipalInactive)?;
    let project = app.store.project(principal.project).await?.ok_or(AppError::PrincipalInactive)?;
    let notice = &factor_notices::notice(app, &project, &user, FactorChange::PasskeyRemoved)?;
    let actor = &principal.caller.actor;
    let (user, tenant) = (&user, &tenant);
    // Sessions in every tenant of the user's.
    let deleted = app.store.write_session(Scope::Project(principal.project), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let ended = tx.end_other_sessions(user.id, principal.session, "passkey_removed").await?;
            tx.hold_factors(user.id).await?;
            sure_enough(&tx, principal).await?;
            let deleted = tx.delete_passkey(user.id, id).await?.ok_or(AppError::NotFound("passkey"))?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            let fields = json!({ "passkey_id": deleted.id, "rp_id": deleted.rp_id, "sessions_ended": ended.len() });
            tx.record(actor, &origin, &told("passkey_removed", tenant, user, fields)).await?;
            Ok::<_, AppError>(())
        }
    });
    deleted.await
}

/// Begins a sign-in with a passkey. An empty name is anybody's; whether one is known is not told.
///
/// # Errors
/// [`AppError::Conflict`] (`passkey_hostname`) where there is no hostname; [`AppError::RateLimited`].
pub(crate) async fn begin_sign_in(app: &App, context: &RequestContext, name: &str) -> Result<Begun, AppError> {
    if name.chars().count() > 320 || name.chars().any(char::is_control) {
        return Err(AppError::field("/email", "invalid", "is no email or user name"));
    }
    app.admit_address(Rate::Passkey, context).await?;
    let (party, _) = party(app, context).await?;
    party.begin_sign_in(name)
}

/// Signs somebody in by their passkey. Of many that answer one challenge, one does.
///
/// # Errors
/// [`AppError::LoginChallengeInvalid`]; [`AppError::CredentialsInvalid`]; [`AppError::TenantRequired`]; what the user's or
/// tenant's state says.
pub async fn complete_sign_in(
    app: &App,
    context: &RequestContext,
    ticket: &Secret<String>,
    shown: &PublicKeyCredential,
    tenant: Option<&str>,
) -> Result<SignedIn, AppError> {
    app.admit_address(Rate::Passkey, context).await?;
    let (party, realm) = party(app, context).await?;
    let answered = party.answered::<AuthenticationState>(ticket)?;
    let Purpose::SignIn { name } = &answered.purpose else { return Err(AppError::LoginChallengeInvalid) };
    let project = &realm.project;
    let found = app.store.passkey_by_credential((project.id, party.id()), shown.get_credential_id()).await?;
    let passkey = found.ok_or(AppError::CredentialsInvalid)?;
    let user = app.store.user(passkey.user_id).await?.ok_or(AppError::CredentialsInvalid)?;
    let used = used(app, context, (&party, project), (&user, passkey, name), (&answered, shown)).await?;
    let tenant = login::tenant(app, &realm, &user, tenant).await?;
    open(app, context, (&realm.project, &tenant, &user), used).await
}

/// Begins to step up with a passkey, in the caller's session.
///
/// # Errors
/// [`AppError::Conflict`] (`passkey_hostname`) where there is no hostname; [`AppError::TenantMismatch`] at another's;
/// [`AppError::RateLimited`].
pub(crate) async fn begin_step_up(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
) -> Result<Begun, AppError> {
    app.admit_address(Rate::Passkey, context).await?;
    let (party, user) = at_own_host(app, context, principal).await?;
    party.begin_step_up(user.id, principal.session)
}

/// Steps the caller's session up by their passkey. Of many that answer one challenge, one does.
///
/// # Errors
/// [`AppError::LoginChallengeInvalid`]; [`AppError::CredentialsInvalid`]; as of a step-up.
pub async fn complete_step_up(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    (ticket, shown): (&Secret<String>, &PublicKeyCredential),
    refresh_token: &Secret<String>,
) -> Result<TokenPair, AppError> {
    app.admit_address(Rate::Passkey, context).await?;
    let (party, user) = at_own_host(app, context, principal).await?;
    let answered = party.answered::<AuthenticationState>(ticket)?;
    if answered.purpose != (Purpose::StepUp { user: user.id, session: principal.session }) {
        return Err(AppError::LoginChallengeInvalid);
    }
    let project = app.store.project(principal.project).await?.ok_or(AppError::PrincipalInactive)?;
    let found = app.store.passkey_by_credential((project.id, party.id()), shown.get_credential_id()).await?;
    let own = found.filter(|passkey| passkey.user_id == user.id).ok_or(AppError::CredentialsInvalid)?;
    let used = used(app, context, (&party, &project), (&user, own, ""), (&answered, shown)).await?;
    step_up::by_passkey(app, context, principal, (&used, refresh_token)).await
}

/// That a passkey's authenticator signed what it was asked, for its user; what it did not is noted.
async fn used(
    app: &App,
    context: &RequestContext,
    (party, project): (&RelyingParty<'_>, &Project),
    (user, passkey, name): (&User, Passkey, &str),
    (answered, shown): (&Answered<AuthenticationState>, &PublicKeyCredential),
) -> Result<UsedPasskey, AppError> {
    match is_the_one(user, name, shown).then(|| party.signed(answered, &passkey, shown)) {
        Some(Ok(used)) => Ok(UsedPasskey {
            sign_count: used.sign_count,
            backup_state: used.backup_state,
            challenge: answered.hash,
            challenge_ends: answered.expires_at,
            passkey,
        }),
        None | Some(Err(AppError::CredentialsInvalid)) => {
            refused(app, context, (project, user, &passkey), answered).await?;
            Err(AppError::CredentialsInvalid)
        }
        Some(Err(other)) => Err(other),
    }
}

/// Uses a passkey, and the challenge that it answered, in the transaction that gives something for it.
///
/// # Errors
/// [`AppError::CredentialsInvalid`] when either was used meanwhile, or the passkey is gone.
pub(super) async fn use_up(tx: &SessionTx, used: &UsedPasskey) -> Result<(), AppError> {
    let fresh = tx.use_passkey_challenge(used.passkey.project_id, used.challenge, used.challenge_ends).await?;
    if fresh && tx.note_passkey_used(&used.passkey, used.sign_count, used.backup_state).await? {
        Ok(())
    } else {
        Err(AppError::CredentialsInvalid)
    }
}

/// What the audit trail is told of a passkey that was used.
pub(super) fn told_used(tenant: &Tenant, user: &User, used: &UsedPasskey) -> AuditEntry {
    told("passkey_used", tenant, user, json!({ "passkey_id": used.passkey.id, "rp_id": used.passkey.rp_id }))
}

/// Opens the session of who showed a passkey. Its challenge is used up by this.
pub(super) async fn open(
    app: &App,
    context: &RequestContext,
    (project, tenant, user): (&Project, &Tenant, &User),
    used: UsedPasskey,
) -> Result<SignedIn, AppError> {
    login_policies::allows(app, tenant.id, LoginMethod::Passkey).await?;
    let opening = Opening {
        door: if project.is_root() { Door::System } else { Door::Tenant },
        method: AuthMethod::Passkey,
        amr: used.passkey.amr(),
        life: login_policies::session_life(app, &app.store, tenant.id).await?,
        proof: Proof::Passkey(&used),
        event: "login_success",
    };
    sign_in::open(app, context, opening, project, tenant, user).await
}

/// Whether a passkey's user is who its device says, and who was asked for.
fn is_the_one(user: &User, name: &str, shown: &PublicKeyCredential) -> bool {
    let handle = shown.get_user_unique_id() == Some(user.id.uuid().as_bytes().as_slice());
    let is = |own: Option<&str>| own.map(fold).as_deref() == Some(name);
    handle && (name.is_empty() || is(user.email.as_deref()) || is(user.username.as_deref()))
}

/// Notes a sign-in with a known passkey that was refused. Its challenge is used up by this: there is one note of each.
async fn refused(
    app: &App,
    context: &RequestContext,
    (project, user, passkey): (&Project, &User, &Passkey),
    answered: &Answered<AuthenticationState>,
) -> Result<(), AppError> {
    let actor = &Actor { kind: ActorKind::Anonymous, id: None, name: String::new() };
    let entry = &AuditEntry {
        action: "login_failure".into(),
        crud: Crud::C,
        target: Target { kind: "user".into(), id: user.id.to_string(), name: String::new() },
        project_id: Some(project.id),
        tenant_id: None,
        is_failure: true,
        fields: json!({ "factor": "passkey", "passkey_id": passkey.id }),
    };
    let noted = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            if tx.use_passkey_challenge(project.id, answered.hash, answered.expires_at).await? {
                tx.record(actor, &origin, entry).await?;
            }
            Ok::<_, AppError>(())
        }
    });
    noted.await
}

/// The hostname that is asked, as a relying party.
pub(super) async fn party<'a>(
    app: &'a App,
    context: &RequestContext,
) -> Result<(RelyingParty<'a>, site::Realm), AppError> {
    let realm = site::realm_of_host(&app.store, context).await?;
    let nowhere = |detail: &str| AppError::Conflict { code: "passkey_hostname", detail: detail.to_owned() };
    let (Some(realm), Some(host)) = (realm, &context.host) else {
        return Err(nowhere("a passkey is for a hostname, and none was asked"));
    };
    // What a tenant serves at its own name could ask for a passkey there, and be somebody in other tenants by it.
    let named = app.store.hostname_by_name(host).await?;
    if realm.project.kind == ProjectKind::Shared && named.is_none_or(|it| it.purpose != snapshot::Purpose::Auth) {
        return Err(nowhere("in the shared project passkeys are good at its hostnames for signing in"));
    }
    let port = app.config.passkeys.https_port.unwrap_or_else(|| links::public_port(&realm.project));
    Ok((RelyingParty::at(app, &realm.project, host, port)?, realm))
}

/// The same for the caller, whose hostname it is, and who is sure enough to add a passkey.
async fn own_party<'a>(
    app: &'a App,
    context: &RequestContext,
    principal: &Principal,
) -> Result<(RelyingParty<'a>, User), AppError> {
    let own = at_own_host(app, context, principal).await?;
    sure_enough(&app.store, principal).await?;
    // Who has a token alone adds no way in of their own.
    recent(app, principal).await?;
    Ok(own)
}

/// The hostname that is asked, as a relying party for the caller, whose it is.
async fn at_own_host<'a>(
    app: &'a App,
    context: &RequestContext,
    principal: &Principal,
) -> Result<(RelyingParty<'a>, User), AppError> {
    let (party, realm) = party(app, context).await?;
    if realm.project.id != principal.project || realm.tenant.is_some_and(|id| id != principal.tenant) {
        return Err(AppError::TenantMismatch);
    }
    let user = app.store.user(principal.user).await?.ok_or(AppError::PrincipalInactive)?;
    Ok((party, user))
}

/// Who has a second factor, an authenticator or a passkey, has shown one in the session that changes what signs them in: who knows
/// the password alone puts none of their own beside it. What changes a factor asks in its transaction, and holds them first
/// ([`SessionTx::hold_factors`]).
pub(super) async fn sure_enough(at: &impl Reader, principal: &Principal) -> Result<(), AppError> {
    let session = at.session(principal.session).await?.filter(|session| session.ended_at.is_none());
    if session.ok_or(AppError::TokenRevoked)?.is_sure() {
        return Ok(());
    }
    let has_none = at.totp_since(principal.user).await?.is_none() && at.passkeys(principal.user).await?.is_empty();
    if has_none { Ok(()) } else { Err(AppError::StepUp) }
}

pub(super) fn named(name: Option<String>) -> Result<String, AppError> {
    let name = name.unwrap_or_else(|| "Passkey".into());
    let fits = (1..=MAX_NAME).contains(&name.trim().chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(name) } else { Err(AppError::field("/name", "invalid", "is not 1 to 64 characters")) }
}

fn full() -> AppError {
    let detail = "there are as many passkeys as there may be, or this one is registered".to_owned();
    AppError::Conflict { code: "passkeys_full", detail }
}
