//! Setting an authenticator up, confirming it, and taking it away (RFC 6238).
//!
//! It counts once a code of it was shown. Ten recovery codes are shown then, once. What takes it away or makes new recovery
//! codes needs the password, and a session that has shown a second factor: who got hold of an older session and the password
//! cannot take away what keeps them out.
//!
//! Who gets hold of a token alone must not enrol an authenticator of their own: confirming one takes the password, or a sign-in
//! of a few minutes ago. With the password it is a sign-in within the session, which then says so; without, the session stays
//! what it was.

use domain::{
    Secret,
    model::{AuthMethod, ChallengePurpose, Project, Tenant, Totp, User},
    outbox::NewOutboxEvent,
};
use serde_json::json;
use store::{SessionTx, read::*};

use super::{
    factor_notices::{self, FactorChange},
    login, oauth_login, passkeys,
    second_factor::{ALPHABET, SHOWS, ShownFactor, WaitingSignIn, judge, recovery_hash},
    sign_in::{self, Second, SignedIn, as_actor, told},
    tokens::random,
};
use crate::{
    App,
    caller::Principal,
    context::RequestContext,
    error::AppError,
    totp::{Codes, qr_code},
};

/// Bytes of the secret that codes are made of (RFC 4226 §4, R6).
const SECRET_BYTES: usize = 20;

/// Bytes of the key that recovery codes are hashed with.
const PEPPER_BYTES: usize = 32;

/// Letters of a recovery code. Of five random bits each.
const CODE_LETTERS: usize = 10;

/// Who sets an authenticator up.
#[derive(Clone, Copy, Debug)]
pub enum Enrolling<'w> {
    /// Who has signed in.
    Principal(&'w Principal),
    /// Whose sign-in waits for it, by its id.
    SignIn(&'w Secret<String>),
}

/// An authenticator to be, shown once.
#[derive(Debug)]
pub struct SetUp {
    /// The secret in base32 (RFC 4648 §6), to be typed.
    pub secret: Secret<String>,
    /// The same with whose it is, as authenticators read it.
    pub url: Secret<String>,
    /// That as an image, SVG.
    pub qr_code: Secret<String>,
}

/// An authenticator that counts now.
#[derive(Debug)]
pub struct Confirmed {
    /// Shown once.
    pub recovery_codes: Vec<Secret<String>>,
    /// The session of a sign-in that waited for it.
    pub signed_in: Option<SignedIn>,
}

/// Whose authenticator it is, and where they are.
struct Place {
    project: Project,
    tenant: Tenant,
    user: User,
    waiting: Option<WaitingSignIn>,
}

impl Place {
    async fn of(app: &App, context: &RequestContext, who: Enrolling<'_>) -> Result<Self, AppError> {
        match who {
            Enrolling::SignIn(id) => {
                let waiting = WaitingSignIn::of(app, context, id, ChallengePurpose::Enrol).await?;
                let WaitingSignIn { project, tenant, user, .. } = &waiting;
                let (project, tenant, user) = (project.clone(), tenant.clone(), user.clone());
                Ok(Self { project, tenant, user, waiting: Some(waiting) })
            }
            Enrolling::Principal(principal) => Self::of_principal(app, principal).await,
        }
    }

    async fn of_principal(app: &App, principal: &Principal) -> Result<Self, AppError> {
        let project = app.store.project(principal.project).await?.ok_or(AppError::PrincipalInactive)?;
        let tenant = app.store.tenant(principal.tenant).await?.ok_or(AppError::PrincipalInactive)?;
        let user = app.store.user(principal.user).await?.ok_or(AppError::PrincipalInactive)?;
        Ok(Self { project, tenant, user, waiting: None })
    }

    fn notice(&self, app: &App, change: FactorChange) -> Result<Option<NewOutboxEvent>, AppError> {
        factor_notices::notice(app, &self.project, &self.user, change)
    }

    fn scope(&self) -> authz::Scope {
        authz::Scope::Tenant(self.project.id, self.tenant.id)
    }
}

/// Makes a secret for an authenticator; it counts once it is confirmed. One that was made and not confirmed is replaced.
///
/// # Errors
/// [`AppError::Conflict`] (`totp_enabled`) for who has one; [`AppError::LoginChallengeInvalid`].
pub async fn set_up_totp(app: &App, context: &RequestContext, who: Enrolling<'_>) -> Result<SetUp, AppError> {
    let place = Place::of(app, context, who).await?;
    beside_no_passkey(&app.store, who).await?;
    let secret = new_secret()?;
    // Before anything is written: what cannot be shown is not begun.
    let codes = Codes::of(&secret)?;
    let issuer = app.config.second_factor.issuer.as_deref().unwrap_or(&place.project.name);
    let url = codes.url(issuer, &place.user.display_name());
    let qr_code = qr_code(&url)?;
    let pepper = Secret::new(random::<PEPPER_BYTES>()?.to_vec());
    let actor = as_actor(&place.user);
    let (user, tenant, secret, pepper, actor) = (&place.user, &place.tenant, &secret, &pepper, &actor);
    let begun = app.store.write_session(place.scope(), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let begun_before = tx.totp_alone(user.id).await?.is_some();
            if !tx.begin_totp(user, secret, pepper).await? {
                let detail = "there is an authenticator: it is disabled before another is set up".to_owned();
                return Err(AppError::Conflict { code: "totp_enabled", detail });
            }
            // Beginning anew is nothing new: else one token could write rows without end.
            if !begun_before {
                tx.record(actor, &origin, &told("totp_setup", tenant, user, json!({}))).await?;
            }
            Ok(())
        }
    });
    begun.await?;
    Ok(SetUp { secret: codes.base32(), url, qr_code })
}

/// Makes an authenticator count, by a code of it. A sign-in that waited for it gets its session; who has signed in shows the
/// password, too, unless the sign-in was a moment ago.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`], [`AppError::LoginChallengeInvalid`];
/// [`AppError::SignInAnew`]; [`AppError::Conflict`] (`totp_not_set_up`) when none waits to be confirmed.
pub async fn confirm_totp(
    app: &App,
    context: &RequestContext,
    who: Enrolling<'_>,
    (code, password): (Secret<String>, Option<Secret<String>>),
) -> Result<Confirmed, AppError> {
    let place = Place::of(app, context, who).await?;
    let again = password.is_some();
    if let Some(password) = &password {
        login::confirm_password(app, context, &place.project, place.user.clone(), password.clone()).await?;
    }
    beside_no_passkey(&app.store, who).await?;
    if let Enrolling::Principal(principal) = who
        && password.is_none()
    {
        recent(app, principal).await?;
    }
    let _password = login::turn(app, &place.project, &login::subject(context, &place.user)).await?;
    let factor = login::factor(context, &place.user);
    let _turn = login::turn(app, &place.project, &factor).await?;
    if let Some(waiting) = &place.waiting {
        waiting.attempt(app).await?;
    }
    let seen = app.store.totp(place.user.id).await?.filter(|totp| totp.confirmed_at.is_none());
    let seen = seen.ok_or_else(|| AppError::Conflict {
        code: "totp_not_set_up",
        detail: "no authenticator waits to be confirmed".to_owned(),
    })?;
    let Some(Second::Code(step)) = judge(app, &seen, &ShownFactor::Code(code))? else {
        login::fail(app, context, &place.project, &factor).await?;
        return Err(AppError::CredentialsInvalid);
    };
    let (recovery_codes, hashes): (Vec<_>, Vec<_>) = new_recovery_codes(app, &seen)?.into_iter().unzip();
    if let Some(waiting) = &place.waiting {
        let signed_in = waiting.open(app, context, &Second::Enrolled(seen, step, hashes)).await?;
        return Ok(Confirmed { recovery_codes, signed_in: Some(signed_in) });
    }
    let Enrolling::Principal(principal) = who else { return Err(AppError::LoginChallengeInvalid) };
    let actor = &principal.caller.actor;
    let notice = &place.notice(app, FactorChange::TotpEnabled)?;
    let (user, tenant, seen, hashes) = (&place.user, &place.tenant, &seen, &hashes);
    let now = app.now();
    let confirmed = app.store.write_session(place.scope(), now, |tx| {
        let origin = context.origin();
        async move {
            tx.hold_sign_ins(user.id).await?;
            tx.hold_factors(user.id).await?;
            // Since it was asked before, a passkey may have been added elsewhere.
            beside_no_passkey(&tx, who).await?;
            if !sign_in::confirm(&tx, seen, step, hashes).await? {
                return Err(AppError::CredentialsInvalid);
            }
            if again {
                tx.raise_session(principal.session, AuthMethod::Password.amr().and(SHOWS), now).await?;
            }
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            tx.record(actor, &origin, &told("totp_enabled", tenant, user, json!({}))).await?;
            Ok(())
        }
    });
    confirmed.await?;
    Ok(Confirmed { recovery_codes, signed_in: None })
}

/// Who has a passkey sets an authenticator up in a session that showed it. A sign-in that waits for one has none
/// (`sign_in::asked`).
async fn beside_no_passkey(at: &impl Reader, who: Enrolling<'_>) -> Result<(), AppError> {
    match who {
        Enrolling::Principal(principal) if at.totp_since(principal.user).await?.is_none() => {
            passkeys::sure_enough(at, principal).await
        }
        Enrolling::Principal(_) | Enrolling::SignIn(_) => Ok(()),
    }
}

/// Takes the caller's authenticator away.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`]; [`AppError::StepUp`] where no second factor is shown, neither in
/// this session before nor now; [`AppError::Conflict`] (`totp_not_enabled`).
pub async fn disable_totp(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    shown: (Secret<String>, Option<ShownFactor>),
) -> Result<(), AppError> {
    let (place, second) = sure(app, context, principal, shown).await?;
    let actor = &principal.caller.actor;
    let notice = &place.notice(app, FactorChange::TotpDisabled)?;
    let (user, tenant, second) = (&place.user, &place.tenant, &second);
    let disabled = app.store.write_session(place.scope(), app.now(), |tx| {
        let origin = context.origin();
        async move {
            still_sure(&tx, principal, second.as_ref()).await?;
            if let Some(second) = second {
                let entry = sign_in::spend(&tx, tenant, user, second).await?;
                tx.record(actor, &origin, &entry).await?;
            }
            if !tx.drop_totp(user.id).await? {
                return Err(not_enabled());
            }
            tx.drop_login_challenges(user.id).await?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            tx.record(actor, &origin, &told("totp_disabled", tenant, user, json!({}))).await?;
            Ok(())
        }
    });
    counted(app, context, &place, disabled.await).await
}

/// Makes new recovery codes in the place of all there are. Shown once.
///
/// # Errors
/// As of [`disable_totp`].
pub async fn replace_recovery_codes(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    shown: (Secret<String>, Option<ShownFactor>),
) -> Result<Vec<Secret<String>>, AppError> {
    let (place, second) = sure(app, context, principal, shown).await?;
    let known = app.store.totp(place.user.id).await?.filter(|totp| totp.confirmed_at.is_some());
    let known = known.ok_or_else(not_enabled)?;
    let (fresh, hashes): (Vec<_>, Vec<_>) = new_recovery_codes(app, &known)?.into_iter().unzip();
    let actor = &principal.caller.actor;
    let notice = &place.notice(app, FactorChange::RecoveryCodesReplaced)?;
    let (user, tenant, known, hashes, second) = (&place.user, &place.tenant, &known, &hashes, &second);
    let replaced = app.store.write_session(place.scope(), app.now(), |tx| {
        let origin = context.origin();
        async move {
            still_sure(&tx, principal, second.as_ref()).await?;
            // Set up anew since: these would fit no pepper.
            if tx.totp_alone(user.id).await?.is_none_or(|again| again.pepper != known.pepper) {
                return Err(not_enabled());
            }
            if let Some(second) = second {
                let entry = sign_in::spend(&tx, tenant, user, second).await?;
                tx.record(actor, &origin, &entry).await?;
            }
            tx.replace_recovery_codes((user.id, user.project_id), hashes).await?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            tx.record(actor, &origin, &told("totp_recovery_codes_replaced", tenant, user, json!({}))).await?;
            Ok(())
        }
    });
    counted(app, context, &place, replaced.await).await?;
    Ok(fresh)
}

/// The caller, who knows the password and has shown a second factor: in this session, or now, which is to be used up.
async fn sure(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    (password, factor): (Secret<String>, Option<ShownFactor>),
) -> Result<(Place, Option<Second>), AppError> {
    let place = Place::of_principal(app, principal).await?;
    login::confirm_password(app, context, &place.project, place.user.clone(), password).await?;
    let known = app.store.totp(place.user.id).await?.filter(|totp| totp.confirmed_at.is_some());
    let known = known.ok_or_else(not_enabled)?;
    let Some(factor) = factor else {
        let session = app.store.session(principal.session).await?.ok_or(AppError::TokenRevoked)?;
        return if session.is_sure() { Ok((place, None)) } else { Err(AppError::StepUp) };
    };
    let _turn = login::turn(app, &place.project, &login::factor(context, &place.user)).await?;
    match judge(app, &known, &factor)? {
        Some(second) => Ok((place, Some(second))),
        None => counted(app, context, &place, Err(AppError::CredentialsInvalid)).await,
    }
}

/// The same, asked in the transaction of the change: who shows nothing now has shown it in a session that is open still.
async fn still_sure(tx: &SessionTx, principal: &Principal, second: Option<&Second>) -> Result<(), AppError> {
    tx.hold_factors(principal.user).await?;
    if second.is_some() {
        return Ok(());
    }
    let session = tx.session(principal.session).await?.filter(|session| session.ended_at.is_none());
    if session.ok_or(AppError::TokenRevoked)?.is_sure() { Ok(()) } else { Err(AppError::StepUp) }
}

/// Counts a second factor that was not good.
async fn counted<T>(
    app: &App,
    context: &RequestContext,
    place: &Place,
    outcome: Result<T, AppError>,
) -> Result<T, AppError> {
    if matches!(outcome, Err(AppError::CredentialsInvalid)) {
        login::fail(app, context, &place.project, &login::factor(context, &place.user)).await?;
    }
    outcome
}

/// That the caller signed in a moment ago, on this device.
pub(super) async fn recent(app: &App, principal: &Principal) -> Result<(), AppError> {
    let session = app.store.session(principal.session).await?.ok_or(AppError::TokenRevoked)?;
    oauth_login::speaks_for_the_account(app, &session).await?;
    let within = app.config.second_factor.recent;
    if session.is_recent(app.now(), within.get()) { Ok(()) } else { Err(AppError::SignInAnew(within)) }
}

fn not_enabled() -> AppError {
    AppError::Conflict { code: "totp_not_enabled", detail: "there is no authenticator".to_owned() }
}

/// A secret that codes are made of.
pub(super) fn new_secret() -> Result<Secret<Vec<u8>>, AppError> {
    Ok(Secret::new(random::<SECRET_BYTES>()?.to_vec()))
}

/// A recovery code, and what is kept of it.
type RecoveryCode = (Secret<String>, [u8; 32]);

/// Recovery codes of 50 random bits, such as `k7mq2-x9bdt`.
fn new_recovery_codes(app: &App, totp: &Totp) -> Result<Vec<RecoveryCode>, AppError> {
    let codes = (0..app.config.second_factor.recovery_codes).map(|_| recovery_code());
    codes
        .map(|code| {
            code.map(|code| {
                let hash = recovery_hash(&totp.pepper, code.expose());
                (code, hash)
            })
        })
        .collect()
}

fn recovery_code() -> Result<Secret<String>, AppError> {
    let bytes = random::<CODE_LETTERS>()?;
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('0', char::from);
    let (first, second) = bytes.split_at(CODE_LETTERS / 2);
    let half = |bytes: &[u8]| bytes.iter().map(letter).collect::<String>();
    Ok(Secret::new(format!("{}-{}", half(first), half(second))))
}

#[test]
fn a_recovery_code_is_two_times_five_letters() {
    let (one, two) = (recovery_code().unwrap(), recovery_code().unwrap());
    assert_ne!(one, two);
    let (first, second) = one.expose().split_once('-').unwrap();
    for half in [first, second] {
        assert!(half.len() == 5 && half.bytes().all(|b| ALPHABET.contains(&b)), "{}", one.expose());
    }
}
