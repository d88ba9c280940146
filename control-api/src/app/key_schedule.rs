//! What becomes of signing keys by themselves.
//!
//! ```text
//! pending ── not_before has come ─▶ active ── another is activated ─▶ retiring ── no token of it lives ─▶ retired
//!    ▲ `signing.publish_ahead` before an active key is `signing.rotate_every` old; or from the keys file
//! ```
//!
//! [`due`] says what has to be done and is a function of the keys and the time; [`run_due`] does it. Every replica looks;
//! each step is judged again in its transaction, so that one of them does it.

use std::time::Duration;

use authz::{Authorized, action::ManageSigningKeys};
use domain::{
    SigningKeyId, Timestamp,
    model::{ASSERTION_KEY_LEAD, KeyPurpose, KeySource, KeyState, SignerKind, SigningKey},
};
use store::{Audited, StoreError, read::*};

use super::signing_keys;
use crate::{App, config::Config, error::AppError, problem, upkeep::every};

/// The name in the audit trail.
const JOB: &str = "signing-keys";

/// The longest that any release lets an access token live.
const LONGEST_TOKEN: Duration = Duration::from_secs(900);

/// How far clocks may differ, both ways and with something to spare.
const SKEW: Duration = Duration::from_secs(60);

/// Assertions live for a minute, but a gateway cut off from us signs with the key it has for as long as it serves its
/// snapshot: a day.
const ASSERTIONS: Duration = Duration::from_secs(25 * 3600);

/// What the configuration says of keys.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long a key signs; none: until somebody asks for another.
    pub rotate_every: Option<Duration>,
    /// How long a key is published before it signs, at least.
    pub publish_ahead: Duration,
    /// How long a token may live that a key signed as its last.
    pub tokens_live: Duration,
}

impl Policy {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self {
            rotate_every: config.signing.rotate_every.map(|every| every.get()),
            publish_ahead: config.signing.publish_ahead.get(),
            tokens_live: config.sessions.access_token.get().max(LONGEST_TOKEN) + SKEW,
        }
    }

    /// How long a key of this purpose is published before it signs.
    pub fn lead(&self, purpose: KeyPurpose) -> Duration {
        match purpose {
            KeyPurpose::Tokens => self.publish_ahead,
            KeyPurpose::Assertions => self.publish_ahead.max(ASSERTION_KEY_LEAD),
        }
    }

    /// Active keys that sign since then may need a successor to be published.
    fn aged(&self, now: Timestamp) -> Timestamp {
        match self.rotate_every {
            Some(every) => now - every.saturating_sub(self.lead(KeyPurpose::Assertions)),
            None => Timestamp::from_millis(0),
        }
    }

    fn life(&self, purpose: KeyPurpose) -> Duration {
        match purpose {
            KeyPurpose::Tokens => self.tokens_live,
            KeyPurpose::Assertions => ASSERTIONS,
        }
    }
}

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Step {
    /// A pending key's time has come.
    Activate(SigningKeyId),
    /// An active key has expired and no other is there.
    Expire(SigningKeyId),
    /// No token of a key can live any more, or it will never sign.
    Retire(SigningKeyId),
    /// A key is to be published that signs from then on.
    Succeed(Box<SigningKey>, Timestamp),
}

/// What has to be done, given all keys that may need something, grouped by project and purpose.
pub fn due(keys: &[SigningKey], policy: &Policy, now: Timestamp) -> Vec<Step> {
    let groups = keys.chunk_by(|a, b| (a.project_id, a.purpose) == (b.project_id, b.purpose));
    groups.flat_map(|group| due_of(group, policy, now)).collect()
}

fn due_of(group: &[SigningKey], policy: &Policy, now: Timestamp) -> Vec<Step> {
    let in_state = |state| group.iter().filter(move |key| key.state == state);
    let expired = |key: &SigningKey| key.expires_at.is_some_and(|at| at <= now);
    let active = in_state(KeyState::Active).next();
    let mut steps = Vec::new();

    let (gone, pending): (Vec<_>, Vec<_>) = in_state(KeyState::Pending).partition(|key| expired(key));
    steps.extend(gone.iter().map(|key| Step::Retire(key.kid)));
    let (ready, waiting): (Vec<_>, Vec<_>) =
        pending.into_iter().partition(|key| key.not_before.is_some_and(|at| at <= now));
    let best = ready.iter().copied().max_by_key(|key| rank(key));
    match (best, active) {
        (Some(best), Some(active)) if !expired(active) && rank(best) <= rank(active) => {
            // Overtaken before they signed here. Elsewhere they may have: their tokens live as long as any.
            let over = active.changed_at + policy.life(active.purpose) <= now;
            steps.extend(ready.iter().filter(|_| over).map(|key| Step::Retire(key.kid)));
        }
        (Some(best), _) => steps.push(Step::Activate(best.kid)),
        (None, Some(active)) if expired(active) => steps.push(Step::Expire(active.kid)),
        (None, Some(active)) => {
            let mine = active.source != KeySource::File && active.signer == SignerKind::Local;
            let followed = waiting.iter().any(|key| key.not_before.is_some());
            if let Some(every) = policy.rotate_every.filter(|_| mine && !followed) {
                let end = active.changed_at + every;
                let soonest = now + policy.lead(active.purpose);
                if soonest >= end {
                    steps.push(Step::Succeed(Box::new(active.clone()), end.max(soonest)));
                }
            }
        }
        (None, None) => {}
    }
    let over = in_state(KeyState::Retiring).filter(|key| key.changed_at + policy.life(key.purpose) <= now);
    steps.extend(over.map(|key| Step::Retire(key.kid)));
    steps
}

/// Which of two keys signs when both may: those of the keys file before others, the later `not_before` before the
/// earlier. A key without one counts from when it began to sign.
fn rank(key: &SigningKey) -> (bool, Timestamp, SigningKeyId) {
    (key.source == KeySource::File, key.not_before.unwrap_or(key.changed_at), key.kid)
}

/// Does what is due, again and again, for as long as it is polled.
pub(crate) async fn run(app: App) {
    let app = &app;
    let pause = app.config.signing.check_every.get();
    every(pause, "signing keys were not looked after", || async move { run_due(app).await }).await;
}

/// Does what is due. A step that fails is logged and keeps no other from being done.
///
/// # Errors
/// When it cannot be read what is due.
pub async fn run_due(app: &App) -> Result<(), AppError> {
    let (policy, now) = (Policy::of(&app.config), app.now());
    let keys = app.store.keys_in_motion(now, policy.aged(now)).await?;
    for step in due(&keys, &policy, now) {
        if let Err(error) = take(app, &step).await {
            tracing::error!(step = step.name(), error = problem::chain(&error), "a signing key was not looked after");
        }
    }
    Ok(())
}

async fn take(app: &App, step: &Step) -> Result<(), AppError> {
    let by: Authorized<ManageSigningKeys> = Authorized::system(JOB);
    let by = &by;
    if let Step::Succeed(active, not_before) = step {
        let new = signing_keys::successor(app, active, *not_before)?;
        let new = &new;
        let made = app.store.write(by, app.now(), |tx| async move {
            let current = tx.signing_key(active.kid).await?.is_some_and(|key| key.state == KeyState::Active);
            if !current {
                return Ok(Audited::unchanged(()));
            }
            Ok::<_, StoreError>(tx.created(tx.insert_signing_key(by, new.clone()).await?).await?.map(|_| ()))
        });
        return match made.await {
            // Another replica was first.
            Err(error) if error.is_conflict("signing_keys", "project_id") => Ok(()),
            made => Ok(made.map(|_| ())?),
        };
    }
    let taken = app.store.write(by, app.now(), |tx| async move {
        let state = async |kid| Ok::<_, StoreError>(tx.signing_key(kid).await?.map(|key| key.state));
        let changed = match step {
            Step::Activate(kid) if state(*kid).await? == Some(KeyState::Pending) => {
                tx.done("activated", tx.activate_signing_key(by, *kid).await?).await?
            }
            Step::Retire(kid) if matches!(state(*kid).await?, Some(KeyState::Pending | KeyState::Retiring)) => {
                tx.done("retired", tx.retire_signing_key(by, *kid).await?).await?
            }
            Step::Expire(kid) if state(*kid).await? == Some(KeyState::Active) => {
                tx.done("expired", tx.expire_signing_key(by, *kid).await?).await?
            }
            // Another replica was first.
            Step::Activate(_) | Step::Retire(_) | Step::Expire(_) | Step::Succeed(..) => {
                return Ok(Audited::unchanged(None));
            }
        };
        Ok::<_, StoreError>(changed.map(|key| Some((key.kid, key.project_id))))
    });
    let (taken, commit) = taken.await?;
    if let Some((kid, project)) = taken {
        if matches!(step, Step::Expire(_)) {
            tracing::error!(key.id = %kid, project.id = %project, "the active signing key has expired: nobody can sign in");
        } else {
            tracing::info!(key.id = %kid, project.id = %project, step = step.name(), "a signing key moved on");
        }
        app.hub.number(Some(commit)).await?;
    }
    Ok(())
}

impl Step {
    const fn name(&self) -> &'static str {
        match self {
            Self::Activate(_) => "activate",
            Self::Expire(_) => "expire",
            Self::Retire(_) => "retire",
            Self::Succeed(..) => "succeed",
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Id, snapshot::Algorithm};
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);
    const POLICY: Policy =
        Policy { rotate_every: Some(Duration::from_secs(30 * 86_400)), publish_ahead: DAY, tokens_live: SKEW };

    fn key(id: u128, state: KeyState, changed_at: Timestamp) -> SigningKey {
        SigningKey {
            kid: Id::new(Uuid::from_u128(id)),
            project_id: Id::new(Uuid::from_u128(1)),
            purpose: KeyPurpose::Tokens,
            algorithm: Algorithm::Es256,
            public_jwk: Value::Null,
            state,
            source: KeySource::Made,
            signer: SignerKind::Local,
            not_before: None,
            expires_at: None,
            created_at: changed_at,
            changed_at,
        }
    }

    fn from_file(id: u128, state: KeyState, not_before: Timestamp) -> SigningKey {
        SigningKey { source: KeySource::File, not_before: Some(not_before), ..key(id, state, NOW - DAY) }
    }

    fn steps(keys: &[SigningKey]) -> Vec<String> {
        steps_by(&POLICY, keys)
    }

    fn steps_by(policy: &Policy, keys: &[SigningKey]) -> Vec<String> {
        let text = |step| match step {
            Step::Succeed(of, at) => format!("succeed {} at {}", of.kid.uuid().as_u128(), at.since(NOW).as_secs()),
            Step::Activate(kid) => format!("activate {}", kid.uuid().as_u128()),
            Step::Retire(kid) => format!("retire {}", kid.uuid().as_u128()),
            Step::Expire(kid) => format!("expire {}", kid.uuid().as_u128()),
        };
        due(keys, policy, NOW).into_iter().map(text).collect()
    }

    #[test]
    fn a_successor_is_published_ahead_and_signs_when_its_time_has_come() {
        assert!(steps(&[key(1, KeyState::Active, NOW - DAY * 28)]).is_empty());
        assert_eq!(steps(&[key(1, KeyState::Active, NOW - DAY * 29)]), ["succeed 1 at 86400"]);
        assert_eq!(steps(&[key(1, KeyState::Active, NOW - DAY * 300)]), ["succeed 1 at 86400"], "never without notice");
        let active = key(1, KeyState::Active, NOW - DAY * 30);
        let successor =
            |not_before| SigningKey { not_before: Some(not_before), ..key(2, KeyState::Pending, NOW - DAY) };
        assert!(steps(&[active.clone(), successor(NOW + SKEW)]).is_empty());
        assert_eq!(steps(&[active.clone(), successor(NOW)]), ["activate 2"]);
        assert_eq!(steps(&[active, key(3, KeyState::Pending, NOW)]), ["succeed 1 at 86400"], "3 waits for somebody");
    }

    /// Upstreams may keep the fleet's key set for a day, whatever is configured for tokens.
    #[test]
    fn a_fleets_key_is_published_for_a_day_even_where_tokens_keys_are_not() {
        let hourly = Policy { rotate_every: Some(DAY / 24), publish_ahead: DAY / 48, ..POLICY };
        let tokens = key(1, KeyState::Active, NOW - DAY / 48);
        let assertions = SigningKey { purpose: KeyPurpose::Assertions, ..key(2, KeyState::Active, NOW - DAY / 48) };
        assert!(hourly.aged(NOW) >= NOW);
        assert_eq!(steps_by(&hourly, &[tokens]), ["succeed 1 at 1800"]);
        assert_eq!(steps_by(&hourly, &[assertions]), ["succeed 2 at 86400"]);
    }

    #[test]
    fn a_key_is_retired_once_no_token_of_it_lives() {
        assert!(steps(&[key(1, KeyState::Retiring, NOW - SKEW / 2)]).is_empty());
        assert_eq!(steps(&[key(1, KeyState::Retiring, NOW - SKEW)]), ["retire 1"]);
        let assertions = SigningKey { purpose: KeyPurpose::Assertions, ..key(1, KeyState::Retiring, NOW - DAY) };
        assert!(steps(&[assertions]).is_empty(), "a gateway cut off may sign with it for a day");
    }

    #[test]
    fn of_the_keys_file_the_latest_in_force_signs() {
        let made = key(9, KeyState::Active, NOW - SKEW);
        let (old, new) =
            (from_file(1, KeyState::Pending, NOW - DAY * 3), from_file(2, KeyState::Pending, NOW - DAY * 2));
        let future = from_file(3, KeyState::Pending, NOW + DAY);
        assert_eq!(steps(&[made, old.clone(), new.clone(), future.clone()]), ["activate 2"]);
        let active = SigningKey { state: KeyState::Active, changed_at: NOW, ..new.clone() };
        assert!(steps(&[active.clone(), old.clone(), future.clone()]).is_empty(), "tokens of 1 may live");
        let active = SigningKey { changed_at: NOW - SKEW, ..active };
        assert_eq!(steps(&[active, old, future]), ["retire 1"]);
    }

    #[test]
    fn an_expired_key_does_not_sign() {
        let expired = |key: SigningKey| SigningKey { expires_at: Some(NOW), ..key };
        let active = expired(from_file(1, KeyState::Active, NOW - DAY));
        assert_eq!(steps(std::slice::from_ref(&active)), ["expire 1"]);
        assert_eq!(steps(&[active, from_file(2, KeyState::Pending, NOW - DAY * 2)]), ["activate 2"]);
        assert_eq!(steps(&[expired(from_file(1, KeyState::Pending, NOW - DAY))]), ["retire 1"]);
    }

    #[test]
    fn keys_of_the_file_and_of_kms_are_followed_by_nothing_we_make() {
        let old = NOW - DAY * 300;
        let file = SigningKey { changed_at: old, ..from_file(1, KeyState::Active, old) };
        let kms = SigningKey { signer: SignerKind::KmsAws, ..key(2, KeyState::Active, old) };
        assert!(steps(&[file]).is_empty() && steps(&[kms]).is_empty());
    }
}
