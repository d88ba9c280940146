//! The second factor of a sign-in that waits for it.
//!
//! Guesses are bounded three times: each sign-in that waits takes so many attempts, counted before a code is looked at; a
//! user's wrong codes are counted over all of them and lock the factor; and whoever is locked for wrong passwords is locked
//! here, too. A code is used up in the transaction that opens the session.

use std::time::Duration;

use aws_lc_rs::hmac;
use domain::{
    Amr, AmrSet, Secret,
    model::{ChallengePurpose, LoginChallenge, Project, Tenant, Totp, User},
};
use store::{StoreError, read::*};

use super::{
    login::{self, Door},
    login_policies,
    sign_in::{self, Opening, Proof, Second, SignedIn},
    site,
    tokens::hash,
};
use crate::{App, caller::Site, context::RequestContext, error::AppError, problem, totp::Codes};

/// What a second factor shows beside the first.
pub(super) const SHOWS: AmrSet = AmrSet::of(&[Amr::Otp, Amr::Mfa]);

/// A second factor as somebody shows it.
#[derive(Debug)]
pub enum ShownFactor {
    /// Six digits of the authenticator.
    Code(Secret<String>),
    /// One of the codes for when it is lost.
    RecoveryCode(Secret<String>),
}

/// A sign-in that waits, with whom and what it is about.
pub(super) struct WaitingSignIn {
    pub(super) challenge: LoginChallenge,
    pub(super) project: Project,
    pub(super) tenant: Tenant,
    pub(super) user: User,
}

impl WaitingSignIn {
    /// The one of this id, at a hostname where it may go on.
    ///
    /// # Errors
    /// [`AppError::LoginChallengeInvalid`], whatever is wrong with it.
    pub(super) async fn of(
        app: &App,
        context: &RequestContext,
        id: &Secret<String>,
        purpose: ChallengePurpose,
    ) -> Result<Self, AppError> {
        const GONE: AppError = AppError::LoginChallengeInvalid;
        let found = app.store.login_challenge(hash(id.expose()), app.now()).await?;
        let challenge = found.filter(|it| it.purpose == purpose).ok_or(GONE)?;
        let project = app.store.project(challenge.project_id).await?.ok_or(GONE)?;
        let tenant = app.store.tenant(challenge.tenant_id).await?.ok_or(GONE)?;
        let user = app.store.user(challenge.user_id).await?.ok_or(GONE)?;
        if !site::is_here(&app.store, context, Site { project: project.id, tenant: tenant.id }).await? {
            return Err(GONE);
        }
        Ok(Self { challenge, project, tenant, user })
    }

    /// Takes one of its attempts.
    ///
    /// # Errors
    /// [`AppError::LoginChallengeInvalid`] when they are used up.
    pub(super) async fn attempt(&self, app: &App) -> Result<(), AppError> {
        let (hash, most) = (self.challenge.hash, app.config.second_factor.attempts);
        let scope = authz::Scope::Tenant(self.project.id, self.tenant.id);
        let taken = app.store.write_session(scope, app.now(), |tx| async move {
            Ok::<_, AppError>(tx.attempt_login_challenge(hash, most).await?)
        });
        taken.await?.map(|_| ()).ok_or(AppError::LoginChallengeInvalid)
    }

    /// Opens its session, by a second factor.
    pub(super) async fn open(
        &self,
        app: &App,
        context: &RequestContext,
        second: &Second,
    ) -> Result<SignedIn, AppError> {
        let opening = Opening {
            door: if self.challenge.system { Door::System } else { Door::Tenant },
            method: self.challenge.method,
            amr: self.challenge.amr.and(SHOWS),
            life: login_policies::session_life(app, &app.store, self.tenant.id).await?,
            proof: Proof::Second(&self.challenge, second),
            event: "login_success",
        };
        sign_in::open(app, context, opening, &self.project, &self.tenant, &self.user).await
    }
}

/// Goes on with a sign-in that waits for a second factor.
///
/// # Errors
/// [`AppError::LoginChallengeInvalid`] for one that does not wait, or has taken all its attempts;
/// [`AppError::CredentialsInvalid`]; [`AppError::LoginLocked`].
pub async fn verify_second_factor(
    app: &App,
    context: &RequestContext,
    id: &Secret<String>,
    shown: ShownFactor,
) -> Result<SignedIn, AppError> {
    let waiting = WaitingSignIn::of(app, context, id, ChallengePurpose::Verify).await?;
    let _password = login::turn(app, &waiting.project, &login::subject(context, &waiting.user)).await?;
    let factor = login::factor(context, &waiting.user);
    let _turn = login::turn(app, &waiting.project, &factor).await?;
    waiting.attempt(app).await?;
    let known = app.store.totp(waiting.user.id).await?.filter(|totp| totp.confirmed_at.is_some());
    let second = known.map(|totp| judge(app, &totp, &shown)).transpose()?.flatten();
    let outcome = match second {
        Some(second) => waiting.open(app, context, &second).await,
        None => Err(AppError::CredentialsInvalid),
    };
    if matches!(outcome, Err(AppError::CredentialsInvalid)) {
        login::fail(app, context, &waiting.project, &factor).await?;
    }
    outcome
}

/// What somebody showed, if it may be good: whether it is used up is decided where it is used.
pub(super) fn judge(app: &App, totp: &Totp, shown: &ShownFactor) -> Result<Option<Second>, AppError> {
    Ok(match shown {
        ShownFactor::Code(code) => {
            let step = Codes::of(&totp.secret)?.step_of(code.expose(), app.now(), app.config.second_factor.window);
            step.filter(|step| *step > totp.last_step).map(Second::Code)
        }
        ShownFactor::RecoveryCode(code) => Some(Second::Recovery(recovery_hash(&totp.pepper, code.expose()))),
    })
}

/// An authenticator that was begun and not confirmed for so long is forgotten.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(86_400);

/// Rows that are removed in one transaction.
const SWEPT_AT_ONCE: u32 = 500;

/// Forgets sign-ins that wait no more, and what was begun and never confirmed, again and again. Never ends.
pub async fn keep_sweeping(app: &App) {
    let mut due = tokio::time::interval(app.config.second_factor.sweep.get());
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        loop {
            match sweep(app).await {
                Ok(swept) if swept >= u64::from(SWEPT_AT_ONCE) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::error!(error = problem::chain(&error), "sign-ins that wait no more were not removed");
                    break;
                }
            }
        }
    }
}

/// The most that was forgotten of one kind.
async fn sweep(app: &App) -> Result<u64, StoreError> {
    let now = app.now();
    let waiting = app.store.sweep_login_challenges(now, SWEPT_AT_ONCE).await?;
    let begun = app.store.sweep_begun_totp(now - CONFIRMED_WITHIN, SWEPT_AT_ONCE).await?;
    let asked = app.store.sweep_qr_logins(now, SWEPT_AT_ONCE).await?;
    Ok(waiting.max(begun).max(asked).max(app.store.sweep_passkey_challenges(now, SWEPT_AT_ONCE).await?))
}

/// What recovery codes are written in: Crockford's base32, in which nothing reads like something else.
pub(super) const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What is kept of a recovery code: its HMAC-SHA-256. In which case it is typed, with which dashes, and what is mistaken for
/// what, is one.
pub(super) fn recovery_hash(pepper: &Secret<Vec<u8>>, code: &str) -> [u8; 32] {
    let read = |c: char| match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    let typed = Secret::new(code.chars().filter(char::is_ascii_alphanumeric).map(read).collect::<String>());
    let key = hmac::Key::new(hmac::HMAC_SHA256, pepper.expose());
    let tag = hmac::sign(&key, typed.expose().as_bytes());
    tag.as_ref().first_chunk().copied().unwrap_or_default()
}

#[test]
fn a_recovery_code_is_one_however_it_is_typed() {
    let pepper = Secret::new(vec![7; 32]);
    let hash = |code: &str| recovery_hash(&pepper, code);
    assert_eq!(hash("k0mq1-x9bdt"), hash(" KOMQ lx9bdt"));
    assert_ne!(hash("k0mq1-x9bdt"), hash("k0mq1-x9bdv"));
    assert_ne!(hash("k0mq1-x9bdt"), recovery_hash(&Secret::new(vec![8; 32]), "k0mq1-x9bdt"));
}
