//! How a sign-in ends: with a session, or with the question for a second factor.
//!
//! However the first factor was shown, `finish_sign_in` is the one way on. Whether a second is asked for is read in the
//! transaction that would open the session, so that none is opened beside an authenticator that was confirmed meanwhile.
//! A sign-in that waits is known by a random id, of which the hash is kept; it ends with its time, after so many attempts,
//! when it is used, and when the user or the tenant is signed out everywhere, as with a new password. An account that waits to be
//! deleted is kept by the session that is opened, and by nothing before it.

use std::time::Duration;

use authz::Scope;
use domain::{
    Acr, AmrSet, FederatedIdentityId, IdentityProviderId, PhoneNumber, Secret, SessionId, Timestamp,
    audit::{Actor, ActorKind, AuditEntry, Crud, Target},
    model::{
        AuthMethod, BreakGlass, ChallengePurpose, LoginChallenge, MembershipStatus, NewSession, Project, Tenant, Totp,
        User, UserStatus,
    },
};
use serde_json::{Value, json};
use store::{SessionTx, read::*};

use super::{
    account,
    factor_notices::{self, FactorChange},
    login::{Door, event, factor, may_sign_in, subject},
    login_policies::{self, Says},
    passkeys::{self, UsedPasskey},
    qr_login::Approved,
    tokens::{TokenPair, hash, prepared, random_token},
};
use crate::{
    App,
    context::{RequestContext, new_id},
    error::AppError,
};

/// What somebody shows who begins to sign in.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstFactor<'p> {
    /// Where.
    pub(super) door: Door,
    /// By which method.
    pub(super) method: AuthMethod,
    /// What was proven.
    pub(super) proof: Proof<'p>,
}

impl FirstFactor<'_> {
    /// One that the session's transaction need not look at again but for the user's password and address.
    pub(super) const fn new(door: Door, method: AuthMethod) -> Self {
        Self { door, method, proof: Proof::First }
    }
}

/// What came of a sign-in.
#[derive(Debug)]
pub enum SignedIn {
    /// A session, with its first tokens.
    Tokens(TokenPair),
    /// The question for a second factor.
    SecondFactor(Asked),
}

/// A second factor that is asked for.
#[derive(Debug)]
pub struct Asked {
    /// Names the sign-in that waits. Whoever has it has shown the first factor.
    pub id: Secret<String>,
    /// What for.
    pub purpose: ChallengePurpose,
    /// How long it waits.
    pub expires_in: Duration,
}

/// How a session is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening<'p> {
    /// Where.
    pub(super) door: Door,
    /// By which method.
    pub(super) method: AuthMethod,
    /// What was shown altogether.
    pub(super) amr: AmrSet,
    /// How long it lives.
    pub(super) life: Duration,
    /// What was proven, looked at again in the transaction that opens it.
    pub(super) proof: Proof<'p>,
    /// What the audit trail calls it.
    pub(super) event: &'static str,
}

/// What somebody proved.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof<'p> {
    /// A first factor. Whether it is enough is still to be asked.
    First,
    /// That they read what is sent to a number, which was proven later than this. Whether it is enough is still to be asked.
    Phone(&'p PhoneNumber, Timestamp),
    /// That an identity provider knows them, with the code that came of it, which is used up by this. Whether it is enough is still
    /// to be asked.
    Provider(&'p ByProvider),
    /// That they know an emergency administrator's password, and have the code of a time step, which is used up by this.
    BreakGlass(&'p BreakGlass, i64),
    /// That they have a passkey; its challenge is used up by this.
    Passkey(&'p UsedPasskey),
    /// That another device of theirs, on which they are signed in, approved it; that is used up by this. Whether it is enough is
    /// still to be asked.
    Qr(&'p Approved),
    /// The second factor of a sign-in that waited; both are used up by this.
    Second(&'p LoginChallenge, &'p Second),
}

/// By which identity somebody was known.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByProvider {
    /// The identity.
    pub(super) identity: FederatedIdentityId,
    /// Its provider.
    pub(super) provider: IdentityProviderId,
    /// When they signed in there.
    pub(super) auth_time: Timestamp,
    /// When the sign-in was begun.
    pub(super) begun_at: Timestamp,
    /// SHA-256 of the code that stands for it, where there is one.
    pub(super) code: Option<[u8; 32]>,
}

impl Proof<'_> {
    /// How the session was opened that approves this one, where one does.
    const fn approved_by(&self) -> Option<AuthMethod> {
        match self {
            Self::Qr(approved) => Some(approved.session.method),
            Self::Second(challenge, _) => challenge.approved_by,
            Self::First | Self::Phone(..) | Self::Provider(_) | Self::BreakGlass(..) | Self::Passkey(_) => None,
        }
    }

    /// Through which provider, where it is, and since when that sign-in is under way.
    fn provider(self) -> Option<(IdentityProviderId, Timestamp)> {
        match self {
            Self::Provider(by) => Some((by.provider, by.begun_at)),
            Self::Second(challenge, _) => challenge.provider_id.map(|id| (id, challenge.created_at)),
            // It is the same sign-in, on another device.
            Self::Qr(approved) => approved.session.provider_id.map(|id| (id, approved.session.created_at)),
            Self::First | Self::Phone(..) | Self::BreakGlass(..) | Self::Passkey(_) => None,
        }
    }
}

/// A second factor that was shown.
#[derive(Clone, Debug)]
pub(super) enum Second {
    /// The code of this time step.
    Code(i64),
    /// The recovery code of this hash.
    Recovery([u8; 32]),
    /// The code of this time step, of the authenticator that is confirmed by it, with the hashes of its recovery codes.
    Enrolled(Totp, i64, Vec<[u8; 32]>),
}

/// Opens a session for who showed a first factor, or asks for a second.
///
/// # Errors
/// What the user's or tenant's state says.
pub(super) async fn finish_sign_in(
    app: &App,
    context: &RequestContext,
    first: FirstFactor<'_>,
    project: &Project,
    tenant: &Tenant,
    user: &User,
) -> Result<SignedIn, AppError> {
    let FirstFactor { door, method, proof } = first;
    let life = login_policies::session_life(app, &app.store, tenant.id).await?;
    let opening = Opening { door, method, amr: method.amr(), life, proof, event: "login_success" };
    open(app, context, opening, project, tenant, user).await
}

/// Opens the session and mints its first tokens, or asks for a second factor.
pub(super) async fn open(
    app: &App,
    context: &RequestContext,
    opening: Opening<'_>,
    project: &Project,
    tenant: &Tenant,
    user: &User,
) -> Result<SignedIn, AppError> {
    may_sign_in(project, tenant, &account::if_back(user))?;
    let Opening { door, method, amr, life, proof, event: happened } = opening;
    let now = app.now();
    // Life counts from when a session is opened, and how fresh it is from when its user was there.
    let (auth_time, expires_at) = match proof {
        // It is the same sign-in, on another device.
        Proof::Qr(approved) => {
            let session = &approved.session;
            (session.auth_time, session.expires_at.min(session.created_at + life))
        }
        // As the provider says.
        Proof::Provider(by) => (by.auth_time, now + life),
        _ => (now, now + life),
    };
    let at = app.store.view().await?;
    let (draft, holder) = prepared(app, &at, (project, tenant.id, user), door, expires_at).await?;
    drop(at);
    let waiting = Waiting { id: random_token()?, expires_at: now + app.config.second_factor.challenge.get() };
    let sid: SessionId = new_id(&*app.clock);
    let notice = match proof {
        Proof::Second(_, Second::Enrolled(..)) => {
            factor_notices::notice(app, project, user, FactorChange::TotpEnabled)?
        }
        _ => None,
    };
    let notice = &notice;
    let actor = as_actor(user);
    let (draft, holder, waiting, actor) = (&draft, &holder, &waiting, &actor);
    // Whoever comes back does so in all their tenants.
    let returns = user.status == UserStatus::PendingDeletion;
    // A provider is held until this ends, and no tenant may lock what is its project's.
    let whole = returns || proof.provider().is_some();
    let scope = if whole { Scope::Project(project.id) } else { Scope::Tenant(project.id, tenant.id) };
    let opened = app.store.write_session(scope, now, |tx| {
        let origin = context.origin();
        async move {
            if matches!(proof, Proof::Second(_, Second::Enrolled(..))) {
                tx.hold_sign_ins(user.id).await?;
                tx.hold_factors(user.id).await?;
                // It may have been added since this sign-in was told to set an authenticator up.
                if !tx.passkeys(user.id).await?.is_empty() {
                    return Err(passkey_required());
                }
            }
            let generations = tx.generations(project.id, tenant.id, user.id).await?;
            // What decided above is read again under the lock: a disable or a new password may have come between.
            let again = tx.user(user.id).await?.filter(|again| {
                again.password_hash == user.password_hash && again.email_verified_at == user.email_verified_at
            });
            let again = again.ok_or(AppError::CredentialsInvalid)?;
            let missing = match proof {
                Proof::First | Proof::Phone(..) | Proof::Qr(_) | Proof::Provider(_) => {
                    asked(&tx, amr, tenant, user).await?
                }
                Proof::BreakGlass(..) | Proof::Passkey(_) | Proof::Second(..) => None,
            };
            let again = match missing {
                _ if !returns => again,
                Some(_) => account::if_back(&again),
                None => account::back(&tx, project, &origin, again).await?,
            };
            let there = tx.tenant(tenant.id).await?.ok_or(AppError::CredentialsInvalid)?;
            may_sign_in(project, &there, &again)?;
            // What a program acts as is nobody to sign in as, whatever was put beside it.
            if tx.is_of_machine(user.id).await? {
                return Err(AppError::CredentialsInvalid);
            }
            let member = tx.membership(tenant.id, user.id).await?;
            if member.is_none_or(|member| member.status != MembershipStatus::Active) {
                return Err(AppError::CredentialsInvalid);
            }
            if let Proof::Qr(approved) = proof {
                consume(&tx, approved, generations, now).await?;
            }
            if let Some((provider, since)) = proof.provider()
                && !tx.provider_serves(provider, tenant.id, since).await?
            {
                return Err(AppError::CredentialsInvalid);
            }
            if let Proof::Phone(number, since) = proof {
                // Who lost the number has dropped it, and ended what was opened by it.
                let has = tx.user_by_phone(project.id, number, since).await?;
                has.filter(|holder| holder.id == user.id).ok_or(AppError::CredentialsInvalid)?;
            }
            match proof {
                Proof::First | Proof::Phone(..) | Proof::Qr(_) | Proof::Provider(_) => {
                    if let Proof::Provider(by) = proof {
                        spend_word(&tx, user, by).await?;
                    }
                    if let Some(purpose) = missing {
                        // The device that asks would set up an authenticator of its holder's, whoever approved.
                        if matches!((proof, purpose), (Proof::Qr(_), ChallengePurpose::Enrol)) {
                            return Err(AppError::Restricted {
                                code: "second_factor_missing",
                                detail: "two factors are demanded: set one up where you are signed in",
                            });
                        }
                        let challenge = waiting.challenge(purpose, &opening, (tenant, user), generations, now);
                        tx.insert_login_challenge(&challenge).await?;
                        tx.record(actor, &origin, &told("login_second_factor_asked", tenant, user, json!({}))).await?;
                        return Ok(waiting.asked(purpose, now));
                    }
                }
                Proof::BreakGlass(seen, step) => {
                    if !tx.use_break_glass_code(seen, step).await? {
                        return Err(AppError::CredentialsInvalid);
                    }
                }
                Proof::Passkey(used) => {
                    passkeys::use_up(&tx, used).await?;
                    tx.record(actor, &origin, &passkeys::told_used(tenant, user, used)).await?;
                }
                Proof::Second(challenge, second) => {
                    login_policies::admits(&tx, tenant.id, method, challenge.approved_by).await?;
                    use_up(&tx, challenge, generations).await?;
                    let entry = spend(&tx, tenant, &again, second).await?;
                    tx.record(actor, &origin, &entry).await?;
                    if let Some(notice) = notice {
                        tx.leave(notice).await?;
                    }
                }
            }
            login_policies::known_enough(&tx, (tenant.id, user.id), method, now).await?;
            let session = tx
                .open_session(NewSession {
                    sid,
                    project_id: project.id,
                    tenant_id: tenant.id,
                    user_id: user.id,
                    system: door == Door::System,
                    method,
                    approved_by: proof.approved_by(),
                    provider_id: proof.provider().map(|(id, _)| id),
                    lent: matches!(proof, Proof::Qr(_)),
                    amr,
                    auth_time,
                    ip: origin.source_ip,
                    user_agent: origin.user_agent.clone(),
                    user_generation: generations.0,
                    tenant_generation: generations.1,
                    created_at: now,
                    expires_at,
                    token_exp: draft.exp,
                })
                .await?;
            tx.insert_refresh(&draft.refresh_row(sid, expires_at)).await?;
            for subject in [subject(context, user), factor(context, user)] {
                tx.clear_login_failures(project.id, &subject).await?;
            }
            tx.note_login(user.id).await?;
            tx.record(actor, &origin, &event(happened, Crud::C, &session)).await?;
            draft.sign(&session, holder, generations).await.map(SignedIn::Tokens)
        }
    });
    opened.await
}

/// Uses a provider's word up, while it is still good: nobody has unlinked the identity meanwhile.
async fn spend_word(tx: &SessionTx, user: &User, by: &ByProvider) -> Result<(), AppError> {
    if let Some(code) = by.code
        && !tx.use_oauth_code(code).await?
    {
        return Err(AppError::OauthCodeInvalid);
    }
    let known = tx.note_identity_used(by.identity, user.id, by.provider).await?;
    if known { Ok(()) } else { Err(AppError::CredentialsInvalid) }
}

/// What a user's sign-in still needs who showed this much. Who has no second factor where the tenant demands one sets an
/// authenticator up before anything else.
///
/// # Errors
/// [`AppError::Restricted`] (`passkey_required`) for who has a passkey and no authenticator: who knows the password alone does not
/// put a factor of their own beside it.
async fn asked(
    tx: &SessionTx,
    amr: AmrSet,
    tenant: &Tenant,
    user: &User,
) -> Result<Option<ChallengePurpose>, AppError> {
    if amr.acr() >= Acr::Aal2 {
        return Ok(None);
    }
    if tx.totp_since(user.id).await?.is_some() {
        return Ok(Some(ChallengePurpose::Verify));
    }
    if !tx.login_policy(tenant.id).await?.is_some_and(|policy| policy.require_2fa) {
        return Ok(None);
    }
    if !tx.passkeys(user.id).await?.is_empty() {
        return Err(passkey_required());
    }
    Ok(Some(ChallengePurpose::Enrol))
}

const fn passkey_required() -> AppError {
    AppError::Restricted {
        code: "passkey_required",
        detail: "two factors are demanded: sign in with a passkey, or set an authenticator up where you can",
    }
}

/// Uses what another device approved. It is worth nothing once who approved it was signed out there, or their tenant does not accept
/// how they signed in, or that it is handed on.
async fn consume(tx: &SessionTx, approved: &Approved, generations: (u64, u64), now: Timestamp) -> Result<(), AppError> {
    let approval = tx.consume_qr_login(approved.id, approved.poll_hash).await?;
    let current = approval.filter(|it| it.generations == generations).ok_or(AppError::CredentialsInvalid)?;
    let session = tx.session(current.sid).await?.filter(|session| session.is_open(now));
    let session = session.ok_or(AppError::CredentialsInvalid)?;
    match login_policies::judge_session(tx, session.tenant_id, &session, now).await? {
        // What is missing is asked for.
        Says::GoesOn | Says::StepsUp => {
            login_policies::admits(tx, session.tenant_id, AuthMethod::Qr, Some(session.method)).await
        }
        Says::Ends => Err(login_policies::refused()),
    }
}

/// Uses a sign-in that waited. One of before its user or tenant was signed out everywhere is worth nothing.
async fn use_up(tx: &SessionTx, challenge: &LoginChallenge, generations: (u64, u64)) -> Result<(), AppError> {
    let used = tx.use_login_challenge(challenge.hash).await?;
    let current = used.filter(|used| (used.user_generation, used.tenant_generation) == generations);
    current.map(|_| ()).ok_or(AppError::LoginChallengeInvalid)
}

/// Uses a second factor; answers what the audit trail is told of it.
pub(super) async fn spend(
    tx: &SessionTx,
    tenant: &Tenant,
    user: &User,
    second: &Second,
) -> Result<AuditEntry, AppError> {
    let (spent, happened, fields) = match second {
        Second::Code(step) => (tx.use_totp_step(user.id, *step).await?, "totp_verified", json!({})),
        Second::Recovery(hash) => {
            let spent = tx.use_recovery_code(user.id, *hash).await?;
            let left = tx.recovery_codes_left(user.id).await?;
            (spent, "totp_verified", json!({ "recovery_code": true, "recovery_codes_left": left }))
        }
        Second::Enrolled(seen, step, codes) => (confirm(tx, seen, *step, codes).await?, "totp_enabled", json!({})),
    };
    if spent { Ok(told(happened, tenant, user, fields)) } else { Err(AppError::CredentialsInvalid) }
}

/// From now on sign-ins ask for the authenticator, of which those that are under way have to hear: whoever calls this has
/// called [`SessionTx::hold_sign_ins`] first. False unless it is still the one that was `seen`.
pub(super) async fn confirm(tx: &SessionTx, seen: &Totp, step: i64, codes: &[[u8; 32]]) -> Result<bool, AppError> {
    let same = tx.totp_alone(seen.user_id).await?.is_some_and(|again| again.secret == seen.secret);
    if !same || !tx.confirm_totp(seen.user_id, step).await? {
        return Ok(false);
    }
    tx.replace_recovery_codes((seen.user_id, seen.project_id), codes).await?;
    Ok(true)
}

/// A sign-in that is to wait.
struct Waiting {
    id: Secret<String>,
    expires_at: Timestamp,
}

impl Waiting {
    fn challenge(
        &self,
        purpose: ChallengePurpose,
        opening: &Opening<'_>,
        (tenant, user): (&Tenant, &User),
        (user_generation, tenant_generation): (u64, u64),
        now: Timestamp,
    ) -> LoginChallenge {
        LoginChallenge {
            hash: hash(self.id.expose()),
            project_id: tenant.project_id,
            tenant_id: tenant.id,
            user_id: user.id,
            system: opening.door == Door::System,
            method: opening.method,
            approved_by: opening.proof.approved_by(),
            amr: opening.amr,
            provider_id: opening.proof.provider().map(|(id, _)| id),
            purpose,
            user_generation,
            tenant_generation,
            attempts: 0,
            created_at: now,
            expires_at: self.expires_at,
        }
    }

    fn asked(&self, purpose: ChallengePurpose, now: Timestamp) -> SignedIn {
        SignedIn::SecondFactor(Asked { id: self.id.clone(), purpose, expires_in: self.expires_at.since(now) })
    }
}

/// Who acts for themselves.
pub(super) fn as_actor(user: &User) -> Actor {
    Actor { kind: ActorKind::User, id: Some(user.id.uuid()), name: user.display_name() }
}

/// What the audit trail is told of a user's factors.
pub(super) fn told(happened: &str, tenant: &Tenant, user: &User, fields: Value) -> AuditEntry {
    AuditEntry {
        action: happened.into(),
        crud: Crud::U,
        target: Target { kind: "user".into(), id: user.id.to_string(), name: user.display_name() },
        project_id: Some(tenant.project_id),
        tenant_id: Some(tenant.id),
        is_failure: false,
        fields,
    }
}
